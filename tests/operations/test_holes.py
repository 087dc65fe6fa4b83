"""Known holes through the real program: a server of the feed, sites of the lab, updates that close them or do not."""

from __future__ import annotations

import datetime as dt
import sqlite3
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tomli_w

from backends.holes import FILE, TOKEN
from backends.journal_file import stamp
from backends.records import visible
from tests.backends.feed_server import FeedServer
from tests.backends.known_holes import ENTRIES, HOSTILE, feed
from tests.lab import Lab, LabSite
from tests.lab.plugins import FORM, GOOD
from tests.operations.program import Program

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
NAME = "minato.example"
THEME = "twentytwentythree"


@pytest.fixture
def server(program: Program) -> Iterator[FeedServer]:
    made = FeedServer()
    made.says(feed())
    program.environment |= {TOKEN: "s3cret-t0ken"}
    use(program, made.url)
    with made.running():
        yield made


def use(program: Program, source: str) -> None:
    told = tomllib.loads((program.config / "fleet.toml").read_text())
    (program.config / "fleet.toml").write_text(tomli_w.dumps({**told, "updates": {"feed": source}}))


def half_an_hour_later(program: Program) -> None:
    """What was asked of the feed is 31 minutes longer ago."""
    (path,) = program.state.glob("*/journal.db")
    with sqlite3.connect(path, timeout=30) as database:
        rows = database.execute("SELECT name, at FROM cache WHERE name LIKE 'holes:%'").fetchall()
        for name, at in rows:
            earlier = stamp(dt.datetime.fromisoformat(at) - dt.timedelta(minutes=31))
            database.execute("UPDATE cache SET at = ? WHERE name = ?", (earlier, name))
    database.close()
    assert rows


def one(answer: Any) -> dict[str, Any]:
    (found,) = answer.json["sites"]
    return dict(found)


def test_updates_that_close_holes_come_first_and_holes_without_one_are_an_alarm(
    lab: Lab, fresh_site: Fresh, program: Program, server: FeedServer
) -> None:
    site = fresh_site(NAME)
    lab.put_plugin(site, GOOD)
    lab.put_plugin(site, FORM)
    lab.wporg.offer({FORM: "1.1", "akismet": "5.7.2"}, themes={THEME: "1.7"})
    before = one(program("status", NAME, "--json"))
    assert (before["holes"], before["updates"]) == (None, None)
    assert "known holes are unknown: their feed was not read yet: modoseru updates" in program("status").err

    answer = program("updates", NAME, "--json")
    assert server.asked[0]["Authorization"] == "Bearer s3cret-t0ken"
    told = answer.json["feed"]
    assert (told["source"], told["entries"], told["problem"]) == (server.url, len(ENTRIES), None)
    assert told["age_s"] < 60
    found = one(answer)
    title = "Akismet Anti-spam 5.0 – 5.0.2 – Stored Cross-Site Scripting “コメント” 🧪"
    assert [(update["slug"], update["security"], update["closes"]) for update in found["updates"]] == [
        ("akismet", True, f"CVE-2026-10001 (7.2) {title}"),
        (THEME, True, "(6.4) Twenty Twenty-Three < 1.5 - Reflected Cross-Site Scripting"),
        (FORM, False, None),
    ]  # fmt: skip
    fields = ("slug", "version", "score", "patched", "closed_by")
    assert [tuple(hole[field] for field in fields) for hole in found["holes"]] == [
        (GOOD, "1.0", 9.8, None, None),
        ("wordpress", "6.1.9", 5.4, "6.1.10", None),
        ("akismet", "5.0.2", 7.2, "5.0.3", "5.7.2"),
        (THEME, "1.0", 6.4, "1.5", "1.7"),
    ]  # fmt: skip
    status = one(program("status", NAME, "--json"))
    assert (status["holes"], status["updates"]) == (found["holes"], found["updates"])
    assert program("check", NAME, code=2)  # critical: the pages are well, and everybody can run code
    text = program("updates", NAME).out.splitlines()
    assert text[0] == f"{NAME}: 3 pending"
    assert text[1].startswith("  plugin      akismet  5.0.2 → 5.7.2  ! closes CVE-2026-10001 (7.2) Akismet")
    assert text[4].startswith(
        f"  HOLE        {GOOD} 1.0  no update closes CVE-2026-10004 (9.8) Good Plugin (All Versions)"
    )
    assert "; said to be closed in 6.1.10; https://www.wordfence.com/threat-intel/" in text[5]
    assert len(server.asked) == 1

    done = program("update", NAME, "--only", "akismet", "--yes", "--json").json
    assert done["outcome"] == "done"
    assert "akismet" not in {hole["slug"] for hole in one(program("updates", NAME, "--json"))["holes"]}
    program("updates", NAME, "--hold", THEME)
    held = {hole["slug"]: hole["closed_by"] for hole in one(program("status", NAME, "--json"))["holes"]}
    assert held[THEME] is None
    lab.wporg.offer(themes={THEME: "1.7"}, core="7.1.1")
    assert [(update["slug"], update["security"]) for update in one(program("updates", NAME, "--json"))["updates"]] == [
        (THEME, True), ("wordpress", True),
    ]  # fmt: skip


