"""The dashboard on real sites: `R` where nothing is left and the password has changed, `m` to another site."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from textual.widgets import Button, OptionList

from app.screens.confirm import Confirm
from app.screens.credentials import AskCredentials
from app.screens.generations import Generations
from app.screens.targets import Targets
from backends.records import Outcome
from tests.lab import Lab, LabSite
from tests.operations.program import Program
from tests.operations.screen_of_fleet import Screen, on_screen
from tests.operations.test_lost_config import CHANGED, change_password, holding, look_of, no_root
from tests.operations.test_main_job import files, rows

pytestmark = pytest.mark.lab
NAME, OTHER = "kogyo.example", "momiji.example"


@pytest.fixture(scope="module", autouse=True)
def left_as_they_were(lab: Lab) -> Iterator[None]:
    """The passwords too: other tests make sites of their own in these accounts."""
    yield
    for name in (NAME, OTHER):
        lab.reset(lab.site(name))


async def ended(screen: Screen, site: str, kind: str) -> Outcome:
    await screen.until(lambda: (job := screen.app.jobs.of(site)) is not None and job.kind == kind and not job.running)
    job = screen.app.jobs.of(site)
    assert job is not None
    assert job.finished is not None, job.error
    return job.finished.outcome


async def agreed(screen: Screen, word: str) -> None:
    """The prompt is there and filled; its word is typed where it wants one, and its button pressed."""
    await screen.until(
        lambda: (
            isinstance(screen.app.screen, Confirm)
            and (
                screen.app.screen.query_one("#word").display or not screen.app.screen.query_one("#go", Button).disabled
            )
        )
    )
    if screen.app.screen.query_one("#word").display:
        await screen.press(*word, "enter", "enter")
    else:
        await screen.press("right", "enter")


async def test_a_site_with_no_files_and_another_password_comes_back_and_undo_leaves_nothing(
    lab: Lab, fresh_site: Callable[[str], LabSite], program: Program
) -> None:
    site = fresh_site(NAME)
    whole = rows(lab, site)
    program("backup", NAME)
    change_password(lab, site)
    no_root(lab, site)
    left = look_of(lab, site)
    async with on_screen(program) as screen:
        await screen.go_to(NAME)
        await screen.press("R")
        await screen.until(lambda: isinstance(screen.app.screen, AskCredentials))
        assert screen.shows("wp-config.php is gone")
        await screen.press(*CHANGED, "enter")
        await screen.until(lambda: isinstance(screen.app.screen, Confirm))
        assert CHANGED not in screen.painted
        await agreed(screen, NAME)
        assert await ended(screen, NAME, "restore") is Outcome.DONE
        assert (rows(lab, site), site.title in lab.fetch(site)[1]) == (whole, True)
        assert holding(CHANGED, site.home / ".modoseru" / NAME, program.state) == []
        await screen.press("U")
        await agreed(screen, NAME)
        assert await ended(screen, NAME, "undo") is Outcome.DONE
    assert look_of(lab, site) == left


async def test_another_site_becomes_what_this_one_was_once_its_name_is_typed(
    lab: Lab, fresh_site: Callable[[str], LabSite], program: Program
) -> None:
    source, target = fresh_site(NAME), fresh_site(OTHER)
    program("backup", NAME)
    before = files(target), rows(lab, target)
    async with on_screen(program) as screen:
        await screen.go_to(NAME)
        await screen.press("m")
        await screen.until(lambda: isinstance(screen.app.screen, Generations))
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, Targets))
        await screen.press(*"momiji")
        await screen.until(lambda: screen.app.screen.query_one(OptionList).option_count == 1)
        await screen.press("enter", "enter")
        await screen.until(lambda: isinstance(screen.app.screen, Confirm))
        await screen.until(lambda: screen.shows(f"All files and the whole database of {OTHER}"))
        assert screen.shows(f"Restore {NAME} of ")
        assert screen.app.screen.query_one("#go", Button).disabled
        assert (files(target), rows(lab, target)) == before
        await agreed(screen, OTHER)
        assert await ended(screen, OTHER, "restore") is Outcome.DONE
        assert source.title in lab.fetch(target)[1]
        assert source.host not in lab.fetch(target)[1]
