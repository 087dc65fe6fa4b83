"""Updates on real servers: good ones stay, each that breaks the site is put back alone, visitors hardly notice."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from typing import Any

import pytest

from app.operations import back, update
from app.operations.update import in_order
from backends.records import Update
from tests.lab import Lab, LabSite
from tests.lab.plugins import BEHIND, CONTACT, FAULTS, FORM, GOOD, INNER, MIGRATING, NOISY, RENAMING, SHOP
from tests.operations.program import Program, Visitor

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
BROKEN = (*FAULTS, *INNER)


def marks(body: str) -> set[str]:
    """Which of the lab's plugins write into the page, and in which version."""
    return {f"{slug} {version}" for slug in (GOOD, *BROKEN) for version in ("1.0", "1.1")
            if f"<meta name='{slug}' content='{version}'>" in body}  # fmt: skip


def at(event: dict[str, Any]) -> dt.datetime:
    return dt.datetime.fromisoformat(event["at"])


def spans_of_bad_items(events: list[dict[str, Any]]) -> list[tuple[dt.datetime, dt.datetime]]:
    """From the moment at which each breaking plugin was taken up until opcache was reset after it was put back."""
    turns = [event for event in events if event.get("code") == "updating"]
    ends = [at(event) for event in (*turns[1:], events[-1])]
    return [(at(turn), end) for turn, end in zip(turns, ends, strict=True) if turn["item"] in BROKEN]


