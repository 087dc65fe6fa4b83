"""An open demo whose operations do not pause."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from app.demo.fleet import Demo, embedded
from app.demo.runtime import INSTANT


@pytest_asyncio.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Demo]:
    async with embedded(speed=INSTANT, parent=tmp_path) as opened:
        await opened.up()
        yield opened
