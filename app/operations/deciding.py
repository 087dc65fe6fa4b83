"""What is decided about pending updates: approved, skipped, held, halted; of one site or of the fleet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from app.operations import holding
from backends.journal_updates import Decision, Entry, Verdict
from backends.records import ModoseruError, Site, Update, visible

if TYPE_CHECKING:
    from app.operations.update import Pending
    from app.session import Session

NOTE_MOST = 300
__all__ = ["Decision", "Item", "Verdict", "decide", "halt_where_due", "items", "let_go", "standing", "undecided"]


class Item(Struct, frozen=True, kw_only=True):
    """One version of one item over the fleet."""

    kind: str
    slug: str
    name: str | None = None
    to: str | None = None
    from_: tuple[str, ...] = ()
    security: bool | None = None
    sites: tuple[str, ...] = ()
    """Where it is pending, those that hold it too."""
    held: tuple[str, ...] = ()
    """Those of them that hold it, or where it cannot be applied."""
    decision: Decision | None = None
    """The fleet's; a site's own stands over it."""


def standing(decisions: Sequence[Decision], site: str, update: Update) -> Decision | None:
    """What counts for this version on this site: the site's own word, else the fleet's. Pure."""
    of = {one.site: one for one in decisions if (one.kind, one.slug, one.version) == _version(update)}
    return of.get(site, of.get(""))


def approved(decisions: Sequence[Decision], pending: Pending) -> list[Update]:
    """Those of a site that are to be applied. Pure."""
    found = []
    for update in pending.updates or ():
        decision = standing(decisions, pending.name, update)
        if update.held is None and decision is not None and decision.verdict is Verdict.APPROVED:
            found.append(update)
    return found


def items(pending: Sequence[Pending], decisions: Sequence[Decision]) -> list[Item]:
    """The fleet's pending updates by item, what is on most sites first. Pure."""
    where: dict[tuple[str, str, str], list[tuple[str, Update]]] = {}
    for one in pending:
        for update in one.updates or ():
            where.setdefault(_version(update), []).append((one.name, update))
    found = [
        Item(
            kind=kind,
            slug=slug,
            name=next((update.name for _, update in on if update.name), None),
            to=version or None,
            from_=tuple(sorted({update.from_ for _, update in on if update.from_})),
            security=True if any(update.security for _, update in on) else on[0][1].security,
            sites=tuple(site for site, _ in on),
            held=tuple(site for site, update in on if update.held is not None),
            decision=standing(decisions, "", on[0][1]),
        )
        for (kind, slug, version), on in where.items()
    ]
    return sorted(found, key=lambda one: (not one.security, -len(one.sites), one.kind, one.slug, one.to or ""))


async def decide(
    session: Session, pending: Sequence[Pending], slug: str | None, verdict: Verdict, *, fleet: bool, note: str = ""
) -> list[Decision]:
    """About every version of `slug` (None: of all) that is pending now: for the sites of `pending`, or for the fleet.

    Raises ModoseruError (unknown_item) where nothing of that name is pending.
    """
    wanted = {
        (*_version(update), "" if fleet else one.name)
        for one in pending
        for update in one.updates or ()
        if slug is None or update.slug == slug
    }
    if not wanted:
        what = "nothing" if slug is None else f"no update of {visible(slug, 100)}"
        raise ModoseruError("unknown_item", f"{what} is pending there", "see modoseru updates")
    return await record(session, sorted(wanted), verdict, note)


async def record(
    session: Session, what: Sequence[tuple[str, str, str, str]], verdict: Verdict, note: str = ""
) -> list[Decision]:
    """About each kind, slug, version and site (`""`: the fleet)."""
    now, note = dt.datetime.now(dt.UTC), visible(note, NOTE_MOST)
    made = [
        Decision(kind=kind, slug=slug, version=version, site=site, verdict=verdict, who=session.who, at=now, note=note)
        for kind, slug, version, site in what
    ]
    await session.journal.updates.decide(made)
    for one in made:
        told = f"{one.kind} {one.slug} {one.version}: {note}"
        await session.journal.audit(session.who, "update", "decide", one.site or None, verdict.value, told)
    return made


async def let_go(session: Session, sites: Sequence[Site], slug: str, *, fleet: bool) -> None:
    """Nothing is decided about it any more, and no site holds it. Raises ModoseruError (not_held) where that is so."""
    there = [site.name for site in sites]
    forgotten = await session.journal.updates.forget(slug, [*there, ""] if fleet else there)
    if forgotten:
        await session.journal.audit(session.who, "update", "decide", None, "let go", slug)
    try:
        await holding.let_go(session, sites, slug)
    except ModoseruError:
        if not forgotten:
            raise


async def halt_where_due(session: Session, update: Update, tolerated: int) -> Decision | None:
    """Halts this version everywhere where it failed on more sites than that since it was approved last."""
    decisions = await session.journal.updates.decisions()
    fleet = standing(decisions, "", update)
    if fleet is not None and fleet.verdict is Verdict.HALTED:
        return None
    since = fleet.at if fleet is not None else None
    failed = {
        one.site: one for one in await session.journal.updates.failures(update) if since is None or one.at > since
    }
    if len(failed) <= tolerated:
        return None
    halted = Decision(
        kind=update.kind,
        slug=update.slug,
        version=update.to or "",
        verdict=Verdict.HALTED,
        who=session.who,
        at=dt.datetime.now(dt.UTC),
        note=visible("; ".join(_told(one) for one in failed.values()), NOTE_MOST),
    )
    # A site's own approval was given before it was known: it falls too.
    mine = [one for one in decisions if one.site and (one.kind, one.slug, one.version) == _version(update)]
    await session.journal.updates.decide([halted, *(_as_halted(one, halted) for one in mine)])
    await session.journal.audit(session.who, "update", "decide", None, "halted", f"{update.slug}: {halted.note}")
    return halted


def undecided(pending: Sequence[Pending], decisions: Sequence[Decision]) -> list[Item]:
    """What nobody has decided about, on any site. Pure."""
    return [one for one in items(pending, decisions) if one.decision is None and len(one.held) < len(one.sites)]


def _as_halted(one: Decision, halted: Decision) -> Decision:
    return Decision(
        kind=one.kind,
        slug=one.slug,
        version=one.version,
        site=one.site,
        verdict=Verdict.HALTED if one.verdict is Verdict.APPROVED else one.verdict,
        who=halted.who,
        at=halted.at,
        note=halted.note,
    )


def _told(entry: Entry) -> str:
    return f"{entry.site}: {entry.why or 'it could not be updated'}"


def _version(update: Update) -> tuple[str, str, str]:
    return update.kind, update.slug, update.to or ""
