"""The month's ledger: what became of each update on each site, who approved it, and how long the site was not right."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from app.operations import deciding
from backends.journal_updates import Decision, Entry
from backends.records import AnyEvent, Asked, Inspection, ModoseruError, Note, Site, Update, visible

if TYPE_CHECKING:
    from app.session import Session

OUTCOMES = {"updated": "applied", "put_back": "put_back", "not_updated": "not_updated", "not_judged": "not_judged"}
"""By the code of the note that tells of it."""
IN_PLACE = {"core", "translation"}
"""Kinds that WordPress writes over what is live; the others are switched by two renames."""
WHY_MOST = 300
Known = Mapping[tuple[str, str], Update]
"""What was offered, by kind and slug."""


async def remember(session: Session, site: Site, operation: str, events: Sequence[AnyEvent]) -> None:
    """Of an update that ended. What was offered is the last word of the site before it."""
    seen = await session.journal.recall(site.name, "inspection", Inspection)
    offered = {(one.kind, one.slug): one for one in (seen[0].updates if seen else ())}
    decisions = await session.journal.updates.decisions()
    entries = [_approved(one, decisions) for one in entries_of(site.name, operation, events, offered)]
    await session.journal.updates.write(entries)


def month(text: str | None, zone: str) -> tuple[dt.datetime, dt.datetime]:
    """When `YYYY-MM`, or the current month, begins and ends in a zone. Raises ModoseruError (bad_month)."""
    here = zoneinfo.ZoneInfo(zone)
    try:
        begins = dt.datetime.strptime(text or f"{dt.datetime.now(here):%Y-%m}", "%Y-%m").replace(tzinfo=here)
    except ValueError:
        error = ModoseruError("bad_month", f"{visible(text or '', 20)} is not a month", "one such as 2026-11 is")
        error.exit_code = 2
        raise error from None
    return begins, (begins + dt.timedelta(days=32)).replace(day=1)


async def not_begun(session: Session, site: Site, updates: Sequence[Update], why: ModoseruError) -> None:
    """Nothing was begun on a site where these were to be applied."""
    now, decisions = dt.datetime.now(dt.UTC), await session.journal.updates.decisions()
    entries = [_entry(site.name, "", one, "not_begun", now, why=visible(why.message, WHY_MOST)) for one in updates]
    await session.journal.updates.write([_approved(one, decisions) for one in entries])


def entries_of(site: str, operation: str, events: Sequence[AnyEvent], offered: Known) -> Iterator[Entry]:
    """From an update's events. Pure."""
    kind, began, switched = "", None, None
    for event in events:
        if isinstance(event, Asked) and event.subject == "look":
            switched = event.at
        if not isinstance(event, Note) or event.item is None:
            continue
        if event.code == "updating":
            kind, began, switched = visible(event.text.split(" ")[1], 20), event.at, None
        elif event.code in OUTCOMES:
            update = offered.get((kind, event.item)) or Update(kind=kind, slug=event.item)
            outcome = OUTCOMES[event.code]
            since = began if outcome == "applied" and kind in IN_PLACE else switched
            until = switched if outcome == "applied" else event.at
            away = (until - since).total_seconds() if since is not None and until is not None else 0.0
            why = event.text.partition(" was put back: ")[2] or event.text.partition(" was not updated: ")[2]
            reason = visible(why, WHY_MOST) if why else None
            yield _entry(site, operation, update, outcome, event.at, why=reason, unavailable_s=round(away, 3))


def _entry(
    site: str, operation: str, update: Update, outcome: str, at: dt.datetime, *, why: str | None = None,
    unavailable_s: float | None = None,
) -> Entry:  # fmt: skip
    return Entry(
        site=site,
        operation=operation,
        kind=update.kind,
        slug=update.slug,
        name=update.name,
        from_=update.from_,
        to=update.to,
        outcome=outcome,
        why=why,
        at=at,
        unavailable_s=unavailable_s,
    )


def _approved(entry: Entry, decisions: Sequence[Decision]) -> Entry:
    update = Update(kind=entry.kind, slug=entry.slug, to=entry.to)
    found = deciding.standing(decisions, entry.site, update)
    if found is None or found.verdict is not deciding.Verdict.APPROVED:
        return entry
    return msgspec.structs.replace(entry, approved_by=found.who, note=found.note)
