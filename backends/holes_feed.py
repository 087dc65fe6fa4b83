"""Reads Wordfence Intelligence's feed of known holes (v3, "production") as its bytes come, whatever they are.

The feed is one JSON object of 160 MB, an entry a UUID. It is cut into its entries, of which one at a time is decoded: a
parser that builds events or the whole would cost more, and nothing here grows with what a server sends. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct

from backends.php_version import compare
from backends.records import visible

ENTRY_MOST = 2**20
"""Bytes of one entry; the real ones have 4 KiB, the longest under 100."""
RANGES_MOST = 500
VERSION_MOST = 100
KINDS = ("core", "plugin", "theme")
_BOM = b"\xef\xbb\xbf"
_BLANK = rb"[ \t\r\n]*+"
_STRING = rb'"(?>[^"\\]++|\\.)*+"'
_OPENING = re.compile(_BLANK + rb"\{" + _BLANK, re.DOTALL)
_NAME = re.compile(_BLANK + _STRING + _BLANK + rb":" + _BLANK, re.DOTALL)
_BRACE = re.compile(rb'[^"{}]*+(?>' + _STRING + rb'[^"{}]*+)*+([{}])', re.DOTALL)
"""Up to the next brace that stands in no string. Nothing of it is ever tried twice (possessive), so that no bytes can
make it slow."""
_BEHIND = re.compile(_BLANK + rb"([,}])")
_CVE = re.compile(r"CVE-\d{4}-\d{4,12}")
_LINK = re.compile(r"https://[!-~]{1,490}")
_RATINGS = ("none", "low", "medium", "high", "critical")


class FeedBroken(Exception):  # noqa: N818 - says what happened
    """These bytes are no feed. The text is a sentence without a full stop."""


class Range(Struct, frozen=True, array_like=True):
    """Versions from one to another; None: no bound."""

    low: str | None = None
    low_too: bool = True
    high: str | None = None
    high_too: bool = True

    def holds(self, version: str | None) -> bool:
        """Whether `version` lies in it. An unknown one does where there are no bounds at all."""
        if version is None:
            return self.low is None and self.high is None
        above = compare(version, self.low) if self.low is not None else 1
        below = compare(version, self.high) if self.high is not None else -1
        return (above > 0 or (above == 0 and self.low_too)) and (below < 0 or (below == 0 and self.high_too))


class Weakness(Struct, frozen=True, array_like=True):
    """A known hole of one plugin, theme or of core, as it is kept. Its texts are a stranger's: visible and bounded."""

    title: str
    cve: str | None
    score: float | None
    rating: str | None
    link: str | None
    ranges: tuple[Range, ...]
    patched: tuple[str, ...]

    def affects(self, version: str | None) -> bool:
        """The ranges alone decide; what was patched is for people: core is patched in thirty branches, and which of
        them an update belongs to only the ranges say."""
        return any(one.holds(version) for one in self.ranges)


class _Versions(Struct):
    from_version: str | None = None
    from_inclusive: bool | None = None
    to_version: str | None = None
    to_inclusive: bool | None = None


class _Software(Struct):
    type: str
    slug: str
    affected_versions: dict[str, _Versions] | list[_Versions] | None = None
    """PHP writes an empty object as a list."""
    patched_versions: list[str] | dict[str, str] | None = None


class _Cvss(Struct):
    score: float | str | None = None
    rating: str | None = None


class _Entry(Struct):
    software: list[_Software]
    title: str | None = None
    informational: bool | None = None
    references: list[str] | None = None
    cvss: _Cvss | None = None
    cve: str | None = None


_DECODER = msgspec.json.Decoder(_Entry)


