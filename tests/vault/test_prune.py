"""What the vault lets go of: what the promise no longer covers, what nobody names, and never more than that."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from app.operations import vault_prune
from app.operations.vault_prune import Facts, Pruned, going
from backends.journal_catalogue import Kept
from backends.records import Policy
from backends.store import Store, StoreError, open_store
from backends.vault import Entry, Holds, Part
from tests.lab import LabSite
from tests.operations.program import Program
from tests.store.faults import Fault, Faulty, error
from tests.store.grounds import OnS3
from tests.vault.machine import Machine

NAME, OTHER = "minato.example", "sakura.example"
NOW = dt.datetime(2026, 11, 23, 2, 15, tzinfo=dt.UTC)
POLICY = Policy(vault_keep=3, vault_every="1mo")
Fresh = Callable[[str], LabSite]


def fact(months: float, *, sealed: bool = True, verified: bool = False, pinned: bool = False) -> Facts:
    created = NOW - dt.timedelta(days=30 * months)
    entry = Entry(
        site=NAME, generation=created.strftime("%Y%m%dT%H%M%SZ"), created=created, stored=created,
        holds=Holds(1, 1, 1, 1), parts=(Part("summary.json", 1, "0" * 64),),
    )  # fmt: skip
    return Facts(
        kept=Kept(entry=entry, object=f"catalogue/{created:%s}"),
        written=created,
        sealed=sealed,
        verified=verified,
        pinned=pinned,
    )


def gone(*facts: Facts) -> list[int]:
    left = {one.entry.generation for one in going(facts, POLICY, NOW)}
    return [number for number, one in enumerate(facts) if one.kept.entry.generation in left]


def test_what_is_older_than_the_promise_goes_when_enough_newer_ones_are_there_and_one_was_read_back() -> None:
    assert gone(fact(0), fact(1, verified=True), fact(2), fact(3.2), fact(4)) == [3, 4]


def test_nothing_goes_where_nobody_read_a_newer_one_back() -> None:
    assert gone(fact(0), fact(1), fact(2), fact(3.2, verified=True), fact(4)) == [4]
    assert gone(fact(0), fact(1), fact(2), fact(3.2), fact(4)) == []


def test_what_is_young_or_pinned_stays_however_many_there_are() -> None:
    assert gone(fact(0, verified=True), *(fact(number / 10) for number in range(1, 25))) == []
    assert gone(fact(0, verified=True), fact(1), fact(2), fact(3.2, pinned=True), fact(4)) == [4]


def test_planted_entries_push_nothing_out() -> None:
    planted = [fact(number / 100, sealed=False, verified=True) for number in range(20)]
    assert gone(*planted, fact(4, verified=True), fact(5), fact(6), fact(7)) == [23]


# ---------------------------------------------------------------- a real store


@pytest.fixture
def site(fresh_site: Fresh) -> LabSite:
    return fresh_site(NAME)


def promise(machine: Machine, **policy: Any) -> None:
    path = machine.program.config / "fleet.toml"
    lines = "".join(f"{key} = {value!r}\n" for key, value in policy.items())
    path.write_text(f"{path.read_text()}\n[policy]\n{lines}")


def grow(machine: Machine, site: LabSite) -> list[str]:
    """Three generations, each with a file of its own; the newest was read back."""
    made = []
    for number in range(3):
        new = site.root / f"wp-content/uploads/{number}.jpg"
        new.write_bytes(os.urandom(30_000))
        os.chown(new, site.uid, site.uid)
        made.append(machine.copied(NAME))
    machine.program("verify", NAME, "--tier", "vault", "--identity", str(machine.identity))
    return made


def age(paths: list[Path], days: float = 90) -> None:
    for path in paths:
        then = path.stat().st_mtime - days * 86400
        os.utime(path, (then, then))


@pytest.mark.lab
def test_old_generations_go_and_what_is_kept_is_whole(on_folder: Machine, site: LabSite) -> None:
    promise(on_folder, vault_keep=1, vault_every="1mo")
    made = grow(on_folder, site)
    before = on_folder.objects()
    assert on_folder.program("vault", "prune", "--json").json["goes"] == []  # too young
    age(before)
    told = on_folder.program("vault", "prune", "--json").json
    assert ([one["generation"] for one in told["goes"]], told["deleted"]) == (made[1::-1], False)
    assert on_folder.objects() == before
    assert on_folder.program("--read-only", "vault", "prune", "--yes", "--json", code=2).error["code"] == "read_only"
    done = on_folder.program("vault", "prune", "--yes", "--json").json
    assert (done["goes"], done["pieces"], done["deleted"]) == (told["goes"], told["pieces"], True)
    assert [one["id"] for one in on_folder.in_vault(NAME)] == made[2:]
    assert len(on_folder.objects("catalogue")) == 1
    words = ("--tier", "vault", "--identity", str(on_folder.identity), "--json")
    assert on_folder.program("verify", NAME, *words).json["outcome"] == "ok"
    assert on_folder.program("vault", "doctor", "--json", code=None).json["orphans"] == 0
    assert on_folder.program("vault", "prune", "--yes", "--json").json["pieces"] == 0


@pytest.mark.lab
def test_an_entry_that_is_not_known_here_keeps_everything(on_folder: Machine, site: LabSite) -> None:
    promise(on_folder, vault_keep=1, vault_every="1mo")
    grow(on_folder, site)
    strange = on_folder.objects("catalogue")[0].with_name(secrets.token_hex(16))
    strange.write_bytes(b"age-encryption.org/v1\n")
    age(on_folder.objects())
    before = on_folder.objects()
    refused = on_folder.program("vault", "prune", "--yes", "--json", code=1).error
    assert refused["code"] == "unknown_entries"
    assert strange.name in refused["message"]
    assert on_folder.objects() == before


@pytest.mark.lab
def test_pieces_that_nobody_names_go_when_no_copy_can_want_them_any_more(on_folder: Machine, site: LabSite) -> None:
    on_folder.copied(NAME)
    orphan = on_folder.objects("pieces")[0].with_name(secrets.token_hex(16))
    orphan.write_bytes(b"x" * 1000)
    assert on_folder.program("vault", "prune", "--yes", "--json").json["pieces"] == 0
    age([orphan], 8)
    done = on_folder.program("vault", "prune", "--yes", "--json").json
    assert (done["goes"], done["pieces"], done["bytes"]) == ([], 1, 1000)
    assert not orphan.exists()


async def pruned(machine: Machine, *faults: Fault, now: dt.datetime | None = None) -> tuple[Pruned | None, int]:
    """Its word, or None where it broke off; how often something was deleted."""
    counted: list[Faulty] = []

    @contextlib.asynccontextmanager
    async def opened(*given: Any, **more: Any) -> AsyncIterator[Store]:
        async with open_store(*given, **more) as store:
            counted.append(Faulty(store, *faults))
            yield counted[0]

    found = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vault_prune, "open_store", opened)
        async with machine.program.session() as session:
            with contextlib.suppress(StoreError):
                async for one in vault_prune.prune(session, agreed=True, now=now):
                    found = one if isinstance(one, Pruned) else found
    return found, counted[0].count["delete"]


@pytest.mark.lab
async def test_broken_off_at_any_deletion_it_loses_nothing_that_is_kept(on_folder: Machine, site: LabSite) -> None:
    promise(on_folder, vault_keep=1, vault_every="1mo")
    made = grow(on_folder, site)
    age(on_folder.objects())
    words = ("--tier", "vault", "--identity", str(on_folder.identity), "--json")
    point = 0
    while True:
        found, _ = await pruned(on_folder, Fault(on="delete", nth=1 + point % 2, after=error("unreachable")))
        assert on_folder.program("verify", NAME, made[2], *words).json["outcome"] == "ok"
        point += 1
        if found is not None:
            break
    assert point > 3
    assert [one["id"] for one in on_folder.in_vault(NAME)] == made[2:]
    assert on_folder.program("vault", "doctor", "--json", code=None).json["orphans"] == 0


@pytest.mark.lab
async def test_what_is_locked_stays_and_what_no_longer_is_goes_with_the_pruner_s_key_alone(
    on_weed: OnS3, program: Program, site: LabSite, tmp_path: Path
) -> None:
    machine = Machine(program, on_weed, tmp_path)
    promise(machine, vault_keep=1, vault_every="1mo")
    made = grow(machine, site)
    found, deletions = await pruned(machine, now=dt.datetime.now(dt.UTC) + dt.timedelta(days=20))
    assert found is not None
    assert (found.goes, deletions) == ((), 0)  # their locks still hold
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=40)
    found, _ = await pruned(machine, now=later)
    assert found is None  # this clock is ahead: the store itself refuses
    assert [one["id"] for one in machine.in_vault(NAME)] == made[::-1]
