"""The guard on a site: put there, taken away, read, and its blocks by hand. Each change is recorded with who asked."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from app.operations import guard
from app.operations.isolate import BadAddress
from backends.records import GuardReport, ModoseruError, Site

if TYPE_CHECKING:
    from app.session import Session

_V6_COUNTED = 64
"""Bits of an IPv6 address that one customer of a provider keeps."""


async def show(session: Session, site: Site) -> GuardReport:
    """Changes nothing. Raises as the agent does."""
    return await session.agent(site).guard("show")


async def install(session: Session, site: Site) -> GuardReport:
    """With what the site's file says now; over an older one too. Raises Refused, and as the agent does."""
    return await _changed(session, site, "install", "", settings=settings(site))


async def remove(session: Session, site: Site) -> GuardReport:
    """The plugin and all that it wrote down. Raises Refused, and as the agent does."""
    return await _changed(session, site, "remove", "")


async def block(session: Session, site: Site, who: str, seconds: int) -> GuardReport:
    """`who`: an address. Its logins and calls of xmlrpc.php are refused; pages stay. Raises BadAddress, Refused …"""
    return await _changed(session, site, "block", who, key=f"a:{counted(who)}", seconds=seconds)


async def unblock(session: Session, site: Site, who: str) -> GuardReport:
    """`who`: an address, or the account that `show` names. Raises Refused, and as the agent does."""
    try:
        key = f"a:{counted(who)}"
    except BadAddress:
        key = f"u:{who}"
    return await _changed(session, site, "unblock", who, key=key)


def settings(site: Site) -> dict[str, Any]:
    """Of the site's file, as the plugin goes by them."""
    asked = site.guard
    return {
        "allow": [str(ipaddress.ip_network(one, strict=False)) for one in asked.allow],
        "proxies": [str(ipaddress.ip_network(one, strict=False)) for one in asked.proxies],
        "address": asked.address,
        "account": asked.account,
        "xmlrpc": asked.xmlrpc,
        "window_s": asked.window_s,
        "block_s": asked.block_s,
        "longest_s": asked.longest_s,
    }


def counted(text: str) -> str:
    """What the guard counts an address as: itself, or the /64 of an IPv6. Raises BadAddress."""
    try:
        address = ipaddress.ip_address(text.partition("/")[0] if text.endswith(f"/{_V6_COUNTED}") else text)
    except ValueError:
        raise BadAddress("bad_address", f"{text!r} is no address", "name it like 203.0.113.7 or 2001:db8::7") from None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _V6_COUNTED), strict=False))


async def _changed(session: Session, site: Site, do: str, who: str, **fields: Any) -> GuardReport:
    guard.writable(session, site, "the guard stays as it is")
    await session.journal.audit(session.who, "guard", f"guard {do}", site.name, "asked", who)
    try:
        report = await session.agent(site).guard(do, **fields)
    except ModoseruError as error:
        await session.journal.audit(session.who, "guard", f"guard {do}", site.name, error.code, error.message)
        raise
    await session.journal.audit(session.who, "guard", f"guard {do}", site.name, "done", who)
    return report
