"""What the program exists for: everything on the server is encrypted, its backups too, and the site comes back.

The intruder has the rights of the site's account and the key of the store's writer. Modoseru is driven by its commands.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from tests.agent.small import tables_of, tree, without
from tests.lab import Lab, LabSite
from tests.lab.stores import PRUNER, WRITER
from tests.operations.conftest import program
from tests.operations.program import Program
from tests.store.grounds import OnS3
from tests.vault.machine import Machine

__all__ = ["program"]
pytestmark = pytest.mark.lab
NAME = "minato.example"
ATTACK = Path(__file__).with_name("attack.php")
MOVES = (rb"wp-content/(cache|upgrade)(/.*)?", rb"\.modoseru-gate.*")
"""What WordPress writes when it is asked for a page, and the script that a server may still remember."""
SECRETS = re.compile(rb"(?:AKIA|ASIA)[A-Z0-9]{16}|AGE-SECRET-KEY-1[A-Z0-9]{58}")


@pytest.fixture
def machine(on_weed: OnS3, program: Program, tmp_path: Path) -> Machine:
    """The store first: its credentials are in the environment that the program gets."""
    return Machine(program, on_weed, tmp_path)


@pytest.fixture
def site(fresh_site: Callable[[str], LabSite]) -> LabSite:
    return fresh_site(NAME)


def attack(site: LabSite, phase: str) -> None:
    words = [site.php, ATTACK.name, phase, str(site.home / ".modoseru" / NAME), str(site.root)]
    copy = site.home / ATTACK.name
    copy.write_bytes(ATTACK.read_bytes())
    subprocess.run(words, cwd=site.home, user=site.uid, group=site.uid, extra_groups=[], check=True, timeout=120)
    copy.unlink()


def months(machine: Machine, lab: Lab, site: LabSite) -> list[str]:
    """Generations of a site on which people work: four on its server, two of them in the vault; the oldest first."""
    made = []
    for number, tier in enumerate(("both", "server", "server", "both")):
        lab.sql(site, f"UPDATE `{site.db_prefix}posts` SET post_excerpt='month {number}' WHERE ID=5")
        done = machine.program("backup", NAME, "--tier", tier, "--reason", "weekly", "--json").json
        made.append((done["operations"][-1] if "operations" in done else done)["generation"])
    return made


def test_a_site_of_which_the_server_has_nothing_left_is_back_byte_for_byte(
    machine: Machine, lab: Lab, site: LabSite
) -> None:
    program = machine.program
    made = months(machine, lab, site)
    files, tables = without(tree(site.root), *MOVES), tables_of(lab, site.db_name, site.db_prefix)
    assert program("check", NAME, "--json", code=None).json["sites"][0]["health"]["state"] == "ok"

    attack(site, "quiet")
    (seen,) = program("check", NAME, "--json", code=None).json["sites"]
    assert not (site.home / "believed").exists()  # the agent that the intruder left was never run
    assert "a generation is not the one that was sealed" in seen["reasons"]
    assert f"a generation is gone: {made[1]}" in seen["reasons"]
    suspect = program("backup", NAME, "--json").json["generation"]
    states = {one["id"]: one["state"] for one in generations_of(program) if one["tier"] == "server"}
    assert states[suspect] == "suspect"

    attack(site, "encrypt")
    lab.restart_php(site)
    alarm = time.monotonic()
    (seen,) = program("check", NAME, "--json", code=2).json["sites"]
    assert (seen["health"]["state"], seen["verdict"]) == ("critical", "unproven")
    last_clean = max(
        one["id"] for one in generations_of(program) if one["tier"] == "vault" and one["state"] == "complete"
    )
    assert last_clean == made[-1]
    assert program("restore", NAME, "--dry-run", "--json", code=1).error["code"] == "no_generation"

    assert program("isolate", NAME, "--yes", "--json").json["outcome"] == "done"
    assert lab.fetch(site, "/wp-content/uploads/2024/shell.php")[0] == 503
    assert no_credentials(site) == []
    words = ("--tier", "vault", "--identity", str(machine.identity))
    password = {"password_command": ["echo", site.db_password]}
    program.write_site(
        site, {"server.database": {"name": site.db_name, "user": site.db_user, "host": site.db_host} | password}
    )
    restored = program("restore", NAME, *words, "--fresh", "--yes", "--json").json
    assert (restored["outcome"], restored["generation"]) == ("done", last_clean), restored
    assert lab.fetch(site)[0] == 503
    evidence = list((site.home / ".modoseru" / NAME / "ops").glob("*restore*"))
    kept = [path for one in evidence for path in one.glob("old/root/wp-content/uploads/2024/shell.php")]
    assert [path.read_bytes()[:6] for path in kept] == [b"LOCKED"]
    assert program("drill", NAME, last_clean, "--json").json["outcome"] == "done"
    assert program("release", NAME, "--yes", "--json").json["outcome"] == "done"
    print(f"from alarm to open: {time.monotonic() - alarm:.1f} s")

    status, body = lab.fetch(site)
    assert (status, site.title in body) == (200, True)
    assert lab.fetch(site, "/wp-content/uploads/2024/shell.php")[0] == 404
    assert without(tree(site.root), *MOVES) == files
    back = tables_of(lab, site.db_name, site.db_prefix)
    assert {name: rows for name, rows in back.items() if not name.endswith("options")} == {
        name: rows for name, rows in tables.items() if not name.endswith("options")
    }  # WordPress writes its options when it is asked for a page
    (seen,) = program("check", NAME, "--json", code=None).json["sites"]
    assert (seen["health"]["state"], seen["verdict"], seen["isolated"]) == ("ok", "proven", None)


def generations_of(program: Program) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = program("generations", NAME, "--json").json["generations"]
    return found


def no_credentials(site: LabSite) -> list[str]:
    """Files of the account that hold what opens the store: the writer's or the pruner's key, or an identity."""
    wanted = [word.encode() for key in (WRITER, PRUNER) for word in (key.access, key.secret)]
    files = ((path, path.read_bytes()) for path in site.home.rglob("*") if path.is_file())
    return [str(path) for path, body in files if SECRETS.search(body) or any(word in body for word in wanted)]


def test_with_the_writer_s_stolen_key_nothing_that_is_locked_is_lost(
    machine: Machine, on_weed: OnS3, site: LabSite
) -> None:
    """Deleted, overwritten, and a lifecycle rule that would expire everything."""
    generation = machine.copied(NAME)
    thief = on_weed.server.client(WRITER)
    listed = thief.list_object_versions(Bucket=on_weed.bucket)["Versions"]
    before = {(one["Key"], one["VersionId"]): one["ETag"] for one in listed}
    for one in listed:
        with pytest.raises(botocore.exceptions.ClientError):
            thief.delete_object(Bucket=on_weed.bucket, Key=one["Key"], VersionId=one["VersionId"])
    for number, one in enumerate(listed):
        if number % 2:
            thief.delete_object(Bucket=on_weed.bucket, Key=one["Key"])
        else:
            thief.put_object(Bucket=on_weed.bucket, Key=one["Key"], Body=b"LOCKED")
    rule = {"ID": "gone", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    with pytest.raises(botocore.exceptions.ClientError):
        thief.put_bucket_lifecycle_configuration(Bucket=on_weed.bucket, LifecycleConfiguration={"Rules": [rule]})
    now = thief.list_object_versions(Bucket=on_weed.bucket)["Versions"]
    kept = {(one["Key"], one["VersionId"]): one["ETag"] for one in now}
    assert {key: kept.get(key) for key in before} == before
    words = ("--tier", "vault", "--identity", str(machine.identity))
    found = machine.program("verify", NAME, generation, *words, "--json", code=None).json
    assert found["outcome"] == "ok"
    assert {one["what"] for one in found["problems"]} >= {"was hidden by a delete marker"}
    assert all(one["healed"] for one in found["problems"])
    assert machine.program("restore", NAME, generation, *words, "--yes", "--json").json["outcome"] == "done"
