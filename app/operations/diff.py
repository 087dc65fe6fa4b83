"""Compares the live site with one of its generations, and says how far that generation can be believed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from app.operations import check, core, restore
from backends.records import Blocker, Difference, Generation, GenerationState, Progress, Site

if TYPE_CHECKING:
    from app.session import Session


async def diff(
    session: Session, site: Site, generation: str | None = None, *, full: bool = False
) -> AsyncGenerator[Progress | Difference]:
    """How far it is, then what differs from the newest clean complete generation, unless one is named.

    `full` reads every file, also where its size and times say that it is the same. Changes nothing, so it is no
    operation of the guard's. Raises as `restore.choose` and as the connection do.
    """
    chosen = restore.choose(site, await check.generations(session, site), generation)
    agent = session.agent(site)
    judged_by = await core.judged_by(session.publisher, agent, session.ignored(site))
    async with contextlib.aclosing(agent.diff(chosen.id, full=full, **judged_by)) as told:
        async for one in told:
            if isinstance(one, Difference):
                yield replace(one, site=site.name, generation=chosen.id, warnings=(*doubts(chosen), *one.warnings))
            else:
                yield one


def doubts(generation: Generation) -> list[Blocker]:
    """Why what is measured by this generation may mislead. Pure."""
    found = []
    if generation.sealed is False:
        message = "This generation is NOT the one that was sealed: somebody changed it after it was made."
        found.append(Blocker(code="seal_broken", message=message, hint="compare with another one"))
    if generation.state is GenerationState.SUSPECT:
        message = "This generation is suspect: what harmed the site may be in both, and is not shown then."
        found.append(Blocker(code="suspect", message=message, hint="compare with a clean one too"))
    if generation.state is GenerationState.DAMAGED:
        found.append(
            Blocker(code="damaged", message="Part of this generation is damaged.", hint="compare with another one")
        )
    return found
