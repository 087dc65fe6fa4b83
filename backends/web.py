"""A site as a visitor gets it: its pages fetched from outside, and whether they are right.

Fetching is `fetch`'s, reading a page is `page`'s; here is the judgement. Where the certificate is refused the pages are
still fetched without verification, so that one fault does not hide the other. Changes nothing on the site but by
`visit`, which opens a page that the agent has put there.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct

from backends import journeys
from backends import page as pages
from backends.endpoint import Endpoint, endpoint, trust
from backends.records import Health, Journey, PageLook, State, visible, visible_tree

if TYPE_CHECKING:
    from backends.fetch import Client, Got

BODY_LIMIT = 2 * 1024 * 1024
ANSWER_LIMIT = 4096
PAGES = 10
LARGE = 256 * 1024
"""Bytes from which a page is judged in a thread: 2 MiB take 50 to 100 ms."""
SETUP = ("/wp-admin/install.php", "/wp-admin/setup-config.php")
"""Where WordPress leads everybody when its tables or its wp-config.php are gone, with status 200."""
PASS, OUTSIDE = "X-Modoseru-Pass", "X-Modoseru-Outside"
"""Headers for an isolated site: the secret that it lets pass, and that an address which it lets in is none here."""
_URGENCY = [State.OK, State.UNKNOWN, State.WARNING, State.CRITICAL]


class Expectation(Struct, frozen=True, kw_only=True):
    """What the pages should show. Compared without regard to case, width and white space."""

    title: str | None = None
    """Stands somewhere in the front page's title (WordPress adds a tagline or a separator)."""
    marker: str | None = None
    """Stands somewhere in the front page's source."""
    pages: tuple[str, ...] = ()
    """More pages, relative to the site's URL, such as `wp-login.php`."""


class Web:
    """Looks at many sites, at most `concurrency` at once."""

    def __init__(self, *, concurrency: int = 20) -> None:
        self._turn = asyncio.Semaphore(concurrency)

    async def look(
        self,
        url: str,
        *,
        connect: str | None = None,
        ca_file: str | None = None,
        timeout: float = 10.0,
        expect: Expectation | None = None,
        secret: str | None = None,
        now: dt.datetime | None = None,
    ) -> Health:
        """`look`, when it is its turn."""
        async with self._turn:
            return await look(
                url, connect=connect, ca_file=ca_file, timeout=timeout, expect=expect, secret=secret, now=now
            )

    async def measured(
        self,
        url: str,
        names: Sequence[str],
        *,
        connect: str | None = None,
        ca_file: str | None = None,
        timeout: float = 10.0,
        secret: str | None = None,
    ) -> list[Measured]:
        """`measured`, when it is its turn."""
        async with self._turn:
            return await measured(url, names, connect=connect, ca_file=ca_file, timeout=timeout, secret=secret)

    async def travelled(
        self,
        url: str,
        paths: Sequence[Journey],
        *,
        connect: str | None = None,
        ca_file: str | None = None,
        timeout: float = 10.0,
        secret: str | None = None,
    ) -> list[str | None]:
        """`travelled`, when it is its turn."""
        async with self._turn:
            return await travelled(url, paths, connect=connect, ca_file=ca_file, timeout=timeout, secret=secret)

    async def visit(
        self,
        url: str,
        page: str,
        *,
        connect: str | None = None,
        ca_file: str | None = None,
        timeout: float = 10.0,
        secret: str | None = None,
    ) -> dict[str, Any] | None:
        """`visit`, when it is its turn."""
        async with self._turn:
            return await visit(url, page, connect=connect, ca_file=ca_file, timeout=timeout, secret=secret)

    async def answers(
        self,
        url: str,
        pages: Sequence[str],
        *,
        connect: str | None = None,
        ca_file: str | None = None,
        timeout: float = 10.0,
    ) -> list[Got]:
        """`answers`, when it is its turn."""
        async with self._turn:
            return await answers(url, pages, connect=connect, ca_file=ca_file, timeout=timeout)