def test_every_breaking_plugin_is_put_back_alone_and_visitors_see_the_page_but_for_those_checks(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("kogyo.example")
    slugs = (GOOD, *BROKEN)
    for slug in slugs:
        lab.put_plugin(site, slug)
    assert marks(lab.fetch(site)[1]) == {f"{slug} 1.0" for slug in slugs}
    lab.wporg.offer(dict.fromkeys(slugs, "1.1"))
    offered = program("updates", site.name, "--json").json["sites"][0]["updates"]
    assert {one["slug"]: (one["from"], one["to"]) for one in offered} == dict.fromkeys(slugs, ("1.0", "1.1"))

    with Visitor(lab, site).visiting() as visitor:
        answer = program("update", site.name, "--yes", "--json", "--progress", "json")
    done = answer.json
    assert done["outcome"] == "done"
    assert done["detail"].startswith(f"updated: plugin {GOOD}; put back: ")
    put_back = {one["item"]: one["text"] for one in answer.events if one.get("code") == "put_back"}
    assert set(put_back) == set(BROKEN)
    assert "empty" in put_back["broken-white"]
    assert "500" in put_back["broken-web"]
    assert "503" in put_back["broken-maintenance"]
    assert "status 500" in put_back["broken-single"]
    assert "/?s=a" not in put_back["broken-single"]

    status, body = lab.fetch(site)
    assert status == 200
    assert marks(body) == {f"{GOOD} 1.1", *(f"{slug} 1.0" for slug in BROKEN)}
    assert not (site.root / ".maintenance").exists()
    spans = spans_of_bad_items(answer.events)
    assert len(spans) == len(BROKEN)
    outside = [one for one in visitor.bad() if not any(begin <= one.at <= end for begin, end in spans)]
    assert outside == []
    assert visitor.bad()  # the visitor was there while the bad ones were looked at

    generations = program("generations", site.name, "--json").json["generations"]
    assert [one["id"] for one in generations] == [done["generation"]]
    left = program("updates", site.name, "--json").json["sites"][0]["updates"]
    assert {one["slug"] for one in left} == set(BROKEN)
    assert all(one["held"] == put_back[one["slug"]].partition(" was put back: ")[2] for one in left)
    assert program("update", site.name, "--yes", "--json", code=1).error["code"] == "nothing_to_update"
    program("undo", site.name, "--yes")
    assert marks(lab.fetch(site)[1]) == {f"{slug} 1.0" for slug in slugs}


def test_what_a_failed_update_did_to_the_database_goes_back_with_it(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("minato.example")
    lab.put_plugin(site, MIGRATING)
    options, prefix = f"`{site.db_prefix}options`", site.db_prefix
    colours = 'a:1:{i:0;s:3:"青";}'
    lab.sql(site, f"CREATE TABLE `{prefix}migrating_rows` (id int PRIMARY KEY)")
    lab.sql(
        site,
        f"INSERT INTO {options} (option_name, option_value, autoload) VALUES ('migrating_version', '1.0', 'yes'),"
        f" ('migrating_colours', '{colours}', 'yes'), ('migrating_gone', 'was here', 'no')",
    )
    ours = f"SELECT option_name, option_value, autoload FROM {options} WHERE option_name LIKE 'migrating%' ORDER BY 1"
    before = lab.sql(site, ours)
    assert len(before) == 3
    lab.wporg.offer({MIGRATING: "1.1"})
    done = program("update", site.name, "--yes", "--json", "--progress", "json", code=1)
    notes = {one["code"]: one["text"] for one in done.events if one["type"] == "note"}
    assert "status 500" in notes["put_back"]
    assert lab.sql(site, ours) == before
    tables = {name for (name,) in lab.sql(site, f"SHOW TABLES LIKE '{prefix}migrating%'")}
    assert tables == {f"{prefix}migrating_rows"}
    assert notes["options_back"].endswith(": migrating_added, migrating_colours, migrating_gone, migrating_version")
    assert notes["tables_dropped"].endswith(f": {prefix}migrating_new")
    assert notes["tables_altered"].endswith(f": {prefix}migrating_rows")
    offer = f"modoseru restore {site.name} {done.json['generation']} --only database"
    assert offer in notes["tables_altered"]
    remembered = f"SELECT option_value FROM {options} WHERE option_name = '_transient_migrating_remembered'"
    assert lab.sql(site, remembered) == [("1.1",)]
    assert lab.fetch(site)[0] == 200


def test_core_and_theme_are_updated_after_the_plugins_and_undo_brings_all_back(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("momiji.example")
    lab.put_plugin(site, GOOD)
    active = f"SELECT option_value FROM `{site.db_prefix}options` WHERE option_name IN ('stylesheet', 'template')"
    assert lab.sql(site, active) == [("twentytwentythree",), ("twentytwentythree",)]
    lab.wporg.offer({GOOD: "1.1", "akismet": "5.7.2"}, themes={"twentytwentythree": "1.7"}, core="7.1.1")
    answer = program("update", site.name, "--yes", "--json", "--progress", "json")
    assert answer.json["outcome"] == "done"
    assert lab.sql(site, active) == [("twentytwentythree",), ("twentytwentythree",)]
    order = [one["item"] for one in answer.events if one.get("code") == "updating"]
    assert order == ["akismet", GOOD, "twentytwentythree", "wordpress"]
    found = program("check", site.name, "--json", code=None).json["sites"][0]
    assert found["versions"]["wordpress"] == "7.1.1"
    assert found["updates"] == []
    assert found["health"]["state"] == "ok"
    assert marks(lab.fetch(site)[1]) == {f"{GOOD} 1.1"}
    assert lab.fetch(lab.site("sakura.example"))[0] == 200  # of the same account


def test_only_what_is_named_is_updated(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("minato.example")
    for slug in (GOOD, "broken-init"):
        lab.put_plugin(site, slug)
    lab.wporg.offer({GOOD: "1.1", "broken-init": "1.1"})
    done = program("update", site.name, "--only", GOOD, "--yes", "--json").json
    assert done["detail"] == f"updated: plugin {GOOD}"
    only_bad = program("update", site.name, "--only", "broken-init", "--yes", "--json", code=1).json
    assert only_bad["outcome"] == "rolled_back"
    assert marks(lab.fetch(site)[1]) == {f"{GOOD} 1.1", "broken-init 1.0"}
    refused = program("update", site.name, "--only", "no-such-plugin", "--yes", "--json", code=1).error
    assert refused["code"] == "unknown_item"
    held = program("update", site.name, "--only", "broken-init", "--yes", "--json", code=1).error
    assert (held["code"], held["hint"]) == ("held", f"modoseru updates {site.name} --let-go broken-init")
    assert "  held: " in program("updates", site.name).out
    left = program("updates", site.name, "--let-go", "broken-init", "--json").json["sites"][0]["updates"]
    assert [(one["slug"], one["held"]) for one in left] == [("broken-init", None)]
    assert program("updates", site.name, "--let-go", "broken-init", "--json", code=1).error["code"] == "not_held"
    program("follow", site.name, only_bad["operation"], code=1)
    left = program("updates", site.name, "--json").json["sites"][0]["updates"]
    assert [one["held"] for one in left] == [None]  # it was let go, and no older story holds it again
    assert "not_held" in program("updates", "--let-go", "broken-init", "--json", code=1).out
    program("updates", site.name, "--hold", "broken-init", "--why", "the client has a sale")
    (status,) = program("status", site.name, "--json").json["sites"]
    assert [one["held"] for one in status["updates"]] == ["the client has a sale"]
    program("updates", site.name, "--let-go", "broken-init")
    text = program("update", site.name, "--only", "broken-init", "--yes", code=1)
    assert f"{site.name}: update taken back" in text.out
    assert "the site is as before" in text.out


def test_a_page_of_a_plugin_that_lost_its_form_is_missed_and_named(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("minato.example")
    lab.put_plugin(site, FORM)
    columns = "post_title, post_name, post_type, post_status, post_content, post_excerpt, to_ping, pinged"
    columns += ", post_content_filtered, post_date, post_date_gmt, post_modified, post_modified_gmt"
    values = f"'お問い合わせ', 'toiawase', 'page', 'publish', '<p>[{FORM}]</p>', '', '', '', ''" + ", '2020-01-01'" * 4
    lab.sql(site, f"INSERT INTO `{site.db_prefix}posts` ({columns}) VALUES ({values})")
    lab.wporg.offer({FORM: "1.1"})
    done = program("update", site.name, "--yes", "--json", "--progress", "json", code=1)
    (why,) = [one["text"] for one in done.events if one["type"] == "note" and one["code"] == "put_back"]
    assert "toiawase" in why or "page_id=" in why
    assert why.endswith("a form is gone: 1, before 2")
    assert f"<meta name='{FORM}' content='1.0'>" in lab.fetch(site)[1]
    program("updates", site.name, "--let-go", FORM)
    program.write_site(site, {"web.pages": ["wp-login.php"]})
    done = program("update", site.name, "--yes", "--json").json
    assert done["outcome"] == "done"


CART = {
    "name": "into the cart",
    "step": [
        {"get": "/?shop"},
        {"post": "/?cart", "form": {"add": "3"}, "hidden": True, "expect": "ご注文手続き: 3点"},
    ],
}
INQUIRY = {
    "name": "contact",
    "step": [{"get": "/?contact"}, {"post": "/?contact", "form": {"mail": "a@b.example"}, "expect": "入力内容の確認"}],
}
GONE = {"name": "gone", "step": [{"get": "/no-such-page-at-all/"}]}


async def test_a_journey_that_breaks_has_its_plugin_put_back_alone(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("kogyo.example")
    for slug in (GOOD, SHOP, CONTACT):
        lab.put_plugin(site, slug)
    program.write_site(site, {"web.journey": [CART, INQUIRY, GONE]})
    lab.wporg.offer(dict.fromkeys((GOOD, SHOP, CONTACT), "1.1"))
    async with program.session() as session:
        intent = await update.plan(session, session.fleet.site(site.name))
    failing = "Journey “gone” fails already and judges nothing: step 1 (GET /no-such-page-at-all/): status 404."
    assert intent.stays[-1] == failing
    assert [one["name"] for one in intent.request["expect"]["journeys"]] == ["into the cart", "contact"]
    answer = program("update", site.name, "--yes", "--json", "--progress", "json")
    assert answer.json["detail"].startswith(f"updated: plugin {GOOD}; put back: ")
    put_back = {one["item"]: one["text"].partition(": ")[2] for one in answer.events if one.get("code") == "put_back"}
    assert set(put_back) == {SHOP, CONTACT}
    assert put_back[SHOP].startswith("journey “into the cart”, step 2 (POST /?cart): status 500")
    assert put_back[CONTACT].startswith(
        "journey “contact”, step 2 (POST /?contact): “入力内容の確認” is not on the page"
    )
    left = program("updates", site.name, "--json").json["sites"][0]["updates"]
    assert {one["slug"]: one["held"] for one in left} == put_back
    assert f"<meta name='{GOOD}' content='1.1'>" in lab.fetch(site)[1]
    assert f"<meta name='{SHOP}' content='1.0'>" in lab.fetch(site)[1]


def test_what_cannot_be_applied_says_why_and_the_rest_goes_on(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("minato.example")
    for slug in (GOOD, FORM):
        lab.put_plugin(site, slug)
    lab.wporg.offer({GOOD: "1.1", FORM: "1.1"}, needs_php={FORM: "99.0"})

    def held() -> dict[str, str | None]:
        return {one["slug"]: one["held"] for one in program("updates", site.name, "--json").json["sites"][0]["updates"]}

    told = held()
    assert told[GOOD] is None
    assert str(told[FORM]).startswith("it needs PHP 99.0, and the site has ")
    refused = program("update", site.name, "--only", FORM, "--yes", "--json", code=1).error
    assert refused["code"] == "blocked"
    assert program("update", site.name, "--yes", "--json").json["detail"] == f"updated: plugin {GOOD}"

    lab.wporg.offer({FORM: "1.1"})
    (site.root / ".git").mkdir()
    assert "version control (.git)" in str(held()[FORM])
    (site.root / ".git").rmdir()
    text = site.config_file.read_text()
    site.config_file.write_text(text.replace("$table_prefix", "define('DISALLOW_FILE_MODS', true);\n$table_prefix", 1))
    assert "DISALLOW_FILE_MODS" in str(held()[FORM])


async def test_one_item_goes_back_later_and_its_tables_are_named(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("minato.example")
    for slug in (GOOD, FORM):
        lab.put_plugin(site, slug)
    refused = program("update", site.name, "--back", GOOD, "--yes", "--json", code=1).error
    assert refused["code"] == "never_updated"
    lab.wporg.offer({GOOD: "1.1", FORM: "1.1"})
    first = program("update", site.name, "--only", GOOD, "--yes", "--json").json
    program("update", site.name, "--only", FORM, "--yes")
    lab.sql(site, f"CREATE TABLE `{site.db_prefix}good_new` (id int PRIMARY KEY)")
    assert marks(lab.fetch(site)[1]) == {f"{GOOD} 1.1"}

    async with program.session() as session:
        intent = await back.plan(session, session.fleet.site(site.name), GOOD)
    assert (intent.danger, intent.typed) == (True, None)
    assert intent.question.startswith(f"Put plugin {GOOD} of {site.name} back to what it was before ")
    assert f"Tables made since then stay: {site.db_prefix}good_new." in intent.stays
    done = program("update", site.name, "--back", GOOD, "--yes", "--json").json
    assert (done["kind"], done["outcome"], done["generation"]) == ("restore", "done", first["generation"])
    assert marks(lab.fetch(site)[1]) == {f"{GOOD} 1.0"}
    assert (site.root / f"wp-content/plugins/{GOOD}/includes/tools-1.0.php").exists()
    assert not (site.root / f"wp-content/plugins/{GOOD}/includes/tools-1.1.php").exists()
    assert (site.root / f"wp-content/plugins/{FORM}/includes/tools-1.1.php").exists()
    assert ("good_new",) in [(name.removeprefix(site.db_prefix),) for (name,) in lab.sql(site, "SHOW TABLES")]
    left = program("updates", site.name, "--json").json["sites"][0]["updates"]
    assert [(one["slug"], one["held"]) for one in left] == [(GOOD, "put back by hand")]


def test_updates_that_could_not_be_asked_for_are_not_told_as_none(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("minato.example")
    assert program("updates", site.name).out == f"{site.name}: up to date\n"
    lab.wporg.offer({"akismet": "5.7.2"}, fail=True)
    (found,) = program("updates", site.name, "--json", code=1).json["sites"]
    assert found["updates"] is None
    assert found["error"]["code"] == "updates_unknown"
    text = program("updates", site.name, code=1)
    assert text.out == ""
    assert "could not ask wordpress.org" in text.err
    assert program("update", site.name, "--yes", "--json", code=1).error["code"] == "updates_unknown"
    lab.wporg.offer()
    assert program("update", site.name, "--yes", "--json", code=1).error["code"] == "nothing_to_update"


def test_a_site_that_is_failing_already_is_not_updated(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("minato.example")
    lab.put_plugin(site, GOOD)
    lab.wporg.offer({GOOD: "1.1"})
    (site.root / "wp-content" / "mu-plugins" / "broken.php").write_text("<?php if (PHP_SAPI !== 'cli') { broken(); }")
    assert program("update", site.name, "--yes", "--json", code=1).error["code"] == "already_failing"


def test_what_a_plugin_needs_is_updated_before_it() -> None:
    def plugin(slug: str, *needs: str) -> Update:
        return Update(kind="plugin", slug=slug, needs=needs)

    core, theme = Update(kind="core", slug="wordpress"), Update(kind="theme", slug="a-theme")
    addon, shop, other = plugin("an-addon", "shop", "gone"), plugin("shop", "zlib"), plugin("zlib")
    assert in_order([core, addon, theme, other, shop]) == [other, shop, addon, theme, core]
    assert in_order([plugin("b", "a"), plugin("a", "b")]) == [plugin("b", "a"), plugin("a", "b")]
    assert in_order([]) == []


def test_a_login_page_that_failed_before_is_no_reason_to_put_anything_back(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("minato.example")
    lab.put_plugin(site, GOOD)
    lab.wporg.offer({GOOD: "1.1"})
    (site.root / "wp-content/mu-plugins").mkdir(exist_ok=True)
    closed = "<?php add_action('login_init', function () { http_response_code(500); exit('closed'); });\n"
    (site.root / "wp-content/mu-plugins/login.php").write_text(closed)
    assert program("update", site.name, "--yes", "--json").json["detail"] == f"updated: plugin {GOOD}"


def test_rows_that_a_failed_update_moved_into_a_table_of_its_own_are_not_dropped(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("minato.example")
    lab.put_plugin(site, RENAMING)
    rows = f"{site.db_prefix}renaming_rows"
    lab.sql(site, f"CREATE TABLE `{rows}` (id int PRIMARY KEY)")
    lab.sql(site, f"INSERT INTO `{rows}` VALUES (1), (2)")
    lab.wporg.offer({RENAMING: "1.1"})
    done = program("update", site.name, "--yes", "--json", "--progress", "json", code=1)
    notes = {one["code"]: one["text"] for one in done.events if one["type"] == "note"}
    assert notes["tables_left"].endswith(f": {site.db_prefix}renaming_new")
    assert notes["tables_altered"].endswith(f": {rows}")
    assert lab.sql(site, f"SELECT COUNT(*) FROM `{site.db_prefix}renaming_new`") == [("2",)]


def test_what_breaks_where_no_visitor_sees_it_is_put_back_by_the_error_log(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("kogyo.example")
    slugs = (*BEHIND, NOISY)
    for slug in slugs:
        lab.put_plugin(site, slug)
    log = site.home / "php-errors.log"
    log.write_text("[26-Nov-2026 03:00:00 UTC] PHP Fatal error:  Uncaught Error: an old story in /x.php:1\n")
    os.chown(log, site.uid, site.uid)
    lab.wporg.offer(dict.fromkeys(slugs, "1.1"))
    answer = program("update", site.name, "--yes", "--json", "--progress", "json")
    assert answer.json["detail"].startswith(f"updated: plugin {NOISY}; put back: ")
    put_back = {one["item"]: one["text"] for one in answer.events if one.get("code") == "put_back"}
    assert "PHP's error log: fatal error: Uncaught Error: behind the page" in put_back["behind-page"]
    assert "PHP's error log: fatal error: Uncaught Error: in cron" in put_back["behind-cron"]
    noted = next(one for one in answer.events if one.get("code") == "logged")
    assert "it warns, and works" in noted["text"]
    assert (noted["level"], noted["item"]) == ("warning", NOISY)


def test_an_error_that_the_log_knew_before_holds_no_update(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("kogyo.example")
    lab.put_plugin(site, GOOD)
    mu = site.root / "wp-content/mu-plugins/behind.php"
    mu.parent.mkdir(exist_ok=True)
    mu.write_text("<?php register_shutdown_function(function () { throw new Error('every ' . time()); });")
    lab.fetch(site)
    lab.wporg.offer({GOOD: "1.1"})
    done = program("update", site.name, "--yes", "--json").json
    assert done["detail"] == f"updated: plugin {GOOD}"


def test_translations_are_offered_updated_and_put_back_one_by_one(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("kogyo.example")
    lab.put_plugin(site, GOOD)
    languages = site.root / "wp-content/languages"
    old = {one.name: one.read_bytes() for one in languages.iterdir() if one.is_file()} if languages.exists() else {}
    lab.sql(
        site,
        f"REPLACE INTO `{site.db_prefix}options` (option_name, option_value, autoload) VALUES ('WPLANG', 'ja', 'yes')",
    )
    words = {f"plugin/{GOOD}/ja": "2026-10-01 00:00:00", "core/default/ja": "2099-10-01 00:00:00"}
    lab.wporg.offer(core="7.1.1", words=words)  # 6.1.9 does not read words as PHP
    offered = program("updates", site.name, "--json").json["sites"][0]["updates"]
    assert [(one["kind"], one["slug"], one["to"]) for one in offered] == [
        ("core", "wordpress", "7.1.1"),
        ("translation", "core-ja", "2099-10-01 00:00:00"),
        ("translation", f"plugin-{GOOD}-ja", "2026-10-01 00:00:00"),
    ]
    answer = program("update", site.name, "--yes", "--json", "--progress", "json")
    assert answer.json["detail"].startswith(
        f"updated: core wordpress, translation plugin-{GOOD}-ja; put back: translation core-ja ("
    )
    put_back = next(one["text"] for one in answer.events if one.get("code") == "put_back")
    assert "status 500" in put_back
    assert {one.name: one.read_bytes() for one in languages.iterdir() if one.is_file()} == old
    po = (languages / f"plugins/{GOOD}-ja.po").read_text()
    assert "2026-10-01" in po
    left = program("updates", site.name, "--json").json["sites"][0]["updates"]
    assert [one["slug"] for one in left] == ["core-ja"]

    lab.wporg.offer(
        words={f"plugin/{GOOD}/ja": "2026-11-01 00:00:00", "theme/twentytwentythree/ja": "2026-11-01 00:00:00"}
    )
    offered = program("updates", site.name, "--json").json["sites"][0]["updates"]
    assert offered[0]["from"] == "2026-10-01 00:00:00"
    program("update", site.name, "--yes")
    assert "2026-11-01" in (languages / f"plugins/{GOOD}-ja.po").read_text()
    assert (languages / "themes/twentytwentythree-ja.po").exists()
    program("undo", site.name, "--yes")
    assert (languages / f"plugins/{GOOD}-ja.po").read_text() == po
    assert not (languages / "themes/twentytwentythree-ja.po").exists()


def test_plugins_that_nobody_looks_after_are_told_with_their_reason(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("kogyo.example")
    program.write_fleet({"wordpress": {"api": lab.wporg.url, "downloads": lab.wporg.url}})
    for slug in (GOOD, NOISY, FORM):
        lab.put_plugin(site, slug)
    closed = {
        "error": "closed",
        "slug": NOISY,
        "closed": True,
        "closed_date": "2026-02-01",
        "reason_text": "Security \x1b[31mIssue",
    }
    old = {"slug": FORM, "last_updated": "2023-01-05 7:00am GMT", "tested": "6.1.1"}
    lab.wporg.offer(listed={NOISY: closed, FORM: old})
    lab.wporg.forget()
    found = program("updates", site.name, "--json").json["sites"][0]
    assert [(one["slug"], one["state"], one["since"], one["version"]) for one in found["neglected"]] == [
        (NOISY, "closed", "2026-02-01", "1.0"),
        (FORM, "abandoned", "2023-01-05", "1.0"),
    ]
    asked = [one["path"] for one in lab.wporg.requests() if one["path"].startswith("/plugins/info/")]
    assert len(asked) == len(set(asked))
    assert f"/plugins/info/1.0/{GOOD}.json" in asked
    lab.wporg.forget()
    told = program("updates", site.name).out
    assert f"CLOSED      {NOISY} 1.0  closed by wordpress.org 2026-02-01 (Security " in told
    assert f"ABANDONED   {FORM} 1.0  last updated 2023-01-05; tried with WordPress 6.1.1: no update will come" in told
    assert "\x1b" not in told
    assert [one for one in lab.wporg.requests() if one["path"].startswith("/plugins/info/")] == []


@pytest.mark.parametrize("harm", ["cut", "bent"])
def test_a_download_that_is_not_whole_changes_nothing(lab: Lab, fresh_site: Fresh, program: Program, harm: str) -> None:
    site = fresh_site("kogyo.example")
    lab.put_plugin(site, GOOD)
    lab.put_plugin(site, NOISY)
    lab.wporg.offer({GOOD: "1.1", NOISY: "1.1"}, harm={GOOD: harm})
    answer = program("update", site.name, "--yes", "--json", "--progress", "json")
    assert answer.json["detail"].startswith(f"updated: plugin {NOISY}; put back: plugin {GOOD} (")
    assert [one["item"] for one in answer.events if one.get("code") == "not_updated"] == [GOOD]
    assert marks(lab.fetch(site)[1]) == {f"{GOOD} 1.0"}
    assert (site.root / f"wp-content/plugins/{GOOD}/includes/tools-1.0.php").exists()
    assert not list((site.root / "wp-content/upgrade").glob(f"{GOOD}*"))
