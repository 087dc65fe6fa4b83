"""Opens the dashboard on a fake desk, and lets a test wait for what it expects instead of for the clock."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from app.dashboard import Dashboard
from backends.records import (
    AnyEvent,
    Finished,
    Outcome,
    Progress,
    Started,
    Step,
)
from tests.app.dashboard_desk import FakeDesk
from tests.widgets.made import NOW, fleet
from widgets.key_line import KeyLine


@asynccontextmanager
async def opened(
    desk: FakeDesk | None = None, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Dashboard, FakeDesk, Pilot[None]]]:
    desk = desk or FakeDesk(fleet())
    app = Dashboard(desk, now=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: bool(desk.made("check")))
        desk.calls.clear()
        yield app, desk, pilot


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Let the program run until something is so."""
    async with asyncio.timeout(10):
        while not true():
            await pilot.pause()


def told(app: Dashboard) -> str:
    return app.screen.query_one(KeyLine).plain


def events(name: str, kind: str = "restore", outcome: Outcome | None = None) -> list[AnyEvent]:
    found: list[AnyEvent] = [
        Started(at=NOW, line=0, operation=f"20261123T050200Z-{kind}-00beef", site=name, kind=kind),
        Step(at=NOW, line=1, name="stage"),
        Progress(at=NOW, line=2, done=10, total=100),
    ]
    if outcome is not None:
        found.append(Finished(at=NOW + dt.timedelta(seconds=41), line=3, outcome=outcome, detail="the check failed"))
    return found


def feed(desk: FakeDesk, name: str, kind: str = "restore", outcome: Outcome | None = None) -> None:
    for event in events(name, kind, outcome):
        desk.feed(name).put_nowait(event)
