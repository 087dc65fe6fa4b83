"""`p`: words of a title, the posts that have them, and one of them asked for."""

from __future__ import annotations

import datetime as dt

import pytest
from textual.widgets import Button, Input, OptionList, Static

from app.operations.post import Found
from app.screens.confirm import Confirm
from app.screens.fleet import FleetScreen
from app.screens.posts import Posts
from backends.agent.client import Match
from backends.records import ModoseruError
from tests.app.dashboard_desk import FakeDesk
from tests.app.dashboard_pilot import opened, until
from tests.widgets.made import fleet

THEN = dt.datetime(2026, 9, 16, tzinfo=dt.UTC)
FOUND = tuple(
    Found(generation="20261120T050200Z", post=Match(id=number, title=title, status="publish", modified=THEN, now=now))
    for number, title, now in ((12, "桜まつり 🌸", "gone"), (7, "[b]x[/ \x1b]52;c;evil\x07", "changed"))
)


async def test_a_post_is_searched_chosen_and_asked_for_before_it_comes_back() -> None:
    async with opened() as (app, desk, pilot):
        desk.found = FOUND
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, Posts))
        await pilot.press(*"matsuri", "enter")
        await until(pilot, lambda: isinstance(app.focused, OptionList))
        assert desk.made("find") == [("find", "shika.example", "matsuri")]
        shown = [str(app.focused.get_option_at_index(place).prompt) for place in (0, 1)]  # type: ignore[union-attr]
        assert all(text in shown[0] for text in ("桜まつり 🌸", "gone now", "2026-09-16", "20261120T050200Z"))
        assert "changed since" in shown[1]
        assert "\x1b" not in shown[1]
        await pilot.press("j", "enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm) and not app.screen.query_one("#go", Button).disabled)
        assert desk.made("plan") == [("plan", "restore", "shika.example", "20261120T050200Z", 7)]
        assert app.focused is not None
        assert app.focused.id == "cancel"
        assert desk.made("start") == []
        await pilot.press("right", "enter")
        await until(pilot, lambda: bool(desk.made("start")))
        assert desk.made("start") == [("start", "restore", "shika.example", True)]


@pytest.mark.parametrize("refused", [True, False])
async def test_a_search_that_finds_nothing_says_so_and_can_be_made_again(refused: bool) -> None:
    async with opened() as (app, desk, pilot):
        if refused:
            desk.refusal = ModoseruError("ssh_unreachable", "shika does not answer", "")
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, Posts))
        await pilot.press("enter", *"q j", "enter")
        wanted = "shika does not answer" if refused else "No clean generation holds a post"
        await until(pilot, lambda: wanted in str(app.screen.query_one("#said", Static).render()))
        assert isinstance(app.focused, Input)
        assert desk.made("find") == [("find", "shika.example", "q j")]
        desk.refusal, desk.found = None, FOUND
        await pilot.press("x", "enter")
        await until(pilot, lambda: isinstance(app.focused, OptionList))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert desk.made("plan") == []


async def test_a_search_that_fails_leaves_no_list_of_the_one_before() -> None:
    async with opened() as (app, desk, pilot):
        desk.found = FOUND
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, Posts))
        await pilot.press(*"matsuri", "enter")
        await until(pilot, lambda: isinstance(app.focused, OptionList))
        desk.refusal = ModoseruError("ssh_unreachable", "shika does not answer", "")
        app.screen.query_one(Input).focus()
        await pilot.press("enter")
        await until(pilot, lambda: "shika does not answer" in str(app.screen.query_one("#said", Static).render()))
        assert not app.screen.query_one(OptionList).display
        assert app.screen.query_one(OptionList).option_count == 0


async def test_read_only_binds_no_post() -> None:
    async with opened(FakeDesk(fleet(), read_only=True)) as (app, desk, pilot):
        await pilot.press("p")
        await pilot.pause()
        assert isinstance(app.screen, FleetScreen)
        assert desk.made("find") == []
