"""A DNS resolver on loopback: answers of a small zone over UDP, CNAMEs followed, spoilt where a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import cast

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = dict[str, list[str]]
"""Name => records as `TTL TYPE VALUE`; changed while it is served, the next answer is of the new one."""


class _Resolver(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone, spoil: Callable[[bytes], bytes]) -> None:
        self._zone, self._spoil = zone, spoil

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        wire = self._spoil(answer(self._zone, dns.message.from_wire(data)).to_wire())
        if wire:
            self._transport.sendto(wire, addr)


def answer(zone: Zone, asked: dns.message.Message) -> dns.message.Message:
    question = asked.question[0]
    told = dns.message.make_response(asked, recursion_available=True)
    name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
    for _ in range(3):
        rows = [one.split(" ", 2) for one in zone.get(name, [])]
        if name not in zone:
            told.set_rcode(dns.rcode.NXDOMAIN)
            break
        alias = next((row for row in rows if row[1] == "CNAME"), None)
        found = [alias] if alias else [row for row in rows if row[1] == kind]
        if found:
            told.answer.append(dns.rrset.from_text(name, int(found[0][0]), "IN", found[0][1], *(r[2] for r in found)))
        if alias is None:
            break
        name = alias[2]
    return told


@contextlib.asynccontextmanager
async def served(zone: Zone, spoil: Callable[[bytes], bytes] = bytes) -> AsyncIterator[str]:
    """Its `address:port`."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Resolver(zone, spoil), local_addr=("127.0.0.1", 0))
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()
