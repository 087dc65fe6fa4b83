"""`database`, on both grounds: what runs it and what it holds; nothing is changed by it."""

from __future__ import annotations

import pytest

from backends.agent.client import AgentError
from backends.ssh import Servers
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
