"""Connections to the sites' servers: one an account, pinned host keys, jump hosts, bounded, with back-off.

Carries constant words and bytes; knows neither the agent's protocol nor what a command means.
Limits and time-outs are those measured in FACTS 10 and 12; hints name the causes of FACTS 14.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import random
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import Struct

from backends.records import ModoseruError, RemoteWord, SshSettings, visible

if TYPE_CHECKING:
    import asyncssh

MIB = 1024 * 1024
CHANNELS = 6
"""Commands at once on one connection: stock sshd allows about ten sessions (FACTS 10)."""
STREAMS = 4
"""Of them, how many may be streams: whoever follows must not keep the short commands out."""
_WIRES = 256
"""Open connections; past it the one that was idle for longest is closed (file descriptors: 1,024 by default)."""
_HIGH_WATER = 1 * MIB
_STDERR_KEPT = 16 * 1024
_KEY_FILE_MOST = 64 * 1024
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
_HOST_KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_REACH_HINT = (
    "likely causes: SSH is off in the host's panel, the host admits only domestic addresses, "
    "or another port (Xserver 10022, Lolipop 2222)"
)
_CHANGED_HINT = (
    "nothing was sent; ask the host whether the server was moved or renewed; only then accept the new key "
    "(modoseru site test)"
)


class HostKey(Struct, frozen=True, kw_only=True):
    """The key that a server shows. `public` is what `host_key` in a site's file holds."""

    algorithm: str
    fingerprint: str
    public: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.fingerprint}"


class Refused(ModoseruError):  # noqa: N818  says what happened, as callers read it
    """A server that could not be reached, trusted, logged in to, or that broke off.

    Codes: ssh_unreachable, ssh_timeout, ssh_auth, ssh_host_key_unknown, ssh_host_key_changed, ssh_lost, ssh_channel,
    ssh_busy, ssh_protocol, ssh_word, ssh_closed, answer_too_long, key_unreadable, host_key_unreadable, jump_failed,
    password_command_failed. `shown` is the host's key where the host key is the trouble; `cause` the code of the
    jump host's own failure under jump_failed.
    """

    def __init__(
        self, code: str, message: str, hint: str = "", *, shown: HostKey | None = None, cause: str | None = None
    ) -> None:
        super().__init__(code, message, hint)
        self.shown, self.cause = shown, cause

    def again(self, addition: str = "") -> Refused:
        """A copy to raise in another task, `addition` behind its message."""
        return Refused(self.code, self.message + addition, self.hint, shown=self.shown, cause=self.cause)


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


