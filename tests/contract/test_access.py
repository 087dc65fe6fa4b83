"""A restore where wp-config.php is lost: whose credentials open the database, of the agent and of its twin."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from backends.agent.client import Agent, AgentError, Launched
from backends.records import Credentials, Note, Outcome
from backends.ssh import Servers
from tests.agent.small import Story, carry_out, follow, is_wrong, listen
from tests.contract.ground import Ground

pytestmark = pytest.mark.asyncio(loop_scope="session")
PASSWORD = "pass-that-was-changed"


async def backed_up(ground: Ground, agent: Agent) -> str:
    ground.separate_database()
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    assert made.generation
    return made.generation


def lose_access(ground: Ground) -> Credentials:
    """wp-config.php is gone and the password is another one; what opens the database now."""
    ground.config.unlink()
    return ground.change_password(PASSWORD)


async def restored(agent: Agent, generation: str, given: Credentials | None, *, right: bool = True) -> Story:
    launched = agent.launch("restore", {"generation": generation, "only": "all"}, credentials=given)
    return await (listen(agent, launched) if right else listen(agent, launched, is_wrong))


def holding(secret: str, folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


async def test_the_generation_s_own_credentials_serve_while_they_open_the_database(
    ground: Ground, servers: Servers
) -> None:
    agent = ground.agent(servers)
    generation, whole = await backed_up(ground, agent), ground.looks()
    found = await agent.preview(generation, "all")
    assert found.database is not None
    assert found.database.opens == "live"
    ground.config.unlink()
    lost = ground.looks()
    found = await agent.preview(generation, "all")
    assert found.database is not None
    assert (found.blockers, found.database.opens) == ((), "generation")
    assert [one.message for one in found.warnings if one.code == "credentials"] == [
        "wp-config.php is gone; its database opens with the generation's"
    ]
    story = await restored(agent, generation, None)
    assert story.outcome is Outcome.DONE
    assert "credentials" in [event.code for event in story.events if isinstance(event, Note)]
    assert ground.looks() == whole
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert ground.looks() == lost


async def test_credentials_that_are_given_are_written_where_no_others_open_it_and_lie_nowhere_else(
    ground: Ground, servers: Servers
) -> None:
    agent = ground.agent(servers)
    generation = await backed_up(ground, agent)
    before = ground.config.read_bytes()
    right = lose_access(ground)
    lost = ground.looks()
    found = await agent.preview(generation, "all")
    assert found.database is not None
    assert (found.database.opens, found.database.name, found.database.user) == (None, right.name, right.user)
    assert [one.code for one in found.blockers] == ["no_database"]
    refused = await restored(agent, generation, None)
    assert (refused.outcome, refused.end.code) == (Outcome.ROLLED_BACK, "no_database")
    assert ground.looks() == lost

    found = await agent.preview(generation, "all", credentials=right)
    assert found.database is not None
    assert (found.blockers, found.database.opens) == ((), "given")
    taken_back = await restored(agent, generation, right, right=False)
    assert taken_back.outcome is Outcome.ROLLED_BACK
    assert ground.looks() == lost
    story = await restored(agent, generation, right)
    assert story.outcome is Outcome.DONE
    assert PASSWORD not in str(story.events)
    old, new = before.splitlines(), ground.config.read_bytes().splitlines()
    assert [b"DB_PASSWORD" in one for one, other in zip(old, new, strict=True) if one != other] == [True]
    assert any(PASSWORD.encode() in line for line in new)
    assert holding(PASSWORD, ground.state) == []
    assert ground.litter() == []
    whole = ground.looks()
    for wanted in (lost, whole):
        assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
        assert ground.looks() == wanted


async def test_a_killed_restore_is_taken_back_with_the_credentials_that_it_was_given_and_they_go(
    ground: Ground, servers: Servers
) -> None:
    agent = ground.agent(servers)
    generation = await backed_up(ground, agent)
    right = lose_access(ground)
    lost = ground.looks()
    ground.hold("switch")
    launched = agent.launch("restore", {"generation": generation, "only": "all"}, credentials=right)
    async with contextlib.aclosing(launched) as lines:
        begun = await anext(lines)
        assert isinstance(begun, Launched)
        await ground.held()
    assert holding(PASSWORD, ground.state / "ops" / begun.operation) != []
    assert await ground.kill()
    ground.release()
    await agent.recover()
    assert (await follow(agent, begun.operation)).outcome is Outcome.ROLLED_BACK
    assert ground.looks() == lost
    assert holding(PASSWORD, ground.state) == []
    assert ground.litter() == []


@pytest.mark.parametrize("wrong", [{"name": ""}, {"user": "a\nb"}, {"password": "a\0"}, {"host": "x" * 501}])
async def test_credentials_that_are_no_lines_are_refused_before_anything_begins(
    ground: Ground, servers: Servers, wrong: dict[str, str]
) -> None:
    agent = ground.agent(servers)
    generation = await backed_up(ground, agent)
    before = ground.looks()
    given = {"name": "n", "user": "u", "password": "p", "host": "localhost"} | wrong
    with pytest.raises(AgentError) as refused:
        await restored(agent, generation, Credentials(**given))
    assert refused.value.code == "bad_request"
    assert ground.looks() == before
    assert [one.kind for one in await agent.operations()] == ["backup"]
