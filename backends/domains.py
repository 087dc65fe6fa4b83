"""When the registration of a site's domain ends, and who says so.

RDAP where the TLD has it, WHOIS where it does not, else the date in the site's file, else an honest unknown. Registries
are asked rarely and one question at a time: answers are kept for a day, and a registry that refuses or fails rests.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import ipaddress
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from backends import whois
from backends.endpoint import ascii_host, trust
from backends.records import Domain, DomainsSettings, State, visible
from backends.registry import Answer, RateLimitedError, RegistryError, RestingError, SilentError

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

    from backends.rdap import Bootstrap

IANA_BOOTSTRAP = "https://data.iana.org/rdap/dns.json"
WHOIS_SERVERS = {"jp": "whois.jprs.jp:43"}
"""Where no RDAP is known and the settings name no server. JPRS has no RDAP for .jp (FACTS 5)."""
ANSWER_KEPT = dt.timedelta(hours=24)
BOOTSTRAP_KEPT = dt.timedelta(days=7)
REST_AFTER_REFUSAL = dt.timedelta(hours=1)
REST_AFTER_FAILURE = dt.timedelta(minutes=5)
WHOIS_GAP = 5.0
RDAP_GAP = 1.0
"""Seconds between two questions to one server. JPRS publishes no figure; "one in several seconds" keeps it content."""


def registration_state(expires: dt.date, now: dt.datetime) -> State:
    """Urgency of a registration's end (FACTS 5): warning under 60 days, critical under 14."""
    left = (expires - now.date()).days
    return State.CRITICAL if left < 14 else State.WARNING if left < 60 else State.OK


def registrable(host: str) -> str | None:
    """The registrable domain that `host` lies in, spelled as `host` is, in lower case; None for addresses, single
    labels and public suffixes. Loads the public suffix list the first time (50 ms)."""
    host = host.strip().rstrip(".").lower()
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    else:
        return None
    try:
        ascii_host(host)
    except ValueError:
        return None
    found: str | None = _suffixes().privatesuffix(host)
    return found


@functools.cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=True)


class Cache(Protocol):
    """Keeps answers, over restarts where the journal is behind it."""

    async def get(self, key: str) -> tuple[str, dt.datetime] | None:
        """The newest value and when it was set."""

    async def set(self, key: str, value: str, at: dt.datetime) -> None: ...


class MemoryCache:
    """A Cache that lasts as long as the process."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[str, dt.datetime]] = {}

    async def get(self, key: str) -> tuple[str, dt.datetime] | None:
        return self._values.get(key)

    async def set(self, key: str, value: str, at: dt.datetime) -> None:
        self._values[key] = value, at


class Turns:
    """One question at a time to a server, and a gap after each."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._next: dict[str, float] = {}

    @asynccontextmanager
    async def turn(self, server: str, gap: float, patience: float | None) -> AsyncIterator[None]:
        """Waits for the server's turn; raises RegistryError when that takes longer than `patience` seconds."""
        lock = self._locks[server]
        try:
            async with asyncio.timeout(patience):
                await lock.acquire()
        except TimeoutError:
            raise RegistryError(f"{server} is asked one question at a time and has not come to it yet") from None
        try:
            wait = self._next.get(server, 0.0) - self._clock()
            if patience is not None and wait > patience:
                raise RegistryError(f"{server} is asked one question at a time and has not come to it yet")
            if wait > 0:
                await self._sleep(wait)
            try:
                yield
            finally:
                self._next[server] = self._clock() + gap
        finally:
            lock.release()


class _Rest(Struct, frozen=True, kw_only=True):
    """A server that is left alone for a while, and why."""

    until: dt.datetime
    why: str


