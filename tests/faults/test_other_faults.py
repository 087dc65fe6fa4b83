"""Once in every step: the database dies, the connection is cut, the disk fills up. What is said is what is so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from backends.agent.client import AgentError
from backends.records import Note, Outcome
from backends.ssh import Servers
from tests.agent.small import carry_out, shell
from tests.faults.kills import Scenario, Trial
from tests.faults.points import Point
from tests.faults.scenarios import BY_NAME, SCENARIOS
from tests.faults.site import FaultSite
from tests.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
MIB = 1024 * 1024
COMMON = [BY_NAME[name] for name in ("restore all", "undo", "backup", "drill", "update", "restore a post")]
FULL = os.environ.get("MODOSERU_FAULTS") == "full"
by_name = pytest.mark.parametrize("scenario", COMMON, ids=lambda scenario: scenario.id)


class Fault(NamedTuple):
    """What is done while the worker stands still in a step, and what ends it when the worker is through."""

    begin: Callable[[], None]
    end: Callable[[], None] = lambda: None


def once_a_step(points: Iterable[Point]) -> list[Point]:
    steps: dict[str, list[Point]] = {}
    for point in points:
        steps.setdefault(point.step, []).append(point)
    return [alike[len(alike) // 2] for alike in steps.values()]


def trial_of(fault_site: Callable[..., FaultSite], servers: Servers, scenario: Scenario, disks: int = 0) -> Trial:
    return scenario.trial(fault_site(scenario.site, disks=disks), servers, scenario)


async def suffered(trial: Trial, fault: Fault) -> dict[str, str]:
    """Step to how the operation ended; asserts that the site is what that says."""
    ends, wrong = {}, []
    for point in once_a_step(await trial.count()):
        death = await trial.meet(point, fault.begin, fault.end)
        ends[point.step] = death.outcome
        if death.wrong:
            wrong.append(f"{point}: {death.wrong}")
            break
    assert not wrong, wrong
    assert not await trial.works()
    return ends


@by_name
async def test_a_database_that_dies_and_comes_back_leaves_the_site_old_or_new(
    lab: Lab, fault_site: Callable[..., FaultSite], servers: Servers, scenario: Scenario
) -> None:
    def dies() -> None:
        lab.kill_database()
        lab.start_database()

    ends = await suffered(trial_of(fault_site, servers, scenario), Fault(dies))
    assert set(ends.values()) <= {"done", "rolled_back"}, ends


async def test_staged_tables_that_a_dead_database_kept_are_told_and_go_with_the_next_operation(
    lab: Lab, fault_site: Callable[[], FaultSite], servers: Servers
) -> None:
    site = fault_site()
    agent = site.agent(servers)
    made = await carry_out(agent, "snapshot", reason="hand")
    await asyncio.to_thread(site.ruin)
    before = site.looks()
    site.hold("verify")
    # Its tables are all staged, and it reads wp-config.php once more.
    working = asyncio.create_task(carry_out(agent, "restore", generation=made.end.generation, only="all", fresh=True))
    await asyncio.to_thread(site.await_held)
    lab.kill_database()
    site.release()
    story = await working
    lab.start_database()
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "no_database"), story.end
    (told,) = story.notes("left_over")
    left = site.staging()
    assert left
    assert all(name.startswith(str(told)) for name in left)
    assert not before.differs(site.looks())
    again = await carry_out(agent, "snapshot", reason="hand")
    assert again.outcome is Outcome.DONE, again.end
    assert site.litter() == []
    assert [*site.state.glob("ops/*/left-tables")] == []


@by_name
async def test_a_cut_connection_changes_nothing_about_the_operation(
    lab: Lab, fault_site: Callable[..., FaultSite], servers: Servers, scenario: Scenario
) -> None:
    trial = trial_of(fault_site, servers, scenario)
    ends = await suffered(trial, Fault(lambda: lab.cut_ssh(trial.site.within)))
    # WordPress cannot boot on the fault site: its drills find nothing out, cut or not.
    assert set(ends.values()) == {"rolled_back" if scenario.verb == "drill" else "done"}, ends


def filled(places: Iterable[Path]) -> None:
    """No byte is left, not even in the last page of a journal: a line of spaces stands for nothing."""
    for journal in [path for place in places for path in place.glob("ops/2*/[jm]*") if path.suffix == ""]:
        with journal.open("ab") as lines:
            lines.write(b" " * (-(journal.stat().st_size + 1) % 4096) + b"\n")
    for place in places:
        with (place / "filler").open("wb", buffering=0) as filler:
            for size in (MIB, 4096, 1):
                try:
                    while filler.write(b"\0" * size) == size:
                        pass
                except OSError:
                    continue


def out_of_inodes(places: Iterable[Path]) -> None:
    for place in places:
        used = os.statvfs(place).f_files - os.statvfs(place).f_ffree
        assert shell("mount", "-o", f"remount,nr_inodes={used}", place)[0] == 0


def roomy(places: Iterable[Path]) -> None:
    for place in places:
        (place / "filler").unlink(missing_ok=True)
        assert shell("mount", "-o", "remount,nr_inodes=100000", place)[0] == 0


async def is_survived(trial: Trial, lack: Callable[[Iterable[Path]], None]) -> None:
    places = [trial.site.base, trial.site.state]
    ends = await suffered(trial, Fault(lambda: lack(places), lambda: roomy(places)))
    assert set(ends.values()) <= {"done", "rolled_back", "never began"}, ends


@by_name
async def test_a_disk_that_fills_up_leaves_the_site_old_or_new(
    fault_site: Callable[..., FaultSite], servers: Servers, scenario: Scenario
) -> None:
    await is_survived(trial_of(fault_site, servers, scenario, 64 * MIB), filled)


@pytest.mark.parametrize(
    "scenario",
    [one for one in COMMON if FULL or one.name in ("restore all", "backup")],
    ids=lambda scenario: scenario.id,
)
async def test_a_disk_without_inodes_leaves_the_site_old_or_new(
    fault_site: Callable[..., FaultSite], servers: Servers, scenario: Scenario
) -> None:
    await is_survived(trial_of(fault_site, servers, scenario, 64 * MIB), out_of_inodes)


async def test_the_one_who_asks_second_is_told_who_is_at_work(
    fault_site: Callable[..., FaultSite], servers: Servers
) -> None:
    trial = Trial(fault_site(), servers, SCENARIOS[0])
    trial.tracer.stop_at(first_of_switch(await trial.count()))
    first = asyncio.create_task(carry_out(trial.agent, "restore", **trial.request))
    await asyncio.to_thread(trial.tracer.await_stop)
    (running,) = [one for one in await trial.agent.operations() if one.state == "running"]
    for verb, request in (("snapshot", {"reason": "hand"}), ("restore", trial.request), ("undo", {})):
        with pytest.raises(AgentError) as told:
            await carry_out(trial.agent, verb, **request)
        assert (told.value.code, told.value.hint) == ("busy", running.operation)
    await trial.agent.recover()
    trial.tracer.go_on()
    assert (await first).outcome is Outcome.DONE
    assert trial.site.looks() == trial.new
    assert trial.site.litter() == []


def first_of_switch(points: Iterable[Point]) -> Point:
    return next(one for one in points if one.kind == ("switch", "fsync", "journal"))


async def test_what_arrives_in_mid_restore_comes_back_by_undo(
    fault_site: Callable[..., FaultSite], servers: Servers
) -> None:
    """An upload and a post of WordPress's own cron, after everything was staged and looked at."""
    trial = Trial(fault_site(), servers, SCENARIOS[0])
    site = trial.site
    point = first_of_switch(await trial.count())

    def arrives() -> None:
        site.write("wp-content/uploads/2026/09/upload.jpg", b"\xff\xd8 of a visitor")
        site.write("wp-content/plugins/hello/hello.php", b"<?php // an update of WordPress's own")
        site.sql(f"INSERT INTO `{site.prefix}posts` (post_title) VALUES ('by cron')")
        trial.old = site.looks()

    death = await trial.meet(point, arrives)
    assert (death.outcome, death.wrong) == ("done", "")


async def test_a_table_that_cron_changes_in_mid_restore_is_restored_all_the_same(
    fault_site: Callable[..., FaultSite], servers: Servers
) -> None:
    """It was the same as in the generation and was to stay: it is loaded after all, which is said."""
    trial = Trial(fault_site(), servers, SCENARIOS[0])
    site = trial.site
    trial.tracer.stop_at(first_of_switch(await trial.count()))
    working = asyncio.create_task(carry_out(trial.agent, "restore", **trial.request))
    await asyncio.to_thread(trial.tracer.await_stop)
    site.sql(f"UPDATE `{site.prefix}t5` SET b = 'by cron'")
    trial.tracer.go_on()
    story = await working
    assert story.outcome is Outcome.DONE, story.end
    assert any(f"{site.prefix}t5" in event.text for event in story.events if isinstance(event, Note))
    assert site.looks() == trial.new
