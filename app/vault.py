"""The fleet's vault: its store, who can open it, and what of a site is in it as far as this machine knows."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from backends.journal_catalogue import Kept
from backends.records import Generation, ModoseruError, VaultSettings
from backends.store import Lock, Store, open_store

if TYPE_CHECKING:
    from app.session import Session
    from backends.sealing import Identity

IDENTITY = "MODOSERU_IDENTITY"
"""The variable that names the identity's file. Nothing in the configuration does: it stays off the runner."""


HOW_TO_KEEP = """\
  → put the recipient into [vault] recipients of fleet.toml, beside a second one whose identity lies elsewhere (escrow)
  → print the file, or copy it to two places that are not this machine and not a site's server; then remove it here:
    making backups does not need it, and without it nobody opens the vault"""


class NoVault(ModoseruError):  # noqa: N818 - says what is missing
    """Codes: no_vault, no_recipient. Exit code 2."""

    exit_code = 2


def settings(session: Session) -> VaultSettings:
    """Raises NoVault."""
    found = session.fleet.settings.vault
    if found is None:
        raise NoVault("no_vault", "the fleet has no vault", "describe one in [vault] of fleet.toml: url and recipients")
    return found


def recipients(session: Session) -> tuple[str, ...]:
    """Those who will be able to open what is stored: at least one. Raises NoVault."""
    found = settings(session).recipients
    if not found:
        hint = "modoseru key new FILE makes a key"
        raise NoVault("no_recipient", "the vault has no recipient: nobody could open what is stored", hint)
    return found


@asynccontextmanager
async def opened(session: Session, *, pruning: bool = False) -> AsyncIterator[Store]:
    """`pruning`: with the only key that may delete. Raises NoVault, StoreError."""
    async with open_store(settings(session), pruning=pruning) as store:
        yield store


def lock(vault: VaultSettings, now: dt.datetime) -> Lock | None:
    """What an object gets that is written now; None on a vault without locks."""
    if vault.lock == "none":
        return None
    return Lock(mode=vault.lock, until=now + dt.timedelta(days=vault.lock_days))


def scratch(session: Session) -> Path:
    """Where encrypted pieces lie meanwhile."""
    return session.state / "pieces"


def identity(path: Path | None) -> Identity | None:
    """The one at `path`, or that the environment names; None where neither is given. Raises SealingError."""
    from backends.sealing import Identity

    named = os.environ.get(IDENTITY)
    chosen = path or (Path(named) if named else None)
    return Identity.read(chosen.expanduser()) if chosen is not None else None


def wanted_identity(path: Path | None) -> Identity:
    """`identity`, which must be given. Raises SealingError (no_identity …)."""
    from backends.sealing import SealingError

    found = identity(path)
    if found is None:
        error = SealingError(
            "no_identity",
            "what is in the vault opens with the age identity alone, and none was given",
            f"name its file with --identity, or in {IDENTITY}",
        )
        error.exit_code = 2
        raise error
    return found


class OffSite(Struct, frozen=True):
    """What the journal keeps of a site's generations in the vault, the newest first."""

    generations: tuple[Generation, ...]


def new_identity(file: str) -> dict[str, str]:
    """Makes an identity in `file`; its place and its recipient. Raises SealingError, ModoseruError."""
    from backends import sealing

    path = Path(file).expanduser()
    try:
        return {"identity": str(path), "recipient": sealing.new_identity(path)}
    except OSError as error:
        raise ModoseruError(
            "key_unwritable", f"{path} cannot be written: {error.strerror}", "name another file"
        ) from error


async def remember(session: Session, site: str) -> tuple[Generation, ...]:
    """The generations of a site that are in the vault, as this machine knows them; they become its last known state."""
    journal = session.journal
    seals, facts = await journal.seals(site), await journal.generation_facts(site)
    found: dict[str, Generation] = {}
    for kept in await journal.catalogue.entries(site):
        known = facts.get((kept.entry.generation, "vault"), {})
        one = record(kept, seals.get(kept.entry.generation), known.get("verified_at"))
        found.setdefault(one.id, one)
    await journal.remember(site, "vault", OffSite(tuple(found.values())), dt.datetime.now(dt.UTC))
    return tuple(found.values())


def record(kept: Kept, seal: str | None, verified_at: dt.datetime | None = None) -> Generation:
    """An entry as every list shows it; `seal` is the one that is kept of the server's generation. Pure."""
    entry = kept.entry
    return Generation(
        id=entry.generation,
        tier="vault",
        created=entry.created,
        bytes=entry.holds.bytes,
        files=entry.holds.files,
        tables=entry.holds.tables,
        rows=entry.holds.rows,
        sealed=None if seal is None else seal == entry.seal,
        verified_at=verified_at,
        locked_until=kept.locked_until,
        stored=sum(piece.size for piece in entry.pieces()),
    )
