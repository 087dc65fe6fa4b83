"""On a file system without flock (NFS without lockd) a heartbeat is the lock: it binds all, and dies with its owner.

Every flock(2) of the agent's processes really fails with ENOLCK: strace stands in the system's way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.agent.client import Agent, AgentError, Launched
from backends.records import Outcome
from backends.ssh import Servers
from tests.agent.small import Small, carry_out
from tests.lab.layout import wait_until
from tests.lab.processes import owned_by

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
SCRIPT = """#!/bin/sh
exec strace -D -f -qq -o /dev/null -e trace=flock -e inject=flock:error=ENOLCK {php} "$@"
"""


class Ground:
    """A small site whose file system has no locks."""

    def __init__(self, site: Small, servers: Servers) -> None:
        self.site = site
        self.php = site.within.home / f"{site.base.name}-php"
        self.php.write_text(SCRIPT.format(php=shutil.which(site.within.php)))
        self.php.chmod(0o755)
        self.agent: Agent = site.agent(servers, php=str(self.php))
        self.held = site.state / "lock.held"

    async def begin(self, verb: str, step: str, **request: object) -> str:
        """Launches an operation, which stands still in `step`."""
        self.site.hold(step)
        async with contextlib.aclosing(self.agent.launch(verb, request)) as lines:
            operation = await anext(lines)
        assert isinstance(operation, Launched)
        await asyncio.to_thread(self.site.await_held)
        return operation.operation

    def hearts(self) -> list[int]:
        found = []
        for pid in owned_by([self.site.within.uid]):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"heart" in words and bytes(self.held) in words and b"strace" not in words[0]:
                    found.append(pid)
        return found

    def free(self) -> None:
        """Waits until nobody holds the lock, and nothing of it is left."""
        wait_until(lambda: not self.hearts() and not self.held.exists(), 20, "the lock to be free")
        left = [entry.name for entry in self.site.state.iterdir() if "lock" in entry.name or "clock" in entry.name]
        assert left == ["lock"]


@pytest.fixture
def ground(small: Callable[..., Small], servers: Servers) -> Ground:
    return Ground(small(), servers)


async def refused(ground: Ground) -> str:
    with pytest.raises(AgentError) as told:
        await carry_out(ground.agent, "snapshot", reason="hand")
    return told.value.code


async def test_operations_run_one_after_the_other_and_leave_no_lock(ground: Ground) -> None:
    made = await carry_out(ground.agent, "snapshot", reason="hand")
    assert made.outcome is Outcome.DONE, made.end
    before = ground.site.files()
    ground.site.write("index.php", b"<?php echo 'HACKED';")
    restored = await carry_out(ground.agent, "restore", generation=made.end.generation, only="all")
    assert restored.outcome is Outcome.DONE, restored.end
    assert ground.site.files() == before
    ground.free()


async def test_a_second_operation_is_refused_while_one_runs(ground: Ground) -> None:
    operation = await ground.begin("snapshot", "prepare", reason="hand")
    assert len(ground.hearts()) == 1
    assert await refused(ground) == "busy"
    (running,) = await ground.agent.operations()
    assert (running.operation, running.state) == (operation, "running")
    ground.site.release()
    wait_until(lambda: not ground.site.workers(), 20, "the end")
    (ended,) = await ground.agent.operations()
    assert ended.outcome is Outcome.DONE
    ground.free()


async def test_a_killed_owner_s_lock_is_free_at_once_and_its_work_is_taken_back(ground: Ground) -> None:
    operation = await ground.begin("snapshot", "prepare", reason="hand")
    assert await asyncio.to_thread(ground.site.kill)
    assert ground.hearts()  # the child that it waited for works on, and holds the lock with it
    assert await refused(ground) == "busy"
    ground.site.release()
    await asyncio.to_thread(ground.free)
    await ground.agent.recover()
    (ended,) = [one for one in await ground.agent.operations() if one.operation == operation]
    assert ended.outcome is Outcome.ROLLED_BACK
    assert (await carry_out(ground.agent, "snapshot", reason="hand")).outcome is Outcome.DONE


async def test_a_silent_lock_is_taken_over_and_one_that_beats_is_not(ground: Ground) -> None:
    """Whose whole machine went down took nothing away."""
    assert (await carry_out(ground.agent, "snapshot", reason="hand")).outcome is Outcome.DONE
    await asyncio.to_thread(ground.free)
    ground.held.write_text("somebody else")
    os.chown(ground.held, ground.site.within.uid, ground.site.within.uid)
    assert await refused(ground) == "busy"
    ground.held.with_name("lock.held.dead").touch()  # of one who died over taking it away
    for path in (ground.held, ground.held.with_name("lock.held.dead")):
        os.utime(path, (time.time() - 120, time.time() - 120))
    done = await carry_out(ground.agent, "snapshot", reason="hand")
    assert done.outcome is Outcome.DONE, done.end
    await asyncio.to_thread(ground.free)


async def test_a_lock_whose_heart_was_ended_gets_another(ground: Ground) -> None:
    operation = await ground.begin("snapshot", "prepare", reason="hand")
    (heart,) = ground.hearts()
    os.kill(heart, signal.SIGKILL)
    ground.site.release()
    wait_until(lambda: not ground.site.workers(), 20, "the end")
    (ended,) = [one for one in await ground.agent.operations() if one.operation == operation]
    assert ended.outcome is Outcome.DONE
    await asyncio.to_thread(ground.free)


async def test_an_owner_that_was_taken_for_dead_does_not_wake(ground: Ground) -> None:
    operation = await ground.begin("snapshot", "prepare", reason="hand")
    ground.held.write_text("whoever took it over")
    await asyncio.to_thread(wait_until, lambda: not ground.site.workers(), 20, "the owner's end")
    assert ground.held.read_text() == "whoever took it over"
    ground.site.release()
    ground.held.unlink()
    await ground.agent.recover()
    (ended,) = [one for one in await ground.agent.operations() if one.operation == operation]
    assert ended.outcome is Outcome.ROLLED_BACK
