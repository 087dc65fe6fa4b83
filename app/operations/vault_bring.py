"""Brings a generation out of the vault back to its site's server: decrypted here, on no disk in clear.

Only what the server lacks crosses: what it has already, by hash, stays. There it becomes one of the server's own
generations, which restore, drill and verify then use as any other; nothing live is touched.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from app import vault
from app.operations import crossing
from app.operations.crossing import Crossed
from app.operations.transfer import SUMMARY_MOST, describes
from backends.agent.client import Agent, AgentError, Lacking
from backends.records import AnyEvent, Finished, Note, Outcome, Progress, Site, Step
from backends.vault import Entry, Part, VaultError, part_name

if TYPE_CHECKING:
    from app.session import Session
    from backends.agent.client import Part as Lacked
    from backends.sealing import Identity
    from backends.vault_streams import Fetching


class FromVault(Struct, frozen=True, kw_only=True):
    """Which generation of the vault, and what opens it. `visits`: it is another site's, here to be rehearsed alone."""

    entry: Entry
    identity: Identity
    visits: bool = False

    @property
    def transfer(self) -> str:
        return transfer_of(self.entry)


def transfer_of(entry: Entry) -> str:
    """The same for the same generation, so that one that was cut is gone on with."""
    return entry.seal[:32]


async def bring(session: Session, site: Site, wanted: FromVault) -> AsyncGenerator[AnyEvent]:
    """Its events, without Started. Begun again it goes on after the last piece that arrived.

    Raises NoVault, SealingError, VaultError, StoreError, AgentError (no_space, busy …), backends.ssh.Refused.
    """
    from backends.vault_streams import Fetching

    entry, agent = wanted.entry, session.agent(site)
    kept = (await session.journal.seals(entry.site)).get(entry.generation)
    if kept is not None and kept != entry.seal:
        raise AgentError(
            "damaged", f"{entry.generation} in the vault is not the one that was sealed", "take another generation"
        )
    yield Step(at=_now(), name="prepare")
    async with vault.opened(session) as store:
        fetching = Fetching(store, wanted.identity, vault.scratch(session))
        parts = {part.name: part for part in entry.parts}
        summary = await fetching.whole(parts["summary.json"], SUMMARY_MOST)
        if not describes(summary, entry):
            message = f"the summary in the vault is not that of {entry.generation} of {site.name}"
            raise VaultError("damaged", message, "somebody put this entry together: take another generation")
        lacking = Lacking(lacking=())
        async with contextlib.aclosing(agent.lacking(wanted.transfer, summary, entry.seal)) as told:
            async for answer in told:
                if isinstance(answer, Lacking):
                    lacking = answer
                else:
                    yield answer
        yield Step(at=_now(), name="bring")
        wants = []
        for one in lacking.lacking:
            if (part := parts.get(part_name(one.what))) is None:
                raise AgentError("damaged", f"the vault's entry has no {one.what}", "see modoseru verify --tier vault")
            wants.append((part, one))
        crossed = Crossed(sum(part.size for part, _ in wants))
        crossing_over = _cross(agent, fetching, wanted.transfer, wants, crossed)
        async with contextlib.aclosing(crossed.told(crossing_over)) as progress:
            async for event in progress:
                yield event
    detail = f"{crossed.total} bytes were brought from the vault"
    if wanted.visits:
        await agent.receive(wanted.transfer, "summary", len(summary), 0, summary)
        yield Finished(at=_now(), outcome=Outcome.DONE, detail=detail)
        return
    yield Step(at=_now(), name="adopt")
    async with contextlib.aclosing(agent.adopt(wanted.transfer, summary, entry.seal)) as told:
        async for adopted in told:
            if isinstance(adopted, Progress):
                yield adopted
    text = f"{entry.generation} is one of the server's again, and pinned: modoseru generations {site.name} --unpin"
    yield Note(at=_now(), code="adopted", text=text, item=entry.generation)
    yield Finished(at=_now(), outcome=Outcome.DONE, generation=entry.generation, detail=detail, summary=entry.seal)


async def _cross(
    agent: Agent, fetching: Fetching, transfer: str, wants: list[tuple[Part, Lacked]], crossed: Crossed
) -> None:
    for part, one in wants:
        await crossing.into(agent, transfer, one.what, part.size, one.have, partial(fetching.part, part), crossed)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
