"""A stream server on an open socket whose every connection is a task that ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from abc import ABC, abstractmethod

_LIMIT = 16_384
_GOODBYE_S = 5.0


class Listener(ABC):
    """What answers is the subclass's `converse`. A stream that breaks or a silent client ends its connection alone."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection, to its end."""

    async def start(self, sock: socket.socket, context: ssl.SSLContext | None = None) -> None:
        # A plain function makes the task here: asyncio's own would log a cancelled connection as an error.
        self._server = await asyncio.start_server(self._arrived, sock=sock, ssl=context, limit=_LIMIT, backlog=256)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        await self._server.wait_closed()

    def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError):
                await self.converse(reader, writer)
                writer.close()
                async with asyncio.timeout(_GOODBYE_S):
                    await writer.wait_closed()
        finally:
            writer.transport.abort()
