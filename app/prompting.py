"""Asks the person at the terminal without holding up what runs meanwhile: connections live on while somebody reads."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import termios
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from app import printing
from backends.records import Credentials, ModoseruError

if TYPE_CHECKING:
    from app.operations.credentials import CredentialsWanted

T = TypeVar("T")
TRIES = 3
"""Credentials that a person gives before it is taken for an answer that none are known."""


class NotAnswered(ModoseruError):  # noqa: N818 - says what happened
    """The terminal was closed at the prompt (Ctrl-D): nothing was begun. Exit code 130."""

    exit_code = 130


def interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


async def line(question: str) -> str:
    """What was typed, without the white space around it. Raises NotAnswered; Ctrl-C ends the program as elsewhere."""
    return (await _typed(question)).strip()


async def secret(question: str) -> str:
    """What was typed, to the blank, while the terminal shows nothing of it. Raises NotAnswered."""
    with _unseen():
        return (await _typed(question)).rstrip("\r\n")


async def _typed(question: str) -> str:
    printing.aside(f"{question} ", end="")
    loop, typed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    answer = sys.stdin.readline()
    if not answer:
        printing.aside("")
        raise NotAnswered("not_answered", "no answer was given; nothing was begun", "")
    return answer


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    """Without echo, whatever ends the wait; the line that the typing did not end is ended."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSAFLUSH, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        printing.aside("")


async def with_credentials(plan: Callable[[Credentials | None], Awaitable[T]]) -> T:
    """What `plan` returns; where no known credentials open the database they are asked for, TRIES times at most.

    Raises NotAnswered, and what `plan` raises.
    """
    from app.operations.credentials import CredentialsWanted

    given: Credentials | None = None
    for _ in range(TRIES):
        try:
            return await plan(given)
        except CredentialsWanted as wanted:
            given = await _credentials(wanted, given)
    return await plan(given)


async def _credentials(wanted: CredentialsWanted, before: Credentials | None) -> Credentials:
    """Asked for a line each; an empty one leaves what is known."""
    known = before or wanted.known
    printing.aside(f"{wanted.site.name}: {wanted.message}.")
    if before is None:
        printing.aside("The host's panel shows its database; what you give is written into the restored wp-config.php.")
    name = await line(f"Database name [{known.name}]:")
    user = await line(f"Database user [{known.user}]:")
    host = await line(f"Database host [{known.host or 'localhost'}]:")
    password = await secret("Database password (not shown):")
    return Credentials(
        name=name or known.name, user=user or known.user, password=password, host=host or known.host or "localhost"
    )


async def agreed(question: str) -> bool:
    """Yes or no, no by default. Raises NotAnswered."""
    return (await line(f"{question} [y/N]:")).casefold() in {"y", "yes"}
