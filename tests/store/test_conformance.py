"""What every store promises, on a folder, on SeaweedFS and on moto: whole objects or none, and the truth."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from backends.store import SCRATCH, Item, Lock, Store, StoreError
from tests.store.grounds import Ground, OnS3, fresh, read, sha

BODY = bytes(range(256)) * 4000


def later(seconds: int = 3600) -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=seconds)


async def listed(store: Store, prefix: str = "", after: Item | None = None) -> list[Item]:
    async with aclosing(cast("Any", store.versions(prefix, after=after))) as items:
        return [item async for item in items]


def hidden_below(folder: Path) -> list[Path]:
    """Files that were begun and never got their name."""
    return list(folder.rglob(".*"))


async def code_of(call: Any) -> str:
    with pytest.raises(StoreError) as caught:
        await call
    assert "\n" not in caught.value.message
    return caught.value.code


# ---------------------------------------------------------------- writing and reading


async def test_what_was_put_is_read_back_byte_for_byte(ground: Ground) -> None:
    async with ground.open() as store:
        item = await store.put(name := fresh(), BODY, sha256=sha(BODY))
        assert (item.name, item.size, item.newest, item.marker) == (name, len(BODY), True, False)
        assert item.sha256 in {None, sha(BODY)}
        assert bool(item.version) is ground.immutable
        assert abs((dt.datetime.now(dt.UTC) - item.written).total_seconds()) < 600
        assert await store.head(name) == item
        assert await store.head(name, item.version or None) == item
        assert await read(store, name) == BODY
        assert await read(store, name, item.version or None) == BODY


async def test_a_file_is_put_as_its_bytes_are(ground: Ground, tmp_path: Path) -> None:
    file = tmp_path / "piece"
    file.write_bytes(BODY * 9)
    async with ground.open() as store:
        item = await store.put(fresh(), file, sha256=sha(BODY * 9))
        assert item.size == len(BODY) * 9
        assert sha(await read(store, item.name)) == sha(BODY * 9)


async def test_an_empty_object_is_an_object(ground: Ground) -> None:
    async with ground.open() as store:
        item = await store.put(fresh(), b"", sha256=sha(b""))
        assert item.size == 0
        assert await read(store, item.name) == b""


async def test_reading_begins_where_it_is_told(ground: Ground) -> None:
    async with ground.open() as store:
        item = await store.put(fresh(), BODY, sha256=sha(BODY))
        for start in (1, 255, len(BODY) - 1, len(BODY)):
            assert await read(store, item.name, start=start) == BODY[start:]


async def test_no_chunk_is_larger_than_a_mebibyte(ground: Ground) -> None:
    body = BODY * 12
    async with ground.open() as store:
        item = await store.put(fresh(), body, sha256=sha(body))
        async with aclosing(cast("Any", store.get(item.name))) as chunks:
            assert max([len(chunk) async for chunk in chunks]) <= 1024 * 1024


async def test_a_name_is_written_once(ground: Ground) -> None:
    async with ground.open() as store:
        item = await store.put(fresh(), b"first", sha256=sha(b"first"))
        for body in (b"first", b"second"):
            assert await code_of(store.put(item.name, body, sha256=sha(body))) == "exists"
        assert await read(store, item.name) == b"first"
        assert [found.version for found in await listed(store, item.name)] == [item.version]


async def test_of_many_who_write_one_name_one_does(ground: Ground) -> None:
    bodies = [bytes([number]) * 1000 for number in range(6)]
    async with ground.open() as store:
        name = fresh()
        done = await asyncio.gather(
            *(store.put(name, body, sha256=sha(body)) for body in bodies), return_exceptions=True
        )
        won = [body for body, one in zip(bodies, done, strict=True) if isinstance(one, Item)]
        codes = {one.code for one in done if isinstance(one, StoreError)}
        assert len(won) == 1
        assert codes == {"exists"}
        assert await read(store, name) == won[0]


async def test_bytes_that_do_not_fit_their_checksum_are_no_object(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "piece").write_bytes(BODY)
    bodies: tuple[bytes | Path, ...] = (b"other", tmp_path / "piece", b"")
    async with ground.open() as store:
        for number, body in enumerate(bodies):
            name = f"wrong/{number}"
            assert await code_of(store.put(name, body, sha256=sha(b"asked"))) == "damaged"
            assert await store.head(name) is None
        assert await listed(store, "wrong/") == []


async def test_what_is_not_there_is_said_so(ground: Ground) -> None:
    async with ground.open() as store:
        assert await store.head("not/there") is None
        assert await code_of(read(store, "not/there")) == "missing"
        item = await store.put(fresh(), b"x", sha256=sha(b"x"))
        assert await store.head(item.name, "0123456789abcdef0123456789abcdef") is None
        assert await code_of(read(store, item.name, "0123456789abcdef0123456789abcdef")) == "missing"


ASTRAY = (
    "",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a/../b",
    "a/..b",
    ".a",
    "a/.b",
    "a b",
    "a\n",
    "é",
    "a" * 201,
    "a/" * 20 + "a",
)


async def test_a_name_that_could_lead_astray_is_refused(ground: Ground) -> None:
    async with ground.open() as store:
        for name in ASTRAY:
            assert await code_of(store.put(name, b"x", sha256=sha(b"x"))) == "bad_name"
            assert await code_of(store.head(name)) == "bad_name"
            assert await code_of(read(store, name)) == "bad_name"
            assert await code_of(store.delete(name, "v")) == "bad_name"
            assert await code_of(store.extend(name, "v", later())) == "bad_name"
            assert await code_of(store.restore_version(name, "v")) == "bad_name"
        assert await listed(store) == []


# ---------------------------------------------------------------- listing


async def test_a_listing_is_by_name_and_knows_prefixes(ground: Ground) -> None:
    names = ["a-b", "a/1", "a/b/c", "a0", "b/x"]
    async with ground.open() as store:
        for name in reversed(names):
            await store.put(name, name.encode(), sha256=sha(name.encode()))
        assert [item.name for item in await listed(store)] == names
        assert [item.name for item in await listed(store, "a/")] == ["a/1", "a/b/c"]
        assert [item.name for item in await listed(store, "a")] == names[:4]
        assert [item.size for item in await listed(store, "b/x")] == [3]
        assert await listed(store, "c") == []


async def test_a_listing_goes_on_behind_any_item(ground: Ground) -> None:
    async with ground.open() as store:
        for number in range(5):
            await store.put(f"n/{number}", b"x", sha256=sha(b"x"))
        items = await listed(store, "n/")
        for number, item in enumerate(items):
            assert await listed(store, "n/", after=item) == items[number + 1 :]


async def test_a_listing_of_several_pages_is_whole(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.store_s3.PAGE", 7)
    monkeypatch.setattr("backends.store_folder.PAGE", 7)
    names = [f"many/{number:04d}" for number in range(21)]
    async with ground.open() as store:
        await asyncio.gather(*(store.put(name, b"x", sha256=sha(b"x")) for name in names))
        assert [item.name for item in await listed(store, "many/")] == names


# ---------------------------------------------------------------- ending


async def test_a_put_that_is_cancelled_leaves_nothing_or_all(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "piece").write_bytes(BODY * 30)
    async with ground.open() as store:
        for turns in range(0, 60, 6):
            name = fresh("cancelled")
            task = asyncio.create_task(store.put(name, tmp_path / "piece", sha256=sha(BODY * 30)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            item = await store.head(name)
            assert item is None or sha(await read(store, name)) == sha(BODY * 30)
            again = fresh("cancelled")
            await store.put(again, b"x", sha256=sha(b"x"))
    assert hidden_below(tmp_path) == []


async def test_a_reader_may_leave_early(ground: Ground) -> None:
    async with ground.open() as store:
        item = await store.put(fresh(), BODY * 8, sha256=sha(BODY * 8))
        for _ in range(40):
            async with aclosing(cast("Any", store.get(item.name))) as chunks:
                assert await anext(chunks)
        assert sha(await read(store, item.name)) == sha(BODY * 8)


async def test_what_pruning_deletes_is_gone(ground: Ground) -> None:
    async with ground.open() as store, ground.open(pruning=True) as pruning:
        item = await store.put(fresh(), b"x", sha256=sha(b"x"))
        kept = await store.put(fresh(), b"y", sha256=sha(b"y"))
        await pruning.delete(item.name, item.version)
        await pruning.delete(item.name, item.version)
        assert await store.head(item.name) is None
        assert await listed(store, item.name) == []
        assert await store.head(kept.name) == kept


# ---------------------------------------------------------------- locks and versions


async def test_a_store_without_locks_says_so_before_it_writes(ground: Ground) -> None:
    if ground.immutable:
        assert isinstance(ground, OnS3)
        ground.bucket = ground.server.bucket(lock=False, closed=False)
    async with ground.open() as store:
        name = fresh()
        lock = Lock(mode="compliance", until=later())
        assert await code_of(store.put(name, b"x", sha256=sha(b"x"), lock=lock)) == "no_lock"
        assert await store.head(name) is None
        item = await store.put(name, b"x", sha256=sha(b"x"))
        assert item.lock is None
        assert await code_of(store.extend(name, item.version, later(), mode="compliance")) == "no_lock"


@pytest.mark.parametrize("mode", ["compliance", "governance"])
async def test_a_lock_is_read_back_and_holds(versioned: OnS3, mode: str) -> None:
    until = later()
    async with versioned.open() as store, versioned.open(pruning=True) as pruning:
        item = await store.put(fresh(), b"x", sha256=sha(b"x"), lock=Lock(mode=mode, until=until))
        assert (item.lock, item.locked_until) == (mode, until)
        assert await code_of(pruning.delete(item.name, item.version)) == "denied"
        assert await store.head(item.name) == item


async def test_a_lock_becomes_only_ever_longer(versioned: OnS3) -> None:
    async with versioned.open() as store:
        until = later()
        item = await store.put(fresh(), b"x", sha256=sha(b"x"), lock=Lock(mode="compliance", until=until))
        longer = await store.extend(item.name, item.version, until + dt.timedelta(days=1, microseconds=1))
        assert longer.locked_until == until + dt.timedelta(days=1, seconds=1)
        assert await store.extend(item.name, item.version, until) == longer
        assert await store.head(item.name, item.version) == longer


async def test_what_was_never_locked_is_locked_only_when_a_mode_is_named(on_weed: OnS3) -> None:
    # Moto fails by itself when it is asked for a lock that was never set.
    async with on_weed.open() as store:
        item = await store.put(fresh(), b"x", sha256=sha(b"x"))
        assert await code_of(store.extend(item.name, item.version, later())) == "no_lock"
        locked = await store.extend(item.name, item.version, until := later(), mode="compliance")
        assert (locked.lock, locked.locked_until) == ("compliance", until)


async def test_a_hidden_object_is_found_and_brought_back_with_its_lock(versioned: OnS3) -> None:
    until = later()
    async with versioned.open() as store:
        item = await store.put(fresh(), BODY, sha256=sha(BODY), lock=Lock(mode="compliance", until=until))
        versioned.hide(item.name)
        assert await store.head(item.name) is None
        assert await code_of(read(store, item.name)) == "missing"
        assert await read(store, item.name, item.version) == BODY
        marker, version = await listed(store, item.name)
        assert (marker.marker, marker.newest) == (True, True)
        assert (version.version, version.marker, version.newest) == (item.version, False, False)
        back = await store.restore_version(item.name, item.version)
        assert back.version != item.version
        assert (back.size, back.lock, back.locked_until) == (len(BODY), "compliance", until)
        assert await read(store, item.name) == BODY
        assert await store.head(item.name) == back
        assert await store.restore_version(item.name, item.version) == back


async def test_what_cannot_be_brought_back_is_said_so(ground: Ground) -> None:
    lock = Lock(mode="compliance", until=later()) if ground.immutable else None
    async with ground.open() as store:
        code = await code_of(store.restore_version("not/there", "0123456789abcdef0123456789abcdef"))
        assert code == ("missing" if ground.immutable else "no_versions")
        item = await store.put(fresh(), b"x", sha256=sha(b"x"), lock=lock)
        assert await store.restore_version(item.name, item.version) == item


# ---------------------------------------------------------------- looking at the store itself


async def test_a_probe_tells_what_the_store_can_do_and_leaves_nothing_else(ground: Ground) -> None:
    async with ground.open() as store:
        item = await store.put(fresh(), b"x", sha256=sha(b"x"))
        found = await store.probe()
        assert found.versioning is ground.immutable
        assert found.lock == ("compliance" if ground.immutable else None)
        assert found.conditional
        assert found.clock_s is not None
        assert abs(found.clock_s) < 5
        assert found.rules == ()
        left = [one for one in await listed(store) if not one.marker and one.name != item.name]
        assert {one.name for one in left} == {one.name for one in found.left}
        assert all(one.name.startswith(f"{SCRATCH}/") for one in left)
        assert await store.head(item.name) == item
