"""The view of the month's updates: decisions by key, waves behind a typed number; read-only, only the view."""

from __future__ import annotations

import datetime as dt

import msgspec
from textual.pilot import Pilot
from textual.widgets import Button, OptionList

from app.dashboard import Dashboard
from app.operations.month import Fate, Plan, Stopped, Through, Waves
from app.screens.confirm import Confirm
from app.screens.month import Month
from app.screens.note import AskNote
from backends.journal_updates import Verdict
from backends.records import Outcome, Update
from tests.app.dashboard_desk import FakeDesk
from tests.app.dashboard_pilot import feed, opened, told, until
from tests.widgets.made import NOW, site, status

FORMS = Update(kind="plugin", slug="forms", from_="5.9", to="6.0", name="Forms")
SHOP = Update(kind="plugin", slug="shop", from_="9.1", to="9.4", name="Shop", security=True)


def desk(*, read_only: bool = False) -> FakeDesk:
    pending = {"a.example": (FORMS, SHOP), "b.example": (FORMS,), "c.example": None}
    fleet = [(site(name), msgspec.structs.replace(status(name), updates=updates)) for name, updates in pending.items()]
    return FakeDesk(fleet, read_only=read_only)


def lines(month: Month) -> list[str]:
    return [" ".join(line.split()) for line in month.plain.splitlines()]


async def shown_month(app: Dashboard, pilot: Pilot[None]) -> Month:
    """The view, with both items of the fleet."""
    await pilot.press("M")
    await until(pilot, lambda: isinstance(app.screen, Month) and app.screen.query_one(OptionList).option_count == 2)
    assert isinstance(app.screen, Month)
    return app.screen


async def test_items_are_counted_over_the_fleet_and_what_closes_a_hole_comes_first() -> None:
    async with opened(desk()) as (app, _, pilot):
        month = await shown_month(app, pilot)
        assert lines(month) == [
            "! Shop 9.1 → 9.4 1 site ? undecided",
            "Forms 5.9 → 6.0 2 sites ? undecided",
        ]
        await pilot.press("j", "enter")
        await until(pilot, lambda: month.query_one(OptionList).option_count == 4)
        assert lines(month)[2:] == ["a.example ? undecided", "b.example ? undecided"]
        await pilot.press("enter")
        await until(pilot, lambda: month.query_one(OptionList).option_count == 2)


async def test_a_key_decides_about_the_row_under_the_cursor_with_a_note() -> None:
    async with opened(desk()) as (app, made, pilot):
        month = await shown_month(app, pilot)
        await pilot.press("j", "a")
        await until(pilot, lambda: isinstance(app.screen, AskNote))
        await pilot.press(*"read", "enter")
        await until(pilot, lambda: bool(made.made("decide")))
        assert made.made("decide") == [("decide", "forms", "6.0", None, Verdict.APPROVED, "read")]
        await until(pilot, lambda: lines(month)[1].endswith("✔ approved"))
        await pilot.press("enter")
        await until(pilot, lambda: month.query_one(OptionList).option_count == 4)
        await pilot.press("j", "s")
        await until(pilot, lambda: isinstance(app.screen, AskNote))
        await pilot.press("enter")
        await until(pilot, lambda: len(made.made("decide")) == 2)
        assert made.made("decide")[1] == ("decide", "forms", "6.0", "a.example", Verdict.SKIPPED, "")
        await until(pilot, lambda: lines(month)[2] == "a.example – skipped")
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.screen, AskNote))
        await pilot.press("enter")
        await until(pilot, lambda: bool(made.made("hold")))
        assert made.made("hold") == [("hold", "forms", ("a.example",), "held by an operator")]
        await pilot.press("l")
        await until(pilot, lambda: bool(made.made("let go")))
        assert made.made("let go") == [("let go", "forms", ("a.example",), False)]


async def test_escape_decides_nothing() -> None:
    async with opened(desk()) as (app, made, pilot):
        await shown_month(app, pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AskNote))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Month))
        assert made.made("decide") == []


def planned(*names: str) -> Plan:
    waves = Waves(began=NOW, who="a", waves=tuple((name,) for name in names))
    return Plan(progress=waves, updates=dict.fromkeys(names, (FORMS,)), unknown=(), undecided=())


async def test_waves_want_the_number_of_sites_typed_and_cancel_has_the_focus() -> None:
    async with opened(desk()) as (app, made, pilot):
        made.planned = planned("a.example", "b.example")
        await shown_month(app, pilot)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, Confirm) and bool(app.screen.query_one("#word").display))
        assert app.screen.query_one("#go", Button).disabled
        await pilot.press("3", "enter")
        await pilot.pause()
        assert made.made("run") == []
        await pilot.press("backspace", "2", "enter", "enter")
        await until(pilot, lambda: bool(made.made("run")))
        assert made.made("run") == [("run", "month", ("a.example", "b.example"))]
        await until(pilot, lambda: isinstance(app.screen, Month))
        await pilot.press("w")  # again: it stops, and what runs is seen to its end
        feed(made, "a.example", "update", Outcome.DONE)
        await until(pilot, lambda: not app._monthly.running)
        assert app._monthly.said == "stopped; w goes on from there"


async def test_what_is_left_and_what_was_put_back_is_told() -> None:
    made = desk()
    put_back = "updated: plugin forms; put back: plugin shop (the front page: status 500)"
    through = {"a.example": Through(fate=Fate.DONE, operation="op", why=put_back)}
    made.progress = Waves(
        began=NOW - dt.timedelta(hours=1), who="a", waves=(("a.example",), ("b.example",)), through=through
    )
    async with opened(made) as (app, _, pilot):
        await pilot.press("M")
        await until(pilot, lambda: isinstance(app.screen, Month) and app._monthly.progress is not None)
        await until(pilot, lambda: "put back: plugin shop" in shown(app.screen, "#lines"))
        assert "✔ wave 1 1/1   · wave 2 0/1" in shown(app.screen, "#head")


def shown(screen: object, query: str) -> str:
    assert isinstance(screen, Month)
    widget = screen.query_one(query)
    return "\n".join(strip.text for strip in widget.render_lines(widget.region.reset_offset))


async def test_nothing_approved_is_said_and_a_refusal_closes_the_prompt() -> None:
    async with opened(desk()) as (app, made, pilot):
        made.planned = planned()
        await pilot.press("M", "w")
        await until(pilot, lambda: told(app) == "Nothing that is approved is pending")
        assert isinstance(app.screen, Month)
        assert made.made("run") == []


async def test_read_only_looks_and_decides_nothing() -> None:
    async with opened(desk(read_only=True)) as (app, made, pilot):
        await shown_month(app, pilot)
        await pilot.press("a", "s", "h", "l", "w")
        await pilot.pause()
        assert isinstance(app.screen, Month)
        assert made.calls == []


def test_every_end_has_its_words() -> None:
    from app.monthly import ENDS

    assert set(ENDS) == set(Stopped)
