"""The directory of plugins on loopback: asked once a week, and what makes no sense is what was known before."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from backends.domains import MemoryCache
from backends.plugin_directory import EVERY, Listing, PluginDirectory
from backends.records import WordpressSettings

NOW = dt.datetime(2026, 11, 26, 3, 0, tzinfo=dt.UTC)
KEPT = {"slug": "kept", "last_updated": "2026-08-20 9:12pm GMT", "tested": "7.1", "sections": {"faq": "x" * 9000}}
CLOSED = {
    "error": "closed",
    "slug": "shut",
    "closed": True,
    "closed_date": "2025-03-01",
    "reason_text": "Security Issue",
}


class Place:
    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {
            "kept": (200, KEPT),
            "shut": (404, CLOSED),
            "sold": (404, {"error": "Plugin not found."}),
        }
        self.asked: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        slug = request.match_info["slug"]
        self.asked.append(slug)
        status, found = self.answers[slug]
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        return web.Response(status=status, body=body, content_type="application/json")


@pytest_asyncio.fixture
async def place() -> AsyncIterator[Place]:
    found, application = Place(), web.Application()
    application.router.add_get("/plugins/info/1.0/{slug}.json", found.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


def directory(place: Place, cache: MemoryCache) -> PluginDirectory:
    return PluginDirectory(WordpressSettings(api=place.url), cache=cache)


async def test_each_state_is_known_and_asked_for_once_a_week(place: Place) -> None:
    cache = MemoryCache()
    slugs = ["kept", "shut", "sold", "../etc", "UPPER", "kept"]
    expected = {
        "kept": Listing(updated=dt.date(2026, 8, 20), tested="7.1"),
        "shut": Listing(is_closed=True, closed=dt.date(2025, 3, 1), reason="Security Issue"),
        "sold": Listing(known=False),
    }
    assert await directory(place, cache).listings(slugs, now=NOW) == expected
    assert sorted(place.asked) == ["kept", "shut", "sold"]
    assert await directory(place, cache).listings(slugs, now=NOW + EVERY / 2) == expected
    assert len(place.asked) == 3
    place.answers["kept"] = (404, {**CLOSED, "slug": "kept", "closed_date": False, "reason_text": False})
    found = await directory(place, cache).listings(["kept"], now=NOW + EVERY)
    assert found == {"kept": Listing(is_closed=True)}


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"no json"),
        (200, b"[" * 100_000),
        (200, {"slug": "other", "last_updated": "2020-01-01"}),
        (200, b"x" * 3_000_000),
        (500, b""),
        (302, b""),
    ],
)
async def test_what_makes_no_sense_leaves_what_was_known(place: Place, answer: tuple[int, Any]) -> None:
    cache = MemoryCache()
    place.answers["kept"], before = answer, place.answers["kept"]
    assert await directory(place, cache).listings(["kept"], now=NOW) == {}
    place.answers["kept"] = before
    known = await directory(place, cache).listings(["kept"], now=NOW)
    place.answers["kept"] = answer
    assert await directory(place, cache).listings(["kept"], now=NOW + 2 * EVERY) == known


async def test_a_hostile_text_is_shown_and_a_senseless_day_is_none(place: Place) -> None:
    place.answers["kept"] = (200, {"slug": "kept", "last_updated": "once upon", "tested": "7\x1b[31m"})
    found = (await directory(place, MemoryCache()).listings(["kept"], now=NOW))["kept"]
    assert found.updated is None
    assert "\x1b" not in (found.tested or "")
