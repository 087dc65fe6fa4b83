"""The known holes of plugins, themes and core: the feed is asked for at most every half hour, by all processes
together, and kept on the disk; what was read before stays in use, with its age, whatever the feed's server does.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import os
import re
import stat
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

from backends import holes_index
from backends.holes_feed import FeedBroken, Weakness
from backends.holes_index import FEED_MOST, About, Building, Key
from backends.in_thread import in_thread
from backends.records import Moment, visible

if TYPE_CHECKING:
    import aiohttp

FILE = "holes.db"
TOKEN = "MODOSERU_WORDFENCE_TOKEN"  # noqa: S105 - the name of a variable
PAUSE = dt.timedelta(minutes=30)
"""Wordfence answers one request in half an hour (FACTS 4)."""
REST_MOST = dt.timedelta(days=1)
"""However long a server wants to be left alone."""
WHOLE_S, SILENT_S = 600.0, 60.0
"""Seconds for all of the feed, and for the next of its bytes."""
_PIECE = 2**18
_TOKEN = re.compile(r"[!-~]{1,500}")


class Cache(Protocol):
    """What all processes know of each other's requests: `backends.journal_cache`."""

    async def get(self, key: str) -> tuple[str, dt.datetime] | None: ...
    async def set(self, key: str, value: str, at: dt.datetime) -> None: ...
    async def claim(self, key: str, at: dt.datetime, every: dt.timedelta) -> bool: ...


class Feed(Struct, frozen=True, kw_only=True):
    """How the feed stands. `problem`: why it is not as new as it could be, in a sentence without a full stop."""

    source: str
    as_of: Moment | None = None
    """None: it was never read."""
    entries: int = 0
    problem: str | None = None


class Weaknesses(Struct, frozen=True, kw_only=True):
    """What the feed says of each kind and slug that was asked for."""

    as_of: Moment
    of: Mapping[Key, tuple[Weakness, ...]]


