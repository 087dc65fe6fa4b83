"""Out of the vault again: a site comes back of which its server has nothing left, its generations included."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable

import pytest

from app.operations import guard, vault_plan, vault_verify
from backends.agent.client import Agent
from backends.records import Finished, Outcome, Progress
from backends.sealing import Identity
from tests.agent.small import tables_of, tree, without
from tests.lab import Lab, LabSite
from tests.vault.machine import Machine

pytestmark = [pytest.mark.lab]
Fresh = Callable[[str], LabSite]
NAME = "minato.example"
MOVES = rb"wp-content/(cache|upgrade)(/.*)?"
"""What WordPress writes when it is asked for a page."""


@pytest.fixture
def site(fresh_site: Fresh) -> LabSite:
    return fresh_site(NAME)


def ransomware(lab: Lab, site: LabSite) -> None:
    """With the account's full rights: every file is scrambled, the tables are dropped, the backups go first."""
    state = site.home / ".modoseru"
    for path in state.rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"LOCKED" + bytes(byte ^ 0x5A for byte in path.read_bytes()[:4096]))
    for path in sorted(site.root.rglob("*"), reverse=True):
        if path.is_file() and not path.is_symlink():
            path.write_bytes(b"LOCKED")
            path.rename(path.with_name(f"{path.name}.locked"))
    shell = site.root / "wp-content/uploads/shell.php"
    shell.write_text("<?php system($_GET['c']);")
    os.chown(shell, site.uid, site.uid)
    os.utime(shell, (1_600_000_000, 1_600_000_000))
    tables = tables_of(lab, site.db_name, site.db_prefix)
    lab.sql(site, "SET FOREIGN_KEY_CHECKS=0;" + "".join(f"DROP TABLE `{name}`;" for name in tables))


def test_a_site_whose_server_was_encrypted_comes_back_byte_for_byte(machine: Machine, lab: Lab, site: LabSite) -> None:
    generation = machine.copied(NAME)
    files, tables = without(tree(site.root), MOVES), tables_of(lab, site.db_name, site.db_prefix)
    ransomware(lab, site)
    lab.restart_php(site)
    looked = machine.program("check", NAME, "--json", code=None)
    assert looked.code == 2
    (seen,) = looked.json["sites"]
    assert seen["health"]["state"] == "critical"
    machine.program("restore", NAME, "--yes", "--json", code=1)  # the server's own generations are worth nothing
    credentials = {"name": site.db_name, "user": site.db_user, "password_command": ["echo", site.db_password]}
    machine.program.write_site(site, {"server.database": credentials | {"host": site.db_host}})

    words = ("restore", NAME, "--tier", "vault", "--fresh", "--yes", "--json", "--identity", str(machine.identity))
    done = machine.program(*words).json
    assert (done["kind"], done["outcome"], done["generation"]) == ("restore", "done", generation)
    assert without(tree(site.root), MOVES) == files
    status, body = lab.fetch(site)
    assert (status, site.title in body) == (200, True)
    assert tables_of(lab, site.db_name, site.db_prefix).keys() == tables.keys()
    both = machine.program("generations", NAME, "--json").json["generations"]
    assert {(one["id"], one["tier"], one["sealed"]) for one in both} >= {
        (generation, "server", True), (generation, "vault", True),
    }  # fmt: skip
    verified = machine.program("verify", NAME, generation, "--json", code=None).json
    assert verified["outcome"] in {"ok", "damaged"}
    assert [one for one in verified["problems"] if not one["path"].startswith("generations/")] == []


def test_only_what_the_server_lacks_crosses_and_a_drill_of_it_passes(on_folder: Machine, site: LabSite) -> None:
    first = on_folder.copied(NAME)
    (site.root / "wp-content/uploads/later.jpg").write_bytes(os.urandom(300_000))
    second = on_folder.copied(NAME)
    state = site.home / ".modoseru" / NAME
    shutil.rmtree(state / "generations" / second)
    (state / "packs" / f"{second}.tar").unlink()
    on_folder.program.environment["MODOSERU_IDENTITY"] = str(on_folder.identity)
    drilled = on_folder.program("drill", NAME, second, "--tier", "vault", "--json").json
    assert (drilled["outcome"], drilled["generation"]) == ("done", second)
    (seen,) = on_folder.program("status", NAME, "--json").json["sites"]
    assert seen["rto_vault_s"] >= seen["rto_s"]
    brought = next(one for one in _operations(on_folder) if one["kind"] == "bring")
    size = (state / "packs" / f"{second}.tar").stat().st_size
    size += sum((state / "generations" / second / name).stat().st_size for name in ("manifest", "database.sql.gz"))
    assert brought["detail"] == f"{size} bytes were brought from the vault"
    assert (state / "packs" / f"{first}.tar").stat().st_size > size
    (listed,) = [
        one
        for one in on_folder.program("generations", NAME, "--json").json["generations"]
        if one["id"] == second and one["tier"] == "server"
    ]
    assert listed["pinned"]


def test_what_is_damaged_on_the_server_comes_out_of_the_vault(on_folder: Machine, site: LabSite) -> None:
    """A dump has no second copy on the server."""
    generation = on_folder.copied(NAME)
    dump = site.home / ".modoseru" / NAME / "generations" / generation / "database.sql.gz"
    whole = dump.read_bytes()
    dump.chmod(0o600)
    dump.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    words = ("verify", NAME, "--json")
    damaged = on_folder.program(*words, code=1).json
    assert (damaged["outcome"], [one["healed"] for one in damaged["problems"]]) == ("damaged", [False])
    healed = on_folder.program(*words, "--identity", str(on_folder.identity)).json
    assert (healed["outcome"], healed["problems"]) == ("ok", [damaged["problems"][0] | {"healed": True}])
    assert dump.read_bytes() == whole
    assert on_folder.program(*words).json["problems"] == []


