"""Parts on their way between a server and this machine: what is borne, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

import pytest

from app.operations import crossing, patience
from backends.agent.client import Agent, AgentError, Agents
from backends.records import ServerSettings, Site, SshSettings
from backends.ssh import Refused, Servers

WHOLE = bytes(range(100))


class Server:
    """Takes what comes; `cuts` says after how many bytes each connection is lost, and how long it took until then."""

    def __init__(self, cuts: list[tuple[int, float]]) -> None:
        self.there, self.cuts, self.begun = b"", cuts, list[int]()

    async def received(self, _transfer: str, _what: str, _size: int) -> int:
        return len(self.there)

    async def receive(self, _t: str, _w: str, _s: int, offset: int, blocks: AsyncIterator[bytes]) -> int:
        self.begun.append(offset)
        self.there = self.there[:offset]
        cut, seconds = self.cuts.pop(0) if self.cuts else (len(WHOLE), 0.0)
        async for block in blocks:
            self.there += block
            if len(self.there) - offset >= cut and len(self.there) < len(WHOLE):
                await asyncio.sleep(seconds)
                raise Refused("ssh_lost", "the connection was lost")
        return len(self.there)


async def source(start: int) -> AsyncGenerator[bytes | memoryview]:
    for at in range(start, len(WHOLE), 10):
        yield WHOLE[at : at + 10]


async def lay(server: Server) -> crossing.Crossed:
    crossed = crossing.Crossed(len(WHOLE))
    await crossing.into(cast("Any", server), "f" * 16, "dump", len(WHOLE), 0, source, crossed)
    return crossed


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("PATIENCE", 0.3), ("FIRST_PAUSE", 0.01), ("LONGEST_PAUSE", 0.02)):
        monkeypatch.setattr(patience, name, seconds)


async def test_a_cut_after_longer_than_all_patience_is_borne_where_bytes_came_until_then() -> None:
    server = Server([(20, 0.4), (30, 0.4)])
    assert (await lay(server)).done == len(WHOLE)
    assert server.there == WHOLE
    assert server.begun == [0, 20, 50]


async def test_a_server_that_is_cut_at_the_same_place_again_and_again_is_given_up() -> None:
    class Stuck(Server):
        async def receive(self, _t: str, _w: str, _s: int, offset: int, blocks: AsyncIterator[bytes]) -> int:
            self.begun.append(offset)
            raise Refused("ssh_lost", "the connection was lost")

    server = Stuck([])
    with pytest.raises(Refused):
        await lay(server)
    assert len(server.begun) > 3


async def test_no_line_of_a_server_passes_for_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def told(_self: Agent, _verb: str, _fields: Any) -> AsyncGenerator[dict[str, Any]]:
        yield {"content": "abc"}

    monkeypatch.setattr(Agent, "_answers", told)
    site = Site(
        name="x", url="https://x.example/", ssh=SshSettings(host="x", user="x"), server=ServerSettings(root="~/www")
    )
    async with Servers() as servers:
        with pytest.raises(AgentError) as refused:
            _ = [block async for block in Agents(servers).of(site).send("20260101T000000Z", "summary")]
    assert refused.value.code == "bad_answer"
