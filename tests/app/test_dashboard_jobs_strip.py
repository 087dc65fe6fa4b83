"""What went wrong is told whole where there is room, and never at the fleet's cost."""

from __future__ import annotations

import pytest

from app.jobs import Jobs
from backends.records import ModoseruError
from tests.app.dashboard_desk import FakeDesk
from tests.app.dashboard_pilot import opened, until
from tests.widgets.made import fleet

MESSAGE = f"kogyo@sv1.host.example:22: the host key has changed: pinned SHA256:{'a' * 43}, shown SHA256:{'b' * 43}"
HINT = "nothing was sent; ask the host whether the server was moved or renewed; only then accept the new key (the end)"


def squeezed(text: str) -> str:
    return "".join(text.split())


def fail(jobs: Jobs, count: int) -> None:
    for number in range(count):
        jobs.notice(f"s{number}.example", "backup", ModoseruError("x", MESSAGE, HINT))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_a_lone_failure_is_told_to_its_end(size: tuple[int, int]) -> None:
    async with opened(FakeDesk(fleet()), size) as (app, _, pilot):
        fail(app.jobs, 1)
        await until(pilot, lambda: squeezed(MESSAGE + HINT) in squeezed(app.fleet.strip.plain))
        await until(pilot, lambda: app.fleet.strip.size.height == len(app.fleet.strip.plain.splitlines()))
        assert "…" not in app.fleet.strip.plain
        assert app.fleet.strip.plain.rstrip().endswith("D dismiss")


@pytest.mark.parametrize("count", [2, 3, 5, 6, 30])
@pytest.mark.parametrize("size", [(40, 10), (80, 24), (120, 40)])
async def test_many_failures_leave_the_fleet_in_sight_and_are_all_counted(size: tuple[int, int], count: int) -> None:
    async with opened(FakeDesk(fleet()), size) as (app, _, pilot):
        fail(app.jobs, count)
        await until(pilot, lambda: "D dismiss" in app.fleet.strip.plain)
        lines = app.fleet.strip.plain.splitlines()
        told = sum(f"s{number}.example" in app.fleet.strip.plain for number in range(count))
        more = next((int(line.split()[0]) for line in lines if " more" in line), 0)
        assert told + more == count
        assert len(lines) <= max(2, min(8, size[1] // 3))
        await until(pilot, lambda: app.fleet.strip.size.height == len(lines))
        assert app.fleet.list.size.height >= 2
