"""pytest fixtures of the lab; `tests/conftest.py` enables them: `from tests.lab.fixtures import fresh_site, lab`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.lab.lab import Lab
from tests.lab.other_database import Second, second_server
from tests.lab.sites import LabSite

_held: list[Lab] = []


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab, up, every site in its first state. It is left as it was found: up or down."""
    if _held:  # a module that imports this fixture itself gets an instance of its own: of the same lab
        yield _held[0]
        return
    made = Lab()
    with made.layout.locked("session", 900):
        found_running = made.running
        made.up()
        made.wporg.offer()
        for site in made.sites:
            made.reset(site)
        _held.append(made)
        yield made
        _held.clear()
        if not found_running:
            made.down()


@pytest.fixture
def fresh_site(lab: Lab) -> Callable[[str], LabSite]:
    """`fresh_site("kogyo.example")`: that site, brought back to its first state; nothing new is offered to it."""

    def fresh(name: str) -> LabSite:
        lab.wporg.offer()
        lab.wporg.forget()
        return lab.reset(lab.site(name))

    return fresh


@pytest.fixture(scope="module")
def second(lab: Lab) -> Iterator[Second]:
    """Another MariaDB server."""
    with second_server(lab) as made:
        yield made


@pytest.fixture
def empty(second: Second) -> Second:
    """The same, with a new and empty database to which a site may move."""
    second.make_new()
    return second
