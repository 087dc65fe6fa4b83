"""GET and POST over HTTP as a browser does it, bounded in time, bytes, headers and redirects whatever the server does.

Imports aiohttp, so it is itself imported only where something is fetched. Judges nothing.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from msgspec import Struct
from msgspec.structs import replace

from backends.endpoint import Endpoint, ascii_host, endpoint, place, refusal
from backends.records import visible

REDIRECTS = 10


class Got(Struct, frozen=True, kw_only=True):
    """An answer, or as much of it as came."""

    url: str
    seconds: float
    status: int | None = None
    content_type: str = ""
    retry_after: str = ""
    body: bytes = b""
    cut: bool = False
    """The body was longer than was read."""
    broken: str | None = None
    """Why there is no whole answer, in one sentence."""


class Client:
    """One look's connections: its pin, its cookies, and the hosts whose certificate was refused, with the reason."""

    def __init__(self, session: aiohttp.ClientSession, target: Endpoint, trusted: ssl.SSLContext) -> None:
        self._session, self._target, self._trusted = session, target, trusted
        self.refused: dict[str, str] = {}
        self._got = Got(url="", seconds=0)
        self._form: Mapping[str, str] | None = None
        self._within, self._cookies = False, 0

    def strayed(self, url: str) -> bool:
        """Whether `url` lies on another host than the site, www aside."""
        try:
            host = endpoint(url).host
        except ValueError:
            return True
        return host.removeprefix("www.") != self._target.host.removeprefix("www.")

    async def fetch(
        self,
        url: str,
        limit: int,
        timeout: float,
        *,
        form: Mapping[str, str] | None = None,
        within: bool = False,
        cookies: int = 0,
    ) -> Got:
        """GET, or POST of `form`, with redirects; at most `limit` decoded bytes and `timeout` seconds altogether.

        `within`: a redirect to another host is not followed; `cookies`: bytes of them past which it is given up.
        """
        self._form, self._within, self._cookies = form, within, cookies
        started = time.perf_counter()
        self._got = Got(url=url, seconds=0)
        try:
            async with asyncio.timeout(timeout):
                await self._follow(url, limit)
        except _BrokenError as error:
            self._got = replace(self._got, broken=str(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ssl.SSLError and TimeoutError are OSErrors; yarl raises ValueError for what is no URL
            self._got = replace(self._got, broken=_reason(error, self._where(self._got.url), timeout))
        return replace(self._got, seconds=time.perf_counter() - started)

    async def _follow(self, url: str, limit: int) -> None:
        """Fills `_got` as the answer comes, so that what came before a time-out is known too."""
        seen: list[str] = []
        for _ in range(REDIRECTS + 1):
            self._got = Got(url=url, seconds=0)
            response = await self._get(url)
            try:
                self._got = replace(
                    self._got,
                    status=response.status,
                    content_type=response.headers.get("Content-Type", ""),
                    retry_after=response.headers.get("Retry-After", ""),
                )
                self._weigh_cookies()
                target = response.headers.get("Location")
                if response.status not in {301, 302, 303, 307, 308} or not target:
                    body, cut = await _body(response, limit)
                    self._got = replace(self._got, body=body, cut=cut)
                    return
            finally:
                response.close()
            seen.append(url)
            url = urljoin(url, target[:2000])
            if not url.startswith(("http://", "https://")):
                raise _BrokenError(f"redirects to something that is no page: {visible(url, 100)}")
            if self._within and self.strayed(url):
                raise _BrokenError(f"redirects to another host: {visible(url, 200)}")
            if response.status in {301, 302, 303}:
                self._form = None  # as browsers do: what a form led to is a page to get
        kind = "redirect loop" if len(set(seen)) < len(seen) else f"more than {REDIRECTS} redirects"
        raise _BrokenError(f"{kind}: {visible(url, 200)}")

    async def _get(self, url: str) -> aiohttp.ClientResponse:
        host = endpoint(url).host
        for _ in range(2):
            verify: ssl.SSLContext | bool = False if host in self.refused else self._trusted
            try:
                if self._form is not None:
                    return await self._session.post(url, data=self._form, ssl=verify, allow_redirects=False)
                return await self._session.get(url, ssl=verify, allow_redirects=False)
            except aiohttp.ClientConnectorCertificateError as error:
                cause = error.certificate_error
                why = getattr(cause, "verify_message", "") or str(cause)
                self.refused[host] = visible(why.rstrip("."), 150)
        raise AssertionError("an unverified handshake cannot fail verification")

    def _weigh_cookies(self) -> None:
        if self._cookies:
            size = sum(len(one.key) + len(one.value) for one in self._session.cookie_jar)
            if size > self._cookies:
                raise _BrokenError(f"sets {size} bytes of cookies, which no server takes back")

    def _where(self, url: str) -> str:
        try:
            asked = endpoint(url)
        except ValueError:
            return visible(url, 100)
        return place(*_pinned(self._target, asked.host, asked.port))


class _BrokenError(Exception):
    """An answer that ends badly; the text is the sentence that says how."""


async def _body(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The body, decoded, up to `limit` bytes, and whether there was more. Decompression is bounded too: a bomb costs no
    more than a page."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    unpack = {"gzip": 31, "x-gzip": 31, "deflate": 47}.get(encoding)  # zlib's wbits; 47 takes zlib or gzip framing
    if unpack is None and encoding not in {"", "identity"}:
        raise _BrokenError(f"answers in an encoding that was not offered: {visible(encoding, 40)}")
    decoder = zlib.decompressobj(unpack) if unpack else None
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += decoder.decompress(chunk, limit + 1 - len(body)) if decoder else chunk
            if len(body) > limit:
                break
    except aiohttp.ClientPayloadError:
        raise _BrokenError(f"answer broke off after {len(body)} bytes") from None
    except zlib.error:
        raise _BrokenError("answer cannot be decompressed") from None
    if decoder and body and not decoder.eof and len(body) <= limit:
        raise _BrokenError(f"answer broke off after {len(body)} bytes")
    return bytes(body[:limit]), len(body) > limit


def _reason(error: Exception, where: str, timeout: float) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        return f"unreachable: {refusal(cause, where, timeout)}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return f"unreachable: connection closed by {where}"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"not a valid HTTP answer from {where}: {visible(' '.join(error.message.split()), 120)}"
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return f"not a URL that can be asked: {visible(str(error), 200)}"
    return f"unreachable: {refusal(error, where, timeout)}"


def _pinned(target: Endpoint, host: str, port: int) -> tuple[str, int]:
    """Where `host:port` is really connected to: the pin's port stands for the site's own port only."""
    if target.pin is None or host != target.host:
        return host, port
    return target.pin[0], target.pin[1] if port == target.port else port


@asynccontextmanager
async def client(
    target: Endpoint, trusted: ssl.SSLContext, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Client]:
    """A session of its own for each look: cookies, pins and pooled connections never meet those of another site."""
    connector = aiohttp.TCPConnector(resolver=_Pinned(target), use_dns_cache=False, limit=4)
    async with aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        trust_env=False,
        max_line_size=16_384,
        max_field_size=16_384,
        timeout=aiohttp.ClientTimeout(total=None),  # the caller's asyncio.timeout covers all of it
        headers={
            "User-Agent": _user_agent(),
            "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
            "Accept-Encoding": "gzip, deflate",
            "Accept-Language": "ja,en;q=0.8",
            "Cache-Control": "no-cache",
            **(headers or {}),
        },
    ) as session:
        yield Client(session, target, trusted)


class _Pinned(AbstractResolver):
    """DNS, but for the site itself when it is pinned."""

    def __init__(self, target: Endpoint) -> None:
        self._target, self._system = target, ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        name, number = _pinned(self._target, ascii_host(host), port)
        found = await self._system.resolve(name, number, family)
        return [{**result, "hostname": host} for result in found]

    async def close(self) -> None:
        await self._system.close()


@functools.cache
def _user_agent() -> str:
    try:
        number = version("modoseru")
    except PackageNotFoundError:  # run from a tree that was never installed
        number = "0"
    return f"Modoseru/{number} (+site check)"
