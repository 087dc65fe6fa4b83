"""What the feed of known holes says, on the disk by kind and slug: made beside the old one, which it then replaces.

So a fleet's next plugin is known without asking again, and no more than what a fleet has is ever held in memory.
SQLite; blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from backends.holes_feed import Cutter, FeedBroken, Weakness, weaknesses
from backends.records import Moment

FEED_MOST = 2**29
"""Bytes of the feed when it is unpacked: three times of what it has."""
FORMAT = 1
_PIECE = 2**18
_ROWS = 500
_ABANDONED_S = 86400
_DECODER = msgspec.json.Decoder(Weakness)
Key = tuple[str, str]
"""Kind and slug, in small letters."""


class About(Struct, frozen=True, kw_only=True):
    """Where an index comes from."""

    source: str
    as_of: Moment
    """When the feed was as the index has it: when it was asked for, or when its file was written."""
    stamp: str = ""
    """What tells the file, or the server's version of it, from a later one."""
    modified: str = ""
    """The server's own words for when it was changed."""
    entries: int = 0
    unread: int = 0
    """Entries that do not fit."""
    format: int = FORMAT


class Building:
    """An index in the making. `drop` at the end, whatever happened: it leaves nothing behind."""

    def __init__(self, path: Path, *, most: int = FEED_MOST) -> None:
        self._path, self._most = path, most
        _sweep(path)
        self._new = path.with_name(f"{path.name}.{secrets.token_hex(6)}.new")
        with _told():
            self._database = sqlite3.connect(self._new, check_same_thread=False, isolation_level=None)
            # Nobody reads it before it is whole, and one that is lost is made again.
            self._database.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -4096; BEGIN;"
                "CREATE TABLE about (value BLOB); CREATE TABLE holes (kind TEXT, slug TEXT, weakness BLOB);"
            )
        self._cutter, self._decoder = Cutter(), zlib.decompressobj(31)
        self._packed: bool | None = None
        self._head = b""
        self._rows: list[tuple[str, str, bytes]] = []
        self.bytes = self.entries = self.unread = 0

    def take(self, piece: bytes) -> None:
        """The next bytes of the feed, in clear or as gzip. Raises FeedBroken, OSError."""
        if self._packed is None:
            self._head += piece
            if len(self._head) < 2:
                return
            piece, self._packed = self._head, self._head.startswith(b"\x1f\x8b")
        if not self._packed:
            self._take(piece)
            return
        try:
            while piece and not self._decoder.eof:
                self._take(self._decoder.decompress(piece, _PIECE))
                piece = self._decoder.unconsumed_tail
        except zlib.error:
            raise FeedBroken("the feed cannot be unpacked") from None

    def _take(self, piece: bytes) -> None:
        self.bytes += len(piece)
        if self.bytes > self._most:
            raise FeedBroken(f"the feed has more than {self._most // 2**20} MiB")
        for entry in self._cutter.take(piece):
            self.entries += 1
            try:
                found = [(kind, slug, msgspec.json.encode(one)) for kind, slug, one in weaknesses(entry)]
            except ValueError:
                self.unread += 1
                continue
            self._rows += found
            if len(self._rows) >= _ROWS:
                self._write()

    def _write(self) -> None:
        with _told():
            self._database.executemany("INSERT INTO holes VALUES (?, ?, ?)", self._rows)
        self._rows.clear()

    def finish(self, about: About) -> About:
        """Takes the old index's place, with `about` and the counts. Raises FeedBroken where the feed was not whole or
        says nothing, OSError where it cannot be kept."""
        self._cutter.end()
        if self.unread >= self.entries:
            raise FeedBroken("none of its entries can be read" if self.entries else "the feed has no entries")
        self._write()
        known = msgspec.structs.replace(about, entries=self.entries, unread=self.unread)
        with _told():
            self._database.execute("CREATE INDEX by_slug ON holes (kind, slug)")
            self._database.execute("INSERT INTO about VALUES (?)", (msgspec.json.encode(known),))
            self._database.execute("COMMIT")
            self._database.close()
        with self._new.open("rb") as file:
            os.fsync(file.fileno())
        self._new.replace(self._path)
        return known

    def drop(self) -> None:
        self._database.close()
        with contextlib.suppress(OSError):
            self._new.unlink(missing_ok=True)


def about(path: Path) -> About | None:
    """Of the index in `path`; None where there is none that can be read."""
    found = lookup(path, ())
    return found[0] if found is not None else None


def lookup(path: Path, keys: Iterable[Key]) -> tuple[About, dict[Key, tuple[Weakness, ...]]] | None:
    """What is known of each of `keys`; None where there is no index that can be read."""
    if not path.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            row = database.execute("SELECT value FROM about").fetchone()
            known = msgspec.json.decode(row[0], type=About) if row else None
            if known is None or known.format != FORMAT:
                return None
            asked = "SELECT weakness FROM holes WHERE kind = ? AND slug = ?"
            return known, {key: tuple(_DECODER.decode(one) for (one,) in database.execute(asked, key)) for key in keys}
    except (sqlite3.Error, msgspec.DecodeError):
        return None


def confirm(path: Path, known: About) -> None:
    """The source said that nothing has changed: the index is as old as `known` says. Raises OSError."""
    with _told(), contextlib.closing(sqlite3.connect(path, timeout=5)) as database, database:
        # A journal that a killed process left on the disk would be rolled back into the index that comes next.
        database.execute("PRAGMA journal_mode = MEMORY")
        database.execute("UPDATE about SET value = ?", (msgspec.json.encode(known),))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """SQLite's troubles with the disk as those of the disk."""
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(0, str(error)) from None


def _sweep(path: Path) -> None:
    """What was left by a process that was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{path.name}.*.new"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                left.unlink()
