"""The server is gone: a site comes back out of the vault to an account of which it knows nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.small import Tree, tables_of, tree, without
from tests.backends.dns_server import Zone, served
from tests.lab import Lab, LabSite
from tests.operations.program import Program, program_of
from tests.vault.machine import Machine
from tests.vault.new_server import new_server

pytestmark = [pytest.mark.lab]
Fresh = Callable[[str], LabSite]
NAME = "kogyo.example"
MOVES = rb"wp-content/(cache|upgrade)(/.*)?|wp-config\.php|\.user\.ini"
"""What WordPress writes when it is asked for a page, and what a move changes."""


@pytest.fixture
def old(fresh_site: Fresh) -> LabSite:
    return fresh_site(NAME)


@pytest.fixture
def new(lab: Lab, old: LabSite) -> Iterator[LabSite]:
    with new_server(lab, old, "domains/kogyo/www") as made:
        yield made


@pytest.fixture
def laptop(lab: Lab, on_folder: Machine, tmp_path: Path) -> Program:
    """Another machine: the configuration, the identity and the store are all that it has."""
    other = tmp_path / "laptop"
    other.mkdir()
    made = program_of(lab, other)
    (made.config / "fleet.toml").write_bytes((on_folder.program.config / "fleet.toml").read_bytes())
    made.environment["MODOSERU_IDENTITY"] = str(on_folder.identity)
    return made


def point_to(program: Program, new: LabSite) -> None:
    """What the operator changes in sites.d."""
    access: dict[str, Any] = {"name": new.db_name, "user": new.db_user, "host": new.db_host}
    program.write_site(new, {"server.database": access | {"password_command": ["echo", new.db_password]}})


def files_of(site: LabSite) -> Tree:
    return without(tree(site.root), MOVES)


def rows_of(lab: Lab, site: LabSite) -> tuple[Any, Any]:
    """Every table; of the options, in which WordPress writes when it is asked for a page, all but its caches."""
    tables = tables_of(lab, site.db_name, site.db_prefix)
    if tables.pop(f"{site.db_prefix}options", None) is None:
        return tables, {}
    kept = f"SELECT * FROM `{site.db_prefix}options` WHERE option_name NOT LIKE '%transient%' AND option_name <> 'cron'"
    return tables, {row[1]: row[2:] for row in lab.sql(site, kept)}


def same_rows(lab: Lab, new: LabSite, before: tuple[Any, Any]) -> bool:
    tables, options = rows_of(lab, new)
    return bool(tables == before[0]) and {name: options.get(name) for name in before[1]} == before[1]


def restore(program: Program, *words: str) -> Any:
    return program("restore", NAME, "--tier", "vault", "--yes", "--json", *words)


def test_a_new_laptop_brings_it_to_an_empty_account_and_undo_leaves_that_empty(
    lab: Lab, on_folder: Machine, laptop: Program, old: LabSite, new: LabSite
) -> None:
    text = old.config_file.read_text().replace(
        "$table_prefix", f"define( 'WPCACHEHOME', '{old.root}/wp-content/plugins/x/' );\n// {old.root}\n$table_prefix"
    )
    old.config_file.write_text(text)
    (old.root / ".user.ini").write_text(f"auto_prepend_file = '{old.root}/waf.php'\n")
    (old.root / "waf.php").write_text("<?php // a plugin's firewall\n")
    (old.root / "wp-content/object-cache-x.php").write_text(f"<?php // {old.home}/cache\n")
    subprocess.run(["chown", "-R", f"{old.account}:", str(old.root)], check=True)
    generation = on_folder.copied(NAME)
    files, tables = files_of(old), rows_of(lab, old)
    point_to(laptop, new)
    laptop("vault", "rebuild")

    found = laptop("restore", NAME, "--tier", "vault", "--dry-run", "--json").json
    assert found["blockers"] == []
    assert any("the credentials given" in one["message"] for one in found["warnings"])
    assert not new.root.exists()
    answer = restore(laptop, "--progress", "json")
    assert (answer.json["outcome"], answer.json["generation"]) == ("done", generation)
    notes = [event["text"] for event in answer.events if event["type"] == "note"]
    assert any("lead here now in" in one and ".user.ini" in one and "wp-config.php" in one for one in notes)
    assert any("left as they were" in one and "object-cache-x.php" in one for one in notes)

    assert files_of(new) == files
    assert same_rows(lab, new, tables)
    config = new.config_file.read_text()
    assert f"'WPCACHEHOME', '{new.root}/wp-content/plugins/x/'" in config
    assert f"// {old.root}\n" in config
    assert (new.root / ".user.ini").read_text() == f"auto_prepend_file = '{new.root}/waf.php'\n"
    for name in ("db_name", "db_user", "db_password", "db_host"):
        assert f"'{getattr(new, name)}'" in config
    status, body = lab.fetch(new)
    assert (status, old.title in body) == (200, True)

    again = restore(laptop, "--progress", "json")
    assert again.json["outcome"] == "done"
    brought = [
        one for one in laptop("operations", NAME, "--all", "--json").json["operations"] if one["kind"] == "bring"
    ]
    assert "0 bytes were brought from the vault" in [one["detail"] for one in brought]
    assert laptop("drill", NAME, "--json").json["outcome"] == "done"
    assert laptop("verify", NAME, generation, "--json").json["problems"] == []


def test_site_test_says_what_is_in_an_empty_account_and_what_is_lacking(
    lab: Lab, laptop: Program, new: LabSite
) -> None:
    def tried(code: int) -> dict[str, dict[str, Any]]:
        (found,) = laptop("site", "test", NAME, "--json", code=code).json["sites"]
        return {step["name"]: step for step in found["steps"]}

    laptop.write_site(new)
    assert "lacking: [server.database]" in tried(1)["WordPress"]["detail"]
    point_to(laptop, new)
    found = tried(0)
    assert "0 tables opens" in found["empty account"]["detail"]
    assert "there is no page yet" in found["pages"]["detail"]
    assert {"login", "agent", "detached work"} <= found.keys()
    lab.lock_database(new)
    assert "does not open" in tried(1)["empty account"]["detail"]


def test_undo_takes_the_new_account_back_to_empty(
    lab: Lab, on_folder: Machine, laptop: Program, old: LabSite, new: LabSite
) -> None:
    on_folder.copied(NAME)
    point_to(laptop, new)
    laptop("vault", "rebuild")
    restore(laptop)
    assert new.config_file.exists()
    assert laptop("undo", NAME, "--yes", "--json").json["outcome"] == "done"
    assert not new.root.exists()
    assert rows_of(lab, new) == ({}, {})
    assert laptop("undo", NAME, "--yes", "--json").json["outcome"] == "done"
    assert old.title in lab.fetch(new)[1]


@pytest.mark.parametrize("halves", [("database", "files"), ("files", "database")])
def test_one_half_after_the_other_makes_the_same_site(  # noqa: PLR0917 - fixtures
    lab: Lab, on_folder: Machine, laptop: Program, old: LabSite, new: LabSite, halves: tuple[str, str]
) -> None:
    on_folder.copied(NAME)
    files, tables = files_of(old), rows_of(lab, old)
    point_to(laptop, new)
    laptop("vault", "rebuild")
    first = restore(laptop, "--only", halves[0]).json
    assert (first["outcome"], f"--only {halves[1]}" in first["detail"]) == ("done", True)
    assert laptop("undo", NAME, "--yes", "--json").json["outcome"] == "done"
    assert (new.root.exists(), rows_of(lab, new)) == (False, ({}, {}))
    assert laptop("undo", NAME, "--yes", "--json").json["outcome"] == "done"
    assert restore(laptop, "--only", halves[1]).json["outcome"] == "done"
    assert files_of(new) == files
    assert same_rows(lab, new, tables)
    assert old.title in lab.fetch(new)[1]


def test_wp_config_above_the_root_and_content_beside_it_find_their_place(
    lab: Lab, on_folder: Machine, laptop: Program, fresh_site: Fresh
) -> None:
    old = fresh_site("sakura.example")
    on_folder.copied(old.name)
    files, tables = files_of(old), rows_of(lab, old)
    with new_server(lab, old, "www/public_html") as new:
        point_to(laptop, new)
        laptop("vault", "rebuild")
        done = laptop("restore", old.name, "--tier", "vault", "--yes", "--json").json
        assert done["outcome"] == "done"
        assert files_of(new) == files
        assert same_rows(lab, new, tables)
        config = (new.root.parent / "wp-config.php").read_text()
        assert (f"'{new.db_name}'" in config, new.config_file.exists()) == (True, False)
        assert old.title in lab.fetch(new)[1]
        assert laptop("undo", old.name, "--yes", "--json").json["outcome"] == "done"
        assert not (new.root.parent / "wp-config.php").exists()


async def test_what_of_dns_has_to_change_is_told_and_it_is_waited_for(
    lab: Lab, on_folder: Machine, laptop: Program, old: LabSite, new: LabSite
) -> None:
    await asyncio.to_thread(on_folder.copied, NAME)
    zone: Zone = {
        "kogyo.example.": ["1 A 203.0.113.5", "1 AAAA 2001:db8::5"],
        "www.kogyo.example.": ["1 CNAME kogyo.example."],
    }
    async with served(zone) as resolver:
        table = tomllib.loads((laptop.config / "fleet.toml").read_text())
        table["domains"]["resolver"] = resolver
        laptop.write_fleet(table)
        point_to(laptop, new)
        await asyncio.to_thread(laptop, "vault", "rebuild")
        words = ("restore", NAME, "--tier", "vault", "--json")
        found = (await asyncio.to_thread(laptop, *words, "--dry-run")).json["dns"]
        change = {"name": "kogyo.example", "type": "A", "from": "203.0.113.5", "to": "127.0.0.1"}
        remove = {"name": "kogyo.example", "type": "AAAA", "from": "2001:db8::5", "to": None}
        assert found["records"] == [change, remove]
        assert (found["host"], found["wanted"], found["ttl_s"]) == (new.host, "127.0.0.1", 1)
        assert (found["now"], found["untouched"]) == (["203.0.113.5", "2001:db8::5"], ["MX", "NS"])
        assert "Mailboxes" in found["mail"]
        text = (await asyncio.to_thread(laptop, "restore", NAME, "--tier", "vault", "--dry-run")).out
        assert "change kogyo.example A 203.0.113.5 → 127.0.0.1" in text

        running = laptop.start(*words, "--yes", "--wait-dns", "--progress", "json")
        line = await asyncio.to_thread(running.until, '"type":"dns"')
        assert json.loads(line)["records"] == [change, remove]
        zone["kogyo.example."] = ["1 A 127.0.0.1"]
        ended = (await asyncio.to_thread(running.ended)).json
        assert (ended["outcome"], ended["dns"]["records"], ended["dns"]["problem"]) == ("done", [], None)

        zone["kogyo.example."] = ["1 A 203.0.113.5"]
        running = laptop.start(*words, "--yes", "--wait-dns", "--progress", "json")
        await asyncio.to_thread(running.until, '"type":"dns"')
        running.signal(signal.SIGINT)
        left = (await asyncio.to_thread(running.ended, 130)).json
        assert (left["outcome"], [one["from"] for one in left["dns"]["records"]]) == ("done", ["203.0.113.5"])
    assert old.title in lab.fetch(new)[1]
