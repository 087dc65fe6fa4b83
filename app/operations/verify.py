"""Reads a generation back, every byte of it, and compares its summary with the seal kept here."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from msgspec import Struct

from app.operations import check, restore
from backends.agent.client import Problem
from backends.records import Site

if TYPE_CHECKING:
    from app.session import Session


class Verified(Struct, frozen=True, kw_only=True):
    """What `verify --json` prints. `unknown`: it is whole by the server's word, and no seal is kept here."""

    site: str
    generation: str
    tier: str = "server"
    outcome: str
    checked_bytes: int
    problems: tuple[Problem, ...] = ()


async def verify(session: Session, site: Site, generation: str | None = None) -> Verified:
    """The newest complete generation unless one is named. Raises as `restore.choose` and as the connection do."""
    # Before the generations are asked for: a seal taken at this very contact would prove nothing.
    seals = await session.journal.seals(site.name)
    agent = session.agent(site)
    chosen = restore.choose(site, await check.generations(session, site), generation)
    found = await agent.verify(chosen.id)
    seal = seals.get(chosen.id)
    outcome, problems = found.outcome, found.problems
    if seal is not None and found.summary != seal:
        outcome = "damaged"
        problems = (*problems, Problem(what="is not the summary that was sealed", path="summary.json"))
    elif outcome == "ok" and seal is None:
        outcome = "unknown"
    if outcome == "ok":
        now = dt.datetime.now(dt.UTC)
        await session.journal.note_generation_fact(site.name, chosen.id, "server", "verified_at", now)
    return Verified(
        site=site.name,
        generation=chosen.id,
        outcome=outcome,
        checked_bytes=found.checked_bytes,
        problems=problems,
    )
