"""Verify as an operation: what it names, what it heals byte for byte, and that it heals towards nothing forged."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.agent.client import Agent, Launched
from backends.records import Finished, GenerationState, Outcome, Progress, Step
from backends.ssh import Servers
from tests.agent.small import Small, carry_out, follow, summary_of, verify

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
MIB = 1024 * 1024
STEPS = ["summary", "packs", "content"]


async def back_up(agent: Agent, **more: Any) -> str:
    story = await carry_out(agent, "snapshot", reason="hand", **more)
    assert story.outcome is Outcome.DONE, story.end
    assert story.end.generation
    return story.end.generation


def pack_of(site: Small, generation: str) -> Path:
    return site.state / "packs" / f"{generation}.tar"


def spoil(pack: Path, *places: int) -> None:
    """Flips a byte in each place."""
    whole = bytearray(pack.read_bytes())
    for place in places:
        whole[place] ^= 0x55
    pack.unlink()
    pack.write_bytes(whole)
    pack.chmod(0o644)


def furnish(site: Small) -> None:
    """Members of every kind: short and long names, raw and gzip, small and large."""
    chance = random.Random(5)
    site.write("wp-content/large.txt", b"the same line again and again\n" * 300_000)
    site.write("wp-content/large.bin", chance.randbytes(9 * MIB))
    site.write("wp-content/" + "deep-" * 20 + "/" + "x" * 150 + ".css", b"body { margin: 0 }\n" * 90)
    site.write("wp-content/日本語 \n.txt".encode(), b"odd" * 200)
    site.write("wp-content/empty.txt", b"")
    site.age()


async def test_a_verify_is_an_operation_that_reads_everything_and_tells_how_far_it_is(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    made = await carry_out(agent, "snapshot", reason="hand")
    found = await verify(agent, str(made.end.generation), made.end.summary)
    assert (found.outcome, found.problems, found.summary) == ("ok", (), made.end.summary)
    assert found.story.steps == STEPS
    summary = summary_of(site, str(made.end.generation))
    stored = sum(pack["size"] for pack in summary["packs"]) + summary["manifest"]["size"] + summary["dump"]["size"]
    plain = summary["counts"]["bytes"] + summary["dump"]["plain"]
    assert stored + plain <= found.checked_bytes <= stored + plain + summary["recipe"]["size"]
    assert all(event.done <= (event.total or 0) for event in found.story.events if isinstance(event, Progress))
    (newest, *_) = await agent.operations()
    assert (newest.kind, newest.outcome, newest.generation) == ("verify", Outcome.DONE, made.end.generation)


async def test_a_cut_connection_leaves_a_verify_at_work(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    site.write("wp-content/large.bin", random.Random(1).randbytes(60 * MIB))
    agent = site.agent(servers, cpu=0.5)
    generation = await back_up(site.agent(servers))
    operation = ""
    async for line in agent.launch("verify", {"generation": generation}):
        if isinstance(line, Launched):
            operation = line.operation
        elif isinstance(line, Step):
            break
    story = await follow(agent, operation)
    assert story.outcome is Outcome.DONE
    assert story.steps == STEPS


async def test_a_verify_can_be_cancelled_while_it_reads_a_large_pack(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    for number in range(3):
        site.write(f"wp-content/large{number}.bin", random.Random(number).randbytes(60 * MIB))
    agent = site.agent(servers, cpu=0.05)
    generation = await back_up(site.agent(servers))
    operation, end = "", None
    async for line in agent.launch("verify", {"generation": generation}):
        if isinstance(line, Launched):
            operation = line.operation
        elif isinstance(line, Step) and line.name == "packs":
            assert await agent.cancel(operation)
        elif isinstance(line, Finished):
            end = line
    assert end is not None
    assert end.outcome is Outcome.CANCELLED
    assert (await agent.generations()).generations[0].verified_at is None


async def test_what_no_summary_names_is_named(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await back_up(agent)
    planted = [f"generations/{generation}/x.php", "generations/notes", "packs/20200101T000000Z.tar", "packs/a b.txt"]
    for path in planted:
        site.write(f"../../.modoseru/{site.name}/{path}", b"planted")
    found = await verify(agent, generation)
    assert found.outcome == "damaged"
    names = [path.replace(" ", "\\0040") for path in planted]
    assert {(one.path, one.what) for one in found.problems} == {(name, "no summary names it") for name in names}
    # What is whole stays restorable by itself: nothing of it is marked as damaged.
    assert (await agent.generations()).generations[0].state is GenerationState.COMPLETE


async def test_damage_that_cannot_be_healed_marks_every_generation_that_needs_it(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    first = await back_up(agent)
    site.write("index.php", b"<?php // changed, so that nothing heals the first pack\n" * 9)
    second = await back_up(agent)
    whole = pack_of(site, first).read_bytes()
    pack_of(site, first).unlink()
    found = await verify(agent, first)
    assert [(one.path, one.what, one.healed) for one in found.problems] == [(f"packs/{first}.tar", "is gone", False)]
    listed = (await agent.generations()).generations
    assert [(one.id, one.state) for one in listed] == [
        (second, GenerationState.DAMAGED),
        (first, GenerationState.DAMAGED),
    ]
    pack_of(site, first).write_bytes(whole)
    assert (await verify(agent, first)).outcome == "ok"
    assert {one.state for one in (await agent.generations()).generations} == {GenerationState.COMPLETE}


# ---------------------------------------------------------------- healing


@pytest.mark.parametrize("way", ["removed", "emptied", "zeroed", "flipped everywhere", "longer", "cut"])
async def test_a_pack_is_rebuilt_byte_for_byte_from_the_live_files(
    small: Callable[..., Small], servers: Servers, way: str
) -> None:
    site = small()
    furnish(site)
    agent = site.agent(servers)
    generation = await back_up(agent)
    pack = pack_of(site, generation)
    whole = pack.read_bytes()
    pack.unlink()
    spoiled = {
        "emptied": b"",
        "zeroed": bytes(len(whole)),
        "flipped everywhere": bytes(byte ^ 0x10 if at % 997 == 0 else byte for at, byte in enumerate(whole)),
        "longer": whole + b"and more",
        "cut": whole[: len(whole) // 3],
    }
    if way in spoiled:
        pack.write_bytes(spoiled[way])
        pack.chmod(0o644)
    seal = summary_seal(site, generation)
    found = await verify(agent, generation, seal)
    assert (found.outcome, [one.healed for one in found.problems]) == ("ok", [True]), found
    assert found.story.notes("healed") == [f"packs/{generation}.tar"]
    assert pack.read_bytes() == whole
    assert pack.stat().st_mode & 0o777 == 0o400
    assert site.litter() == []
    assert (await verify(agent, generation, seal)).problems == ()


def summary_seal(site: Small, generation: str) -> str:
    return hashlib.sha256((site.state / "generations" / generation / "summary.json").read_bytes()).hexdigest()


async def test_a_member_whose_live_file_is_gone_is_taken_from_another_pack(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    furnish(site)
    agent = site.agent(servers)
    first = await back_up(agent)
    large = site.root / "wp-content/large.txt"
    copy = site.write("wp-content/copy.txt", large.read_bytes())
    await back_up(agent)
    whole = pack_of(site, first).read_bytes()
    large.unlink()
    copy.unlink()
    await back_up(agent)
    pack_of(site, first).unlink()
    found = await verify(agent, first)
    assert (found.outcome, [one.healed for one in found.problems]) == ("ok", [True]), found
    assert pack_of(site, first).read_bytes() == whole


async def test_a_pack_is_healed_after_its_own_generation_was_let_go(
    small: Callable[..., Small], servers: Servers
) -> None:
    """The headers' times are then known from the damaged pack alone; what is left of them is kept."""
    site = small()
    furnish(site)
    agent = site.agent(servers)
    ids = []
    for turn in range(3):
        site.write("wp-content/turn.txt", b"turn %d\n" % turn * 40)
        ids.append(await back_up(agent, keep=1, min_age_s=-60) if turn < 2 else "")
    (site.root / "wp-content/large.txt").chmod(0o600)
    story = await carry_out(agent, "snapshot", reason="weekly", keep=1, min_age_s=-60)
    story = await carry_out(agent, "snapshot", reason="weekly", keep=1, min_age_s=-60)
    assert ids[0] not in site.generations()
    pack = pack_of(site, ids[0])
    whole = pack.read_bytes()
    spoil(pack, len(whole) // 2, len(whole) - 600)
    found = await verify(agent, str(story.end.generation))
    assert found.outcome == "ok", found
    assert pack.read_bytes() == whole


async def test_nothing_heals_towards_a_summary_that_was_not_sealed(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await back_up(agent)
    seal = summary_seal(site, generation)
    summary = summary_of(site, generation)
    pack = pack_of(site, generation)
    spoil(pack, 1000)
    before = pack.read_bytes()
    file = site.state / "generations" / generation / "summary.json"
    file.unlink()
    file.write_text(json.dumps(summary | {"reason": "weekly"}))
    file.chmod(0o644)
    found = await verify(agent, generation, seal)
    assert found.outcome == "damaged"
    assert found.story.notes("healed") == []
    assert "summary.json" in {one.path for one in found.problems}
    assert found.summary != seal
    assert pack.read_bytes() == before


async def test_a_live_file_that_only_looks_alike_heals_nothing(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    photo = site.write("wp-content/photo.jpg", random.Random(3).randbytes(40_000))
    site.age()
    agent = site.agent(servers)
    generation = await back_up(agent)
    pack = pack_of(site, generation)
    whole = pack.read_bytes()
    at = whole.index(photo.read_bytes())
    photo.write_bytes(random.Random(4).randbytes(40_000))
    spoil(pack, at + 100)
    spoiled = pack.read_bytes()
    found = await verify(agent, generation)
    assert found.outcome == "damaged"
    assert {one.path for one in found.problems} == {f"packs/{generation}.tar", "root/wp-content/photo.jpg"}
    assert pack.read_bytes() == spoiled
    assert site.litter() == []


async def test_a_damaged_dump_is_said_to_have_no_other_copy_and_a_recipe_is_written_anew(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await back_up(agent)
    folder = site.state / "generations" / generation
    for name in ("database.sql.gz", "RESTORE.txt"):
        spoil(folder / name, 200)
    recipe = hashlib.sha256((folder / "RESTORE.txt").read_bytes()).hexdigest()
    found = await verify(agent, generation)
    assert found.outcome == "damaged"
    told = {one.path: one for one in found.problems}
    assert told["RESTORE.txt"].healed
    assert hashlib.sha256((folder / "RESTORE.txt").read_bytes()).hexdigest() != recipe
    assert not told["database.sql.gz"].healed
    assert "no other copy" in " ".join(one.what for one in found.problems)
