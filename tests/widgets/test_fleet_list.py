"""The list's promises: the cursor belongs to a site, nothing moves under it, one change repaints one row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot
from textual.timer import Timer

from backends.records import Certainty
from tests.widgets.made import NOW, broken, status, updates
from widgets.fleet_filter import folded, matches, searched
from widgets.fleet_list import FleetList
from widgets.fleet_row import FleetRow


class Bench(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.list = FleetList(lambda: NOW, settle_s=3600)
        self.highlighted: list[str | None] = []

    def compose(self) -> ComposeResult:
        yield self.list

    def on_fleet_list_highlighted(self, event: FleetList.Highlighted) -> None:
        self.highlighted.append(event.site)


@asynccontextmanager
async def opened(count: int = 0, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[FleetList, Pilot[None]]]:
    app = Bench()
    async with app.run_test(size=size) as pilot:
        app.list.focus()
        if count:
            app.list.put(row(f"site-{number:05}.example") for number in range(count))
        await pilot.pause()
        yield app.list, pilot


def row(name: str, **more: object) -> FleetRow:
    return FleetRow(status=status(name, **more))  # type: ignore[arg-type]


def down(name: str) -> FleetRow:
    return row(name, health=broken("status 500", 500))


def lines(fleet: FleetList) -> list[str]:
    return [fleet.render_line(y).text.rstrip() for y in range(fleet.size.height)]


async def test_it_draws_the_head_and_the_sites() -> None:
    async with opened(3) as (fleet, _):
        shown = lines(fleet)
        assert shown[0].split() == ["▾", "site", "up", "restorable", "server", "vault", "cert", "dom", "upd"]
        assert shown[1] == "▌" + fleet.plain("site-00000.example")
        assert shown[2] == " " + fleet.plain("site-00001.example")
        assert shown[4] == ""


async def test_a_change_moves_no_row_until_the_operator_pauses() -> None:
    async with opened(50) as (fleet, _):
        before = fleet.shown
        fleet.put([down("site-00030.example")])
        assert fleet.shown == before
        fleet.settle()
        assert fleet.shown[0] == "site-00030.example"


async def test_the_cursor_stays_on_its_site() -> None:
    async with opened(50) as (fleet, _):
        for _ in range(5):
            fleet.move("down")
        assert fleet.site == "site-00005.example"
        fleet.put(down(f"site-{number:05}.example") for number in range(20, 40))
        fleet.settle()
        fleet.set_sort("site")
        fleet.set_sort("updates")
        assert fleet.site == "site-00005.example"


async def test_a_site_that_was_mended_stays_until_the_cursor_leaves_it() -> None:
    async with opened(20) as (fleet, _):
        fleet.put([down("site-00010.example"), down("site-00011.example")])
        fleet.settle()
        fleet.move("top")
        assert fleet.site == "site-00010.example"
        before = fleet.shown
        fleet.put([row("site-00010.example")])
        fleet.settle()
        assert fleet.shown == before
        fleet.move("down")
        fleet.settle()
        assert fleet.shown[:2] == ("site-00011.example", "site-00000.example")
        assert fleet.site == "site-00011.example"
        fleet.put([row("site-00011.example")])
        fleet.set_sort("worst")
        assert fleet.shown[0] == "site-00000.example"


async def test_the_row_under_the_cursor_keeps_its_line_on_the_screen() -> None:
    async with opened(200) as (fleet, pilot):
        fleet.move("bottom")
        for _ in range(60):
            fleet.move("up")
        await pilot.pause()
        line = fleet.shown.index(fleet.site or "") - fleet.scroll_offset.y
        fleet.put(down(f"site-{number:05}.example") for number in range(160, 180))
        fleet.settle()
        await pilot.pause()
        assert fleet.shown.index(fleet.site or "") - fleet.scroll_offset.y == line


async def test_at_the_top_the_worst_comes_into_view() -> None:
    async with opened(200) as (fleet, _):
        fleet.put([down("site-00150.example")])
        fleet.settle()
        assert "site-00150.example" in lines(fleet)[1]
        assert fleet.site == "site-00000.example"


async def test_it_settles_by_itself_only_when_the_keys_are_quiet() -> None:
    app = Bench()
    app.list = FleetList(lambda: NOW, settle_s=0.01)
    async with app.run_test() as pilot:
        app.list.put(row(f"site-{number}.example") for number in range(5))
        app.list.put([down("site-3.example")])
        async with asyncio.timeout(10):
            while app.list.shown[0] != "site-3.example":
                await pilot.pause(0.01)


async def test_it_settles_though_a_timer_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Timer._start
    monkeypatch.setattr(Timer, "_start", lambda timer: None if timer._repeat == 0 else begin(timer))
    await test_it_settles_by_itself_only_when_the_keys_are_quiet()


async def test_one_change_repaints_one_row() -> None:
    async with opened(500) as (fleet, pilot):
        await pilot.pause()
        repainted: list[Region] = []
        original = fleet.refresh

        def refresh(*regions: Region, **options: bool) -> FleetList:
            repainted.extend(regions)
            assert regions, "the whole list was repainted"
            return original(*regions, **options)

        fleet.refresh = refresh  # type: ignore[method-assign]
        fleet.put([row("site-00004.example", pending=updates(2)), row("site-00400.example", pending=updates(2))])
        assert [(region.y, region.height) for region in repainted] == [(5, 1)]
        fleet.put([row("site-00004.example", pending=updates(2))])
        assert len(repainted) == 1
        fleet.move("down")
        assert [(region.y, region.height) for region in repainted[1:]] == [(1, 1), (2, 1)]
        fleet.refresh = original  # type: ignore[method-assign]


async def test_ten_thousand_sites_draw_only_what_shows() -> None:
    async with opened(10_000) as (fleet, pilot):
        drawn = len(fleet._strips)
        assert drawn < 100
        fleet.move("bottom")
        await pilot.pause()
        assert fleet.site == "site-09999.example"
        assert "site-09999.example" in lines(fleet)[-1]


async def test_moving() -> None:
    async with opened(100) as (fleet, pilot):
        page = fleet.size.height - 2
        steps = [
            ("down", 1),
            ("page_down", 1 + page),
            ("up", page),
            ("bottom", 99),
            ("down", 99),
            ("page_up", 99 - page),
        ]
        for direction, position in [*steps, ("top", 0), ("up", 0)]:
            fleet.move(direction)
            assert fleet.site == f"site-{position:05}.example", direction
        await pilot.pause()


async def test_the_next_problem_goes_round() -> None:
    async with opened() as (fleet, _):
        fleet.put([row("a"), row("b"), row("c", cert=3), row("d", verdict=Certainty.FAILED)])
        fleet.set_sort("site")
        visited = []
        for _ in range(3):
            fleet.move("problem")
            visited.append(fleet.site)
        assert visited == ["c", "d", "c"]


async def test_a_filter_keeps_the_cursor_where_it_can() -> None:
    async with opened(30) as (fleet, _):
        fleet.move("bottom")
        fleet.set_filter("site-0002")
        assert (len(fleet.shown), fleet.total, fleet.site) == (10, 30, "site-00029.example")
        fleet.set_filter("00003")
        assert fleet.site == "site-00003.example"
        fleet.set_filter("nothing is called so")
        assert fleet.site is None
        assert "esc" in lines(fleet)[1]
        fleet.move("down")
        fleet.set_filter("")
        assert len(fleet.shown) == 30


async def test_the_columns_take_turns_to_order_the_list() -> None:
    async with opened(3) as (fleet, _):
        orders = [fleet.next_sort() for _ in range(9)]
        assert orders == ["site", "up", "restorable", "server", "vault", "cert", "domain", "updates", "worst"]
        fleet.set_sort("cert")
        assert "cert▾" in lines(fleet)[0] or "cert" in lines(fleet)[0]


async def test_a_click_chooses_and_a_second_one_opens() -> None:
    async with opened(10) as (fleet, pilot):
        await pilot.click(fleet, offset=(10, 4))
        assert fleet.site == "site-00003.example"
        await pilot.click(fleet, offset=(10, 0))
        assert fleet.site == "site-00003.example"


async def test_it_follows_its_width() -> None:
    async with opened(3) as (fleet, pilot):
        await pilot.resize_terminal(140, 20)
        await pilot.pause()
        assert "owner" in lines(fleet)[0]


async def test_when_the_scrollbar_comes_every_line_makes_room() -> None:
    async with opened(20, size=(100, 22)) as (fleet, pilot):
        assert fleet.render_line(1).cell_length == 100
        await pilot.resize_terminal(100, 15)
        await pilot.pause()
        assert {fleet.render_line(y).cell_length for y in range(15)} == {99}
        assert fleet.render_line(0).text.index("up") == fleet.render_line(3).text.index("ok")


def test_filters() -> None:
    text = searched(FleetRow(status=status("shop.example", owner="佐藤"), tags=("vip",)))
    for query in ("shop", "SHOP vip", "ｓｈｏｐ", "佐藤", "!zzz", "shop !", "", "unproven"):
        assert matches(text, folded(query)), query
    for query in ("!shop", "shop nothing", "critical"):
        assert not matches(text, folded(query)), query
