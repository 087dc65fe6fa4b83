"""What DNS says of a name now: its addresses, whose records they are, how long the answer may be kept.

The system's resolver is asked, or the one that `[domains] resolver` names. Answers are strangers' words: bounded in
time and number, addresses parsed, names visible. getaddrinfo tells no TTL, hence dnspython.
"""

from __future__ import annotations

import asyncio
import ipaddress
from types import ModuleType

from msgspec import Struct

from backends.endpoint import ascii_host
from backends.records import ModoseruError, visible

MOST = 16
"""Addresses of one kind that are looked at."""
TTL_MOST = 7 * 86400
LIFETIME_S = 5.0


class DnsFailed(ModoseruError):  # noqa: N818 - says what happened
    """Nobody knows what DNS says: no answer, or none that can be read. Code: dns."""


class Told(Struct, frozen=True, kw_only=True):
    """`addresses`: (`A` or `AAAA`, address), none where the name does not resolve. `owner`: the name whose records they
    are, after `alias`, what a CNAME of `name` leads to. `ttl_s`: how long the one who was asked keeps the answer."""

    name: str
    addresses: tuple[tuple[str, str], ...] = ()
    owner: str
    alias: str | None = None
    ttl_s: int | None = None


async def lookup(name: str, resolver: str | None = None) -> Told:
    """`resolver`: `address:port`, or None for the system's. Raises DnsFailed."""
    library = await asyncio.to_thread(_library)
    try:
        asking = _asking(library, resolver)
        wanted = ascii_host(name) + "."
        found = [await _ask(library, asking, wanted, kind) for kind in ("A", "AAAA")]
    except (library.exception.DNSException, OSError, ValueError, UnicodeError) as error:
        why = visible(" ".join(str(error).split()), 150) or type(error).__name__
        raise DnsFailed(
            "dns", f"DNS does not say where {visible(name, 253)} is: {why}", "look at the resolver"
        ) from None
    addresses = tuple((kind, one) for kind, (told, _, _) in zip(("A", "AAAA"), found, strict=True) for one in told)
    ttls = [ttl for told, _, ttl in found if told and ttl is not None]
    owners = [owner for _, owner, _ in found if owner is not None]
    owner = owners[0] if owners else wanted.rstrip(".")
    return Told(
        name=wanted.rstrip("."),
        addresses=addresses,
        owner=owner,
        alias=owner if owner != wanted.rstrip(".") else None,
        ttl_s=min(ttls) if ttls else None,
    )


def _asking(library: ModuleType, resolver: str | None) -> object:
    asking = library.asyncresolver.Resolver(configure=resolver is None)
    if resolver is not None:
        host, _, port = resolver.rpartition(":")
        asking.nameservers, asking.port = [host.strip("[]")], int(port)
    asking.lifetime, asking.timeout = LIFETIME_S, LIFETIME_S / 2
    asking.cache = None
    return asking


async def _ask(
    library: ModuleType, asking: object, name: str, kind: str
) -> tuple[tuple[str, ...], str | None, int | None]:
    """Addresses, whose records they are, and for how many seconds. A name that does not exist has none."""
    try:
        answer = await asking.resolve(name, kind, raise_on_no_answer=False, search=False)  # type: ignore[attr-defined]
    except library.resolver.NXDOMAIN:
        return (), None, None
    rows = sorted(str(ipaddress.ip_address(row.address)) for row in (answer.rrset or ()))
    owner = visible(answer.canonical_name.to_text(omit_final_dot=True).lower(), 253)
    ttl = max(0, min(int(answer.chaining_result.minimum_ttl), TTL_MOST))
    return tuple(rows[:MOST]), owner, ttl


def _library() -> ModuleType:
    """Imported at the first question, in a thread."""
    import dns
    import dns.asyncresolver
    import dns.exception
    import dns.resolver

    return dns
