"""Old generations go, and nothing of what is kept goes with them: whoever wrote entries, whenever it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app import vault
from app.operations import here, vault_prune
from backends.journal_catalogue import Kept
from backends.records import VaultSettings
from backends.store import Store, StoreError, open_store
from backends.vault import Piece
from tests.store.faults import Fault, Faulty, error
from tests.store.grounds import Ground, InFolder, OnS3, fresh, sha
from tests.vault.hoard import MONTH, Hoard, names

pytestmark = [pytest.mark.asyncio(loop_scope="session")]
ONE, TWO = "minato.example", "hikari.example"
SHARED, OWN = b"a pack of all" * 100, b"a pack of the oldest" * 100
P1, P2 = "20250101T000000Z", "20250102T000000Z"


@pytest.fixture
def hoard(place: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hoard:
    made = Hoard(place, tmp_path, ONE, TWO)
    monkeypatch.setenv("MODOSERU_STATE", str(made.program.state))
    _policy(made, vault_keep=2)
    return made


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hoard:
    (tmp_path / "off site").mkdir()
    made = Hoard(InFolder(tmp_path / "off site"), tmp_path, ONE, TWO)
    monkeypatch.setenv("MODOSERU_STATE", str(made.program.state))
    _policy(made, vault_keep=2)
    return made


def _policy(hoard: Hoard, **values: Any) -> None:
    table = tomllib.loads((hoard.program.config / "fleet.toml").read_text())
    hoard.program.write_fleet({**table, "policy": values})


async def past(hoard: Hoard) -> list[Kept]:
    """Four of one site, the oldest first: the first with a pack of its own, all with one that TWO's copy names too."""
    made = [await hoard.lay(ONE, 6 * MONTH, {P1: SHARED, P2: OWN})]
    made += [await hoard.lay(ONE, age * MONTH, {P1: SHARED}) for age in (5, 1, 0)]
    return made


async def prune(hoard: Hoard, *words: str, code: int = 0) -> Any:
    return (await asyncio.to_thread(hoard.program, "vault", "prune", *words, "--json", code=code)).json


# ---------------------------------------------------------------- what goes


async def test_what_is_past_the_policy_goes_and_the_packs_that_others_name_stay(hoard: Hoard) -> None:
    old, older, *kept = await past(hoard)
    kept.append(await hoard.lay(TWO, 20 * MONTH, {P2: OWN}, verified=False))  # the last of its site, and names a pack
    before = await hoard.objects()
    would = await prune(hoard)
    assert await hoard.objects() == before
    went = await prune(hoard, "--yes")
    assert (would.pop("deleted"), went.pop("deleted")) == (False, True)
    assert would == went
    assert [one["generation"] for one in went["generations"]] == [old.entry.generation, older.entry.generation]
    assert (went["pieces"], went["orphans"], went["problems"]) == (4, 0, [])
    assert await hoard.objects() == names(*kept)
    assert before - names(*kept) == names(old, older) - names(*kept)
    assert [await hoard.whole(one) for one in kept]
    known = (await asyncio.to_thread(hoard.program, "generations", ONE, "--json", code=None)).json
    assert "error" in known or [one["id"] for one in known["generations"]] == [
        one.entry.generation for one in kept[1::-1]
    ]
    assert await prune(hoard, "--yes") | {"place": ""} == {
        "place": "", "deleted": True, "generations": [], "pieces": 0, "orphans": 0, "bytes": 0, "problems": [],
    }  # fmt: skip
    async with hoard.program.session() as session:
        told = [(one.what, one.site, one.detail) for one in await session.journal.audit_log.entries()]
    assert ("prune", ONE, old.entry.generation) in told


