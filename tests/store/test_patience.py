"""Patience over a store that has a bad day: what may pass is tried again, within bounds; what may not is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.store import Lock, StoreError
from backends.store_folder import FolderStore
from backends.store_retry import Patience, Retrying
from tests.store.faults import CALLS, Fault, Faulty, error
from tests.store.grounds import PATIENT, OnS3, fresh, read, sha
from tests.store.test_conformance import BODY, code_of, later, listed

PASSING = ("throttled", "conflict", "unreachable", "cut", "timeout")
LASTING = ("exists", "denied", "credentials", "clock_skew", "no_bucket", "no_space", "certificate", "wrong_region")


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def patience(self, **more: float) -> Patience:
        return replace(Patience(sleep=self.sleep, clock=lambda: self.now, jitter=lambda _low, high: high), **more)


@pytest.fixture
def over(tmp_path: Path) -> Callable[..., tuple[Retrying, Faulty]]:
    def made(*faults: Fault, patience: Patience = PATIENT) -> tuple[Retrying, Faulty]:
        faulty = Faulty(FolderStore(tmp_path), *faults)
        return Retrying(faulty, patience), faulty

    return made


Over = Callable[..., tuple[Retrying, Faulty]]


@pytest.mark.parametrize("code", PASSING)
async def test_what_passes_is_tried_again(over: Over, code: str) -> None:
    store, faulty = over(*(Fault(on=call, before=error(code)) for call in CALLS if call not in {"extend", "get"}))
    item = await store.put(fresh(), BODY, sha256=sha(BODY))
    assert await store.head(item.name) == item
    assert await listed(store) == [item]
    assert await store.restore_version(item.name, "") == item
    assert (await store.probe()).conditional
    await store.delete(item.name, "")
    assert faulty.count["put"] == faulty.count["delete"] == faulty.count["probe"] == 2


@pytest.mark.parametrize("code", LASTING)
async def test_what_lasts_is_said_at_once(over: Over, code: str) -> None:
    store, faulty = over(*(Fault(on=call, nth=0, before=error(code)) for call in CALLS))
    assert await code_of(store.put(fresh(), b"x", sha256=sha(b"x"))) == code
    assert await code_of(store.head("a")) == code
    assert await code_of(read(store, "a")) == code
    assert await code_of(listed(store)) == code
    assert await code_of(store.extend("a", "v", later())) == code
    assert await code_of(store.restore_version("a", "v")) == code
    assert await code_of(store.delete("a", "v")) == code
    assert await code_of(store.probe()) == code
    assert set(faulty.count.values()) <= {0, 1, 2}
    assert faulty.count["put"] == 1


async def test_pauses_double_up_to_a_bound_and_tries_end(over: Over) -> None:
    clock = Clock()
    patience = clock.patience(tries=8, first=1, longest=10)
    store, faulty = over(Fault(on="head", nth=0, before=error("throttled")), patience=patience)
    assert await code_of(store.head("a")) == "throttled"
    assert clock.slept == [1, 2, 4, 8, 10, 10, 10]
    assert faulty.count["head"] == 8


async def test_no_try_begins_after_the_time_is_up(over: Over) -> None:
    clock = Clock()
    patience = clock.patience(tries=100, first=1, longest=60, together=100)
    store, _ = over(Fault(on="head", nth=0, before=error("unreachable")), patience=patience)
    assert await code_of(store.head("a")) == "unreachable"
    assert clock.now <= 100


async def test_pauses_are_spread(over: Over) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    for _ in range(20):
        store, _ = over(Fault(on="head", before=error("throttled")), patience=Patience(sleep=sleep, first=8))
        await store.head("a")
    assert len(set(slept)) > 10
    assert min(slept) >= 4
    assert max(slept) <= 8


@pytest.mark.parametrize("call", CALLS)
async def test_a_store_that_hangs_is_given_up(over: Over, call: str) -> None:
    store, _ = over(Fault(on=call, nth=0, hang=True), patience=replace(PATIENT, call=0.01, slowest=1 << 40, tries=2))
    await FolderStore.put(store._store._store, "a", b"x", sha256=sha(b"x"))  # type: ignore[attr-defined]
    calls = {
        "put": lambda: store.put("b", b"x", sha256=sha(b"x")),
        "get": lambda: read(store, "a"),
        "head": lambda: store.head("a"),
        "versions": lambda: listed(store),
        "extend": lambda: store.extend("a", "v", later()),
        "restore_version": lambda: store.restore_version("a", "v"),
        "delete": lambda: store.delete("a", ""),
        "probe": store.probe,
    }
    assert await code_of(calls[call]()) == "timeout"


async def test_a_put_whose_reply_was_lost_is_found_to_be_done(over: Over) -> None:
    store, faulty = over(Fault(on="put", after=error("cut")))
    item = await store.put(fresh(), BODY, sha256=sha(BODY))
    assert faulty.count["put"] == 2
    assert await listed(store) == [item]
    assert await read(store, item.name) == BODY


async def test_another_object_of_the_name_is_not_taken_for_our_own(over: Over) -> None:
    store, _ = over(Fault(on="put", nth=2, before=error("timeout")))
    item = await store.put(fresh(), b"theirs", sha256=sha(b"theirs"))
    assert await code_of(store.put(item.name, b"ours !", sha256=sha(b"ours !"))) == "exists"
    assert await read(store, item.name) == b"theirs"


async def test_a_read_that_breaks_off_goes_on_where_it_was(over: Over) -> None:
    body = BODY * 5
    store, faulty = over(
        Fault(on="get", nth=1, short=1000, after=error("cut")),
        Fault(on="get", nth=2, short=1),
        Fault(on="get", nth=3, short=0),
    )
    item = await store.put(fresh(), body, sha256=sha(body))
    assert await read(store, item.name) == body
    assert faulty.count["get"] == 4


async def test_a_read_that_ends_early_again_and_again_is_an_error_never_an_end(over: Over) -> None:
    store, faulty = over(Fault(on="get", nth=0, short=10), patience=replace(PATIENT, tries=4))
    item = await store.put(fresh(), BODY, sha256=sha(BODY))
    assert await code_of(read(store, item.name)) == "cut"
    assert faulty.count["get"] == 4


async def test_a_listing_that_breaks_off_tells_each_item_once(over: Over) -> None:
    store, faulty = over(*(Fault(on="versions", nth=number, short=2, after=error("unreachable")) for number in (1, 2)))
    items = [await store.put(f"n/{number}", b"x", sha256=sha(b"x")) for number in range(7)]
    assert await listed(store) == items
    assert faulty.count["versions"] == 3


async def test_credentials_that_expire_in_the_middle_of_a_read_end_it(over: Over) -> None:
    store, faulty = over(Fault(on="get", short=10, after=error("credentials")))
    item = await store.put(fresh(), BODY, sha256=sha(BODY))
    assert await code_of(read(store, item.name)) == "credentials"
    assert faulty.count["get"] == 1


async def test_a_cancelled_call_is_cancelled_at_once_and_not_tried_again(over: Over) -> None:
    store, faulty = over(Fault(on="head", nth=0, hang=True))
    task = asyncio.create_task(store.head("a"))
    await asyncio.wait_for(faulty.hung.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert faulty.count["head"] == 1


@pytest.mark.parametrize("after", [None, error("cut")])
async def test_a_bucket_that_lost_its_lock_setting_is_noticed(
    on_weed: OnS3, after: Callable[[], StoreError] | None
) -> None:
    async with on_weed.open() as plain:
        store = Retrying(Faulty(plain, Fault(on="put", unlocked=True, after=after)), PATIENT)
        lock = Lock(mode="compliance", until=later())
        assert await code_of(store.put(fresh(), b"x", sha256=sha(b"x"), lock=lock)) == "no_lock"


def test_only_what_may_pass_is_called_passing() -> None:
    assert all(StoreError(code, "x").passing for code in PASSING)
    assert not any(StoreError(code, "x").passing for code in LASTING)
