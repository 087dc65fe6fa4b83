"""Connections to the sites' servers: one an account, pinned host keys, jump hosts, bounded, with back-off.

Carries constant words and bytes; knows neither the agent's protocol nor what a command means.
Limits and time-outs are those measured in FACTS 10 and 12.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import random
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from backends.records import SshSettings
from backends.ssh_backoff import BackOff
from backends.ssh_channel import MIB, Completed, Session, Stream, command_line, start, too_long
from backends.ssh_login import connect, credentials_of, pinned_key
from backends.ssh_refusal import HostKey, Refused, label

if TYPE_CHECKING:
    import asyncssh

__all__ = ["CHANNELS", "STREAMS", "Completed", "HostKey", "Refused", "Servers", "Stream", "command_line", "label"]

CHANNELS = 6
"""Commands at once on one connection: stock sshd allows about ten sessions (FACTS 10)."""
STREAMS = 4
"""Of them, how many may be streams: whoever follows must not keep the short commands out."""
TRANSFERS = 2
"""Parts of generations at once beside them. Each may take an hour, and waits for its turn as long as it takes."""
_WIRES = 256
"""Open connections; past it the one that was idle for longest is closed (file descriptors: 1,024 by default)."""


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
        self.transfers = asyncio.Semaphore(TRANSFERS)

    def living(self) -> _Wire | None:
        """The wire, unless it is closed or being retired."""
        if self.wire and (self.wire.retired or self.wire.connection.is_closed()):
            self.wire = None
        return self.wire


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
        self._per_host = per_host
        self._connecting = asyncio.Semaphore(connecting)
        self._hosts: dict[str, asyncio.Semaphore] = {}
        self._accounts: dict[SshSettings, _Account] = {}
        self._backoff = BackOff(first_pause, longest_pause)
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
        async with self._session(site, words, stdin, kind="command") as session:
            stdout = Stream(session, label(site), limit, quiet=None)
            parts: list[bytes] = []
            size = 0
            try:
                async with asyncio.timeout(timeout):
                    while data := await stdout.read():
                        size += len(data)
                        if size > limit:
                            raise too_long(label(site), "an answer", limit)
                        parts.append(data)
            except TimeoutError:
                message = f"{label(site)}: {words[0]} did not end within {timeout:g} s"
                raise Refused("ssh_timeout", message, "the server may be overloaded; try again later") from None
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
        ends: bool = True,
        transfer: bool = False,
        line_most: int = 1 * MIB,
        quiet: float | None = None,
    ) -> AsyncIterator[Stream]:
        """Starts a command and yields its Stream; leaving the context closes the channel, not the connection.

        A slow reader holds the server back: about 3 MiB wait in memory at most. `ends` false: more of stdin is written
        to the Stream. `transfer`: it is a part of a generation. Raises as `run` does.
        """
        kind = "transfer" if transfer else "stream"
        async with self._session(site, words, stdin, kind=kind, ends=ends) as session:
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
        self._backoff.forget(self._account(site).settings)

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
        self, site: SshSettings, words: Sequence[str], stdin: bytes, *, kind: str, ends: bool = True
    ) -> AsyncIterator[Session]:
        command = command_line(words)
        account = self._account(site)
        async with contextlib.AsyncExitStack() as stack:
            await self._turn(account, kind, stack)
            wire, session = await self._started(account, command)
            try:
                session.send(stdin, ends=ends)
                yield session
            finally:
                session.leave()
                wire.left(self._idle)

    async def _turn(self, account: _Account, kind: str, stack: contextlib.AsyncExitStack) -> None:
        if kind == "transfer":
            await stack.enter_async_context(account.transfers)
            return
        try:
            async with asyncio.timeout(self._turn_timeout):
                if kind == "stream":
                    await stack.enter_async_context(account.streams)
                await stack.enter_async_context(account.channels)
        except TimeoutError:
            message = f"{label(account.settings)}: busy with other commands for {self._turn_timeout:g} s"
            raise Refused("ssh_busy", message, "wait for the operations on this account, or cancel one") from None

    async def _started(self, account: _Account, command: str) -> tuple[_Wire, Session]:
        """Starts `command`; a pooled connection that proves dead or full is replaced once. stdin is not sent yet."""
        for last in (False, True):
            wire = await self._connected(account)
            fresh = not wire.served
            try:
                session = await start(wire.connection, command, label(account.settings), self._channel_timeout)
            except Refused as refusal:
                wire.retired = wire.retired or not fresh or refusal.code != "ssh_channel"
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
            self._may_try(site)
            through = await self._jump_wire(site)
            try:
                async with contextlib.AsyncExitStack() as stack:
                    await stack.enter_async_context(self._slot(site.host))
                    self._may_try(site)
                    credentials = await credentials_of(site)
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
        self._backoff.forget(site)
        account.wire = wire
        wire.taken()
        wire.left(self._idle)
        return wire

    def _may_try(self, site: SshSettings) -> None:
        if self._closed:
            raise _ending()
        self._backoff.check(site)

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
        pinned = pinned_key(site)
        holder: list[_Wire] = []

        def ended() -> None:
            for wire in holder:
                self._gone(wire)

        try:
            connection = await connect(
                site,
                pinned,
                through.connection if through else None,
                credentials,
                timeout=self._connect_timeout,
                keepalive=self._keepalive,
                ended=ended,
            )
        except Refused as refusal:
            if not look:
                self._backoff.failed(site, refusal)
            raise
        wire = _Wire(connection, through)
        holder.append(wire)
        self._wires.add(wire)
        idle = [wire for wire in self._wires if wire.timer]
        if len(self._wires) > _WIRES and idle:
            min(idle, key=lambda wire: wire.timer.when() if wire.timer else 0).end()
        return wire

    def _gone(self, wire: _Wire) -> None:
        """A connection has ended, for whatever reason."""
        wire.retired = True
        if wire.timer:
            wire.timer.cancel()
        if wire in self._wires:
            self._wires.discard(wire)
            if wire.through:
                wire.through.left(self._idle)


def _ending() -> Refused:
    return Refused("ssh_closed", "the connections are closed: the program is ending")


async def _load() -> None:
    """Imports asyncssh without holding the loop up for its 259 ms (FACTS 9)."""
    if "asyncssh" not in sys.modules:
        await asyncio.to_thread(importlib.import_module, "asyncssh")
