"""Copies a generation of a site's server into the vault: from the server through this machine into the store.

What leaves the server is compared with its summary on the way, and the summary with the seal that is kept here; in
clear nothing touches this machine's disk. Packs that an earlier copy stored are named again, not stored again.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from app import vault
from app.operations import crossing
from app.operations.transfer import Bring, Size, summary_of
from backends.agent.client import Agent, AgentError
from backends.journal_catalogue import Kept
from backends.records import AnyEvent, Finished, ModoseruError, Note, Outcome, Site, Step
from backends.vault import Entry, Holds, Part, Piece, part_name

if TYPE_CHECKING:
    from app.session import Session
    from backends.store import Store
    from backends.vault_streams import Storing


AT_ONCE = 2
"""Parts on their way at once: each waits for the store at its end."""


class Counts(Struct, frozen=True):
    files: Size
    bytes: Size
    tables: Size
    rows: Size


class Dump(Struct, frozen=True):
    plain: Size


class Described(Struct, frozen=True):
    """Of a generation's summary, what it would restore: the catalogue says so without an identity."""

    created: dt.datetime
    counts: Counts
    dump: Dump


class Copy(Struct, frozen=True, kw_only=True):
    """Which generation of the site's server is copied."""

    generation: str


async def copy(session: Session, site: Site, wanted: Copy) -> AsyncGenerator[AnyEvent]:
    """Its events, without Started. Cut or closed it leaves pieces that the next attempt goes on from; an entry of the
    catalogue is written last, so that the vault never names what is not in it.

    Raises NoVault, SealingError, StoreError, AgentError, backends.ssh.Refused.
    """
    from backends.sealing import Recipients
    from backends.vault_streams import Storing

    settings = vault.settings(session)
    recipients = Recipients(vault.recipients(session))
    yield Step(at=_now(), name="prepare")
    agent = session.agent(site)
    async with _meanwhile(summary_of(agent, site, wanted.generation)) as asked, vault.opened(session) as store:
        bring = await asked
        kept = (await session.journal.seals(site.name)).get(wanted.generation)
        if kept is not None and kept != bring.seal:
            message = f"{wanted.generation} is not the generation that was sealed"
            raise AgentError("damaged", message, f"see modoseru verify {site.name}")
        lock = vault.lock(settings, _now())
        storing = Storing(store, recipients, vault.scratch(session), lock)
        work = _Copying(session, site, agent, store, storing, bring)
        if there := await work.there():
            until = await work.extended(lock.until if lock else None)
            await session.journal.catalogue.keep(msgspec.structs.replace(there, locked_until=until))
            await vault.remember(session, site.name)
            detail = "it is in the vault already"
            yield Finished(at=_now(), outcome=Outcome.DONE, generation=wanted.generation, detail=detail)
            return
        await work.look()
        yield Step(at=_now(), name="store")
        async with contextlib.aclosing(work.crossed.told(work.store())) as progress:
            async for event in progress:
                yield event
        yield Step(at=_now(), name="seal")
        kept_until = await work.extended(lock.until if lock else None)
        entry = work.entry()
        item = await work.storing.entry(entry)
        found = Kept(entry=entry, object=item.name, version=item.version, locked_until=kept_until)
        await session.journal.catalogue.keep(found)
    await vault.remember(session, site.name)
    if lock is None:
        yield Note(
            at=_now(), code="not_immutable", level="warning",
            text="the vault holds no locks: whoever has its key can delete what is in it",
        )  # fmt: skip
    yield Finished(at=_now(), outcome=Outcome.DONE, generation=wanted.generation, detail=work.told())