def _operations(machine: Machine) -> list[dict[str, str]]:
    found: list[dict[str, str]] = machine.program("operations", NAME, "--all", "--json").json["operations"]
    return found


def test_without_the_right_identity_nothing_begins(on_folder: Machine, site: LabSite) -> None:
    on_folder.copied(NAME)
    before = tree(site.root)
    words = ("restore", NAME, "--tier", "vault", "--yes", "--json")
    assert on_folder.program(*words, code=2).error["code"] == "no_identity"
    on_folder.program("key", "new", str(on_folder.folder / "other.txt"))
    other = on_folder.program(*words, "--identity", str(on_folder.folder / "other.txt"), code=1).error
    assert other["code"] == "wrong_identity"
    unknown = on_folder.program(*words, "20200101T000000Z", "--identity", str(on_folder.identity), code=1).error
    assert unknown["code"] == "no_generation"
    assert tree(site.root) == before


def test_a_piece_that_was_swapped_is_refused_and_the_site_stays(on_folder: Machine, site: LabSite) -> None:
    """Both are whole age files to the right recipient: the entry's hashes tell them apart."""
    generation = on_folder.copied(NAME)
    shutil.rmtree(site.home / ".modoseru" / NAME)
    pieces = sorted(on_folder.objects("pieces"), key=lambda path: path.stat().st_size)
    swapped = pieces[0].read_bytes()
    for path, content in ((pieces[0], pieces[1].read_bytes()), (pieces[1], swapped)):
        path.unlink()
        path.write_bytes(content)
    before = tree(site.root)
    words = ("restore", NAME, generation, "--tier", "vault", "--yes", "--json", "--identity", str(on_folder.identity))
    assert on_folder.program(*words, code=1).error["code"] == "damaged"
    assert tree(site.root) == before
    assert [one["tier"] for one in on_folder.program("generations", NAME, "--json").json["generations"]] == ["vault"]


@pytest.mark.asyncio(loop_scope="session")
async def test_one_that_was_cancelled_goes_on_where_it_was(on_folder: Machine, site: LabSite) -> None:
    (site.root / "wp-content/uploads/large.jpg").write_bytes(os.urandom(24_000_000))
    generation = await asyncio.to_thread(on_folder.copied, NAME)
    shutil.rmtree(site.home / ".modoseru" / NAME)
    incoming = site.home / ".modoseru" / NAME / "incoming"

    def received() -> int:
        return sum(path.stat().st_size for path in incoming.rglob("*.tar"))

    async with on_folder.program.session() as session:
        target = session.fleet.site(NAME)
        kept = await vault_verify.chosen(session, target, generation)
        intent = vault_plan.bring(target, kept, Identity.read(on_folder.identity))
        operation, ends = "", []
        for cancelled in (True, False):
            first = None
            async with contextlib.aclosing(guard.start(session, intent, confirmed=True)) as events:
                async for event in events:
                    operation = getattr(event, "operation", operation)
                    if isinstance(event, Progress) and received():
                        first = received() if first is None else first
                        if cancelled:
                            await guard.cancel(session, target, operation)
                    if isinstance(event, Finished):
                        ends.append((event.outcome, first, received() if incoming.exists() else 0))
        (cancelled_, _, left), (done, first, _) = ends
        assert (cancelled_, done) == (Outcome.CANCELLED, Outcome.DONE)
        assert first is not None
        assert first >= left > 0  # what had arrived before was not sent again
    assert not list(incoming.glob("*")) if incoming.exists() else True
    assert (site.home / ".modoseru" / NAME / "generations" / generation / "summary.json").exists()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_connection_that_is_cut_on_the_way_goes_on_behind_what_arrived(
    lab: Lab, on_folder: Machine, site: LabSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.root / "wp-content/uploads/large.jpg").write_bytes(os.urandom(24_000_000))
    generation = await asyncio.to_thread(on_folder.copied, NAME)
    shutil.rmtree(site.home / ".modoseru" / NAME)
    lay_down, begun = Agent.receive, list[int]()

    async def cut_once(  # noqa: PLR0917 - as what it stands for
        self: Agent, transfer: str, what: str, size: int, offset: int, content: AsyncIterator[bytes | memoryview]
    ) -> int:
        async def blocks() -> AsyncIterator[bytes | memoryview]:
            crossed = 0
            async for block in content:
                yield block
                crossed += len(block)
                if crossed > 8_000_000 and begun == [0]:
                    begun.append(offset)
                    lab.cut_ssh(site)

        if size > 20_000_000:
            begun.append(offset)
        return await lay_down(self, transfer, what, size, offset, blocks())

    monkeypatch.setattr(Agent, "receive", cut_once)
    async with on_folder.program.session() as session:
        target = session.fleet.site(NAME)
        kept = await vault_verify.chosen(session, target, generation)
        intent = vault_plan.bring(target, kept, Identity.read(on_folder.identity))
        ends = [event async for event in guard.start(session, intent, confirmed=True) if isinstance(event, Finished)]
    assert [end.outcome for end in ends] == [Outcome.DONE]
    assert begun[:2] == [0, 0]
    assert begun[2] > 4_000_000
    assert (site.home / ".modoseru" / NAME / "generations" / generation / "summary.json").exists()