def test_a_feed_that_fails_leaves_the_one_before_and_is_told(
    lab: Lab, fresh_site: Fresh, program: Program, server: FeedServer
) -> None:
    fresh_site(NAME)
    known = one(program("updates", NAME, "--json"))["holes"]
    assert known
    where = server.url.split("/")[2]
    for body, status, fault, why in (
        (b"", 401, "", f"{where} refuses the token in MODOSERU_WORDFENCE_TOKEN"),
        (b"oops", 500, "", f"{where} answers status 500"),
        (b"<html>", 200, "", "this is no feed of known holes"),
        (feed(), 200, "cut", f"the feed of {where} stops in the middle"),
        (b'"a": {"b": {"c": ' * 100, 200, "endless", "an entry has more than 1 MiB"),
        (b"", 429, "", f"{where} wants to be left alone until "),
    ):
        half_an_hour_later(program)
        server.says(body, status, fault=fault)
        answer = program("updates", NAME, "--json")
        assert answer.json["feed"]["problem"].startswith(why)
        assert (one(answer)["holes"], answer.json["feed"]["entries"]) == (known, len(ENTRIES))
        assert "s3cret" not in answer.out + answer.err
    asked = len(server.asked)
    half_an_hour_later(program)
    server.says(feed())
    text = program("updates", NAME)
    assert "ago: its server wants to be left alone until " in text.err
    assert "known holes as of " in text.err
    assert len(server.asked) == asked


def test_a_file_in_the_place_of_the_server_and_texts_that_attack_the_terminal(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site(NAME)
    lab.put_plugin(site, FORM)
    path = program.config.parent / "feed.json"
    path.write_bytes(feed(*ENTRIES, HOSTILE))
    use(program, str(path))
    found = {hole["slug"]: hole for hole in one(program("updates", NAME, "--json"))["holes"]}
    hole = found[FORM]
    assert hole["title"].startswith("\\x1b]0;owned\\x07\\x1b[2J[bold red]<script>alert(1)</script>\\u202e long long")
    assert len(hole["title"]) == 200
    assert (hole["cve"], hole["link"], hole["patched"]) == (None, None, None)
    for command in (("updates", NAME), ("status", NAME), ("status", NAME, "--json")):
        answer = program(*command)
        assert visible(answer.out.replace("\n", ""), 10**6) == answer.out.replace("\n", "")
    path.unlink()
    answer = program("updates", NAME, "--json").json
    assert answer["feed"]["problem"] == f"{path} cannot be read: no such file or directory"
    assert {hole["slug"] for hole in answer["sites"][0]["holes"]} == set(found)


def test_without_a_feed_or_without_a_look_inside_holes_are_unknown(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site(NAME)
    answer = program("updates", NAME, "--json").json
    assert (answer["feed"], answer["sites"][0]["holes"]) == (None, None)
    assert not list(program.state.rglob(FILE))
    path = program.config.parent / "feed.json"
    path.write_bytes(feed())
    use(program, str(path))
    assert one(program("updates", NAME, "--json"))["holes"]
    (site.root / "wp-content" / "mu-plugins").mkdir(exist_ok=True)
    (site.root / "wp-content" / "mu-plugins" / "broken.php").write_text("<?php calls_what_is_not_there();")
    program("check", NAME, code=None)
    assert one(program("status", NAME, "--json"))["holes"] is None
    assert one(program("updates", NAME, "--json", code=1))["holes"] is None


def test_a_wrong_feed_is_a_line_about_the_configuration(program: Program) -> None:
    use(program, "http://www.wordfence.com/api/intelligence/v3/vulnerabilities/production")
    error = program("status", "--json", code=2).error
    assert error["code"] == "bad_config"
    assert "updates.feed" in error["message"]
