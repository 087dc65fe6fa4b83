"""The month's updates over the fleet: what is approved goes to the canaries first, then to a tenth, then to the rest.

Each site's update is an operation of its own, judged and taken back alone; this only says whose turn it is. It can be
left at any moment: what is through stays through, and begun again it goes on with the same waves.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import zoneinfo
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from app import waves
from app.operations import deciding, guard, here, ledger, update
from app.waves import Candidate
from backends.records import AnyEvent, Inspection, ModoseruError, Moment, Operation, Outcome, Site, Update

if TYPE_CHECKING:
    from app.operations.deciding import Decision, Item
    from app.operations.update import Pending
    from app.session import Session

Watch = Callable[[Site, AsyncGenerator[AnyEvent]], Awaitable[Operation | ModoseruError]]
"""Follows one update to its end, where the operator sees it."""


class Seat(NamedTuple):
    """Where somebody sees how it goes."""

    watch: Watch
    tell: Callable[[str], None]
    """Is told one sentence: a wave begins, an update is halted."""
    moved: Callable[[Waves], None] = lambda _: None


AT_ONCE = 8
"""Sites updated together; of one server as many as the policy says."""
NAME = "month"
"""Under which the journal keeps how far it is; no site is called so: it stands where the site's name is empty."""


class Fate(StrEnum):
    """What became of a site in its wave."""

    DONE = "done"
    """What was approved for it was tried; what of it was put back is in the ledger."""
    FAILED = "failed"
    """Nothing was begun, or all of it was taken back."""
    RUNNING = "running"
    """It goes on there, unseen from here."""


class Through(Struct, frozen=True, kw_only=True):
    """A site whose turn is over."""

    fate: Fate
    operation: str | None = None
    why: str = ""


class Waves(Struct, frozen=True, kw_only=True):
    """How far the month is, as the journal keeps it."""

    began: Moment
    who: str
    waves: tuple[tuple[str, ...], ...]
    through: dict[str, Through] = {}
    ended: tuple[Moment, ...] = ()
    """When each wave was through."""

    @property
    def wave(self) -> int:
        """The first that is not through; their number where all are."""
        return next((i for i, names in enumerate(self.waves) if not set(names) <= set(self.through)), len(self.waves))

    @property
    def whole(self) -> bool:
        return self.wave == len(self.waves)


