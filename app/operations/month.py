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
    from app.operations.deciding import Decided, Item
    from app.operations.intent import Intent
    from app.operations.update import Pending
    from app.session import Session
    from backends.journal_updates import Decision

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
    only: tuple[str, ...] = ()
    """Slugs: nothing else is sent out."""
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
    decided = await deciding.known(session)
    chosen = {one.name: of for one in pending if (of := tuple(_approved(decided, one, only)))}
    known = await session.journal.recall_all("inspection", Inspection)
    candidates = [_candidate(site, chosen[site.name], known) for site in sites if site.name in chosen]
    before = await progress(session)
    if before is None or before.whole or set(before.only) != set(only):
        now = dt.datetime.now(dt.UTC)
        found = waves.waves(candidates, session.fleet.settings.policy.wave_share)
        after = Waves(began=now, who=session.who, waves=found, only=tuple(only))
    else:
        after = _joined(before, [one.name for one in candidates], {site.name for site in session.fleet.sites})
    return Plan(
        progress=after,
        updates=chosen,
        unknown=tuple(one for one in pending if one.problem is not None),
        undecided=tuple(deciding.undecided(pending, decided)),
    )


async def run(session: Session, made: Plan, seat: Seat, stop: asyncio.Event | None = None) -> Result:
    """Updates what is left of `made`, wave by wave. `stop`: nothing more is begun, what runs is seen to its end.

    Raises here.Elsewhere where another process of this machine is at it.
    """
    busy = here.Elsewhere("elsewhere", "the month's updates are under way already", "modoseru operations")
    with here.locked(session, ".month", busy):
        return await _Run(session, made, seat, stop or asyncio.Event()).run()


def exit_code(result: Result, made: Plan) -> int:
    """0: all of it is applied. 1: something is left, was taken back, or is not known. 3: a site needs a hand. 130:
    cancelled."""
    codes = {Stopped.HAND: 3, Stopped.LEFT: 130, Stopped.CLOSED: 1}
    well = all(one.fate is Fate.DONE for one in result.progress.through.values())
    return codes.get(result.stopped, 0 if well and not result.halted and not made.unknown else 1)


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
            opened = [site for site in sites if self._is_open(site)]
            if not opened:
                now = dt.datetime.now(dt.UTC)
                times = [waves.next_time(site.policy, self._zone, now) for site in sites]
                return self._result(Stopped.CLOSED, min((one for one in times if one is not None), default=None))
            count = f"{len(opened)} {'site' if len(opened) == 1 else 'sites'}"
            self._seat.tell(f"wave {number + 1} of {len(self._progress.waves)}: {count}")
            ends = await asyncio.gather(*(self._one(site) for site in opened), return_exceptions=True)
            if (missing := self._progress.wave - len(self._progress.ended)) > 0:
                ended = (*self._progress.ended, *[dt.datetime.now(dt.UTC)] * missing)
                self._progress = msgspec.structs.replace(self._progress, ended=ended)
                await self._keep()
            for end in ends:
                if isinstance(end, BaseException):
                    raise end
            if self._hand:
                return self._result(Stopped.HAND)
            if self._stop.is_set():
                return self._result(Stopped.LEFT)
        return self._result(Stopped.THROUGH)

    def _is_open(self, site: Site) -> bool:
        return waves.may_update(site.policy, dt.datetime.now(dt.UTC).astimezone(self._zone))

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
        """The site's turn, once its server has room for it; the window may have closed by then."""
        server = self._servers.setdefault(site.account[:2], asyncio.Semaphore(self._policy.wave_per_server))
        async with server, self._turns:
            if self._stopping or not self._is_open(site):
                return
            try:
                through = await self._update(site)
            except BaseException:
                self._stop.set()  # a defect must not leave others beginning behind it
                raise
        if through is None:
            self._stop.set()  # what became of it is not known: the next wave would go on without its judgement
            return
        self._progress = msgspec.structs.replace(self._progress, through={**self._progress.through, site.name: through})
        await self._keep()

    @property
    def _stopping(self) -> bool:
        return self._stop.is_set() or self._hand

    async def _update(self, site: Site) -> Through | None:
        """What became of it; None where nobody knows yet, or where nothing was begun because it was stopped."""
        if not await self._followed(site):
            return None
        intent = await self._planned(site)
        if isinstance(intent, Through):
            return intent
        if self._stopping:
            return None
        ended = await self._seat.watch(site, guard.start(self._session, intent, confirmed=True))
        await self._halt(intent.updates)
        if _unseen(ended):
            return None
        if isinstance(ended, ModoseruError):
            await ledger.not_begun(self._session, site, intent.updates, ended)
            return Through(fate=Fate.FAILED, why=ended.message)
        self._hand = self._hand or ended.outcome is Outcome.NEEDS_HAND
        fate = Fate.DONE if ended.outcome is Outcome.DONE else Fate.FAILED
        return Through(fate=fate, operation=ended.operation, why=ended.detail)

    async def _followed(self, site: Site) -> bool:
        """An update that runs there already, begun before it was left or by somebody else, is seen to its end first."""
        for running in await self._session.journal.operations(site.name, running=True):
            if running.kind == "update":
                ended = await self._seat.watch(site, guard.follow(self._session, site, running.operation))
                if _unseen(ended):
                    return False
                await self._halt(self._made.updates.get(site.name, ()))
        return True

    async def _planned(self, site: Site) -> Intent | Through:
        chosen: Sequence[Update] = self._made.updates.get(site.name, ())
        try:
            guard.writable(self._session, site, "nothing is updated")
            pending = update.Pending(name=site.name, updates=await update.pending(self._session, site))
            while chosen := await self._chosen(pending):
                intent = await update.plan_of(self._session, site, chosen, pending.updates or ())
                if chosen == await self._chosen(pending):  # what was halted meanwhile is left out
                    return intent
        except ModoseruError as error:
            await ledger.not_begun(self._session, site, chosen, error)
            return Through(fate=Fate.FAILED, why=error.message)
        return Through(fate=Fate.DONE, why="nothing of what is approved is pending there")

    async def _chosen(self, pending: Pending) -> list[Update]:
        """What of a site is approved at this moment; of one that was planned, no more than that."""
        found = _approved(await deciding.known(self._session), pending, self._progress.only)
        planned = {(one.kind, one.slug) for one in self._made.updates.get(pending.name, ())}
        return [one for one in found if not planned or (one.kind, one.slug) in planned]

    async def _halt(self, tried: Sequence[Update]) -> None:
        for one in tried:
            if halted := await deciding.halt_where_due(self._session, one, self._policy.wave_tolerated):
                self._halted.append(halted)
                self._seat.tell(f"{one.slug} {one.to or ''} is halted everywhere: {halted.note}")

    async def _keep(self) -> None:
        await self._session.journal.remember("", NAME, self._progress, dt.datetime.now(dt.UTC))
        self._seat.moved(self._progress)


def _unseen(ended: Operation | ModoseruError) -> bool:
    """Whether it goes on unseen, or was cancelled: begun again it is this site's turn once more."""
    if isinstance(ended, ModoseruError):
        return ended.code in {"lost_sight", "left_running", "cancelled"}
    return ended.outcome in {None, Outcome.CANCELLED}


def _approved(decided: Decided, pending: Pending, only: Sequence[str]) -> list[Update]:
    return [one for one in deciding.approved(decided, pending) if not only or one.slug in only]


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