class Registries:
    """Asks the registries of the world; one object for a process, so that its pace and its answers are shared."""

    def __init__(
        self,
        settings: DomainsSettings | None = None,
        *,
        cache: Cache | None = None,
        turns: Turns | None = None,
        timeout: float = 10.0,
        whois_gap: float = WHOIS_GAP,
        rdap_gap: float = RDAP_GAP,
    ) -> None:
        self._settings = settings or DomainsSettings()
        self._cache: Cache = cache or MemoryCache()
        self._turns = turns or Turns()
        self._timeout, self._whois_gap, self._rdap_gap = timeout, whois_gap, rdap_gap
        self._names: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def expiry(
        self,
        host: str,
        *,
        manual: dt.date | None = None,
        now: dt.datetime | None = None,
        patience: float | None = None,
    ) -> Domain:
        """When the registration of `host`'s domain ends.

        `manual` is the date in the site's file: it counts where no registry tells one. `patience` bounds the wait for
        a registry's turn (not the question itself, which `timeout` bounds); None waits as long as it takes. An older
        answer stands in for one that cannot be had now; `checked_at` tells its age. Never raises for what a registry
        does.
        """
        now = now or dt.datetime.now(dt.UTC)
        await asyncio.to_thread(_suffixes)
        name = registrable(host)
        if name is None:
            problem = f"{visible(host, 253)} lies in no registrable domain"
            return Domain(name=visible(host, 253), state=State.UNKNOWN, problem=problem, checked_at=now)
        asked = ascii_host(name)
        async with self._names[asked]:
            kept = await self._kept(asked)
            if kept is not None and now - kept[1] < ANSWER_KEPT:
                return _domain(name, kept, None, manual, now)
            try:
                answer = await self._ask(asked, now, patience)
            except RegistryError as error:
                return _domain(name, kept, str(error), manual, now)
            if answer is None:
                return _domain(name, kept, None, manual, now)
            answer = _noted(answer, kept)
            await self._cache.set(f"registration:{asked}", msgspec.json.encode(answer).decode(), now)
            return _domain(name, (answer, now), None, manual, now)

    async def _kept(self, name: str) -> tuple[Answer, dt.datetime] | None:
        found = await self._cache.get(f"registration:{name}")
        if found is None:
            return None
        try:
            return msgspec.json.decode(found[0], type=Answer), found[1]
        except msgspec.DecodeError:  # written by another version
            return None

    async def _ask(self, name: str, now: dt.datetime, patience: float | None) -> Answer | None:
        """RDAP, then WHOIS where RDAP told no date; None where neither is known for the TLD. Raises RegistryError."""
        failure: RegistryError | None = None
        answer: Answer | None = None
        try:
            answer = await self._ask_rdap(name, now, patience)
        except RegistryError as error:
            failure = error
        server = self._whois_server(name)
        if server is not None and (answer is None or (answer.registered and answer.expires is None)):
            try:
                answer = await self._ask_whois(name, server, now, patience)
            except RegistryError as error:
                failure = error
        if answer is None and failure is not None:
            raise failure
        return answer

    async def _ask_rdap(self, name: str, now: dt.datetime, patience: float | None) -> Answer | None:
        rdap = await asyncio.to_thread(_rdap)
        bootstrap = await self._bootstrap(now)
        server: str | None = rdap.server(name, bootstrap)
        if server is None:
            return None
        context = await trust(None)

        async def ask() -> Answer:
            answer: Answer = await rdap.ask(name, bootstrap, context, self._timeout)
            return answer

        return await self._question(server, self._rdap_gap, patience, now, ask)

    async def _ask_whois(self, name: str, server: str, now: dt.datetime, patience: float | None) -> Answer:
        return await self._question(
            server, self._whois_gap, patience, now, lambda: whois.ask(name, server, self._timeout)
        )

    def _whois_server(self, name: str) -> str | None:
        """The server for the longest suffix of `name` that has one, the settings' before our own."""
        known = {**WHOIS_SERVERS, **{suffix.lower().strip("."): at for suffix, at in self._settings.whois.items()}}
        labels = name.split(".")
        return next((known[s] for i in range(1, len(labels)) if (s := ".".join(labels[i:])) in known), None)

    async def _question(
        self,
        server: str,
        gap: float,
        patience: float | None,
        now: dt.datetime,
        ask: Callable[[], Awaitable[Answer]],
    ) -> Answer:
        """`ask` at its turn, unless the server rests; one that fails or refuses rests afterwards."""
        async with self._turns.turn(server, gap, patience):
            await self._awake(server, now)
            try:
                return await ask()
            except (SilentError, RateLimitedError) as error:
                await self._rest(server, error, now)
                raise

    async def _awake(self, server: str, now: dt.datetime) -> None:
        found = await self._cache.get(f"rest:{server}")
        if found is None:
            return
        try:
            rest = msgspec.json.decode(found[0], type=_Rest)
        except msgspec.DecodeError:
            return
        if found[1] <= now < rest.until:
            raise RestingError(f"{rest.why}; not asked again before {rest.until:%Y-%m-%d %H:%M} UTC")

    async def _rest(self, server: str, error: RegistryError, now: dt.datetime) -> None:
        length = REST_AFTER_REFUSAL if isinstance(error, RateLimitedError) else REST_AFTER_FAILURE
        rest = _Rest(until=now + length, why=str(error))
        await self._cache.set(f"rest:{server}", msgspec.json.encode(rest).decode(), now)

    async def _bootstrap(self, now: dt.datetime) -> Bootstrap:
        """IANA's list of RDAP servers, or the one that the settings name (a file or a URL). Raises RegistryError."""
        rdap = await asyncio.to_thread(_rdap)
        chosen = self._settings.rdap_bootstrap is not None
        source = self._settings.rdap_bootstrap or IANA_BOOTSTRAP
        if not source.startswith(("http://", "https://")):
            text = await asyncio.to_thread(_file_text, source)
        else:
            text = await self._fetched(source, rdap, now)
        bootstrap: Bootstrap = rdap.Bootstrap(text=text, chosen=chosen)
        return bootstrap

    async def _fetched(self, source: str, rdap: ModuleType, now: dt.datetime) -> str:
        async with self._names[source]:
            kept = await self._cache.get(f"bootstrap:{source}")
            if kept is not None and now - kept[1] < BOOTSTRAP_KEPT:
                return kept[0]
            try:
                await self._awake(source, now)
                text: str = await rdap.fetch(source, await trust(None), self._timeout)
            except RegistryError as error:
                if isinstance(error, SilentError):
                    await self._rest(source, error, now)
                if kept is not None:  # TLDs move rarely: last week's list is better than none
                    return kept[0]
                raise
            await self._cache.set(f"bootstrap:{source}", text, now)
            return text


