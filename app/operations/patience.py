"""How long a connection that was lost is tried again, and which failures are of that kind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from backends import ssh
from backends.records import ModoseruError

T = TypeVar("T")
PATIENCE = 600.0
"""Seconds for which a lost connection is tried again; what runs on the server goes on without us."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
PASSING = {"cut", "ssh_lost", "ssh_timeout", "ssh_unreachable", "ssh_channel", "ssh_busy"}
"""A cut connection and a host that does not answer pass; a refusal of the account or of the agent does not."""


def passes(error: ModoseruError) -> bool:
    """Whether a failure to reach the server may be gone at the next try. A jump host fails for its own reason."""
    cause = error.cause if isinstance(error, ssh.Refused) else None
    return (cause or error.code) in PASSING


def jittered(pause: float) -> float:
    return pause * random.uniform(0.7, 1.3)  # noqa: S311 - jitter, not a secret


class Patience:
    """Bears what passes, with longer and longer pauses, until nothing has come for PATIENCE."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self.anew()

    def anew(self) -> None:
        """Something came."""
        self._until, self._pause = self._clock() + PATIENCE, FIRST_PAUSE

    async def bear(self, error: ModoseruError, *, also: str | None = None) -> None:
        """Waits for the next try. Raises `error` where it is of no passing kind, nor `also`, or has been for long."""
        if not (passes(error) or error.code == also) or self._clock() > self._until:
            raise error
        await asyncio.sleep(jittered(self._pause))
        self._pause = min(LONGEST_PAUSE, self._pause * 2)


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns; it is made again where the connection was lost. Raises what does not pass."""
    patience = Patience()
    while True:
        try:
            return await attempt()
        except ModoseruError as error:
            await patience.bear(error)
