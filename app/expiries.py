"""What of a site ends when: certificate, domain and contracts in one list. Pure functions of records and a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from app import policy
from backends.journal_renewals import RenewalEntry
from backends.records import Certificate, Domain, Renewal, Site

DAYS = 90
CERTIFICATE, CHAIN, DOMAIN = "certificate", "certificate chain", "domain"


class Expiry(Struct, frozen=True, kw_only=True):
    """One thing that ends, and what is known of its renewal."""

    site: str
    what: str
    """`certificate`, `certificate chain`, `domain`, or the contract's own name."""
    expires: dt.date
    due: dt.date
    """The business day by which it has to be done."""
    days_left: int
    """Until `due`."""
    source: str
    """`certificate`, `rdap`, `whois`, or `manual`: the site's file."""
    seen_at: dt.datetime | None = None
    """When the source was asked; None: nobody was."""
    owner: str | None = None
    auto: bool = False
    state: str = "open"
    who: str | None = None
    """Who said the state, by what evidence; None: the site's file, or nobody."""
    evidence: str | None = None
    reminder: int | None = None
    """The last reminder that is reached, in days."""


class Known(Struct, frozen=True, kw_only=True):
    """What the journal has of a site."""

    certificate: Certificate | None = None
    domain: Domain | None = None
    entries: Sequence[RenewalEntry] = ()


class _Seen(Struct, frozen=True, kw_only=True):
    what: str
    expires: dt.date
    source: str
    at: dt.datetime | None = None
    lifetime: int | None = None


def of_site(site: Site, known: Known, today: dt.date, zone: dt.tzinfo) -> list[Expiry]:
    """All of them, the first to be done first. `zone`: in which a certificate's last moment becomes a day."""
    seen = [*_certificate(known.certificate, zone), *_domain(site, known.domain)]
    told = {one.what: one for one in site.renewals}
    names = {one.what for one in seen}
    seen += [_Seen(what=one.what, expires=one.due, source="manual") for one in site.renewals if one.what not in names]
    found = [_expiry(site, one, told.get(one.what), known.entries, today) for one in seen]
    return sorted(found, key=lambda one: (one.due, one.what))


def within(expiries: Iterable[Expiry], days: int) -> list[Expiry]:
    """What is due in so many days, and what is past and was never confirmed; the first to be done first."""
    chosen = [one for one in expiries if one.days_left <= days and (one.days_left >= 0 or one.state != "confirmed")]
    return sorted(chosen, key=lambda one: (one.due, one.site, one.what))


def undated(site: Site, known: Known, expiries: Iterable[Expiry]) -> str | None:
    """What to do where nobody knows when the domain ends; None where somebody does."""
    if any(one.what == DOMAIN for one in expiries):
        return None
    if known.domain is None:
        return f"its domain was not looked at yet: modoseru check {site.name}"
    return f"no registry tells when {known.domain.name} ends: enter [domain] expires in sites.d/{site.name}.toml"


def _certificate(seen: Certificate | None, zone: dt.tzinfo) -> Iterator[_Seen]:
    """The chain stands apart, and only where it ends before the leaf: then the leaf's own date says too much."""
    if seen is None or seen.not_after is None:
        return
    lifetime = (seen.not_after - seen.not_before).days if seen.not_before is not None else None
    ends = _day(seen.not_after, zone)
    yield _Seen(what=CERTIFICATE, expires=ends, source=CERTIFICATE, at=seen.checked_at, lifetime=lifetime)
    if seen.chain_not_after is not None and seen.chain_not_after < seen.not_after:
        ends = _day(seen.chain_not_after, zone)
        yield _Seen(what=CHAIN, expires=ends, source=CERTIFICATE, at=seen.checked_at)


def _domain(site: Site, seen: Domain | None) -> Iterator[_Seen]:
    if seen is not None and seen.expires is not None and seen.source != "manual":
        yield _Seen(what=DOMAIN, expires=seen.expires, source=seen.source, at=seen.checked_at)
    elif site.domain.expires is not None:
        yield _Seen(what=DOMAIN, expires=site.domain.expires, source="manual")


def _day(moment: dt.datetime, zone: dt.tzinfo) -> dt.date:
    """Hostile certificates hold for ever."""
    try:
        return moment.astimezone(zone).date()
    except OverflowError:
        return moment.date()


def _expiry(site: Site, seen: _Seen, told: Renewal | None, entries: Sequence[RenewalEntry], today: dt.date) -> Expiry:
    """The journal's last word about this very date counts before the file's, which may be about an earlier one."""
    own = [one for one in entries if one.what == seen.what and one.expires == seen.expires]
    last = own[-1] if own else None
    by_file = told if told is not None and told.due == seen.expires else None
    state = last.state if last else by_file.state if by_file else "open"
    auto = told.auto if told else False
    due = policy.business_day(seen.expires)
    left = (due - today).days
    return Expiry(
        site=site.name,
        what=seen.what,
        expires=seen.expires,
        due=due,
        days_left=left,
        source=seen.source,
        seen_at=seen.at,
        owner=(told.owner if told else None) or site.owner,
        auto=auto,
        state=state,
        who=last.who if last else None,
        evidence=last.evidence if last else by_file.evidence if by_file else None,
        reminder=policy.reminder(left, state=state, auto=auto, lifetime=seen.lifetime),
    )
