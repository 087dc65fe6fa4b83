"""Lets go of what the vault no longer has to keep. Never needed in order to write, and of no use to an attacker.

The entry goes first, then the pieces that no other entry names: killed anywhere it leaves at most pieces that nobody
names, which a later run finds. What it may delete, the bucket itself says; the catalogue of this machine is compared.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from app import policy, vault
from backends.journal_catalogue import Kept
from backends.records import ModoseruError, Policy, Progress
from backends.store import Item, Store, StoreError, open_store
from backends.vault import CATALOGUE, PIECES

if TYPE_CHECKING:
    from app.session import Session

ORPHAN_AGE = dt.timedelta(days=7)
"""So long a copy may be cut and gone on with: its pieces are named by no entry meanwhile."""


class Going(Struct, frozen=True):
    """A generation that leaves the vault."""

    site: str
    generation: str
    created: dt.datetime


class Pruned(Struct, frozen=True, kw_only=True):
    """What `vault prune --json` prints."""

    place: str
    deleted: bool
    """False: nothing was asked to go yet, this is what would."""
    goes: tuple[Going, ...]
    pieces: int
    bytes: int
    problems: tuple[str, ...] = ()


class UnknownEntries(ModoseruError):  # noqa: N818 - says what is wrong
    """Code: unknown_entries. Something in the catalogue is not known here: it could name any piece."""


class Facts(Struct, frozen=True, kw_only=True):
    """What is known of one entry, beside itself."""

    kept: Kept
    written: dt.datetime
    """When the store says that it was written: an entry's own word could be a forger's."""
    sealed: bool
    """It holds the summary that this machine sealed when the generation was made."""
    verified: bool
    pinned: bool = False


def going(found: Sequence[Facts], promised: Policy, now: dt.datetime) -> list[Kept]:
    """Entries of one site that may go: older than the promise, with so many newer sealed generations that it is kept
    without them, one of which at least was read back whole. Planted entries are not sealed and push nothing out. Pure.
    """
    age = dt.timedelta(seconds=promised.vault_keep * policy.seconds(promised.vault_every))
    gone: list[Kept] = []
    newer: set[str] = set()
    proven = False
    for one in sorted(found, key=lambda facts: facts.kept.entry.generation, reverse=True):
        entry = one.kept.entry
        enough = len(newer - {entry.generation}) >= promised.vault_keep
        if enough and proven and not one.pinned and now - one.written > age:
            gone.append(one.kept)
            continue
        if one.sealed:
            newer.add(entry.generation)
            proven = proven or one.verified
    return gone


async def prune(session: Session, *, agreed: bool, now: dt.datetime | None = None) -> AsyncGenerator[Progress | Pruned]:
    """How far it is, then what went or, where it was not `agreed`, what would go.

    Raises NoVault; StoreError: credentials where none are for pruning, and what the store refuses as a whole;
    UnknownEntries.
    """
    settings, now = vault.settings(session), now or dt.datetime.now(dt.UTC)
    known = {kept.object: kept for kept in await session.journal.catalogue.entries()}
    problems: list[str] = []
    async with open_store(settings, pruning=True) as store:
        shown = await _shown(store, f"{CATALOGUE}/")
        _compare(known, shown)
        for name in known.keys() - shown.keys():
            await session.journal.catalogue.forget(name)
        entries = [kept for name, kept in known.items() if name in shown]
        leave = await _leaving(session, entries, shown, now)
        pieces = await _shown(store, f"{PIECES}/")
        stay = {piece.object for kept in entries if kept not in leave for piece in kept.entry.pieces()}
        stay |= await session.journal.catalogue.under_way()
        for kept in list(leave):
            own = [piece.object for piece in kept.entry.pieces() if piece.object not in stay]
            if await _locked(store, [*shown[kept.object], *_of(pieces, own)], now):
                leave.remove(kept)
                stay |= set(own)
        named = {piece.object for kept in entries for piece in kept.entry.pieces()}
        orphans = [name for name, items in pieces.items() if name not in named and _old(items, now)]
        spare = {piece.object for kept in leave for piece in kept.entry.pieces()} - stay
        drops = [*spare, *(name for name in orphans if name not in stay)]
        total, done = len(leave) + len(drops), 0
        count = size = 0
        for kept in leave if agreed else ():
            await _delete(store, shown[kept.object])
            await session.journal.catalogue.forget(kept.object)
            done += 1
            yield Progress(at=dt.datetime.now(dt.UTC), done=done, total=total, unit="files")
        for name in drops:
            items = pieces.get(name, [])
            if name in orphans and await _locked(store, items, now):
                continue
            try:
                if agreed:
                    await _delete(store, items)
            except StoreError as error:
                if error.passing:
                    raise
                problems.append(f"{name}: {error.message}")
                continue
            count, size = count + 1, size + sum(item.size for item in items)
            done += 1
            yield Progress(at=dt.datetime.now(dt.UTC), done=done, total=total, unit="files")
        place = store.place
    goes = tuple(Going(one.entry.site, one.entry.generation, one.entry.created) for one in leave)
    if agreed:
        for site in sorted({one.site for one in goes}):
            await vault.remember(session, site)
        told = f"{len(goes)} generations, {count} pieces, {size} bytes"
        await session.journal.audit(session.who, "vault", "prune", "", "done", told)
    yield Pruned(place=place, deleted=agreed, goes=goes, pieces=count, bytes=size, problems=tuple(problems))


async def _leaving(
    session: Session, entries: Sequence[Kept], shown: Mapping[str, list[Item]], now: dt.datetime
) -> list[Kept]:
    """A site that is not in the fleet keeps everything: nobody says for how long it was promised."""
    found: list[Kept] = []
    for site in (one for one in session.fleet.sites if not one.read_only):
        own = [kept for kept in entries if kept.entry.site == site.name]
        seals, facts = await session.journal.seals(site.name), await session.journal.generation_facts(site.name)
        known = [
            Facts(
                kept=kept,
                written=max(item.written for item in shown[kept.object]),
                sealed=seals.get(kept.entry.generation) == kept.entry.seal,
                verified="verified_at" in facts.get((kept.entry.generation, "vault"), {}),
                pinned=any(facts.get((kept.entry.generation, tier), {}).get("pinned") for tier in ("server", "vault")),
            )
            for kept in own
        ]
        found += going(known, site.policy, now)
    return found


def _compare(known: Mapping[str, Kept], shown: Mapping[str, list[Item]]) -> None:
    """Raises UnknownEntries where the bucket's catalogue has what this machine does not know."""
    strange = sorted(
        name
        for name, items in shown.items()
        if name not in known or any(item.version != known[name].version for item in items if not item.marker)
    )
    if strange:
        raise UnknownEntries(
            "unknown_entries",
            f"{len(strange)} entries of the vault are not known here, and could name any piece: {strange[0]}",
            "modoseru vault rebuild reads them, or says why they cannot be read",
        )


async def _shown(store: Store, prefix: str) -> dict[str, list[Item]]:
    """Every version and marker, by its name."""
    found: dict[str, list[Item]] = {}
    async for item in store.versions(prefix):
        found.setdefault(item.name, []).append(item)
    return found


def _of(pieces: Mapping[str, list[Item]], names: Iterable[str]) -> list[Item]:
    return [item for name in names for item in pieces.get(name, [])]


async def _locked(store: Store, items: Sequence[Item], now: dt.datetime) -> bool:
    for item in items:
        there = None if item.marker else await store.head(item.name, item.version or None)
        if there is not None and there.locked_until is not None and there.locked_until > now:
            return True
    return False


def _old(items: Sequence[Item], now: dt.datetime) -> bool:
    return all(now - item.written > ORPHAN_AGE for item in items)


async def _delete(store: Store, items: Sequence[Item]) -> None:
    """Markers last: what is hidden stays so until it is gone."""
    for item in sorted(items, key=lambda one: one.marker):
        await store.delete(item.name, item.version)
