"""Generations on their way into the vault and out of it: cut, encrypted, stored; fetched, decrypted, compared.

Bounded in memory whatever the size; in clear nothing touches this machine's disk. Knows no server and no policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import queue
import secrets
import tempfile
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO

from backends.records import ModoseruError
from backends.sealing import Identity, Recipients, SealingError
from backends.store import Item, Lock, Store
from backends.vault import CATALOGUE, ENTRY_MOST, PIECE, PIECES, Entry, Part, Piece, VaultError, count

_QUEUED = 4
"""Blocks between the loop and the thread that encrypts or decrypts: enough that neither waits for the other's turn."""
_BLOCK = 1024 * 1024

Blocks = AsyncIterator[bytes | memoryview]
Kept = Callable[[int, Piece], Awaitable[None]]


class Storing:
    """Writes parts into a store, encrypted to `recipients`. Two pieces are on their way at once."""

    def __init__(self, store: Store, recipients: Recipients, folder: Path, lock: Lock | None = None) -> None:
        """`folder` holds a few encrypted pieces meanwhile; what is in clear is never on this machine's disk."""
        self._store, self._recipients, self._folder, self._lock = store, recipients, folder, lock

    async def part(self, wanted: Part, source: Blocks, known: Sequence[Piece], kept: Kept) -> Part:
        """Stores all pieces but the first ones that are `known`, of an attempt that ended; `kept` hears of each.

        `source` gives the whole part from its first byte: what is stored already is hashed with the rest. Raises
        VaultError: damaged where the bytes are not the `wanted` ones (the pieces stay, and no entry names them).
        Raises StoreError and whatever `source` does.
        """
        blocks, hashed = _Cut(source), hashlib.sha256()
        pieces = list(known)
        under_way: deque[asyncio.Task[Piece]] = deque()
        try:
            for number in range(count(wanted.size)):
                size = min(PIECE, wanted.size - number * PIECE)
                if number < len(known):
                    async for block in blocks.take(size):
                        await asyncio.to_thread(hashed.update, block)
                    continue
                sealed, cipher = await self._sealed(blocks.take(size), hashed)
                under_way.append(asyncio.create_task(self._put(sealed, cipher)))
                if len(under_way) > 1:
                    await self._landed(under_way, pieces, kept)
            while under_way:
                await self._landed(under_way, pieces, kept)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        if hashed.hexdigest() != wanted.sha256 or not await blocks.ended():
            raise VaultError("damaged", f"the part {wanted.name} is not what was sealed", "take another generation")
        return Part(wanted.name, wanted.size, wanted.sha256, tuple(pieces))

    async def entry(self, entry: Entry) -> Item:
        """Stores the entry, read back; from then on the generation is in the vault."""
        text = entry.text().encode()
        Entry.parse(text.decode())

        async def blocks() -> AsyncIterator[memoryview]:
            yield memoryview(text)

        sealed, cipher = await self._sealed(blocks(), hashlib.sha256())
        with sealed:
            return await self._store.put(
                f"{CATALOGUE}/{secrets.token_hex(16)}", Path(sealed.name), sha256=cipher, lock=self._lock
            )

    @staticmethod
    async def _landed(under_way: deque[asyncio.Task[Piece]], pieces: list[Piece], kept: Kept) -> None:
        piece = await under_way[0]
        under_way.popleft()
        pieces.append(piece)
        await kept(len(pieces) - 1, piece)

    async def _sealed(
        self, blocks: AsyncIterator[memoryview], hashed: hashlib._Hash
    ) -> tuple[tempfile._TemporaryFileWrapper[bytes], str]:
        """The blocks as an age file on this disk, and the file's hash; `hashed` takes the clear ones."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = tempfile.NamedTemporaryFile(dir=self._folder, prefix=".piece-")  # noqa: SIM115 - the caller closes it
        try:
            out, bridge = _Hashing(file), _ToThread(asyncio.get_running_loop(), hashed)
            work = asyncio.create_task(asyncio.to_thread(self._recipients.encrypt, bridge, out))
            try:
                async for block in blocks:
                    await bridge.give(block, work)
                bridge.end()
            except BaseException:
                bridge.abandon()
                with contextlib.suppress(Exception):
                    await asyncio.shield(work)
                raise
            await work
            file.flush()
        except BaseException:
            file.close()
            raise
        return file, out.digest

    async def _put(self, sealed: tempfile._TemporaryFileWrapper[bytes], cipher: str) -> Piece:
        with sealed:
            name = secrets.token_hex(16)
            stored = await self._store.put(f"{PIECES}/{name}", Path(sealed.name), sha256=cipher, lock=self._lock)
            return Piece(name, stored.version, stored.size, cipher)


class _Cut:
    """A stream of blocks of any size, taken in runs of a given length."""

    def __init__(self, source: Blocks) -> None:
        self._source, self._rest = source, memoryview(b"")

    async def take(self, wanted: int) -> AsyncIterator[memoryview]:
        """`wanted` bytes, or fewer where the stream ends, in blocks of a mebibyte at the most."""
        while wanted:
            block = self._rest or memoryview(await anext(self._source, b""))
            if not block:
                return
            taken = block[: min(wanted, _BLOCK)]
            self._rest, wanted = block[len(taken) :], wanted - len(taken)
            yield taken

    async def ended(self) -> bool:
        return not self._rest and not await anext(self._source, b"")


class _Abandoned(Exception):  # noqa: N818 - nobody sees it
    pass


class _ToThread:
    """Blocks that the loop gives and one thread reads as a file, and hashes; the loop waits where it is behind."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hashed: hashlib._Hash) -> None:
        self._loop, self._hashed, self._free = loop, hashed, asyncio.Semaphore(_QUEUED)
        self._blocks: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._block = memoryview(b"")
        self._over = self._abandoned = False

    async def give(self, block: memoryview, work: asyncio.Task[None]) -> None:
        """Raises what ended `work` early: nobody would read on."""
        free = asyncio.ensure_future(self._free.acquire())
        await asyncio.wait((free, work), return_when=asyncio.FIRST_COMPLETED)
        if not free.done():
            free.cancel()
            await work
            raise RuntimeError("the thread ended before its input")
        self._blocks.put(block)

    def end(self) -> None:
        self._blocks.put(None)

    def abandon(self) -> None:
        self._abandoned = True
        self._blocks.put(None)

    def read(self, size: int = -1, /) -> bytes:
        while not self._block and not self._over:
            block = self._blocks.get()
            if block is None:
                self._over = True
            else:
                self._hashed.update(block)
                self._block = block
                self._loop.call_soon_threadsafe(self._free.release)
        if self._abandoned:
            # An end here would make a whole age file of half a piece.
            raise _Abandoned
        taken = self._block[:size] if size >= 0 else self._block
        self._block = self._block[len(taken) :]
        return bytes(taken)


