"""Runs a `password_command` of the configuration: the one way in which a password comes from the operator's machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from backends.records import ModoseruError, visible

PATIENCE = 30.0


class CommandFailed(ModoseruError):  # noqa: N818 - says what happened
    """It gave no password. Code: password_command_failed. Nothing that it printed is in the message."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("password_command_failed", message, hint)


async def first_line(command: Sequence[str]) -> str:
    """The first line that the command prints; it runs without a shell and has 30 s. Raises CommandFailed."""
    program = visible(command[0], 100)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        message = f"password_command {program}: {error.strerror}"
        raise CommandFailed(message, "it is a list of words, run without a shell") from None
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
    except TimeoutError:
        message = f"password_command {program} did not end within 30 s"
        raise CommandFailed(message, "it must not ask questions") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    line = output.split(b"\n", 1)[0].rstrip(b"\r").decode("utf-8", "replace")
    if process.returncode or not line:
        what = f"ended with status {process.returncode}" if process.returncode else "printed nothing"
        raise CommandFailed(f"password_command {program} {what}", "its first line of output is the password")
    return line