async def look(
    url: str,
    *,
    connect: str | None = None,
    ca_file: str | None = None,
    timeout: float = 10.0,
    expect: Expectation | None = None,
    secret: str | None = None,
    now: dt.datetime | None = None,
) -> Health:
    """Fetches the site's front page and the pages of `expect`, one after the other, and judges what came.

    `connect` (`host:port`) stands in for DNS where the site itself is asked, also after redirects within it; a host
    that is an IP address is always connected to as it stands. `timeout` bounds each page as a whole; `secret` is what
    an isolated site lets pass. A site that
    visitors cannot get into is critical, with the reason in `problem`; `pages[…].problem` is about the page alone and
    leaves the certificate out. Never raises for what the network does.
    """
    now = now or dt.datetime.now(dt.UTC)
    expect = expect or Expectation()
    try:
        target, trusted = endpoint(url, connect), await trust(ca_file)
    except ValueError as error:
        return Health(state=State.UNKNOWN, problem=str(error), checked_at=now)
    looks: list[PageLook] = []
    faults: list[pages.Fault] = []
    connected = await asyncio.to_thread(_loaded)
    async with connected(target, trusted, {PASS: secret} if secret else {}) as client:
        for name in ("", *expect.pages[:PAGES]):
            shown, found, _ = await _look_at(client, url, name, expect, timeout)
            looks.append(shown)
            faults += found
            if shown.http_status is None:
                break  # nobody answers: asking for more pages tells nothing more
        refused = [pages.Fault(State.CRITICAL, f"certificate refused: {why}") for why in client.refused.values()]
    faults = refused + faults
    front = looks[0]
    return Health(
        state=max((fault.state for fault in faults), default=State.OK, key=_URGENCY.index),
        http_status=front.http_status,
        latency_s=front.latency_s,
        checked_at=now,
        problem="; ".join(fault.problem for fault in faults) or None,
        title=front.title,
        bytes=front.bytes,
        pages=tuple(looks),
    )


class Measured(Struct, frozen=True):
    """A page, and how much of it there is."""

    look: PageLook
    measure: pages.Measure


async def measured(
    url: str,
    names: Sequence[str],
    *,
    connect: str | None = None,
    ca_file: str | None = None,
    timeout: float = 10.0,
    secret: str | None = None,
) -> list[Measured]:
    """Each of `names` below the URL in its order, one after the other; the front page where one is empty.

    Raises ValueError where the URL is none; never for what the network does.
    """
    target, trusted = endpoint(url, connect), await trust(ca_file)
    connected = await asyncio.to_thread(_loaded)
    found: list[Measured] = []
    async with connected(target, trusted, {PASS: secret} if secret else {}) as client:
        for name in names:
            shown, _, page = await _look_at(client, url, name, Expectation(), timeout)
            found.append(Measured(shown, await asyncio.to_thread(pages.measure, page)))
    return found


async def travelled(
    url: str,
    paths: Sequence[Journey],
    *,
    connect: str | None = None,
    ca_file: str | None = None,
    timeout: float = 10.0,
    secret: str | None = None,
) -> list[str | None]:
    """Of each journey, made by a visitor of its own, where it ended badly; None where it did not.

    Raises ValueError where the URL is none; never for what the network does.
    """
    target, trusted = endpoint(url, connect), await trust(ca_file)
    connected = await asyncio.to_thread(_loaded)
    found: list[str | None] = []
    for journey in paths:
        async with connected(target, trusted, {PASS: secret} if secret else {}) as client:
            found.append(await journeys.travel(client, lambda path: _below(url, path), journey, timeout))
    return found


