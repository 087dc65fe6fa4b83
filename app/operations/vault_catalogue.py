"""The vault as a whole: its catalogue read back from the bucket, what the store can really do, what nobody names."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from app import policy, vault
from backends.journal import SealConflict
from backends.journal_catalogue import Kept
from backends.records import ModoseruError, Policy, VaultSettings, visible
from backends.store import Abilities
from backends.vault import PIECES, Entry

if TYPE_CHECKING:
    from app.session import Session
    from backends.sealing import Identity

SKEW_S = 300.0
"""S3 refuses what is signed with a clock that is 15 minutes off; a third of that is worth a word."""


class Rebuilt(Struct, frozen=True, kw_only=True):
    """What the bucket has: entries that could be read, and why others could not."""

    place: str
    entries: int
    sites: tuple[str, ...]
    problems: tuple[str, ...] = ()


class Doctor(Struct, frozen=True, kw_only=True):
    """What `vault doctor --json` prints."""

    place: str
    abilities: Abilities
    problems: tuple[str, ...]
    """What the promise does not allow, one sentence each."""
    orphans: int
    """Pieces that no entry known to this machine names; those of copies under way among them."""
    orphan_bytes: int
    missing: tuple[str, ...]
    """Pieces that an entry names and the store does not show."""


async def rebuild(session: Session, identity: Identity) -> Rebuilt:
    """Reads every entry of the bucket; they take the place of what this machine knew. Nothing changes in the vault.

    What is there and cannot be read stays known if it was. A site's summary that has no seal here yet is sealed by its
    entry. Raises NoVault, StoreError; SealingError (wrong_identity) where the identity opens nothing of what is there.
    """
    from backends.sealing import SealingError
    from backends.vault_streams import Fetching, catalogue

    found: list[Kept] = []
    problems: list[str] = []
    known = {kept.object: kept for kept in await session.journal.catalogue.entries()}
    before = {kept.entry.site for kept in known.values()}
    opened, closed = 0, None
    async with vault.opened(session) as store:
        fetching = Fetching(store, identity, vault.scratch(session))
        async with contextlib.aclosing(catalogue(store, fetching)) as entries:
            async for item, entry in entries:
                if not isinstance(entry, SealingError):
                    opened += 1
                elif entry.code == "wrong_identity":
                    closed = entry
                if isinstance(entry, Entry):
                    there = await store.head(item.name, item.version or None)
                    until = there.locked_until if there else None
                    found.append(Kept(entry=entry, object=item.name, version=item.version, locked_until=until))
                else:
                    problems.append(f"{item.name}: {entry.message}")
                    found += [known[item.name]] if item.name in known else []
        place = store.place
    if closed is not None and not opened:
        raise closed
    await session.journal.catalogue.replace(found)
    now = dt.datetime.now(dt.UTC)
    for kept in found:
        try:
            await session.journal.seal(kept.entry.site, kept.entry.generation, kept.entry.seal, now)
        except SealConflict as error:
            problems.append(error.message)
    sites = sorted({kept.entry.site for kept in found})
    for site in sorted(before.union(sites)):
        await vault.remember(session, site)
    return Rebuilt(place=place, entries=len(found), sites=tuple(sites), problems=tuple(problems))


async def doctor(session: Session) -> Doctor:
    """Asks the store what it can really do, on objects of no value, and compares what it has with the catalogue.

    Raises NoVault, StoreError.
    """
    settings = vault.settings(session)
    named = {piece.object for kept in await session.journal.catalogue.entries() for piece in kept.entry.pieces()}
    orphans = orphan_bytes = 0
    shown = set()
    async with vault.opened(session) as store:
        able = await store.probe()
        async for item in store.versions(f"{PIECES}/"):
            if item.marker or not item.newest:
                continue
            shown.add(item.name)
            if item.name not in named:
                orphans, orphan_bytes = orphans + 1, orphan_bytes + item.size
        place = store.place
    return Doctor(
        place=place,
        abilities=msgspec.structs.replace(able, left=()),
        problems=tuple(weaknesses(settings, able, session.fleet.settings.policy)),
        orphans=orphans,
        orphan_bytes=orphan_bytes,
        missing=tuple(sorted(named - shown)),
    )


def weaknesses(settings: VaultSettings, able: Abilities, promised: Policy) -> list[str]:
    """Where a store falls short of what the vault is for. Pure."""
    found = []
    kept_days = promised.vault_keep * policy.seconds(promised.vault_every) // 86400
    if settings.lock != "none" and settings.lock_days < kept_days:
        found.append(f"its locks run out after {settings.lock_days} days, and generations are kept for {kept_days}")
    if settings.lock == "none":
        found.append("not immutable: [vault] lock is none, so whoever has the key can delete what is stored")
    elif able.lock is None:
        found.append(f"not immutable: the store holds no lock, and [vault] asks for {settings.lock}")
    elif able.lock not in {settings.lock, "compliance"}:
        found.append(f"its locks are {able.lock}, and [vault] asks for {settings.lock}")
    if not able.versioning and settings.lock != "none":
        found.append("it keeps no versions: what is overwritten is gone")
    if able.may_delete:
        found.append("these credentials can delete what is stored: give the runner a key that may not")
    if not able.conditional:
        found.append("it does not refuse to overwrite: two runners could disturb each other")
    if not able.checksums:
        found.append("it does not compare checksums: a byte that changes on the way is found by verify alone")
    for rule in able.rules or ():
        when = f" after {rule.days} days" if rule.days is not None else ""
        found.append(f"the bucket's rule {visible(rule.name, 60)} {_DOES.get(rule.does, rule.does)}{when}")
    if able.clock_s is not None and abs(able.clock_s) > SKEW_S:
        found.append(f"this machine's clock and the store's differ by {able.clock_s:.0f} s")
    return found


_DOES = {
    "expires": "removes what is stored",
    "drops_versions": "removes older versions",
    "archives": "puts objects where they cannot be read at once",
}


async def opening(session: Session, site: str, identity: Identity) -> dict[str, str | None]:
    """Whether `identity` opens the newest generation of a site that is in the vault, as a line of `key test`."""
    from backends.vault_streams import Fetching

    row: dict[str, str | None] = {"site": site, "generation": None}
    try:
        for kept in await session.journal.catalogue.entries(site):
            row["generation"] = kept.entry.generation
            part = next(part for part in kept.entry.parts if part.name == "summary.json")
            async with vault.opened(session) as store:
                await Fetching(store, identity, vault.scratch(session)).whole(part, part.size)
            return row | {"state": "ok", "detail": ""}
    except ModoseruError as error:
        return row | {"state": error.code, "detail": f"{error.message} → {error.hint}"}
    return row | {"state": "no_generation", "detail": "no generation is known to be in the vault"}
