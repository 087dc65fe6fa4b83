"""Generations as they lie off-site, held by a test; brought back as an operator would bring them."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, replace

from backends.agent.client import Adopted, Agent, Lacking
from backends.records import Progress

TRANSFER = "0123456789abcdef"


@dataclass(frozen=True)
class Copy:
    """A generation's bytes; `parts` by the names that `send` knows."""

    generation: str
    summary: bytes
    parts: dict[str, bytes]

    @property
    def seal(self) -> str:
        return hashlib.sha256(self.summary).hexdigest()

    def sealed_as(self, generation: str, summary: bytes) -> Copy:
        """The same parts below another summary."""
        return replace(self, generation=generation, summary=summary)


async def whole(agent: Agent, generation: str, what: str, offset: int = 0) -> bytes:
    async with contextlib.aclosing(agent.send(generation, what, offset)) as blocks:
        return b"".join([bytes(block) async for block in blocks])


async def copy_of(agent: Agent, generation: str, packs: list[str] | None = None) -> Copy:
    """`packs`: where they are others than its own alone."""
    names = ("manifest", "dump", *(packs or [generation]))
    summary = await whole(agent, generation, "summary")
    return Copy(generation, summary, {what: await whole(agent, generation, what) for what in names})


async def lacking(agent: Agent, copy: Copy) -> dict[str, int]:
    """What has to be brought, with how much of it is there."""
    async with contextlib.aclosing(agent.lacking(TRANSFER, copy.summary, copy.seal)) as told:
        *progress, found = [one async for one in told]
    assert isinstance(found, Lacking)
    _is_told_whole([one for one in progress if isinstance(one, Progress)], copy)
    return {part.what: part.have for part in found.lacking}


async def lay(agent: Agent, copy: Copy, what: str, content: bytes | None = None, size: int | None = None) -> None:
    """Brings a part, or something else in its name."""
    content = copy.parts[what] if content is None else content
    await agent.receive(TRANSFER, what, len(content) if size is None else size, 0, content)


async def bring(agent: Agent, copy: Copy) -> set[str]:
    """Brings what the server lacks; returns what that was."""
    found = await lacking(agent, copy)
    for what, offset in found.items():
        whole = copy.parts[what]
        assert await agent.receive(TRANSFER, what, len(whole), offset, whole[offset:]) == len(whole)
    return set(found)


async def adopt(agent: Agent, copy: Copy) -> Adopted:
    async with contextlib.aclosing(agent.adopt(TRANSFER, copy.summary, copy.seal)) as told:
        *progress, found = [one async for one in told]
    assert isinstance(found, Adopted)
    _is_told_whole([one for one in progress if isinstance(one, Progress)], copy)
    return found


def _is_told_whole(progress: list[Progress], copy: Copy) -> None:
    assert [event.line for event in progress] == list(range(len(progress)))
    assert all(event.done <= (event.total or 0) for event in progress)
    assert progress[-1].done == progress[-1].total == sum(map(len, copy.parts.values()))
