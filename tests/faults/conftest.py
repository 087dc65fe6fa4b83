"""The pool of connections of the agent's tests, and fault sites that go again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.agent.conftest import servers
from tests.faults.site import FaultSite
from tests.lab import Lab

__all__ = ["fault_site", "servers"]
_number = itertools.count(1)


@pytest.fixture
def fault_site(lab: Lab) -> Iterator[Callable[..., FaultSite]]:
    """`fault_site()`: another one, full of files and tables; gone after the test. `disks`: its own two, so large."""
    made: list[FaultSite] = []

    def make(kind: type[FaultSite] = FaultSite, *, disks: int = 0) -> FaultSite:
        site = kind(lab, lab.site("kogyo.example"), f"f{next(_number)}.example")
        made.append(site)
        for place in (site.base, site.state) if disks else ():
            site.disk(place, disks)
        return site.grow()

    yield make
    for site in made:
        site.remove()
