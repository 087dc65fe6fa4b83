"""One remote command: its words, its channel with stdin, stdout and stderr, and what it left.

Bounded in memory whatever the server sends. Knows the connection that it is given and opens none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import Struct

from backends.records import RemoteWord, visible
from backends.ssh_refusal import Refused

if TYPE_CHECKING:
    import asyncssh

MIB = 1024 * 1024
_HIGH_WATER = 1 * MIB
_STDERR_KEPT = 16 * 1024
_PACKET = 128 * 1024
"""What a server may send in one packet; each costs as much time of ours as the encryption of 20 KiB."""


class Completed(Struct, frozen=True, kw_only=True):
    """What a command left. `exit_status` is None where `signal` ended it; `stderr` is its last 16 KiB."""

    stdout: bytes
    stderr: bytes
    exit_status: int | None
    signal: str | None = None


def command_line(words: Sequence[str]) -> str:
    """`words` joined by spaces. Raises Refused(ssh_word) for one that a login shell might interpret (FACTS 8)."""
    for word in words:
        try:
            # A pattern's $ also matches before a final newline.
            sound = not msgspec.convert(word, RemoteWord).endswith("\n")
        except msgspec.ValidationError:
            sound = False
        if not sound:
            raise Refused("ssh_word", f"not a word that may stand in a remote command: {visible(str(word), 80)!r}")
    if not words:
        raise Refused("ssh_word", "a remote command needs at least one word")
    return " ".join(words)


class Session:
    """One command's channel: asyncssh's SSHClientSession by shape, so that this module loads without asyncssh.

    stdout waits in memory up to `_HIGH_WATER` and then holds the server back; of stderr the tail is kept.
    """

    def __init__(self) -> None:
        self.stdout: deque[bytes] = deque()
        self.waiting = 0
        self.stderr = b""
        self.exit_status: int | None = None
        self.signal: str | None = None
        self.closed = False
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._connection: asyncssh.connection.SSHConnection | None = None
        self._failure: Exception | None = None
        self._held = self._ended = self._resuming = False
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()

    def connection_made(self, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel, self._connection = channel, channel.get_connection()
        channel.set_write_buffer_limits(_HIGH_WATER)

    def session_started(self) -> None: ...

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def xon_xoff_requested(self, client_can_do: bool) -> None: ...

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None:
            self.stderr = (self.stderr + data)[-_STDERR_KEPT:]
            return
        self.stdout.append(data)
        self.waiting += len(data)
        self._hold()
        self._news.set()

    def _hold(self) -> None:
        if self.waiting >= _HIGH_WATER and not self._held and not self._resuming and self._channel:
            self._held = True
            self._channel.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        return True

    def exit_status_received(self, status: int) -> None:
        self.exit_status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.signal = visible(signal, 40)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed, self._failure = True, exc
        self._news.set()
        self._room.set()

    def send(self, stdin: bytes, *, ends: bool = True) -> None:
        """Writes all of `stdin`, and its end; a command that is gone already is not an error here."""
        channel = self._channel
        with contextlib.suppress(OSError):
            if channel is not None:
                channel.write(stdin)
                if ends:
                    channel.write_eof()

    async def room(self) -> None:
        """Returns when most of what was sent has left this machine, or nobody takes it any more."""
        await self._room.wait()

    async def more(self) -> bytes:
        """The next bytes of stdout, b"" at its true end. Raises Refused(ssh_lost) if the end is not the true one."""
        while not self.stdout and not self.closed:
            self._news.clear()
            await self._news.wait()
        if self.stdout:
            data = b"".join(self.stdout)
            self.stdout.clear()
            self.waiting = 0
            if self._held and self._channel and not self.closed:
                # asyncssh opens the whole window again at the first byte that it hands over, whatever it still holds:
                # held back half-way, a slow reader would be sent twice of what it reads, for ever.
                self._held, self._resuming = False, True
                self._channel.resume_reading()
                self._resuming = False
                self._hold()
            return data
        if self._failure is not None or self._unfinished() or (self.exit_status is None and self.signal is None):
            raise Refused("ssh_lost", "the connection was lost before the command's end", "the line or the server")
        return b""

    def _unfinished(self) -> bool:
        """Whether asyncssh may have dropped bytes: it does when the connection goes while a reader is held back."""
        return self._held and not self._ended and (self._connection is None or self._connection.is_closed())

    def leave(self) -> None:
        """Closes the channel at once; what is unread or unsent is dropped. The connection stays."""
        if self._channel is not None and not self.closed:
            self._channel.abort()


class Stream:
    """A command's stdout while it runs: iterate over its lines (without their newline), once.

    Iteration ends only when the command ended by itself; `exit_status` and `signal` are set then. Raises
    Refused(ssh_lost) when it was cut, (answer_too_long) at a line longer than `line_most` bytes, (ssh_timeout) after
    `quiet` seconds without a byte.
    """

    def __init__(self, session: Session, label: str, line_most: int, quiet: float | None) -> None:
        self._session, self._label, self._line_most, self._quiet = session, label, line_most, quiet
        self._data, self._at = b"", 0

    @property
    def exit_status(self) -> int | None:
        return self._session.exit_status

    @property
    def signal(self) -> str | None:
        return self._session.signal

    def stderr_tail(self) -> bytes:
        """The last 16 KiB of stderr so far."""
        return self._session.stderr

    async def write(self, data: bytes, *, ends: bool = False) -> bool:
        """Sends more of stdin. False: the command takes none any more, and reading on tells why.

        Raises Refused(ssh_timeout).
        """
        async with self._in_time("took"):
            await self._session.room()
        self._session.send(data, ends=ends)
        return not self._session.closed

    async def read(self) -> bytes:
        """The next bytes of stdout as they came, b"" at the end of the command. Raises as iteration does."""
        try:
            async with self._in_time("said"):
                return await self._session.more()
        except Refused as refusal:
            raise Refused(refusal.code, f"{self._label}: {refusal.message}", refusal.hint) from None

    async def exactly(self, size: int) -> AsyncIterator[memoryview]:
        """The next `size` bytes of stdout as they came; fewer where the command ends. Raises as iteration does."""
        while size:
            if self._at == len(self._data):
                self._data, self._at = await self.read(), 0
                if not self._data:
                    return
            block = memoryview(self._data)[self._at : self._at + size]
            self._at += len(block)
            size -= len(block)
            yield block

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (line := await self._line()) is not None:
            yield line

    async def _line(self) -> bytes | None:
        begun = b""
        while (end := self._data.find(b"\n", self._at)) < 0:
            begun += self._data[self._at :]
            self._in_bounds(begun)
            self._data, self._at = await self.read(), 0
            if not self._data:
                return begun or None
        line = begun + self._data[self._at : end]
        self._in_bounds(line)
        self._at = end + 1
        return line

    def _in_bounds(self, line: bytes) -> None:
        if len(line) > self._line_most:
            raise too_long(self._label, "a line", self._line_most)

    @contextlib.asynccontextmanager
    async def _in_time(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._quiet):
                yield
        except TimeoutError:
            message = f"{self._label}: the server {what} nothing for {self._quiet:g} s"
            raise Refused("ssh_timeout", message, "the command may go on") from None


def too_long(label: str, what: str, most: int) -> Refused:
    """The refusal of `what` (a line, an answer) that is longer than `most` bytes."""
    return Refused("answer_too_long", f"{label}: the server sent {what} of more than {most} bytes", "")


async def start(connection: asyncssh.SSHClientConnection, command: str, name: str, timeout: float) -> Session:
    """Starts `command` on a connection; `name` is how messages call the account. stdin is not sent yet.

    Raises Refused: ssh_channel where the server will not; ssh_timeout, ssh_lost where the connection is of no more use.
    """
    import asyncssh  # 259 ms: loaded in a thread before the first connection

    session = Session()
    # Shielded: a channel whose opening is cancelled half-way would stay open on the server, unseen.
    opening = asyncio.create_task(
        connection.create_session(
            cast("Callable[[], asyncssh.SSHClientSession[bytes]]", lambda: session),
            command,
            encoding=None,
            max_pktsize=_PACKET,
        )
    )
    try:
        async with asyncio.timeout(timeout):
            await asyncio.shield(opening)
    except TimeoutError:
        opening.add_done_callback(lambda task: _drop(task, session))
        hint = "the server may be overloaded; try again later"
        message = f"{name}: no command started within {timeout:g} s"
        raise Refused("ssh_timeout", message, hint) from None
    except asyncio.CancelledError:
        opening.add_done_callback(lambda task: _drop(task, session))
        raise
    except (asyncssh.Error, OSError) as error:
        if isinstance(error, asyncssh.ChannelOpenError) and not connection.is_closed():
            message = f"{name}: the server starts no command ({visible(error.reason, 200)})"
            hint = "the account may have no shell, or too many sessions are open"
            raise Refused("ssh_channel", message, hint) from None
        raise Refused("ssh_lost", f"{name}: the connection was lost", "the line or the server") from None
    return session


def _drop(task: asyncio.Task[Any], session: Session) -> None:
    if not task.cancelled() and task.exception() is None:
        session.leave()
