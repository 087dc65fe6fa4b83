"""The verbs `runtimes`, `runtime` and `found`, of the agent on real servers and of its twin."""

from __future__ import annotations

import pytest

from backends.agent.client import Agent, AgentError, Launched
from backends.records import Finished, Outcome, Step
from tests.agent.small import carry_out
from tests.contract.test_drill import agent, generation_of

__all__ = ["agent"]
STEPS = ["binary", "requires", "syntax", "preflight", "stage", "verify", "boot", "drop"]


async def own(agent: Agent) -> tuple[str, str]:
    """Path and version of the PHP that runs the agent."""
    (used,) = [one for one in await agent.runtimes() if one.cli]
    assert used.version is not None
    return used.path, used.version


async def test_a_trial_tells_its_steps_and_what_it_found(agent: Agent) -> None:
    generation = await generation_of(agent)
    path, version = await own(agent)
    story = await carry_out(agent, "runtime", php=path, generation=generation, pages=[])
    assert story.steps == STEPS
    assert (story.outcome, story.end.generation) == (Outcome.DONE, generation)
    found = await agent.found(story.operation)
    assert (found.verdict, found.reasons, found.missing, found.more) == ("safe", (), (), 0)
    assert (found.from_, found.to, found.path, found.now) == (version, version, path, path)
    assert found.generation == generation
    assert min(found.files, found.pages) > 1


async def test_a_php_that_is_not_there_ends_it_before_anything_was_read(agent: Agent) -> None:
    generation = await generation_of(agent)
    story = await carry_out(agent, "runtime", php="php5.1", generation=generation, pages=[])
    assert (story.outcome, story.end.code, story.steps) == (Outcome.ROLLED_BACK, "no_php", ["binary"])
    with pytest.raises(AgentError) as refused:
        await agent.found(story.operation)
    assert refused.value.code == "no_operation"


async def test_one_of_no_generation_is_refused_before_it_begins(agent: Agent) -> None:
    await generation_of(agent)
    known = await agent.operations()
    with pytest.raises(AgentError) as refused:
        await carry_out(agent, "runtime", php="php5.1", generation="20200101T000000Z", pages=[])
    assert refused.value.code == "no_generation"
    assert await agent.operations() == known


async def test_a_trial_can_be_cancelled(agent: Agent) -> None:
    generation = await generation_of(agent)
    path, _ = await own(agent)
    operation, last = "", None
    async for line in agent.launch("runtime", {"php": path, "generation": generation, "pages": []}):
        if isinstance(line, Launched):
            operation = line.operation
        elif isinstance(line, Step) and line.name == "requires":
            await agent.cancel(operation)
        elif isinstance(line, Finished):
            last = line
    assert last is not None
    assert last.outcome in {Outcome.CANCELLED, Outcome.DONE}  # the twin of a test may be done before it hears