async def visit(
    url: str,
    page: str,
    *,
    connect: str | None = None,
    ca_file: str | None = None,
    timeout: float = 10.0,
    secret: str | None = None,
) -> dict[str, Any] | None:
    """Opens `<url>/<page>` and returns the small JSON object that it answers; None for any other answer.

    A refused certificate does not stop it: the page is a one-time one, and a site must be restorable with an expired
    certificate too. The answer is a stranger's word all the same; its strings are visible.
    """
    try:
        target, trusted = endpoint(url, connect), await trust(ca_file)
    except ValueError:
        return None
    connected = await asyncio.to_thread(_loaded)
    async with connected(target, trusted, {PASS: secret} if secret else {}) as client:
        got = await client.fetch(_below(url, page), ANSWER_LIMIT, timeout)
    if got.status != 200 or got.broken is not None or got.cut:
        return None
    try:
        answer = msgspec.json.decode(got.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    shown: Any = visible_tree(answer)
    return shown if isinstance(shown, dict) else None


async def answers(
    url: str,
    pages: Sequence[str],
    *,
    connect: str | None = None,
    ca_file: str | None = None,
    timeout: float = 10.0,
) -> list[Got]:
    """What comes of each of `pages` below the URL, at most 4 KiB of it, unjudged. A refused certificate stops nothing.

    Raises ValueError where the URL is none.
    """
    target, trusted = endpoint(url, connect), await trust(ca_file)
    connected = await asyncio.to_thread(_loaded)
    async with connected(target, trusted, {OUTSIDE: "1"}) as client:
        return [await client.fetch(_below(url, page), ANSWER_LIMIT, timeout) for page in pages]


def _loaded() -> Callable[[Endpoint, ssl.SSLContext, dict[str, str]], AbstractAsyncContextManager[Client]]:
    """aiohttp takes a quarter of a second to import: at the first look, in a thread."""
    from backends.fetch import client

    return client


# ---------------------------------------------------------------- one page


async def _look_at(
    client: Client, url: str, name: str, expect: Expectation, timeout: float
) -> tuple[PageLook, list[pages.Fault], pages.Page]:
    """One page as a visitor gets it; the front page where `name` is empty."""
    asked = _below(url, name) if name else url
    got = await client.fetch(asked, BODY_LIMIT, timeout)
    if len(got.body) > LARGE:
        page, found = await asyncio.to_thread(_judged, got, expect, front=not name)
    else:
        page, found = _judged(got, expect, front=not name)
    if client.strayed(got.url):
        found.append(pages.Fault(State.WARNING, f"redirects to another host: {visible(got.url, 200)}"))
    shown = PageLook(
        url=visible(asked, 2000),
        http_status=got.status,
        latency_s=round(got.seconds, 4) if got.status is not None else None,
        bytes=len(got.body) if got.status is not None else None,
        title=pages.shown_title(page),
        problem="; ".join(fault.problem for fault in found) or None,
    )
    if name:
        # Hosts filter login pages: 401, 403 and 429 there are a baseline, not a failure (FACTS 14).
        found = [] if got.status in {401, 403, 429} else found
        found = [pages.Fault(_weight(fault, got.status), f"{visible(name, 100)}: {fault.problem}") for fault in found]
    return shown, found, page


def _weight(fault: pages.Fault, status: int | None) -> State:
    return State.WARNING if status is not None and 400 <= status < 500 else fault.state


def _judged(got: Got, expect: Expectation, *, front: bool) -> tuple[pages.Page, list[pages.Fault]]:
    page = pages.read(got.body, got.content_type)
    return page, _faults(got, page, expect, front=front)


def _faults(got: Got, page: pages.Page, expect: Expectation, *, front: bool) -> list[pages.Fault]:
    if got.broken is not None:
        return [pages.Fault(State.CRITICAL, got.broken)]
    found = pages.faults(page, got.status or 0)
    if 300 <= (got.status or 0) < 400:
        found.append(pages.Fault(State.CRITICAL, f"status {got.status} without a target"))
    if not found and urlsplit(got.url).path.endswith(SETUP):
        found.append(pages.Fault(State.CRITICAL, "WordPress asks to be installed"))
    if found:
        return found
    if got.cut:
        found.append(pages.Fault(State.WARNING, f"larger than {BODY_LIMIT // 2**20} MiB: judged by its beginning"))
    elif pages.is_cut_off(page):
        found.append(pages.Fault(State.WARNING, "page ends without </html>"))
    if front and expect.title is not None and not pages.says(page.title or "", expect.title):
        seen = pages.shown_title(page) or "none"
        found.append(pages.Fault(State.WARNING, f"title is {seen}, not {visible(expect.title, 200)}"))
    if front and expect.marker is not None and not pages.says(page.text, expect.marker):
        found.append(pages.Fault(State.CRITICAL, f"content marker missing: {visible(expect.marker, 100)}"))
    return found


def _below(url: str, page: str) -> str:
    base = url.partition("#")[0].partition("?")[0].rstrip("/") + "/"
    found = urljoin(base, page.lstrip("/"))
    # What a server names may be an address of another host, or of this machine.
    return found if found.startswith(base) else base
