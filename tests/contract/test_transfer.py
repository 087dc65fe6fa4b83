"""The verbs `send` and `receive`, of the agent on real servers and of its twin."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
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


async def test_what_is_sent_again_takes_the_place_of_what_was_there(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    await agent.inspect()
    assert await agent.receive(TRANSFER, "dump", 30, 0, b"0123456789") == 10
    assert await agent.receive(TRANSFER, "dump", 30, 10, b"abcdefghij") == 20
    assert await agent.receive(TRANSFER, "dump", 30, 15, b"ABCDE") == 20
    assert await agent.receive(TRANSFER, "dump", 30, 20, b"") == 20
    assert await agent.receive(TRANSFER, "dump", 30, 0, b"") == 0
    assert await agent.received(TRANSFER, "dump", 30) == 0


async def test_what_came_before_its_source_failed_stays(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    await agent.inspect()

    async def failing() -> AsyncIterator[bytes]:
        yield b"0123456789" * 100_000
        yield b"abcdefghij" * 100_000
        raise LookupError

    with pytest.raises(LookupError):
        await agent.receive(TRANSFER, "dump", 3_000_000, 0, failing())
    there = await agent.received(TRANSFER, "dump", 3_000_000)
    assert 0 <= there <= 2_000_000
    rest = (b"0123456789" * 100_000 + b"abcdefghij" * 100_000)[there:]
    assert await agent.receive(TRANSFER, "dump", 3_000_000, there, rest) == 2_000_000


async def test_what_is_past_the_end_is_empty_or_refused(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    made = (await carry_out(agent, "snapshot", reason="hand")).end
    assert made.generation
    size = len(await whole(agent, made.generation, "dump"))
    dump = await whole(agent, made.generation, "dump")
    assert await whole(agent, made.generation, "dump", size // 2) == dump[size // 2 :]
    assert await whole(agent, made.generation, "dump", size) == b""
    with pytest.raises(AgentError) as refused:
        await whole(agent, made.generation, "dump", size + 1)
    assert refused.value.code == "bad_request"
    for other in (size - 1, size + 1):
        with pytest.raises(AgentError) as refused:
            _ = [block async for block in agent.send(made.generation, "dump", size=other)]
        assert refused.value.code == "damaged"


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
        await whole(agent, generation or str(made.generation), what)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"transfer": "../../../public_html"}, "bad_request"),
        ({"what": "../evil.php"}, "bad_request"),
        ({"offset": 11}, "bad_request"),
        ({"size": 5}, "bad_request"),
    ],
)
async def test_what_does_not_fit_changes_nothing(
    ground: Ground, servers: Servers, changed: dict[str, Any], code: str
) -> None:
    agent = ground.agent(servers)
    await agent.inspect()
    assert await agent.receive(TRANSFER, "dump", 20, 0, b"0123456789") == 10
    before = ground.looks()
    fields = {"transfer": TRANSFER, "what": "dump", "size": 20, "offset": 10}
    (answer,) = await ground.raw(servers, "receive", behind=b"abcdefghij", **fields | changed)
    assert answer["error"]["code"] == code
    assert await agent.received(TRANSFER, "dump", 20) == 10
    assert ground.looks() == before
