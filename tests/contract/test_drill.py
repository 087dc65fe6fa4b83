"""The verb `drill`, of the agent on real servers and of its twin: the same steps, the same ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio

from app import fleet
from app.demo.fleet import embedded
from app.demo.runtime import INSTANT
from app.operations import transfer
from backends.agent.client import Agent, AgentError, Agents, Launched
from backends.records import Finished, Outcome, Site, Step
from backends.ssh import Servers
from tests.agent.small import carry_out, follow
from tests.lab import LabSite
from tests.lab.configuration import site_table

STEPS = ["preflight", "stage", "verify", "boot", "drop"]


@pytest_asyncio.fixture(params=[pytest.param("agent", marks=pytest.mark.lab), "twin"])
async def agent(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Agent]:
    async with Servers() as servers:
        if request.param == "agent":
            fresh: Callable[[str], LabSite] = request.getfixturevalue("fresh_site")
            yield Agents(servers).of(msgspec.convert(site_table(fresh("kogyo.example")), Site))
            return
        async with embedded(1, speed=INSTANT, parent=tmp_path) as demo:
            await demo.up()
            yield Agents(servers).of(fleet.load(demo.config).site("kogyo.example"))


async def generation_of(agent: Agent) -> str:
    made = (await carry_out(agent, "snapshot", reason="hand")).end.generation
    assert made is not None
    return made


async def test_a_drill_tells_its_steps_its_generation_and_what_it_found(agent: Agent) -> None:
    generation = await generation_of(agent)
    story = await carry_out(agent, "drill", generation=generation)
    assert story.steps == STEPS
    assert (story.outcome, story.end.generation, story.end.code) == (Outcome.DONE, generation, None)
    assert story.end.detail.startswith("restored beside the site; “")
    assert story.state == "finished"
    assert [event.line for event in story.events] == list(range(len(story.events)))
    again = await follow(agent, story.operation)
    assert again.events == story.events
    (listed, *_) = await agent.operations()
    assert (listed.operation, listed.kind, listed.outcome) == (story.operation, "drill", Outcome.DONE)
    assert listed.generation == generation


async def test_it_asks_nobody_and_makes_no_generation(agent: Agent) -> None:
    generation = await generation_of(agent)
    before = await agent.generations()
    story = await carry_out(agent, "drill", generation=generation)
    assert "asked" not in {msgspec.to_builtins(event)["type"] for event in story.events}
    assert story.end.summary is None
    assert await agent.generations() == before
    with pytest.raises(AgentError) as refused:
        await carry_out(agent, "undo")
    assert refused.value.code == "nothing_to_undo"


@pytest.mark.parametrize(("generation", "code"), [("20200101T000000Z", "no_generation"), (None, "bad_request")])
async def test_what_cannot_be_rehearsed_is_refused_before_it_begins(
    agent: Agent, generation: str | None, code: str
) -> None:
    await generation_of(agent)
    known = await agent.operations()
    with pytest.raises(AgentError) as refused:
        await carry_out(agent, "drill", generation=generation)
    assert refused.value.code == code
    assert await agent.operations() == known


class Alone(NamedTuple):
    """What `transfer.bring` asks of a session, where the site is its own target."""

    only: Agent

    def agent(self, _: Site) -> Agent:
        return self.only


async def test_one_that_was_brought_gets_no_database_of_a_site_and_goes(agent: Agent) -> None:
    generation = await generation_of(agent)
    site = agent._site
    wanted = await transfer.summary_of(agent, site, generation)
    async for _ in transfer.bring(Alone(agent), wanted, site):  # type: ignore[arg-type]
        pass
    request: dict[str, Any] = {"generation": generation, "seal": wanted.seal, "transfer": wanted.transfer}
    before = await agent.generations()
    story = await carry_out(agent, "drill", **request, url=site.url)
    assert (story.outcome, story.end.generation, story.end.code) == (Outcome.ROLLED_BACK, None, "no_database")
    assert await agent.generations() == before
    with pytest.raises(AgentError) as refused:
        await carry_out(agent, "drill", **request)
    assert refused.value.code == "damaged"


async def test_a_drill_can_be_cancelled(agent: Agent) -> None:
    generation = await generation_of(agent)
    operation, last = "", None
    async for line in agent.launch("drill", {"generation": generation}):
        if isinstance(line, Launched):
            operation = line.operation
        elif isinstance(line, Step) and line.name == "preflight":
            await agent.cancel(operation)
        elif isinstance(line, Finished):
            last = line
    assert last is not None
    assert last.outcome in {Outcome.CANCELLED, Outcome.DONE}  # the twin of a test may be done before it hears
