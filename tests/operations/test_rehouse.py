"""`modoseru runtime SITE --database --switch` on real WordPress and a second real server."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable

import pytest

from tests.lab import Lab, LabSite
from tests.lab.other_database import PASSWORD, Second
from tests.operations.program import Program, Visitor

pytestmark = pytest.mark.lab
NAME = "kogyo.example"
MOVE = ("runtime", NAME, "--database", "--switch", "--yes", "--json")


@pytest.fixture
def site(fresh_site: Callable[[str], LabSite], program: Program, empty: Second) -> LabSite:
    made = fresh_site(NAME)
    program.write_site(made, {
        "runtime.database.name": "moved", "runtime.database.user": "mover", "runtime.database.host": empty.host,
        "runtime.database.password_command": [sys.executable, "-c", f"print({json.dumps(PASSWORD)})"],
    })  # fmt: skip
    return made


def retitled(site: LabSite, title: str) -> str:
    """The statement that renames the newest post of the site."""
    return (
        f"UPDATE `{site.db_prefix}posts` SET post_title='{title}' WHERE post_type='post' AND post_status='publish' "
        "ORDER BY post_date DESC LIMIT 1"
    )


def test_a_site_is_served_from_the_new_database_and_goes_back(
    lab: Lab, site: LabSite, program: Program, empty: Second
) -> None:
    with Visitor(lab, site).visiting() as visitor:
        told = program(*MOVE).json
    assert (told["kind"], told["outcome"]) == ("rehouse", "done"), told
    assert told["generation"]
    assert {one.status for one in visitor.bad()} <= {503}
    assert "as they were" in told["detail"]
    empty.sql(retitled(site, "only in the new one"), "moved")
    assert "only in the new one" in lab.fetch(site)[1]
    lab.sql(site, retitled(site, "only in the old one"))
    assert "only in the old one" not in lab.fetch(site)[1]
    assert program("check", NAME, "--json", code=None).json["sites"][0]["health"]["http_status"] == 200

    refused = program(*MOVE, code=1).error
    assert refused["code"] == "same_database"
    report = program("runtime", NAME, "--database", "--json", code=1).json["target"]
    assert [one["code"] for one in report["blockers"]] == ["same_database"]

    back = program("undo", NAME, "--yes", "--json", "--progress", "json")
    assert back.json["outcome"] == "done"
    (note,) = [one for one in back.events if one.get("code") == "left_behind"]
    assert f"{site.db_prefix}posts" in note["text"]
    assert "only in the old one" in lab.fetch(site)[1]
    assert PASSWORD.encode() not in b"".join(
        path.read_bytes()
        for path in (site.home / ".modoseru").rglob("*")
        if path.is_file() and "/old/" not in str(path)
    )


def test_a_page_that_is_not_as_it_was_brings_it_back(lab: Lab, site: LabSite, program: Program, empty: Second) -> None:
    """A plugin that has the old database's name in it, as some do."""
    folder = site.root / "wp-content" / "mu-plugins"
    folder.mkdir(exist_ok=True)
    (folder / "own.php").write_text(f"<?php if (DB_NAME !== {json.dumps(site.db_name)}) {{ exit('cannot connect'); }}")
    config = (site.root / "wp-config.php").read_bytes()
    told = program(*MOVE, code=1).json
    assert (told["outcome"], "the site is as it was" in told["detail"]) == ("rolled_back", True), told
    assert (site.root / "wp-config.php").read_bytes() == config
    assert empty.holds() == []
    assert lab.fetch(site)[0] == 200
    assert program("undo", NAME, "--yes", "--json", code=1).error["code"] == "nothing_to_undo"


def test_what_is_in_the_way_is_told_before_anything_is_made(
    lab: Lab, site: LabSite, program: Program, empty: Second
) -> None:
    empty.sql("CREATE TABLE moved.mine (a int)")
    assert program(*MOVE, code=1).error["code"] == "not_empty"
    empty.sql("DROP TABLE moved.mine; REVOKE CREATE ON moved.* FROM mover@localhost")
    error = program(*MOVE, code=1).error
    assert (error["code"], error["message"].endswith("its user may not CREATE")) == ("no_grant", True)
    assert program("generations", NAME, "--json").json["generations"] == []
    text = program("runtime", NAME, "--database", code=1).out
    assert re.search(r"→ moved .*MariaDB", text)
    assert "✖ its user may not CREATE" in text
    assert program("--read-only", *MOVE, code=2).error["code"] == "read_only"


def test_without_a_database_in_the_config_it_says_where_to_name_one(lab: Lab, site: LabSite, program: Program) -> None:
    program.write_site(site)
    error = program(*MOVE, code=1).error
    assert error["code"] == "no_target"
    assert f"sites.d/{NAME}.toml" in error["hint"]
    assert program("runtime", NAME, "--switch", code=2).code == 2
    assert program("runtime", NAME, "--database", "--check", "--switch", code=2).code == 2