class Plan(Struct, frozen=True, kw_only=True):
    """Who gets what, and when; nothing was changed for it."""

    progress: Waves
    updates: dict[str, tuple[Update, ...]]
    """What is approved, by site."""
    unknown: tuple[Pending, ...]
    """Sites that could not be asked."""
    undecided: tuple[Item, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """The sites that are still to be updated."""
        return tuple(name for wave in self.progress.waves for name in wave if name not in self.progress.through)


class Stopped(StrEnum):
    """Why it is not going on."""

    THROUGH = "done"
    CLOSED = "closed"
    """No site of the wave may be updated at this time."""
    HAND = "needs_hand"
    """A site needs somebody first: nothing more is begun."""
    LEFT = "cancelled"


class Result(Struct, frozen=True, kw_only=True):
    stopped: Stopped
    progress: Waves
    halted: tuple[Decision, ...] = ()
    """Updates that were halted everywhere meanwhile."""
    until: Moment | None = None
    """From when on it may go on, where it may not now."""


async def progress(session: Session) -> Waves | None:
    """How far the last one is; None where there was none."""
    kept = await session.journal.recall("", NAME, Waves)
    return kept[0] if kept else None


async def plan(session: Session, sites: Sequence[Site], only: Sequence[str] = ()) -> Plan:
    """Asks every site. One that is under way keeps its waves; sites that are new to it join the last."""
    pending = await update.pending_of(session, sites)
    decisions = await session.journal.updates.decisions()
    chosen = {
        one.name: tuple(each for each in deciding.approved(decisions, one) if not only or each.slug in only)
        for one in pending
    }
    chosen = {name: of for name, of in chosen.items() if of}
    known = await session.journal.recall_all("inspection", Inspection)
    candidates = [_candidate(site, chosen[site.name], known) for site in sites if site.name in chosen]
    before = await progress(session)
    if before is None or before.whole:
        now = dt.datetime.now(dt.UTC)
        found = waves.waves(candidates, session.fleet.settings.policy.wave_share)
        after = Waves(began=now, who=session.who, waves=found)
    else:
        after = _joined(before, [one.name for one in candidates], {site.name for site in session.fleet.sites})
    return Plan(
        progress=after,
        updates=chosen,
        unknown=tuple(one for one in pending if one.problem is not None),
        undecided=tuple(deciding.undecided(pending, decisions)),
    )


async def run(session: Session, made: Plan, seat: Seat, stop: asyncio.Event | None = None) -> Result:
    """Updates what is left of `made`, wave by wave. `stop`: nothing more is begun, what runs is seen to its end.

    Raises here.Elsewhere where another process of this machine is at it.
    """
    busy = here.Elsewhere("elsewhere", "the month's updates are under way already", "modoseru operations")
    with here.locked(session, ".month", busy):
        return await _Run(session, made, seat, stop or asyncio.Event()).run()


def exit_code(result: Result) -> int:
    """0: all of it is applied. 1: something is left, or was taken back. 3: a site needs a hand. 130: cancelled."""
    codes = {Stopped.HAND: 3, Stopped.LEFT: 130, Stopped.CLOSED: 1}
    through = result.progress.through.values()
    return codes.get(result.stopped, 0 if all(one.fate is Fate.DONE for one in through) and not result.halted else 1)


class _Run:
    def __init__(self, session: Session, made: Plan, seat: Seat, stop: asyncio.Event) -> None:
        self._session, self._made, self._seat, self._stop = session, made, seat, stop
        self._policy = session.fleet.settings.policy
        self._zone = zoneinfo.ZoneInfo(session.fleet.settings.fleet.timezone)
        self._progress = made.progress
        self._halted: list[Decision] = []
        self._hand = False
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._servers: dict[tuple[str, int], asyncio.Semaphore] = {}

    async def run(self) -> Result:
        await self._keep()
        while not self._progress.whole:
            number = self._progress.wave
            left = [name for name in self._progress.waves[number] if name not in self._progress.through]
            if (until := await self._watched_until(number)) is not None:
                return self._result(Stopped.LEFT, until)
            sites = [self._session.fleet.site(name) for name in left]
            now = dt.datetime.now(dt.UTC).astimezone(self._zone)
            if (opened := [site for site in sites if waves.may_update(site.policy, now)]) != sites and not opened:
                times = [waves.next_time(site.policy, self._zone, now) for site in sites]
                return self._result(Stopped.CLOSED, min((one for one in times if one is not None), default=None))
            count = f"{len(opened)} {'site' if len(opened) == 1 else 'sites'}"
            self._seat.tell(f"wave {number + 1} of {len(self._progress.waves)}: {count}")
            await asyncio.gather(*(self._one(site) for site in opened))
            if self._hand:
                return self._result(Stopped.HAND)
            if self._stop.is_set():
                return self._result(Stopped.LEFT)
            if self._progress.wave > number:
                ended = (*self._progress.ended, dt.datetime.now(dt.UTC))
                self._progress = msgspec.structs.replace(self._progress, ended=ended)
                await self._keep()
        return self._result(Stopped.THROUGH)

    def _result(self, stopped: Stopped, until: dt.datetime | None = None) -> Result:
        return Result(stopped=stopped, progress=self._progress, halted=tuple(self._halted), until=until)

    async def _watched_until(self, number: int) -> dt.datetime | None:
        """Waits for as long as the policy has a wave watched; until when, where it was told to stop before."""
        if number == 0 or len(self._progress.ended) < number:
            return None
        until = self._progress.ended[number - 1] + dt.timedelta(seconds=waves.pause_s(self._policy.wave_pause))
        rest = (until - dt.datetime.now(dt.UTC)).total_seconds()
        if rest > 0:
            self._seat.tell(f"wave {number + 1} begins at {until.astimezone(self._zone):%H:%M}")
            try:
                await asyncio.wait_for(self._stop.wait(), rest)
            except TimeoutError:
                return None
        return until if self._stop.is_set() else None

    async def _one(self, site: Site) -> None:
        """The site's turn, once its server has room for it."""
        server = self._servers.setdefault(site.account[:2], asyncio.Semaphore(self._policy.wave_per_server))
        async with server, self._turns:
            if self._stop.is_set() or self._hand:
                return
            through = await self._update(site)
        self._progress = msgspec.structs.replace(self._progress, through={**self._progress.through, site.name: through})
        await self._keep()

    async def _update(self, site: Site) -> Through:
        for running in await self._session.journal.operations(site.name, running=True):
            if running.kind == "update":
                # Begun before it was left: it is this site's turn that goes on.
                return self._ended(await self._seat.watch(site, guard.follow(self._session, site, running.operation)))
        chosen: Sequence[Update] = self._made.updates.get(site.name, ())
        try:
            guard.writable(self._session, site, "nothing is updated")
            decisions = await self._session.journal.updates.decisions()
            wanted = {(one.kind, one.slug) for one in chosen}
            pending = update.Pending(name=site.name, updates=await update.pending(self._session, site))
            chosen = [one for one in deciding.approved(decisions, pending) if (one.kind, one.slug) in wanted]
            if not chosen:
                return Through(fate=Fate.DONE, why="nothing of what is approved is pending there")
            slugs = [one.slug for one in chosen]
            intent = await update.plan(self._session, site, slugs, pending.updates)
        except ModoseruError as error:
            await ledger.not_begun(self._session, site, chosen, error)
            return Through(fate=Fate.FAILED, why=error.message)
        ended = await self._seat.watch(site, guard.start(self._session, intent, confirmed=True))
        if isinstance(ended, ModoseruError) and ended.code not in {"lost_sight", "left_running"}:
            await ledger.not_begun(self._session, site, chosen, ended)
        through = self._ended(ended)
        for one in chosen:
            if halted := await deciding.halt_where_due(self._session, one, self._policy.wave_tolerated):
                self._halted.append(halted)
                self._seat.tell(f"{one.slug} {one.to or ''} is halted everywhere: {halted.note}")
        return through

    def _ended(self, ended: Operation | ModoseruError) -> Through:
        if isinstance(ended, ModoseruError):
            unseen = ended.code in {"lost_sight", "left_running"}
            return Through(fate=Fate.RUNNING if unseen else Fate.FAILED, why=ended.message)
        self._hand = self._hand or ended.outcome is Outcome.NEEDS_HAND
        fate = Fate.DONE if ended.outcome is Outcome.DONE else Fate.FAILED
        return Through(fate=fate, operation=ended.operation, why=ended.detail)

    async def _keep(self) -> None:
        await self._session.journal.remember("", NAME, self._progress, dt.datetime.now(dt.UTC))
        self._seat.moved(self._progress)


def _candidate(site: Site, chosen: Sequence[Update], known: dict[str, tuple[Inspection, dt.datetime]]) -> Candidate:
    seen = known[site.name][0] if site.name in known else None
    return Candidate(
        name=site.name,
        tags=site.tags,
        php=seen.php_web or seen.php_cli if seen else None,
        core=seen.wordpress if seen else None,
        items=tuple((one.kind, one.slug) for one in chosen),
    )


def _joined(before: Waves, names: Sequence[str], fleet: Collection[str]) -> Waves:
    """What is under way: the sites that were not part of it join its last wave, those that left the fleet leave it."""
    kept = [tuple(name for name in wave if name in fleet) for wave in before.waves]
    new = tuple(sorted(set(names) - {name for wave in kept for name in wave}))
    return msgspec.structs.replace(before, waves=(*kept[:-1], (*kept[-1], *new)))
