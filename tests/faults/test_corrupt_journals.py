"""Whatever happened to a byte of an operation's journal: it is noticed, and nothing that it says is believed.

An operation that its process left is brought to an end by the second copy of what it had to remember.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from backends.agent.client import AgentError, RemoteOperation
from backends.records import Asked, Outcome
from tests.agent.small import carry_out, follow, is_right
from tests.faults.desk import Desk
from tests.faults.points import Point, Tracer
from tests.faults.site import FaultSite, Looks
from tests.faults.test_corruption import DAMAGES, Damage, damaged
from tests.lab import Lab

pytestmark = pytest.mark.lab
FEW = settings(
    max_examples=8, derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
MOMENTS = ("staging", "switching", "switched", "waiting")


@dataclass(repr=False)
class Bench:
    """A ruined site, and the points at which its restore is left."""

    desk: Desk
    site: FaultSite
    tracer: Tracer
    generation: str
    points: dict[str, Point | None]
    old: Looks
    new: Looks

    def left(self, moment: str) -> str:
        """The id of a restore whose process is gone since that moment."""
        point = self.points[moment]
        if point is not None:
            self.tracer.kill_at(point)
        return self.desk.of(self._left_alone(is_killed=point is not None))

    async def _left_alone(self, *, is_killed: bool) -> str:
        known = {path.name for path in (self.site.state / "ops").glob("2*")}
        request = {"generation": self.generation, "only": "all"}
        try:
            async with contextlib.aclosing(self.desk.agent.launch("restore", request)) as lines:
                async for line in lines:
                    if not is_killed and isinstance(line, Asked):
                        await asyncio.to_thread(self.site.kill)
        except AgentError:
            assert is_killed
        (made,) = {path.name for path in (self.site.state / "ops").glob("2*")} - known
        return made

    def file(self, operation: str, name: str) -> Path:
        return self.site.state / "ops" / operation / name

    def listed(self, operation: str) -> RemoteOperation:
        (found,) = [one for one in self.desk.of(self.desk.agent.operations()) if one.operation == operation]
        return found

    def outcome(self, operation: str) -> str:
        """How it ended; the site is what that says, and nothing else is left."""
        outcome = self.listed(operation).outcome
        assert outcome in (Outcome.DONE, Outcome.ROLLED_BACK), self.listed(operation)
        differs = self.site.looks().differs(self.new if outcome is Outcome.DONE else self.old)
        assert not differs, f"{outcome}: {differs}"
        assert self.site.litter() == []
        return outcome.value

    def go_back(self) -> None:
        assert self.desk.of(carry_out(self.desk.agent, "undo")).outcome is Outcome.DONE
        assert not self.site.looks().differs(self.old)


@pytest.fixture(scope="module")
def bench(lab: Lab) -> Iterator[Bench]:
    site = FaultSite(lab, lab.site("kogyo.example"), "f0j.example").grow()
    tracer = Tracer(site)
    desk = Desk(site, php=str(tracer.php))
    try:
        made = desk.of(carry_out(desk.agent, "snapshot", reason="hand"))
        assert made.end.generation
        site.ruin()
        old = site.looks()
        tracer.watch()
        done = desk.of(carry_out(desk.agent, "restore", generation=made.end.generation, only="all"))
        assert done.outcome is Outcome.DONE, done.end
        bench = Bench(desk, site, tracer, made.end.generation, moments(tracer.points()), old, site.looks())
        bench.go_back()
        yield bench
    finally:
        desk.close()
        tracer.remove()
        site.remove()


def moments(points: list[Point]) -> dict[str, Point | None]:
    def last(*kind: str) -> Point:
        return [one for one in points if one.kind == kind][-1]

    return {
        "staging": last("stage", "fsync", "journal"),
        "switching": last("switch", "recvfrom", "RENAME TABLE"),
        "switched": last("switch", "fsync", "memory"),
        "waiting": None,
    }


@FEW
@given(moment=st.sampled_from(MOMENTS), damage=DAMAGES)
@example(moment="switching", damage=Damage("remove", 0, 1))
@example(moment="switching", damage=Damage("cut", 0.7, 1))
@example(moment="switched", damage=Damage("empty", 0, 1))
@example(moment="waiting", damage=Damage("flip", 0.999, 1))
@example(moment="waiting", damage=Damage("cut", 0.5, 1))
def test_a_restore_whose_journal_was_damaged_after_its_death_is_taken_back(
    bench: Bench, moment: str, damage: Damage
) -> None:
    operation = bench.left(moment)
    put(bench.file(operation, "journal"), damage)
    bench.desk.recover()
    assert bench.outcome(operation) == "rolled_back"
    again = bench.desk.of(follow(bench.desk.agent, operation))
    assert [event.line for event in again.events] == list(range(len(again.events)))
    assert again.outcome is Outcome.ROLLED_BACK


@FEW
@given(moment=st.sampled_from(MOMENTS), damage=DAMAGES)
@example(moment="switching", damage=Damage("remove", 0, 1))
@example(moment="waiting", damage=Damage("empty", 0, 1))
def test_a_damaged_second_copy_changes_nothing(bench: Bench, moment: str, damage: Damage) -> None:
    operation = bench.left(moment)
    put(bench.file(operation, "memory"), damage)
    bench.desk.recover()
    if moment == "waiting":
        assert bench.listed(operation).state == "waiting"
        bench.desk.of(follow(bench.desk.agent, operation, look=is_right))
        # Who answers what nobody waits for begins another process.
        bench.desk.of(follow(bench.desk.agent, operation))
    assert bench.outcome(operation) == ("done" if moment == "waiting" else "rolled_back")
    if moment == "waiting":
        bench.go_back()


@pytest.fixture
def done(bench: Bench) -> Iterator[str]:
    """A good restore, which is undone at the end."""
    story = bench.desk.of(carry_out(bench.desk.agent, "restore", generation=bench.generation, only="all"))
    assert story.outcome is Outcome.DONE, story.end
    yield story.operation
    bench.go_back()


@FEW
@given(damage=DAMAGES)
@example(damage=Damage("flip", 0.999, 1))
@example(damage=Damage("remove", 0, 1))
def test_what_a_damaged_journal_put_aside_is_not_undone_by_its_word(bench: Bench, done: str, damage: Damage) -> None:
    with damaged(bench.file(done, "journal"), damage):
        assert bench.outcome(done) == "done"
        with pytest.raises(AgentError) as refused:
            bench.desk.of(carry_out(bench.desk.agent, "undo"))
        assert refused.value.code == "damaged"
        assert bench.desk.of(carry_out(bench.desk.agent, "snapshot", reason="hand")).outcome is Outcome.DONE
        assert bench.outcome(done) == "done"


def test_an_operation_of_which_nothing_is_known_any_more_wants_a_hand(bench: Bench) -> None:
    begun = bench.site.keep("begun")
    operation = bench.left("switching")
    for name in ("journal", "memory"):
        put(bench.file(operation, name), Damage("flip", 0.5, 3))
    bench.desk.recover()
    assert bench.listed(operation).outcome is Outcome.NEEDS_HAND
    bench.site.put_back(begun)


def test_what_an_older_agent_wrote_without_checksums_is_undone(bench: Bench, done: str) -> None:
    journal = bench.file(done, "journal")
    journal.write_bytes(re.sub(rb',"crc":"[0-9a-f]{8}"\}\n', b"}\n", journal.read_bytes()))
    bench.file(done, "memory").unlink()
    bench.file(done, "finished").write_bytes(b"")
    assert bench.outcome(done) == "done"  # and the fixture's undo goes by it


def put(file: Path, damage: Damage) -> None:
    """In place: its owner stays."""
    after = damage.done_to(file.read_bytes())
    if after is None:
        file.unlink()
    else:
        file.write_bytes(after)
