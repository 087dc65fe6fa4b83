"""The verb `verify`, of the agent on real servers and of its twin: the same steps, the same ends."""

from __future__ import annotations

import pytest

from backends.agent.client import AgentError
from backends.records import Outcome, Progress
from backends.ssh import Servers
from tests.agent.small import carry_out, follow, verify
from tests.contract.ground import Ground

pytestmark = pytest.mark.asyncio(loop_scope="session")
STEPS = ["summary", "packs", "content"]


async def test_a_verify_tells_its_steps_its_bytes_and_the_summary_s_hash(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    assert made.generation
    found = await verify(agent, made.generation, made.summary)
    story = found.story
    assert story.steps == STEPS
    assert (story.outcome, story.end.generation, story.end.code) == (Outcome.DONE, made.generation, None)
    assert (found.outcome, found.problems, found.summary) == ("ok", (), made.summary)
    assert found.checked_bytes
    told = [event for event in story.events if isinstance(event, Progress)]
    assert told
    assert all(0 < event.done <= (event.total or 0) for event in told)
    again = await follow(agent, story.operation)
    assert again.events == story.events
    (listed, *_) = await agent.operations()
    assert (listed.kind, listed.outcome, listed.generation) == ("verify", Outcome.DONE, made.generation)
    with pytest.raises(AgentError) as refused:
        await carry_out(agent, "undo")
    assert refused.value.code == "nothing_to_undo"


async def test_a_summary_that_is_not_the_sealed_one_is_damage(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    found = await verify(agent, str(made.generation), "0" * 64)
    assert (found.story.outcome, found.story.end.code) == (Outcome.ROLLED_BACK, "damaged")
    assert [(one.path, one.healed) for one in found.problems] == [("summary.json", False)]
    assert found.summary == made.summary


@pytest.mark.parametrize(("generation", "code"), [("20200101T000000Z", "no_generation"), (None, "bad_request")])
async def test_what_cannot_be_verified_is_refused_before_it_begins(
    ground: Ground, servers: Servers, generation: str | None, code: str
) -> None:
    agent = ground.agent(servers)
    known = await agent.operations()
    with pytest.raises(AgentError) as refused:
        await carry_out(agent, "verify", generation=generation)
    assert refused.value.code == code
    assert await agent.operations() == known


async def test_what_the_retention_let_go_of_is_told(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    before = {one.id for one in (await agent.generations()).generations}
    for _ in range(3):
        story = await carry_out(agent, "snapshot", reason="weekly", keep=1, min_age_s=-60)
        assert story.outcome is Outcome.DONE
    told = await agent.generations()
    gone = before - {one.id for one in told.generations}
    assert gone <= set(told.let_go)
    assert told.let_go
    assert not set(told.let_go) & {one.id for one in told.generations}