async def test_what_a_person_reads_before_and_after(in_folder: Hoard) -> None:
    old, *_ = await past(in_folder)
    shown = await asyncio.to_thread(in_folder.program, "vault", "prune")
    assert f"{ONE}  {old.entry.generation}" in shown.out
    assert "2 generations, 5 pieces" in shown.out
    assert "would go" in shown.out
    assert "--yes" in shown.err
    done = await asyncio.to_thread(in_folder.program, "vault", "prune", "--yes", "--progress", "json")
    assert done.out.splitlines()[-1].endswith("went")
    assert [one["done"] for one in done.events] == sorted(one["done"] for one in done.events)
    assert done.events[-1]["done"] == done.events[-1]["total"] == 7


async def test_what_is_locked_stays_with_all_that_it_names(on_weed: OnS3, tmp_path: Path, monkeypatch: Any) -> None:
    hoard = Hoard(on_weed, tmp_path, ONE)
    monkeypatch.setenv("MODOSERU_STATE", str(hoard.program.state))
    _policy(hoard, vault_keep=1)
    locked = await hoard.lay(ONE, 9 * MONTH, {P2: OWN}, locked=dt.timedelta(days=1))
    free = await hoard.lay(ONE, 8 * MONTH, {P1: SHARED})
    newest = await hoard.lay(ONE, 0 * MONTH, {P1: b"new"}, locked=dt.timedelta(days=1))
    went = await prune(hoard, "--yes")
    assert [one["generation"] for one in went["generations"]] == [free.entry.generation]
    assert await hoard.objects() == names(locked, newest)


