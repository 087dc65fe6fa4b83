"""Runs a command of the configuration on the operator's machine that tells a host to change something."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from backends.records import ModoseruError, visible

PATIENCE = 120.0
KEPT = 4096
SETTLES = 1.0
"""Seconds in which what a command printed last is read once it has ended."""


class CommandFailed(ModoseruError):  # noqa: N818 - says what happened
    """It did not do what it is for. Code: command_failed."""


async def run(command: Sequence[str]) -> None:
    """Runs the argument list without a shell; past 120 s, or when the caller is cancelled, it is killed with all that
    it began. Raises CommandFailed with the last line that it printed."""
    program = visible(command[0], 100)
    # A pipe of our own: to asyncio a process whose output somebody in the background holds open has not ended.
    end, written = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=written,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except BaseException as error:
        os.close(end)
        if not isinstance(error, OSError):
            raise
        hint = "it is a list of words, run without a shell"
        raise CommandFailed("command_failed", f"{program}: {error.strerror}", hint) from None
    finally:
        os.close(written)
    said = bytearray()
    reading = asyncio.create_task(_read(end, said))
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
        await asyncio.wait({reading}, timeout=SETTLES)
    except TimeoutError:
        message = f"{program} did not end within {PATIENCE:.0f} s"
        raise CommandFailed("command_failed", message, "it must not ask questions") from None
    finally:
        reading.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        lines = said.decode("utf-8", "replace").strip().splitlines() or ["it printed nothing"]
        message = f"{program} ended with status {process.returncode}: {visible(lines[-1], 200)}"
        raise CommandFailed("command_failed", message, "run it by hand to see why")


async def _read(end: int, said: bytearray) -> None:
    """Keeps the last of what comes; closes the pipe."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(end, "rb")
    )
    try:
        while block := await reader.read(65536):
            said += block
            del said[:-KEPT]
    finally:
        transport.close()
