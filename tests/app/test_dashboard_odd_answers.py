"""What no honest server says: times and amounts that cannot be. Nobody must lose the screen over them."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from app.screens.fleet import FleetScreen
from app.screens.generations import Generations
from app.screens.log import Log
from backends.records import AnyEvent, Generation, Inspection, Progress, Started, Step
from tests.app.dashboard_desk import FakeDesk
from tests.app.dashboard_pilot import opened, until
from tests.widgets.made import generation, operation, site, status

FIRST, LAST = dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
ONE = generation(1)
ODD = {
    "twice the same": (ONE, ONE, msgspec.structs.replace(ONE, tier="vault")),
    "before all time": (msgspec.structs.replace(ONE, created=FIRST, verified_at=FIRST, drilled_at=FIRST),),
    "after all time": (msgspec.structs.replace(ONE, created=LAST, verified_at=LAST, drilled_at=LAST),),
    "beyond measure": (msgspec.structs.replace(ONE, bytes=1 << 63), msgspec.structs.replace(ONE, bytes=-(1 << 63))),
    "no id": (msgspec.structs.replace(ONE, id=""), msgspec.structs.replace(ONE, id="../../etc")),
}
EVENTS: tuple[AnyEvent, ...] = (
    Started(at=LAST, line=0, operation="20261120T050200Z-restore-00beef", site="b.example", kind="restore"),
    Step(at=FIRST, line=1, name="files"),
    Progress(at=FIRST, line=2, done=-5, total=0),
    Progress(at=LAST, line=3, done=1 << 62, total=-3),
    Progress(at=LAST, line=4, done=1 << 62, total=3, unit="rows"),
    Progress(at=FIRST, line=5, done=-(1 << 62), total=1 << 62),
)


@pytest.mark.parametrize("odd", ODD)
async def test_generations_that_cannot_be_are_listed_and_end_nothing(odd: str) -> None:
    desk = FakeDesk([(site("a.example"), msgspec.structs.replace(status("a.example"), generations=ODD[odd]))])
    async with opened(desk) as (app, _, pilot):
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("escape", "r")
        await until(pilot, lambda: isinstance(app.screen, Generations))
        await pilot.press("G", "enter")
        await until(pilot, lambda: bool(desk.made("plan")))
        assert desk.made("plan")[0][3] in {one.id for one in ODD[odd]}
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))


@pytest.mark.parametrize("count", range(1, len(EVENTS) + 1))
async def test_progress_that_cannot_be_is_drawn_all_the_same(count: int) -> None:
    desk = FakeDesk([(site("a.example"), status("a.example"))])
    desk.journal = [operation("a.example", "restore", None)]
    for event in EVENTS[:count]:
        desk.feed("a.example").put_nowait(event)
    async with opened(desk) as (app, _, pilot):
        await until(pilot, lambda: bool(app.jobs.all) and len(app.jobs.all[0].events) == min(count, 3))
        assert "a.example" in app.fleet.strip.plain
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, Log))
        assert all(len(line) < 200 for line in app.fleet.strip.plain.splitlines())


@pytest.mark.parametrize("kind", [Generation, Inspection, Step])
def test_a_time_without_a_zone_is_no_answer(kind: type[msgspec.Struct]) -> None:
    """It could not be compared with ours."""
    told = {"id": "20261122T050200Z", "agent": "1", "php_cli": "8.2", "name": "files", "type": "step"}
    naive = {"created": "2026-11-22T05:02:00", "at": "2026-11-22T05:02:00"}
    with pytest.raises(msgspec.ValidationError, match="timezone"):
        msgspec.convert(told | naive, kind)
    msgspec.convert(told | {name: f"{at}Z" for name, at in naive.items()}, kind)
