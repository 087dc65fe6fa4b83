"""A site on a new server: what DNS says of it, which records have to change, and when they have."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from backends.endpoint import endpoint, place
from backends.records import Site, State

if TYPE_CHECKING:
    from app.session import Session
    from backends.nameserver import Told

MAILBOXES = "Mailboxes are in no backup: leave MX and NS as they are, and move the mail apart."
OFTEN_S, SELDOM_S = 1, 30
"""Between two questions while DNS is waited for: its TTL, within these."""


class Record(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A record to change; to add where `from_` is None, to remove where `to` is."""

    name: str
    type: str
    from_: str | None
    to: str | None


class Dns(Struct, frozen=True, kw_only=True):
    """DNS against the address at which the site is checked. `now`: None where nobody could tell."""

    host: str
    now: tuple[str, ...] | None
    ttl_s: int | None
    wanted: str
    records: tuple[Record, ...]
    untouched: tuple[str, ...] = ("MX", "NS")
    problem: str | None = None
    """Why DNS, or the certificate at the new address, is not as it has to be."""
    mail: str = MAILBOXES


def sentences(found: Dns) -> tuple[str, ...]:
    """What has to be done beside a restore to another address. Pure."""
    changes = (f"{one.name} {one.type} {one.from_ or '—'} → {one.to or '—'}" for one in found.records)
    return (*(f"DNS stays as it is, and has to change afterwards: {change}." for change in changes), found.mail)


async def dns(session: Session, site: Site) -> Dns | None:
    """None where the site is not pinned, where DNS leads to the pin, or where the pin is no public address and no
    resolver is named that could know it. Never raises for what DNS does."""
    from backends.nameserver import DnsFailed

    try:
        target = endpoint(site.url, site.web.connect)
    except ValueError:
        return None
    if target.pin is None or _address(target.host) is not None:
        return None
    try:
        wanted = await _wanted(session, target.pin[0])
    except DnsFailed as error:
        return Dns(host=target.host, now=None, ttl_s=None, wanted=target.pin[0], records=(), problem=error.message)
    resolver = session.fleet.settings.domains.resolver
    if wanted is None or (resolver is None and not ipaddress.ip_address(wanted).is_global):
        return None
    found = await _state(session, target.host, wanted)
    return found if found.records or found.problem else None


async def waiting(session: Session, site: Site, first: Dns) -> AsyncGenerator[Dns]:
    """How it is, again and again, up to the first time that DNS leads to the new address alone and the certificate
    there is right: that one has neither records nor a problem."""
    from backends import tls

    target = endpoint(site.url, site.web.connect)
    at = place(first.wanted, target.pin[1] if target.pin else target.port)
    seen = first
    while True:
        if not seen.records and seen.problem is None and target.scheme == "https":
            shown = await tls.probe(site.url, connect=at, ca_file=site.web.ca_file)
            if shown.state in (State.CRITICAL, State.UNKNOWN):
                seen = replace(seen, problem=f"the certificate at {at}: {shown.problem or 'not valid'}")
        yield seen
        if not seen.records and seen.problem is None:
            return
        await asyncio.sleep(min(SELDOM_S, max(OFTEN_S, seen.ttl_s or OFTEN_S)))
        seen = await _state(session, first.host, first.wanted)


async def _state(session: Session, host: str, wanted: str) -> Dns:
    from backends.nameserver import DnsFailed, lookup

    resolver = session.fleet.settings.domains.resolver
    empty = Dns(host=host, now=None, ttl_s=None, wanted=wanted, records=())
    try:
        told = await lookup(host, resolver)
    except DnsFailed as error:
        return replace(empty, problem=error.message)
    domain = await asyncio.to_thread(_registrable, host)
    both = [told]
    other = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
    if domain in (host, other) and told.addresses:
        try:
            twin = await lookup(other, resolver)
        except DnsFailed:
            twin = None
        # Of the same addresses it is this site's too; another's is nobody's business here.
        if twin is not None and twin.addresses == told.addresses:
            both.append(twin)
    changes = dict.fromkeys(record for one in both for record in changes_of(one, wanted, domain))
    now = tuple(address for _, address in told.addresses)
    return replace(empty, now=now, ttl_s=told.ttl_s, records=tuple(changes))


def changes_of(told: Told, wanted: str, domain: str | None) -> list[Record]:
    """What has to change so that the name leads to `wanted` alone. A name of somebody else's domain to which it is an
    alias is not ours to change: the alias goes. Pure."""
    kind = "AAAA" if ":" in wanted else "A"
    if [address for _, address in told.addresses] == [wanted]:
        return []
    if told.alias is not None and not (told.alias == domain or told.alias.endswith(f".{domain}")):
        return [
            Record(name=told.name, type="CNAME", from_=told.alias, to=None),
            Record(name=told.name, type=kind, from_=None, to=wanted),
        ]
    found: list[Record] = []
    there = (kind, wanted) in told.addresses
    for one, address in told.addresses:
        if address != wanted:
            takes = one == kind and not there
            found.append(Record(name=told.owner, type=one, from_=address, to=wanted if takes else None))
            there = there or takes
    return found if there else [*found, Record(name=told.owner, type=kind, from_=None, to=wanted)]


async def _wanted(session: Session, pin: str) -> str | None:
    from backends.nameserver import lookup

    if (address := _address(pin)) is not None:
        return address
    told = await lookup(pin, session.fleet.settings.domains.resolver)
    return told.addresses[0][1] if told.addresses else None


def _address(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _registrable(host: str) -> str | None:
    from backends.domains import registrable

    return registrable(host)