class _Session:
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
        self._held = self._ended = False
        self._news = asyncio.Event()

    def connection_made(self, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel, self._connection = channel, channel.get_connection()

    def session_started(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def xon_xoff_requested(self, client_can_do: bool) -> None: ...

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None:
            self.stderr = (self.stderr + data)[-_STDERR_KEPT:]
            return
        self.stdout.append(data)
        self.waiting += len(data)
        if self.waiting >= _HIGH_WATER and not self._held and self._channel:
            self._held = True
            self._channel.pause_reading()
        self._news.set()

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

    def send(self, stdin: bytes) -> None:
        """Writes all of `stdin` and its end; a command that is gone already is not an error here."""
        channel = self._channel
        with contextlib.suppress(OSError):
            if channel is not None:
                channel.write(stdin)
                channel.write_eof()

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
                self._held = False
                self._channel.resume_reading()
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

    def __init__(self, session: _Session, label: str, line_most: int, quiet: float | None) -> None:
        self._session, self._label, self._line_most, self._quiet = session, label, line_most, quiet

    @property
    def exit_status(self) -> int | None:
        return self._session.exit_status

    @property
    def signal(self) -> str | None:
        return self._session.signal

    def stderr_tail(self) -> bytes:
        """The last 16 KiB of stderr so far."""
        return self._session.stderr

    async def read(self) -> bytes:
        """The next bytes of stdout as they came, b"" at the end of the command. Raises as iteration does."""
        try:
            async with asyncio.timeout(self._quiet):
                return await self._session.more()
        except TimeoutError:
            raise Refused(
                "ssh_timeout", f"{self._label}: the server said nothing for {self._quiet:g} s", "the command may go on"
            ) from None
        except Refused as refusal:
            raise Refused(refusal.code, f"{self._label}: {refusal.message}", refusal.hint) from None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        rest = b""
        while data := await self.read():
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            if len(rest) > self._line_most or any(len(line) > self._line_most for line in lines):
                raise _too_long(self._label, "a line", self._line_most)
            for line in lines:
                yield line
        if rest:
            yield rest


def _too_long(label: str, what: str, most: int) -> Refused:
    return Refused("answer_too_long", f"{label}: the server sent {what} of more than {most} bytes", "")


class _Wire:
    """A connection and who uses it. A retired one closes when its last user leaves."""

    def __init__(self, connection: asyncssh.SSHClientConnection, through: _Wire | None) -> None:
        self.connection, self.through = connection, through
        self.users = 0
        self.served = self.retired = False
        self.timer: asyncio.TimerHandle | None = None

    def taken(self) -> None:
        self.users += 1
        if self.timer:
            self.timer.cancel()
            self.timer = None

    def left(self, idle: float) -> None:
        self.users -= 1
        if self.users:
            return
        if self.retired:
            self.connection.close()
        else:
            self.timer = asyncio.get_running_loop().call_later(idle, self.end)

    def end(self) -> None:
        """No new command gets it from now on; it says goodbye to the server."""
        self.retired = True
        if self.timer:
            self.timer.cancel()
            self.timer = None
        self.connection.close()


class _Account:
    """The place of one account's connection; sites that connect in the same way share it."""

    def __init__(self, settings: SshSettings) -> None:
        self.settings = settings
        self.wire: _Wire | None = None
        self.opening: asyncio.Task[_Wire | Refused] | None = None
        self.channels = asyncio.Semaphore(CHANNELS)
        self.streams = asyncio.Semaphore(STREAMS)

    def living(self) -> _Wire | None:
        """The wire, unless it is closed or being retired."""
        if self.wire and (self.wire.retired or self.wire.connection.is_closed()):
            self.wire = None
        return self.wire


class _Pause(Struct):
    """How long nobody knocks again after a failure."""

    failures: int
    until: float
    refusal: Refused


class Servers:
    """The pool. Belongs to one event loop; `close` it there.

    Inputs: `connect_timeout` seconds for TCP, key exchange and login together; `channel_timeout` seconds for the
    server to start a command; `turn_timeout` seconds that a caller waits for its turn on a busy account; `idle`
    seconds after which an unused connection is closed; `connecting` connections being opened at once, `per_host` of
    them to one host; `first_pause` and `longest_pause` seconds of back-off after failures.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 15.0,
        channel_timeout: float = 15.0,
        turn_timeout: float = 300.0,
        idle: float = 120.0,
        keepalive: float = 15.0,
        connecting: int = 10,
        per_host: int = 3,
        first_pause: float = 1.0,
        longest_pause: float = 60.0,
    ) -> None:
        self._connect_timeout, self._channel_timeout, self._turn_timeout = (
            connect_timeout,
            channel_timeout,
            turn_timeout,
        )
        self._idle, self._keepalive = idle, keepalive
        self._first_pause, self._longest_pause = first_pause, longest_pause
        self._per_host = per_host
        self._connecting = asyncio.Semaphore(connecting)
        self._hosts: dict[str, asyncio.Semaphore] = {}
        self._accounts: dict[SshSettings, _Account] = {}
        self._pauses: dict[Any, _Pause] = {}
        self._wires: set[_Wire] = set()
        self._closed = False

    # ------------------------------------------------------------ what callers do

    async def run(
        self, site: SshSettings, words: Sequence[str], stdin: bytes = b"", *, timeout: float, limit: int = 16 * MIB
    ) -> Completed:
        """Runs a command to its end and returns what it left.

        `timeout` seconds count from the command's start, not while connecting or waiting for a turn. Raises Refused:
        ssh_timeout, answer_too_long past `limit` bytes of stdout, ssh_lost when cut, and whatever connecting raises.
        The command is started at most once after its stdin could have reached it.
        """
        async with self._session(site, words, stdin, streaming=False) as session:
            parts: list[bytes] = []
            size = 0
            try:
                async with asyncio.timeout(timeout):
                    while data := await session.more():
                        size += len(data)
                        if size > limit:
                            raise _too_long(label(site), "an answer", limit)
                        parts.append(data)
            except TimeoutError:
                message = f"{label(site)}: {words[0]} did not end within {timeout:g} s"
                raise Refused("ssh_timeout", message, "the server may be overloaded; try again later") from None
            except Refused as refusal:
                if refusal.code != "ssh_lost":
                    raise
                raise Refused(refusal.code, f"{label(site)}: {refusal.message}", refusal.hint) from None
            return Completed(
                stdout=b"".join(parts), stderr=session.stderr, exit_status=session.exit_status, signal=session.signal
            )

    @contextlib.asynccontextmanager
    async def stream(
        self,
        site: SshSettings,
        words: Sequence[str],
        stdin: bytes = b"",
        *,
        line_most: int = 1 * MIB,
        quiet: float | None = None,
    ) -> AsyncIterator[Stream]:
        """Starts a command and yields its Stream; leaving the context closes the channel, not the connection.

        A slow reader holds the server back: about 3 MiB wait in memory at most. Raises as `run` does.
        """
        async with self._session(site, words, stdin, streaming=True) as session:
            yield Stream(session, label(site), line_most, quiet)

    async def fingerprint(self, site: SshSettings) -> HostKey:
        """The key that the host shows now. Nothing is trusted, nobody logs in. Raises Refused as connecting does."""
        await _load()
        unpinned = msgspec.structs.replace(site, host_key=None)
        through = await self._jump_wire(unpinned)
        try:
            async with self._slot(site.host):
                await self._connect(unpinned, through, {"client_keys": None, "password": None}, look=True)
        except Refused as refusal:
            if refusal.shown is None:
                raise
            return refusal.shown
        finally:
            if through:
                through.left(self._idle)
        raise AssertionError("a server without a pinned key was let through")

    def drop(self, site: SshSettings) -> None:
        """Closes the account's connection now; the next command opens another. Commands that run end with ssh_lost."""
        account = self._accounts.get(site)
        if account and (wire := account.living()):
            wire.end()
            account.wire = None

    def retry(self, site: SshSettings) -> None:
        """Forgets the back-off for `site`: a person wants the next try now."""
        for key in self._pause_keys(site):
            self._pauses.pop(key, None)

    async def close(self) -> None:
        """Closes every connection; running commands end with ssh_lost. May be called twice."""
        self._closed = True
        openings = [account.opening for account in self._accounts.values() if account.opening]
        for opening in openings:
            opening.cancel()
        await asyncio.gather(*openings, return_exceptions=True)
        wires = list(self._wires)
        for wire in wires:
            wire.end()
        try:
            async with asyncio.timeout(2):
                await asyncio.gather(*(wire.connection.wait_closed() for wire in wires))
        except TimeoutError:
            for wire in wires:
                wire.connection.abort()
            await asyncio.gather(*(wire.connection.wait_closed() for wire in wires))

    async def __aenter__(self) -> Servers:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ------------------------------------------------------------ commands on a connection

    @contextlib.asynccontextmanager
    async def _session(
        self, site: SshSettings, words: Sequence[str], stdin: bytes, *, streaming: bool
    ) -> AsyncIterator[_Session]:
        command = command_line(words)
        account = self._account(site)
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._turn_timeout):
                    if streaming:
                        await stack.enter_async_context(account.streams)
                    await stack.enter_async_context(account.channels)
            except TimeoutError:
                message = f"{label(site)}: busy with other commands for {self._turn_timeout:g} s"
                raise Refused("ssh_busy", message, "wait for the operations on this account, or cancel one") from None
            wire, session = await self._started(account, command)
            try:
                session.send(stdin)
                yield session
            finally:
                session.leave()
                wire.left(self._idle)

    async def _started(self, account: _Account, command: str) -> tuple[_Wire, _Session]:
        """Starts `command`; a pooled connection that proves dead or full is replaced once. stdin is not sent yet."""
        for last in (False, True):
            wire = await self._connected(account)
            fresh = not wire.served
            try:
                session = await self._start_on(wire, command, label(account.settings))
            except Refused:
                wire.retired = wire.retired or not fresh
                wire.left(self._idle)
                if fresh or last:
                    raise
            except BaseException:
                wire.left(self._idle)
                raise
            else:
                wire.served = True
                return wire, session
        raise AssertionError("the second try neither served nor raised")

    async def _start_on(self, wire: _Wire, command: str, name: str) -> _Session:
        import asyncssh  # 259 ms: loaded in a thread before the first connection

        session = _Session()
        # Shielded: a channel whose opening is cancelled half-way would stay open on the server, unseen.
        opening = asyncio.create_task(
            wire.connection.create_session(
                cast("Callable[[], asyncssh.SSHClientSession[bytes]]", lambda: session), command, encoding=None
            )
        )
        try:
            async with asyncio.timeout(self._channel_timeout):
                await asyncio.shield(opening)
        except TimeoutError:
            opening.add_done_callback(lambda task: _drop(task, session))
            wire.retired = True
            hint = "the server may be overloaded; try again later"
            message = f"{name}: no command started within {self._channel_timeout:g} s"
            raise Refused("ssh_timeout", message, hint) from None
        except asyncio.CancelledError:
            opening.add_done_callback(lambda task: _drop(task, session))
            raise
        except asyncssh.ChannelOpenError as error:
            if wire.connection.is_closed():
                raise Refused("ssh_lost", f"{name}: the connection was lost", "the line or the server") from None
            message = f"{name}: the server starts no command ({visible(error.reason, 200)})"
            hint = "the account may have no shell, or too many sessions are open"
            raise Refused("ssh_channel", message, hint) from None
        except (asyncssh.Error, OSError):
            wire.retired = True
            raise Refused("ssh_lost", f"{name}: the connection was lost", "the line or the server") from None
        return session

    # ------------------------------------------------------------ connections

    def _account(self, site: SshSettings) -> _Account:
        if self._closed:
            raise _ending()
        pinned = " ".join(site.host_key.split()[:2]) if site.host_key else None
        key = msgspec.structs.replace(site, host_key=pinned)
        if key not in self._accounts:
            self._accounts[key] = _Account(key)
        return self._accounts[key]

    async def _connected(self, account: _Account) -> _Wire:
        """The account's living connection, taken for the caller; opened if need be, once for all who wait."""
        wire = account.living()
        if wire is None:
            if account.opening is None:
                account.opening = asyncio.create_task(self._opened(account))
            opening = account.opening
            try:
                # Shielded: who gives up waiting must not take the connection from the others.
                outcome = await asyncio.shield(opening)
            except asyncio.CancelledError:
                if opening.cancelled() and self._closed:
                    raise _ending() from None
                raise
            if isinstance(outcome, Refused):
                raise outcome.again()
            wire = outcome
        wire.taken()
        return wire

    async def _opened(self, account: _Account) -> _Wire | Refused:
        site = account.settings
        try:
            await _load()
            self._check_pause(site)
            through = await self._jump_wire(site)
            try:
                async with contextlib.AsyncExitStack() as stack:
                    await stack.enter_async_context(self._slot(site.host))
                    self._check_pause(site)
                    credentials = await _credentials(site)
                    agent = credentials.pop("agent", None)
                    if agent is not None:
                        stack.callback(agent.close)
                    wire = await self._connect(site, through, credentials)
            except BaseException:
                if through:
                    through.left(self._idle)
                raise
        except Refused as refusal:
            return refusal
        finally:
            account.opening = None
        for key in self._pause_keys(site):
            self._pauses.pop(key, None)
        account.wire = wire
        wire.taken()
        wire.left(self._idle)
        return wire

    async def _jump_wire(self, site: SshSettings) -> _Wire | None:
        if site.jump is None:
            return None
        user, _, place = site.jump.rpartition("@")
        host, _, port = place.partition(":")
        jump = SshSettings(
            host=host, port=int(port or 22), user=user or site.user, key=site.key, host_key=site.jump_host_key
        )
        try:
            return await self._connected(self._account(jump))
        except Refused as refusal:
            raise Refused(
                "jump_failed",
                f"jump host of {label(site)}: {refusal.message}",
                refusal.hint,
                shown=refusal.shown,
                cause=refusal.code,
            ) from None

    @contextlib.asynccontextmanager
    async def _slot(self, host: str) -> AsyncIterator[None]:
        """Bounds how many connections are being opened: stock sshd drops a burst (MaxStartups, FACTS 10)."""
        gate = self._hosts.setdefault(host, asyncio.Semaphore(self._per_host))
        crowded = gate.locked()
        async with gate:
            if crowded:
                await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311  jitter, not a secret
            async with self._connecting:
                yield

    async def _connect(
        self, site: SshSettings, through: _Wire | None, credentials: dict[str, Any], *, look: bool = False
    ) -> _Wire:
        """One try. Raises Refused and, unless `look`, remembers the failure for the back-off."""
        import asyncssh

        pinned = _pinned(site)
        types = [name.decode() for name in pinned.sig_algorithms] if pinned else []
        seen: dict[str, Any] = {"reached": False, "shown": None}
        holder: list[_Wire] = []

        class Client(asyncssh.SSHClient):
            def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
                seen["reached"] = True

            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                seen["shown"] = _described(key)
                return False

            def connection_lost(self, exc: Exception | None) -> None:
                for wire in holder:
                    self_.gone(wire)

        self_ = self
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await asyncssh.connect(
                    site.host,
                    site.port,
                    username=site.user,
                    tunnel=through.connection if through else None,
                    config=[],
                    client_factory=Client,
                    known_hosts=([pinned] if pinned else [], [], []),
                    server_host_key_algs=list(dict.fromkeys([*types, *_HOST_KEY_TYPES])),
                    encryption_algs=list(_CIPHERS),
                    compression_algs=["none"],
                    agent_forwarding=False,
                    agent_path=None,
                    gss_host=None,
                    x509_trusted_certs=None,
                    keepalive_interval=self._keepalive,
                    login_timeout=0,
                    **credentials,
                )
        except (asyncssh.Error, OSError, ValueError) as error:
            refusal = _refusal(
                error, site, pinned, seen["shown"], reached=seen["reached"], timeout=self._connect_timeout
            )
            if not look:
                self._remember(site, refusal, reached=seen["reached"])
            raise refusal from None
        wire = _Wire(connection, through)
        holder.append(wire)
        self._wires.add(wire)
        idle = [wire for wire in self._wires if wire.timer]
        if len(self._wires) > _WIRES and idle:
            min(idle, key=lambda wire: wire.timer.when() if wire.timer else 0).end()
        return wire

    def gone(self, wire: _Wire) -> None:
        """A connection has ended, for whatever reason: called by its own client object."""
        wire.retired = True
        if wire.timer:
            wire.timer.cancel()
        if wire in self._wires:
            self._wires.discard(wire)
            if wire.through:
                wire.through.left(self._idle)

    # ------------------------------------------------------------ back-off

    def _pause_keys(self, site: SshSettings) -> tuple[Any, Any]:
        return (site.host, site.port, site.jump), self._account(site).settings

    def _check_pause(self, site: SshSettings) -> None:
        now = asyncio.get_running_loop().time()
        for key in self._pause_keys(site):
            pause = self._pauses.get(key)
            if pause and pause.until > now:
                raise pause.refusal.again(f"; next try in {max(1, round(pause.until - now))} s")

    def _remember(self, site: SshSettings, refusal: Refused, *, reached: bool) -> None:
        """After a failure: of the whole host where no TCP connection came about, of the account otherwise."""
        key = self._pause_keys(site)[1 if reached else 0]
        failures = self._pauses[key].failures + 1 if key in self._pauses else 1
        wait = min(self._longest_pause, self._first_pause * 2 ** min(failures - 1, 16))
        until = asyncio.get_running_loop().time() + wait * random.uniform(0.75, 1.25)  # noqa: S311
        self._pauses[key] = _Pause(failures, until, refusal)


def _ending() -> Refused:
    return Refused("ssh_closed", "the connections are closed: the program is ending")


def label(site: SshSettings) -> str:
    """`user@host:port`: how messages name an account."""
    host = f"[{site.host}]" if ":" in site.host else site.host
    return visible(f"{site.user}@{host}:{site.port}", 200)


async def _load() -> None:
    """Imports asyncssh without holding the loop up for its 259 ms (FACTS 9)."""
    if "asyncssh" not in sys.modules:
        await asyncio.to_thread(importlib.import_module, "asyncssh")


def _drop(task: asyncio.Task[Any], session: _Session) -> None:
    if not task.cancelled() and task.exception() is None:
        session.leave()


def _described(key: asyncssh.SSHKey) -> HostKey:
    text = key.export_public_key().decode("ascii", "replace").split()
    return HostKey(algorithm=text[0], fingerprint=key.get_fingerprint(), public=" ".join(text[:2]))


def _pinned(site: SshSettings) -> asyncssh.SSHKey | None:
    import asyncssh

    if not site.host_key:
        return None
    try:
        return asyncssh.import_public_key(site.host_key)
    except ValueError:
        message = f"{label(site)}: host_key is not a public key"
        raise Refused("host_key_unreadable", message, "it looks like: ssh-ed25519 AAAA… (modoseru site test)") from None


def _refusal(
    error: Exception,
    site: SshSettings,
    pinned: asyncssh.SSHKey | None,
    shown: HostKey | None,
    *,
    reached: bool,
    timeout: float,
) -> Refused:
    """What a failed try means, in the operator's words."""
    import asyncssh

    reason = visible(str(getattr(error, "strerror", None) or error), 200) or type(error).__name__
    hint = _REACH_HINT
    if isinstance(error, asyncssh.HostKeyNotVerifiable) and shown:
        if pinned:
            code, what = "ssh_host_key_changed", f"the host key has changed: pinned {_described(pinned)}, shown {shown}"
            hint = _CHANGED_HINT
        else:
            code, what = "ssh_host_key_unknown", f"unknown host key {shown}"
            hint = "compare it with the fingerprint that the host publishes, then accept it (modoseru site test)"
    elif isinstance(error, asyncssh.PermissionDenied):
        who = f"the key {site.key}" if site.key else "the password" if site.password_command else "the agent's keys"
        code, what = "ssh_auth", f"the server refused {visible(who)}"
        hint = "is the public key registered with this account, is the user name right, is SSH enabled in the panel?"
    elif isinstance(error, asyncssh.DisconnectError) and "too many authentication" in reason.lower():
        code, what = "ssh_auth", f"the server refused ({reason})"
        hint = "the agent holds too many keys: name the right one as ssh.key in the site's file"
    elif isinstance(error, TimeoutError):
        code, what = "ssh_timeout", f"{'SSH did not answer' if reached else 'no connection'} within {timeout:g} s"
    elif isinstance(error, asyncssh.ChannelOpenError):
        code, what = "ssh_unreachable", f"the jump host cannot reach it ({reason})"
    elif not reached:
        code, what = "ssh_unreachable", f"cannot connect ({reason})"
    elif isinstance(error, asyncssh.ConnectionLost | ConnectionResetError):
        code, what = "ssh_unreachable", "the server hung up before the login"
    else:
        code, what = "ssh_protocol", f"no SSH connection ({reason})"
        hint = f"is this the SSH port? {_REACH_HINT}"
    return Refused(code, f"{label(site)}: {what}", hint, shown=shown)


# ---------------------------------------------------------------- what the operator's machine has to show


async def _credentials(site: SshSettings) -> dict[str, Any]:
    """Options of asyncssh.connect that log in, and `agent` to be closed afterwards.

    Raises Refused: key_unreadable, password_command_failed, ssh_auth where there is nothing to log in with.
    """
    secret = await _password(site) if site.password_command else None
    options: dict[str, Any] = {"client_keys": None, "password": None}
    methods = []
    if site.key:
        key = await asyncio.to_thread(_key, site.key, secret)
        if isinstance(key, bytes):
            options |= await _agent_keys(site, only=key)
        else:
            options["client_keys"] = [key]
        methods.append("publickey")
    elif secret is None:
        options |= await _agent_keys(site)
        methods.append("publickey")
    if secret is not None:
        options["password"] = secret
        methods += ["password", "keyboard-interactive"]
    return {**options, "preferred_auth": methods}


async def _password(site: SshSettings) -> str:
    """The first line that `password_command` prints; it runs without a shell and has 30 s."""
    program = visible(site.password_command[0], 100)
    try:
        process = await asyncio.create_subprocess_exec(
            *site.password_command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        message = f"{label(site)}: password_command {program}: {error.strerror}"
        raise Refused("password_command_failed", message, "it is a list of words, run without a shell") from None
    try:
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
    except TimeoutError:
        message = f"{label(site)}: password_command {program} did not end within 30 s"
        raise Refused("password_command_failed", message, "it must not ask questions") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    line = output.split(b"\n", 1)[0].rstrip(b"\r").decode("utf-8", "replace")
    if process.returncode or not line:
        what = f"ended with status {process.returncode}" if process.returncode else "printed nothing"
        message = f"{label(site)}: password_command {program} {what}"
        raise Refused("password_command_failed", message, "its first line of output is the password")
    return line


def _key(name: str, passphrase: str | None) -> asyncssh.SSHKey | bytes:
    """The private key in the file `name`, or its public half where only the agent can open it."""
    import asyncssh

    shown = visible(name, 200)
    try:
        path = Path(name).expanduser()
        if not path.is_file():
            raise Refused("key_unreadable", f"key {shown}: no such file", "ssh.key in the site's file")
        with path.open("rb") as file:
            data = file.read(_KEY_FILE_MOST)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "no such home folder"
        raise Refused("key_unreadable", f"key {shown}: {reason}", "ssh.key in the site's file") from None
    try:
        return asyncssh.import_private_key(data, passphrase)
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        locked = isinstance(error, asyncssh.KeyEncryptionError) or "assphrase" in str(error) or b"ENCRYPTED" in data
        # OpenSSH's own encrypted format wants the package bcrypt; the agent opens it without.
        tried = passphrase is not None and "bcrypt" not in str(error)
    if not locked:
        raise Refused("key_unreadable", f"key {shown}: not a private key", "the file without .pub is the private one")
    try:
        return asyncssh.read_public_key(path.with_name(path.name + ".pub")).public_data
    except (OSError, ValueError):
        what = "the passphrase does not open it" if tried else "it is protected by a passphrase"
        raise Refused("key_unreadable", f"key {shown}: {what}", f"load it in the SSH agent: ssh-add {shown}") from None


async def _agent_keys(site: SshSettings, only: bytes | None = None) -> dict[str, Any]:
    """The SSH agent's keys (or the one with the public half `only`), and the agent itself, which must stay open."""
    import asyncssh

    path = os.environ.get("SSH_AUTH_SOCK", "")
    add = f"ssh-add {visible(site.key, 200)}" if site.key else "ssh-add, or name a key file as ssh.key"
    if not path:
        code = "key_unreadable" if only else "ssh_auth"
        what = f"key {visible(site.key or '')} has a passphrase and" if only else "no key is configured and"
        raise Refused(code, f"{label(site)}: {what} no SSH agent runs", add)
    try:
        async with asyncio.timeout(5):
            agent = await asyncssh.connect_agent(path)
            keys = [key for key in await agent.get_keys() if only in (None, key.public_data)]
    except (OSError, ValueError, asyncssh.Error) as error:
        reason = visible(str(error), 100)
        raise Refused("ssh_auth", f"{label(site)}: the SSH agent does not answer ({reason})", add) from None
    if not keys:
        agent.close()
        raise Refused("ssh_auth", f"{label(site)}: the SSH agent does not hold the key", add)
    return {"client_keys": keys, "agent": agent}