async def test_a_piece_that_is_locked_longer_than_its_entry_is_an_orphan_later(
    on_weed: OnS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hoard = Hoard(on_weed, tmp_path, ONE)
    monkeypatch.setenv("MODOSERU_STATE", str(hoard.program.state))
    _policy(hoard, vault_keep=1)
    old = await hoard.lay(ONE, 9 * MONTH, {P2: OWN})
    await hoard.lay(ONE, 0 * MONTH, {P1: b"new"})
    (piece,) = hoard.packs[OWN]
    async with on_weed.open() as store:
        await store.extend(
            piece.object, piece.version, dt.datetime.now(dt.UTC) + dt.timedelta(days=1), mode="compliance"
        )
    went = await prune(hoard, "--yes")
    assert ([one["generation"] for one in went["generations"]], went["problems"]) == ([old.entry.generation], [])
    assert piece.object in await hoard.objects()


async def test_every_version_and_what_hides_it_goes(on_weed: OnS3, tmp_path: Path, monkeypatch: Any) -> None:
    hoard = Hoard(on_weed, tmp_path, ONE)
    monkeypatch.setenv("MODOSERU_STATE", str(hoard.program.state))
    _policy(hoard, vault_keep=1)
    old = await hoard.lay(ONE, 9 * MONTH, {P2: OWN})
    newest = await hoard.lay(ONE, 0 * MONTH, {P1: b"new"})
    (piece,) = hoard.packs[OWN]
    on_weed.hide(piece.object)
    async with on_weed.open() as store:
        await store.restore_version(piece.object, piece.version)
    on_weed.hide(old.object)
    assert len((await prune(hoard, "--yes"))["generations"]) == 1
    assert await hoard.objects() == names(newest)


# ---------------------------------------------------------------- what may not push anything out


async def test_entries_that_an_attacker_adds_push_nothing_out(in_folder: Hoard) -> None:
    good = [await in_folder.lay(ONE, age * MONTH, {P1: SHARED}) for age in (9, 8, 7)]
    fake = [await in_folder.lay(ONE, dt.timedelta(hours=age), {P1: b"fake"}, verified=False) for age in range(20)]
    went = await prune(in_folder, "--yes")
    assert [one["generation"] for one in went["generations"]] == [good[0].entry.generation]
    assert [await in_folder.whole(one) for one in good[1:]]
    assert names(*fake) <= await in_folder.objects()


async def test_where_nothing_newer_was_read_back_nothing_goes(in_folder: Hoard) -> None:
    verified = await in_folder.lay(ONE, 9 * MONTH, {P1: SHARED})
    for age in (8, 7, 6, 5, 4):
        await in_folder.lay(ONE, age * MONTH, {P1: SHARED}, verified=False)
    assert (await prune(in_folder, "--yes"))["generations"] == []
    assert await in_folder.whole(verified)


@pytest.mark.parametrize("case", ["pinned", "young", "suspect", "read-only site"])
async def test_what_else_keeps_a_generation(in_folder: Hoard, case: str) -> None:
    old, older, newer, newest = await past(in_folder)
    async with in_folder.program.session() as session:
        note = session.journal.note_generation_fact
        if case == "pinned":
            await note(ONE, old.entry.generation, "server", "pinned", True)
            await note(ONE, older.entry.generation, "vault", "pinned", True)
        elif case == "suspect":
            await note(ONE, newest.entry.generation, "server", "mark", "suspect")
            await note(ONE, newer.entry.generation, "server", "mark", "suspect")
    if case == "young":
        _policy(in_folder, vault_keep=2, vault_every="4mo")
    elif case == "read-only site":
        file = in_folder.program.config / "sites.d" / f"{ONE}.toml"
        file.write_text("read_only = true\n" + file.read_text())
    assert (await prune(in_folder, "--yes"))["generations"] == []


async def test_the_policy_of_the_site_goes_before_the_fleet_s(in_folder: Hoard) -> None:
    await past(in_folder)
    file = in_folder.program.config / "sites.d" / f"{ONE}.toml"
    file.write_text(file.read_text() + "\n[policy]\nvault_keep = 4\n")
    assert (await prune(in_folder))["generations"] == []


# ---------------------------------------------------------------- a catalogue that is not the bucket's


async def test_an_entry_that_this_machine_does_not_know_blocks_until_it_is_known(hoard: Hoard) -> None:
    old, *_ = await past(hoard)
    foreign = await hoard.lay(TWO, 1 * MONTH, {P2: OWN}, known=False)
    before = await hoard.objects()
    for words in ((), ("--yes",)):
        refused = (await prune(hoard, *words, code=1))["error"]
        assert refused["code"] == "catalogue_differs"
        assert foreign.object in refused["message"]
        assert "modoseru vault rebuild" in refused["hint"]
    assert await hoard.objects() == before
    identity = ("--identity", str(hoard.machine.identity))
    await asyncio.to_thread(hoard.program, "vault", "rebuild", *identity)
    went = await prune(hoard, "--yes")
    assert old.entry.generation in {one["generation"] for one in went["generations"]}
    assert await hoard.whole(foreign)


async def test_an_entry_that_was_taken_away_blocks(in_folder: Hoard) -> None:
    *_, newest = await past(in_folder)
    (in_folder.folder / "off site" / newest.object).unlink()
    before = await in_folder.objects()
    refused = (await prune(in_folder, "--yes", code=1))["error"]
    assert refused["code"] == "catalogue_differs"
    assert newest.object in refused["message"]
    assert await in_folder.objects() == before


# ---------------------------------------------------------------- pieces that no entry names


async def test_orphans_go_when_they_are_old_and_no_copy_is_at_them(in_folder: Hoard) -> None:
    kept = await in_folder.lay(ONE, 1 * MONTH, {P1: SHARED})
    stored: dict[str, str] = {}
    async with in_folder.place.open() as store, in_folder.program.session() as session:
        for what in ("young", "old", "going on", "left behind"):
            stored[what] = (await store.put(name := fresh("pieces"), b"x", sha256=sha(b"x"))).name
            if what != "young":
                week_ago = time.time() - 8 * 86400
                os.utime(in_folder.folder / "off site" / name, (week_ago, week_ago))
        for what, generation in (("going on", "20991231T000000Z"), ("left behind", "20200101T000000Z")):
            piece = Piece(stored[what].removeprefix("pieces/"), "", 1, sha(b"x"))
            await session.journal.catalogue.piece(ONE, generation, "manifest", 0, piece)
    went = await prune(in_folder, "--yes")
    assert (went["pieces"], went["orphans"], went["generations"]) == (2, 2, [])
    assert await in_folder.objects() == names(kept) | {stored["young"], stored["going on"]}


# ---------------------------------------------------------------- refusals


async def test_without_credentials_of_its_own_nothing_is_pruned(
    on_weed: OnS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hoard = Hoard(on_weed, tmp_path, ONE)
    settings = on_weed.settings
    monkeypatch.setattr(on_weed, "settings", lambda: settings(prune_profile=None))
    hoard.machine.write()
    for words in ((), ("--yes",)):
        refused = (await prune(hoard, *words, code=1))["error"]
        assert refused["code"] == "credentials"
        assert "prune_profile" in refused["hint"]


async def test_what_the_store_refuses_is_named_and_keeps_its_pieces(
    on_weed: OnS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the profile's key is the writer's, under another name."""
    hoard = Hoard(on_weed, tmp_path, ONE, TWO)
    monkeypatch.setenv("MODOSERU_STATE", str(hoard.program.state))
    secret = (tmp_path / "aws" / "credentials").read_text().split("[pruner]")[0]
    (tmp_path / "aws" / "credentials").write_text(secret + secret.replace("[writer]", "[pruner]"))
    _policy(hoard, vault_keep=2)
    await past(hoard)
    before = await hoard.objects()
    went = await prune(hoard, "--yes", code=1)
    assert (went["generations"], went["pieces"], len(went["problems"])) == ([], 0, 2)
    assert all("catalogue/" in one and "DeleteObject" in one for one in went["problems"])
    assert await hoard.objects() == before


async def test_read_only_shows_and_deletes_nothing(in_folder: Hoard) -> None:
    await past(in_folder)
    before = await in_folder.objects()
    assert (await prune(in_folder, "--yes", "--read-only", code=2))["error"]["code"] == "read_only"
    assert len((await prune(in_folder, "--read-only"))["generations"]) == 2
    assert await in_folder.objects() == before


async def test_while_a_site_is_copied_nothing_is_pruned(in_folder: Hoard) -> None:
    await past(in_folder)
    before = await in_folder.objects()
    async with in_folder.program.session() as session:
        with here.alone(session, session.fleet.site(TWO)):
            assert (await prune(in_folder, "--yes", code=1))["error"]["code"] == "elsewhere"
    assert await in_folder.objects() == before


# ---------------------------------------------------------------- ended in the middle


@pytest.mark.parametrize("reply", ["before", "after"])
async def test_killed_at_any_delete_it_loses_nothing_and_ends_when_it_is_begun_again(
    hoard: Hoard, monkeypatch: pytest.MonkeyPatch, reply: str
) -> None:
    monkeypatch.setattr(vault_prune, "ORPHAN_AGE", dt.timedelta(0))
    *_, newer, newest = await past(hoard)
    faulty: list[Faulty] = []

    @asynccontextmanager
    async def failing(settings: VaultSettings, *, pruning: bool = False) -> AsyncIterator[Store]:
        # One delete a run: every run is killed at its second, or behind its first.
        refused = error("credentials")
        before, after = Fault(on="delete", nth=2, before=refused), Fault(on="delete", nth=1, after=refused)
        async with open_store(settings, pruning=pruning) as store:
            faulty.append(Faulty(store, before if reply == "before" else after))
            yield faulty[-1]

    monkeypatch.setattr(vault, "open_store", failing)
    left, runs = await hoard.objects(), 0
    while left != names(newer, newest):
        async with hoard.program.session() as session:
            work = vault_prune.Prune(session, delete=True)
            with contextlib.suppress(StoreError):
                async for _ in work.run():
                    pass
        now = await hoard.objects()
        assert now < left
        assert faulty[-1].count["delete"] in {1, 2}
        assert await hoard.whole(newer)
        assert await hoard.whole(newest)
        # What is named by an entry that is there is there.
        async with hoard.program.session() as session:
            for one in await session.journal.catalogue.entries():
                assert one.object not in now or names(one) <= now
        left, runs = now, runs + 1
    assert runs >= 7
