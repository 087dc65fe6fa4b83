"""Plans a backup: a generation on the site's server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app import policy
from app.operations.intent import Intent
from backends.records import Site

if TYPE_CHECKING:
    from app.session import Session


async def plan(session: Session, site: Site, reason: str = "hand") -> Intent:
    """`reason` is `hand` or `weekly`; only weekly ones count in the retention's eight."""
    return Intent(
        kind="backup",
        site=site,
        verb="snapshot",
        request=retention(site) | {"reason": reason},
        question=f"Back up {site.name}?",
        stays=("The site goes on serving; nothing of it is changed.",),
    )


def retention(site: Site) -> dict[str, Any]:
    """What the agent needs to judge the new generation and to let go of old ones."""
    return {
        "keep": site.policy.server_keep,
        "min_age_s": policy.seconds(site.policy.server_min_age),
        "signs": policy.SIGNS,
    }
