"""Commands that a host is told by: how they end, what they leave behind, and what they say when they fail."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from backends.host_command import CommandFailed, run
from tests.lab.layout import wait_until


def lives(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_the_last_line_of_one_that_fails_is_told_and_made_harmless() -> None:
    with pytest.raises(CommandFailed, match=r"^sh ended with status 3: no such \\x1b\[31msite$"):
        await run(
            ["sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; printf 'no such \\033[31msite\\n' >&2; exit 3"]
        )


async def test_one_that_cannot_be_begun_is_named() -> None:
    with pytest.raises(CommandFailed, match=r"^/nowhere/panel: No such file or directory$"):
        await run(["/nowhere/panel", "switch"])


async def test_what_it_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    left = tmp_path / "left"
    await asyncio.wait_for(run(["sh", "-c", f"sleep 600 & echo $! > {left}"]), 60)
    pid = int(left.read_text())
    assert lives(pid)
    os.kill(pid, signal.SIGKILL)


async def test_cancelled_it_goes_with_all_that_it_began(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    running = asyncio.create_task(run(["sh", "-c", f"sleep 600 & echo $! > {begun}.new; mv {begun}.new {begun}; wait"]))
    await asyncio.to_thread(wait_until, begun.exists, 30, "the command")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    pid = int(begun.read_text())
    await asyncio.to_thread(wait_until, lambda: not lives(pid), 30, "its end")
