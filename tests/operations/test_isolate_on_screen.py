"""`x` on a real site: closed, said so at a glance, and opened by the same key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.records import Outcome
from tests.lab import Lab, LabSite
from tests.operations.program import Program
from tests.operations.screen_of_fleet import on_screen
from tests.operations.test_lost_config_on_screen import agreed, ended

pytestmark = pytest.mark.lab
NAME = "sakura.example"


async def test_the_key_closes_the_site_says_so_and_opens_it_again(
    lab: Lab, fresh_site: Callable[[str], LabSite], program: Program
) -> None:
    site = fresh_site(NAME)
    program("backup", NAME)
    async with on_screen(program) as screen:
        await screen.go_to(NAME)
        await screen.press("x")
        await agreed(screen, "")
        assert await ended(screen, NAME, "isolate") is Outcome.DONE
        assert lab.fetch(site)[0] == 503
        await screen.look_again(NAME)
        assert screen.shows("isolated since")
        await screen.press("x")
        await agreed(screen, "")
        assert await ended(screen, NAME, "release") is Outcome.DONE
        assert lab.fetch(site)[0] == 200
        await screen.look_again(NAME)
        assert not screen.shows("isolated since")
