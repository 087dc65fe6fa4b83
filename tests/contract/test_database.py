"""`database`, on both grounds: what runs it and what it holds; nothing is changed by it."""

from __future__ import annotations

import contextlib

import pytest

from backends.agent.client import AgentError
from backends.records import Credentials, Outcome
from backends.ssh import Servers
from tests.agent.small import carry_out, listen
from tests.contract.ground import Ground

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_server_its_tables_and_what_another_one_minds_are_told(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    await agent.generations()
    before = ground.looks()
    report = await agent.database()
    assert report.engine == "mariadb"
    assert report.version.split(".")[0].isdigit()
    assert {table.engine for table in report.tables} == {"InnoDB"}
    assert any(table.name.endswith("options") for table in report.tables)
    assert report.counts["tables"] == len(report.tables)
    assert {finding.code for finding in report.findings} == {"zero_default"}
    assert ground.looks() == before
    assert ground.litter() == []


async def test_a_database_that_nobody_can_read_is_no_report(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    await agent.generations()
    ground.separate_database()
    ground.change_password("other than wp-config.php has")
    with pytest.raises(AgentError) as refused:
        await agent.database()
    assert refused.value.code == "no_database"


async def test_a_move_to_a_database_that_lets_nobody_in_ends_before_anything_is_made(
    ground: Ground, servers: Servers
) -> None:
    agent = ground.agent(servers)
    known = (await agent.generations()).generations
    before = ground.looks()
    nobody = Credentials(name="none", user="nobody", password="x", host="localhost")
    async with contextlib.aclosing(agent.launch("rehouse", {}, credentials=nobody)) as lines:
        story = await listen(agent, lines)
    assert (story.outcome, story.end.code, story.steps) == (Outcome.ROLLED_BACK, "target_refuses", ["preflight"])
    assert ground.looks() == before
    assert ground.litter() == []
    assert (await agent.generations()).generations == known
    with pytest.raises(AgentError) as refused:
        await carry_out(agent, "rehouse")
    assert refused.value.code == "bad_request"
