"""RDAP by whoisit: which server answers for a name, and what it says about the end of the registration.

whoisit keeps its bootstrap in the module, so it is loaded again whenever it differs from what was asked for. Answers
are read raw: whoisit's own reading guesses dates and lets a registrar's date replace the registry's. Imports whoisit
(and with it httpx and requests), so it is itself imported only where a registry is asked.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import whoisit
from msgspec import Struct
from whoisit import errors

from backends.endpoint import refusal
from backends.records import visible
from backends.registry import Answer, RateLimitedError, RegistryError, SilentError, date_in, is_trouble

BOOTSTRAP_LIMIT = 4 * 1024 * 1024
ANSWER_LIMIT = 512 * 1024
REDIRECTS = 5
LONGEST = 60.0
"""Seconds for one step of an exchange; `asyncio.timeout` bounds the whole and ends sooner."""


class Bootstrap(Struct, frozen=True, kw_only=True):
    """Which TLD is answered where: IANA's dns.json (RFC 9224), or whoisit's own file of all five registries."""

    text: str
    chosen: bool
    """By the operator: then http:// servers are allowed, and no server that it does not name is asked."""


_loaded: Bootstrap | None = None


def _load(bootstrap: Bootstrap) -> None:
    """Makes `bootstrap` whoisit's. Raises RegistryError."""
    global _loaded  # noqa: PLW0603 - it mirrors whoisit's own module state
    if bootstrap == _loaded:
        return
    _loaded = None
    whoisit.clear_bootstrapping()
    try:
        data = msgspec.json.decode(bootstrap.text)
        if "services" in data:
            # whoisit wants all five registries; the other four are never asked.
            nowhere = ["https://rdap.invalid/"]
            data = {
                "dns": data,
                "asn": {"services": [[["0-0"], nowhere]]},
                "ipv4": {"services": [[["192.0.2.0/24"], nowhere]]},
                "ipv6": {"services": [[["2001:db8::/32"], nowhere]]},
                "object": {"services": [[["X"], nowhere]]},
            }
        data["timestamp"] = int(data.get("timestamp") or 0)
        whoisit.load_bootstrap_data(
            data, overrides=not bootstrap.chosen, allow_insecure=bootstrap.chosen, from_json=False
        )
    except (errors.WhoisItError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        whoisit.clear_bootstrapping()
        raise RegistryError(f"the RDAP bootstrap cannot be read: {visible(str(error), 100)}") from None
    _loaded = bootstrap


def server(name: str, bootstrap: Bootstrap) -> str | None:
    """`host[:port]` of the RDAP server for `name` (A-labels); None where its TLD has none. Raises RegistryError."""
    _load(bootstrap)
    try:
        _, url, _ = whoisit.build_query(query_type="domain", query_value=name)
    except errors.UnsupportedError:
        return None
    return urlsplit(str(url)).netloc


async def ask(name: str, bootstrap: Bootstrap, context: ssl.SSLContext, timeout: float) -> Answer:
    """What the registry says about `name`. Raises RegistryError."""
    where = server(name, bootstrap) or "no server"
    try:
        async with asyncio.timeout(timeout), _client(context, ANSWER_LIMIT) as client:
            # No await lies between loading the bootstrap and building the query.
            raw = await whoisit.domain_async(name, raw=True, follow_related=False, async_client=client)
    except errors.ResourceDoesNotExist:
        return Answer(source="rdap", registered=False)
    except errors.RateLimitedError:
        raise RateLimitedError(f"its RDAP server {where} refuses more questions for now (status 429)") from None
    except errors.WhoisItError as error:
        status = getattr(error, "status_code", 0)
        why = f"status {status}" if status else _cause(error, where, timeout)
        raise SilentError(f"its RDAP server {where} gave no answer: {why}") from None
    except TimeoutError as error:
        raise SilentError(f"its RDAP server gave no answer: {refusal(error, where, timeout)}") from None
    except RecursionError:  # from the standard library's JSON reader, which whoisit lets through
        raise RegistryError(f"its RDAP server {where} gave an answer that is nested too deep") from None
    return _read(raw, name)


async def fetch(url: str, context: ssl.SSLContext, timeout: float) -> str:
    """The text of a bootstrap. Raises RegistryError."""
    try:
        async with asyncio.timeout(timeout), _client(context, BOOTSTRAP_LIMIT) as client:
            response = await client.get(url)
            if response.status_code != 200:
                raise SilentError(f"the RDAP bootstrap at {visible(url, 200)} answers status {response.status_code}")
            return response.text
    except TimeoutError as error:
        raise SilentError(f"the RDAP bootstrap: {refusal(error, visible(url, 200), timeout)}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SilentError(f"the RDAP bootstrap: {_cause(error, visible(url, 200), timeout)}") from None


def _cause(error: BaseException, where: str, timeout: float) -> str:
    """The reason at the bottom of an error that libraries wrapped."""
    seen: BaseException = error
    while (below := seen.__cause__ or seen.__context__) is not None:
        seen = below
    if isinstance(seen, OSError):
        return refusal(seen, where, timeout)
    return visible(" ".join(str(seen).split()), 120) or type(seen).__name__


def _read(raw: Any, name: str) -> Answer:
    """RFC 9083. Only what is said plainly counts: an answer about another name or without a clear date is none."""
    if not isinstance(raw, dict) or raw.get("objectClassName", "domain") != "domain":
        raise RegistryError("its RDAP server answered with something that is no domain")
    told = raw.get("ldhName")
    if isinstance(told, str) and told.rstrip(".").lower() != name:
        raise RegistryError(f"its RDAP server answered about another name: {visible(told, 100)}")
    dates: dict[str, dt.date] = {}
    for event in _list(raw.get("events")):
        if isinstance(event, dict) and (date := date_in(str(event.get("eventDate", "")))):
            dates.setdefault(str(event.get("eventAction", "")).strip().lower(), date)
    states = [state for state in _list(raw.get("status")) if isinstance(state, str)]
    return Answer(
        source="rdap",
        expires=dates.get("expiration") or dates.get("registrar expiration"),
        trouble=tuple(dict.fromkeys(visible(state, 60) for state in states if is_trouble(state))),
    )


def _list(value: Any) -> list[Any]:
    return value[:100] if isinstance(value, list) else []


# ---------------------------------------------------------------- bounds


def _client(context: ssl.SSLContext, limit: int) -> httpx.AsyncClient:
    transport = _Bounded(httpx.AsyncHTTPTransport(verify=context, trust_env=False), limit)
    return httpx.AsyncClient(
        transport=transport, trust_env=False, follow_redirects=True, max_redirects=REDIRECTS, timeout=LONGEST
    )


class _Bounded(httpx.AsyncBaseTransport):
    """Refuses compressed answers and ends those that are longer than `limit`: httpx itself reads them whole."""

    def __init__(self, inner: httpx.AsyncBaseTransport, limit: int) -> None:
        self._inner, self._limit = inner, limit

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["Accept-Encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx.DecodingError("answers in an encoding that was not offered", request=request)
        stream = response.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            raise TypeError("an asynchronous transport gives asynchronous streams")
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Counted(stream, self._limit),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Counted(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, limit: int) -> None:
        self._inner, self._limit = inner, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit
        async for part in self._inner:
            left -= len(part)
            if left < 0:
                raise httpx.ReadError(f"longer than {self._limit // 1024} KiB")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()
