"""The folder on another disk: what a disk, a NAS and other people's files can do to it."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import store_folder
from backends.in_thread import in_thread
from backends.records import VaultSettings
from backends.store import StoreError, folder_of, open_store
from backends.store_folder import FolderStore
from tests.store.grounds import fresh, read, sha
from tests.store.test_conformance import BODY, code_of, hidden_below, listed


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("a small disk needs root")
        pytest.skip("a small disk needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "modoseru-store", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///mnt/offsite", "/mnt/offsite"),
        ("file:///mnt/off%20site", "/mnt/off site"),
        ("file:///mnt/off site#1?", "/mnt/off site#1?"),
        ("s3://bucket/prefix", None),
        ("file://host/path", None),
    ],
)
def test_an_address_names_a_folder(url: str, folder: str | None) -> None:
    assert folder_of(url) == (Path(folder) if folder else None)


async def test_a_disk_that_is_not_mounted_is_not_written_beside(tmp_path: Path) -> None:
    settings = VaultSettings(url=f"file://{tmp_path}/mnt")
    with pytest.raises(StoreError) as caught:
        async with open_store(settings):
            pass
    assert caught.value.code == "no_bucket"
    assert "mounted" in caught.value.hint
    assert not (tmp_path / "mnt").exists()


async def test_a_disk_that_goes_away_is_no_absent_object(tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    store = FolderStore(tmp_path / "mnt")
    async with store:
        (tmp_path / "mnt").rename(tmp_path / "gone")
        assert await code_of(store.head("a")) == "no_bucket"
        assert await code_of(listed(store)) == "no_bucket"
        assert await code_of(store.put("a", b"x", sha256=sha(b"x"))) == "no_bucket"


async def test_a_full_disk_is_said_and_leaves_nothing(small_disk: Path) -> None:
    store = FolderStore(small_disk)
    item = await store.put("a", b"x" * 1000, sha256=sha(b"x" * 1000))
    body = os.urandom(2 * 1024 * 1024)
    assert await code_of(store.put("b/c", body, sha256=sha(body))) == "no_space"
    assert await listed(store) == [item]
    assert hidden_below(small_disk) == []
    await store.put("d", b"y" * 100_000, sha256=sha(b"y" * 100_000))


async def test_a_symlink_leads_nobody_out(store: FolderStore, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (tmp_path / "out").symlink_to(outside)
    (tmp_path / "link").symlink_to(outside / "secret")
    assert await code_of(store.put("out/new", b"x", sha256=sha(b"x"))) == "bad_name"
    assert await code_of(read(store, "out/secret")) == "bad_name"
    assert await code_of(store.head("out/secret")) == "bad_name"
    assert await code_of(store.delete("out/secret", "")) == "bad_name"
    assert await code_of(read(store, "link")) == "bad_name"
    assert await store.head("link") is None
    assert await code_of(store.put("link", b"x", sha256=sha(b"x"))) == "exists"
    assert await listed(store) == []
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


async def test_a_pipe_in_an_objects_place_holds_nobody_up(store: FolderStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert await store.head("pipe") is None
    assert await code_of(read(store, "pipe")) == "missing"
    assert await listed(store) == []


async def test_without_hard_links_a_name_is_still_written_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")  # as vfat says

    monkeypatch.setattr(os, "link", no_links)
    store = FolderStore(tmp_path)
    item = await store.put(fresh(), BODY, sha256=sha(BODY))
    assert await read(store, item.name) == BODY
    assert await code_of(store.put(item.name, b"x", sha256=sha(b"x"))) == "exists"
    assert hidden_below(tmp_path) == []
    name = fresh()
    done = await asyncio.gather(
        *(store.put(name, bytes([one]), sha256=sha(bytes([one]))) for one in range(6)), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in done) == 1
    assert {one.code for one in done if isinstance(one, StoreError)} <= {"exists", "conflict"}
    assert hidden_below(tmp_path) == []


async def test_a_claim_of_a_writer_that_died_holds_nobody_up_for_ever(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, links=False)
    claim = tmp_path / ".claim-a"
    claim.touch()
    assert await code_of(store.put("a", b"x", sha256=sha(b"x"))) == "conflict"
    os.utime(claim, (0, 0))
    assert await code_of(store.put("a", b"x", sha256=sha(b"x"))) == "conflict"
    await store.put("a", b"x", sha256=sha(b"x"))
    assert await read(store, "a") == b"x"


async def test_bytes_that_the_disk_changed_never_get_a_name(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget = store_folder._forget

    def rot(descriptor: int) -> None:
        forget(descriptor)
        os.pwrite(descriptor, b"\xff", 100)

    monkeypatch.setattr(store_folder, "_forget", rot)
    assert await code_of(store.put("a", b"\0" * 1000, sha256=sha(b"\0" * 1000))) == "damaged"
    assert hidden_below(tmp_path) == []
    assert await listed(store) == []


async def test_what_is_written_is_synced_before_it_has_its_name(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    for name in ("fsync", "posix_fadvise", "link"):
        real = getattr(os, name)

        def noted(*given: object, _name: str = name, _real: object = real, **more: object) -> object:
            steps.append(_name)
            return _real(*given, **more)  # type: ignore[operator]

        monkeypatch.setattr(os, name, noted)
    await store.put("a", b"x", sha256=sha(b"x"))
    assert steps == ["fsync", "posix_fadvise", "link", "fsync"]


async def test_an_object_is_nobodys_to_change(store: FolderStore, tmp_path: Path) -> None:
    await store.put("deep/er/a", b"x", sha256=sha(b"x"))
    assert (tmp_path / "deep/er/a").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "deep").stat().st_mode & 0o777 == 0o700


async def test_a_probe_sweeps_what_killed_puts_left(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for path in (tmp_path / ".new-1", tmp_path / "deep" / ".claim-a"):
        path.touch()
        os.utime(path, (0, 0))
    young = tmp_path / "deep" / ".new-2"
    young.touch()
    (tmp_path / ".snapshot").touch()  # a NAS's own
    os.utime(tmp_path / ".snapshot", (0, 0))
    await store.probe()
    assert sorted(hidden_below(tmp_path)) == sorted([young, tmp_path / ".snapshot"])


async def test_a_disk_that_hangs_does_not_hold_the_program_up() -> None:
    going_on = threading.Event()
    task = asyncio.create_task(in_thread(lambda: going_on.wait(60), grace=0.01))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hung = [thread for thread in threading.enumerate() if thread.name == "modoseru-disk"]
    assert [thread.daemon for thread in hung] == [True]
    going_on.set()
    hung[0].join()
