"""The verbs `lacking` and `adopt`: what lies off-site becomes the server's own again, on both grounds."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from backends.agent.client import Agent, AgentError
from backends.records import Outcome
from backends.ssh import Servers
from tests.agent.copies import TRANSFER, Copy, adopt, bring, copy_of, lacking, lay
from tests.agent.small import carry_out, follow, verify
from tests.contract.ground import Ground
from tests.contract.test_protocol import begin_held, generation_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def kept(agent: Agent) -> Copy:
    """A generation of the site, copied."""
    return await copy_of(agent, await generation_of(agent))


async def listed(agent: Agent) -> dict[str, str]:
    return dict((await agent.generations()).summaries)


async def test_all_of_a_generation_that_is_gone_is_lacking(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    copy = await kept(agent)
    ground.lose_generation(copy.generation)
    assert await lacking(agent, copy) == {"manifest": 0, "dump": 0, copy.generation: 0}
    assert list(await lacking(agent, copy)) == ["manifest", "dump", copy.generation]


async def test_a_pack_that_is_there_is_not_lacking(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    copy = await kept(agent)
    ground.lose_generation(copy.generation, pack=False)
    assert await lacking(agent, copy) == {"manifest": 0, "dump": 0}
    assert await bring(agent, copy) == {"manifest", "dump"}
    await adopt(agent, copy)
    assert (await verify(agent, copy.generation, copy.seal)).outcome == "ok"


async def test_what_was_brought_counts_by_its_hash_and_what_cannot_be_used_goes(
    ground: Ground, servers: Servers
) -> None:
    agent = ground.agent(servers)
    copy = await kept(agent)
    ground.lose_generation(copy.generation)
    manifest, dump, pack = (copy.parts[what] for what in ("manifest", "dump", copy.generation))
    await lay(agent, copy, "manifest")
    await lay(agent, copy, "dump", dump[:7], size=len(dump))
    await lay(agent, copy, copy.generation, pack + b"x")
    assert await lacking(agent, copy) == {"dump": 7, copy.generation: 0}
    assert await agent.received(TRANSFER, copy.generation, len(pack) + 1) == 0
    await lay(agent, copy, "manifest", bytes(len(manifest)))
    assert await lacking(agent, copy) == {"manifest": 0, "dump": 7, copy.generation: 0}
    assert await agent.received(TRANSFER, "manifest", len(manifest)) == 0
    assert await bring(agent, copy) == {"manifest", "dump", copy.generation}
    assert await lacking(agent, copy) == {}


async def test_an_adopted_generation_is_restored_and_verified_like_any_other(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    copy = await kept(agent)
    before, known = ground.looks(), await listed(agent)
    ground.lose_generation(copy.generation)
    assert copy.generation not in await listed(agent)
    await bring(agent, copy)
    assert copy.generation not in await listed(agent)
    found = await adopt(agent, copy)
    assert (found.seal, found.generation.id, found.generation.pinned) == (copy.seal, copy.generation, True)
    told = await agent.generations()
    assert found.generation in told.generations
    assert told.summaries == known
    assert (await verify(agent, copy.generation, copy.seal)).outcome == "ok"
    ground.spoil()
    story = await carry_out(agent, "restore", generation=copy.generation, only="all", seal=copy.seal)
    assert story.outcome is Outcome.DONE, story.end
    assert ground.looks() == before
    assert await agent.received(TRANSFER, "manifest", 10**6) == 0


async def test_a_generation_that_is_there_stays(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    copy = await kept(agent)
    known = await listed(agent)
    assert await lacking(agent, copy) == {}
    found = await adopt(agent, copy)
    assert (found.seal, found.generation.pinned) == (copy.seal, True)
    assert await listed(agent) == known
    assert not (ground.state / "replaced").exists()
    assert (await verify(agent, copy.generation, copy.seal)).outcome == "ok"


async def test_another_one_of_its_id_is_kept_as_evidence(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    copy = await kept(agent)
    summary = ground.state / "generations" / copy.generation / "summary.json"
    summary.write_bytes(copy.summary + b" ")
    forged = hashlib.sha256(copy.summary + b" ").hexdigest()
    assert (await listed(agent))[copy.generation] == forged
    assert await lacking(agent, copy) == {}
    await adopt(agent, copy)
    assert (await listed(agent))[copy.generation] == copy.seal
    (aside,) = (ground.state / "replaced").iterdir()
    assert aside.name == f"{copy.generation}-{forged[:8]}"
    assert (aside / "summary.json").read_bytes() == copy.summary + b" "
    assert (await verify(agent, copy.generation, copy.seal)).outcome == "ok"


@pytest.mark.parametrize("wrong", ["changed", "short", "none"])
@pytest.mark.parametrize("what", ["manifest", "dump", "pack"])
async def test_nothing_is_adopted_where_a_part_is_not_what_was_sealed(
    ground: Ground, servers: Servers, what: str, wrong: str
) -> None:
    agent = ground.agent(servers)
    copy = await kept(agent)
    ground.lose_generation(copy.generation)
    known = await listed(agent)
    odd = copy.generation if what == "pack" else what
    for part in copy.parts.keys() - {odd}:
        await lay(agent, copy, part)
    whole = copy.parts[odd]
    content = {"changed": bytes((whole[0] ^ 1,)) + whole[1:], "short": whole[:-1], "none": b""}[wrong]
    await lay(agent, copy, odd, content, size=len(whole))
    with pytest.raises(AgentError) as refused:
        await adopt(agent, copy)
    assert (refused.value.code, odd in refused.value.message) == ("damaged", True)
    assert await listed(agent) == known
    assert await bring(agent, copy) == {odd}
    await adopt(agent, copy)
    assert (await verify(agent, copy.generation, copy.seal)).outcome == "ok"


async def test_half_of_a_part_that_the_server_has_whole_takes_nothing_from_it(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    copy = await kept(agent)
    for what, content in copy.parts.items():
        await lay(agent, copy, what, content[:9], size=len(content))
    assert await lacking(agent, copy) == {}
    await adopt(agent, copy)
    assert (await verify(agent, copy.generation, copy.seal)).outcome == "ok"


@pytest.mark.parametrize("verb", ["lacking", "adopt"])
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"seal": "0" * 64}, "damaged"),
        ({"seal": None}, "bad_request"),
        ({"transfer": "../../../public_html"}, "bad_request"),
        ({"transfer": None}, "bad_request"),
        ({"summary": None}, "bad_request"),
        ({"summary": "no JSON"}, "damaged"),
        ({"summary": "5"}, "damaged"),
        ({"summary": "{}"}, "damaged"),
        ({"summary": "elsewhere"}, "damaged"),
    ],
)
async def test_what_is_no_sealed_summary_is_refused(
    ground: Ground, servers: Servers, verb: str, changed: dict[str, Any], code: str
) -> None:
    agent = ground.agent(servers)
    copy = await kept(agent)
    known, before = await listed(agent), ground.looks()
    fields: dict[str, Any] = {"transfer": TRANSFER, "summary": copy.summary.decode(), "seal": copy.seal} | changed
    if fields["summary"] == "elsewhere":
        # No summary that could be read names another id than a moment's, however well it is sealed.
        whole = json.loads(copy.summary)
        named = whole["generation"]
        text = json.dumps(whole | {"generation": {**named, "id": "../../x"} if isinstance(named, dict) else "../../x"})
        fields["summary"] = text
    if "summary" in changed and fields["summary"] is not None:
        fields["seal"] = hashlib.sha256(fields["summary"].encode()).hexdigest()
    (answer,) = await ground.raw(servers, verb, **fields)
    assert answer["error"]["code"] == code
    assert (await listed(agent), ground.looks()) == (known, before)


async def test_while_an_operation_runs_it_is_busy_and_told_with_what(
    ground: Ground, servers: Servers, others: Servers
) -> None:
    agent, other = ground.agent(servers), ground.agent(others)
    copy = await kept(agent)
    operation = await begin_held(ground, agent, "prepare", "snapshot", reason="hand")
    with pytest.raises(AgentError) as refused:
        await adopt(other, copy)
    assert (refused.value.code, refused.value.hint) == ("busy", operation)
    assert await lacking(other, copy) == {}
    ground.release()
    assert (await follow(agent, operation)).outcome is Outcome.DONE
    assert (await adopt(other, copy)).seal == copy.seal
