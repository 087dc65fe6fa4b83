"""A store around another one that fails as told: what the network, the store and its owner do on a bad day."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar, cast

from msgspec import Struct

from backends.store import Abilities, Item, Lock, Store, StoreError, StoreOver

Result = TypeVar("Result")
CALLS = ("put", "get", "head", "versions", "extend", "restore_version", "delete", "probe")


def error(code: str) -> Callable[[], StoreError]:
    """A failure with this code; made anew each time, as a raised exception collects its traceback."""
    return lambda: StoreError(code, f"made by a test: {code}", "none")


class Fault(Struct, frozen=True, kw_only=True):
    """What happens to the `nth` call of `on` (0: every one), counted from 1.

    `before`: raised in place of the call. `after`: raised when the call was done: its reply is lost. `hang`: it never
    ends. `short`: a read ends after so many bytes as if that were all; with `after` it breaks off there.
    `unlocked`: the lock that was asked for is dropped on the way, as in a bucket that lost its setting.
    """

    on: str
    nth: int = 1
    before: Callable[[], StoreError] | None = None
    after: Callable[[], StoreError] | None = None
    hang: bool = False
    short: int | None = None
    unlocked: bool = False


class Faulty(StoreOver):
    """`Store` over `store`, with faults. `count` tells how often each method was called."""

    def __init__(self, store: Store, *faults: Fault) -> None:
        assert all(fault.on in CALLS for fault in faults)
        super().__init__(store)
        self.faults = faults
        self.hung = asyncio.Event()
        """Set when a call hangs."""
        self.count = dict.fromkeys(CALLS, 0)

    async def put(self, name: str, body: Path | bytes, *, sha256: str, lock: Lock | None = None) -> Item:
        fault = await self._begin("put")
        kept = None if fault.unlocked else lock
        return self._end(fault, await self._store.put(name, body, sha256=sha256, lock=kept))

    async def head(self, name: str, version: str | None = None) -> Item | None:
        fault = await self._begin("head")
        return self._end(fault, await self._store.head(name, version))

    async def get(self, name: str, version: str | None = None, *, start: int = 0) -> AsyncIterator[bytes]:
        fault = await self._begin("get")
        left = fault.short
        async with aclosing(cast("Any", self._store.get(name, version, start=start))) as chunks:
            async for chunk in chunks:
                yield chunk if left is None else chunk[:left]
                left = None if left is None else max(0, left - len(chunk))
                if left == 0:
                    break
        self._end(fault, None)

    async def versions(self, prefix: str = "", *, after: Item | None = None) -> AsyncIterator[Item]:
        fault = await self._begin("versions")
        left = fault.short
        async with aclosing(cast("Any", self._store.versions(prefix, after=after))) as items:
            async for item in items:
                if left == 0:
                    break
                yield item
                left = None if left is None else left - 1
        self._end(fault, None)

    async def extend(self, name: str, version: str, until: dt.datetime, *, mode: str | None = None) -> Item:
        fault = await self._begin("extend")
        return self._end(fault, await self._store.extend(name, version, until, mode=mode))

    async def restore_version(self, name: str, version: str) -> Item:
        fault = await self._begin("restore_version")
        return self._end(fault, await self._store.restore_version(name, version))

    async def delete(self, name: str, version: str) -> None:
        fault = await self._begin("delete")
        await self._store.delete(name, version)
        self._end(fault, None)

    async def probe(self) -> Abilities:
        fault = await self._begin("probe")
        return self._end(fault, await self._store.probe())

    async def _begin(self, call: str) -> Fault:
        self.count[call] += 1
        hit = [fault for fault in self.faults if fault.on == call and fault.nth in {0, self.count[call]}]
        fault = hit[0] if hit else Fault(on=call)
        if fault.hang:
            self.hung.set()
            await asyncio.Event().wait()
        if fault.before:
            raise fault.before()
        return fault

    def _end(self, fault: Fault, result: Result) -> Result:
        if fault.after:
            raise fault.after()
        return result
