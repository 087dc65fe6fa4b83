"""Brings the bytes of a generation from one site's server to another's, through this machine, as a stream.

They lie in `incoming/` there and are nobody's generation: the restore that follows reads all of it against the summary.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from app.operations.crossing import Blocks, Crossed
from backends.agent.client import Agent, AgentError
from backends.records import Note, Progress, Site
from backends.vault import Entry, part_name

if TYPE_CHECKING:
    from app.session import Session

SUMMARY_MOST = 8 * 1024 * 1024
"""Bytes: a summary has a line's worth for each table and pack; a request that carries it has at most 16 MiB."""
Size = Annotated[int, Meta(ge=0)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
T = TypeVar("T", bound=Struct)


class Sealed(Struct, frozen=True):
    """A part as the summary has it."""

    size: Size
    sha256: Sha256


class SealedPack(Sealed, frozen=True):
    id: Annotated[str, Meta(pattern=r"^\d{8}T\d{6}Z\Z")]


class Summary(Struct, frozen=True):
    """Of a generation's summary, what tells its parts apart."""

    manifest: Sealed
    dump: Sealed
    packs: tuple[SealedPack, ...]

    def parts(self) -> dict[str, Sealed]:
        """By the name that the agent's `send` knows them by."""
        return {"manifest": self.manifest, "dump": self.dump, **{pack.id: pack for pack in self.packs}}


class _Described(Summary, frozen=True):
    generation: str
    site: str | None = None


def describes(text: bytes, entry: Entry) -> bool:
    """Whether a summary is of the site and generation that an entry says, and names its parts.

    Hashes alone fit whatever somebody puts together who knows the recipient.
    """
    if len(text) > SUMMARY_MOST:
        return False
    try:
        found = msgspec.json.decode(text, type=_Described)
    except msgspec.DecodeError:
        return False
    named = {part_name(what): (part.size, part.sha256) for what, part in found.parts().items()}
    parts = {part.name: (part.size, part.sha256) for part in entry.parts if part.name != "summary.json"}
    return (found.site or entry.site, found.generation, named) == (entry.site, entry.generation, parts)


class Bring(Struct, frozen=True, kw_only=True):
    """What has to be on the target's server before its operation can begin."""

    source: Site
    generation: str
    text: bytes
    """The summary's bytes, as they were sealed."""

    @property
    def seal(self) -> str:
        return hashlib.sha256(self.text).hexdigest()

    @property
    def transfer(self) -> str:
        """The same for the same generation, so that a transfer goes on where an earlier one ended."""
        return hashlib.sha256(f"{self.source.name} {self.generation} {self.seal}".encode()).hexdigest()[:32]

    def summary(self) -> Summary:
        """Raises AgentError (damaged)."""
        return self.read(Summary)

    def read(self, wanted: type[T]) -> T:
        """What `wanted` has fields for of the summary. Raises AgentError (damaged)."""
        try:
            return msgspec.json.decode(self.text, type=wanted)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise _damaged(self.source, "summary") from error


async def summary_of(agent: Agent, site: Site, generation: str) -> Bring:
    """Raises AgentError: damaged where what is there is no summary, and whatever the server raises."""
    text = bytearray()
    async with contextlib.aclosing(agent.send(generation, "summary")) as blocks:
        async for block in blocks:
            text += block
            if len(text) > SUMMARY_MOST:
                raise _damaged(site, "summary")
    found = Bring(source=site, generation=generation, text=bytes(text))
    found.summary()
    return found


async def bring(session: Session, wanted: Bring, target: Site) -> AsyncGenerator[Note | Progress]:
    """Brings what is not there yet; its events have no line and are in no journal.

    Every part is hashed on its way where it comes from its first byte. Raises AgentError: damaged, no_space, cut, and
    whatever either server raises. Begun again, it goes on behind what arrived.
    """
    crossed = Crossed(sum(part.size for part in wanted.summary().parts().values()))
    text = f"{wanted.generation} is brought from {wanted.source.ssh.host}"
    yield Note(at=dt.datetime.now(dt.UTC), code="bringing", text=text)
    async with contextlib.aclosing(crossed.told(_cross(session, wanted, target, crossed))) as progress:
        async for event in progress:
            yield event


async def _cross(session: Session, wanted: Bring, target: Site, crossed: Crossed) -> None:
    source, there = session.agent(wanted.source), session.agent(target)
    for what, part in wanted.summary().parts().items():
        have = await there.received(wanted.transfer, what, part.size)
        crossed.done += have
        if have == part.size:
            continue
        passing = hashlib.sha256() if have == 0 else None
        sent = source.send(wanted.generation, what, have, size=part.size)
        async with contextlib.aclosing(crossed.counted(_hashed(sent, passing))) as blocks:
            await there.receive(wanted.transfer, what, part.size, have, blocks)
        if passing is not None and passing.hexdigest() != part.sha256:
            await there.receive(wanted.transfer, what, part.size, 0, b"")
            raise _damaged(wanted.source, what)
    await there.receive(wanted.transfer, "summary", len(wanted.text), 0, wanted.text)


async def _hashed(blocks: Blocks, hashed: hashlib._Hash | None) -> Blocks:
    async with contextlib.aclosing(blocks):
        async for block in blocks:
            if hashed is not None:
                await asyncio.to_thread(hashed.update, block)
            yield block


def _damaged(site: Site, what: str) -> AgentError:
    return AgentError(
        "damaged", f"the part {what} of the generation is not what was sealed", f"see modoseru verify {site.name}"
    )
