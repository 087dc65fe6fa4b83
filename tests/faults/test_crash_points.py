"""A worker that is killed at a numbered system call: the site is wholly old or wholly new, and nobody has to help.

Of a whole restore every call of the switch and the check; of the operations every journalled line and one call of each
kind in each step; of a restore of a part, of another site, and of an update what differs. The full matrix is
`python -m tests.faults`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.ssh import Servers
from tests.faults.kills import Scenario, one_of_each
from tests.faults.points import Point
from tests.faults.scenarios import SCENARIOS
from tests.faults.site import FaultSite

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
WHOLE = SCENARIOS[0]
CHOSEN = [one for one in SCENARIOS if one.name != "restore afresh"]
"""A restore that links nothing dies at the same calls; it is in the full matrix."""
ITS_OWN = {"restore a post": ("switch",), "restore another site": ("rewrite",)}
"""Steps in which an operation does what no other one does; a restore of a part differs in its switch."""


def chosen(scenario: Scenario, points: list[Point]) -> list[Point]:
    wanted = list(one_of_each(points, thorough=scenario is WHOLE))
    if scenario.name == "update":
        # What its second item goes through while the first one stands, and its end.
        lines = [one for one in wanted if one.step == "update" and one.what == "journal"]
        return lines[len(lines) // 2 :]
    if scenario.name in ITS_OWN:
        return [one for one in wanted if one.step in ITS_OWN[scenario.name] or one.what == "incoming"]
    if scenario.process != "work":
        return [
            one for one in wanted if one.call in ("fsync", "rename", "renameat2", "utimensat") or one.what == "stage"
        ]
    if scenario.verb == WHOLE.verb and scenario is not WHOLE:
        return [one for one in wanted if one.step == "switch" and one.call not in ("chmod", "utimensat", "recvfrom")]
    return wanted


@pytest.mark.parametrize("scenario", CHOSEN, ids=lambda scenario: scenario.id)
async def test_a_process_killed_at_any_call_leaves_the_site_old_or_new_and_nothing_else(
    fault_site: Callable[..., FaultSite], servers: Servers, scenario: Scenario
) -> None:
    trial = scenario.trial(fault_site(scenario.site), servers, scenario)
    points = chosen(scenario, await trial.count())
    wrong = []
    for point in points:
        death = await trial.die_at(point)
        if death.wrong:
            wrong.append(f"{point}: {death.wrong}")
            await trial.begin_again()
    print(f"{scenario.name}: {len(points)} crash points")
    assert points
    assert not wrong, "\n".join(wrong)
    assert not await trial.works()