def _rdap() -> ModuleType:
    """whoisit, httpx and requests take a quarter of a second to import: at the first question, in a thread."""
    from backends import rdap

    return rdap


def _file_text(source: str) -> str:
    try:
        return Path(source).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RegistryError(f"the RDAP bootstrap {visible(source, 200)} cannot be read: {why}") from None


def _noted(answer: Answer, kept: tuple[Answer, dt.datetime] | None) -> Answer:
    """`answer`, with a note where date and source changed together: a value never flips between sources in silence."""
    before = kept[0] if kept is not None else None
    if before is None or before.source == answer.source or not before.expires or before.expires == answer.expires:
        return answer
    return msgspec.structs.replace(answer, note=f"{before.source} said {before.expires} before")


def _domain(
    name: str,
    told: tuple[Answer, dt.datetime] | None,
    failure: str | None,
    manual: dt.date | None,
    now: dt.datetime,
) -> Domain:
    """The record: what the registry told, else the date in the site's file, else unknown. Each doubt is a sentence."""
    answer, at = told if told is not None else (None, now)
    problems: list[str] = []
    if failure is not None:
        problems.append(failure if answer is None else f"{failure}; this is what it said on {at:%Y-%m-%d}")
    if answer is not None and not answer.registered:
        problems.insert(0, "not registered: its registry knows no such domain")
        return Domain(name=name, state=State.CRITICAL, source=answer.source, problem="; ".join(problems), checked_at=at)
    trouble = answer.trouble if answer is not None else ()
    problems = [f"its registry says: {', '.join(trouble)}"] * bool(trouble) + problems
    expires, source = (answer.expires, answer.source) if answer is not None else (None, "unknown")
    if answer is not None and answer.note is not None:
        problems.append(answer.note)
    if expires is None:
        expires, source, at = (manual, "manual", now) if manual is not None else (None, "unknown", at)
    elif manual is not None and manual != expires:
        problems.append(f"the site's file says {manual}, its registry {expires}")
    if expires is None:
        problems.append("no expiry date is known: enter it in the site's file as [domain] expires")
    state = registration_state(expires, now) if expires is not None else State.UNKNOWN
    return Domain(
        name=name,
        state=State.CRITICAL if trouble else state,
        expires=expires,
        days_left=(expires - now.date()).days if expires is not None else None,
        source=source,
        problem="; ".join(problems) or None,
        checked_at=at,
    )
