"""History on the operator's machine: last known state, operations with their events, seals, audit. One SQLite file.

Several processes use it at once. It judges nothing; how the file is opened, locked and migrated is in journal_file.
Past a thousand sites it moves to PostgreSQL (DESIGN 9): the statements below keep to SQL that both understand.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import platformdirs
from msgspec import Struct

from backends.journal_audit import AuditLog
from backends.journal_cache import Cache
from backends.journal_catalogue import Catalogue
from backends.journal_file import BUSY_S, JournalBroken, JournalFile, moment, stamp
from backends.journal_renewals import RenewalBook
from backends.journal_updates import UpdateBook
from backends.records import GENERATION_ID, AnyEvent, ModoseruError, Operation, encode, visible

__all__ = ["Changes", "Journal", "JournalBroken", "SealConflict", "default_path", "opened"]

T = TypeVar("T")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class SealConflict(ModoseruError):  # noqa: N818
    """A generation's summary has another hash than the one kept from first sight: it was changed since."""

    def __init__(self, site: str, generation: str, kept: str, shown: str) -> None:
        message = f"{site}: generation {generation} was sealed as {kept[:16]}…, now its summary is {shown[:16]}…"
        hint = "somebody changed this generation after it was made: do not restore it; take another one"
        super().__init__("seal_conflict", message, hint)
        self.kept, self.shown = kept, shown


class Changes(Struct, frozen=True, kw_only=True):
    """What was written since a revision, by whichever process. `revision` is what to ask with next time."""

    revision: int
    sites: tuple[str, ...]


def default_path() -> Path:
    """`journal.db` in `MODOSERU_STATE`, or in the platform's place for a user's state."""
    return Path(os.environ.get("MODOSERU_STATE") or platformdirs.user_state_dir("modoseru")) / "journal.db"


