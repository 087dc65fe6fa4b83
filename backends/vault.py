"""The vault: generations in a store that the site's server cannot reach. The format; how it is written and read is in
vault_streams.py.

Format 1
========
Two kinds of object, both with random names (32 hex digits) below the store's prefix, both age files to every recipient:

    pieces/NAME      64 MiB of a part, in clear (the last one of a part: what is left)
    catalogue/NAME   an entry: one generation of one site, written when all of its pieces are stored

Parts are the files of a generation as they lie on the server, to the byte: `summary.json`, `manifest`,
`database.sql.gz`, `packs/ID.tar`. An entry is text, one fact a line, words separated by one space:

    modoseru vault 1
    site NAME
    generation ID
    created TIME                        when the server made it
    stored TIME                         when this entry was made
    holds FILES BYTES TABLES ROWS       what it would restore
    part NAME SIZE SHA256               in clear; as the summary has them, and the summary itself
    piece NAME VERSION SIZE SHA256      of the age file; in the order in which the decrypted ones are joined;
                                        VERSION is - in a store without versions
    end LINES                           how many lines stand before it

A pack that an earlier generation stored is named again with the same pieces: an entry needs no other one to be
restored. What an entry does not say is not in the vault. A reader refuses what it does not know.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from msgspec import Struct

from backends.records import GENERATION_ID, ModoseruError

PIECE = 64 * 1024 * 1024
"""Bytes in clear: what is stored again after a cut, and what lies on this machine's disk, encrypted, meanwhile."""
ENTRY_MOST = 16 * 1024 * 1024
HEAD = "modoseru vault 1"
PIECES, CATALOGUE = "pieces", "catalogue"
_NAME = re.compile(r"[0-9a-f]{32}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_SITE = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}\Z")
_PART = re.compile(r"(summary\.json|manifest|database\.sql\.gz|packs/\d{8}T\d{6}Z\.tar)\Z")
_COUNTS = re.compile(r"\d{1,15} \d{1,15} \d{1,15} \d{1,15}\Z")
_VERSION = re.compile(r"[!-~]{1,1024}\Z")


class VaultError(ModoseruError):
    """Codes: damaged (it is not what was stored, or what the summary says), newer_format."""


class Piece(Struct, frozen=True):
    """One object in the store, an age file."""

    name: str
    version: str
    size: int
    sha256: str

    @property
    def object(self) -> str:
        return f"{PIECES}/{self.name}"


class Part(Struct, frozen=True):
    """One file of a generation; size and hash are of its bytes in clear."""

    name: str
    size: int
    sha256: str
    pieces: tuple[Piece, ...] = ()


class Holds(Struct, frozen=True):
    """What a generation would restore; bytes uncompressed."""

    files: int
    bytes: int
    tables: int
    rows: int


class Entry(Struct, frozen=True, kw_only=True):
    """One generation of one site in the vault."""

    site: str
    generation: str
    created: dt.datetime
    stored: dt.datetime
    holds: Holds
    parts: tuple[Part, ...]

    @property
    def seal(self) -> str:
        """The SHA-256 of the summary, as it is kept off the server."""
        return next(part.sha256 for part in self.parts if part.name == "summary.json")

    def pieces(self) -> tuple[Piece, ...]:
        return tuple(piece for part in self.parts for piece in part.pieces)

    def text(self) -> str:
        """As the format above."""
        lines = [HEAD, f"site {self.site}", f"generation {self.generation}"]
        lines += [f"created {_stamp(self.created)}", f"stored {_stamp(self.stored)}"]
        lines.append(f"holds {self.holds.files} {self.holds.bytes} {self.holds.tables} {self.holds.rows}")
        for part in self.parts:
            lines.append(f"part {part.name} {part.size} {part.sha256}")
            lines += [f"piece {one.name} {one.version or '-'} {one.size} {one.sha256}" for one in part.pieces]
        return "\n".join([*lines, f"end {len(lines)}", ""])

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Raises VaultError: newer_format, damaged. An entry may have been written by an attacker."""
        lines = text.split("\n")
        if re.fullmatch(r"modoseru vault [1-9]\d{0,3}", lines[0]) and lines[0] != HEAD:
            raise VaultError("newer_format", f"it was written by a newer Modoseru ({lines[0]})", "update Modoseru")
        try:
            if lines[0] != HEAD or lines[-1] != "" or lines[-2] != f"end {len(lines) - 2}":
                raise ValueError
            (site, generation, created, stored, holds), rest = lines[1:6], lines[6:-2]
            found = cls(
                site=_value("site", _SITE, site),
                generation=_value("generation", GENERATION_ID, generation),
                created=_moment("created", created),
                stored=_moment("stored", stored),
                holds=Holds(*map(int, _value("holds", _COUNTS, holds).split(" "))),
                parts=_parts(rest),
            )
        except (ValueError, IndexError):
            raise VaultError("damaged", "it is no entry of a vault's catalogue", "see modoseru vault doctor") from None
        if sum(part.name == "summary.json" for part in found.parts) != 1:
            raise VaultError("damaged", "the entry names no summary", "see modoseru vault doctor")
        return found


def _parts(lines: Sequence[str]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for line in lines:
        match line.split(" "):
            case ["part", name, size, sha256] if _PART.match(name) and _SHA256.match(sha256):
                if any(part.name == name for part in parts):
                    raise ValueError(line)
                parts.append(Part(name, _size(size), sha256))
            case ["piece", name, version, size, sha256] if (
                parts and _NAME.match(name) and _VERSION.match(version) and _SHA256.match(sha256)
            ):
                piece = Piece(name, "" if version == "-" else version, _size(size), sha256)
                last = parts.pop()
                parts.append(Part(last.name, last.size, last.sha256, (*last.pieces, piece)))
            case _:
                raise ValueError(line)
    if any(len(part.pieces) != count(part.size) for part in parts):
        raise ValueError("pieces are missing")
    return tuple(parts)


def _size(text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text):
        raise ValueError(text)
    return int(text)


def _value(key: str, shape: re.Pattern[str], line: str) -> str:
    found = line.removeprefix(f"{key} ")
    if found == line or not shape.match(found):
        raise ValueError(line)
    return found


def _moment(key: str, line: str) -> dt.datetime:
    text = _value(key, re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z"), line)
    return dt.datetime.fromisoformat(text)


def _stamp(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def part_name(what: str) -> str:
    """The vault's name of what the agent's `send` knows as `manifest`, `dump`, or by a pack's id."""
    return {"manifest": "manifest", "dump": "database.sql.gz"}.get(what, f"packs/{what}.tar")


def count(size: int) -> int:
    """How many pieces a part of `size` bytes has; an empty one has one."""
    return max(1, -(-size // PIECE))
