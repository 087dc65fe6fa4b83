"""The operations `isolate` and `release`: closed is what was looked at, and what goes live meanwhile is closed too."""

from __future__ import annotations

import contextlib
import os
import re

import pytest

from backends.agent.client import Agent, AgentError, Launched
from backends.records import Asked, Outcome
from backends.ssh import Servers
from tests.agent.small import Look, carry_out, follow, is_right, is_wrong
from tests.contract.ground import Ground

pytestmark = pytest.mark.asyncio(loop_scope="session")


def looks(ground: Ground) -> object:
    """Without the script that a server may still remember; it does nothing by itself."""
    files, tables = ground.looks()
    return {path: one for path, one in files.items() if not os.fsencode(path).startswith(b".modoseru-gate")}, tables


async def isolated(agent: Agent) -> bool:
    return (await agent.inspect())[0].isolated is not None


async def test_a_site_is_closed_when_somebody_saw_it_closed_and_opens_again(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    before = looks(ground)
    asked: list[Asked] = []

    def look(question: Asked) -> tuple[bool, str]:
        asked.append(question)
        return True, "refused"

    story = await carry_out(agent, "isolate", look, allow=["203.0.113.7"])
    assert (story.outcome, story.end.detail, story.steps) == (Outcome.DONE, "refused", ["close", "look"])
    assert [one.subject for one in asked] == ["closed"]
    assert re.fullmatch(r"wp-content/uploads/modoseru-[0-9a-f]{32}", asked[0].item or "")
    assert asked[0].token is None
    assert await isolated(agent)
    for verb, request in (("snapshot", {"reason": "hand"}), ("update", {"items": [], "generation": made.generation})):
        with pytest.raises(AgentError, match="isolated since") as told:
            await carry_out(agent, verb, **request)
        assert told.value.code == "isolated"
    again = (await carry_out(agent, "isolate", is_right)).end
    assert (again.outcome, again.code) == (Outcome.ROLLED_BACK, "isolated")
    opened = await carry_out(agent, "release")
    assert (opened.outcome, opened.steps) == (Outcome.DONE, ["open", "check"])
    assert not await isolated(agent)
    assert looks(ground) == before
    assert (await carry_out(agent, "release")).end.code == "not_isolated"


async def test_a_failed_look_on_a_closed_site_keeps_what_was_restored(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    before = looks(ground)
    ground.spoil()
    spoiled = looks(ground)
    await carry_out(agent, "isolate")
    story = await carry_out(agent, "restore", is_wrong, generation=made.generation, only="all")
    assert (story.outcome, story.end.code) == (Outcome.NEEDS_HAND, "check_failed")
    assert "stays isolated" in story.end.detail
    assert await isolated(agent)
    await carry_out(agent, "release")
    assert looks(ground) == before
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert looks(ground) == spoiled
    assert not await isolated(agent)


async def test_a_release_is_done_when_the_site_was_seen_right(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    await carry_out(agent, "isolate")
    story = await carry_out(agent, "release", is_wrong)
    assert (story.outcome, story.end.code) == (Outcome.NEEDS_HAND, "check_failed")
    assert story.end.detail == "the gate is away, but the site now shows: status 500"
    assert not await isolated(agent)


@pytest.mark.parametrize(
    ("look", "outcome"),
    [(is_wrong, Outcome.NEEDS_HAND), (lambda _: None, Outcome.NEEDS_HAND)],
    ids=["still served", "nobody looked"],
)
async def test_what_nobody_saw_closed_is_not_said_to_be(
    ground: Ground, servers: Servers, look: Look, outcome: Outcome
) -> None:
    agent = ground.agent(servers)
    story = await carry_out(agent, "isolate", look, wait_s=1)
    assert (story.outcome, story.end.code) == (outcome, "not_closed")
    assert story.end.detail.startswith("the gate stands, but ")
    assert await isolated(agent)
    await carry_out(agent, "release")


async def asked(agent: Agent) -> str:
    """An isolation that waits for somebody to look; its id."""
    operation = ""
    async with contextlib.aclosing(agent.launch("isolate", {"allow": []})) as lines:
        async for line in lines:
            if isinstance(line, Launched):
                operation = line.operation
            elif isinstance(line, Asked):
                break
    return operation


async def test_cancelled_it_is_open_again(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    await agent.inspect()
    before = looks(ground)
    operation = await asked(agent)
    assert await isolated(agent)
    await agent.cancel(operation)
    assert (await follow(agent, operation)).outcome is Outcome.CANCELLED
    assert not await isolated(agent)
    assert looks(ground) == before


async def test_killed_while_it_waits_it_stays_closed_and_says_that_nobody_looked(
    ground: Ground, servers: Servers
) -> None:
    agent = ground.agent(servers)
    await agent.inspect()
    before = looks(ground)
    operation = await asked(agent)
    assert await ground.kill()
    await agent.recover()
    assert (await follow(agent, operation)).outcome is Outcome.NEEDS_HAND
    assert await isolated(agent)
    await carry_out(agent, "release")
    assert looks(ground) == before
