"""What is decided about pending updates: approved, skipped, held, halted; of one site or of the fleet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from app.operations import holding
from backends.journal_updates import Decision, Entry, Verdict
from backends.records import ModoseruError, Site, Update, visible

if TYPE_CHECKING:
    from app.operations.update import Pending
    from app.session import Session

NOTE_MOST = 300
Decided = Mapping[tuple[str, str, str, str], Decision]
"""What is decided, by kind, slug, version and site (`""`: the fleet)."""


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


async def known(session: Session) -> Decided:
    return {(one.kind, one.slug, one.version, one.site): one for one in await session.journal.updates.decisions()}


def standing(decided: Decided, site: str, update: Update) -> Decision | None:
    """What counts for this version on this site: the site's own word, else the fleet's. Pure."""
    version = version_of(update)
    return decided.get((*version, site)) or decided.get((*version, ""))


def approved(decided: Decided, pending: Pending) -> list[Update]:
    """Those of a site that are to be applied. Pure."""
    found = []
    for update in pending.updates or ():
        decision = standing(decided, pending.name, update)
        if update.held is None and decision is not None and decision.verdict is Verdict.APPROVED:
            found.append(update)
    return found


def items(pending: Sequence[Pending], decided: Decided) -> list[Item]:
    """The fleet's pending updates by item, what is on most sites first. Pure."""
    where: dict[tuple[str, str, str], list[tuple[str, Update]]] = {}
    for one in pending:
        for update in one.updates or ():
            where.setdefault(version_of(update), []).append((one.name, update))
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
            decision=standing(decided, "", on[0][1]),
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
        (*version_of(update), "" if fleet else one.name)
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
    told = ", ".join(f"{one.kind} {one.slug} {one.version} {one.site}".rstrip() for one in made)
    await session.journal.audit(session.who, "update", "decide", None, verdict.value, f"{note}: {told}")
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
    decided = await known(session)
    fleet = standing(decided, "", update)
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
    await session.journal.updates.decide([halted])
    # A site's own approval was given before it was known: it falls too.
    own = [site for *version, site in decided if site and tuple(version) == version_of(update)]
    falls = [site for site in own if decided[*version_of(update), site].verdict is Verdict.APPROVED]
    await session.journal.updates.withdraw(update, falls)
    await session.journal.audit(session.who, "update", "decide", None, "halted", f"{update.slug}: {halted.note}")
    return halted


def undecided(pending: Sequence[Pending], decided: Decided) -> list[Item]:
    """What nobody has decided about for some site that does not hold it. Pure."""

    def is_open(item: Item) -> bool:
        update = Update(kind=item.kind, slug=item.slug, to=item.to)
        return any(standing(decided, site, update) is None for site in item.sites if site not in item.held)

    return [one for one in items(pending, decided) if is_open(one)]


def _told(entry: Entry) -> str:
    return f"{entry.site}: {entry.why or 'it could not be updated'}"


def version_of(update: Update) -> tuple[str, str, str]:
    return update.kind, update.slug, update.to or ""
