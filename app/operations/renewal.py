"""Renewals: what ends when by the journal's word, and who said what about it. Only a re-read of the registry or of the
certificate confirms one, or a person with evidence."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import zoneinfo
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from app import calendar_file, expiries
from app.expiries import CERTIFICATE, CHAIN, DOMAIN, Expiry, Known
from app.operations import check, guard
from backends.journal_renewals import RenewalEntry
from backends.records import Certificate, Domain, ModoseruError, Site, visible

if TYPE_CHECKING:
    from app.session import Session


class BadRenewal(ModoseruError):  # noqa: N818 - says what happened
    """Codes: renewal_unknown, no_evidence."""

    exit_code = 2


class Calendar(Struct, frozen=True, kw_only=True):
    expiries: list[Expiry]
    undated: dict[str, str]
    """By site what to do where nobody knows when its domain ends."""


async def calendar(session: Session, sites: Sequence[Site], days: int) -> Calendar:
    """What is due within so many days, from the journal; nobody is asked."""
    zone = zoneinfo.ZoneInfo(session.fleet.settings.fleet.timezone)
    today = dt.datetime.now(zone).date()
    known = await _known(session, sites)

    def computed() -> Calendar:
        found, undated = [], {}
        for site in sites:
            own = expiries.of_site(site, known[site.name], today, zone)
            found += own
            if (what := expiries.undated(site, known[site.name], own)) is not None:
                undated[site.name] = what
        return Calendar(expiries=expiries.within(found, days), undated=undated)

    return await asyncio.to_thread(computed)


async def of(session: Session, site: Site, what: str) -> Expiry:
    """That one of a site. Raises BadRenewal (renewal_unknown) naming those that there are."""
    zone = zoneinfo.ZoneInfo(session.fleet.settings.fleet.timezone)
    known = (await _known(session, [site]))[site.name]
    found = expiries.of_site(site, known, dt.datetime.now(zone).date(), zone)
    for one in found:
        if one.what == what:
            return one
    names = ", ".join(visible(one.what, 100) for one in found) or "nothing"
    raise BadRenewal(
        "renewal_unknown",
        f"{site.name}: no date is known of {visible(what, 100)}; known: {names}",
        f"name it in [[renewals]] of sites.d/{site.name}.toml, or look first: modoseru check {site.name}",
    )


async def say(session: Session, site: Site, what: str, state: str, evidence: str) -> Expiry:
    """Keeps a person's word. Raises Refused in read-only mode; BadRenewal as `of`, and (no_evidence)."""
    guard.writable(session, site, "nothing is noted")
    one = await of(session, site, what)
    if state == "confirmed" and not evidence.strip():
        raise BadRenewal("no_evidence", "confirmed wants evidence", "add --evidence, such as an invoice's number")
    await _note(session, one, state, session.who, visible(evidence.strip(), 500))
    return await of(session, site, what)


async def look_again(session: Session, site: Site, what: str) -> tuple[Expiry, RenewalEntry | None]:
    """How it stands, after its registry or its certificate was asked again; where that tells a later date than the one
    that was waited for, that renewal is confirmed by it. A contract has nobody to ask.

    Raises Refused in read-only mode for what is asked, and BadRenewal as `of`.
    """
    if what not in (CERTIFICATE, CHAIN, DOMAIN):
        return await of(session, site, what), None
    guard.writable(session, site, "nothing is asked again")
    before = await _waited_for(session, site, what)
    sound = await _asked_again(session, site, what)
    after = await of(session, site, what)
    if not sound or before is None or after.expires <= before.expires or after.source == "manual":
        return after, None
    if before.source == "manual" and before.state == "open":
        return after, None  # a date of the site's file may have been wrong: nobody has ordered anything
    evidence = f"{after.source} says {after.expires}; {before.expires} was waited for"
    return after, await _note(session, before, "confirmed", after.source, evidence)


async def _waited_for(session: Session, site: Site, what: str) -> Expiry | None:
    """The one that somebody said something about and that is not confirmed, or the one that is known."""
    try:
        known = await of(session, site, what)
    except BadRenewal:
        return None
    own = [one for one in await session.journal.renewals.entries(site.name) if one.what == what]
    if own and own[-1].state != "confirmed" and own[-1].expires < known.expires:
        return msgspec.structs.replace(known, expires=own[-1].expires, state=own[-1].state)
    return known


async def _asked_again(session: Session, site: Site, what: str) -> bool:
    """Whether what it says now may confirm anything: a certificate that no browser takes does not."""
    from backends import tls

    if what == DOMAIN:
        await check.ask_registry(session, site)
        return True
    found = await tls.probe(site.url, connect=site.web.connect, ca_file=site.web.ca_file)
    now = dt.datetime.now(dt.UTC)
    await session.journal.remember(site.name, "certificate", found, now)
    if found.not_after is not None:
        await session.journal.remember(site.name, check.CERTIFICATE_SEEN, found, now)
    return found.problem is None


async def _note(session: Session, one: Expiry, state: str, who: str, evidence: str) -> RenewalEntry:
    now = dt.datetime.now(dt.UTC)
    entry = RenewalEntry(
        site=one.site, what=one.what, expires=one.expires, state=state, who=who, at=now, evidence=evidence
    )
    await session.journal.renewals.note(entry)
    await session.journal.audit(session.who, "renewal", f"renew {one.what}", one.site, state, evidence)
    return entry


async def _known(session: Session, sites: Sequence[Site]) -> dict[str, Known]:
    certificates = await session.journal.recall_all(check.CERTIFICATE_SEEN, Certificate)
    domains = await session.journal.recall_all("domain", Domain)
    entries: dict[str, list[RenewalEntry]] = {}
    for entry in await session.journal.renewals.entries():
        entries.setdefault(entry.site, []).append(entry)
    return {
        site.name: Known(
            certificate=certificates[site.name][0] if site.name in certificates else None,
            domain=domains[site.name][0] if site.name in domains else None,
            entries=entries.get(site.name, []),
        )
        for site in sites
    }


def export(found: Calendar, name: str, path: Path) -> None:
    """Writes the iCalendar file in one step. Raises ModoseruError (ics_unwritable). Blocks."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    try:
        try:
            temporary.write_bytes(calendar_file.written(found.expiries, name, dt.datetime.now(dt.UTC)))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ModoseruError(
            "ics_unwritable", f"{visible(str(path), 200)}: {reason}", "name a file in a folder that can be written"
        ) from None
