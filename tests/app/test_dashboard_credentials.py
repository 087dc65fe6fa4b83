"""A restore of a site whose database no known password opens: asked for, tried, asked for again, and never painted."""

from __future__ import annotations

from textual.widgets import Button, Input

from app.screens.confirm import Confirm
from app.screens.credentials import AskCredentials
from app.screens.fleet import FleetScreen
from backends.agent.client import Access
from backends.records import Blocker, Credentials
from tests.app.dashboard_desk import FakeDesk
from tests.app.dashboard_pilot import opened, until
from tests.widgets.made import fleet

RIGHT = Credentials(name="kogyo_db", user="kogyo", password=" p w ", host="db.host.example:3307")


def locked() -> FakeDesk:
    desk = FakeDesk(fleet())
    desk.locked = Blocker(code="no_database", message="wp-config.php is gone \x1b]52;c;evil\x07", hint="give them")
    desk.access = Access(name="kogyo_db", user="kogyo", host="")
    desk.opens = RIGHT
    return desk


async def test_credentials_are_asked_for_until_they_open_the_database_and_the_password_is_never_painted() -> None:
    async with opened(locked()) as (app, desk, pilot):
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, AskCredentials))
        assert isinstance(app.focused, Input)
        assert app.focused.id == "password"
        assert app.screen.query_one("#host", Input).value == "localhost"
        await pilot.press(*"wr0ng!", "enter")
        await until(pilot, lambda: len(desk.made("refused")) == 2 and isinstance(app.screen, AskCredentials))
        wrong = Credentials(name="kogyo_db", user="kogyo", password="wr0ng!")
        assert desk.made("refused")[1][3] == wrong
        assert "wr0ng!" not in repr(wrong)
        host = app.screen.query_one("#host", Input)
        host.value = RIGHT.host
        assert app.screen.query_one("#password", Input).value == ""
        await pilot.press("space", "p", "space", "w", "space")
        painted = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert " p w " not in painted
        assert "\x1b" not in painted
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm) and not app.screen.query_one("#go", Button).disabled)
        await pilot.press("right", "enter")
        await until(pilot, lambda: bool(desk.made("start")))


async def test_who_gives_none_is_told_what_is_wrong_and_nothing_begins() -> None:
    async with opened(locked()) as (app, desk, pilot):
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, AskCredentials))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen) and bool(app.jobs.all))
        error = app.jobs.all[-1].error
        assert error is not None
        assert error[0].startswith("wp-config.php is gone")
        assert desk.made("start") == []


async def test_an_empty_name_is_asked_for_again() -> None:
    async with opened(locked()) as (app, desk, pilot):
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, AskCredentials))
        app.screen.query_one("#name", Input).value = " "
        await pilot.press("x", "enter")
        assert app.focused is not None
        assert app.focused.id == "name"
        assert len(desk.made("refused")) == 1
