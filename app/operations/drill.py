"""Plans a drill: a generation restored beside the live site, started, looked at, and dropped again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.operations import check, restore
from app.operations.intent import Intent
from backends.records import Site

if TYPE_CHECKING:
    from app.session import Session


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
