"""The verbs `mark` and `checksums`: an operator's word beside a generation, a list of checksums beside all."""

from __future__ import annotations

import hashlib

import pytest

from backends.agent.client import AgentError
from backends.records import GenerationState
from backends.ssh import Servers
from tests.agent.small import carry_out
from tests.contract.ground import Ground

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_mark_and_a_pin_are_told_by_every_list_and_change_no_seal(
    ground: Ground, servers: Servers, others: Servers
) -> None:
    agent = ground.agent(servers)
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    assert made.generation
    suspect = await agent.mark(made.generation, state="suspect")
    assert (suspect.id, suspect.state, suspect.pinned) == (made.generation, GenerationState.SUSPECT, False)
    pinned = await agent.mark(made.generation, pinned=True)
    assert (pinned.state, pinned.pinned) == (GenerationState.SUSPECT, True)
    told = await ground.agent(others).generations()
    assert told.generations[0] == pinned
    assert told.summaries[made.generation] == made.summary
    clean = await agent.mark(made.generation, pinned=False, state="clean")
    assert (clean.state, clean.pinned) == (GenerationState.COMPLETE, False)
    assert (await agent.generations()).generations[0] == clean


async def test_a_mark_that_is_no_word_or_of_no_generation_is_refused(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    assert made.generation
    before = await agent.generations()
    with pytest.raises(AgentError) as told:
        await agent.mark(made.generation, pinned=None, state="lovely")
    assert told.value.code == "bad_request"
    with pytest.raises(AgentError) as told:
        await agent.mark("20200101T000000Z", state="clean")
    assert told.value.code == "no_generation"
    assert await agent.generations() == before


async def test_a_list_of_checksums_is_kept_whole_or_refused(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    text = b"core 6.1.9 en_US\n" + b"0" * 32 + b" wp-includes/version.php\n"
    assert (await agent.checksums()).sha256 is None
    assert (await agent.checksums(text)).sha256 == hashlib.sha256(text).hexdigest()
    last = (await ground.raw(servers, "checksums", behind=text[:-9], sha256=hashlib.sha256(text).hexdigest()))[-1]
    assert last["error"]["code"] == "damaged"
