"""What goes and what stays: never on count alone, never without a newer one that was read back whole (FACTS 2)."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from backends.agent.client import Agent
from backends.records import GenerationState, Outcome
from backends.ssh import Servers
from tests.agent.small import Small, Story, carry_out, scanned_later, summary_of, verify, without

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
CACHED = rb"wp-content/cache(/.*)?"


async def weekly(site: Small, agent: Agent, turn: object = 0, **more: Any) -> Story:
    site.write("wp-content/turn.txt", f"{turn}\n".encode() * 40)
    request: dict[str, Any] = {"reason": "weekly", "keep": 2, "min_age_s": 0} | more
    story = await carry_out(agent, "snapshot", **request)
    assert story.outcome is Outcome.DONE, story.end
    return story


def packs(site: Small) -> set[str]:
    return {path.name.removesuffix(".tar") for path in (site.state / "packs").glob("*.tar")}


def give(site: Small, path: str, content: bytes = b"") -> None:
    """A file below the state folder, as the agent would write it."""
    target = site.write(f"../../.modoseru/{site.name}/{path}", content)
    assert target.exists()


async def test_the_oldest_go_when_newer_weekly_ones_fill_the_policy_with_the_packs_that_nobody_needs(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    made = [await weekly(site, agent, turn) for turn in range(5)]
    ids = [story.end.generation for story in made]
    assert [story.notes("let_go") for story in made] == [[], [], [ids[0]], [ids[1]], [ids[2]]]
    assert site.generations() == ids[3:]
    # The first pack holds what never changed; the others go with their generations.
    assert packs(site) == {ids[0], ids[3], ids[4]}
    assert made[-1].steps[-1] == "retention"
    newest = (await agent.generations()).generations[0]
    assert newest.verified_at is not None  # it was read back before anything went
    before = without(site.files(), CACHED)
    site.write("index.php", b"<?php echo 'HACKED';")
    assert (await carry_out(agent, "restore", generation=ids[-1], only="files")).outcome is Outcome.DONE
    assert without(site.files(), CACHED) == before
    assert (await verify(agent, str(ids[3]))).outcome == "ok"


async def test_generations_made_by_hand_or_for_an_update_take_no_weekly_place(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    for turn in range(2):
        await weekly(site, agent, turn)
    for reason in ("hand", "update", "restore", "hand"):
        await weekly(site, agent, reason, reason=reason)
    assert len(site.generations()) == 6
    await weekly(site, agent, 3)
    # Two weekly ones are newer than the first, and one than the second.
    assert len(site.generations()) == 6


async def test_what_is_young_stays_however_many_are_newer(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    for turn in range(5):
        story = await weekly(site, agent, turn, min_age_s=3600)
        assert story.notes("let_go") == []
    assert len(site.generations()) == 5
    await weekly(site, agent, 6, keep=8)
    assert len(site.generations()) == 6


async def test_what_is_pinned_stays(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    first = (await weekly(site, agent)).end.generation
    give(site, f"generations/{first}/pinned")
    for turn in range(3):
        await weekly(site, agent, turn)
    assert first in site.generations()
    assert len(site.generations()) == 3
    assert (await verify(agent, str(first))).outcome == "ok"
    assert [one.pinned for one in (await agent.generations()).generations] == [False, False, True]


async def test_nothing_goes_when_the_newest_does_not_read_back(small: Callable[..., Small], servers: Servers) -> None:
    """The newest refers to an older pack that was damaged since."""
    site = small()
    agent = site.agent(servers)
    first = (await weekly(site, agent)).end.generation
    await weekly(site, agent, 1)
    pack = site.state / "packs" / f"{first}.tar"
    whole = pack.read_bytes()
    pack.chmod(0o644)
    pack.write_bytes(whole.replace(b"ustar", b"USTAR", 1))
    for turn in range(2, 4):
        story = await weekly(site, agent, turn)
        assert story.notes("let_go") == []
        assert story.notes("damaged") == [story.end.generation]
    assert len(site.generations()) == 4
    pack.write_bytes(whole)
    await weekly(site, agent, 5)
    assert len(site.generations()) == 2


async def test_a_generation_that_cannot_be_read_is_neither_counted_nor_removed(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    ids = [(await weekly(site, agent, turn)).end.generation for turn in range(2)]
    summary = site.state / "generations" / str(ids[1]) / "summary.json"
    summary.unlink()
    story = await weekly(site, agent, 2)
    assert story.notes("damaged") == [ids[1]]
    assert story.notes("let_go") == []
    assert set(ids) < set(site.generations())
    assert packs(site) == set(site.generations())


async def test_ids_ahead_of_the_clock_are_of_no_age(small: Callable[..., Small], servers: Servers) -> None:
    """Several generations of one second get ids of the seconds to come."""
    site = small()
    agent = site.agent(servers)
    await weekly(site, agent)
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    give(site, "last-id", ahead.strftime("%Y%m%dT%H%M%SZ").encode())
    made = [(await weekly(site, agent, turn, keep=1)).end.generation for turn in range(1, 4)]
    assert str(made[0]) > ahead.strftime("%Y%m%dT%H%M%SZ")
    assert site.generations() == [made[-1]]


async def test_packs_that_a_dead_retention_left_are_swept(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    ids = [(await weekly(site, agent, turn)).end.generation for turn in range(2)]
    for orphan in ("20200101T000000Z", "20990101T000000Z"):
        give(site, f"packs/{orphan}.tar", b"of a generation that is no more, or never came to be")
    give(site, "packs/.20200101T000000Z.tar.part", b"half")
    give(site, "packs/notes.txt", b"somebody's own")
    await weekly(site, agent, 2, keep=8)
    assert packs(site) == {*ids, site.generations()[-1]}
    assert (site.state / "packs/notes.txt").exists()
    assert site.litter() == []


@pytest.mark.parametrize("last", ["20990101T000000Z", "garbage", "", "99999999T999999Z"])
async def test_ids_never_repeat_or_go_backwards(small: Callable[..., Small], servers: Servers, last: str) -> None:
    """Not when the clock was wrong, not when what remembers the last is broken, not when the newest was let go."""
    site = small()
    agent = site.agent(servers)
    first = str((await weekly(site, agent)).end.generation)
    give(site, "last-id", last.encode())
    second = str((await weekly(site, agent, 1)).end.generation)
    assert second > first
    if last.startswith("2099"):
        assert second == "20990101T000001Z"
    newest = site.state / "generations" / second
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    third = str((await weekly(site, agent, 2)).end.generation)
    assert third > second
    created = dt.datetime.strptime(third, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    assert summary_of(site, third)["created"] == created.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert json.loads((site.state / "generations" / third / "summary.json").read_bytes())["generation"] == third


# ---------------------------------------------------------------- what only the client knows


def seals_of(site: Small) -> dict[str, str]:
    return {
        name: hashlib.sha256((site.state / "generations" / name / "summary.json").read_bytes()).hexdigest()
        for name in site.generations()
    }


def plant(site: Small, source: str, generation: str) -> None:
    """A generation as somebody makes it who may add to the account and knows the format: newer, weekly, clean, read."""
    summary = json.dumps(summary_of(site, source) | {"generation": generation, "reason": "weekly", "suspect": []})
    folder = site.state / "generations" / source
    for name in ("manifest", "database.sql.gz", "RESTORE.txt"):
        give(site, f"generations/{generation}/{name}", (folder / name).read_bytes())
    give(site, f"generations/{generation}/summary.json", summary.encode())
    give(site, f"generations/{generation}/verified", b"2026-11-23T02:15:00Z")
    give(site, f"generations/{generation}/mark", b"clean")


async def test_planted_generations_do_not_push_the_good_ones_out(small: Callable[..., Small], servers: Servers) -> None:
    """FACTS 2, restic's append-only attack: between two backups eight of them appear."""
    site = small()
    agent = site.agent(servers)
    good = [str((await weekly(site, agent, turn)).end.generation) for turn in range(2)]
    sealed = seals_of(site)
    now = dt.datetime.now(dt.UTC)
    for number in range(8):
        plant(site, good[0], (now + dt.timedelta(seconds=20 + number)).strftime("%Y%m%dT%H%M%SZ"))
    story = await weekly(site, agent, 9, sealed=sealed)
    assert set(story.notes("let_go")).isdisjoint(good[1:])
    assert good[1] in site.generations()
    # Two sealed ones fill the policy of two only now: the first goes by right, and nothing by the planted ones.
    assert story.notes("let_go") == [good[0]]