class Holes:
    """The feed in `source` (an address, or the path of a file), and its index in `folder`; one object for a process."""

    def __init__(
        self,
        source: str,
        folder: Path,
        *,
        cache: Cache,
        ca_file: str | None = None,
        token: str | None = None,
        most: int = FEED_MOST,
        whole_s: float = WHOLE_S,
        silent_s: float = SILENT_S,
    ) -> None:
        self._source, self._cache, self._ca_file, self._most = source, cache, ca_file, most
        self._token = token if token is not None else os.environ.get(TOKEN, "")
        self._whole_s, self._silent_s = whole_s, silent_s
        self._path = folder.absolute() / FILE
        self._kept: tuple[tuple[int, int], Weaknesses] | None = None

    async def weaknesses(self, keys: Iterable[Key]) -> Weaknesses | None:
        """From the disk alone. None: this feed was never read."""
        wanted = set(keys)
        try:
            status = await asyncio.to_thread(self._path.stat)
        except OSError:
            return None
        version = (status.st_ino, status.st_mtime_ns)
        known = dict(self._kept[1].of) if self._kept is not None and self._kept[0] == version else {}
        as_of = self._kept[1].as_of if self._kept is not None and self._kept[0] == version else None
        if as_of is None or wanted - known.keys():
            found = await asyncio.to_thread(holes_index.lookup, self._path, wanted - known.keys())
            if found is None or found[0].source != self._source:
                return None
            as_of, known = found[0].as_of, known | found[1]
            self._kept = version, Weaknesses(as_of=as_of, of=known)
        return Weaknesses(as_of=as_of, of=known)

    async def feed(self) -> Feed:
        """How it stands, by what is on the disk."""
        known = await asyncio.to_thread(self._about)
        told = await self._cache.get(f"holes:problem:{self._key}")
        return _standing(self._source, known, told[0] if told and told[0] else None)

    async def refresh(self, now: dt.datetime | None = None) -> Feed:
        """Asks for the feed, where that may be done now. Raises nothing that the feed or the disk does."""
        source, now = self._source, now or dt.datetime.now(dt.UTC)
        if source.startswith("http"):
            if (rest := await self._resting(now)) is not None:
                return _standing(source, await asyncio.to_thread(self._about), rest)
            if not await self._cache.claim(f"holes:asked:{self._key}", now, PAUSE):
                return await self.feed()
        problem = None
        try:
            await (self._fetch(source, now) if source.startswith("http") else in_thread(lambda: self._read(source)))
        except FeedBroken as error:
            problem = str(error)
        except OSError as error:
            problem = f"{visible(source, 200)} cannot be kept or read: {(error.strerror or str(error)).lower()}"
        await self._cache.set(f"holes:problem:{self._key}", problem or "", now)
        return _standing(source, await asyncio.to_thread(self._about), problem)

    @property
    def _key(self) -> str:
        """Of the address and the token together: who has mended the token need not wait."""
        return hashlib.sha256(f"{self._source}\0{self._token}".encode()).hexdigest()[:16]

    def _about(self) -> About | None:
        known = holes_index.about(self._path)
        return known if known is not None and known.source == self._source else None

    async def _resting(self, now: dt.datetime) -> str | None:
        """That the server wants to be left alone still."""
        told = await self._cache.get(f"holes:rest:{self._key}")
        until = dt.datetime.fromisoformat(told[0]) if told is not None else now
        return f"its server wants to be left alone until {until:%Y-%m-%d %H:%M} UTC" if until > now else None

    # ------------------------------------------------------------ a file

    def _read(self, source: str) -> None:
        """A file is read where it is not the one that was read."""
        path = Path(source).expanduser()
        try:
            # A pipe in its place must not hold the program up.
            file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            raise FeedBroken(f"{visible(source, 200)} cannot be read: {why}") from None
        with file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FeedBroken(f"{visible(source, 200)} is not a file")
            stamp = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
            known = self._about()
            if known is not None and known.stamp == stamp:
                return
            written = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)
            building = Building(self._path, most=self._most)
            try:
                while piece := file.read(_PIECE):
                    building.take(piece)
                building.finish(About(source=source, as_of=written, stamp=stamp))
            finally:
                building.drop()

    # ------------------------------------------------------------ a server

    async def _fetch(self, source: str, now: dt.datetime) -> None:
        """A redirect is followed nowhere: the token goes to nobody else. Raises FeedBroken, OSError."""
        import aiohttp

        from backends.endpoint import endpoint, refusal, trust

        where = endpoint(source).where
        if self._token and not _TOKEN.fullmatch(self._token):
            raise FeedBroken(f"the token in {TOKEN} holds what no token holds: a blank or a line's end")
        known = await asyncio.to_thread(self._about)
        try:
            context = await trust(self._ca_file)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._silent_s, sock_read=self._silent_s)
            async with (
                asyncio.timeout(self._whole_s),
                aiohttp.ClientSession(
                    auto_decompress=False, trust_env=False, timeout=timeout, headers=self._headers(known)
                ) as session,
                session.get(source, ssl=context, allow_redirects=False) as response,
            ):
                if response.status == 304 and known is not None:
                    await asyncio.to_thread(holes_index.confirm, self._path, replace(known, as_of=now))
                elif response.status == 200:
                    await self._take(response, source, now)
                else:
                    raise FeedBroken(await self._refused(response, where, now))
        except aiohttp.ClientConnectorError as error:
            raise FeedBroken(refusal(error.os_error, where, self._silent_s)) from None
        except aiohttp.ClientPayloadError:
            raise FeedBroken(f"the feed of {where} stops in the middle") from None
        except TimeoutError as error:
            silent = isinstance(error, aiohttp.ServerTimeoutError)
            raise FeedBroken(refusal(error, where, self._silent_s if silent else self._whole_s)) from None
        except (aiohttp.ClientError, ValueError) as error:
            raise FeedBroken(refusal(error, where, self._silent_s)) from None

    def _headers(self, known: About | None) -> dict[str, str]:
        headers = {"User-Agent": "Modoseru", "Accept": "application/json", "Accept-Encoding": "gzip"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if known is not None and known.stamp:
            headers["If-None-Match"] = known.stamp
        if known is not None and known.modified:
            headers["If-Modified-Since"] = known.modified
        return headers

    async def _take(self, response: aiohttp.ClientResponse, source: str, now: dt.datetime) -> None:
        building = await asyncio.to_thread(lambda: Building(self._path, most=self._most))
        try:
            async for piece in _pieces(response.content):
                await asyncio.to_thread(building.take, piece)
            stamp, modified = (_header(response, name) for name in ("ETag", "Last-Modified"))
            await asyncio.to_thread(building.finish, About(source=source, as_of=now, stamp=stamp, modified=modified))
        finally:
            await asyncio.to_thread(building.drop)

    async def _refused(self, response: aiohttp.ClientResponse, where: str, now: dt.datetime) -> str:
        if response.status in (401, 403):
            return f"{where} refuses the token in {TOKEN}" if self._token else f"{where} wants a token: set {TOKEN}"
        if response.status != 429:
            return f"{where} answers status {response.status}"
        until = now + _seconds(_header(response, "Retry-After"), now)
        await self._cache.set(f"holes:rest:{self._key}", until.isoformat(), now)
        return f"{where} wants to be left alone until {until:%Y-%m-%d %H:%M} UTC"


async def _pieces(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Large enough that a thread's turn is worth it."""
    held = bytearray()
    async for piece in content.iter_any():
        held += piece
        if len(held) >= _PIECE:
            yield bytes(held)
            held.clear()
    yield bytes(held)


def _header(response: aiohttp.ClientResponse, name: str) -> str:
    value = response.headers.get(name, "")
    return value if len(value) <= 200 and value.isascii() and value.isprintable() else ""


def _seconds(retry_after: str, now: dt.datetime) -> dt.timedelta:
    """What a server asks for, at least the usual pause, at most a day."""
    try:
        asked = dt.timedelta(seconds=int(retry_after[:9])) if retry_after.isdigit() else _at(retry_after) - now
    except (ValueError, TypeError, OverflowError):
        asked = PAUSE
    return min(max(asked, PAUSE), REST_MOST)


def _at(date: str) -> dt.datetime:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(date).astimezone(dt.UTC)


def _standing(source: str, known: About | None, problem: str | None) -> Feed:
    if known is None:
        return Feed(source=source, problem=problem)
    if problem is None and known.unread:
        problem = f"{known.unread} of its {known.entries} entries cannot be read"
    return Feed(source=source, as_of=known.as_of, entries=known.entries, problem=problem)
