"""A drill on a standby: the site comes out of the vault on another server, and nothing of it stays there."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.screens.identity import AskIdentity
from backends.records import Outcome
from tests.agent.small import tables_of, tree
from tests.lab import Lab, LabSite
from tests.operations.program import Program
from tests.operations.screen_of_fleet import on_screen
from tests.operations.test_lost_config_on_screen import ended
from tests.vault.machine import Machine
from tests.vault.new_server import new_server

pytestmark = [pytest.mark.lab]
Fresh = Callable[[str], LabSite]
NAME, STANDBY = "kogyo.example", "standby.example"


@pytest.fixture
def site(fresh_site: Fresh) -> LabSite:
    return fresh_site(NAME)


@pytest.fixture
def empty(lab: Lab, site: LabSite, on_folder: Machine) -> Iterator[LabSite]:
    """An account, and a database that only [server.database] knows."""
    with new_server(lab, site, "www") as made:
        access: dict[str, Any] = {"name": made.db_name, "user": made.db_user, "host": made.db_host}
        changes = {
            "name": STANDBY,
            "url": f"https://{STANDBY}/",
            "server.database": access | {"password_command": ["echo", made.db_password]},
        }
        on_folder.program.write_site(made, changes)
        on_folder.program.write_site(site, {"policy.standby": STANDBY})
        yield made


def drill(machine: Machine, *words: str, code: int = 0) -> Any:
    return machine.program("drill", NAME, "--tier", "vault", "--identity", str(machine.identity), *words, code=code)


def status_of(program: Program) -> dict[str, Any]:
    (found,) = (one for one in program("status", "--json").json["sites"] if one["name"] == NAME)
    return dict(found)


def kept(home: Path) -> list[str]:
    """What lies in the state folder of a standby, but for the agent and the journals of its operations."""
    state = home / ".modoseru" / STANDBY
    files = [path.relative_to(state) for path in state.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if path.parts[0] != "ops" or "stage" in path.parts)


def test_it_proves_the_site_and_leaves_nothing_on_the_standby(
    lab: Lab, on_folder: Machine, site: LabSite, empty: LabSite
) -> None:
    generation = on_folder.copied(NAME)
    live, tables = tree(site.root), tables_of(lab, site.db_name, site.db_prefix)
    done = drill(on_folder, "--json").json
    assert (done["kind"], done["outcome"], done["site"]) == ("drill", "done", STANDBY)
    assert done["detail"].startswith(f"restored on a standby; “{site.title}” starts")

    found = status_of(on_folder.program)
    steps = sum(step["seconds"] for step in done["steps"] if step["name"] != "drop")
    assert (found["verdict"], found["rto_s"]) == ("proven", None)
    assert found["rto_vault_s"] >= steps - 1
    drilled = {one["tier"]: one["drilled_at"] for one in found["generations"] if one["id"] == generation}
    assert drilled["server"] is None
    assert dt.datetime.fromisoformat(drilled["vault"]).tzinfo is not None
    assert tree(site.root) == live
    assert tables_of(lab, site.db_name, site.db_prefix) == tables

    assert kept(empty.home) == ["lock"]
    assert not list(empty.home.glob(".modoseru*/*/incoming/*"))
    assert lab.sql(empty, "SHOW TABLES") == []
    again = on_folder.program("follow", STANDBY, done["operation"], "--json").json
    assert again["outcome"] == "done"


async def test_its_key_in_the_dashboard_proves_the_site_too(on_folder: Machine, site: LabSite, empty: LabSite) -> None:
    on_folder.copied(NAME)
    async with on_screen(on_folder.program) as screen:
        await screen.go_to(NAME)
        await screen.look_again(NAME)
        assert screen.shows("UNPROVEN")
        await screen.press("o")
        await screen.until(lambda: isinstance(screen.app.screen, AskIdentity))
        await screen.press("ctrl+u", *str(on_folder.identity), "enter")
        assert await ended(screen, STANDBY, "drill") is Outcome.DONE
        await screen.until(lambda: screen.shows("PROVEN") and not screen.shows("UNPROVEN"))
    assert kept(empty.home) == ["lock"]


def test_a_failure_there_counts_and_leaves_nothing_either(
    lab: Lab, on_folder: Machine, site: LabSite, empty: LabSite
) -> None:
    plugin = site.root / "wp-content/mu-plugins/aaa-trouble.php"
    plugin.write_text("<?php\nadd_action('init', function () { throw new Error('nobody caught it'); });\n")
    os.chown(plugin, site.uid, site.uid)
    on_folder.copied(NAME)
    failed = drill(on_folder, "--json", code=1).json
    assert "nobody caught it" in failed["detail"]
    found = status_of(on_folder.program)
    assert (found["verdict"], found["rto_vault_s"]) == ("failed", None)
    assert not list((empty.home / ".modoseru").glob("*/incoming/*"))
    assert lab.sql(empty, "SHOW TABLES") == []


def test_a_site_of_the_standby_is_kept_out_of_it(
    lab: Lab, on_folder: Machine, site: LabSite, fresh_site: Fresh
) -> None:
    other = fresh_site("momiji.example")
    on_folder.program.write_site(site, {"policy.standby": other.name})
    on_folder.copied(NAME)
    before, tables = tree(other.root), tables_of(lab, other.db_name, "")
    without = drill(on_folder, "--json", code=1).json
    assert without["detail"] == "a rehearsal of another site needs an empty database of its own"
    access = {"name": other.db_name, "user": other.db_user, "host": other.db_host}
    on_folder.program.write_site(other, {"server.database": access | {"password_command": ["echo", other.db_password]}})
    refused = drill(on_folder, "--json", code=1).json
    assert refused["detail"].startswith(f"the database {other.db_name} holds tables of something else: ")
    assert tree(other.root) == before
    assert tables_of(lab, other.db_name, "") == tables
    assert not list((other.home / ".modoseru").glob("*/incoming/*"))
    assert status_of(on_folder.program)["verdict"] == "unproven"


def test_a_drill_whose_end_was_seen_by_another_counts_too(on_folder: Machine, site: LabSite, empty: LabSite) -> None:
    on_folder.copied(NAME)
    words = ["drill", NAME, "--tier", "vault", "--identity", str(on_folder.identity), "--progress", "json"]
    running = on_folder.program.start(*words)
    line = running.until('"kind":"drill"')
    running.signal(signal.SIGKILL)
    running.ended(None)
    operation = json.loads(line)["operation"]
    assert on_folder.program("follow", STANDBY, operation, "--json").json["outcome"] == "done"
    found = status_of(on_folder.program)
    assert found["verdict"] == "proven"
    assert found["rto_vault_s"] is not None


def test_one_that_is_killed_there_is_cleared_away_by_the_next(
    lab: Lab, on_folder: Machine, site: LabSite, empty: LabSite
) -> None:
    on_folder.copied(NAME)
    words = ["drill", NAME, "--tier", "vault", "--identity", str(on_folder.identity), "--progress", "json"]
    running = on_folder.program.start(*words)
    running.until('"name":"stage"')
    subprocess.run(["pkill", "-KILL", "-U", empty.account, "php"], check=True)
    running.signal(signal.SIGKILL)
    running.ended(None)
    assert drill(on_folder, "--json").json["outcome"] == "done"
    assert not list((empty.home / ".modoseru").glob("*/incoming/*"))
    assert lab.sql(empty, "SHOW TABLES") == []
