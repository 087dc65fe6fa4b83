"""Opening the dashboard, and the keys that only look."""

from __future__ import annotations

import pytest
from textual.timer import Timer
from textual.widgets import Input

from app.actions import ACTIONS
from app.dashboard import Dashboard
from app.screens.confirm import Confirm
from app.screens.details import Details
from app.screens.fleet import FleetScreen
from app.screens.help import Help
from app.screens.log import Log
from app.screens.palette import Palette
from backends.records import (
    Finished,
    Outcome,
)
from tests.app.dashboard_desk import FakeDesk
from tests.app.dashboard_pilot import events, feed, opened, told, until
from tests.widgets.made import NOW, broken, fleet, never_seen, operation, status


async def test_it_opens_from_the_journal_and_then_looks_at_every_site() -> None:
    desk = FakeDesk(fleet())
    app = Dashboard(desk, now=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        assert app.fleet.list.shown[0] == "shika.example"
        await until(pilot, lambda: bool(desk.made("check")))
        assert desk.calls == [("warm",), ("check", tuple(found.name for found in desk.sites))]


async def test_a_fleet_that_nobody_has_looked_at_is_unknown_not_well() -> None:
    desk = FakeDesk(fleet())
    desk.known = [never_seen(found) for found in desk.sites]
    async with opened(desk) as (app, _, _):
        line = app.fleet.list.plain("kogyo.example")
        assert line.startswith("? kogyo.example")
        assert "? unknown" in line


async def test_an_empty_fleet_says_what_to_do() -> None:
    app = Dashboard(FakeDesk([]), now=lambda: NOW)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert "modoseru site add" in app.fleet.list.render_line(1).text
        for key in ("R", "enter", "j", "l", "y", "n"):
            await pilot.press(key)


async def test_the_header_counts_what_is_wrong_and_how_far_the_look_is() -> None:
    desk = FakeDesk(fleet())
    desk.looks_end = False
    async with opened(desk) as (app, _, pilot):
        for found in desk.known[:12]:
            desk.results.put_nowait(found)
        await until(pilot, lambda: "12/24" in app.fleet.header.plain)
        assert "5 critical · 2 cannot be restored · 4 expiring · 38 updates" in app.fleet.header.plain
        assert "14:02 JST" in app.fleet.header.plain


async def test_results_reach_their_rows() -> None:
    desk = FakeDesk(fleet())
    desk.looks_end = False
    async with opened(desk) as (app, _, pilot):
        desk.results.put_nowait(status("kogyo.example", health=broken("status 503", 503)))
        await until(pilot, lambda: "503" in app.fleet.list.plain("kogyo.example"))
        assert app.fleet.list.shown[0] == "shika.example"
        assert "6 critical" in app.fleet.header.plain


async def test_running_operations_of_the_journal_are_shown_and_followed() -> None:
    desk = FakeDesk(fleet())
    running = operation("kogyo.example", "restore", None, days=0.001)
    desk.journal = [running, operation("shika.example", "backup", Outcome.DONE)]
    async with opened(desk) as (app, _, pilot):
        assert [job.site for job in app.jobs.running] == ["kogyo.example"]
        feed(desk, "kogyo.example", outcome=Outcome.DONE)
        await until(pilot, lambda: "done" in app.fleet.strip.plain)


async def test_checking_looks_at_the_one_site() -> None:
    async with opened() as (_, desk, pilot):
        await pilot.press("j", "c")
        await until(pilot, lambda: bool(desk.calls))
        assert desk.calls == [("check", ("hanaya.example",))]


async def test_the_log_of_a_running_operation_grows() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("b")
        feed(desk, "shika.example", "backup")
        await until(pilot, lambda: "10%" in app.fleet.strip.plain)
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, Log))
        assert isinstance(app.screen, Log)
        assert "→ staging" in app.screen.plain
        desk.feed("shika.example").put_nowait(Finished(at=NOW, line=3, outcome=Outcome.DONE))
        log = app.screen
        await until(pilot, lambda: "✔ done" in log.plain)
        await pilot.press("y", "escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert "→ staging" in app.clipboard


async def test_the_log_of_the_last_operation_comes_from_the_journal() -> None:
    desk = FakeDesk(fleet())
    past = operation("shika.example", "restore", Outcome.ROLLED_BACK)
    desk.journal = [past]
    desk.past[past.operation] = events("shika.example", "restore", Outcome.ROLLED_BACK)
    async with opened(desk) as (app, _, pilot):
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, Log))
        assert isinstance(app.screen, Log)
        assert "rolled back · the site is as before · the check failed" in app.screen.plain
        await pilot.press("escape", "j", "l")
        await pilot.pause()
        assert told(app) == "Nothing has been done on hanaya.example yet"


