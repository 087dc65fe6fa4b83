"""Until when PHP and databases get fixes, as endoflife.date says it (API v1). Asked at most daily, bounded, over HTTPS.

Knows no site and judges nothing. An answer that makes no sense is none: what was known before stays. What connects is
imported where something is asked: the first frame reads what is known.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct, field

from backends.records import LifecycleSettings

if TYPE_CHECKING:
    from backends.domains import Cache

EVERY = dt.timedelta(days=1)
ANSWER_LIMIT = 1024 * 1024
"""Bytes of an answer; that about PHP takes 20 kB."""
EARLIEST, LATEST = dt.date(1995, 1, 1), dt.date(2100, 1, 1)
_KEY = "endoflife"
Ends = Mapping[str, Mapping[str, dt.date]]
"""The last day of each cycle (`8.2`), by product."""


class _Release(Struct, frozen=True):
    name: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.-]{1,30}\Z")]
    ends: dt.date | None = field(name="eolFrom", default=None)


class _Product(Struct, frozen=True):
    releases: Annotated[tuple[_Release, ...], Meta(max_length=500)]


class _Answer(Struct, frozen=True):
    result: _Product


class _Kept(Struct, frozen=True):
    ends: dict[str, dict[str, dt.date]]
    asked: dt.date
    """The day of which the ends are."""


class Senseless(Exception):  # noqa: N818 - says what is so
    """An answer that cannot be about what was asked."""


class EndOfLife:
    """`wanted`: the cycles that an answer about each product has to have."""

    def __init__(
        self, settings: LifecycleSettings, wanted: Mapping[str, Collection[str]], *, cache: Cache, timeout: float = 10.0
    ) -> None:  # fmt: skip
        self._settings, self._wanted, self._cache, self._timeout = settings, wanted, cache, timeout

    async def known(self) -> tuple[Ends, dt.date] | None:
        """What was said last, and on which day; None where nothing was."""
        kept = await self._kept()
        return None if kept is None or not kept.ends else (kept.ends, kept.asked)

    async def refresh(self, *, now: dt.datetime | None = None) -> str | None:
        """Asks unless somebody asked today. A sentence where nothing new is known and should be."""
        now = now or dt.datetime.now(dt.UTC)
        found = await self._cache.get(_KEY)
        if not self._settings.ask or (found is not None and now - found[1] < EVERY):
            return None
        from backends import asking

        before = await self._kept()
        try:
            answers = await asyncio.gather(*(self._ask(product) for product in self._wanted))
        except (asking.Unanswered, Senseless) as error:
            # Tomorrow again, and until then what was known.
            await self._cache.set(_KEY, _text(before or _Kept({}, now.date())), now)
            return str(error)
        await self._cache.set(_KEY, _text(_Kept(dict(zip(self._wanted, answers, strict=True)), now.date())), now)
        return None

    async def _kept(self) -> _Kept | None:
        found = await self._cache.get(_KEY)
        try:
            return msgspec.json.decode(found[0], type=_Kept) if found is not None else None
        except msgspec.DecodeError:
            return None

    async def _ask(self, product: str) -> dict[str, dt.date]:
        """Raises Unanswered, Senseless."""
        from backends import asking

        url = f"{self._settings.url.rstrip('/')}/products/{product}/"
        body = await asking.get(url, most=ANSWER_LIMIT, timeout=self._timeout, ca_file=self._settings.ca_file)
        try:
            releases = msgspec.json.decode(body, type=_Answer).result.releases
        except (msgspec.DecodeError, RecursionError):
            raise Senseless(f"the answer about {product} does not fit") from None
        ends = {one.name: one.ends for one in releases if one.ends is not None}
        if missing := set(self._wanted[product]) - set(ends):
            raise Senseless(f"the answer about {product} has no end of {min(missing)}")
        if odd := [name for name, day in ends.items() if not EARLIEST <= day <= LATEST]:
            raise Senseless(f"the answer about {product} has an impossible end of {odd[0]}")
        return ends


def _text(kept: _Kept) -> str:
    return msgspec.json.encode(kept).decode()
