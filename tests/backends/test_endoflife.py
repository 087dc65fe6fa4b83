"""endoflife.date on loopback, in its own form: asked once a day, and an answer that makes no sense is none."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from backends.domains import MemoryCache
from backends.endoflife import EndOfLife
from backends.records import LifecycleSettings

NOW = dt.datetime(2026, 11, 26, 3, 0, tzinfo=dt.UTC)
WANTED = {"php": ("8.1", "8.2"), "mariadb": ("10.11",)}


def product(name: str, **ends: Any) -> dict[str, Any]:
    """As `/api/v1/products/NAME/` answers, with the fields that nobody here reads."""
    releases = [
        {
            "name": cycle.replace("_", "."),
            "label": cycle,
            "releaseDate": "2022-12-08",
            "isLts": False,
            "ltsFrom": None,
            "isEoas": True,
            "eoasFrom": "2024-12-31",
            "isEol": False,
            "eolFrom": end,
            "isMaintained": True,
            "latest": {"name": f"{cycle}.1", "date": "2026-01-01", "link": None},
        }
        for cycle, end in ends.items()
    ]
    return {"schema_version": "1.2.0", "result": {"name": name, "label": name, "releases": releases}}


GOOD = {
    "php": product("php", **{"8_1": "2025-12-31", "8_2": "2027-06-30", "8_6": "2030-12-31", "9_0": None}),
    "mariadb": product("mariadb", **{"10_11": "2028-02-16"}),
}


class Site:
    def __init__(self) -> None:
        self.answers: dict[str, Any] = dict(GOOD)
        self.status = 200
        self.asked: list[str] = []
        self.hang: asyncio.Event | None = None
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.asked.append(name)
        if self.hang is not None:
            await self.hang.wait()
        answer = self.answers[name]
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return web.Response(body=raw, status=self.status, content_type="application/json")


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    application = web.Application()
    application.router.add_get("/api/v1/products/{name}/", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
    yield made
    if made.hang is not None:
        made.hang.set()
    await runner.cleanup()


def ends(site: Site, *, ask: bool = True, timeout: float = 10.0) -> EndOfLife:
    return EndOfLife(LifecycleSettings(url=site.url, ask=ask), WANTED, cache=MemoryCache(), timeout=timeout)


async def test_it_is_asked_once_a_day_and_what_has_no_end_yet_is_left_out(site: Site) -> None:
    asked = ends(site)
    assert await asked.known() is None
    assert await asked.refresh(now=NOW) is None
    found = await asked.known()
    assert found is not None
    assert found[1] == NOW.date()
    assert found[0]["php"] == {
        "8.1": dt.date(2025, 12, 31),
        "8.2": dt.date(2027, 6, 30),
        "8.6": dt.date(2030, 12, 31),
    }
    assert await asked.refresh(now=NOW + dt.timedelta(hours=23)) is None
    assert sorted(site.asked) == ["mariadb", "php"]
    await asked.refresh(now=NOW + dt.timedelta(hours=25))
    assert len(site.asked) == 4


async def test_nobody_is_asked_where_the_settings_say_so(site: Site) -> None:
    assert await ends(site, ask=False).refresh(now=NOW) is None
    assert site.asked == []


@pytest.mark.parametrize(
    ("php", "told"),
    [
        (b"no JSON", "does not fit"),
        (b"[" * 100_000, "does not fit"),
        ({"result": {"releases": "none"}}, "does not fit"),
        (product("php", **{"8_1": "2025-12-31", "8_2": "soon"}), "does not fit"),
        (product("php", **{"8_1": "2025-12-31", "8_2": 5}), "does not fit"),
        (product("php", **{"8_1": "2025-12-31"}), "has no end of 8.2"),
        (product("php", **{"8_1": "2025-12-31", "8_2": None}), "has no end of 8.2"),
        (product("php", **{"8_1": "2025-12-31", "8_2": "9999-12-31"}), "impossible end of 8.2"),
        (product("php", **{"8_1": "0001-01-01", "8_2": "2026-12-31"}), "impossible end of 8.1"),
        (b"x" * (1024 * 1024 + 1), "more than 1024 KiB"),
    ],
)
async def test_an_answer_that_makes_no_sense_leaves_what_was_known(site: Site, php: Any, told: str) -> None:
    asked = ends(site)
    await asked.refresh(now=NOW)
    before = await asked.known()
    site.answers["php"] = php
    why = await asked.refresh(now=NOW + dt.timedelta(days=2))
    assert why is not None
    assert told in why
    assert "\n" not in why
    assert await asked.known() == before
    count = len(site.asked)
    assert await asked.refresh(now=NOW + dt.timedelta(days=2, hours=1)) is None  # tomorrow again
    assert len(site.asked) == count


async def test_a_service_that_is_not_there_refuses_or_hangs_is_told_and_nothing_is_known(site: Site) -> None:
    site.status = 500
    assert "answers status 500" in str(await ends(site).refresh(now=NOW))
    site.hang = asyncio.Event()
    slow = ends(site, timeout=0.2)
    assert "no complete answer" in str(await slow.refresh(now=NOW))
    assert await slow.known() is None
    site.url = "http://127.0.0.1:9/api/v1"
    assert "refused" in str(await ends(site).refresh(now=NOW))
