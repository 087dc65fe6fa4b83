"""The dashboard on real sites in this process: presses keys, and reads what is painted."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable

from textual.pilot import Pilot
from textual.widgets import Button

from app import speaking
from app.dashboard import Dashboard
from app.desk import SessionDesk
from app.screens.confirm import Confirm
from app.screens.dialog import Dialog
from app.screens.fleet import FleetScreen
from tests.operations.program import Program
from widgets.job import Job
from widgets.key_line import KeyLine

PATIENCE_S = 30.0


class Screen:
    """What the operator of `app` sees and presses."""

    def __init__(self, app: Dashboard, pilot: Pilot[None]) -> None:
        self.app, self._pilot = app, pilot

    @property
    def painted(self) -> str:
        """The screen, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips)

    def shows(self, sentence: str) -> bool:
        """Whether all of `sentence` is painted, however it is broken into lines."""
        return "".join(sentence.split()) in "".join(self.painted.split())

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                await self._pilot.pause()

    async def drawn(self) -> None:
        """What is known is painted: that is a frame later."""
        await self.until(lambda: self.app._frame is None)
        await self._pilot.pause()

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def go_to(self, site: str) -> None:
        """The cursor on the site, and the pane about it."""
        self.app.fleet.list.go_to(site)
        await self.until(lambda: self.app.fleet.pane.plain.splitlines()[0].strip().endswith(site))

    async def look_again(self, site: str) -> None:
        """Press `c`, and wait for what it finds."""
        before = self._looked_at(site)
        await self.press("c")
        await self.until(lambda: self._looked_at(site) != before)
        await self.drawn()
        self.app.fleet.query_one(KeyLine).clear_told()

    def _looked_at(self, site: str) -> dt.datetime | None:
        row = self.app.fleet.list.row(site)
        return row.status.health.checked_at if row else None

    async def settled(self, key: str) -> Job | None:
        """Press a key that acts on a site, say yes to every choice but the last; the operation that came of it.

        None where the prompt before an overwrite stands open, or a sentence stands in place of the keys.
        """
        before = set(self.app.jobs.all)
        await self.press(key)

        def told() -> bool:
            return self.app.fleet.query_one(KeyLine).has_class("-told")

        def ended() -> list[Job]:
            return [job for job in self.app.jobs.all if job not in before and not job.running]

        def asked() -> bool:
            screen = self.app.screen
            return isinstance(screen, Confirm) and not (
                screen.query_one("#go", Button).disabled and not screen.query_one("#word").has_class("-wanted")
            )

        await self.until(lambda: ended() or asked() or told() or self._choosing)
        if self._choosing:
            await self.press("enter")
            await self.until(lambda: ended() or asked())
        await self.drawn()
        found = ended()
        if found:
            await self.until(lambda: isinstance(self.app.screen, FleetScreen) and self.shows("D dismiss"))
        return found[-1] if found else None

    @property
    def _choosing(self) -> bool:
        return isinstance(self.app.screen, Dialog) and not isinstance(self.app.screen, Confirm)

    async def clear(self) -> None:
        """Back on the fleet, with nothing in the strip."""
        while not isinstance(self.app.screen, FleetScreen):
            await self.press("escape")
        while self.app.jobs.all:  # the look at the site after an operation may fail on its own
            await self.until(lambda: not self.app.jobs.running and self.app.looked_at_all)
            await self.press("D")


@contextlib.asynccontextmanager
async def on_screen(program: Program, size: tuple[int, int] = (120, 40), language: str = "en") -> AsyncIterator[Screen]:
    """The dashboard of this machine, every site looked at once."""
    speaking.speak(language)
    try:
        async with program.session() as session:
            app = Dashboard(await SessionDesk.of(session), refresh_s=1e6)
            async with app.run_test(size=size) as pilot:
                screen = Screen(app, pilot)
                await screen.until(lambda: app.looked_at_all)
                await screen.drawn()
                yield screen
                await screen.until(lambda: app.looked_at_all)
    finally:
        speaking.speak("en")
