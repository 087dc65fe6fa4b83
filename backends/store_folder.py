"""The vault's store in a folder: another disk, a NAS. It keeps no versions and holds no lock: it is not immutable.

An object appears under its name at once and whole, after it was written, synced, dropped from the page cache and read
back. Everything below the folder is opened step by step without following a symlink.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import io
import os
import secrets
import stat
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from backends.in_thread import in_thread
from backends.records import visible
from backends.store import SCRATCH, Abilities, Item, Lock, StoreError, check_name, is_name, written_as_asked
from backends.store_retry import missing

CHUNK = 1024 * 1024
PAGE = 1000
STALE = 3600
"""Seconds after which the claim of a writer that died is nobody's; the longest put is shorter."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_FRESH = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BELOW = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderStore:
    """`Store` in `root`, which must be there: an absent one is a disk that is not mounted.

    `links`: whether the file system has hard links; without them a claim beside the name keeps writers apart.
    """

    def __init__(self, root: Path, *, links: bool = True) -> None:
        self.place = f"file://{visible(str(root), 300)}"
        self._root, self._links = root, links

    async def __aenter__(self) -> Self:
        def look() -> None:
            with self._told("opening it"):
                os.close(self._folder())

        await in_thread(look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    # ------------------------------------------------------------ writing

    async def put(self, name: str, body: Path | bytes, *, sha256: str, lock: Lock | None = None) -> Item:
        check_name(name)
        if lock is not None:
            raise _no_lock(self.place)
        stop = threading.Event()
        return await in_thread(lambda: self._put(name, body, sha256, stop), stop=stop)

    def _put(self, name: str, body: Path | bytes, sha256: str, stop: threading.Event) -> Item:
        parts = name.split("/")
        with (
            io.BytesIO(body) if isinstance(body, bytes) else body.open("rb", buffering=0) as source,
            self._told(f"writing {name}"),
            _closing(self._folder(*parts[:-1], make=True)) as folder,
        ):
            if _seen(folder, parts[-1]) is not None:
                raise StoreError("exists", f"{self.place}: {name} is there already")
            fresh = f".new-{secrets.token_hex(8)}"
            try:
                descriptor = os.open(fresh, _FRESH, 0o600, dir_fd=folder)
                with io.FileIO(descriptor, "r+b") as file:
                    size, written = _write(file, source, stop)
                    if written != sha256:
                        message = f"{name}: its bytes do not fit their SHA-256"
                        raise StoreError("damaged", message, "the file was changed meanwhile")
                    if _read_back(file) != sha256:
                        message = f"{name} was read back from {self.place} with other bytes"
                        raise StoreError("damaged", message, "the disk loses data: replace it")
                self._publish(folder, fresh, parts[-1], name)
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(fresh, dir_fd=folder)
            os.fsync(folder)
            return written_as_asked(_item(name, os.stat(parts[-1], dir_fd=folder)), name, size, sha256, None)

    def _publish(self, folder: int, fresh: str, last: str, name: str) -> None:
        """Gives the whole file its name unless that is taken, in one step."""
        if self._links:
            try:
                os.link(fresh, last, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                raise StoreError("exists", f"{self.place}: {name} is there already") from None
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._links = False
            else:
                return
        claim = f".claim-{last}"
        try:
            os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder))
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - os.stat(claim, dir_fd=folder).st_mtime > STALE:
                    os.unlink(claim, dir_fd=folder)
            raise StoreError("conflict", f"{self.place}: somebody else is writing {name}", "try again") from None
        try:
            if _seen(folder, last) is not None:
                raise StoreError("exists", f"{self.place}: {name} is there already")
            os.rename(fresh, last, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.unlink(claim, dir_fd=folder)

    async def extend(self, name: str, version: str, until: dt.datetime, *, mode: str | None = None) -> Item:
        raise _no_lock(self.place)

    async def restore_version(self, name: str, version: str) -> Item:
        item = await self.head(name, version)
        if item is None:
            raise StoreError("no_versions", f"{self.place} keeps no versions: {name} is gone", "make it anew")
        return item

    async def delete(self, name: str, version: str) -> None:
        check_name(name)

        def unlink() -> None:
            parts = name.split("/")
            with (
                self._told(f"deleting {name}"),
                contextlib.suppress(FileNotFoundError),
                _closing(self._folder(*parts[:-1])) as folder,
            ):
                os.unlink(parts[-1], dir_fd=folder)
                os.fsync(folder)

        if not version:
            await in_thread(unlink)

    # ------------------------------------------------------------ reading

    async def head(self, name: str, version: str | None = None) -> Item | None:
        check_name(name)

        def look() -> Item | None:
            parts = name.split("/")
            with (
                self._told(f"asking for {name}"),
                contextlib.suppress(FileNotFoundError),
                _closing(self._folder(*parts[:-1])) as folder,
            ):
                seen = _seen(folder, parts[-1])
                return _item(name, seen) if seen is not None and stat.S_ISREG(seen.st_mode) else None
            return None

        item = await in_thread(look)
        return None if version else item

    async def get(self, name: str, version: str | None = None, *, start: int = 0) -> AsyncIterator[bytes]:
        check_name(name)
        if version:
            raise missing(f"{name} (version {visible(version, 60)})", self.place)
        file = await in_thread(lambda: self._open(name, start))
        try:
            while chunk := await in_thread(lambda: self._read(file, name)):
                yield chunk
        finally:
            file.close()

    def _open(self, name: str, start: int) -> io.FileIO:
        parts = name.split("/")
        with self._told(f"reading {name}"):
            try:
                with _closing(self._folder(*parts[:-1])) as folder:
                    file = _opened(folder, parts[-1])
            except FileNotFoundError:
                raise missing(name, self.place) from None
            file.seek(start)
            return file

    def _read(self, file: io.FileIO, name: str) -> bytes:
        with self._told(f"reading {name}"):
            return file.read(CHUNK)

    async def versions(self, prefix: str = "", *, after: Item | None = None) -> AsyncIterator[Item]:
        found = self._walk((), prefix, after.name if after else "")

        def page() -> list[Item]:
            with self._told("listing"):
                return [item for _, item in zip(range(PAGE), found, strict=False)]

        while items := await in_thread(page):
            for item in items:
                yield item

    def _walk(self, parts: tuple[str, ...], prefix: str, after: str) -> Iterator[Item]:
        """The objects below a folder, by name in bytes, as S3 lists them."""
        try:
            descriptor = self._folder(*parts)
        except FileNotFoundError:
            return
        with _closing(descriptor), os.scandir(descriptor) as entries:
            names = sorted(f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in entries)
        for last in names:
            name = "/".join((*parts, last))
            if last.endswith("/"):
                if name.startswith(prefix) or prefix.startswith(name):
                    yield from self._walk((*parts, last[:-1]), prefix, after)
            elif name > after and name.startswith(prefix) and is_name(name):
                with contextlib.suppress(FileNotFoundError), _closing(self._folder(*parts)) as folder:
                    seen = os.stat(last, dir_fd=folder, follow_symlinks=False)
                    if stat.S_ISREG(seen.st_mode):
                        yield _item(name, seen)

    async def probe(self) -> Abilities:
        name, body = f"{SCRATCH}/{secrets.token_hex(8)}", b"Modoseru looks what this folder can do.\n"
        digest = hashlib.sha256(body).hexdigest()
        item = await self.put(name, body, sha256=digest)
        conditional = await _refuses(self.put(name, body, sha256=digest), "exists")
        checksums = await _refuses(self.put(f"{name}-wrong", body, sha256="0" * 64), "damaged")
        await self.delete(name, "")
        await in_thread(self._sweep)
        return Abilities(
            versioning=False,
            lock=None,
            conditional=conditional,
            checksums=checksums,
            tells_checksum=False,
            may_delete=await self.head(name) is None,
            clock_s=(item.written - dt.datetime.now(dt.UTC)).total_seconds(),
        )

    # ------------------------------------------------------------ the file system

    def _sweep(self) -> None:
        """Removes what puts left that were killed: files that never got their name."""
        with self._told("sweeping it"):
            for _, _, names, descriptor in os.fwalk(self._root, follow_symlinks=False):
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        old = time.time() - os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mtime > STALE
                        if old and name.startswith((".new-", ".claim-")):
                            os.unlink(name, dir_fd=descriptor)

    def _folder(self, *parts: str, make: bool = False) -> int:
        """A descriptor of the folder `parts` below the root. Symlinks below the root are refused."""
        try:
            descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            # Told here: an absent object is no error to most callers, an absent disk is.
            raise self._refusal(error, "opening it") from None
        for part in parts:
            try:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=descriptor)
                        os.fsync(descriptor)
                below = os.open(part, _BELOW, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turns what the file system refuses into a StoreError, but for FileNotFoundError of an object."""
        try:
            yield
        except OSError as error:
            raise self._refusal(error, doing) from None

    def _refusal(self, error: OSError, doing: str) -> StoreError:
        number, reason = error.errno, visible((error.strerror or str(error)).lower(), 100)
        if number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            return StoreError("no_space", f"{self.place} is full: {reason} while {doing}", "make room, or prune")
        if number in {errno.ELOOP, errno.ENOTDIR} and doing != "opening it":
            message = f"{self.place}: a symlink or a file lies where a folder should be, while {doing}"
            return StoreError("bad_name", message, "nobody but Modoseru should write there")
        if number in {errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO}:
            return StoreError("no_bucket", f"{self.place} is not there", "is the disk mounted? make the folder first")
        if number in {errno.EACCES, errno.EPERM, errno.EROFS}:
            return StoreError("denied", f"{self.place}: {reason} while {doing}", "check owner, mode and mount options")
        if number in {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN, errno.EAGAIN}:
            return StoreError("unreachable", f"{self.place}: {reason} while {doing}", "look at the disk, or the NAS")
        return StoreError("refused", f"{self.place}: {reason} while {doing}")


class _StoppedError(Exception):
    """The put was cancelled; nobody hears this any more."""


def _write(file: io.FileIO, source: BinaryIO | io.RawIOBase, stop: threading.Event) -> tuple[int, str]:
    """Copies `source` into a new file, for good. Returns the size and the SHA-256 of what was written."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        if stop.is_set():
            raise _StoppedError
        digest.update(chunk)
        size += len(chunk)
        view = memoryview(chunk)
        while view:
            view = view[file.write(view) or 0 :]
    os.fchmod(file.fileno(), 0o400)
    os.fsync(file.fileno())
    if stop.is_set():
        raise _StoppedError
    return size, digest.hexdigest()


def _read_back(file: io.FileIO) -> str:
    """The SHA-256 of a synced file as the disk has it."""
    _forget(file.fileno())
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _forget(descriptor: int) -> None:
    """Drops a synced file from the page cache, so that reading it asks the disk, where the system can do that."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _opened(folder: int, last: str) -> io.FileIO:
    """A regular file, open: a pipe or a device in its place must not hold the program up."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = io.FileIO(os.open(last, flags, dir_fd=folder), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return file


def _seen(folder: int, last: str) -> os.stat_result | None:
    try:
        return os.stat(last, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _item(name: str, seen: os.stat_result) -> Item:
    written = dt.datetime.fromtimestamp(seen.st_mtime, dt.UTC)
    return Item(name=name, size=seen.st_size, written=written)


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _refuses(call: object, code: str) -> bool:
    try:
        await call  # type: ignore[misc]
    except StoreError as error:
        return error.code == code
    return False


def _no_lock(place: str) -> StoreError:
    return StoreError("no_lock", f"{place} holds no lock: a folder is not immutable", 'lock = "none" in [vault]')
