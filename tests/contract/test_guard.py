"""`guard`, on both grounds: put there, told, taken away without a trace."""

from __future__ import annotations

import pytest

from backends.agent.client import AgentError
from backends.ssh import Servers
from tests.contract.ground import Ground

pytestmark = pytest.mark.asyncio(loop_scope="session")
SETTINGS = {
    "allow": ["203.0.113.7/32"], "proxies": [], "address": 8, "account": 30, "xmlrpc": 60, "window_s": 900,
    "block_s": 600, "longest_s": 86400,
}  # fmt: skip
FILE = "wp-content/mu-plugins/modoseru-guard.php"


async def test_a_guard_is_put_there_and_taken_away_byte_for_byte(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    await agent.generations()
    before = ground.looks()
    assert not (await agent.guard("show")).installed
    for _ in range(2):
        report = await agent.guard("install", settings=SETTINGS)
        assert (report.installed, report.ours, report.version) == (True, True, report.current)
    assert ground.looks() != before
    assert not (await agent.guard("remove")).installed
    assert ground.looks() == before
    assert not (ground.state / "guard").exists()
    assert ground.litter() == []


async def test_a_block_by_hand_is_told_and_taken_back(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    with pytest.raises(AgentError) as told:
        await agent.guard("block", key="a:198.51.100.9", seconds=3600)
    assert told.value.code == "not_guarded"
    await agent.guard("install", settings=SETTINGS)
    (block,) = (await agent.guard("block", key="a:198.51.100.9", seconds=3600)).blocks
    assert (block.kind, block.name) == ("address", "198.51.100.9")
    assert (await agent.guard("unblock", key="a:198.51.100.9")).blocks == ()


async def test_another_ones_file_of_that_name_stays_and_a_word_that_is_none_is_refused(
    ground: Ground, servers: Servers
) -> None:
    agent = ground.agent(servers)
    await agent.generations()
    ground.plant(FILE)
    report = await agent.guard("show")
    assert (report.installed, report.ours) == (True, False)
    for do in ("install", "remove"):
        with pytest.raises(AgentError) as told:
            await agent.guard(do, settings=SETTINGS)
        assert told.value.code == "not_ours"
    with pytest.raises(AgentError) as told:
        await agent.guard("dance")
    assert told.value.code == "bad_request"
