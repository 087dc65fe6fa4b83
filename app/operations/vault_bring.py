"""Brings a generation out of the vault back to its site's server: decrypted here, on no disk in clear, piece by piece.

Only what the server lacks crosses: what it has already, by hash, stays. There it becomes one of the server's own
generations, which restore, drill and verify then use as any other; nothing live is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from msgspec import Struct

from app import vault
from app.operations.patience import patiently
from app.operations.transfer import SUMMARY_MOST, describes
from backends.agent.client import Agent, AgentError, Lacking
from backends.records import AnyEvent, Finished, Note, Outcome, Progress, Site, Step
from backends.vault import Entry, Part, VaultError, part_name

if TYPE_CHECKING:
    from app.session import Session
    from backends.sealing import Identity
    from backends.vault_streams import Fetching


CROSSING = 8 * 1024 * 1024
AHEAD = 2
"""Bytes of a piece, and how many are on their way at once: while one is written the next one's PHP starts."""


class FromVault(Struct, frozen=True, kw_only=True):
    """Which generation of the vault, and what opens it. `visits`: it is another site's, here to be rehearsed alone."""

    entry: Entry
    identity: Identity
    visits: bool = False

    @property
    def transfer(self) -> str:
        return transfer_of(self.entry)


def transfer_of(entry: Entry) -> str:
    """The same for the same generation, so that one that was cut is gone on with."""
    return entry.seal[:32]


async def bring(session: Session, site: Site, wanted: FromVault) -> AsyncGenerator[AnyEvent]:
    """Its events, without Started. Begun again it goes on after the last piece that arrived.

    Raises NoVault, SealingError, VaultError, StoreError, AgentError (no_space, busy …), backends.ssh.Refused.
    """
    from backends.vault_streams import Fetching

    entry, agent = wanted.entry, session.agent(site)
    kept = (await session.journal.seals(entry.site)).get(entry.generation)
    if kept is not None and kept != entry.seal:
        raise AgentError(
            "damaged", f"{entry.generation} in the vault is not the one that was sealed", "take another generation"
        )
    yield Step(at=_now(), name="prepare")
    async with vault.opened(session) as store:
        fetching = Fetching(store, wanted.identity, vault.scratch(session))
        parts = {part.name: part for part in entry.parts}
        summary = await fetching.whole(parts["summary.json"], SUMMARY_MOST)
        if not describes(summary, entry):
            message = f"the summary in the vault is not that of {entry.generation} of {site.name}"
            raise VaultError("damaged", message, "somebody put this entry together: take another generation")
        lacking = Lacking(lacking=())
        async with contextlib.aclosing(agent.lacking(wanted.transfer, summary, entry.seal)) as told:
            async for answer in told:
                if isinstance(answer, Lacking):
                    lacking = answer
                else:
                    yield answer
        yield Step(at=_now(), name="bring")
        wants = [(parts.get(part_name(one.what)), one) for one in lacking.lacking]
        total = sum(part.size for part, _ in wants if part)
        done = 0
        for part, one in wants:
            if part is None:
                raise AgentError("damaged", f"the vault's entry has no {one.what}", "see modoseru verify --tier vault")
            crossing = _cross(agent, fetching, wanted.transfer, part, one.what, one.have)
            async with contextlib.aclosing(crossing) as sizes:
                async for there in sizes:
                    yield Progress(at=_now(), done=done + there, total=total)
            done += part.size
    detail = f"{done} bytes were brought from the vault"
    if wanted.visits:
        await agent.receive(wanted.transfer, "summary", len(summary), 0, summary)
        yield Finished(at=_now(), outcome=Outcome.DONE, detail=detail)
        return
    yield Step(at=_now(), name="adopt")
    async with contextlib.aclosing(agent.adopt(wanted.transfer, summary, entry.seal)) as told:
        async for adopted in told:
            if isinstance(adopted, Progress):
                yield adopted
    text = f"{entry.generation} is one of the server's again, and pinned: modoseru generations {site.name} --unpin"
    yield Note(at=_now(), code="adopted", text=text, item=entry.generation)
    yield Finished(at=_now(), outcome=Outcome.DONE, generation=entry.generation, detail=detail, summary=entry.seal)


async def _cross(  # noqa: PLR0917 - from where, to where, what
    agent: Agent, fetching: Fetching, transfer: str, part: Part, what: str, have: int
) -> AsyncGenerator[int]:
    """How many bytes of the part are there, while it crosses."""
    pipe, offset, piece = _Pipe(agent, transfer, part, what), have, bytearray()
    try:
        async with contextlib.aclosing(fetching.part(part, have)) as blocks:
            async for block in blocks:
                piece += block
                if len(piece) >= CROSSING:
                    pipe.send(offset, bytes(piece[:CROSSING]))
                    offset += CROSSING
                    del piece[:CROSSING]
                    if len(pipe.held) >= AHEAD:
                        yield await pipe.landed()
        if piece or part.size == 0:
            pipe.send(offset, bytes(piece))
        while pipe.held:
            yield await pipe.landed()
    finally:
        await pipe.close()


class _Pipe:
    """Pieces of one part on their way to the server."""

    def __init__(self, agent: Agent, transfer: str, part: Part, what: str) -> None:
        self._agent, self._transfer, self._part, self._what = agent, transfer, part, what
        self.held: deque[tuple[int, bytes, asyncio.Task[int]]] = deque()

    def send(self, at: int, content: bytes) -> None:
        self.held.append((at, content, asyncio.create_task(self._receive(at, content))))

    async def landed(self) -> int:
        """How much is there when the first of them has arrived."""
        try:
            there = await self.held[0][2]
        except AgentError as error:
            if error.code != "bad_request":
                raise
            return await self._again()
        self.held.popleft()
        return there

    async def close(self) -> None:
        tasks = [task for *_, task in self.held]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _again(self) -> int:
        """Its turn passed while the one in front of it was tried again: all that are held go once more, in order."""
        await asyncio.gather(*(task for *_, task in self.held), return_exceptions=True)
        there = await patiently(lambda: self._agent.received(self._transfer, self._what, self._part.size))
        for at, content, _ in self.held:
            if at + len(content) > there:
                there = await self._receive(at, content)
        self.held.clear()
        return there

    async def _receive(self, at: int, content: bytes) -> int:
        return await patiently(lambda: self._agent.receive(self._transfer, self._what, self._part.size, at, content))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
