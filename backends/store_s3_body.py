"""What an upload to S3 sends: a file or bytes, read and hashed off the event loop, and never past a wrong checksum."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from backends.store import StoreError

BLOCK = 1024 * 1024


class Body:
    """What is sent, read and hashed in threads: neither a slow disk nor 64 MiB of SHA-256 holds the loop up.

    botocore wants something to read; aiohttp takes it as an iterable, since of a file it would take 256 KiB at a time.

    The last bytes are handed over only where all of them fit `sha256`, so a store that compares nothing gets no
    object that it should have refused.
    """

    def __init__(self, source: Any, size: int, sha256: str) -> None:
        self._source, self._wanted = source, sha256
        self._digest, self._hashed = hashlib.sha256(), 0
        self.size = size
        self.differs = False
        self.read_on: Any = lambda: None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await asyncio.to_thread(self.read, BLOCK):
            yield chunk

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = int(self._source.seek(offset, whence))
        if position == 0:
            # Sent from the start, perhaps once more after a redirect.
            self._digest, self._hashed = hashlib.sha256(), 0
        return position

    def tell(self) -> int:
        return int(self._source.tell())

    def read(self, size: int = -1) -> bytes:
        at = self._source.tell()
        # To the file's end as it was opened: what grows meanwhile is cut off.
        chunk: bytes = self._source.read(max(0, self.size - at if size < 0 else min(size, self.size - at)))
        if at == self._hashed:
            self._digest.update(chunk)
            self._hashed += len(chunk)
        if at + len(chunk) >= self.size and self._hashed == self.size and self._digest.hexdigest() != self._wanted:
            self.differs = True
            raise OSError("the bytes do not fit their checksum")
        if not chunk and at < self.size:
            self.differs = True
            raise OSError("the file became shorter")
        self.read_on()
        return chunk

    def close(self) -> None:
        self._source.close()

    # Where its opening was cancelled, nobody else has it.
    __del__ = close


def open_body(body: Path | bytes, sha256: str) -> Body:
    """Opens a file or wraps bytes; blocks. Raises StoreError (damaged) where an empty body does not fit."""
    if isinstance(body, bytes):
        source: Any = io.BytesIO(body)
        size = len(body)
    else:
        source = body.open("rb", buffering=0)
        size = body.stat().st_size
    if not size and hashlib.sha256().hexdigest() != sha256:
        source.close()
        raise other_bytes("an empty object")
    return Body(source, size, sha256)


def other_bytes(name: str) -> StoreError:
    return StoreError("damaged", f"{name}: its bytes do not fit their SHA-256", "the file was changed meanwhile")


def prolong(limit: asyncio.Timeout, seconds: float) -> None:
    # The last read may be told after the call has ended.
    with contextlib.suppress(RuntimeError):
        limit.reschedule(asyncio.get_running_loop().time() + seconds)
