"""Plans an update: a generation first, then the chosen items one at a time, each looked at, each taken back alone."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from app import holes, neglect
from app.holes import Judged
from app.neglect import Neglected
from app.operations import check, holding, look
from app.operations.backup import retention
from app.operations.intent import Intent
from backends.records import Hole, Inspection, ModoseruError, Site, Update

if TYPE_CHECKING:
    from app.session import Session

ORDER = {"plugin": 0, "theme": 1, "core": 2, "translation": 3}
"""Plugins before core: a plugin that supports the new core has usually said so in an update of its own."""


AT_ONCE = 10
"""Sites asked together: each asks wordpress.org, which limits who asks too often."""


class Pending(Struct, frozen=True, kw_only=True):
    """What is offered to one site. `updates` is None where that could not be asked, and `problem` says why; `holes` is
    None where they are unknown."""

    name: str
    updates: tuple[Update, ...] | None = None
    holes: tuple[Hole, ...] | None = None
    problem: ModoseruError | None = None


async def pending_of(session: Session, sites: Sequence[Site]) -> list[Pending]:
    """Of each site in its order; a site that cannot be asked raises nothing."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(site: Site) -> Pending:
        async with turns:
            try:
                found = await _asked(session, site)
                return Pending(name=site.name, updates=found.updates, holes=found.holes)
            except ModoseruError as error:
                return Pending(name=site.name, problem=error)

    return await asyncio.gather(*(one(site) for site in sites))


async def neglected(session: Session, sites: Sequence[Site]) -> dict[str, tuple[Neglected, ...]]:
    """By site, as it was seen last: plugins for which no update will come. A site that was never seen is missing."""
    seen = await session.journal.recall_all("inspection", Inspection)
    inside = {site.name: seen[site.name][0] for site in sites if site.name in seen}
    listings = await session.directory.listings({slug for one in inside.values() for slug in neglect.slugs(one)})
    today = dt.datetime.now(dt.UTC).date()
    return {name: neglect.neglected(one, listings, today) for name, one in inside.items()}


async def pending(session: Session, site: Site) -> tuple[Update, ...]:
    """What `pending_of` finds of one site. Raises ModoseruError where that could not be asked."""
    return (await _asked(session, site)).updates or ()


async def _asked(session: Session, site: Site) -> Judged:
    """Asks wordpress.org through the site's own update code. Raises ModoseruError where that could not be asked."""
    inspection, generations = await session.agent(site).inspect(refresh=True)
    await check.remember_generations(session, site, generations)
    await session.journal.remember(site.name, "inspection", inspection, dt.datetime.now(dt.UTC))
    if not inspection.booted:
        why = inspection.boot_error.message if inspection.boot_error else inspection.database_error
        raise ModoseruError("not_booted", f"WordPress of {site.name} does not start: {why}", "restore it first")
    if not inspection.updates_checked:
        raise ModoseruError(
            "updates_unknown",
            f"{site.name} could not ask wordpress.org for updates",
            "let its server reach api.wordpress.org",
        )
    offered = (await holding.held(session, site)).marked(inspection.updates)
    known = await session.holes.weaknesses(holes.keys([inspection])) if session.holes else None
    return holes.judged(inspection, known.of if known else None, offered)


def in_order(updates: Sequence[Update]) -> list[Update]:
    """Each behind what it needs, otherwise by kind and name. Pure; a circle of needs is cut somewhere."""
    ordered = sorted(updates, key=lambda one: (ORDER.get(one.kind, 9), one.slug), reverse=True)
    left = {(one.kind, one.slug): one for one in ordered}
    found: list[Update] = []

    def take(one: Update) -> None:
        for slug in one.needs:
            if (needed := left.pop(("plugin", slug), None)) is not None:
                take(needed)
        found.append(one)

    while left:
        take(left.popitem()[1])
    return found


async def _pages(session: Session, site: Site) -> Sequence[str]:
    """By which an update is judged."""
    return site.web.pages or await session.agent(site).pages()


async def plan(session: Session, site: Site, slugs: Sequence[str] | None = None) -> Intent:
    """The pending updates named by `slugs`, or all of them.

    Raises ModoseruError: nothing_to_update, unknown_item, held, blocked, already_failing, and as `pending` does.
    """
    offered = await pending(session, site)
    unknown = sorted(set(slugs or ()) - {one.slug for one in offered})
    if unknown:
        raise ModoseruError(
            "unknown_item", f"no update of {', '.join(unknown)} is offered to {site.name}", "see modoseru updates"
        )
    chosen = [one for one in offered if (one.held is None if slugs is None else one.slug in slugs)]
    return await plan_of(session, site, chosen, offered)


async def plan_of(session: Session, site: Site, wanted: Sequence[Update], offered: Sequence[Update]) -> Intent:
    """These of what was `offered` a moment ago.

    Raises ModoseruError: nothing_to_update, held, blocked, already_failing.
    """
    chosen = in_order(wanted)
    holding.refuse_held(site, chosen)
    if not chosen:
        hint = f"what is pending is held: see modoseru updates {site.name}" if offered else ""
        raise ModoseruError("nothing_to_update", f"nothing is to be updated on {site.name}", hint)
    expected, named, log = await asyncio.gather(
        look.before(session, site, spares=True), _pages(session, site), look.error_log(session, site)
    )
    lost: dict[str, str] = {}
    if expected.before is not None:
        raise ModoseruError(
            "already_failing",
            f"{site.name} is failing already: {expected.before}",
            "bring it back first; an update could not be judged",
        )
    if expected.seen:
        expected, lost = await look.measured(session, site, expected, named)
    return Intent(
        kind="update",
        site=site,
        verb="update",
        makes_generation=True,
        updates=tuple(chosen),
        request=await retention(session, site)
        | {
            "front": expected.title,
            "error_log": log,
            "items": [{"kind": one.kind, "slug": one.slug} for one in chosen],
            "expect": look.travelling(expected, title=True),
        },
        question=f"Update {len(chosen)} of {len(offered)} on {site.name}?",
        goes=tuple(f"{one.name or one.slug} {one.from_ or '?'} → {one.to or '?'}" for one in chosen),
        stays=(
            "A generation is made first.",
            "Each that breaks a page is put back alone; undo takes all of them back.",
            *(f"Journey “{name}” fails already and judges nothing: {why}." for name, why in lost.items()),
        ),
        danger=True,
    )
