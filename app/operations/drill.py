"""Plans a drill: a generation restored beside the live site, started, looked at, and dropped again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.operations import check, restore
from app.operations.intent import Intent
from backends.records import Drill, Operation, Outcome, Site

if TYPE_CHECKING:
    from app.session import Session


async def remember_from_vault(session: Session, site: Site, brought: Operation, drilled: Operation) -> None:
    """What a restore takes that begins in the vault: the way to the server and the drill, recorded apart."""
    last = await session.journal.recall(site.name, "drill", Drill)
    if last is None or last[0].generation != drilled.generation or drilled.outcome is not Outcome.DONE:
        return
    found = msgspec.structs.replace(
        last[0], tier="vault", seconds=round(last[0].seconds + (brought.seconds or 0), 3), before=()
    )
    await session.journal.remember(site.name, "drill_vault", found, found.at)


async def plan(session: Session, site: Site, generation: str | None = None) -> Intent:
    """The newest complete generation unless one is named. Raises NoGeneration, and whatever the server raises."""
    chosen = restore.choose(site, await check.generations(session, site), generation)
    return Intent(
        kind="drill",
        site=site,
        verb="drill",
        request={"generation": chosen.id, "seal": await restore.seal_of(session, site, chosen.id)},
        question=f"Rehearse the restore of {site.name} from {restore.when(chosen)}?",
        stays=("Nothing live is touched: other files, other tables, no mail.",),
        generation=chosen.id,
    )
