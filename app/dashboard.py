"""The Textual program: owns what is known of the fleet and the operations, and turns keys into calls on the desk.

A screen that the first frame does not show is imported when it is first opened.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import unicodedata
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

from textual import events, on
from textual.app import App
from textual.screen import Screen
from textual.widgets import Input

from app.actions import ACTIONS, BY_ID, Place, allowed
from app.desk import Desk
from app.jobs import Jobs, defect
from app.screens.about_site import AboutSite, Scene
from app.screens.dialog import Dialog
from app.screens.fleet import FleetScreen
from backends.records import (
    Certainty,
    ModoseruError,
    Operation,
    Site,
    SiteStatus,
)
from widgets.cells import said
from widgets.fleet_list import FleetList
from widgets.fleet_row import FleetRow
from widgets.fleet_tally import Tally
from widgets.job import Job
from widgets.key_line import KeyLine
from widgets.language import tr
from widgets.site_page import SiteNews

if TYPE_CHECKING:
    from app.monthly import Monthly, Row
    from app.screens.asking import Asking
    from app.screens.generations import Generations

FRAME_S = 0.1
"""At most ten repaints a second, however many results come (DESIGN 8)."""
COUNT_S = 0.5
"""How often the counts change: the header and a row far below it would make one large repaint of two small ones."""
REST_S = 0.08
"""How long the cursor rests on a site before the pane tells about it."""
REFRESH_S = 600.0
"""How often the whole fleet is looked at while the dashboard is open."""
JOIN_S = 15.0
"""How often the journal is asked for operations that others have started."""
OF_SCREENS = {action.id for action in ACTIONS if action.place in {Place.MOVE, Place.BACK, Place.MONTH}} | {
    "filter",
    "sort",
    "problem",
}
"""Actions that each screen does in its own way (`act`)."""
THEMES = ("textual-dark", "textual-light", "ansi-dark")


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Dashboard(App[None]):
    ENABLE_COMMAND_PALETTE = False  # Textual's own speaks English and offers what is not ours
    ESCAPE_TO_MINIMIZE = False
    CSS = """
    * {
        scrollbar-color: $panel-lighten-3;
        scrollbar-color-hover: $panel-lighten-3;
        scrollbar-color-active: $primary;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;
    }
    """

    def __init__(self, desk: Desk, *, now: Callable[[], dt.datetime] = utc_now, refresh_s: float = REFRESH_S) -> None:
        super().__init__()
        self.title = said(desk.name, 60)
        self._desk, self._clock, self._refresh_s = desk, now, refresh_s
        self._by_name = {site.name: site for site in desk.sites}
        self._statuses: dict[str, SiteStatus] = {}
        self._histories: dict[str, tuple[Operation, ...]] = {}
        self._fresh: dict[str, SiteStatus] = {}
        self._looking = [0, 0]
        self._tally = Tally()
        # The loop's own handles: a one-shot timer of Textual is dropped without a word where the loop was busy past its
        # time (`Timer(skip=True)`), and nothing would be painted any more.
        self._frame: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._drawn = self._counted = -1e9
        self._errands: set[asyncio.Task[None]] = set()
        self._jobs_moved = False
        self._cancelling: dict[str, str] = {}
        self.jobs = Jobs(desk, now, self._job_moved, self._job_ended)
        self.fleet = FleetScreen(Scene(desk.name, desk.zone, now, desk.read_only))

    @cached_property
    def of_site(self) -> dict[str, Callable[[Site], None]]:
        """What the actions on a site do, by their ids."""
        return {
            "open": self._do_open,
            "restore": self._do_restore,
            "choose": self._do_choose,
            "undo": self._do_undo,
            "isolate": self._do_isolate,
            "update": self._do_update,
            "backup": self._do_backup,
            "vault": self._do_vault,
            "drill": self._do_drill,
            "off_site": self._do_off_site,
            "verify": self._do_verify,
            "diff": self._do_diff,
            "post": self._do_post,
            "move": self._do_move,
            "check": self._do_check,
            "log": self._do_log,
            "cancel": self._do_cancel,
        }

    @cached_property
    def of_program(self) -> dict[str, Callable[[], None]]:
        """What the actions that need no site do, by their ids."""
        return {
            "copy": self._do_copy,
            "refresh": self._do_refresh,
            "month": self._do_month,
            "dismiss": self._do_dismiss,
            "help": self._do_help,
            "palette": self._do_palette,
            "theme": self._do_theme,
            "quit": self._do_quit,
        }

    @cached_property
    def _asking(self) -> Asking:
        from app.screens.asking import Asking

        return Asking(self, self._desk, self.jobs)

    # ------------------------------------------------------------ start and end

    def get_default_screen(self) -> Screen[Any]:
        return self.fleet

    def on_mount(self) -> None:
        self._take(self._desk.known)
        self._show_header()
        self.call_after_refresh(self._begin)
        self.set_interval(1.0, self._second)
        self.set_interval(60.0, self.fleet.list.redraw)

    def _begin(self) -> None:
        """The first frame stands: now load what connects, and look."""
        self._errand(self._open())

    async def _open(self) -> None:
        await self._desk.warm()
        await self._join()
        self.set_interval(JOIN_S, lambda: self._errand(self._join()))
        self.set_interval(self._refresh_s, self._refresh_all)
        self._refresh_all()

    @property
    def failure(self) -> Exception | None:
        """The defect that ended the program, where one did."""
        return self._exception

    def _fatal_error(self) -> None:
        """Textual's own prints every local of the traceback, passwords too (FACTS 8). `opening` says it in one line."""
        if os.environ.get("MODOSERU_DEBUG"):
            super()._fatal_error()
        else:
            self._close_messages_no_wait()

    async def on_unmount(self) -> None:
        for handle in (self._frame, self._resting):
            if handle is not None:
                handle.cancel()
        await self.jobs.detach()
        for task in self._errands:
            task.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)

    def _errand(self, work: Coroutine[Any, Any, None], site: str = "", kind: str = "check") -> None:
        """Do `work` beside the screens; what fails in it becomes a notice."""
        task = asyncio.create_task(self._reported(work, site or self._desk.name, kind))
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _reported(self, work: Coroutine[Any, Any, None], site: str, kind: str) -> None:
        try:
            await work
        except ModoseruError as error:
            self.jobs.notice(site, kind, error)
        except Exception as error:
            # A defect becomes a sentence: the operations beside it go on, and so does the screen.
            self.jobs.notice(site, kind, defect(error))

    async def _join(self) -> None:
        """Follow the operations that run and that nobody here follows yet."""
        for operation in await self._desk.operations(running=True):
            if (site := self._by_name.get(operation.site)) is not None:
                self.jobs.follow(site, operation)

    # ------------------------------------------------------------ what is known

    @property
    def looked_at_all(self) -> bool:
        """Whether every site that was to be looked at has been."""
        done, total = self._looking
        return 0 < total <= done

    def _take(self, statuses: Sequence[SiteStatus]) -> None:
        """Make `statuses` what is known of their sites."""
        rows = []
        for status in statuses:
            self._statuses[status.name] = status
            self._tally.put(status)
            site = self._by_name[status.name]
            slots = site.policy.server_keep
            rows.append(FleetRow(status=status, tags=site.tags, cover=site.cover, slots=slots))
        self.fleet.list.put(rows)
        if self._resting is None and any(status.name == self.fleet.site_name for status in statuses):
            self._show_site()

    def _show_header(self) -> None:
        done, total = self._looking
        self.fleet.header.show(self._tally, (done, total) if done < total else None, self._clock())

    def news(self, name: str) -> SiteNews:
        site = self._by_name[name]
        return SiteNews(site, self._statuses[name], self._histories.get(name, ()), self._desk.host(site))

    def _show_site(self) -> None:
        name = self.fleet.site_name
        self.fleet.show(self.news(name) if name is not None else None)
        for screen in self.screen_stack:
            if isinstance(screen, AboutSite):
                name = screen.site_name
                screen.show(self.news(name) if name is not None else None)

    @on(FleetList.Highlighted)
    def _other_site(self) -> None:
        """The pane follows when the cursor rests: a key that is held down paints the list alone."""
        if self._resting is not None:
            self._resting.cancel()
        self._resting = asyncio.get_running_loop().call_later(REST_S, self.call_later, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._show_site()
        name = self.fleet.site_name
        if name is not None and name not in self._histories:
            self._errand(self._load_history(name))

    async def _load_history(self, name: str) -> None:
        before, found = self._histories.get(name, ()), tuple(await self._desk.operations(name))
        self._histories[name] = found
        if found != before:
            self._show_site()

    def _refresh_all(self) -> None:
        if self._looking[0] >= self._looking[1]:
            self._errand(self._look(self._desk.sites))

    async def _look(self, sites: Sequence[Site]) -> None:
        """Look at `sites` now; results reach the screen with the next frame."""
        if self._looking[0] >= self._looking[1]:
            self._looking = [0, 0]
        self._looking[1] += len(sites)
        missing = {site.name for site in sites}
        try:
            async with aclosing(self._desk.check(sites)) as found:
                async for status in found:
                    self._fresh[status.name] = status
                    if status.name in missing:  # a registry that took its time is a second piece of news
                        missing.remove(status.name)
                        self._looking[0] += 1
                    self._soon()
        finally:
            self._looking[0] += len(missing)
            self._soon()

    # ------------------------------------------------------------ repainting

    def _soon(self) -> None:
        """Repaint with the next frame."""
        if self._frame is None and self.is_running:
            wait = max(0.001, self._drawn + FRAME_S - monotonic())
            self._frame = asyncio.get_running_loop().call_later(wait, self.call_later, self._draw_frame)

    def _draw_frame(self) -> None:
        self._frame, self._drawn = None, monotonic()
        fresh, self._fresh = self._fresh, {}
        self._take([status for name, status in fresh.items() if name in self._by_name])
        if self._drawn - self._counted > COUNT_S:
            self._counted = self._drawn
            self._show_header()
        self.fleet.count()
        if self._jobs_moved:
            self._jobs_moved = False
            self._show_jobs()

    def _show_jobs(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, AboutSite):
                screen.strip.show(self.jobs.all)
            elif isinstance(screen, Dialog):
                screen.renew()

    def _second(self) -> None:
        self._show_header()
        if self.jobs.running:
            self._show_jobs()

    def _job_moved(self) -> None:
        self._jobs_moved = True
        self._soon()

    def _job_ended(self, job: Job) -> None:
        if (told := self._cancelling.pop(job.operation or "", None)) is not None:
            for screen in self.screen_stack:
                for line in screen.query(KeyLine):
                    line.clear_told(told)
        if (site := self._by_name.get(job.site)) is not None and self.is_running:
            self._errand(self._load_history(site.name))
            self._errand(self._look([site]))

    # ------------------------------------------------------------ keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In read-only mode what changes a site is not bound at all."""
        if action == "perform" and parameters and parameters[0] in BY_ID:
            return allowed(BY_ID[str(parameters[0])], read_only=self._desk.read_only)
        return super().check_action(action, parameters)

    def on_key(self, event: events.Key) -> None:
        """A key that nothing took: with an IME on it is a wide one, and never acts.

        One that was typed before a place to write had the focus comes here too, and belongs there.
        """
        if isinstance(self.focused, Input) and event.is_printable and event.character is not None:
            self.focused.insert_text_at_cursor(event.character)
            return
        for line in self.screen.query(KeyLine):
            if event.character is not None and unicodedata.east_asian_width(event.character[0]) in "WFH":
                line.tell(tr("Switch to half-width input"))
            else:
                line.clear_told()

    def tell(self, text: str, *, alarm: bool = True) -> None:
        """Say a sentence on the last line of the screen, until the next key."""
        for screen in self.screen_stack[-1:]:
            for line in screen.query(KeyLine):
                line.tell(text, alarm=alarm)

    @on(KeyLine.Pressed)
    async def _pressed(self, event: KeyLine.Pressed) -> None:
        if event.action:
            await self.run_action(f"app.perform('{event.action}')")

    @on(FleetList.Opened)
    def _opened_site(self) -> None:
        self.action_perform("open")

    def action_perform(self, id_: str) -> None:
        """The one way from a key, a click or the palette to an action; the site is the one under the cursor now."""
        action, screen = BY_ID[id_], self.screen
        if not allowed(action, read_only=self._desk.read_only):
            self.tell(tr("Read-only: what changes a site is not bound."))
            return
        if isinstance(screen, (AboutSite, Dialog)) and screen.act(id_):
            return
        if (do := self.of_program.get(id_)) is not None:
            do()
            return
        site = self._by_name.get(screen.site_name or "") if isinstance(screen, AboutSite) else None
        if site is None or id_ in OF_SCREENS:
            return
        if not allowed(action, read_only=site.read_only):
            self.tell(tr("{site} is read-only: its file in sites.d says so", site=site.name))
        else:
            self.of_site[id_](site)

    def _do_open(self, site: Site) -> None:
        from app.screens.details import Details

        if not isinstance(self.screen, Details):
            self.push_screen(Details(self.fleet.scene, self.news(site.name)))
            self._job_moved()

    def _do_check(self, site: Site) -> None:
        self._errand(self._look([site]))
        self.tell(tr("Looking at {site}…", site=site.name), alarm=False)

    def _do_diff(self, site: Site) -> None:
        self._errand(self._compare(site), site.name, "diff")

    async def _compare(self, site: Site) -> None:
        """The screen opens with the key, and fills as the server answers; closing it ends the comparing."""
        from app.screens.difference import WhatChanged

        screen, comparing = WhatChanged(site.name, self._clock, self._desk.zone), asyncio.current_task()

        def left(_: None) -> None:
            if comparing is not None:
                comparing.cancel()

        await self.push_screen(screen, left)
        try:
            async with aclosing(self._desk.diff(site)) as told:
                async for one in told:
                    screen.take(one)
        except ModoseruError as error:
            screen.refuse(error)

    def _do_refresh(self) -> None:
        self._refresh_all()

    @cached_property
    def _monthly(self) -> Monthly:
        from app.monthly import Monthly

        return Monthly(self._desk, self.jobs, lambda: list(self._statuses.values()), self._job_moved)

    def _do_month(self) -> None:
        from app.screens.month import Hand, Month

        def decide(row: Row, what: str) -> None:
            self._errand(self._decide(row, what), kind="update")

        hand = Hand(decide, self._send_or_stop)
        self.push_screen(Month(self._monthly, hand, self._clock, read_only=self._desk.read_only))
        self._errand(self._monthly.load(), kind="update")

    async def _decide(self, row: Row, what: str) -> None:
        if held := await self._monthly.decided(self._asking, row, what):
            self._take(await self._desk.known_again(held))
            self._job_moved()

    def _send_or_stop(self) -> None:
        if self._monthly.running:
            self._monthly.stop()
        else:
            self._errand(self._asking.waves(self._monthly), kind="update")

    def _do_dismiss(self) -> None:
        self.jobs.dismiss()

    def _do_help(self) -> None:
        from app.screens.help import Help

        self.push_screen(Help(read_only=self._desk.read_only))

    def _do_palette(self) -> None:
        from app.screens.palette import Offer, Palette

        def found(offer: Offer | None) -> None:
            if offer is not None and offer.action is not None:
                self.action_perform(offer.action)
            elif offer is not None and offer.site is not None:
                self.fleet.list.go_to(offer.site)

        if isinstance(self.screen, AboutSite):
            self.push_screen(Palette(self.screen), found)

    def _do_theme(self) -> None:
        self.theme = THEMES[(THEMES.index(self.theme) + 1) % len(THEMES)] if self.theme in THEMES else THEMES[0]
        self.call_after_refresh(self._repaint_all)

    def _repaint_all(self) -> None:
        self.fleet.list.redraw()
        self._show_header()
        self._show_site()
        self._show_jobs()

    def _do_copy(self) -> None:
        if isinstance(self.screen, (AboutSite, Dialog)) and (text := self.screen.plain):
            self.copy_to_clipboard(text)
            self.tell(tr("Copied"), alarm=False)

    def _do_quit(self) -> None:
        self._errand(self._quit())

    async def action_quit(self) -> None:
        """Textual's own ctrl+q asks in the same way."""
        self._do_quit()

    def action_help_quit(self) -> None:
        self.tell(tr("q quits"), alarm=False)

    async def _quit(self) -> None:
        if await self._asking.leave():
            self.exit()

    # ------------------------------------------------------------ operations

    def _do_backup(self, site: Site) -> None:
        self._errand(self._asking.backup(site), site.name, "backup")

    def _do_vault(self, site: Site) -> None:
        self._errand(self._asking.vault(site), site.name, "vault")

    def _do_drill(self, site: Site) -> None:
        self._errand(self._asking.drill(site), site.name, "drill")

    def _do_off_site(self, site: Site) -> None:
        if any(one.tier == "vault" for one in self._statuses[site.name].generations):
            self._errand(self._drill_off_site(site), site.name, "drill")
        else:
            self.tell(tr("Nothing of {site} is known to be in the vault; V copies it there", site=site.name))

    async def _drill_off_site(self, site: Site) -> None:
        """What ends on a standby is news of this site."""
        await self._asking.drill_off_site(site)
        if site.policy.standby is not None:
            await self._look([site])

    def _do_verify(self, site: Site) -> None:
        self._errand(self._asking.verify(site), site.name, "verify")

    def _do_restore(self, site: Site) -> None:
        self._errand(self._restore(site), site.name, "restore")

    async def _restore(self, site: Site) -> None:
        """Where no generation is known to be good, there is a choice among the others: never a dead end."""
        try:
            await self._asking.restore(site)
        except ModoseruError as error:
            if error.code != "no_generation" or not self._statuses[site.name].generations:
                raise
            self.jobs.notice(site.name, "restore", error)
            self._do_choose(site)

    def _do_post(self, site: Site) -> None:
        self._errand(self._asking.post(site), site.name, "restore")

    def _do_undo(self, site: Site) -> None:
        self._errand(self._asking.undo(site), site.name, "undo")

    def _do_isolate(self, site: Site) -> None:
        isolated = self._statuses[site.name].isolated is not None
        self._errand(self._asking.isolate(site, isolated=isolated), site.name, "release" if isolated else "isolate")

    def _do_choose(self, site: Site) -> None:
        if (dialog := self._generations(site)) is not None:
            known = self._statuses[site.name].generations
            there, here = ([one.id for one in known if (one.tier == "vault") is off] for off in (True, False))
            self._errand(self._asking.chosen_restore(site, dialog, here, there), site.name, "restore")

    def _do_move(self, site: Site) -> None:
        if (dialog := self._generations(site, elsewhere=True)) is not None:
            self._errand(self._asking.move(site, dialog), site.name, "restore")

    def _generations(self, site: Site, *, elsewhere: bool = False) -> Generations | None:
        """The choice, of those in both tiers once; `elsewhere` among those that its server has. None where there is
        none, which is said."""
        from app.screens.generations import Generations

        status = self._statuses[site.name]
        known = {one.id: one for one in status.generations if one.tier != "vault" or not elsewhere}
        known |= {one.id: one for one in status.generations if one.tier != "vault"}
        if known:
            return Generations(site.name, list(known.values()), self._clock(), elsewhere=elsewhere)
        if status.generations:
            self.tell(tr("Only the vault has one: modoseru restore {site} --tier vault", site=site.name))
        elif status.verdict is Certainty.UNKNOWN:
            self.tell(tr("The generations of {site} are not known; c looks", site=site.name))
        else:
            self.tell(tr("{site} has no generation yet; b makes one", site=site.name))
        return None

    def _do_update(self, site: Site) -> None:
        from app.screens.updates import Updates

        status = self._statuses[site.name]
        if pending := status.updates:
            self._errand(self._asking.chosen_update(site, Updates(site.name, pending)), site.name, "update")
        elif pending is None:
            self.tell(tr("The updates of {site} are not known; c looks", site=site.name))
        else:
            self.tell(tr("{site} has no updates waiting", site=site.name))

    def _do_cancel(self, site: Site) -> None:
        job = self.jobs.of(site.name)
        if job is None or not job.running or job.operation is None:
            self.tell(tr("Nothing runs on {site}", site=site.name))
        else:
            self._errand(self._cancel(site, job, job.operation), site.name, job.kind)

    async def _cancel(self, site: Site, job: Job, operation: str) -> None:
        if (outcome := await self._asking.cancel(site, job, operation)) is not None and job.running:
            self._cancelling[operation] = outcome
            self.tell(outcome, alarm=False)

    def _do_log(self, site: Site) -> None:
        self._errand(self._show_log(site), site.name)

    async def _show_log(self, site: Site) -> None:
        """The log of the job that is shown, even of one that never began; else of the journal's last operation."""
        job = self.jobs.of(site.name)
        if known := [] if job else await self._desk.operations(site.name):
            job = Job.of(known[0], self._clock())
            for event in await self._desk.events(known[0].operation):
                job.apply(event)
        if job is not None:
            from app.screens.log import Log

            self.push_screen(Log(job, self._clock, self._desk.zone))
        else:
            self.tell(tr("Nothing has been done on {site} yet", site=site.name))
