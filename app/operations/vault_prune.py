"""Lets go of old generations in the vault: first an entry of the catalogue, then the pieces that no other one names.

Killed anywhere it loses nothing of a generation that is kept; it leaves pieces that nobody names, which the next one
finds. Writing never needs it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from app import policy, vault
from app.operations import here
from app.operations.guard import Refused
from backends.journal_catalogue import Kept
from backends.records import ModoseruError, Policy, Progress, visible
from backends.store import Item, Store, StoreError
from backends.vault import CATALOGUE, PIECES

if TYPE_CHECKING:
    from app.session import Session

ORPHAN_AGE = dt.timedelta(days=7)
"""How old a piece that no entry names must be: a copy that another machine makes has not written its entry yet."""
REFUSALS = 10
"""After so many the key is the wrong one, and the rest is not tried."""


class CatalogueDiffers(ModoseruError):  # noqa: N818 - says what is so
    """An entry that this machine does not know may name any piece; one that is gone was taken away. Nothing goes."""


class Leaving(Struct, frozen=True, kw_only=True):
    site: str
    generation: str
    created: dt.datetime


class Pruned(Struct, frozen=True, kw_only=True):
    """What `vault prune --json` prints: what went (`deleted`), or what would go."""

    place: str
    deleted: bool
    generations: tuple[Leaving, ...]
    pieces: int
    orphans: int
    """Those of the pieces that no entry named before."""
    bytes: int
    problems: tuple[str, ...] = ()
    """What the store refused, one sentence each."""


def chosen(
    entries: Sequence[Kept], verified: Collection[str], pinned: Collection[str], promised: Policy, now: dt.datetime
) -> set[str]:
    """Which generations of one site the policy lets go, locks aside. Pure.

    Never by count alone: whoever holds the writer's key can add entries, and must not push out what is good by them. A
    generation goes only behind one that was read back whole; one that was itself read back counts none but such.
    """
    span = promised.vault_keep * dt.timedelta(seconds=policy.seconds(promised.vault_every))
    young = {one.entry.generation for one in entries if now - max(one.entry.created, one.entry.stored) < span}
    found, behind = set(), 0
    for newer, generation in enumerate(sorted({one.entry.generation for one in entries}, reverse=True)):
        counted = behind if generation in verified else newer
        if behind and counted >= promised.vault_keep and generation not in young and generation not in pinned:
            found.add(generation)
        behind += generation in verified
    return found


class Prune:
    """One run. `found` tells at any time what went so far, or, where nothing is deleted, what would."""

    def __init__(self, session: Session, *, delete: bool) -> None:
        self._session, self._delete, self._now = session, delete, dt.datetime.now(dt.UTC)
        self._place = ""
        self._leaving: list[Kept] = []
        self._entries: dict[str, list[Item]] = {}
        self._pieces: dict[str, list[Item]] = {}
        self._named: set[str] = set()
        self._went: list[Leaving] = []
        self._gone: list[Item] = []
        self._problems: list[str] = []

    @property
    def found(self) -> Pruned:
        pieces = {item.name for item in self._gone if item.name.startswith(f"{PIECES}/")}
        return Pruned(
            place=self._place,
            deleted=self._delete,
            generations=tuple(self._went),
            pieces=len(pieces),
            orphans=len(pieces - self._named),
            bytes=sum(item.size for item in self._gone),
            problems=tuple(self._problems),
        )

    async def run(self) -> AsyncGenerator[Progress]:
        """How far it is. Raises NoVault, Refused, CatalogueDiffers, here.Elsewhere, StoreError.

        What the store refuses of single objects is among the problems; what belongs to a refused entry stays.
        """
        if self._delete and self._session.read_only:
            raise Refused("read_only", "read-only: nothing is pruned", "start without --read-only")
        with self._alone():
            async with vault.opened(self._session, pruning=True) as store:
                self._place = store.place
                await self._plan(store)
                if not self._delete:
                    self._went = [_told(one) for one in self._leaving]
                    self._gone = [item for items in (self._entries | self._pieces).values() for item in items]
                    return
                async with contextlib.aclosing(self._carry_out(store)) as progress:
                    async for one in progress:
                        yield one

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nothing is copied by this machine meanwhile: a copy names pieces that lie in the vault already."""
        with contextlib.ExitStack() as held:
            for site in self._session.fleet.sites if self._delete else ():
                held.enter_context(here.alone(self._session, site))
            yield

    # ------------------------------------------------------------ what goes

    async def _plan(self, store: Store) -> None:
        known = await self._session.journal.catalogue.entries()
        leaving = await self._by_policy(known)
        stays = {one.object for one in known if one not in leaving}
        named = _named(known, stays)
        # The pieces before the catalogue: what is copied meanwhile is then younger than ORPHAN_AGE, or its entry seen.
        async for item in store.versions(f"{PIECES}/"):
            if item.name not in named:
                self._pieces.setdefault(item.name, []).append(item)
        listed: dict[str, list[Item]] = {}
        async for item in store.versions(f"{CATALOGUE}/"):
            listed.setdefault(item.name, []).append(item)
        self._compare(known, stays, listed)
        for one in leaving:
            items = listed.get(one.object, [])
            if await self._locked(store, items):
                stays.add(one.object)
            else:
                self._leaving.append(one)
                self._entries[one.object] = items
        named = _named(known, stays)
        self._named = _named(known, {one.object for one in known})
        await self._spare(store, named)

    async def _by_policy(self, known: Sequence[Kept]) -> list[Kept]:
        """The entries that may go, the oldest generation first."""
        fleet = {site.name: site for site in self._session.fleet.sites}
        found: list[Kept] = []
        for name in sorted({one.entry.site for one in known}):
            site, entries = fleet.get(name), [one for one in known if one.entry.site == name]
            if site is not None and site.read_only:
                continue
            facts = await self._session.journal.generation_facts(name)
            suspect = {generation for (generation, _), fact in facts.items() if fact.get("mark") == "suspect"}
            verified = {id_ for (id_, tier), fact in facts.items() if tier == "vault" and fact.get("verified_at")}
            pinned = {generation for (generation, _), fact in facts.items() if fact.get("pinned")}
            promised = site.policy if site is not None else self._session.fleet.settings.policy
            going = chosen(entries, verified - suspect, pinned, promised, self._now)
            found += [one for one in reversed(entries) if one.entry.generation in going]
        return found

    def _compare(self, known: Sequence[Kept], stays: set[str], listed: dict[str, list[Item]]) -> None:
        there = {name for name, items in listed.items() if any(not item.marker for item in items)}
        if strange := sorted(there - {one.object for one in known}):
            raise CatalogueDiffers(
                "catalogue_differs",
                f"nothing is pruned: {len(strange)} entries in {self._place} are not known here ({strange[0]})",
                "modoseru vault rebuild reads them; one that it cannot read was written by somebody else: look at it",
            )
        for one in known:
            if one.object in stays - there:
                raise CatalogueDiffers(
                    "catalogue_differs",
                    f"nothing is pruned: {one.object} is gone, the entry of {one.entry.generation} of {one.entry.site}",
                    "somebody deleted it: find out who; modoseru vault rebuild gives it up",
                )

    async def _spare(self, store: Store, named: Collection[str]) -> None:
        """Takes out of what goes whatever is named, locked, or may belong to a copy that is not at its end."""
        spared = set(named) | await self._under_way()
        for name, items in list(self._pieces.items()):
            young = name not in self._named and any(self._now - item.written < ORPHAN_AGE for item in items)
            if young or name in spared or await self._locked(store, items):
                del self._pieces[name]

    async def _under_way(self) -> set[str]:
        """The pieces of copies that ended early and may be gone on with: no later generation is in the vault yet."""
        catalogue, found = self._session.journal.catalogue, set()
        newest: dict[str, str] = {}
        for one in await catalogue.entries():
            newest.setdefault(one.entry.site, "")
            newest[one.entry.site] = max(newest[one.entry.site], one.entry.generation)
        for site, generation, piece in await catalogue.under_way():
            if generation > newest.get(site, ""):
                found.add(piece)
        return found

    async def _locked(self, store: Store, items: Sequence[Item]) -> bool:
        for item in items:
            if not item.marker:
                there = await store.head(item.name, item.version or None)
                if there is not None and there.locked_until is not None and there.locked_until > self._now:
                    return True
        return False

    # ------------------------------------------------------------ deleting

    async def _carry_out(self, store: Store) -> AsyncGenerator[Progress]:
        total = sum(map(len, (self._entries | self._pieces).values()))
        journal, who = self._session.journal, self._session.who
        kept: set[str] = set()
        try:
            for one in self._leaving:
                if not await self._delete_all(store, self._entries[one.object]):
                    kept |= {piece.object for piece in one.entry.pieces()}
                    continue
                await journal.catalogue.forget(one.object)
                self._went.append(_told(one))
                await journal.audit(who, "vault", "prune", one.entry.site, "done", one.entry.generation)
                yield Progress(at=dt.datetime.now(dt.UTC), done=len(self._gone), total=total, unit="files")
            for name, items in self._pieces.items():
                if name not in kept and len(self._problems) < REFUSALS:
                    await self._delete_all(store, items)
                    yield Progress(at=dt.datetime.now(dt.UTC), done=len(self._gone), total=total, unit="files")
        finally:
            found = self.found
            said = f"{len(found.generations)} generations, {found.pieces} pieces, {found.bytes} bytes went"
            await journal.audit(who, "vault", "prune", None, "refused" if found.problems else "done", said)
        for site in sorted({one.entry.site for one in self._leaving}):
            await vault.remember(self._session, site)

    async def _delete_all(self, store: Store, items: Sequence[Item]) -> bool:
        """Every version of an object, and what hides it; False where the store refused one."""
        if len(self._problems) >= REFUSALS:
            return False
        for item in items:
            try:
                await store.delete(item.name, item.version)
            except StoreError as error:
                if error.code not in {"denied", "refused"}:
                    raise
                self._problems.append(f"{item.name} stays: {visible(error.message, 300)}")
                return False
            self._gone.append(item)
        return True


def _named(known: Sequence[Kept], objects: Collection[str]) -> set[str]:
    return {piece.object for one in known if one.object in objects for piece in one.entry.pieces()}


def _told(one: Kept) -> Leaving:
    return Leaving(site=one.entry.site, generation=one.entry.generation, created=one.entry.created)
