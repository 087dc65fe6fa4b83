"""One operation killed at one point: how it is asked for, what must hold afterwards, and the way back to the start."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from backends.agent.client import Agent, AgentError, Launched
from backends.records import Asked, Outcome
from backends.ssh import Refused, Servers
from tests.agent.small import Look, carry_out, follow, is_right, summary_of, verify
from tests.faults.points import Kind, Point, Tracer
from tests.faults.site import FaultSite, Kept, Looks

EVERY_MOST = 12
"""Of calls that are made hundreds of times in a row on files that are alike, so many are points of the full matrix."""
TRIES = 3
"""So often a point is looked for that a second run did not come to."""


class Death(NamedTuple):
    """What came of one kill; `wrong` is empty where everything held."""

    scenario: str
    point: Point
    outcome: str
    wrong: str


class Trial:
    """One scenario on a site of its own: counted once, then killed as often as wanted."""

    def __init__(self, site: FaultSite, servers: Servers, scenario: Scenario) -> None:
        self.site, self.scenario, self._servers = site, scenario, servers
        self.tracer = Tracer(site, scenario.process)
        self.agent: Agent = site.agent(servers, php=str(self.tracer.php))
        self.request = dict(scenario.request)
        self.old = self.new = Looks({}, {})
        self.vault: dict[str, str] = {}
        self._kept: Kept | None = None

    async def count(self) -> list[Point]:
        """Gets the site ready; carries the operation out once, and goes back."""
        await self._get_ready()
        self.old = await self._looks()
        await self._make_work()
        self.tracer.watch()
        done = await carry_out(self.agent, self.scenario.verb, **self.request)
        points = await asyncio.to_thread(self.tracer.points)
        self.new = await self._looks()
        if self.scenario.switches:
            assert done.outcome is Outcome.DONE, done.end
            assert self.old != self.new
            await self._back()
        self.vault = await asyncio.to_thread(self.site.vault)
        self._kept = await asyncio.to_thread(self.site.keep, "start")
        return points

    async def begin_again(self) -> None:
        """Puts everything back after something went wrong, so that the next point is judged for itself."""
        assert self._kept is not None
        await asyncio.to_thread(self.site.kill)
        await asyncio.to_thread(self.site.put_back, self._kept)
        self.vault = await asyncio.to_thread(self.site.vault)

    async def die_at(self, point: Point) -> Death:
        """Kills the operation there, recovers, looks at everything."""
        wanted = point
        for _ in range(TRIES):
            reached, outcome, wrong = await self._die_at(wanted)
            if reached or wrong:
                break
            # The database's answers come in more or fewer pieces each time.
            same = [one for one in await asyncio.to_thread(self.tracer.points) if one.kind == point.kind]
            wanted = min(same, key=lambda one: abs(one.number - point.number), default=point)
        return Death(self.scenario.name, point, outcome, wrong or ("" if reached else "the point was not reached"))

    async def _die_at(self, point: Point) -> tuple[bool, str, str]:
        """Whether the point was reached, the outcome, and what is wrong."""
        reached, outcome = False, ""
        await self._make_work()
        self.tracer.kill_at(point)
        try:
            operation = await self._launch()
            reached = await asyncio.to_thread(self.tracer.killed)
            # A child that outlives the worker holds the lock until it is through.
            await self._followed(operation, look=lambda _: None)
            outcome = await self._settled(operation, point.number % 2 == 0)
            return reached, outcome, await self._what_is_wrong(outcome, operation)
        except (AssertionError, AgentError, TimeoutError) as problem:
            return reached, outcome, f"{type(problem).__name__}: {problem}"

    async def meet(self, point: Point, begin: Callable[[], None], end: Callable[[], None] = lambda: None) -> Death:
        """The worker stands still there while something begins, and works on; when it is through, that ends."""
        await self._make_work()
        self.tracer.stop_at(point)
        launched = asyncio.create_task(self._launch())
        try:
            await asyncio.to_thread(self.tracer.await_stop)
            await asyncio.to_thread(begin)
        finally:
            self.tracer.go_on()
        try:
            operation = await launched
            await self._followed(operation)
        finally:
            await asyncio.to_thread(end)
        # On a full disk no answer could be left either.
        await self._followed(operation)
        outcome = await self._settled(operation, keep=True)
        return Death(self.scenario.name, point, outcome, await self._what_is_wrong(outcome, operation))

    async def works(self) -> str:
        """What is wrong with the operation that comes after all the others; empty where nothing is."""
        await self._make_work()
        done = await carry_out(self.agent, self.scenario.verb, **self.request)
        if self.scenario.switches:
            if done.outcome is not Outcome.DONE:
                return str(done.end)
            return (await self._looks()).differs(self.new)
        return await self._what_is_wrong(done.outcome.value, done.operation)

    async def close(self) -> None:
        self.tracer.remove()
        await asyncio.to_thread(self.site.remove)

    # ------------------------------------------------------------ inside

    async def _get_ready(self) -> None:
        """Makes a generation and ruins the site."""
        first = await carry_out(self.agent, "snapshot", reason="hand")
        assert first.outcome is Outcome.DONE, first.end
        await asyncio.to_thread(self.site.ruin)
        if self.scenario.verb in ("restore", "drill"):
            self.request["generation"] = first.end.generation
        if self.scenario.restored:
            # The first one makes excluded paths those of the ruined site, in both of the states.
            done = await carry_out(self.agent, "restore", generation=first.end.generation, only="all")
            assert done.outcome is Outcome.DONE, done.end

    async def _make_work(self) -> None:
        """A backup of what did not change makes no pack, and calls less of the system."""
        if self.scenario.verb == "snapshot":
            await asyncio.to_thread(self.site.write, "wp-content/uploads/new.bin", os.urandom(20_000))
            self.old = await self._looks()

    async def _looks(self) -> Looks:
        return await asyncio.to_thread(self.site.looks)

    async def _launch(self) -> str:
        """Answers what is asked; the operation's id, also where it died before it said so, or the answer was cut."""
        before = {path.name for path in (self.site.state / "ops").glob("2*")}
        with contextlib.suppress(AgentError, Refused):
            async with contextlib.aclosing(self.agent.launch(self.scenario.verb, self.request)) as lines:
                operation = ""
                async for line in lines:
                    if isinstance(line, Launched):
                        operation = line.operation
                    elif isinstance(line, Asked):
                        await self.agent.answer(operation, line.number, keep=True, detail="right")
        (new,) = {path.name for path in (self.site.state / "ops").glob("2*")} - before
        return new

    async def _followed(self, operation: str, look: Look = is_right) -> None:
        """To its end, where nobody follows it any more."""
        with contextlib.suppress(AgentError):
            await follow(self.agent, operation, look=look)

    async def _settled(self, operation: str, keep: bool) -> str:
        """Recovers; what waits for an answer gets one or the other."""
        await self.agent.recover()
        (found,) = [one for one in await self.agent.operations() if one.operation == operation]
        if found.state == "orphaned" and found.started is None:
            return "never began"
        if found.state == "waiting":
            if keep:
                ended = await follow(self.agent, operation, look=is_right)
            else:
                await self.agent.cancel(operation)
                reset: Callable[[Asked], tuple[bool, str] | None] = lambda one: (  # noqa: E731
                    is_right(one) if one.subject == "reset" else None
                )
                ended = await follow(self.agent, operation, look=reset)
            return ended.outcome.value
        assert found.state == "finished", f"still {found.state}"
        assert found.outcome is not None
        return found.outcome.value

    async def _wanted(self, outcome: str, operation: str) -> Looks:
        """What the site is to be after that word of the operation."""
        return self.new if self.scenario.switches and outcome == "done" else self.old

    async def _what_is_wrong(self, outcome: str, operation: str) -> str:
        looks = await self._looks()
        wanted = await self._wanted(outcome, operation)
        if differs := looks.differs(wanted):
            half = looks not in (self.old, self.new)
            return f"the site is {'neither old nor new' if half else 'not what was said'} ({outcome}): {differs}"
        if litter := await asyncio.to_thread(self.site.litter):
            return f"left behind ({outcome}): {litter[:4]}"
        if outcome not in ("done", "rolled_back", "cancelled", "never began"):
            return f"ended {outcome}"
        if self.scenario.switches and outcome == "done":
            await self._back()
        return await self._what_is_wrong_with_generations()

    async def _what_is_wrong_with_generations(self) -> str:
        vault = await asyncio.to_thread(self.site.vault)
        changed = [name for name, digest in self.vault.items() if vault.get(name) != digest]
        if changed:
            return f"generations changed: {changed[:4]}"
        known = set(self.site.generations())
        if known != {one.id for one in (await self.agent.generations()).generations}:
            return "what is there and what is listed differ"
        needed = {f"packs/{pack['id']}.tar" for one in known for pack in summary_of(self.site, one)["packs"]}
        if needed != {name for name in vault if name.startswith("packs/")}:
            return "packs are missing, or nobody's"
        fresh = {name.split("/")[1] for name in vault.keys() - self.vault.keys() if name.startswith("generations/")}
        for generation in sorted(fresh):
            if (found := await verify(self.agent, generation)).outcome != "ok":
                return f"the new generation is damaged: {found.problems[:2]}"
        self.vault = vault
        return ""

    async def _back(self) -> None:
        """The same operation's opposite: also the proof that the next operation works."""
        story = await carry_out(self.agent, "undo")
        assert story.outcome is Outcome.DONE, story.end
        differs = (await self._looks()).differs(self.old)
        assert not differs, f"after undo {differs}"


