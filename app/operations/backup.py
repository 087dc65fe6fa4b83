"""Plans a backup: a generation on the site's server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app import policy
from app.operations.intent import Intent
from backends.records import Health, Site, State

if TYPE_CHECKING:
    from app.session import Session


async def plan(session: Session, site: Site, reason: str = "hand") -> Intent:
    """`reason` is `hand` or `weekly`; only weekly ones count in the retention's eight."""
    return Intent(
        kind="backup",
        site=site,
        verb="snapshot",
        request=retention(site) | {"reason": reason, "front": await front_title(session, site)},
        question=f"Back up {site.name}?",
        stays=("The site goes on serving; nothing of it is changed.",),
    )


async def front_title(session: Session, site: Site) -> str | None:
    """The front page's title as it was last seen well: what a restore of this generation should show."""
    seen = await session.journal.recall(site.name, "health", Health)
    return seen[0].title if seen is not None and seen[0].state is State.OK else None


def retention(site: Site) -> dict[str, Any]:
    """What the agent needs to judge the new generation and to let go of old ones."""
    return {
        "keep": site.policy.server_keep,
        "min_age_s": policy.seconds(site.policy.server_min_age),
        "signs": policy.SIGNS,
    }
