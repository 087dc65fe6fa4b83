"""What was said about renewals, in the journal's file: who ordered, paid or confirmed which, and by what evidence."""

from __future__ import annotations

import datetime as dt
import sqlite3

import msgspec
from msgspec import Struct

from backends.journal_file import JournalFile
from backends.records import Moment, encode


class RenewalEntry(Struct, frozen=True, kw_only=True):
    """One word about one renewal: what ends on `expires`. The next period is another one, and open."""

    site: str
    what: str
    expires: dt.date
    state: str
    """`open`, `ordered`, `paid`, `confirmed`."""
    who: str
    """A person, or the source that was read again: `rdap`, `whois`, `certificate`."""
    at: Moment
    evidence: str = ""


class RenewalBook:
    """Raises JournalBroken where the file cannot be used. A row that no longer decodes is skipped."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    async def note(self, entry: RenewalEntry) -> None:
        """Stands behind those before it, which stay: evidence is not overwritten."""
        row = (entry.site, entry.what, entry.expires.isoformat(), encode(entry).decode())

        def write(database: sqlite3.Connection) -> None:
            database.execute("INSERT INTO renewal (site, what, expires, record) VALUES (?, ?, ?, ?)", row)

        await self._file.write(write, durable=True)

    async def entries(self, site: str | None = None) -> list[RenewalEntry]:
        """Of a site or of all, as they were written."""

        def read(database: sqlite3.Connection) -> list[RenewalEntry]:
            found = []
            query = "SELECT record FROM renewal WHERE ? IS NULL OR site = ? ORDER BY number"
            for (text,) in database.execute(query, (site, site)):
                try:
                    found.append(msgspec.json.decode(text, type=RenewalEntry))
                except (msgspec.DecodeError, ValueError):
                    continue
            return found

        return await self._file.read(read)
