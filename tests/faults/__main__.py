"""`python -m tests.faults [WORD…]`: the full matrix of crash points, or that of the scenarios that a word names."""

from __future__ import annotations

import asyncio
import sys
import time

from backends.ssh import Servers
from tests.faults.kills import Death, Scenario, every
from tests.faults.scenarios import SCENARIOS
from tests.lab import Lab


async def matrix(lab: Lab, scenario: Scenario, number: int) -> tuple[int, list[Death]]:
    wrong = []
    async with Servers() as servers:
        site = scenario.site(lab, lab.site("kogyo.example"), f"f{number}.example").grow()
        trial = scenario.trial(site, servers, scenario)
        try:
            points = list(every(await trial.count()))
            for point in points:
                death = await trial.die_at(point)
                print("." if not death.wrong else "F", end="", flush=True)
                if death.wrong:
                    wrong.append(death)
                    print(f"\n{scenario.name}: {point}: {death.wrong}", flush=True)
                    await trial.begin_again()
            if last := await trial.works():
                wrong.append(Death(scenario.name, points[-1], "", f"the next operation: {last}"))
        finally:
            await trial.close()
    return len(points), wrong


def main() -> int:
    lab = Lab()
    words = sys.argv[1:]
    wanted = [one for one in SCENARIOS if not words or any(word in one.name for word in words)]
    started, count, wrong = time.monotonic(), 0, []
    with lab.layout.locked("session", 900):
        lab.up()
        for number, scenario in enumerate(wanted, 1):
            begun = time.monotonic()
            points, deaths = asyncio.run(matrix(lab, scenario, number))
            count += points
            wrong += deaths
            print(f"\n{scenario.name}: {points} points in {time.monotonic() - begun:.0f} s, {len(deaths)} wrong")
    for death in wrong:
        print(f"{death.scenario}: {death.point}: {death.wrong}")
    print(f"{count} crash points in {(time.monotonic() - started) / 60:.1f} min, {len(wrong)} wrong")
    return 1 if wrong else 0


sys.exit(main())