async def test_a_sites_own_screen_has_the_same_keys() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Details))
        assert isinstance(app.screen, Details)
        assert "Where it lives" in app.screen.plain
        await pilot.press("j", "G", "g", "R")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert desk.made("plan") == [("plan", "restore", "shika.example", None)]
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        await pilot.press("escape", "escape")
        assert app.is_running


async def test_the_filter_counts_and_esc_shows_all() -> None:
    async with opened() as (app, _, pilot):
        await pilot.press("slash", *"shop")
        await until(pilot, lambda: len(app.fleet.list.shown) == 1)
        assert str(app.fleet.query_one("#count").render()) == "1/24"
        await pilot.press("enter")
        assert app.focused is app.fleet.list
        assert app.fleet.site_name == "old-shop.example"
        await pilot.press("escape")
        await until(pilot, lambda: len(app.fleet.list.shown) == 24)


async def test_in_the_filter_no_letter_is_a_key() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("slash", "R", "U", "b", "q", "u")
        await until(pilot, lambda: app.fleet.query_one(Input).value == "RUbqu")
        assert isinstance(app.screen, FleetScreen)
        assert desk.calls == []


async def test_the_order_is_shown() -> None:
    async with opened() as (app, _, pilot):
        await pilot.press("s")
        assert told(app) == "Order: site"
        assert app.fleet.list.shown[0] == "bengoshi.example"
        assert app.fleet.site_name == "shika.example"
        await pilot.press("j")
        assert told(app) != "Order: site"


async def test_copying() -> None:
    async with opened() as (app, _, pilot):
        await pilot.press("y")
        await pilot.pause()
        assert app.clipboard.startswith("✖ shika.example")
        assert "Can it be restored?  ✖ FAILED" in app.clipboard
        assert told(app) == "Copied"


async def test_the_palette_finds_actions_and_sites() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("colon", *"make a gen", "enter")
        await until(pilot, lambda: bool(desk.made("start")))
        await pilot.press("ctrl+p", *"kogyo", "enter")
        await until(pilot, lambda: app.fleet.site_name == "kogyo.example")
        await pilot.press("ctrl+p", *"nothing is called so", "enter")
        assert isinstance(app.screen, Palette)
        await pilot.press("escape")


async def test_the_arrows_choose_in_the_palette_while_words_are_typed() -> None:
    async with opened() as (app, _, pilot):
        await pilot.press("ctrl+p", *"example")
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: app.fleet.site_name == app.fleet.list.shown[2])


async def test_help_names_every_action() -> None:
    async with opened() as (app, _, pilot):
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help))
        await pilot.pause()
        shown = str(app.screen.query_one("_Keys").render())
        for action in ACTIONS:
            assert action.says in shown
        await pilot.press("escape")


async def test_a_timer_that_is_lost_stops_no_repaint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual drops a one-shot timer without a word where the loop was busy past its time."""
    begin = Timer._start
    monkeypatch.setattr(Timer, "_start", lambda timer: None if timer._repeat == 0 else begin(timer))
    desk = FakeDesk(fleet())
    desk.looks_end = False
    async with opened(desk) as (app, _, pilot):
        name = app.fleet.list.shown[-1]
        desk.results.put_nowait(status(name, health=broken("status 500", 500)))
        await until(pilot, lambda: "500" in app.fleet.list.plain(name))
        await pilot.press("j")
        await until(pilot, lambda: app.fleet.list.site is not None and app.fleet.list.site in app.fleet.pane.plain)
        desk.results.put_nowait(status(name, health=broken("status 503", 503)))
        await until(pilot, lambda: "503" in app.fleet.list.plain(name))
