"""How wordpress.org's directory has a plugin: kept up, closed, or not there. Asked at most weekly a plugin, bounded.

Knows no site and judges nothing. The answers are those of plugins/info/1.0 (api.wordpress.org); a closed plugin is a
status 404 with the day and the reason in it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from backends.records import WordpressSettings, visible

if TYPE_CHECKING:
    from backends.domains import Cache

EVERY = dt.timedelta(days=7)
ANSWER_LIMIT = 2 * 1024 * 1024
"""Bytes of an answer; the long ones carry a whole description."""
AT_ONCE = 4
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,120}")
_Short = Annotated[str, Meta(max_length=200)]


class Listing(Struct, frozen=True, kw_only=True):
    """`closed` and `updated`: days, None where nobody said. `known` False: the directory does not have it."""

    known: bool = True
    is_closed: bool = False
    closed: dt.date | None = None
    reason: str | None = None
    updated: dt.date | None = None
    tested: str | None = None
    """The newest WordPress with which its makers tried it."""


class _Answer(Struct, frozen=True, kw_only=True):
    error: _Short | None = None
    slug: _Short | None = None
    closed: bool = False
    closed_date: _Short | bool | None = None
    reason_text: _Short | bool | None = None
    last_updated: _Short | None = None
    tested: _Short | bool | None = None


class PluginDirectory:
    def __init__(self, settings: WordpressSettings, *, cache: Cache, timeout: float = 10.0) -> None:
        self._settings, self._cache, self._timeout = settings, cache, timeout

    async def listings(self, slugs: Iterable[str], *, now: dt.datetime | None = None) -> dict[str, Listing]:
        """By slug; one that could not be asked, or whose answer makes no sense, is as it was known before, or missing.

        After the first that is not answered nobody waits for more: the directory is away.
        """
        at, turns, away = now or dt.datetime.now(dt.UTC), asyncio.Semaphore(AT_ONCE), asyncio.Event()

        async def one(slug: str) -> tuple[str, Listing | None]:
            async with turns:
                return slug, await self._listing(slug, at, away)

        found = await asyncio.gather(*(one(slug) for slug in sorted(set(slugs)) if _SLUG.fullmatch(slug)))
        return {slug: listing for slug, listing in found if listing is not None}

    async def _listing(self, slug: str, now: dt.datetime, away: asyncio.Event) -> Listing | None:
        from backends import asking

        kept = await self._cache.get(key := f"plugin {slug}")
        before = _read(kept[0]) if kept is not None else None
        if away.is_set() or (kept is not None and before is not None and now - kept[1] < EVERY):
            return before
        url = f"{self._settings.api.rstrip('/')}/plugins/info/1.0/{slug}.json"
        try:
            body = await asking.get(
                url, most=ANSWER_LIMIT, timeout=self._timeout, ca_file=self._settings.ca_file, also=(404,)
            )
            found = _listed(slug, msgspec.json.decode(body, type=_Answer))
        except asking.Unanswered:
            away.set()
            return before
        except (msgspec.DecodeError, RecursionError, ValueError):
            return before
        await self._cache.set(key, msgspec.json.encode(found).decode(), now)
        return found


def _listed(slug: str, answer: _Answer) -> Listing:
    """Raises ValueError for an answer about something else."""
    if answer.closed or answer.error == "closed":
        return Listing(is_closed=True, closed=_day(answer.closed_date), reason=_shown(answer.reason_text))
    if answer.error is not None:
        return Listing(known=False)
    if answer.slug != slug:
        raise ValueError(slug)
    return Listing(updated=_day(answer.last_updated), tested=_shown(answer.tested))


def _shown(value: str | bool | None) -> str | None:
    return visible(value, 100) if isinstance(value, str) and value else None


def _day(value: str | bool | None) -> dt.date | None:
    """Of `2024-02-01` or `2026-08-20 9:12pm GMT`."""
    try:
        return dt.date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None


def _read(text: str) -> Listing | None:
    try:
        return msgspec.json.decode(text, type=Listing)
    except msgspec.DecodeError:
        return None
