"""The month's updates as the dashboard knows them: what is pending and decided, and the waves that it sends out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from app.desk import Desk
from app.jobs import Jobs
from app.operations import deciding
from app.operations.deciding import Item
from app.operations.month import Seat, Stopped
from app.operations.update import Pending
from backends.journal_updates import Verdict
from backends.records import SiteStatus
from widgets.language import mark, tr, tr_n

if TYPE_CHECKING:
    from app.operations.deciding import Decided
    from app.operations.month import Plan, Result, Waves
    from app.screens.asking import Asking

ENDS = {
    Stopped.THROUGH: mark("the month's updates are through"),
    Stopped.CLOSED: mark("no site may be updated at this time"),
    Stopped.HAND: mark("a site needs a hand first: nothing more is begun"),
    Stopped.LEFT: mark("stopped; w goes on from there"),
}


class Row(NamedTuple):
    """An item of the fleet, or one site of it."""

    item: Item
    site: str | None = None

    @property
    def key(self) -> tuple[str, str, str | None, str | None]:
        return self.item.kind, self.item.slug, self.item.to, self.site


class Monthly:
    """Belongs to the program: the waves go on when their screen is closed. `changed` is told of every change."""

    def __init__(
        self, desk: Desk, jobs: Jobs, statuses: Callable[[], Sequence[SiteStatus]], changed: Callable[[], None]
    ) -> None:  # fmt: skip
        self._desk, self._jobs, self._statuses, self._changed = desk, jobs, statuses, changed
        self.known: Decided = {}
        self.progress: Waves | None = None
        self.said = ""
        """The last sentence about the waves."""
        self._stop: asyncio.Event | None = None

    @property
    def running(self) -> bool:
        """Whether this dashboard sends them out."""
        return self._stop is not None

    @property
    def unknown(self) -> int:
        """Of how many sites it is not known what is pending."""
        return sum(one.updates is None for one in self._statuses())

    def items(self) -> list[Item]:
        pending = [Pending(name=one.name, updates=one.updates) for one in self._statuses()]
        return deciding.items(pending, self.known)

    def held(self, item: Item) -> Iterator[tuple[str, str]]:
        """The sites that hold it, each with why."""
        for status in self._statuses():
            for one in status.updates or ():
                if (one.kind, one.slug, one.to) == (item.kind, item.slug, item.to) and one.held is not None:
                    yield status.name, one.held

    async def load(self) -> None:
        """What was decided and done by others too."""
        self.known, progress = await self._desk.month()
        if not self.running:
            self.progress = progress
        self._changed()

    async def decided(self, asking: Asking, row: Row, what: str) -> tuple[str, ...]:
        """Asks for a note, and keeps what was decided; the names of the sites whose holds have changed."""
        item, sites = row.item, (row.site,) if row.site is not None else row.item.sites
        title = {
            "approve": tr("Approve {item}", item=f"{item.slug} {item.to or ''}"),
            "skip": tr("Skip {item}", item=f"{item.slug} {item.to or ''}"),
            "hold": tr("Hold {item}", item=item.slug),
            "let_go": tr("Let {item} go", item=item.slug),
        }[what]
        where = row.site or tr_n(
            "on {n} site, and where it comes up", "on {n} sites, and where it comes up", len(sites)
        )
        if what != "let_go" and (note := await asking.note(title, where)) is None:
            return ()
        known = [site for site in self._desk.sites if site.name in sites]
        if what == "let_go":
            await self._desk.let_go(item.slug, known, fleet=row.site is None)
        elif what == "hold":
            await self._desk.hold(item.slug, known, note or tr("held by an operator"))
        else:
            verdict = Verdict.APPROVED if what == "approve" else Verdict.SKIPPED
            await self._desk.decide(item, row.site, verdict, note or "")
        await self.load()
        return tuple(sites) if what in {"hold", "let_go"} else ()

    def stop(self) -> None:
        """Nothing more is begun; what runs is seen to its end."""
        if self._stop is not None:
            self._stop.set()
            self._say(tr("stopping: what runs is seen to its end"))

    async def run(self, plan: Plan) -> None:
        """Sends out what is left of `plan`. Raises what the desk raises."""
        self._stop = asyncio.Event()
        try:
            result = await self._desk.run_month(plan, Seat(self._jobs.watch, self._say, self._moved), self._stop)
            self._conclude(result)
        finally:
            self._stop = None
            await self.load()

    def _conclude(self, result: Result) -> None:
        self.progress = result.progress
        until = f" · {result.until.astimezone(self._desk.zone):%Y-%m-%d %H:%M}" if result.until else ""
        self._say(f"{tr(ENDS[result.stopped])}{until}")

    def _say(self, sentence: str) -> None:
        self.said = sentence
        self._changed()

    def _moved(self, progress: Waves) -> None:
        self.progress = progress
        self._changed()
