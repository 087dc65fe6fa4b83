"""What changed, on the screen: it opens at once, fills when the server answers, and can be left and copied."""

from __future__ import annotations

from app.dashboard import Dashboard
from app.screens.difference import WhatChanged
from app.screens.fleet import FleetScreen
from backends.records import ModoseruError, Progress
from tests.app.dashboard_pilot import opened, told, until
from tests.widgets.made import NOW
from tests.widgets.test_difference import HACKED


def shown(app: Dashboard) -> str:
    assert isinstance(app.screen, WhatChanged)
    return app.screen.plain


async def test_it_opens_at_once_tells_how_far_it_is_and_then_the_suspicious_first() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, WhatChanged))
        assert "shika.example" in shown(app)
        desk.compared.put_nowait(Progress(at=NOW, line=0, done=1_000_000, total=4_000_000))
        await until(pilot, lambda: "1.0 MB / 4.0 MB" in shown(app))
        desk.compared.put_nowait(HACKED)
        await until(pilot, lambda: "Suspicious" in shown(app))
        lines = shown(app).splitlines()
        assert lines.index("Suspicious  2") < next(number for number, line in enumerate(lines) if "Files" in line)
        await pilot.press("y")
        assert app.clipboard == shown(app)
        assert "Copied" in told(app)
        await pilot.press("G", "g", "j", "escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert desk.calls == [("diff", "shika.example")]


async def test_leaving_ends_the_comparing() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, WhatChanged))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        await until(pilot, lambda: desk.closed == ["shika.example"])


async def test_a_server_that_cannot_says_why_on_the_same_screen() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("w")
        desk.compared.put_nowait(ModoseruError("no_generation", "shika.example was never backed up", "ask the host"))
        await until(pilot, lambda: "✖ shika.example was never backed up" in shown(app))
        assert "→ ask the host" in shown(app)