@dataclass(frozen=True)
class Scenario:
    """An operation on the ruined site (`restored`: on the one that a restore made good) and what it asks for."""

    name: str
    verb: str
    request: dict[str, Any] = field(default_factory=dict)
    restored: bool = False
    process: str = "work"
    """The agent's process that is killed, by its verb."""
    site: type[FaultSite] = FaultSite
    trial: type[Trial] = Trial

    @property
    def switches(self) -> bool:
        return self.verb in ("restore", "undo", "update", "isolate")

    @property
    def id(self) -> str:
        return self.name.replace(" ", "-")


def one_of_each(points: Iterable[Point], *, thorough: bool) -> Iterator[Point]:
    """Every journalled line (`thorough`: all of switch and check), and the middle one of each other kind in a step."""
    for (step, _, what), alike in by_kind(points):
        if what == "memory" and not thorough:
            continue  # It follows a line of the journal at once.
        every_one = what == "journal" or (thorough and step in ("switch", "check"))
        yield from alike if every_one else [alike[len(alike) // 2]]


def every(points: Iterable[Point]) -> Iterator[Point]:
    for _, alike in by_kind(points):
        step = max(1.0, (len(alike) - 1) / (EVERY_MOST - 1))
        yield from (alike[round(number * step)] for number in range(min(EVERY_MOST, len(alike))))


def by_kind(points: Iterable[Point]) -> Iterator[tuple[Kind, list[Point]]]:
    for kind, alike in groupby(sorted(points, key=lambda point: point.kind), key=lambda point: point.kind):
        yield kind, list(alike)
