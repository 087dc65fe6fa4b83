"""The demo's web server: one TLS listener for all sites, told apart by SNI and the Host header. HTTP/1.1, GET only."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from app.demo.cast import Condition
from app.demo.isolation import gate
from app.demo.listener import Listener
from app.demo.rendering import Page, render
from app.demo.site import DemoSite

if TYPE_CHECKING:
    from app.demo.authority import Authority

SLOW_S = 2.0
_IDLE_S = 30.0

Answer = Callable[[str, str, Mapping[str, str], str], Awaitable[Page]]
"""Host, target, headers and the visitor's address to a page."""


class HttpServer(Listener):
    """Serves pages that `answer` makes."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._exchange(reader, writer):
            pass

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection stays open for another."""
        async with asyncio.timeout(_IDLE_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.split("\r\n")
        method, target, version = request.split(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if method in {"GET", "HEAD"}:
            peer = writer.get_extra_info("peername")
            page = await self._answer(headers.get("host", ""), target, headers, peer[0])
        else:
            page = Page(HTTPStatus.METHOD_NOT_ALLOWED, b"")
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close" and method in {"GET", "HEAD"}
        writer.write(
            f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\nServer: demo\r\nContent-Type: {page.kind}\r\n"
            f"Content-Length: {len(page.body)}\r\n{page.more}"
            f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n".encode()
        )
        if method != "HEAD":
            writer.write(page.body)
        await writer.drain()
        return keep


class SiteServer(HttpServer):
    """The sites' pages over TLS; each site's certificate is made when it is first asked for."""

    def __init__(
        self, sites: Mapping[str, DemoSite], authority: Authority, run: Callable[..., Awaitable[Page]]
    ) -> None:
        super().__init__(self._page)
        self._sites, self._authority, self._run = sites, authority, run
        self._contexts: dict[str, ssl.SSLContext] = {}

    def context(self) -> ssl.SSLContext:
        """The listener's context: serves the first site's certificate to those who name none."""
        context = self._context(next(iter(self._sites.values())))

        def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _initial: ssl.SSLContext) -> None:
            site = self._sites.get((name or "").lower())
            if site is not None:
                connection.context = self._context(site)

        context.sni_callback = choose
        return context

    def _context(self, site: DemoSite) -> ssl.SSLContext:
        if site.name not in self._contexts:
            self._contexts[site.name] = self._authority.context(site.character)
        return self._contexts[site.name]

    async def _page(self, host: str, target: str, headers: Mapping[str, str], address: str) -> Page:
        site = self._sites.get(host.rsplit(":", 1)[0].lower())
        if site is None:
            return Page(HTTPStatus.MISDIRECTED_REQUEST, b"no such site here")
        if site.condition is Condition.SLOW:
            await asyncio.sleep(SLOW_S)
        return gate(site, target, headers, address) or await self._run(render, site, target)
