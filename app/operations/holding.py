"""Updates that are held: those that broke the site when they were tried, and those that an operator holds.

They stay held, whatever version is offered later, until an operator lets them go. No I/O but the journal.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from backends.records import AnyEvent, Held, HeldItem, ModoseruError, Note, Site, Update, visible

if TYPE_CHECKING:
    from app.session import Session

WHY_MOST = 300


async def held(session: Session, site: Site) -> Held:
    known = await session.journal.recall(site.name, "held", Held)
    return known[0] if known else Held()


async def hold(session: Session, site: Site, slug: str, why: str) -> None:
    """Keeps `slug` from being applied. A later reason takes the place of an earlier one."""
    await _change(session, site, slug, why)


async def let_go(session: Session, sites: Sequence[Site], slug: str) -> None:
    """On those of `sites` that hold it. Raises ModoseruError (not_held) where none does."""
    holding = [site for site in sites if slug in {one.slug for one in (await held(session, site)).items}]
    if not holding:
        raise ModoseruError("not_held", f"{slug} is not held on {sites[0].name}", "see modoseru updates")
    for site in holding:
        await _change(session, site, slug, None)


async def hold_what_broke(session: Session, site: Site, events: Sequence[AnyEvent]) -> None:
    """After an update: what was put back in it, with the reason."""
    for event in events:
        if isinstance(event, Note) and event.code == "put_back" and event.item:
            why = event.text.partition(" was put back: ")[2] or event.text
            await hold(session, site, event.item, why)


def refuse_held(site: Site, named: Sequence[Update]) -> None:
    """Raises ModoseruError (blocked, held) for the first of those that an operator named which is."""
    for one in named:
        if one.blocked is not None:
            raise ModoseruError("blocked", f"{one.slug} cannot be updated on {site.name}: {one.blocked}", "")
        if one.held is not None:
            hint = f"modoseru updates {site.name} --let-go {one.slug}"
            raise ModoseruError("held", f"{one.slug} is held on {site.name}: {one.held}", hint)


async def _change(session: Session, site: Site, slug: str, why: str | None) -> None:
    now = dt.datetime.now(dt.UTC)
    others = [one for one in (await held(session, site)).items if one.slug != slug]
    added = [] if why is None else [HeldItem(slug=slug, why=visible(why, WHY_MOST), at=now, who=session.who)]
    await session.journal.remember(site.name, "held", Held(items=(*others, *added)), now)
    done = "let go" if why is None else "held"
    await session.journal.audit(session.who, "update", "hold", site.name, done, f"{slug}: {why or ''}")