async def test_without_a_seal_what_comes_from_the_future_counts_for_nothing(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    good = str((await weekly(site, agent)).end.generation)
    for number in range(8):
        plant(site, good, f"2099010{number + 1}T000000Z")
        summary = site.state / "generations" / f"2099010{number + 1}T000000Z" / "summary.json"
        created = f"2099-01-0{number + 1}T00:00:00Z"
        summary.write_text(json.dumps(json.loads(summary.read_text()) | {"created": created}))
    story = await weekly(site, agent, 1, keep=1)
    assert story.notes("let_go") == []
    assert good in site.generations()


async def test_a_mark_that_lies_on_the_server_alone_makes_nothing_clean(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    signs = {"php_in_uploads": 0}
    first = str((await weekly(site, agent, 0, signs=signs)).end.generation)
    site.write("wp-content/uploads/2026/09/shell.php", b"<?php evil();")
    suspect = str((await weekly(site, agent, 1, signs=signs)).end.generation)
    give(site, f"generations/{suspect}/mark", b"clean")
    story = await weekly(site, agent, 2, signs=signs, sealed=seals_of(site), keep=2)
    assert story.notes("let_go") == []
    marked = {suspect: "clean"}
    story = await weekly(site, agent, 3, signs=signs, sealed=seals_of(site), marked=marked, keep=3)
    assert story.notes("let_go") == [first]


async def test_a_pin_holds_though_the_server_lost_it(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    first = str((await weekly(site, agent)).end.generation)
    for turn in range(3):
        await weekly(site, agent, turn, pinned=[first])
    assert first in site.generations()
    assert (await weekly(site, agent, 9)).notes("let_go")[-1] == first or first not in site.generations()


async def test_one_that_was_changed_after_it_was_sealed_is_evidence_and_stays(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    first = str((await weekly(site, agent)).end.generation)
    sealed = {first: "0" * 64}
    for turn in range(3):
        sealed = seals_of(site) | sealed
        await weekly(site, agent, turn, sealed=sealed)
    assert first in site.generations()


async def test_what_was_let_go_is_listed_for_every_client(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    made = [await weekly(site, agent, turn) for turn in range(5)]
    assert (await agent.generations()).let_go == tuple(str(story.end.generation) for story in made[:3])
    give(site, "let-go", (site.state / "let-go").read_bytes() + b'garbage\n[]\n{"generation":5}\n{"generation":"x"}\n')
    assert len((await agent.generations()).let_go) == 3


async def test_a_mark_of_having_been_read_back_is_no_proof(small: Callable[..., Small], servers: Servers) -> None:
    """Somebody wrote `verified` beside everything; the newest is read all the same before anything goes."""
    site = small()
    agent = site.agent(servers)
    first = str((await weekly(site, agent)).end.generation)
    await weekly(site, agent, 1)
    pack = site.state / "packs" / f"{first}.tar"
    whole = pack.read_bytes()
    pack.chmod(0o644)
    pack.write_bytes(whole.replace(b"ustar", b"USTAR", 1))
    for name in site.generations():
        give(site, f"generations/{name}/verified", b"2026-11-23T02:15:00Z")
    story = await weekly(site, agent, 2)
    assert story.notes("let_go") == []
    assert story.notes("damaged") == [story.end.generation]


# ---------------------------------------------------------------- packs that are taken over


async def test_what_lives_of_a_pack_that_is_mostly_dead_moves_and_the_pack_goes_with_its_last_generation(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    chance = random.Random(6)
    for number in range(10):
        site.write(f"wp-content/part{number}.bin", chance.randbytes(30_000))
    first = str((await weekly(site, agent)).end.generation)
    for number in range(4):
        site.write(f"wp-content/part{number}.bin", chance.randbytes(30_001))
    second = await weekly(site, agent, 1)
    assert second.notes("taken_over") == []
    for number in range(4, 7):
        site.write(f"wp-content/part{number}.bin", chance.randbytes(30_001))
    third = await weekly(site, agent, 2)
    assert third.notes("taken_over") == []  # over half of it was in use by the generation before
    assert third.notes("let_go") == [first]
    fourth = await weekly(site, agent, 3)
    assert fourth.notes("taken_over") == [first]
    assert first not in [pack["id"] for pack in summary_of(site, str(fourth.end.generation))["packs"]]
    # The third still needs it; what was taken over was read back before the second generation went.
    assert fourth.notes("let_go") == [str(second.end.generation)]
    assert first in packs(site)
    assert (await verify(agent, str(third.end.generation))).outcome == "ok"
    await weekly(site, agent, 4)
    assert first not in packs(site)
    newest = site.generations()[-1]
    assert (await verify(agent, newest)).outcome == "ok"
    before = without(site.files(), CACHED)
    for number in range(10):
        site.write(f"wp-content/part{number}.bin", b"ruined")
    assert (await carry_out(agent, "restore", generation=newest, only="files")).outcome is Outcome.DONE
    assert without(site.files(), CACHED) == before


async def test_what_lives_of_a_damaged_pack_moves_and_the_next_generation_is_whole(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    site.write("wp-content/gone-later.bin", random.Random(7).randbytes(30_000))
    first = str((await weekly(site, agent)).end.generation)
    (site.root / "wp-content/gone-later.bin").unlink()
    pack = site.state / "packs" / f"{first}.tar"
    whole = bytearray(pack.read_bytes())
    whole[whole.index(random.Random(7).randbytes(100)) + 50] ^= 1
    pack.unlink()
    pack.write_bytes(whole)
    pack.chmod(0o644)
    assert (await verify(agent, first)).outcome == "damaged"
    story = await weekly(site, agent, 1)
    assert story.notes("taken_over") == [first]
    assert (await verify(agent, str(story.end.generation))).outcome == "ok"
    states = {one.id: one.state for one in (await agent.generations()).generations}
    assert states == {first: GenerationState.DAMAGED, str(story.end.generation): GenerationState.COMPLETE}


async def test_without_room_for_taking_over_the_backup_is_made_all_the_same(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    chance = random.Random(6)
    for number in range(10):
        site.write(f"wp-content/part{number}.bin", chance.randbytes(3_000_000))
    first = str((await weekly(site, agent)).end.generation)
    for number in range(6):
        (site.root / f"wp-content/part{number}.bin").unlink()
    scanned_later(site, first)
    live = sum(entry.stat().st_size for entry in site.root.rglob("*") if entry.is_file())
    tight = site.agent(servers, bytes_max=live + 6_000_000)
    story = await weekly(site, tight, 1)
    assert story.notes("not_taken_over")
    assert first in [pack["id"] for pack in summary_of(site, str(story.end.generation))["packs"]]
    assert (await weekly(site, agent, 2)).notes("taken_over") == [first]
