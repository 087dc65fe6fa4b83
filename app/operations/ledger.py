"""The month's ledger: what became of each update on each site, who approved it, and how long the site was not right."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from app.operations import deciding
from backends.journal_updates import Entry, Verdict
from backends.records import AnyEvent, Asked, Inspection, ModoseruError, Note, Site, Update, visible

if TYPE_CHECKING:
    from app.operations.deciding import Decided
    from app.session import Session

OUTCOMES = {"updated": "applied", "put_back": "put_back", "not_updated": "not_updated", "not_judged": "not_judged"}
"""By the code of the note that tells of it."""
IN_PLACE = {"core"}
"""What WordPress writes over what is live; the others are switched by two renames."""
WHY_MOST = 300
Known = Mapping[tuple[str, str], Update]
"""What was offered, by kind and slug."""


class Begun(Struct, frozen=True):
    """What an update was to apply; kept when it begins, for who sees its end may be another process."""

    updates: tuple[Update, ...]


async def begin(session: Session, site: Site, operation: str, updates: Sequence[Update]) -> None:
    now = dt.datetime.now(dt.UTC)
    await session.journal.remember(site.name, f"updating {operation}", Begun(tuple(updates)), now)


async def remember(session: Session, site: Site, operation: str, events: Sequence[AnyEvent]) -> None:
    """Of an update that ended. Without its beginning, what was offered is the last word of the site."""
    begun = await session.journal.recall(site.name, f"updating {operation}", Begun)
    seen = await session.journal.recall(site.name, "inspection", Inspection)
    updates = begun[0].updates if begun else seen[0].updates if seen else ()
    offered = {(one.kind, one.slug): one for one in updates}
    decided, now = await deciding.known(session), dt.datetime.now(dt.UTC)
    entries = [_approved(one, decided) for one in entries_of(site.name, operation, events, offered, now)]
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
    now, decided = dt.datetime.now(dt.UTC), await deciding.known(session)
    entries = [_entry(site.name, "", one, "not_begun", now, why=visible(why.message, WHY_MOST)) for one in updates]
    await session.journal.updates.write([_approved(one, decided) for one in entries])


def entries_of(
    site: str, operation: str, events: Sequence[AnyEvent], offered: Known, now: dt.datetime
) -> Iterator[Entry]:
    """From an update's events, whose clock is the server's: only their differences count. Pure."""
    kind, began, switched = "", None, None
    for event in events:
        if isinstance(event, Asked) and event.subject == "look":
            switched = event.at
        if not isinstance(event, Note) or event.item is None:
            continue
        if event.code == "updating":
            kind, began, switched = visible(f"{event.text} ".split(" ")[1], 20), event.at, None
        elif event.code in OUTCOMES:
            update = offered.get((kind, event.item)) or Update(kind=kind, slug=visible(event.item, 200))
            outcome = OUTCOMES[event.code]
            away = _away(kind, outcome, (began, switched, event.at))
            why = event.text.partition(" was put back: ")[2] or event.text.partition(" was not updated: ")[2]
            reason = visible(why, WHY_MOST) if why else None
            yield _entry(site, operation, update, outcome, now, why=reason, unavailable_s=away)


def _away(kind: str, outcome: str, times: tuple[dt.datetime | None, dt.datetime | None, dt.datetime]) -> float | None:
    """From when it was taken up, was live, and was done with: for how many seconds at most the site was not right."""
    began, switched, done = times
    if outcome == "applied" and kind not in IN_PLACE:
        return 0.0 if switched is not None else None
    since = began if kind in IN_PLACE else switched
    until = switched if outcome == "applied" else done
    return round((until - since).total_seconds(), 3) if since is not None and until is not None else None


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


def _approved(entry: Entry, decided: Decided) -> Entry:
    update = Update(kind=entry.kind, slug=entry.slug, to=entry.to)
    found = deciding.standing(decided, entry.site, update)
    if found is None or found.verdict is not Verdict.APPROVED:
        return entry
    return msgspec.structs.replace(entry, approved_by=found.who, note=found.note)
