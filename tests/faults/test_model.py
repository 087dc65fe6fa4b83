"""Backups, changes, restores, undos, prunings and deaths in any order, against a model that fits in a few lines.

The model keeps what the site looked like: for each generation, and before the last switch. Whatever an operation says
of itself is what the site must be.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from backends.agent.client import AgentError
from backends.records import Outcome
from tests.agent.small import carry_out, follow, is_right, summary_of, verify
from tests.faults.desk import Desk
from tests.faults.points import Point, Tracer
from tests.faults.site import FaultSite, Looks
from tests.lab import Lab

pytestmark = pytest.mark.lab
FILES = ("index.php", "wp-content/plugins/hello/hello.php", "wp-content/uploads/2026/09/photo.jpg", "new/folder/a.txt")
_number = itertools.count(1)


class Operator(RuleBasedStateMachine):
    """`lab` is given to the class by the test; it keeps how the operations that were killed came to their end."""

    lab: ClassVar[Lab]
    deaths: ClassVar[list[str]]

    @initialize()
    def opens(self) -> None:
        self.site = FaultSite(self.lab, self.lab.site("kogyo.example"), f"g{next(_number)}.example")
        self.site.build()
        self.tracer = Tracer(self.site)
        self.desk = Desk(self.site, php=str(self.tracer.php))
        self.live: Looks = self.site.looks()
        self.generations: dict[str, Looks] = {}
        self.aside: Looks | None = None

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            self.desk.close()
            self.tracer.remove()
            self.site.remove()

    # ------------------------------------------------------------ what people do to a site

    @rule(path=st.sampled_from(FILES), content=st.binary(max_size=300))
    def writes(self, path: str, content: bytes) -> None:
        self.site.write(path, content)
        self.live = self.site.looks()

    @rule(path=st.sampled_from(FILES[1:]))
    def deletes(self, path: str) -> None:
        (self.site.root / path).unlink(missing_ok=True)
        self.live = self.site.looks()

    @rule(title=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8))
    def posts(self, title: str) -> None:
        self.site.sql(f"INSERT INTO `{self.site.prefix}posts` (post_title) VALUES ('{title}')")
        self.live = self.site.looks()

    @rule()
    def makes_and_drops_a_table(self) -> None:
        name = f"`{self.site.prefix}extra`"
        there = f"{self.site.prefix}extra" in self.live.tables
        self.site.sql(f"DROP TABLE {name}" if there else f"CREATE TABLE {name} (a int); INSERT INTO {name} VALUES (7)")
        self.live = self.site.looks()

    # ------------------------------------------------------------ operations, whole or killed at their nth sync

    @rule(dies=st.integers(0, 12))
    def backs_up(self, dies: int) -> None:
        outcome, generation = self._run("snapshot", dies, reason="hand")
        if outcome == "done":
            assert generation
            self.generations[generation] = self.live

    @rule()
    def prunes(self) -> None:
        outcome, generation = self._run("snapshot", 0, reason="weekly", keep=1, min_age_s=0)
        assert outcome == "done"
        assert generation
        self.generations[generation] = self.live
        left = self.site.generations()
        assert generation in left
        self.generations = {one: looks for one, looks in self.generations.items() if one in left}

    @precondition(lambda self: self.generations)
    @rule(choice=st.randoms(use_true_random=False), dies=st.integers(0, 22))
    def restores(self, choice: Any, dies: int) -> None:
        generation = choice.choice(sorted(self.generations))
        outcome, _ = self._run("restore", dies, generation=generation, only="all")
        if outcome == "done":
            self.live, self.aside = self.generations[generation], self.live

    @precondition(lambda self: self.aside is not None)
    @rule(dies=st.integers(0, 22))
    def undoes(self, dies: int) -> None:
        outcome, _ = self._run("undo", dies)
        if outcome == "done":
            assert self.aside is not None
            self.live, self.aside = self.aside, self.live

    @precondition(lambda self: self.generations)
    @rule()
    def verifies(self) -> None:
        for generation in self.generations:
            assert self.desk.of(verify(self.desk.agent, generation)).outcome == "ok"

    # ------------------------------------------------------------ what always holds

    @invariant()
    def is_what_it_was_said_to_be(self) -> None:
        if not hasattr(self, "live"):
            return
        assert not self.site.looks().differs(self.live)
        assert self.site.generations() == sorted(self.generations)
        assert self.site.litter() == []
        needed = {pack["id"] for one in self.generations for pack in summary_of(self.site, one)["packs"]}
        assert needed == {path.name.removesuffix(".tar") for path in (self.site.state / "packs").glob("*")}

    def _run(self, verb: str, dies: int, **request: Any) -> tuple[str, str | None]:
        """How the operation ended, whoever had to bring it to its end, and of which generation."""
        if dies:
            self.tracer.kill_at(Point("fsync", dies, "", ""))
        known = {path.name for path in (self.site.state / "ops").glob("2*")}
        outcome, generation = self.desk.of(self._ended(verb, request, known))
        if dies and self.tracer.killed():
            self.deaths.append(outcome)
        return outcome, generation

    async def _ended(self, verb: str, request: dict[str, Any], known: set[str]) -> tuple[str, str | None]:
        agent = self.desk.agent
        # A worker that dies before its first line: the launch says so.
        with contextlib.suppress(AgentError):
            await carry_out(agent, verb, **request)
        await agent.recover()
        (made,) = {path.name for path in (self.site.state / "ops").glob("2*")} - known
        (found,) = [one for one in await agent.operations() if one.operation == made]
        if found.state == "waiting":
            await follow(agent, made, look=is_right)
        elif found.started is None:
            return "never began", None
        (found,) = [one for one in await agent.operations() if one.operation == made]
        assert found.outcome in (Outcome.DONE, Outcome.ROLLED_BACK), found
        return found.outcome.value, found.generation


@pytest.fixture
def operator(lab: Lab) -> type[Operator]:
    return type("Operator", (Operator,), {"lab": lab, "deaths": []})


def test_a_site_is_always_what_its_last_operation_said(operator: type[Operator]) -> None:
    run_state_machine_as_test(
        operator,
        settings=settings(
            max_examples=10, stateful_step_count=12, derandomize=True, deadline=None, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    assert len(operator.deaths) >= 5
    assert "rolled_back" in operator.deaths
