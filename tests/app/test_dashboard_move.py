"""`m`: a generation of one site, another site of the fleet, and that one's name before anything is overwritten."""

from __future__ import annotations

import msgspec
from textual.widgets import Button, Input, OptionList

from app.screens.confirm import Confirm
from app.screens.fleet import FleetScreen
from app.screens.generations import Generations
from app.screens.targets import Targets
from tests.app.dashboard_desk import FakeDesk
from tests.app.dashboard_pilot import opened, until
from tests.widgets.made import fleet

SOURCE, TARGET = "shika.example", "kogyo.example"


def offered(screen: Targets) -> list[str]:
    options = screen.query_one(OptionList)
    return [str(options.get_option_at_index(place).prompt).split()[0] for place in range(options.option_count)]


async def test_a_generation_a_target_and_its_name_before_it_is_overwritten() -> None:
    async with opened() as (app, desk, pilot):
        desk.typed = TARGET
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, Generations))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Targets))
        assert isinstance(app.screen, Targets)
        assert SOURCE not in offered(app.screen)
        await pilot.press(*"kog")
        await until(pilot, lambda: isinstance(app.screen, Targets) and offered(app.screen) == [TARGET])
        assert desk.made("plan") == []
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm) and app.screen.query_one("#word").display)
        assert [call[1:3] + call[4:] for call in desk.made("plan")] == [("restore", TARGET, SOURCE)]
        assert app.screen.query_one("#go", Button).disabled
        await pilot.press(*TARGET, "enter")
        assert desk.made("start") == []
        await pilot.press("enter")
        await until(pilot, lambda: bool(desk.made("start")))
        assert desk.made("start") == [("start", "restore", TARGET, True)]


async def test_a_name_that_no_site_has_leads_nowhere_and_escape_changes_nothing() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, Generations))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Targets))
        await pilot.press(*"zzz", "enter", "enter")
        assert isinstance(app.focused, Input)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert desk.made("plan") == []


async def test_a_read_only_site_is_no_target_and_a_read_only_fleet_binds_no_move() -> None:
    sites = [(msgspec.structs.replace(site, read_only=site.name == TARGET), status) for site, status in fleet()]
    async with opened(FakeDesk(sites)) as (app, _, pilot):
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, Generations))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Targets))
        assert isinstance(app.screen, Targets)
        assert TARGET not in offered(app.screen)
    async with opened(FakeDesk(fleet(), read_only=True)) as (app, _, pilot):
        await pilot.press("m")
        await pilot.pause()
        assert isinstance(app.screen, FleetScreen)
