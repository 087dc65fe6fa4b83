"""Which known holes a site has, and which of its pending updates close them. Pure functions of records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cmp_to_key

import msgspec
from msgspec import Struct

from backends.holes_feed import Weakness
from backends.php_version import compare
from backends.records import Hole, Inspection, Update, visible

TITLE_MOST = 90
_RATED = {"low": 2.0, "medium": 5.0, "high": 8.0, "critical": 9.5}
Key = tuple[str, str]


class Judged(Struct, frozen=True, kw_only=True):
    """`holes` None: unknown. `updates`: as they were given, what closes a hole marked, and first."""

    holes: tuple[Hole, ...] | None
    updates: tuple[Update, ...] | None


def keys(inspections: Iterable[Inspection]) -> set[Key]:
    """What sites have, as the feed calls it."""
    return {key for inspection in inspections for key, _ in _installed(inspection)}


def judged(
    inspection: Inspection, weaknesses: Mapping[Key, tuple[Weakness, ...]] | None, updates: tuple[Update, ...] | None
) -> Judged:
    """Of a site as it was seen. `updates` None: nobody knows what is pending, so nothing is known to close a hole."""
    if weaknesses is None or not inspection.plugins:  # a site has a theme at least: nothing was seen of it
        return Judged(holes=None, updates=updates)
    found = [
        (weakness, _hole(key, version, weakness, updates or ()))
        for key, version in sorted(set(_installed(inspection)), key=str)
        for weakness in weaknesses.get(key, ())
        if weakness.affects(version)
    ]
    holes = tuple(sorted((hole for _, hole in found), key=lambda hole: (hole.closed_by is not None, -_weight(hole))))
    if updates is None:
        return Judged(holes=holes, updates=None)
    marked = [_marked(update, found) for update in updates]
    marked.sort(key=lambda pair: pair[0])
    return Judged(holes=holes, updates=tuple(update for _, update in marked))


def _installed(inspection: Inspection) -> Iterator[tuple[Key, str | None]]:
    if inspection.wordpress is not None:
        yield ("core", "wordpress"), inspection.wordpress
    for one in inspection.plugins:
        yield ("theme" if one.kind == "theme" else "plugin", one.slug.lower()), one.version


def _closes(update: Update, key: Key, weakness: Weakness) -> bool:
    return (update.kind, update.slug.lower()) == key and update.to is not None and not weakness.affects(update.to)


def _hole(key: Key, version: str | None, weakness: Weakness, updates: Iterable[Update]) -> Hole:
    closing = (one.to for one in updates if one.held is None and _closes(one, key, weakness))
    later = [one for one in weakness.patched if version is None or compare(one, version) > 0]
    return Hole(
        kind=key[0],
        slug=key[1],
        version=version,
        title=weakness.title,
        cve=weakness.cve,
        score=weakness.score,
        rating=weakness.rating,
        patched=visible(min(later, key=cmp_to_key(compare)), 100) if later else None,
        link=weakness.link,
        closed_by=next(closing, None),
    )


def _marked(update: Update, found: Iterable[tuple[Weakness, Hole]]) -> tuple[float, Update]:
    """The update, and what it sorts by: the gravest of the holes that it closes first."""
    closed = [hole for weakness, hole in found if _closes(update, (hole.kind, hole.slug), weakness)]
    if not closed:
        return 0.0, msgspec.structs.replace(update, security=update.security or False)
    closed.sort(key=lambda hole: -_weight(hole))
    more = f", +{len(closed) - 1}" if len(closed) > 1 else ""
    marked = msgspec.structs.replace(update, security=True, closes=f"{named(closed[0])}{more}")
    return -1 - _weight(closed[0]), marked


def _weight(hole: Hole) -> float:
    return hole.score if hole.score is not None else _RATED.get(hole.rating or "", 5.0)


def named(hole: Hole) -> str:
    """A hole in a few words: `CVE-2023-5360 (9.8) Royal Elementor Addons <= 1.3.78 - Unauthenticated …`."""
    graded = f"({hole.score:g})" if hole.score is not None else f"({hole.rating})" if hole.rating else ""
    return " ".join(part for part in (hole.cve, graded, visible(hole.title, TITLE_MOST)) if part)