class _Copying:
    """One generation on its way: what is stored already, and what still has to cross."""

    def __init__(  # noqa: PLR0917 - what it connects
        self, session: Session, site: Site, agent: Agent, store: Store, storing: Storing, bring: Bring
    ) -> None:
        self._session, self._site, self._agent, self._store, self._bring = session, site, agent, store, bring
        self.storing = storing
        self._described = bring.read(Described)
        parts = bring.summary().parts().items()
        self._wanted = [Part(part_name(what), part.size, part.sha256) for what, part in parts]
        self._names = {part_name(what): what for what, _ in parts}
        self._done: dict[str, Part] = {}
        self._before: dict[str, list[Piece]] = {}
        self._old: list[tuple[str, str]] = []
        self.stored = 0
        self.crossed = crossing.Crossed(sum(part.size for part in self._wanted))

    async def there(self) -> Kept | None:
        """The entry of this very generation, where the store has all of it."""
        for kept in await self._session.journal.catalogue.entries(self._site.name):
            entry, item = kept.entry, await self._store.head(kept.object, kept.version or None)
            if (entry.generation, entry.seal) != (self._bring.generation, self._bring.seal) or item is None:
                continue
            if await self._all_there(entry.pieces()):
                self._old = [(kept.object, kept.version), *_objects(entry.pieces())]
                return kept
        return None

    async def look(self) -> None:
        """Finds what need not cross: packs of earlier entries, and pieces of an attempt that ended."""
        catalogue, site = self._session.journal.catalogue, self._site.name
        known = {(part.size, part.sha256): part for kept in await catalogue.entries(site) for part in kept.entry.parts}
        for part in self._wanted:
            old = known.get((part.size, part.sha256))
            if old is not None and part.name.startswith("packs/") and await self._all_there(old.pieces):
                self._done[part.name] = Part(part.name, part.size, part.sha256, old.pieces)
                self._old += _objects(old.pieces)
                self.crossed.done += part.size
                continue
            begun = await catalogue.pieces(site, self._bring.generation, part.name)
            self._before[part.name] = begun if await self._all_there(begun) else []

    async def _all_there(self, pieces: Sequence[Piece]) -> bool:
        """Whether the store still has each as it was stored: an entry that names what is gone would be a lie."""
        for piece in pieces:
            item = await self._store.head(piece.object, piece.version or None)
            if item is None or item.size != piece.size or (item.sha256 or piece.sha256) != piece.sha256:
                return False
        return True

    async def store(self) -> None:
        """All parts that are not there yet, the summary last."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(part: Part) -> None:
            async with turns, contextlib.aclosing(self._from_server(part)) as blocks:
                await self._part(part, blocks)

        try:
            async with asyncio.TaskGroup() as group:
                for part in self._wanted:
                    if part.name not in self._done:
                        group.create_task(one(part))
        except* ModoseruError as errors:
            raise first_of(errors) from None
        text = self._bring.text

        async def summary() -> AsyncIterator[bytes]:
            yield text

        await self._part(Part("summary.json", len(text), self._bring.seal), summary())

    async def _part(self, part: Part, source: AsyncIterator[bytes | memoryview]) -> None:
        catalogue, site = self._session.journal.catalogue, self._site.name

        async def kept(number: int, piece: Piece) -> None:
            self.stored += piece.size
            await catalogue.piece(site, self._bring.generation, part.name, number, piece)

        begun = self._before.get(part.name, [])
        self._old += _objects(begun)
        self._done[part.name] = await self.storing.part(part, source, begun, kept)

    def _from_server(self, part: Part) -> crossing.Blocks:
        there = crossing.out_of(self._agent, self._bring.generation, self._names[part.name], part.size)
        return self.crossed.counted(there)

    async def extended(self, until: dt.datetime | None) -> dt.datetime | None:
        """Locks what was there before as long as what was stored now. Returns until when all of it is locked."""
        if until is None:
            return None
        mode = vault.settings(self._session).lock
        for name, version in self._old:
            await self._store.extend(name, version, until, mode=mode)
        return until

    def entry(self) -> Entry:
        counts = self._described.counts
        return Entry(
            site=self._site.name,
            generation=self._bring.generation,
            created=self._described.created,
            stored=_now(),
            holds=Holds(counts.files, counts.bytes + self._described.dump.plain, counts.tables, counts.rows),
            parts=(self._done["summary.json"], *(self._done[part.name] for part in self._wanted)),
        )

    def told(self) -> str:
        new = sum(1 for name in self._done if name.startswith("packs/") and name in self._before)
        packs = sum(1 for name in self._done if name.startswith("packs/"))
        return f"{new} of {packs} packs were new to the vault, {self.stored} bytes stored"


def first_of(errors: BaseExceptionGroup[ModoseruError]) -> ModoseruError:
    """The error that ended the others."""
    error = errors.exceptions[0]
    return first_of(error) if isinstance(error, BaseExceptionGroup) else error


@contextlib.asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, Bring]) -> AsyncGenerator[asyncio.Task[Bring]]:
    """`work` on its way while something else is opened; it ends with the context."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _objects(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    return [(piece.object, piece.version) for piece in pieces]


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
