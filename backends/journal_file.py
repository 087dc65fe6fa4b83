"""The journal's SQLite file: opening, migrations, transactions, and what its errors mean to an operator.

Several processes use it at once (WAL); in each, one thread speaks to it and the loop never waits. What the rows mean
is the business of journal.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from backends.records import ModoseruError, visible

T = TypeVar("T")
BUSY_S = 10.0

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE revision (number BIGINT NOT NULL)",
        "INSERT INTO revision VALUES (0)",
        "CREATE TABLE changed (site TEXT PRIMARY KEY, number BIGINT NOT NULL)",
        "CREATE INDEX changed_number ON changed (number)",
        """CREATE TABLE state (
            site TEXT NOT NULL, what TEXT NOT NULL, at TEXT NOT NULL, record TEXT NOT NULL,
            PRIMARY KEY (site, what))""",
        "CREATE INDEX state_what ON state (what)",
        """CREATE TABLE operation (
            id TEXT PRIMARY KEY, site TEXT NOT NULL, running INTEGER NOT NULL, started TEXT NOT NULL,
            record TEXT NOT NULL)""",
        "CREATE INDEX operation_site ON operation (site, started)",
        "CREATE INDEX operation_running ON operation (running, started)",
        """CREATE TABLE event (
            operation TEXT NOT NULL REFERENCES operation (id) ON DELETE CASCADE, line INTEGER NOT NULL,
            record TEXT NOT NULL, PRIMARY KEY (operation, line))""",
        """CREATE TABLE seal (
            site TEXT NOT NULL, generation TEXT NOT NULL, sha256 TEXT NOT NULL, at TEXT NOT NULL,
            PRIMARY KEY (site, generation))""",
        """CREATE TABLE fact (
            site TEXT NOT NULL, generation TEXT NOT NULL, tier TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (site, generation, tier, name))""",
        """CREATE TABLE audit (
            number INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, origin TEXT NOT NULL, what TEXT NOT NULL,
            site TEXT, outcome TEXT NOT NULL, detail TEXT NOT NULL)""",
        "CREATE TABLE cache (name TEXT PRIMARY KEY, value TEXT NOT NULL, at TEXT NOT NULL)",
    ),
    (
        """CREATE TABLE vault_entry (
            object TEXT PRIMARY KEY, version TEXT NOT NULL, site TEXT NOT NULL, generation TEXT NOT NULL,
            locked_until TEXT, text TEXT NOT NULL)""",
        "CREATE INDEX vault_entry_site ON vault_entry (site)",
        """CREATE TABLE vault_piece (
            site TEXT NOT NULL, generation TEXT NOT NULL, part TEXT NOT NULL, number INTEGER NOT NULL,
            name TEXT NOT NULL, version TEXT NOT NULL, size BIGINT NOT NULL, sha256 TEXT NOT NULL,
            PRIMARY KEY (site, generation, part, number))""",
    ),
    (
        """CREATE TABLE decision (
            kind TEXT NOT NULL, slug TEXT NOT NULL, version TEXT NOT NULL, site TEXT NOT NULL, at TEXT NOT NULL,
            record TEXT NOT NULL, PRIMARY KEY (kind, slug, version, site))""",
        """CREATE TABLE ledger (
            site TEXT NOT NULL, operation TEXT NOT NULL, kind TEXT NOT NULL, slug TEXT NOT NULL, at TEXT NOT NULL,
            record TEXT NOT NULL, PRIMARY KEY (site, operation, kind, slug))""",
        "CREATE INDEX ledger_at ON ledger (at)",
    ),
    (
        """CREATE TABLE renewal (
            number INTEGER PRIMARY KEY, site TEXT NOT NULL, what TEXT NOT NULL, expires TEXT NOT NULL,
            record TEXT NOT NULL)""",
        "CREATE INDEX renewal_site ON renewal (site, what)",
    ),
    ("ALTER TABLE audit ADD COLUMN link TEXT",),
)
"""What brings schema N to N + 1; entries are appended, never changed. `PRAGMA user_version` is the schema."""


class JournalBroken(ModoseruError):  # noqa: N818  says what happened, as callers read it
    """The journal cannot be used. Codes: journal_locked, journal_corrupt, journal_newer, journal_full,
    journal_unwritable, journal_io, journal_closed."""


class JournalFile:
    """One open file, for one event loop. `Journal` says what `open` and `close` promise."""

    def __init__(self, path: Path, thread: ThreadPoolExecutor, database: sqlite3.Connection) -> None:
        self._path, self._thread, self._database = path, thread, database
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, busy: float = BUSY_S) -> JournalFile:
        thread = ThreadPoolExecutor(1, "journal")
        try:
            database = await asyncio.get_running_loop().run_in_executor(thread, _opened, path, busy)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(path, thread, database)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown(wait=False)
        await closing

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` finds, in the file's own thread."""
        return await self._call(lambda: work(self._database))

    async def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """`work` in one transaction, wholly or not at all; `durable`: it also survives a power cut from then on."""

        def transaction() -> T:
            self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            return _transaction(self._database, work)

        return await self._call(transaction)

    async def _call(self, work: Callable[[], T]) -> T:
        def told() -> T:
            with _told(self._path):
                return work()

        if self._closed:
            raise JournalBroken("journal_closed", "the journal is closed: the program is ending")
        return await asyncio.get_running_loop().run_in_executor(self._thread, told)


