"""Time and threads of a demo: its clock, its pace, and the threads in which files are touched."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
INSTANT = math.inf
"""A speed at which nothing pauses: what tests use."""
THREADS = 4


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Runtime:
    """One for a demo. `speed` 1 takes a believable few seconds for an operation, 2 half of that."""

    def __init__(self, speed: float = 1.0, clock: Callable[[], dt.datetime] = utc_now) -> None:
        if not speed > 0:
            raise ValueError("speed must be above 0")
        self.speed, self.now = speed, clock
        self._pool = ThreadPoolExecutor(THREADS, "demo")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work` in a thread. Cancelled, it still waits for the thread: nobody goes on beside a half-made change."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # nobody is left to be told
            raise

    async def pause(self, seconds: float) -> None:
        """A while of the demo's time; at least one turn of the loop."""
        await asyncio.sleep(seconds / self.speed)

    def ticks(self, seconds: float) -> int:
        """How many progress events a step of `seconds` shows: eight a second at most, so that a screen can follow."""
        return max(1, math.ceil(8 * seconds / self.speed))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
