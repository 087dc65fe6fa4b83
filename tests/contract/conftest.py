"""The same tests on two grounds."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from app.demo.cast import Condition
from app.demo.fleet import Demo, embedded
from app.demo.runtime import INSTANT
from backends.ssh import Servers
from tests.agent.conftest import small
from tests.agent.small import Small
from tests.contract.ground import Ground, InTheDemo, OnTheLab

__all__ = ["small"]
_number = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """One demo, large enough for a fresh site a test."""
    folder: Path = tmp_path_factory.mktemp("demo")
    async with embedded(400, speed=INSTANT, parent=folder) as opened:
        await opened.up()
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def servers() -> AsyncIterator[Servers]:
    """One operator's connections."""
    async with Servers() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def others() -> AsyncIterator[Servers]:
    """Another operator's."""
    async with Servers() as opened:
        yield opened


@pytest.fixture(params=["php", "twin"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """A site that nobody has worked on yet; the lab or the demo is started by the first test that needs it."""
    if request.param == "php":
        make: Callable[..., Small] = request.getfixturevalue("small")
        return OnTheLab(make())
    twin: Ground = request.getfixturevalue("demo_ground")
    return twin


@pytest.fixture
def demo_ground(demo: Demo) -> Ground:
    well = [name for name, site in demo.sites.items() if site.condition is Condition.WELL and site.character.ssh]
    return InTheDemo(demo, well[next(_number)])
