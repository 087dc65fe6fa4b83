"""What was decided about updates and what became of them, in the journal's file: approvals, and the month's ledger."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from backends.journal_file import JournalFile, stamp
from backends.records import Moment, Update, encode

T = TypeVar("T", bound=Struct)


class Verdict(StrEnum):
    """What was decided about an update."""

    APPROVED = "approved"
    SKIPPED = "skipped"
    """Not this version."""
    HALTED = "halted"
    """It broke more sites than the policy bears: nobody's decision, and one that a new approval lifts."""


class Decision(Struct, frozen=True, kw_only=True):
    """Of one version of one item, for one site or, without one, for the fleet."""

    kind: str
    slug: str
    version: str
    site: str = ""
    verdict: Verdict
    who: str
    at: Moment
    note: str = ""


class Entry(Struct, frozen=True, kw_only=True):
    """A line of the ledger: what became of one update on one site."""

    site: str
    operation: str = ""
    """Empty where none began."""
    kind: str
    slug: str
    name: str | None = None
    from_: str | None = field(name="from", default=None)
    to: str | None = None
    outcome: str
    """`applied`; `put_back`: it broke something; `not_updated`: WordPress could not; `not_judged`: nobody could look;
    `not_begun`: nothing was begun on the site."""
    why: str | None = None
    at: Moment
    unavailable_s: float | None = None
    """At most so long the site was not what it should be; None where that is not known."""
    approved_by: str | None = None
    note: str = ""
    """The approval's."""

    @property
    def failed(self) -> bool:
        """Whether it says something against the update itself."""
        return self.outcome in {"put_back", "not_updated"}


class UpdateBook:
    """Raises JournalBroken where the file cannot be used. A row that no longer decodes is skipped."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    async def decide(self, decisions: Sequence[Decision]) -> None:
        """Each takes the place of the one before about the same version on the same site."""
        rows = [(one.kind, one.slug, one.version, one.site, stamp(one.at), encode(one).decode()) for one in decisions]

        def write(database: sqlite3.Connection) -> None:
            database.executemany("INSERT OR REPLACE INTO decision VALUES (?, ?, ?, ?, ?, ?)", rows)

        await self._file.write(write, durable=True)

    async def withdraw(self, update: Update, sites: Sequence[str]) -> None:
        """Takes back what was decided about this version for these sites alone."""
        rows = [(update.kind, update.slug, update.to or "", site) for site in sites]

        def write(database: sqlite3.Connection) -> None:
            query = "DELETE FROM decision WHERE kind = ? AND slug = ? AND version = ? AND site = ?"
            database.executemany(query, rows)

        await self._file.write(write, durable=True)

    async def forget(self, slug: str, sites: Iterable[str]) -> int:
        """Takes back what was decided about every version of `slug` for these sites (`""`: for the fleet). How many."""
        rows = [(slug, site) for site in sites]

        def write(database: sqlite3.Connection) -> int:
            return database.executemany("DELETE FROM decision WHERE slug = ? AND site = ?", rows).rowcount

        return await self._file.write(write, durable=True)

    async def decisions(self) -> list[Decision]:
        """The oldest first."""
        return await self._rows("SELECT record FROM decision ORDER BY at", (), Decision)

    async def write(self, entries: Sequence[Entry]) -> None:
        """One that is there stays: an operation that is followed again is no second one. Of a site where nothing was
        begun the month's last word counts, up to an operation that carried it out."""

        def write(database: sqlite3.Connection) -> None:
            for one in entries:
                month = f"{one.at.astimezone(dt.UTC):%Y-%m}"  # stands where an operation that was not begun has no id
                database.execute(
                    "DELETE FROM ledger WHERE site = ? AND operation = ? AND kind = ? AND slug = ?",
                    (one.site, month, one.kind, one.slug),
                )
                row = (one.site, one.operation or month, one.kind, one.slug, stamp(one.at), encode(one).decode())
                database.execute(
                    "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (site, operation, kind, slug) DO NOTHING",
                    row,
                )

        await self._file.write(write, durable=True)

    async def entries(self, begins: dt.datetime, ends: dt.datetime) -> list[Entry]:
        """Of the time from `begins` to before `ends`, the oldest first."""
        query = "SELECT record FROM ledger WHERE at >= ? AND at < ? ORDER BY at, site, slug"
        return await self._rows(query, (stamp(begins), stamp(ends)), Entry)

    async def failures(self, update: Update) -> list[Entry]:
        """Where this version of the item failed, ever; the oldest first."""
        query = "SELECT record FROM ledger WHERE kind = ? AND slug = ? ORDER BY at"
        found = await self._rows(query, (update.kind, update.slug), Entry)
        return [one for one in found if one.failed and one.to == update.to]

    async def _rows(self, query: str, values: tuple[str, ...], kind: type[T]) -> list[T]:
        def read(database: sqlite3.Connection) -> list[T]:
            found = []
            for (text,) in database.execute(query, values):
                try:
                    found.append(msgspec.json.decode(text, type=kind))
                except (msgspec.DecodeError, ValueError):
                    continue
            return found

        return await self._file.read(read)
