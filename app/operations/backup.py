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
        request=await retention(session, site) | {"reason": reason, "front": await front_title(session, site)},
        makes_generation=True,
        question=f"Back up {site.name}?",
        stays=("The site goes on serving; nothing of it is changed.",),
    )


async def front_title(session: Session, site: Site) -> str | None:
    """The front page's title as it was last seen well: what a restore of this generation should show."""
    seen = await session.journal.recall(site.name, "health", Health)
    return seen[0].title if seen is not None and seen[0].state is State.OK else None


async def retention(session: Session, site: Site) -> dict[str, Any]:
    """What the agent needs to judge the new generation and to let go of old ones, and what it cannot know by itself.

    Of the seals only those that prove something: of generations that this client watched being made, and of those that
    were there when it first saw the site. One that merely turned up later may have been planted (FACTS 2).
    """
    journal = session.journal
    seals, facts = await journal.seals(site.name), await journal.generation_facts(site.name)
    own = {generation: known for (generation, tier), known in facts.items() if tier == "server"}
    watched = {one: seals[one] for one, known in own.items() if known.get("watched") and one in seals}
    sealed = await journal.first_seals(site.name) | watched
    return {
        "keep": site.policy.server_keep,
        "min_age_s": policy.seconds(site.policy.server_min_age),
        "signs": policy.SIGNS,
        "full_every_s": policy.FULL_EVERY_S,
        "sealed": sealed,
        "marked": {generation: known["mark"] for generation, known in own.items() if "mark" in known},
        "pinned": sorted(generation for generation, known in own.items() if known.get("pinned")),
    }