class _Hashing:
    """A file that knows the SHA-256 of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes, /) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


# ------------------------------------------------------------------------------------------------------- fetching


class Fetching:
    """Reads parts out of a store and decrypts them. Three pieces are fetched ahead, onto `folder`'s disk, encrypted."""

    AHEAD = 3

    def __init__(self, store: Store, identity: Identity, folder: Path) -> None:
        self._store, self._identity, self._folder = store, identity, folder

    async def part(self, part: Part, start: int = 0) -> AsyncGenerator[bytes]:
        """The part's bytes in clear from `start` on, in blocks of a mebibyte at the most.

        Nothing of them is to be believed before the last one came: only then were they compared with the part's hash
        (with a `start` they never are). Raises VaultError: damaged; SealingError; StoreError.
        """
        first = min(start // PIECE, len(part.pieces) - 1)
        waiting, skip = deque(part.pieces[first:]), start - first * PIECE
        ahead: deque[asyncio.Task[tempfile._TemporaryFileWrapper[bytes]]] = deque()
        hashed, size = hashlib.sha256(), first * PIECE
        try:
            while waiting or ahead:
                while waiting and len(ahead) < self.AHEAD:
                    ahead.append(asyncio.create_task(self._fetched(waiting.popleft())))
                with await ahead[0] as sealed:
                    ahead.popleft()
                    async with contextlib.aclosing(self._opened(sealed, hashed)) as blocks:
                        async for block in blocks:
                            size += len(block)
                            if size > part.size:
                                raise _not_as_stored(part.name)
                            shown, skip = block[skip:], max(0, skip - len(block))
                            if shown:
                                yield shown
        finally:
            for task in ahead:
                task.cancel()
            for ended in await asyncio.gather(*ahead, return_exceptions=True):
                if not isinstance(ended, BaseException):
                    ended.close()
        if size != part.size or (first == 0 and hashed.hexdigest() != part.sha256):
            raise _not_as_stored(part.name)

    async def whole(self, part: Part, most: int) -> bytes:
        """A small part at once. Raises as `part` does; VaultError: damaged where it has more than `most` bytes."""
        if part.size > most:
            raise _not_as_stored(part.name)
        async with contextlib.aclosing(self.part(part)) as blocks:
            return b"".join([block async for block in blocks])

    async def entry(self, item: Item) -> Entry:
        """What an object of the catalogue says. Raises VaultError, SealingError, StoreError."""
        if item.size > ENTRY_MOST:
            raise VaultError("damaged", "it is no entry of a vault's catalogue", "see modoseru vault doctor")
        with await self._file(item.name, item.version, None) as sealed:
            text = b""
            async with contextlib.aclosing(self._opened(sealed, hashlib.sha256())) as blocks:
                async for block in blocks:
                    text += block
                    if len(text) > ENTRY_MOST:
                        raise VaultError("damaged", "it is no entry of a vault's catalogue")
        return Entry.parse(text.decode("utf-8", errors="replace"))

    async def _fetched(self, piece: Piece) -> tempfile._TemporaryFileWrapper[bytes]:
        # age adds a header, and 16 bytes to every 64 KiB: what is longer was never a piece, and would fill the disk.
        if piece.size > PIECE + PIECE // 1024 + _BLOCK:
            raise _not_as_stored(piece.object)
        return await self._file(piece.object, piece.version, piece)

    async def _file(self, name: str, version: str, piece: Piece | None) -> tempfile._TemporaryFileWrapper[bytes]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = tempfile.NamedTemporaryFile(dir=self._folder, prefix=".piece-")  # noqa: SIM115 - the caller closes it
        try:
            out, size = _Hashing(file), 0
            async for block in self._store.get(name, version or None):
                size += len(block)
                if size > (piece.size if piece else ENTRY_MOST):
                    raise _not_as_stored(name)
                await asyncio.to_thread(out.write, block)
            if piece and (size != piece.size or out.digest != piece.sha256):
                raise _not_as_stored(name)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    async def _opened(
        self, sealed: tempfile._TemporaryFileWrapper[bytes], hashed: hashlib._Hash
    ) -> AsyncGenerator[bytes]:
        bridge = _FromThread(asyncio.get_running_loop(), hashed)
        work = asyncio.create_task(asyncio.to_thread(self._decrypted, sealed, bridge))
        try:
            while (block := await bridge.take()) is not None:
                yield block
            await work
        finally:
            bridge.abandon()
            if not work.done():
                with contextlib.suppress(Exception):
                    await asyncio.shield(work)

    def _decrypted(self, sealed: IO[bytes], bridge: _FromThread) -> None:
        try:
            self._identity.decrypt(sealed, bridge)
        finally:
            bridge.end()


def _not_as_stored(name: str) -> VaultError:
    return VaultError("damaged", f"{name} in the vault is not what was stored", "take another generation")


class _FromThread:
    """Blocks that one thread writes as to a file and hashes, and the loop takes; the thread waits for a slow loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hashed: hashlib._Hash) -> None:
        self._loop, self._hashed, self._free = loop, hashed, threading.Semaphore(_QUEUED)
        self._blocks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._rest = bytearray()
        self._abandoned = False

    async def take(self) -> bytes | None:
        """The next block; None at the end, after which the thread says whether it was the right one."""
        block = await self._blocks.get()
        self._free.release()
        return block

    def abandon(self) -> None:
        self._abandoned = True
        self._free.release()

    def write(self, data: bytes, /) -> int:
        self._rest += data
        if len(self._rest) >= _BLOCK:
            self._give()
        return len(data)

    def flush(self) -> None:
        pass

    def end(self) -> None:
        if self._rest:
            with contextlib.suppress(_Abandoned):
                self._give()
        self._loop.call_soon_threadsafe(self._blocks.put_nowait, None)

    def _give(self) -> None:
        # Asked before as well: `abandon` makes room once, and nobody does afterwards.
        if not self._abandoned:
            self._free.acquire()
        if self._abandoned:
            raise _Abandoned
        self._hashed.update(self._rest)
        self._loop.call_soon_threadsafe(self._blocks.put_nowait, bytes(self._rest))
        self._rest.clear()


async def catalogue(store: Store, fetching: Fetching) -> AsyncGenerator[tuple[Item, Entry | ModoseruError]]:
    """Every entry that the store has, or why it cannot be read; hidden ones too. Raises StoreError."""
    async for item in store.versions(f"{CATALOGUE}/"):
        if not item.marker:
            try:
                yield item, await fetching.entry(item)
            except (VaultError, SealingError) as error:
                yield item, error
