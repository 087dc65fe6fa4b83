"""What registries said and when they may be asked again, kept in the journal's file for all processes.

Has the shape of `backends.domains.Cache`; knows no registry.
"""

from __future__ import annotations

import datetime as dt
import sqlite3

from backends.journal_file import JournalFile, moment, stamp


class Cache:
    """Answers and last uses by key, shared by all processes (what registries said, when they may be asked again)."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    async def get(self, key: str) -> tuple[str, dt.datetime] | None:
        """What was kept under `key` and when (a registry's answer, a rate limit's last use)."""

        def read(database: sqlite3.Connection) -> tuple[str, dt.datetime] | None:
            row = database.execute("SELECT value, at FROM cache WHERE name = ?", (key,)).fetchone()
            return (str(row[0]), moment(row[1])) if row else None

        return await self._file.read(read)

    async def set(self, key: str, value: str, at: dt.datetime) -> None:
        """Keeps `value` under `key`; an older one than what is there is dropped."""
        row = (key, value, stamp(at))

        def write(database: sqlite3.Connection) -> None:
            database.execute(
                "INSERT INTO cache (name, value, at) VALUES (?, ?, ?) ON CONFLICT (name) "
                "DO UPDATE SET value = excluded.value, at = excluded.at WHERE excluded.at >= cache.at",
                row,
            )

        await self._file.write(write)

    async def claim(self, key: str, at: dt.datetime, every: dt.timedelta) -> bool:
        """Whether it is `every` or more since `key` was last claimed; if so it is claimed for `at`, by one alone."""
        now, earliest = stamp(at), stamp(at - every)

        def write(database: sqlite3.Connection) -> bool:
            cursor = database.execute(
                "INSERT INTO cache (name, value, at) VALUES (?, '', ?) ON CONFLICT (name) "
                "DO UPDATE SET at = excluded.at WHERE cache.at <= ?",
                (key, now, earliest),
            )
            return cursor.rowcount == 1

        return await self._file.write(write)
