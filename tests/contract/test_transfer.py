"""The verbs `send` and `receive`, of the agent on real servers and of its twin."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from backends.agent.client import AgentError
from backends.ssh import Servers
from tests.agent.copies import TRANSFER, whole
from tests.agent.small import carry_out
from tests.contract.ground import Ground

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_generation_s_bytes_come_out_as_they_were_sealed_and_go_in_again(
    ground: Ground, servers: Servers
) -> None:
    agent = ground.agent(servers)
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    assert made.generation
    before = ground.looks()
    summary = await whole(agent, made.generation, "summary")
    assert hashlib.sha256(summary).hexdigest() == made.summary
    for what in ("manifest", "dump", made.generation):
        content = await whole(agent, made.generation, what)
        assert content
        assert await agent.received(TRANSFER, what, len(content)) == 0
        half = len(content) // 2
        assert await agent.receive(TRANSFER, what, len(content), 0, content[:half]) == half
        assert await agent.received(TRANSFER, what, len(content)) == half
        assert await agent.receive(TRANSFER, what, len(content), half, content[half:]) == len(content)
        # What is longer than it can be is of something else.
        assert await agent.received(TRANSFER, what, half) == 0
    assert await agent.operations() != ()
    assert [one.id for one in (await agent.generations()).generations].count(made.generation) == 1
    assert ground.looks() == before


async def test_a_piece_that_comes_again_throws_none_away_that_came_after_it(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    await agent.inspect()
    pieces = [b"0123456789", b"abcdefghij", b"ABCDEFGHIJ"]
    assert await agent.receive(TRANSFER, "dump", 30, 0, pieces[0]) == 10
    assert await agent.receive(TRANSFER, "dump", 30, 10, pieces[1]) == 20
    assert await agent.receive(TRANSFER, "dump", 30, 0, pieces[0]) == 20
    assert await agent.receive(TRANSFER, "dump", 30, 20, pieces[2]) == 30
    # Nothing at a place ends the part there.
    assert await agent.receive(TRANSFER, "dump", 30, 20, b"") == 20
    # Other bytes in its place are of something else, and so is what came after them.
    assert await agent.receive(TRANSFER, "dump", 30, 0, pieces[2]) == 10


async def test_pieces_that_overtake_each_other_wait_for_their_turn(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    await agent.inspect()
    late = asyncio.create_task(agent.receive(TRANSFER, "dump", 20, 10, b"abcdefghij"))
    assert await agent.receive(TRANSFER, "dump", 20, 0, b"0123456789") in {10, 20}
    assert await late == 20
    assert await agent.received(TRANSFER, "dump", 20) == 20


async def test_a_piece_past_the_end_is_empty_or_refused(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    assert made.generation
    size = len(await whole(agent, made.generation, "dump"))
    assert (await agent.piece(made.generation, "dump", size)).content == b""
    with pytest.raises(AgentError) as refused:
        await agent.piece(made.generation, "dump", size + 1)
    assert refused.value.code == "bad_request"


@pytest.mark.parametrize(
    ("generation", "what", "code"),
    [
        ("20200101T000000Z", "summary", "no_generation"),
        ("../../etc", "summary", "no_generation"),
        (None, "../../../etc/passwd", "bad_request"),
        (None, "verified", "bad_request"),
    ],
)
async def test_nothing_but_the_parts_of_a_generation_is_sent(
    ground: Ground, servers: Servers, generation: str | None, what: str, code: str
) -> None:
    agent = ground.agent(servers)
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    with pytest.raises(AgentError) as refused:
        await agent.piece(generation or str(made.generation), what, 0)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"transfer": "../../../public_html"}, "bad_request"),
        ({"what": "../evil.php"}, "bad_request"),
        ({"offset": 11}, "bad_request"),
        ({"size": 5}, "bad_request"),
        ({"sha256": "0" * 64}, "damaged"),
    ],
)
async def test_a_piece_that_does_not_fit_changes_nothing(
    ground: Ground, servers: Servers, changed: dict[str, Any], code: str
) -> None:
    agent = ground.agent(servers)
    await agent.inspect()
    assert await agent.receive(TRANSFER, "dump", 20, 0, b"0123456789") == 10
    before = ground.looks()
    fields = {"transfer": TRANSFER, "what": "dump", "size": 20, "offset": 10}
    fields |= {"sha256": hashlib.sha256(b"abcdefghij").hexdigest()} | changed
    (answer,) = await ground.raw(servers, "receive", behind=b"abcdefghij", **fields)
    assert answer["error"]["code"] == code
    assert await agent.received(TRANSFER, "dump", 20) == 10
    assert ground.looks() == before
