"""Operations that this process carries out itself: copies between the site's server and the vault, a switch of PHP.

Copies change nothing of a site, so a process that dies leaves nothing to recover: begun again they go on from the last
piece. A switch that dies needs a hand. One at a time of a site on this machine, by a lock that goes with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import fcntl
import os
import secrets
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING

import msgspec

from app.operations.intent import Intent
from app.operations.summary import summarise
from backends.records import AnyEvent, Finished, ModoseruError, Operation, Outcome, Progress, Site, Started

if TYPE_CHECKING:
    from app.session import Session

KINDS = frozenset({"vault", "bring", "switch"})
"""What this process does itself; every other kind runs on the site's server."""
Work = AsyncGenerator[AnyEvent]


class Elsewhere(ModoseruError):  # noqa: N818 - says where
    """Another process carries it out. Code: elsewhere."""


def is_here(operation: str) -> bool:
    return operation.split("-")[1] in KINDS


async def carry_out(session: Session, intent: Intent, work: Work) -> Work:
    """`work`'s events with their lines, between Started and Finished, kept in the journal.

    An error of `work` ends it `rolled_back`, `cancel` ends it `cancelled`; closing this generator cancels too. Raises
    Elsewhere before anything began.
    """
    site = intent.site
    with alone(session, site):
        await _bury(session, site)
        operation = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{intent.kind}-{secrets.token_hex(3)}"
        asked = session.cancels[operation] = asyncio.Event()
        story = _Story(session, site, operation, intent.kind)
        try:
            yield await story.begun()
            ended: Finished | None = None
            async with contextlib.aclosing(_until(work, asked)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        ended = event
                        break
                    yield await story.told(event)
            yield await story.ended(ended or _finished(Outcome.CANCELLED, intent, "it was cancelled"))
        except ModoseruError as error:
            failed = _finished(Outcome.ROLLED_BACK, intent, error.message)
            yield await story.ended(msgspec.structs.replace(failed, code=error.code, hint=error.hint))
        finally:
            del session.cancels[operation]
            await story.abandoned(intent)


def cancel(session: Session, operation: str) -> bool:
    """Asks an operation of this process to stop. Raises Elsewhere."""
    asked = session.cancels.get(operation)
    if asked is None:
        raise Elsewhere("elsewhere", f"{operation} is not carried out by this program", "end it where it was begun")
    asked.set()
    return True


async def told(session: Session, operation: str) -> Work:
    """The events of one that any process of this machine carries out, from its first to its last.

    Raises ModoseruError: no_operation where it is not known here.
    """
    line = -1
    while True:
        known = await session.journal.operation(operation)
        if known is None:
            raise ModoseruError("no_operation", f"there is no operation {operation} on this machine")
        for event in await session.journal.events(operation, line):
            line = event.line
            yield event
            if isinstance(event, Finished):
                return
        with contextlib.suppress(Elsewhere), alone(session, session.fleet.site(known.site)):
            await _bury(session, session.fleet.site(known.site))
        await asyncio.sleep(0.2)


async def _until(work: Work, asked: asyncio.Event) -> Work:
    """`work`'s events, and none any more when `asked` is set."""
    stopping = asyncio.ensure_future(asked.wait())
    try:
        while not asked.is_set():
            coming = asyncio.ensure_future(anext(work, None))
            try:
                await asyncio.wait((coming, stopping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.gather(coming, return_exceptions=True)
            if coming.cancelled() or (event := coming.result()) is None:
                return
            yield event
    finally:
        stopping.cancel()
        await work.aclose()


class _Story:
    """One operation's lines in the journal."""

    def __init__(self, session: Session, site: Site, operation: str, kind: str) -> None:
        self._session, self._site, self._operation, self._kind = session, site, operation, kind
        self._events: list[AnyEvent] = []
        self._lines = 0

    async def begun(self) -> AnyEvent:
        now = dt.datetime.now(dt.UTC)
        record = Operation(
            operation=self._operation, site=self._site.name, kind=self._kind, started=now, who=self._session.who
        )
        await self._session.journal.operation_began(record)
        return await self.told(Started(at=now, operation=self._operation, site=self._site.name, kind=self._kind))

    async def told(self, event: AnyEvent) -> AnyEvent:
        event = msgspec.structs.replace(event, line=self._lines)
        self._lines += 1
        if not isinstance(event, Progress):
            self._events.append(event)
            await self._session.journal.record_event(self._operation, event)
        return event

    async def ended(self, event: Finished) -> AnyEvent:
        told = await self.told(event)
        journal, site = self._session.journal, self._site.name
        await journal.operation_ended(summarise(self._operation, site, self._kind, self._events))
        await journal.audit(self._session.who, "guard", self._kind, site, event.outcome.value, event.detail)
        return told

    async def abandoned(self, intent: Intent) -> None:
        """The one who watched has gone: nobody else does the work."""
        if not any(isinstance(event, Finished) for event in self._events):
            told = _finished(Outcome.CANCELLED, intent, "the program that did it ended")
            await self.ended(_as_left(self._kind, self._site, told))


def _as_left(kind: str, site: Site, ended: Finished) -> Finished:
    """Nobody saw whether a switch of PHP was made, or was taken back."""
    if kind != "switch":
        return ended
    hint = f"see under which PHP the site runs: modoseru runtime {site.name}"
    return msgspec.structs.replace(ended, outcome=Outcome.NEEDS_HAND, hint=hint)


def _finished(outcome: Outcome, intent: Intent, detail: str) -> Finished:
    hint = "begun again, it goes on from the last piece that arrived"
    return Finished(at=dt.datetime.now(dt.UTC), outcome=outcome, generation=intent.generation, detail=detail, hint=hint)


@contextlib.contextmanager
def alone(session: Session, site: Site) -> Iterator[None]:
    """Raises Elsewhere where another process, or another task of this one, is at it."""
    busy = Elsewhere(
        "elsewhere",
        f"{site.name} is being copied to or from the vault, or switched, already",
        f"modoseru operations {site.name}",
    )
    with locked(session, site.name, busy):
        yield


@contextlib.contextmanager
def locked(session: Session, name: str, busy: ModoseruError) -> Iterator[None]:
    """One of this machine at a time does what is called `name`; raises `busy` where another does."""
    folder = session.state / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise busy from None
        yield
    finally:
        os.close(descriptor)


async def _bury(session: Session, site: Site) -> None:
    """Ends what a dead process left running in the journal; called under the lock."""
    journal = session.journal
    for one in await journal.operations(site.name, running=True):
        if is_here(one.operation):
            line = await journal.last_line(one.operation) + 1
            dead = Finished(
                at=dt.datetime.now(dt.UTC),
                line=line,
                outcome=Outcome.CANCELLED,
                detail="the program that did it was killed",
                hint="begun again, it goes on from the last piece that arrived",
            )
            dead = _as_left(one.kind, site, dead)
            await journal.record_event(one.operation, dead)
            await journal.operation_ended(
                summarise(one.operation, site.name, one.kind, await journal.events(one.operation))
            )
