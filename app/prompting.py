"""Asks the person at the terminal without holding up what runs meanwhile: connections live on while somebody reads."""

from __future__ import annotations

import asyncio
import sys

from app import speaking
from backends.records import ModoseruError


class NotAnswered(ModoseruError):  # noqa: N818 - says what happened
    """The terminal was closed at the prompt (Ctrl-D): nothing was begun. Exit code 130."""

    exit_code = 130


def interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


async def line(question: str) -> str:
    """What was typed, without the white space around it. Raises NotAnswered; Ctrl-C ends the program as elsewhere."""
    speaking.aside(f"{question} ", end="")
    loop, typed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    answer = sys.stdin.readline()
    if not answer:
        speaking.aside("")
        raise NotAnswered("not_answered", "no answer was given; nothing was begun", "")
    return answer.strip()


async def agreed(question: str) -> bool:
    """Yes or no, no by default. Raises NotAnswered."""
    return (await line(f"{question} [y/N]:")).casefold() in {"y", "yes"}
