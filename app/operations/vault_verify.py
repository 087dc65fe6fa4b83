"""Reads a generation back from the vault: that it is stored, locked, not hidden, and, with the identity, every byte."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import msgspec

from app import vault
from app.operations.transfer import SUMMARY_MOST, describes
from app.operations.verify import Problem, Verified
from backends.journal_catalogue import Kept
from backends.records import GENERATION_ID, ModoseruError, Progress, Site
from backends.vault import Piece, VaultError

if TYPE_CHECKING:
    from app.session import Session
    from backends.sealing import Identity
    from backends.store import Store


class NotInVault(ModoseruError):  # noqa: N818 - says what happened
    """Code: no_generation."""


async def chosen(session: Session, site: Site, generation: str | None) -> Kept:
    """The named one, or the newest that this machine knows to be in the vault. Raises NotInVault."""
    if generation is not None and not GENERATION_ID.match(generation):
        error = NotInVault("bad_generation", f"{generation!r} is no generation id", "ids look like 20261123T021500Z")
        error.exit_code = 2
        raise error
    for kept in await session.journal.catalogue.entries(site.name):
        if generation in (None, kept.entry.generation):
            return kept
    raise NotInVault(
        "no_generation",
        f"{generation or 'no generation'} of {site.name} is known to be in the vault",
        "modoseru vault rebuild asks the bucket itself",
    )


async def verify(
    session: Session, site: Site, kept: Kept, identity: Identity | None
) -> AsyncGenerator[Progress | Verified]:
    """How far it is, then what was found. Without the identity nothing is read, and the best outcome is `unknown`.

    A delete marker is taken back, unless the program is read-only. Raises NoVault, StoreError.
    """
    now = dt.datetime.now(dt.UTC)
    seal = (await session.journal.seals(site.name)).get(kept.entry.generation)
    async with vault.opened(session) as store:
        locked = vault.settings(session).lock != "none"
        stored = _Stored(store, now, locked=locked, heals=not session.read_only)
        objects = [(kept.object, kept.version, None), *((p.object, p.version, p) for p in kept.entry.pieces())]
        for name, version, piece in objects:
            await stored.look(name, version, piece)
            yield Progress(at=dt.datetime.now(dt.UTC), done=stored.seen, total=len(objects), unit="files")
        read = 0
        problems = stored.problems
        if identity is not None:
            async with contextlib.aclosing(_read(session, store, kept, identity, problems)) as sizes:
                async for size in sizes:
                    read = size
                    total = sum(part.size for part in kept.entry.parts)
                    yield Progress(at=dt.datetime.now(dt.UTC), done=read, total=total)
    if seal is not None and seal != kept.entry.seal:
        problems.insert(0, Problem(what="is not the summary that was sealed", path="summary.json"))
    damaged = any(not one.healed for one in problems)
    outcome = "damaged" if damaged else "ok" if identity is not None and seal is not None else "unknown"
    if outcome == "ok":
        await session.journal.note_generation_fact(site.name, kept.entry.generation, "vault", "verified_at", now)
    await session.journal.catalogue.keep(msgspec.structs.replace(kept, locked_until=stored.locked_until))
    await vault.remember(session, site.name)
    yield Verified(
        site=site.name,
        generation=kept.entry.generation,
        tier="vault",
        outcome=outcome,
        checked_bytes=read,
        problems=tuple(problems),
    )


class _Stored:
    """What the store tells of each object, without reading it."""

    def __init__(self, store: Store, now: dt.datetime, *, locked: bool, heals: bool) -> None:
        self._store, self._now, self._locked, self._heals = store, now, locked, heals
        self.problems: list[Problem] = []
        self._ends: list[dt.datetime | None] = []
        self.seen = 0

    @property
    def locked_until(self) -> dt.datetime | None:
        """Until when all of it is locked."""
        ends = [end for end in self._ends if end is not None]
        return min(ends) if ends and len(ends) == len(self._ends) else None

    async def look(self, name: str, version: str, piece: Piece | None) -> None:
        self.seen += 1
        there = await self._store.head(name, version or None)
        if there is None:
            self.problems.append(Problem(what="is missing from the vault", path=name))
            return
        if piece and (there.size != piece.size or (there.sha256 or piece.sha256) != piece.sha256):
            self.problems.append(Problem(what="is not what was stored", path=name))
        if version and (await self._store.head(name)) is None:
            if self._heals:
                await self._store.restore_version(name, version)
            self.problems.append(Problem(what="was hidden by a delete marker", path=name, healed=self._heals))
        if self._locked and (there.locked_until is None or there.locked_until <= self._now):
            self.problems.append(Problem(what="is not locked", path=name))
        self._ends.append(there.locked_until)


async def _read(
    session: Session, store: Store, kept: Kept, identity: Identity, problems: list[Problem]
) -> AsyncGenerator[int]:
    """Bytes in clear that were read so far; what is wrong goes to `problems`."""
    from backends.sealing import SealingError
    from backends.store import StoreError
    from backends.vault_streams import Fetching

    fetching, read = Fetching(store, identity, vault.scratch(session)), 0
    for part in kept.entry.parts:
        text, is_summary = b"", part.name == "summary.json"
        try:
            async with contextlib.aclosing(fetching.part(part)) as blocks:
                async for block in blocks:
                    read += len(block)
                    if is_summary and len(text) <= SUMMARY_MOST:
                        text += block
                    yield read
            if is_summary and not describes(text, kept.entry):
                problems.append(Problem(what="is not the summary of this generation", path=part.name))
        except (VaultError, SealingError) as error:
            problems.append(Problem(what=error.message, path=part.name))
        except StoreError as error:
            if error.passing:
                raise
            problems.append(Problem(what=error.message, path=part.name))
