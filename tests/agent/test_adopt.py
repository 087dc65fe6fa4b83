"""Generations brought back from off-site onto the site's own server: whatever was done to those that lay there."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.agent.client import Adopted, Agent, AgentError
from backends.records import Generation, GenerationState, Outcome, Progress
from backends.ssh import Servers
from tests.agent.copies import TRANSFER, Copy, adopt, bring, copy_of, lacking, lay
from tests.agent.small import Small, carry_out, shell, summary_of, verify
from tests.lab.processes import owned_by

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
MIB = 1 << 20


def looks(site: Small) -> object:
    return site.files(), site.tables()


async def back_up(site: Small, agent: Agent, turn: int = 0, reason: str = "hand", **more: Any) -> str:
    site.write(f"wp-content/turn{turn}.bin", random.Random(turn).randbytes(20_000))
    story = await carry_out(agent, "snapshot", reason=reason, **more)
    assert story.outcome is Outcome.DONE, story.end
    assert story.end.generation
    return story.end.generation


async def kept(site: Small, agent: Agent, generation: str) -> Copy:
    return await copy_of(agent, generation, [pack["id"] for pack in summary_of(site, generation)["packs"]])


async def record_of(agent: Agent, generation: str) -> Generation:
    (found,) = [one for one in (await agent.generations()).generations if one.id == generation]
    return found


def folder_of(site: Small, generation: str) -> Path:
    return site.state / "generations" / generation


def spoil(file: Path) -> bytes:
    """Other bytes in it, of the account; returns them."""
    owner, content = file.stat().st_uid, file.read_bytes().translate(bytes(byte ^ 0x55 for byte in range(256)))
    file.write_bytes(content)
    assert file.stat().st_uid == owner
    return content


def plant(site: Small, path: str, content: bytes = b"planted") -> None:
    """A file of the account below the state folder, where there is a folder for it."""
    target = site.state / path
    target.write_bytes(content)
    os.chown(target, site.within.uid, site.within.uid)


async def test_after_everything_was_wiped_the_site_comes_back_byte_for_byte(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    first = await back_up(site, agent, 1)
    second = await back_up(site, agent, 2)
    before = looks(site)
    copies = {one: await kept(site, agent, one) for one in (first, second)}
    assert set(copies[second].parts) == {"manifest", "dump", first, second}
    shutil.rmtree(site.state)
    site.write("index.php", b"<?php echo 'PAY';")
    (site.root / "wp-content/uploads/2026/09/photo.jpg").unlink()
    site.sql(f"DROP TABLE `{site.prefix}posts`")
    for one in (second, first):  # the later one first: an older one is adopted as well as a newer one
        await bring(agent, copies[one])
        await adopt(agent, copies[one])
    assert site.generations() == [first, second]
    for one in (first, second):
        assert (await verify(agent, one, copies[one].seal)).outcome == "ok"
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder_of(site, one).iterdir()}
        assert {name for name, mode in modes.items() if mode == 0o400} == {
            "manifest", "summary.json", "database.sql.gz", "RESTORE.txt",
        }  # fmt: skip
        assert set(modes) - {"manifest", "summary.json", "database.sql.gz", "RESTORE.txt"} == {"pinned", "verified"}
        assert stat.S_IMODE(folder_of(site, one).stat().st_mode) == 0o700
        assert stat.S_IMODE((site.state / "packs" / f"{one}.tar").stat().st_mode) == 0o400
    assert list((site.state / "incoming").iterdir()) == []
    story = await carry_out(agent, "restore", generation=second, only="all", seal=copies[second].seal)
    assert story.outcome is Outcome.DONE, story.end
    assert looks(site) == before
    later = await back_up(site, agent, 3)
    assert later > second
    assert [pack["id"] for pack in summary_of(site, later)["packs"]] == [first, second, later]
    assert site.litter() == []


async def test_a_pack_is_whole_again_for_every_generation_that_needs_it(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    first = await back_up(site, agent, 1)
    second = await back_up(site, agent, 2)
    copy = await kept(site, agent, first)
    pack = site.state / "packs" / f"{first}.tar"
    before = folder_of(site, first).stat().st_ino
    spoil(pack)
    (site.root / "wp-content/turn1.bin").unlink()  # nothing on the server has its bytes any more
    assert (await verify(agent, second)).outcome == "damaged"
    assert (await record_of(agent, first)).state is GenerationState.DAMAGED
    assert await bring(agent, copy) == {first}
    await adopt(agent, copy)
    assert pack.read_bytes() == copy.parts[first]
    assert stat.S_IMODE(pack.stat().st_mode) == 0o400
    assert (await record_of(agent, first)).state is GenerationState.COMPLETE
    assert folder_of(site, first).stat().st_ino == before
    for one in (first, second):
        assert (await verify(agent, one)).outcome == "ok"


@pytest.mark.parametrize("what", ["manifest", "dump", "RESTORE.txt"])
@pytest.mark.parametrize("how", ["spoilt", "gone", "a folder"])
async def test_a_file_of_a_generation_is_whole_again_where_it_stands(
    small: Callable[..., Small], servers: Servers, what: str, how: str
) -> None:
    site = small()
    agent = site.agent(servers)
    copy = await kept(site, agent, await back_up(site, agent))
    file = folder_of(site, copy.generation) / {"dump": "database.sql.gz"}.get(what, what)
    whole, before = file.read_bytes(), file.parent.stat().st_ino
    if how == "spoilt":
        spoil(file)
    else:
        file.unlink()
    if how == "a folder":
        file.mkdir()
        os.chown(file, site.within.uid, site.within.uid)
    assert await bring(agent, copy) == {what} - {"RESTORE.txt"}
    await adopt(agent, copy)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (whole, 0o400)
    assert file.parent.stat().st_ino == before
    assert (await verify(agent, copy.generation, copy.seal)).problems == ()


@pytest.mark.parametrize("kind", ["link", "folder"])
async def test_whatever_lies_in_a_pack_s_place_makes_way_and_a_link_leads_nowhere(
    small: Callable[..., Small], servers: Servers, kind: str
) -> None:
    site = small()
    agent = site.agent(servers)
    copy = await kept(site, agent, await back_up(site, agent))
    pack = site.state / "packs" / f"{copy.generation}.tar"
    aside = site.write("../aside.tar", copy.parts[copy.generation])
    pack.unlink()
    if kind == "link":
        pack.symlink_to(aside)
    else:
        pack.mkdir()
        plant(site, f"packs/{pack.name}/x")
        os.chown(pack, site.within.uid, site.within.uid)
    assert await bring(agent, copy) == {copy.generation}
    await adopt(agent, copy)
    assert not pack.is_symlink()
    assert pack.read_bytes() == aside.read_bytes() == copy.parts[copy.generation]
    assert stat.S_IMODE(aside.stat().st_mode) == 0o644
    assert (await verify(agent, copy.generation, copy.seal)).outcome == "ok"


async def test_a_forged_generation_of_its_id_goes_to_the_evidence_with_all_that_it_holds(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    copy = await kept(site, agent, await back_up(site, agent))
    place = folder_of(site, copy.generation)
    names = []
    for turn in range(2):
        forged = json.dumps(summary_of(site, copy.generation) | {"front": "PAY"}).encode()
        (place / "summary.json").write_bytes(forged)
        dump = spoil(place / "database.sql.gz")
        plant(site, f"generations/{copy.generation}/note.php")
        place.chmod(0o500)
        # Its manifest has the sealed bytes, and does not cross the wire.
        assert await bring(agent, copy) == {"dump"}
        await adopt(agent, copy)
        assert (await verify(agent, copy.generation, copy.seal)).outcome == "ok"
        names.append(f"{copy.generation}-{hashlib.sha256(forged).hexdigest()[:8]}{'-2' if turn else ''}")
        aside = site.state / "replaced" / names[-1]
        assert (aside / "summary.json").read_bytes() == forged
        assert (aside / "database.sql.gz").read_bytes() == dump
        assert (aside / "note.php").read_bytes() == b"planted"
        assert (aside / "manifest").read_bytes() == copy.parts["manifest"]
        assert (aside / "manifest").stat().st_ino != (place / "manifest").stat().st_ino
    assert sorted(path.name for path in (site.state / "replaced").iterdir()) == names
    assert (await carry_out(agent, "snapshot", reason="hand")).outcome is Outcome.DONE
    assert sorted(path.name for path in (site.state / "replaced").iterdir()) == names


async def test_what_else_lies_in_a_transfer_comes_into_no_generation(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    copy = await kept(site, agent, await back_up(site, agent))
    shutil.rmtree(site.state)
    await bring(agent, copy)
    await lay(agent, copy, "summary", b"another")
    await lay(agent, copy, "20200101T000000Z", b"another")
    plant(site, f"incoming/{TRANSFER}/evil.php")
    plant(site, f"incoming/{TRANSFER}/mark", b"clean")
    await adopt(agent, copy)
    assert {path.name for path in folder_of(site, copy.generation).iterdir()} == {
        "manifest", "summary.json", "database.sql.gz", "RESTORE.txt", "pinned",
    }  # fmt: skip
    assert [path.name for path in (site.state / "packs").iterdir()] == [f"{copy.generation}.tar"]
    assert (await verify(agent, copy.generation, copy.seal)).problems == ()


async def test_a_recipe_in_another_release_s_words_is_no_damage(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    copy = await kept(site, agent, await back_up(site, agent))
    theirs = json.loads(copy.summary) | {"recipe": {"size": 9, "sha256": hashlib.sha256(b"otherwise").hexdigest()}}
    copy = copy.sealed_as(copy.generation, json.dumps(theirs).encode())
    shutil.rmtree(site.state)
    await bring(agent, copy)
    await adopt(agent, copy)
    found = await verify(agent, copy.generation, copy.seal)
    assert (found.outcome, found.problems) == ("ok", ())
    recipe = folder_of(site, copy.generation) / "RESTORE.txt"
    words = recipe.read_bytes()
    spoil(recipe)
    found = await verify(agent, copy.generation, copy.seal)
    assert [(one.path, one.healed) for one in found.problems] == [("RESTORE.txt", True)]
    assert recipe.read_bytes() == words


async def test_an_old_generation_that_came_back_is_kept_until_it_is_unpinned(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    policy = {"keep": 1, "min_age_s": -60}
    old = await back_up(site, agent, 1, "weekly", **policy)
    copy = await kept(site, agent, old)
    await back_up(site, agent, 2, "weekly", **policy)
    await back_up(site, agent, 3, "weekly", **policy)
    assert old not in site.generations()
    assert old in (await agent.generations()).let_go
    await bring(agent, copy)
    await adopt(agent, copy)
    await back_up(site, agent, 4, "weekly", **policy)
    assert old in site.generations()
    await agent.mark(old, pinned=False)
    await back_up(site, agent, 5, "weekly", **policy)
    assert old not in site.generations()


async def test_no_id_repeats_after_one_that_runs_ahead_of_the_clock(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    copy = await kept(site, agent, await back_up(site, agent))
    ahead = f"{int(copy.generation[:4]) + 1}{copy.generation[4:]}".replace("0229T", "0228T")
    text = json.dumps(json.loads(copy.summary) | {"generation": ahead}).encode()
    newer = copy.sealed_as(ahead, text)
    await bring(agent, newer)
    await adopt(agent, newer)
    shutil.rmtree(folder_of(site, ahead))
    newest = await back_up(site, agent, 2)
    assert newest > ahead
    await adopt(agent, copy)  # an older one takes nothing back
    shutil.rmtree(folder_of(site, newest))
    assert await back_up(site, agent, 3) > newest


async def test_a_generation_that_does_not_fit_is_refused_before_it_crosses_the_wire(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    site.disk(site.state, 40 * MIB)
    site.write("wp-content/large.bin", random.Random(1).randbytes(8 * MIB))
    agent = site.agent(servers)
    copy = await kept(site, agent, await back_up(site, agent))
    for path in site.state.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    filler = site.state / "filler"
    assert shell("dd", "if=/dev/zero", f"of={filler}", f"bs={MIB}", "count=20")[0] == 0
    with pytest.raises(AgentError) as refused:
        await lacking(agent, copy)
    assert refused.value.code == "no_space"
    filler.unlink()
    await bring(agent, copy)
    assert shell("dd", "if=/dev/zero", f"of={filler}", f"bs={MIB}", "count=25")[0] == 0
    with pytest.raises(AgentError) as refused:
        await adopt(agent, copy)
    assert refused.value.code == "no_space"
    assert site.generations() == []
    assert list((site.state / "packs").glob("*")) == []
    filler.unlink()
    assert await lacking(agent, copy) == {}
    await adopt(agent, copy)
    assert (await verify(agent, copy.generation, copy.seal)).outcome == "ok"


async def test_while_a_generation_is_adopted_no_operation_begins(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    site.write("wp-content/large.bin", random.Random(1).randbytes(20 * MIB))
    agent = site.agent(servers, cpu=0.2)
    copy = await kept(site, agent, await back_up(site, site.agent(servers)))
    async with contextlib.aclosing(agent.adopt(TRANSFER, copy.summary, copy.seal)) as told:
        assert isinstance(await anext(told), Progress)
        pids = adopting(site)
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(AgentError) as refused:
                await carry_out(agent, "snapshot", reason="hand")
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert refused.value.code == "busy"
        *_, found = [one async for one in told]
    assert isinstance(found, Adopted)
    assert (await carry_out(agent, "snapshot", reason="hand")).outcome is Outcome.DONE


async def test_what_another_client_is_bringing_is_not_taken_from_under_its_hands(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    copy = await kept(site, agent, await back_up(site, agent))
    shutil.rmtree(site.state)
    await bring(agent, copy)
    with (site.state / "incoming" / TRANSFER / "packs" / f"{copy.generation}.tar").open("rb") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with pytest.raises(AgentError) as refused:
            await adopt(agent, copy)
    assert refused.value.code == "busy"
    assert site.generations() == []
    await adopt(agent, copy)
    assert (await verify(agent, copy.generation, copy.seal)).outcome == "ok"


def kill_when(site: Small, reached: Callable[[], bool]) -> bool:
    """`kill -9` of the adoption as soon as it has come so far; False where it was faster."""
    until = time.monotonic() + 20
    while not (pids := adopting(site)):
        assert time.monotonic() < until
    while not reached():
        if time.monotonic() > until or not Path(f"/proc/{pids[0]}").exists():
            return False
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return True


def adopting(site: Small) -> list[int]:
    found = []
    for pid in owned_by([site.within.uid]):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b".php\0adopt\0"):
                found.append(pid)
    return found


async def test_an_adoption_that_is_killed_between_any_two_steps_harms_nothing_and_is_finished_by_the_next(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    old = await back_up(site, agent, 1)
    site.write("wp-content/large.bin", random.Random(9).randbytes(20 * MIB))
    lost = await back_up(site, agent, 2)
    site.write("wp-content/large2.bin", random.Random(10).randbytes(20 * MIB))
    last = await back_up(site, agent, 3)
    copy = await kept(site, agent, last)
    forged = json.dumps(summary_of(site, last) | {"front": "PAY"}).encode()

    def attack() -> None:
        """One pack is damaged, one and the older generation are gone, and the newest is forged."""
        (site.state / "packs" / f"{last}.tar").unlink()
        spoil(site.state / "packs" / f"{lost}.tar")
        shutil.rmtree(folder_of(site, lost), ignore_errors=True)
        (folder_of(site, last) / "summary.json").write_bytes(forged)
        spoil(folder_of(site, last) / "database.sql.gz")

    moments: dict[str, Callable[[], bool]] = {
        "hashing": lambda: True,
        "a pack in its place": (site.state / "packs" / f"{last}.tar").exists,
        "the folder complete": (site.state / "incoming" / TRANSFER / "summary.json").exists,
        "the forged one aside": lambda: not folder_of(site, last).exists(),
    }
    killed = []
    for moment, swept in itertools.product(moments, (False, True)):
        attack()
        assert await bring(agent, copy) == {"dump", lost, last}
        adoption = asyncio.create_task(adopt(agent, copy))
        if await asyncio.to_thread(kill_when, site, moments[moment]):
            killed.append(moment)
        with contextlib.suppress(AgentError):
            await adoption
        told = await agent.generations()
        assert set(told.summaries) - {last} == {old}
        assert told.summaries.get(last) in (None, copy.seal, hashlib.sha256(forged).hexdigest())
        # Packs that no summary names yet are all that verify may find.
        assert {one.path for one in (await verify(agent, old)).problems} <= {f"packs/{lost}.tar", f"packs/{last}.tar"}
        if swept:
            await agent.recover()  # takes packs away that no summary names
            await bring(agent, copy)
        await adopt(agent, copy)
        assert (await agent.generations()).summaries[last] == copy.seal
        found = await verify(agent, last, copy.seal)
        assert (found.outcome, found.problems) == ("ok", ())
        assert site.litter() == []
    assert len({*killed}) >= 2, killed
    aside = [path for path in (site.state / "replaced").iterdir() if (path / "summary.json").read_bytes() == forged]
    assert len(aside) == 2 * len(moments)