class Cutter:
    """Cuts the bytes of the feed into its entries. Holds one entry's bytes at most, and what came last."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._next = self._opening
        self._entry, self._at, self._depth = 0, 0, 0
        self.ended = False

    def take(self, piece: bytes) -> Iterator[bytes]:
        """The entries that are whole with `piece`. Raises FeedBroken."""
        self._bytes += piece
        while (entry := self._next()) is not None:
            if entry:
                yield entry
        if len(self._bytes) > ENTRY_MOST + len(piece):
            raise FeedBroken(f"an entry has more than {ENTRY_MOST // 2**20} MiB")

    def end(self) -> None:
        """Raises FeedBroken where the feed is not complete."""
        if not self.ended:
            raise FeedBroken("the feed stops in the middle")

    def _opening(self) -> bytes | None:
        if len(self._bytes) < len(_BOM) and _BOM.startswith(self._bytes):
            return None
        if self._bytes.startswith(_BOM):
            self._drop(len(_BOM))
        if (found := _OPENING.match(self._bytes)) is None:
            self._want(b"")
            return None
        if found.end() == len(self._bytes):
            return None
        self._drop(found.end())
        if self._bytes[:1] == b"}":
            return self._closed(1)
        self._next = self._name
        return b""

    def _name(self) -> bytes | None:
        found = _NAME.match(self._bytes)
        if found is None or found.end() == len(self._bytes):
            self._want(b'"')
            return None
        self._drop(found.end())
        if self._bytes[:1] != b"{":
            raise FeedBroken("this is no feed of known holes")
        self._next, self._at, self._depth = self._value, 0, 0
        return b""

    def _value(self) -> bytes | None:
        while (found := _BRACE.match(self._bytes, self._at)) is not None:
            self._at = found.end()
            self._depth += 1 if found[1] == b"{" else -1
            if self._depth == 0:
                entry = bytes(self._bytes[: self._at])
                self._drop(self._at)
                self._next = self._behind
                return entry
        return None

    def _behind(self) -> bytes | None:
        found = _BEHIND.match(self._bytes)
        if found is None:
            self._want(b"")
            return None
        if found[1] == b"}":
            return self._closed(found.end())
        self._drop(found.end())
        self._next = self._name
        return b""

    def _closed(self, at: int) -> bytes:
        self._drop(at)
        self._next, self.ended = self._after, True
        return b""

    def _after(self) -> bytes | None:
        if self._bytes.strip(b" \t\r\n"):
            raise FeedBroken("something follows behind the feed")
        self._bytes.clear()
        return None

    def _want(self, first: bytes) -> None:
        """More bytes are wanted, unless what is there begins with anything but blanks and `first`."""
        there = self._bytes.lstrip(b" \t\r\n")
        if there and not (first and there.startswith(first)):
            raise FeedBroken("this is no feed of known holes")
        if not there:
            self._bytes.clear()

    def _drop(self, count: int) -> None:
        del self._bytes[:count]


def weaknesses(entry: bytes) -> Iterator[tuple[str, str, Weakness]]:
    """Kind, slug and weakness of each software that an entry names; nothing of one that is informational alone.

    Raises FeedBroken where the entry is no JSON, ValueError where it does not fit.
    """
    try:
        told = _DECODER.decode(entry)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    except (msgspec.DecodeError, RecursionError):
        raise FeedBroken("an entry of the feed is no JSON") from None
    except UnicodeDecodeError:
        raise FeedBroken("an entry of the feed is not UTF-8") from None
    if told.informational:
        return
    score, rating = _cvss(told.cvss)
    cve = told.cve if told.cve and _CVE.fullmatch(told.cve) else None
    title = visible(" ".join((told.title or "").split()), 200) or "untitled"
    link = _link(told.references or ())
    for software in told.software:
        kind, slug = software.type, software.slug.lower()
        if kind not in KINDS or not 1 <= len(slug) <= 200:
            continue
        ranges = _ranges(software.affected_versions)
        if ranges:
            patched = software.patched_versions or ()
            known = tuple(patched.values()) if isinstance(patched, Mapping) else patched
            shown = tuple(one for one in known if 1 <= len(one) <= VERSION_MOST)[:RANGES_MOST]
            yield kind, slug, Weakness(title, cve, score, rating, link, ranges, shown)


def _ranges(told: dict[str, _Versions] | list[_Versions] | None) -> tuple[Range, ...]:
    found = tuple(told.values()) if isinstance(told, dict) else tuple(told or ())
    if len(found) > RANGES_MOST:
        raise ValueError("too many ranges")
    return tuple(
        Range(
            _bound(one.from_version), one.from_inclusive is not False,
            _bound(one.to_version), one.to_inclusive is not False,
        )
        for one in found
    )  # fmt: skip


def _bound(version: str | None) -> str | None:
    """None for `*`, and for a bound that is missing: what nobody bounds is not bounded."""
    shown = (version or "").strip()
    if len(shown) > VERSION_MOST:
        raise ValueError("a version is too long")
    return None if shown in ("", "*") else shown


def _cvss(told: _Cvss | None) -> tuple[float | None, str | None]:
    if told is None:
        return None, None
    try:
        score = float(told.score) if told.score is not None else None
    except ValueError:
        score = None
    rating = (told.rating or "").lower()
    known = score is not None and 0 <= score <= 10
    return score if known else None, rating if rating in _RATINGS else None


def _link(references: list[str] | tuple[str, ...]) -> str | None:
    """Wordfence's own page of it comes first: its licence asks for that link."""
    fit = [one for one in references if _LINK.fullmatch(one)]
    own = [one for one in fit if one.startswith("https://www.wordfence.com/")]
    return next(iter((*own, *fit)), None)
