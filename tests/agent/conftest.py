"""One loop and one pool of connections for the suite; small sites that go again."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from backends.ssh import Servers
from tests.agent.small import TABLES, Small
from tests.lab import Lab

_number = itertools.count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers() -> AsyncIterator[Servers]:
    async with Servers() as opened:
        yield opened


@pytest.fixture(scope="module")
def small_of_module(lab: Lab) -> Iterator[Callable[..., Small]]:
    """Makes sites that live as long as the module, for backups that many tests look at."""
    yield from _making(lab)


@pytest.fixture
def small(lab: Lab) -> Iterator[Callable[..., Small]]:
    """`small()`: another small site; gone after the test."""
    yield from _making(lab)


def _making(lab: Lab) -> Iterator[Callable[..., Small]]:
    made: list[Small] = []

    def make(*, tables: str = TABLES, within: str = "kogyo.example", **more: Any) -> Small:
        one = Small(lab, lab.site(within), f"s{next(_number)}.example", **more)
        made.append(one)
        return one.build(tables)

    yield make
    for one in made:
        one.remove()
