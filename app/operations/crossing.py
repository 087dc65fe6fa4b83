"""Parts of a generation between a server and this machine, as streams, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from app.operations.patience import Patience, patiently
from backends.agent.client import Agent, AgentError
from backends.records import ModoseruError, Progress

TOLD_EVERY = 0.25
Blocks = AsyncGenerator[bytes | memoryview]


class Crossed:
    """How many bytes are over, of how many."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total

    async def told(self, work: Coroutine[Any, Any, None]) -> AsyncGenerator[Progress]:
        """How far `work` is, until it ends. Raises what it raises; closed, it ends `work`."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                yield self._progress()
                await asyncio.wait((task,), timeout=TOLD_EVERY)
            await task
            yield self._progress()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def counted(self, blocks: Blocks) -> Blocks:
        """`blocks`, which are closed with it."""
        async with contextlib.aclosing(blocks):
            async for block in blocks:
                yield block
                self.done += len(block)

    def _progress(self) -> Progress:
        return Progress(at=dt.datetime.now(dt.UTC), done=self.done, total=self.total)


async def out_of(agent: Agent, generation: str, what: str, size: int) -> AsyncGenerator[memoryview]:
    """A part that lies on a server; a connection that was lost is made again, and it goes on behind what came.

    Raises AgentError: damaged where it has not `size` bytes.
    """
    at, patience = 0, Patience()
    while True:
        try:
            async with contextlib.aclosing(agent.send(generation, what, at, size=size)) as blocks:
                async for block in blocks:
                    yield block
                    at += len(block)
                    patience.anew()
                return
        except ModoseruError as error:
            await patience.bear(error)


async def into(  # noqa: PLR0917 - of what, how much of it is there
    agent: Agent, transfer: str, what: str, size: int, have: int, source: Callable[[int], Blocks], crossed: Crossed
) -> None:
    """Lays a part of `size` bytes down on a server, of which `source` gives what stands from a place on.

    A connection that was lost is made again, and it goes on behind what arrived.
    """
    before, patience = crossed.done, Patience()
    most = before + have
    while True:
        crossed.done = before + have
        try:
            async with contextlib.aclosing(crossed.counted(source(have))) as blocks:
                there = await agent.receive(transfer, what, size, have, blocks)
            if there != size:
                raise AgentError("damaged", f"the part {what} has {there} bytes of {size}", "take another generation")
            crossed.done = before + size
            return
        except ModoseruError as error:
            if crossed.done > most:
                most = crossed.done
                patience.anew()
            # Busy: the process that took it before the cut has not seen yet that its connection is gone.
            await patience.bear(error, also="busy")
        have = await patiently(lambda: agent.received(transfer, what, size))
