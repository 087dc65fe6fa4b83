"""The vault's catalogue as this machine knows it, in the journal's file: a cache that the bucket can always rebuild."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence

from msgspec import Struct

from backends.journal_file import JournalFile, moment, stamp
from backends.vault import PIECES, Entry, Piece, VaultError


class Kept(Struct, frozen=True, kw_only=True):
    """One entry of the catalogue and the object that holds it."""

    entry: Entry
    object: str
    version: str = ""
    locked_until: dt.datetime | None = None
    """Until when all of its objects are locked, as it was last read back."""


class Catalogue:
    """Raises JournalBroken where the file cannot be used. A row that no longer decodes is skipped."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    async def keep(self, kept: Kept) -> None:
        """One more entry, or what is newly known of one; pieces that were under way for it are forgotten."""

        def write(database: sqlite3.Connection) -> None:
            _insert(database, kept)
            here = (kept.entry.site, kept.entry.generation)
            database.execute("DELETE FROM vault_piece WHERE site = ? AND generation = ?", here)

        await self._file.write(write, durable=True)

    async def replace(self, all_kept: Sequence[Kept]) -> None:
        """What the bucket says takes the place of everything that was known."""

        def write(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM vault_entry")
            for kept in all_kept:
                _insert(database, kept)

        await self._file.write(write, durable=True)

    async def forget(self, name: str) -> None:
        """The entry in this object is in the vault no longer."""

        def write(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM vault_entry WHERE object = ?", (name,))

        await self._file.write(write, durable=True)

    async def entries(self, site: str | None = None) -> list[Kept]:
        """Of one site, or all; the newest generation first, and of one generation the entry that was made last."""
        query = "SELECT object, version, locked_until, text FROM vault_entry"
        values: tuple[str, ...] = ()
        if site is not None:
            query, values = f"{query} WHERE site = ?", (site,)

        def read(database: sqlite3.Connection) -> list[Kept]:
            found = []
            for name, version, until, text in database.execute(query, values):
                try:
                    entry = Entry.parse(text)
                except VaultError:
                    continue
                locked = moment(until) if until else None
                found.append(Kept(entry=entry, object=name, version=version, locked_until=locked))
            return sorted(found, key=lambda one: (one.entry.generation, one.entry.stored), reverse=True)

        return await self._file.read(read)

    # ------------------------------------------------------------ what is under way

    async def piece(self, site: str, generation: str, part: str, number: int, piece: Piece) -> None:
        """A piece that is stored, of a generation whose entry is not written yet."""
        row = (site, generation, part, number, piece.name, piece.version, piece.size, piece.sha256)

        def write(database: sqlite3.Connection) -> None:
            database.execute("INSERT OR REPLACE INTO vault_piece VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

        await self._file.write(write, durable=True)

    async def under_way(self) -> list[tuple[str, str, str]]:
        """Site, generation and object of every piece whose generation has no entry yet."""

        def read(database: sqlite3.Connection) -> list[tuple[str, str, str]]:
            rows = database.execute("SELECT site, generation, name FROM vault_piece")
            return [(site, generation, f"{PIECES}/{name}") for site, generation, name in rows]

        return await self._file.read(read)

    async def pieces(self, site: str, generation: str, part: str) -> list[Piece]:
        """Those that an attempt that ended has stored, in their order, up to the first one that is missing."""
        query = (
            "SELECT number, name, version, size, sha256 FROM vault_piece "
            "WHERE site = ? AND generation = ? AND part = ? ORDER BY number"
        )

        def read(database: sqlite3.Connection) -> list[Piece]:
            found: list[Piece] = []
            for number, *piece in database.execute(query, (site, generation, part)):
                if number != len(found):
                    break
                found.append(Piece(*piece))
            return found

        return await self._file.read(read)


def _insert(database: sqlite3.Connection, kept: Kept) -> None:
    entry = kept.entry
    until = stamp(kept.locked_until) if kept.locked_until else None
    row = (kept.object, kept.version, entry.site, entry.generation, until, entry.text())
    database.execute("INSERT OR REPLACE INTO vault_entry VALUES (?, ?, ?, ?, ?, ?)", row)
