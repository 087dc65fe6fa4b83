"""Patience over any store: time limits, further tries where a failure may pass, lost replies, reads that broke off.

Exponential back-off with jitter, bounded in tries and in time. What a second try cannot mend is raised at once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar, cast

from msgspec import Struct

from backends.store import Abilities, Item, Lock, Store, StoreError, StoreOver, check_name, written_as_asked

Result = TypeVar("Result")


class Patience(Struct, frozen=True, kw_only=True):
    """How often, how long and with which pauses; seconds. The clock and the pause can be replaced, so no test waits."""

    tries: int = 6
    together: float = 600
    """No try begins this long after the first one did."""
    first: float = 0.5
    longest: float = 30
    call: float = 60
    """The limit of a call that carries no object, and of a pause between two chunks of one that does."""
    slowest: int = 64 * 1024
    """Bytes a second: an upload may take `call` and this."""
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[float, float], float] = random.uniform


class Retrying(StoreOver):
    """`Store` over a store that tries once."""

    def __init__(self, store: Store, patience: Patience) -> None:
        super().__init__(store)
        self._patience = patience

    # ------------------------------------------------------------ writing

    async def put(self, name: str, body: Path | bytes, *, sha256: str, lock: Lock | None = None) -> Item:
        check_name(name)
        size = len(body) if isinstance(body, bytes) else (await asyncio.to_thread(body.stat)).st_size
        seconds = self._patience.call + size / self._patience.slowest
        tries = _Tries(self._patience)
        while True:
            try:
                put = self._store.put(name, body, sha256=sha256, lock=lock)
                return written_as_asked(await self._within(seconds, f"writing {name}", put), name, size, sha256, lock)
            except StoreError as error:
                if error.code == "exists" and tries.failed:
                    return await self._own(name, size, sha256, lock)
                await tries.again(error)

    async def _own(self, name: str, size: int, sha256: str, lock: Lock | None) -> Item:
        """The object that a try of ours wrote whose reply was lost. Raises exists where it is somebody else's."""
        item = await self.head(name)
        if item is not None and item.size == size and (item.sha256 or await self._hash(item)) == sha256:
            return written_as_asked(item, name, size, sha256, lock)
        raise StoreError("exists", f"{name} is there already, and is another object", "choose another name")

    async def _hash(self, item: Item) -> str:
        digest = hashlib.sha256()
        async with aclosing(cast("Any", self.get(item.name, item.version or None))) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
        return digest.hexdigest()

    async def extend(self, name: str, version: str, until: dt.datetime, *, mode: str | None = None) -> Item:
        check_name(name)
        return await self._tried(f"locking {name}", lambda: self._store.extend(name, version, until, mode=mode))

    async def restore_version(self, name: str, version: str) -> Item:
        check_name(name)
        return await self._tried(f"bringing {name} back", lambda: self._store.restore_version(name, version))

    async def delete(self, name: str, version: str) -> None:
        check_name(name)
        await self._tried(f"deleting {name}", lambda: self._store.delete(name, version))

    # ------------------------------------------------------------ reading

    async def head(self, name: str, version: str | None = None) -> Item | None:
        check_name(name)
        return await self._tried(f"asking for {name}", lambda: self._store.head(name, version))

    async def get(self, name: str, version: str | None = None, *, start: int = 0) -> AsyncIterator[bytes]:
        # The version is pinned by name: after a cut the rest must come from the same bytes.
        item = await self.head(name, version)
        if item is None:
            raise missing(name, self.place)
        tries, at = _Tries(self._patience), start
        while at < item.size:
            try:
                async with aclosing(cast("Any", self._store.get(name, item.version or None, start=at))) as chunks:
                    while chunk := await self._within(self._patience.call, f"reading {name}", anext(chunks, b"")):
                        at += len(chunk)
                        if at > item.size:
                            raise StoreError("damaged", f"{name} is longer than the store says: more than {item.size}")
                        yield chunk
                if at < item.size:
                    raise StoreError("cut", f"{name} ended after {at} of {item.size} bytes", "try again")
            except StoreError as error:
                await tries.again(error)

    async def versions(self, prefix: str = "", *, after: Item | None = None) -> AsyncIterator[Item]:
        tries = _Tries(self._patience)
        while True:
            try:
                async with aclosing(cast("Any", self._store.versions(prefix, after=after))) as items:
                    while (item := await self._within(self._patience.call, "listing", anext(items, None))) is not None:
                        # What the last page cost is no reason to give up on the next one.
                        tries, after = _Tries(self._patience), item
                        yield item
                return
            except StoreError as error:
                await tries.again(error)

    async def probe(self) -> Abilities:
        return await self._tried("looking at the store", self._store.probe, calls=20)

    # ------------------------------------------------------------ inside

    async def _tried(self, what: str, call: Callable[[], Awaitable[Result]], calls: int = 1) -> Result:
        tries = _Tries(self._patience)
        while True:
            try:
                return await self._within(self._patience.call * calls, what, call())
            except StoreError as error:
                await tries.again(error)

    async def _within(self, seconds: float, what: str, waited: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(seconds):
                return await waited
        except TimeoutError:
            message = f"{self.place}: no answer in {seconds:.0f} s while {what}"
            raise StoreError("timeout", message, "the store or the way to it hangs; try again later") from None


class _Tries:
    """The tries of one call."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._begun = patience.clock()
        self.failed = 0

    async def again(self, error: StoreError) -> None:
        """Waits before the next try; raises `error` where there is none to be made."""
        self.failed += 1
        patience = self._patience
        if not error.passing or self.failed >= patience.tries:
            raise error
        pause = min(patience.longest, patience.first * 2 ** (self.failed - 1)) * patience.jitter(0.5, 1)
        if patience.clock() + pause - self._begun > patience.together:
            raise error
        await patience.sleep(pause)


def missing(name: str, place: str) -> StoreError:
    return StoreError("missing", f"{name} is not in {place}", "vault doctor looks for hidden versions")