class Journal:
    """One open journal, for one event loop. Every method raises JournalBroken where the file cannot be used.

    Times must be aware; they are kept in UTC. A row that no longer decodes is skipped.
    """

    def __init__(self, file: JournalFile) -> None:
        self._file = file
        self.cache = Cache(file)
        self.catalogue = Catalogue(file)
        self.updates = UpdateBook(file)
        self.renewals = RenewalBook(file)
        self.audit_log = AuditLog(file)

    @classmethod
    async def open(cls, path: Path, *, busy: float = BUSY_S) -> Journal:
        """Opens the journal, creating it (0600, its folder 0700) and migrating an older schema.

        `busy` is for how many seconds another process may hold it. Raises JournalBroken.
        """
        return cls(await JournalFile.open(path, busy=busy))

    async def close(self) -> None:
        """Waits for what was asked before and closes. May be called twice."""
        await self._file.close()

    # ------------------------------------------------------------ last known state

    async def remember(self, site: str, what: str, record: Any, at: dt.datetime) -> None:
        """Keeps `record` as the last known `what` (health, certificate, domain, inspection …) of `site`.

        An observation older than the one kept is dropped, whatever the order of arrival.
        """
        await self.remember_all([(site, what, record, at)])

    async def remember_all(self, observations: Iterable[tuple[str, str, Any, dt.datetime]]) -> None:
        """`remember` for many at once, in one transaction."""
        rows = [(site, what, stamp(at), encode(record).decode()) for site, what, record, at in observations]

        def write(database: sqlite3.Connection) -> None:
            for row in rows:
                cursor = database.execute(
                    "INSERT INTO state (site, what, at, record) VALUES (?, ?, ?, ?) ON CONFLICT (site, what) "
                    "DO UPDATE SET at = excluded.at, record = excluded.record WHERE excluded.at >= state.at",
                    row,
                )
                if cursor.rowcount:
                    _mark(database, row[0])

        await self._file.write(write)

    async def recall(self, site: str, what: str, kind: type[T]) -> tuple[T, dt.datetime] | None:
        """The last known `what` of `site` and when it was seen; None where nothing is known."""

        def read(database: sqlite3.Connection) -> tuple[T, dt.datetime] | None:
            query = "SELECT record, at FROM state WHERE site = ? AND what = ?"
            for record, at in database.execute(query, (site, what)):
                decoded = _decoded(record, kind)
                return None if decoded is None else (decoded, moment(at))
            return None

        return await self._file.read(read)

    async def recall_all(self, what: str, kind: type[T]) -> dict[str, tuple[T, dt.datetime]]:
        """The last known `what` of every site, by site."""

        def read(database: sqlite3.Connection) -> dict[str, tuple[T, dt.datetime]]:
            found = {}
            for site, record, at in database.execute("SELECT site, record, at FROM state WHERE what = ?", (what,)):
                decoded = _decoded(record, kind)
                if decoded is not None:
                    found[site] = (decoded, moment(at))
            return found

        return await self._file.read(read)

    async def forget(self, site: str) -> None:
        """Drops state, operations, events and facts of a site that left the fleet. Seals and audit stay: they are
        what a site that comes back, or a question that comes later, is measured against."""

        def write(database: sqlite3.Connection) -> None:
            for table in ("state", "operation", "fact", "decision", "ledger", "renewal"):
                database.execute(f"DELETE FROM {table} WHERE site = ?", (site,))  # noqa: S608  constant names
            _mark(database, site)

        await self._file.write(write)

    # ------------------------------------------------------------ operations

    async def operation_began(self, operation: Operation) -> None:
        """Notes that `operation` runs. Telling it twice, or after its end, changes nothing."""

        def write(database: sqlite3.Connection) -> None:
            cursor = database.execute(
                "INSERT INTO operation (id, site, running, started, record) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO NOTHING",
                _operation_row(operation),
            )
            if cursor.rowcount:
                _mark(database, operation.site)

        await self._file.write(write, durable=True)

    async def record_event(self, operation: str, event: AnyEvent) -> None:
        """Keeps one line of an operation's journal; a line that is there already stays as it is.

        Raises ValueError for an event without a line, LookupError for an operation that never began here.
        """
        if event.line < 0:
            raise ValueError("an event without its line in the operation's journal cannot be kept")

        def write(database: sqlite3.Connection) -> None:
            row = database.execute("SELECT site FROM operation WHERE id = ?", (operation,)).fetchone()
            if row is None:
                raise LookupError(f"operation {operation} has not begun in this journal")
            cursor = database.execute(
                "INSERT INTO event (operation, line, record) VALUES (?, ?, ?) ON CONFLICT (operation, line) DO NOTHING",
                (operation, event.line, encode(event).decode()),
            )
            if cursor.rowcount:
                _mark(database, row[0])

        await self._file.write(write)

    async def operation_ended(self, operation: Operation) -> None:
        """Notes how `operation` ended. What this record leaves out (who, started …) stays as it was noted before."""

        def write(database: sqlite3.Connection) -> None:
            row = database.execute("SELECT record FROM operation WHERE id = ?", (operation.operation,)).fetchone()
            before = _decoded(row[0], Operation) if row else None
            database.execute(
                "INSERT INTO operation (id, site, running, started, record) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) "
                "DO UPDATE SET running = excluded.running, started = excluded.started, record = excluded.record",
                _operation_row(_completed(operation, before) if before else operation),
            )
            _mark(database, operation.site)

        await self._file.write(write, durable=True)

    async def operation(self, operation: str) -> Operation | None:
        """One operation, None where it is not known here."""

        def read(database: sqlite3.Connection) -> Operation | None:
            row = database.execute("SELECT record FROM operation WHERE id = ?", (operation,)).fetchone()
            return _decoded(row[0], Operation) if row else None

        return await self._file.read(read)

    async def operations(self, site: str | None = None, *, running: bool = False, limit: int = 100) -> list[Operation]:
        """The newest `limit` operations first; of one `site`, and of those only the `running` ones, if asked."""
        query = "SELECT record FROM operation WHERE 1 = 1"
        values: list[Any] = []
        if site is not None:
            query, values = query + " AND site = ?", [site]
        if running:
            query += " AND running = 1"

        def read(database: sqlite3.Connection) -> list[Operation]:
            rows = database.execute(query + " ORDER BY started DESC, id DESC LIMIT ?", (*values, limit))
            return [record for (text,) in rows if (record := _decoded(text, Operation)) is not None]

        return await self._file.read(read)

    async def events(self, operation: str, after: int = -1) -> list[AnyEvent]:
        """The operation's events behind line `after`, in their order."""

        def read(database: sqlite3.Connection) -> list[AnyEvent]:
            query = "SELECT record FROM event WHERE operation = ? AND line > ? ORDER BY line"
            rows = database.execute(query, (operation, after))
            kind: Any = AnyEvent
            return [event for (text,) in rows if (event := _decoded(text, kind)) is not None]

        return await self._file.read(read)

    async def last_line(self, operation: str) -> int:
        """The last line kept of an operation's journal, -1 for none: `follow` resumes behind it."""

        def read(database: sqlite3.Connection) -> int:
            query = "SELECT max(line) FROM event WHERE operation = ?"
            (line,) = database.execute(query, (operation,)).fetchone()
            return -1 if line is None else int(line)

        return await self._file.read(read)

    # ------------------------------------------------------------ generations

    async def seal(self, site: str, generation: str, sha256: str, at: dt.datetime) -> None:
        """Keeps the hash of a generation's summary. The first one seen stays for ever.

        Raises SealConflict for another one, ModoseruError (seal_unreadable) for what is no generation's id or no
        SHA-256 in lower case: both are the server's word.
        """
        if not GENERATION_ID.match(generation) or not _SHA256.match(sha256):
            message = f"{site}: the server's seal of generation {visible(generation, 40)} is not a SHA-256"
            raise ModoseruError("seal_unreadable", message, "look at the agent's version on that server")
        row = (site, generation, sha256, stamp(at))

        def write(database: sqlite3.Connection) -> str:
            query = "SELECT sha256 FROM seal WHERE site = ? AND generation = ?"
            kept = database.execute(query, (site, generation)).fetchone()
            if kept is None:
                database.execute("INSERT INTO seal (site, generation, sha256, at) VALUES (?, ?, ?, ?)", row)
                _mark(database, site)
            return str(kept[0]) if kept else sha256

        kept = await self._file.write(write, durable=True)
        if kept != sha256:
            raise SealConflict(site, generation, kept, sha256)

    async def seals(self, site: str) -> dict[str, str]:
        """The seals of a site, by generation."""

        def read(database: sqlite3.Connection) -> dict[str, str]:
            return dict(database.execute("SELECT generation, sha256 FROM seal WHERE site = ?", (site,)).fetchall())

        return await self._file.read(read)

    async def first_seals(self, site: str) -> dict[str, str]:
        """The seals that were taken at the first contact with the site, by generation: trusted because nothing was
        known before. What turns up later without anybody having watched it being made is not among them."""

        def read(database: sqlite3.Connection) -> dict[str, str]:
            query = (
                "SELECT generation, sha256 FROM seal WHERE site = ? AND at = (SELECT min(at) FROM seal WHERE site = ?)"
            )
            return dict(database.execute(query, (site, site)).fetchall())

        return await self._file.read(read)

    async def note_generation_fact(
        self, site: str, generation: str, tier: str, key: str, value: dt.datetime | bool | str | None
    ) -> None:
        """Keeps what this machine knows about a generation: verified_at, drilled_at, pinned …; None takes it back."""
        fact = value if not isinstance(value, dt.datetime) else stamp(value)
        row = (site, generation, tier, key)

        def write(database: sqlite3.Connection) -> None:
            if fact is None:
                query = "DELETE FROM fact WHERE site = ? AND generation = ? AND tier = ? AND name = ?"
                database.execute(query, row)
            else:
                database.execute(
                    "INSERT INTO fact (site, generation, tier, name, value) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (site, generation, tier, name) DO UPDATE SET value = excluded.value",
                    (*row, encode(fact).decode()),
                )
            _mark(database, site)

        await self._file.write(write)

    async def generation_facts(self, site: str) -> Mapping[tuple[str, str], dict[str, Any]]:
        """The facts of a site's generations, by (generation, tier); values of keys in `_at` are times."""

        def read(database: sqlite3.Connection) -> dict[tuple[str, str], dict[str, Any]]:
            facts: dict[tuple[str, str], dict[str, Any]] = {}
            query = "SELECT generation, tier, name, value FROM fact WHERE site = ?"
            for generation, tier, key, text in database.execute(query, (site,)):
                kind: Any = dt.datetime if key.endswith("_at") else bool | str
                value = _decoded(text, kind)
                if value is not None:
                    facts.setdefault((generation, tier), {})[key] = value
            return facts

        return await self._file.read(read)

    # ------------------------------------------------------------ audit, changes

    async def audit(  # noqa: PLR0917  the order in which a sentence says it
        self,
        who: str,
        origin: str,
        what: str,
        site: str | None,
        outcome: str,
        detail: str = "",
        at: dt.datetime | None = None,
    ) -> None:
        """Appends one entry: who did `what` from where (`origin`), to which site, and how it went."""
        when = at or dt.datetime.now(dt.UTC)
        await self.audit_log.add(who=who, origin=origin, what=what, site=site, outcome=outcome, detail=detail, at=when)

    async def changes(self, since: int = 0) -> Changes:
        """The sites about which any process wrote something after revision `since`."""

        def read(database: sqlite3.Connection) -> Changes:
            # The revision first: what is written between the two queries is then told twice, never missed.
            (revision,) = database.execute("SELECT number FROM revision").fetchone()
            rows = database.execute("SELECT site FROM changed WHERE number > ? ORDER BY number", (since,))
            return Changes(revision=revision, sites=tuple(site for (site,) in rows))

        return await self._file.read(read)


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Journal]:
    """`Journal.open` and `close` around a block."""
    journal = await Journal.open(path)
    try:
        yield journal
    finally:
        await journal.close()


