"""What visitors see while a whole site is restored: `python -m tests.bench availability`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from backends.records import AnyEvent, Step
from tests.bench import whole
from tests.bench.ground import Ground, ground
from tests.bench.measure import FactRow
from tests.bench.visitors import Visits, visiting
from tests.operations.program import program_of

RATE = 10.0
SHARE = 0.3
"""Of what the idle site serves: a machine that is full of visitors says nothing about a restore."""
TRIED_FOR = 4.0


def rows(scale: float = 1.0, runs: int = 3) -> list[FactRow]:
    with ground(scale) as here:
        here.site.fill()
        time.sleep(3)
        generation = here.server.operation("snapshot", reason="weekly").end["generation"]
        return asyncio.run(_rows(here, generation, runs))


async def _rows(here: Ground, generation: str, runs: int) -> list[FactRow]:
    site = here.site.site
    with visiting(site, 0) as fast:
        await asyncio.sleep(TRIED_FOR)
    served = len(fast) / TRIED_FOR
    rate = min(RATE, SHARE * served)
    facts = []
    async with program_of(here.site.lab, here.operator()).session() as session:
        for run in range(runs):
            whole.disturb(here, run)
            with visiting(site, rate) as during:
                seen = await whole.restored(session, here, generation)
            with visiting(site, rate) as beside:
                await asyncio.sleep(max(3.0, seen.cost.wall))
            took = ", ".join(f"{name} {seconds:.1f}" for name, seconds in seen.steps.items())
            facts.append((f"restore {run + 1}, {seen.cost.wall:.2f} s", _told(during, switch_of(seen.events))))
            facts.append(("  its steps, s", took))
            facts.append(("  the same load, no restore", _told(beside, None)))
    return [
        FactRow(
            f"visitors during a whole restore ({here.shape}): {rate:.1f} pages a second, {served:.0f} when idle",
            facts,
            [
                "target: no failed request outside the switch, longest gap under 250 ms. A gap is the time between two",
                f"good pages, one every {1000 / rate:.0f} ms being asked for; a 503 in the switch lies in it.",
            ],
        )
    ]


def switch_of(events: Sequence[AnyEvent]) -> tuple[float, float]:
    """When the step `switch` began, and when the one after it did."""
    steps = [event for event in events if isinstance(event, Step)]
    place = next(number for number, step in enumerate(steps) if step.name == "switch")
    after = steps[place + 1].at if place + 1 < len(steps) else events[-1].at
    return steps[place].at.timestamp(), after.timestamp()


def _told(visits: Visits, switch: tuple[float, float] | None) -> str:
    failed = visits.failed()
    inside = [one for one in failed if switch and one.answered >= switch[0] and one.asked <= switch[1]]
    kinds = sorted({one.status for one in failed})
    text = f"{len(visits)} pages, failed outside the switch {len(failed) - len(inside)}"
    if switch:
        text += f", in it {len(inside)} ({1000 * (switch[1] - switch[0]):.0f} ms)"
    if kinds:
        text += f", status {' '.join(map(str, kinds))}"
    gap, began = visits.gap()
    text += f"; longest gap {1000 * gap:.0f} ms"
    if switch:
        text += f" from {began - switch[0]:+.1f} s of the switch"
    return f"{text}, slowest page {1000 * visits.slowest():.0f} ms"
