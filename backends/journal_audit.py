"""Who did what from where, in the journal's file: only ever added to, each entry bound to the one before it.

The link of an entry is the SHA-256 of the link before it, a newline, and the entry as a JSON array of number, time,
who, origin, what, site, outcome and detail; before the first one stands nothing. So an entry that is changed, taken out
or put in shows, unless every later one is forged with it: then the head that was noted elsewhere no longer fits.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import sqlite3

import msgspec
from msgspec import Struct

from backends.journal_file import JournalFile, moment, stamp
from backends.records import visible

_ALL = "SELECT number, at, who, origin, what, site, outcome, detail, link FROM audit ORDER BY number"
_NEWEST = (
    "SELECT number, at, who, origin, what, site, outcome, detail FROM audit "
    "WHERE ? IS NULL OR site = ? ORDER BY number DESC LIMIT ?"
)
_ADD = (
    "INSERT INTO audit (number, at, who, origin, what, site, outcome, detail, link) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Who did what from where, and how it went."""

    number: int
    at: dt.datetime
    who: str
    origin: str
    what: str
    site: str | None
    outcome: str
    detail: str


class AuditCheck(Struct, frozen=True, kw_only=True):
    """What reading all of it has shown."""

    entries: int
    head: str | None
    """`NUMBER:LINK` of the newest entry: what to note elsewhere. None: there is none."""
    broken: int | None = None
    """The first entry that does not fit to the ones before it."""
    why: str | None = None


class AuditLog:
    """Raises JournalBroken where the file cannot be used."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    async def add(
        self, *, who: str, origin: str, what: str, site: str | None, outcome: str, detail: str, at: dt.datetime
    ) -> None:
        row = (stamp(at), visible(who), visible(origin), visible(what), site, visible(outcome), visible(detail, 4000))

        def write(database: sqlite3.Connection) -> None:
            _link_the_unlinked(database)
            last = database.execute("SELECT number, link FROM audit ORDER BY number DESC LIMIT 1").fetchone()
            number, before = last or (0, "")
            entry = (number + 1, *row)
            database.execute(_ADD, (*entry, _link(before, entry)))

        await self._file.write(write, durable=True)

    async def entries(self, limit: int = 100, site: str | None = None) -> list[AuditEntry]:
        """The newest `limit` of all sites or of one, newest first."""

        def read(database: sqlite3.Connection) -> list[AuditEntry]:
            return [
                AuditEntry(
                    number=number,
                    at=moment(at),
                    who=who,
                    origin=origin,
                    what=what,
                    site=of,
                    outcome=outcome,
                    detail=detail,
                )
                for number, at, who, origin, what, of, outcome, detail in database.execute(_NEWEST, (site, site, limit))
            ]

        return await self._file.read(read)

    async def check(self, noted: tuple[int, str] | None = None) -> AuditCheck:
        """Reads all of it. `noted`: number and link of a head that somebody kept elsewhere."""
        return await self._file.read(lambda database: _checked(database, noted))


def _checked(database: sqlite3.Connection, noted: tuple[int, str] | None) -> AuditCheck:
    number, before, is_linked, fits = 0, "", _is_linked(database), noted is None
    for *entry, link in database.execute(_ALL):
        count, head = number, f"{number}:{before}" if number else None
        if entry[0] != number + 1:
            return AuditCheck(entries=count, head=head, broken=entry[0], why=f"entry {number + 1} is missing")
        number, before = number + 1, _link(before, entry)
        if is_linked and link != before:
            return AuditCheck(entries=count, head=head, broken=number, why="it is not what was written")
        fits = fits or (number, before) == noted
    head = f"{number}:{before}" if number else None
    if noted is not None and not fits:
        why = f"entry {noted[0]} is gone" if noted[0] > number else "it is not the one that was noted"
        return AuditCheck(entries=number, head=head, broken=noted[0], why=why)
    return AuditCheck(entries=number, head=head)


def _is_linked(database: sqlite3.Connection) -> bool:
    """A journal of an earlier version has none until something is added to it."""
    return bool(database.execute("SELECT 1 FROM audit WHERE link IS NOT NULL LIMIT 1").fetchone())


def _link_the_unlinked(database: sqlite3.Connection) -> None:
    if _is_linked(database):
        return
    before, links = "", []
    for *entry, _ in database.execute(_ALL).fetchall():
        before = _link(before, entry)
        links.append((before, entry[0]))
    database.executemany("UPDATE audit SET link = ? WHERE number = ?", links)


def _link(before: str, entry: object) -> str:
    return hashlib.sha256(before.encode() + b"\n" + msgspec.json.encode(entry)).hexdigest()
