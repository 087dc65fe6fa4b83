"""What goes and what stays: never on count alone, never without a newer one that was read back whole (FACTS 2)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest

from backends.agent.client import Agent
from backends.records import Outcome
from backends.ssh import Servers
from tests.agent.small import Small, Story, carry_out, summary_of, without

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
CACHED = rb"wp-content/cache(/.*)?"


async def weekly(site: Small, agent: Agent, turn: object = 0, **more: Any) -> Story:
    site.write("wp-content/turn.txt", f"{turn}\n".encode() * 40)
    # Several ids of one second run ahead of the clock, so "of no age" is a little less than none.
    request: dict[str, Any] = {"reason": "weekly", "keep": 2, "min_age_s": -60} | more
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
    assert (await agent.verify(str(ids[3]))).outcome == "ok"


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
    assert (await agent.verify(str(first))).outcome == "ok"
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