def stamp(at: dt.datetime) -> str:
    """A time as text that sorts as time does. Raises ValueError for one without a zone."""
    if at.tzinfo is None:
        raise ValueError("the journal keeps times with their zone only")
    return at.astimezone(dt.UTC).isoformat(timespec="microseconds")


def moment(text: str) -> dt.datetime:
    """The time that `stamp` made into `text`."""
    return dt.datetime.fromisoformat(text)


def _opened(path: Path, busy: float) -> sqlite3.Connection:
    with _told(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its side files the mode of the file itself.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        database = sqlite3.connect(path, timeout=busy, isolation_level=None)
        try:
            database.execute("PRAGMA foreign_keys = ON")
            _transaction(database, lambda at: _migrate(at, path))
            # Readers and one writer at once; where a file system cannot, the old mode stays and is right too.
            database.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            database.close()
            raise
        return database


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    (schema,) = database.execute("PRAGMA user_version").fetchone()
    if schema > len(MIGRATIONS):
        message = f"{_name(path)}: written by a newer Modoseru (schema {schema}, this one knows {len(MIGRATIONS)})"
        raise JournalBroken("journal_newer", message, "update Modoseru, or name another folder in MODOSERU_STATE")
    for number in range(schema, len(MIGRATIONS)):
        for statement in MIGRATIONS[number]:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {number + 1}")


def _transaction(database: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    database.execute("BEGIN IMMEDIATE")
    try:
        result = work(database)
        database.execute("COMMIT")
    except BaseException:
        # A full disk may have ended the transaction already.
        if database.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
        raise
    return result


_SAVE_ASIDE = "set the file aside (mv): state is looked up anew; only history and seals of this machine are lost"
_SPACE = "free some space; nothing that was kept before is lost"
_MEANINGS: dict[int, tuple[str, str, str]] = {
    sqlite3.SQLITE_BUSY: ("journal_locked", "another process holds it", "wait for that process, or end it"),
    sqlite3.SQLITE_LOCKED: ("journal_locked", "another process holds it", "wait for that process, or end it"),
    sqlite3.SQLITE_CORRUPT: ("journal_corrupt", "is damaged", _SAVE_ASIDE),
    sqlite3.SQLITE_NOTADB: ("journal_corrupt", "is not a journal", _SAVE_ASIDE),
    sqlite3.SQLITE_FULL: ("journal_full", "the disk is full", _SPACE),
    sqlite3.SQLITE_READONLY: ("journal_unwritable", "cannot be written", "check its permissions and its folder's"),
    sqlite3.SQLITE_CANTOPEN: ("journal_unwritable", "cannot be opened", "check its permissions and its folder's"),
    sqlite3.SQLITE_PERM: ("journal_unwritable", "cannot be opened", "check its permissions and its folder's"),
}


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what SQLite or the system says into JournalBroken."""
    try:
        yield
    except sqlite3.Error as error:
        # The low byte of an extended code is its family.
        code, what, hint = _MEANINGS.get(
            getattr(error, "sqlite_errorcode", 0) & 0xFF,
            ("journal_io", visible(str(error), 200), "check the disk; the journal is one SQLite file"),
        )
        raise JournalBroken(code, f"{_name(path)}: {what}", hint) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        code = "journal_full" if full else "journal_unwritable"
        hint = _SPACE if full else "check its folder, or name another in MODOSERU_STATE"
        raise JournalBroken(code, f"{_name(path)}: {(error.strerror or str(error)).lower()}", hint) from None


def _name(path: Path) -> str:
    return f"journal {visible(str(path), 200)}"