# ---------------------------------------------------------------- rows


def _mark(database: sqlite3.Connection, site: str) -> None:
    """Notes, in the same transaction, that something about `site` has changed."""
    database.execute("UPDATE revision SET number = number + 1")
    database.execute(
        "INSERT INTO changed (site, number) SELECT ?, number FROM revision WHERE true "
        "ON CONFLICT (site) DO UPDATE SET number = excluded.number",
        (site,),
    )


def _decoded(text: str, kind: type[T]) -> T | None:
    """The record in a row, None where an older or newer version wrote what this one cannot read."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, ValueError):
        return None


def _operation_row(operation: Operation) -> tuple[str, str, int, str, str]:
    began = operation.started
    if began is None:
        with contextlib.suppress(ValueError):
            began = dt.datetime.strptime(operation.operation[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    started = stamp(began or dt.datetime.now(dt.UTC))
    return (
        operation.operation,
        operation.site,
        int(operation.outcome is None),
        started,
        encode(operation).decode(),
    )


def _completed(operation: Operation, before: Operation) -> Operation:
    """`operation`, and from `before` what it leaves out."""
    missing = {
        field.name: getattr(before, field.name)
        for field in msgspec.structs.fields(Operation)
        if getattr(operation, field.name) in (None, "", ())
    }
    return msgspec.structs.replace(operation, **missing)
