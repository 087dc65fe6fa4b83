"""What the connections promise, against the real sshd and against servers that misbehave at a chosen moment."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from backends.records import SshSettings
from backends.ssh import CHANNELS, STREAMS, HostKey, Refused, Servers, Stream

SSHD = "/usr/sbin/sshd"
needs_sshd = pytest.mark.skipif(
    not (Path(SSHD).exists() and os.geteuid() == 0), reason="the real sshd is started as root"
)


# ---------------------------------------------------------------- the real sshd


class RealServer:
    """A running sshd: where it listens, its host key, and the key that it lets in."""

    def __init__(self, port: int, host_key: str, key: Path, process: subprocess.Popen[bytes]) -> None:
        self.port, self.host_key, self.key, self.process = port, host_key, key, process

    def settings(self, **changes: Any) -> SshSettings:
        known: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "root",
            "key": str(self.key),
            "host_key": self.host_key,
        }
        return SshSettings(**(known | changes))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_sshd(folder: Path, further: str = "") -> RealServer:
    """Starts sshd in the foreground under `folder` and returns once it says that it listens."""
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    host_file, user_file = folder / "host_key", folder / "id"
    host.write_private_key(host_file)
    user.write_private_key(user_file)
    host_file.chmod(0o600)
    user.write_public_key(folder / "authorized_keys")
    for _ in range(5):
        port = free_port()
        (folder / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_file}\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"PermitRootLogin yes\nPasswordAuthentication no\nAuthorizedKeysFile {folder}/authorized_keys\n{further}"
        )
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE)
        assert process.stderr is not None
        for line in process.stderr:
            if b"Server listening" in line:
                # sshd's log must be read to its end, or sshd stops at a full pipe.
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return RealServer(port, host.export_public_key().decode().strip(), user_file, process)
        process.wait()
        process.stderr.close()
    raise AssertionError("sshd did not start")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    server = start_sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    stop(server)


@pytest.fixture(scope="module")
def second_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    server = start_sshd(tmp_path_factory.mktemp("second"))
    yield server
    stop(server)


@pytest.fixture
def sshd_without_sessions(tmp_path: Path) -> Iterator[RealServer]:
    server = start_sshd(tmp_path, "MaxSessions 0\n")
    yield server
    stop(server)


def stop(server: RealServer) -> None:
    server.process.terminate()
    server.process.wait()
    assert server.process.stderr is not None
    server.process.stderr.close()


# ---------------------------------------------------------------- a server that obeys the test

Handler = Callable[[asyncssh.SSHServerProcess[bytes]], Awaitable[None]]


class Puppet:
    """An in-process server. `handler` runs for each command; everything that happens to it is counted."""

    def __init__(self, folder: Path) -> None:
        self.host = asyncssh.generate_private_key("ssh-ed25519")
        self.user = asyncssh.generate_private_key("ssh-ed25519")
        self.key = folder / "puppet_id"
        self.user.write_private_key(self.key)
        self.key.chmod(0o600)
        self.passwords: set[str] = set()
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.logins = self.commands = self.running = self.most_running = 0
        self.lost = asyncio.Event()
        self._changed = asyncio.Event()
        self.handler: Handler = answer_with_the_stdin
        self.port = 0
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self) -> None:
        puppet = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                puppet.connections.append(conn)
                puppet._changed.set()

            def connection_lost(self, exc: Exception | None) -> None:
                puppet.lost.set()

            def begin_auth(self, username: str) -> bool:
                puppet.logins += 1
                return True

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return key == puppet.user.convert_to_public()

            def password_auth_supported(self) -> bool:
                return bool(puppet.passwords)

            def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return password in puppet.passwords

        async def process(process: asyncssh.SSHServerProcess[bytes]) -> None:
            self.commands += 1
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self._changed.set()
            try:
                with suppress(OSError, asyncssh.Error):
                    await self.handler(process)
            finally:
                self.running -= 1
                self._changed.set()

        self._acceptor = await asyncssh.create_server(
            Server, "127.0.0.1", self.port, server_host_keys=[self.host], process_factory=process, encoding=None
        )
        self.port = self._acceptor.get_port()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Returns when `condition` holds; it is looked at whenever a connection or command comes or goes."""
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def stop(self) -> None:
        if self._acceptor:
            self._acceptor.close()
            await self._acceptor.wait_closed()
        for connection in self.connections:
            connection.abort()
            await connection.wait_closed()

    def settings(self, **changes: Any) -> SshSettings:
        known: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "kogyo",
            "key": str(self.key),
            "host_key": self.host.export_public_key().decode().strip(),
        }
        return SshSettings(**(known | changes))


async def answer_with_the_stdin(process: asyncssh.SSHServerProcess[bytes]) -> None:
    process.stdout.write(await process.stdin.read())
    process.exit(0)


async def never_answer(process: asyncssh.SSHServerProcess[bytes]) -> None:
    await process.wait_closed()


@pytest.fixture
async def puppet(tmp_path: Path) -> AsyncIterator[Puppet]:
    server = Puppet(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    async with Servers(first_pause=0) as pool:
        yield pool


class Wire:
    """A TCP relay to `port` that can be frozen (bytes vanish, nothing closes) or cut."""

    def __init__(self, port: int) -> None:
        self.target, self.port, self.accepted = port, 0, 0
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._frozen: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.accepted = self.accepted, self.accepted + 1
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._pairs.append((writer, onward_writer))
        self._tasks += [
            asyncio.create_task(self._relay(number, reader, onward_writer)),
            asyncio.create_task(self._relay(number, onward_reader, writer)),
        ]

    async def _relay(self, number: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if number not in self._frozen:
                    sink.write(data)
        sink.close()

    def freeze(self) -> None:
        """The connections that exist now carry nothing any more; new ones work."""
        self._frozen = set(range(self.accepted))

    def cut(self) -> None:
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()


async def refusal(awaitable: Awaitable[Any]) -> Refused:
    with pytest.raises(Refused) as caught:
        await awaitable
    assert "\n" not in caught.value.message
    return caught.value


# ---------------------------------------------------------------- commands


@needs_sshd
async def test_a_command_gets_its_stdin_and_gives_back_both_streams_and_its_status(
    sshd: RealServer, servers: Servers
) -> None:
    done = await servers.run(sshd.settings(), ["sh"], b"printf 'a\\377b'; echo oh >&2; exit 3", timeout=20)
    assert (done.stdout, done.stderr, done.exit_status, done.signal) == (b"a\xffb", b"oh\n", 3, None)


@needs_sshd
async def test_a_command_that_a_signal_ended_says_which(sshd: RealServer, servers: Servers) -> None:
    done = await servers.run(sshd.settings(), ["sh"], b"kill -9 $$", timeout=20)
    assert (done.exit_status, done.signal) == (None, "KILL")


@pytest.mark.parametrize(
    "word", ["a b", "$(id)", "`id`", "a;b", "!x", "2>&1", "a'b", "", "naïve", "a\n", "~", "*", "x" * 201]
)
async def test_a_word_that_a_login_shell_might_interpret_is_never_sent(
    word: str, puppet: Puppet, servers: Servers
) -> None:
    assert (await refusal(servers.run(puppet.settings(), ["echo", word], timeout=5))).code == "ssh_word"
    assert puppet.connections == []


async def test_no_words_are_no_command(puppet: Puppet, servers: Servers) -> None:
    assert (await refusal(servers.run(puppet.settings(), [], timeout=5))).code == "ssh_word"


async def test_a_large_stdin_arrives_whole(puppet: Puppet, servers: Servers) -> None:
    stdin = os.urandom(5_000_000)
    assert (await servers.run(puppet.settings(), ["cat"], stdin, timeout=30)).stdout == stdin


async def test_an_answer_past_the_limit_is_refused_not_kept(puppet: Puppet, servers: Servers) -> None:
    late = await refusal(servers.run(puppet.settings(), ["cat"], b"x" * 100_000, timeout=10, limit=50_000))
    assert late.code == "answer_too_long"


async def test_a_command_that_does_not_end_is_left_after_its_time(puppet: Puppet, servers: Servers) -> None:
    puppet.handler = never_answer
    late = await refusal(servers.run(puppet.settings(), ["php"], timeout=0.1))
    assert late.code == "ssh_timeout"
    assert "php did not end within 0.1 s" in late.message
    await puppet.until(lambda: not puppet.running)
    assert len(puppet.connections) == 1


@needs_sshd
async def test_an_account_that_may_run_no_commands_is_named_so(
    sshd_without_sessions: RealServer, servers: Servers
) -> None:
    refused = await refusal(servers.run(sshd_without_sessions.settings(), ["true"], timeout=5))
    assert refused.code == "ssh_channel"
    assert "shell" in refused.hint


# ---------------------------------------------------------------- sharing one connection


async def test_many_commands_share_one_connection_and_never_more_channels_than_sshd_allows(
    puppet: Puppet, servers: Servers
) -> None:
    results = await asyncio.gather(
        *(servers.run(puppet.settings(), ["cat"], str(n).encode(), timeout=20) for n in range(60))
    )
    assert [int(done.stdout) for done in results] == list(range(60))
    assert len(puppet.connections) == 1
    assert 1 < puppet.most_running <= CHANNELS


async def test_sites_of_one_account_share_its_connection_whatever_the_comment_behind_the_host_key(
    puppet: Puppet, servers: Servers
) -> None:
    site = puppet.settings()
    await servers.run(site, ["true"], timeout=5)
    await servers.run(puppet.settings(host_key=f"{site.host_key} a comment"), ["true"], timeout=5)
    assert len(puppet.connections) == 1


async def test_who_follows_does_not_keep_short_commands_out(puppet: Puppet, servers: Servers) -> None:
    async def follow_or_answer(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await (never_answer if process.command == "follow" else answer_with_the_stdin)(process)

    puppet.handler = follow_or_answer

    async def follow() -> None:
        async with servers.stream(puppet.settings(), ["follow"]) as stream:
            async for _ in stream:
                pass

    followers = [asyncio.create_task(follow()) for _ in range(10)]
    await puppet.until(lambda: puppet.running >= STREAMS)
    async with asyncio.timeout(10):
        done = await servers.run(puppet.settings(), ["cat"], b"in", timeout=5)
    assert done.stdout == b"in"
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)


async def test_who_waits_too_long_for_a_turn_is_told_that_the_account_is_busy(puppet: Puppet) -> None:
    puppet.handler = never_answer
    async with Servers(turn_timeout=0.1) as servers:
        holders = [asyncio.create_task(servers.run(puppet.settings(), ["x"], timeout=60)) for _ in range(CHANNELS)]
        await puppet.until(lambda: puppet.running == CHANNELS)
        assert (await refusal(servers.run(puppet.settings(), ["x"], timeout=60))).code == "ssh_busy"
        for holder in holders:
            holder.cancel()
        await asyncio.gather(*holders, return_exceptions=True)


async def test_cancelling_one_caller_leaves_the_connection_to_the_others(puppet: Puppet, servers: Servers) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def wait_for_the_word(process: asyncssh.SSHServerProcess[bytes]) -> None:
        started.set()
        await go.wait()
        await answer_with_the_stdin(process)

    puppet.handler = wait_for_the_word
    staying = asyncio.create_task(servers.run(puppet.settings(), ["cat"], b"still here", timeout=20))
    leaving = asyncio.create_task(servers.run(puppet.settings(), ["cat"], b"gone", timeout=20))
    await started.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    go.set()
    assert (await staying).stdout == b"still here"
    assert len(puppet.connections) == 1


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_a_caller_cancelled_at_any_moment_leaves_no_channel_behind(
    turns: int, puppet: Puppet, servers: Servers
) -> None:
    site = puppet.settings()
    await servers.run(site, ["true"], timeout=5)
    puppet.handler = never_answer
    caller = asyncio.create_task(servers.run(site, ["cat"], b"x", timeout=20))
    for _ in range(turns):
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    puppet.handler = answer_with_the_stdin
    assert (await servers.run(site, ["cat"], b"y", timeout=20)).stdout == b"y"
    await puppet.until(lambda: not puppet.running)
    assert len(puppet.connections) == 1


async def test_who_gives_up_while_connecting_does_not_take_the_connection_from_who_waits(
    puppet: Puppet, servers: Servers
) -> None:
    first = asyncio.create_task(servers.run(puppet.settings(), ["cat"], b"1", timeout=20))
    second = asyncio.create_task(servers.run(puppet.settings(), ["cat"], b"2", timeout=20))
    await puppet.until(lambda: puppet.connections)
    first.cancel()
    assert (await second).stdout == b"2"
    assert len(puppet.connections) == 1


async def test_an_idle_connection_says_goodbye_by_itself(puppet: Puppet) -> None:
    async with Servers(idle=0.01) as servers:
        await servers.run(puppet.settings(), ["true"], timeout=5)
        await asyncio.wait_for(puppet.lost.wait(), 5)
        await servers.run(puppet.settings(), ["true"], timeout=5)
    assert len(puppet.connections) == 2


@needs_sshd
async def test_thirty_accounts_at_once_lose_no_connection_to_a_stock_sshd(
    sshd: RealServer, servers: Servers, tmp_path: Path
) -> None:
    sites = []
    for number in range(30):
        shutil.copy(sshd.key, tmp_path / f"id{number}")
        sites.append(sshd.settings(key=str(tmp_path / f"id{number}")))
    results = await asyncio.gather(*(servers.run(site, ["echo", "in"], timeout=30) for site in sites))
    assert [done.stdout for done in results] == [b"in\n"] * 30


# ---------------------------------------------------------------- host keys


@needs_sshd
async def test_an_unknown_host_key_is_refused_shown_and_can_be_accepted(sshd: RealServer, servers: Servers) -> None:
    asking = await asyncio.create_subprocess_exec(
        "ssh-keygen", "-lf", str(sshd.key.parent / "host_key"), stdout=asyncio.subprocess.PIPE
    )
    line = (await asking.communicate())[0].decode()
    unknown = await refusal(servers.run(sshd.settings(host_key=None), ["true"], timeout=5))
    assert unknown.code == "ssh_host_key_unknown"
    assert line.split()[1] in unknown.message
    assert isinstance(unknown.shown, HostKey)
    assert unknown.shown == await servers.fingerprint(sshd.settings(host_key=None, key="/nowhere"))
    assert (await servers.run(sshd.settings(host_key=unknown.shown.public), ["true"], timeout=5)).exit_status == 0


async def test_a_changed_host_key_refuses_names_both_and_never_logs_in(puppet: Puppet, servers: Servers) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    site = puppet.settings(host_key=other.export_public_key().decode())
    changed = await refusal(servers.run(site, ["true"], timeout=5))
    assert changed.code == "ssh_host_key_changed"
    assert other.get_fingerprint() in changed.message
    assert puppet.host.get_fingerprint() in changed.message
    assert puppet.logins == 0


async def test_a_host_that_drops_the_pinned_kind_of_key_has_changed_its_key(puppet: Puppet, servers: Servers) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    changed = await refusal(
        servers.run(puppet.settings(host_key=other.export_public_key().decode()), ["true"], timeout=5)
    )
    assert changed.code == "ssh_host_key_changed"
    assert other.get_fingerprint() in changed.message
    assert puppet.host.get_fingerprint() in changed.message


async def test_looking_at_a_fingerprint_logs_nobody_in_and_holds_nothing_open(puppet: Puppet, servers: Servers) -> None:
    shown = await servers.fingerprint(puppet.settings(host_key=None))
    assert shown.fingerprint == puppet.host.get_fingerprint()
    assert shown.public == " ".join(puppet.host.export_public_key().decode().split()[:2])
    await asyncio.wait_for(puppet.lost.wait(), 5)
    assert puppet.logins == 0


async def test_a_pinned_key_that_is_no_key_is_named(puppet: Puppet, servers: Servers) -> None:
    wrong = await refusal(servers.run(puppet.settings(host_key="ssh-ed25519 nonsense"), ["true"], timeout=5))
    assert wrong.code == "host_key_unreadable"


# ---------------------------------------------------------------- hosts that cannot be reached


async def test_a_refused_port_names_the_likely_causes(servers: Servers) -> None:
    site = SshSettings(host="127.0.0.1", port=free_port(), user="kogyo", key=__file__, host_key=None)
    refused = await refusal(servers.fingerprint(site))
    assert refused.code == "ssh_unreachable"
    assert "panel" in refused.hint
    assert "10022" in refused.hint
    assert "2222" in refused.hint


async def test_a_host_name_that_does_not_exist_is_unreachable(servers: Servers) -> None:
    site = SshSettings(host="no.such.host.invalid", user="kogyo")
    assert (await refusal(servers.fingerprint(site))).code in {"ssh_unreachable", "ssh_timeout"}


async def test_a_server_that_accepts_and_never_speaks_costs_only_the_connect_time(tmp_path: Path) -> None:
    peers: list[asyncio.StreamWriter] = []

    async def silence(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)

    listener = await asyncio.start_server(silence, "127.0.0.1", 0)
    site = SshSettings(host="127.0.0.1", port=listener.sockets[0].getsockname()[1], user="kogyo")
    async with Servers(connect_timeout=0.2) as servers:
        late = await refusal(servers.fingerprint(site))
    assert late.code == "ssh_timeout"
    assert "SSH did not answer within 0.2 s" in late.message
    for peer in peers:
        peer.close()
    listener.close()


async def test_a_port_that_speaks_something_else_is_not_taken_for_ssh(servers: Servers) -> None:
    async def http(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nX: \x1b[2J\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(http, "127.0.0.1", 0)
    site = SshSettings(host="127.0.0.1", port=listener.sockets[0].getsockname()[1], user="kogyo")
    wrong = await refusal(servers.fingerprint(site))
    assert wrong.code in {"ssh_protocol", "ssh_unreachable"}
    assert "\x1b" not in wrong.message
    assert "port" in wrong.hint
    listener.close()


async def test_a_failed_host_is_not_knocked_at_again_until_its_pause_is_over(tmp_path: Path) -> None:
    puppet = Puppet(tmp_path)
    await puppet.start()
    stranger = tmp_path / "stranger"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(stranger)
    site = puppet.settings(key=str(stranger))
    async with Servers(first_pause=1000, longest_pause=1000) as servers:
        first = await refusal(servers.run(site, ["true"], timeout=5))
        assert first.code == "ssh_auth"
        again = await refusal(servers.run(site, ["true"], timeout=5))
        assert (again.code, again.hint) == (first.code, first.hint)
        assert again.message.startswith(first.message + "; next try in ")
        assert len(puppet.connections) == 1
        assert (await servers.run(puppet.settings(), ["true"], timeout=5)).exit_status == 0
        servers.retry(site)
        assert (await refusal(servers.run(site, ["true"], timeout=5))).message == first.message
        assert len(puppet.connections) == 3
    await puppet.stop()


# ---------------------------------------------------------------- logging in


@needs_sshd
async def test_a_key_that_the_server_refuses_is_named(sshd: RealServer, servers: Servers, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "other")
    refused = await refusal(servers.run(sshd.settings(key=str(tmp_path / "other")), ["true"], timeout=5))
    assert refused.code == "ssh_auth"
    assert str(tmp_path / "other") in refused.message


async def test_a_missing_key_file_is_named(puppet: Puppet, servers: Servers, tmp_path: Path) -> None:
    missing = await refusal(servers.run(puppet.settings(key=str(tmp_path / "nothing")), ["true"], timeout=5))
    assert missing.code == "key_unreadable"
    assert "no such file" in missing.message


@pytest.mark.parametrize(
    "content", [b"", b"garbage\x1b[2J", b"\xff" * 100, b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"]
)
async def test_a_file_that_is_no_private_key_is_named(
    content: bytes, puppet: Puppet, servers: Servers, tmp_path: Path
) -> None:
    (tmp_path / "odd").write_bytes(content)
    odd = await refusal(servers.run(puppet.settings(key=str(tmp_path / "odd")), ["true"], timeout=5))
    assert odd.code == "key_unreadable"
    assert "not a private key" in odd.message


async def test_a_folder_as_key_file_is_named(puppet: Puppet, servers: Servers, tmp_path: Path) -> None:
    assert (
        await refusal(servers.run(puppet.settings(key=str(tmp_path)), ["true"], timeout=5))
    ).code == "key_unreadable"


def locked_key(puppet: Puppet, folder: Path) -> Path:
    path = folder / "locked"
    path.write_bytes(puppet.user.export_private_key("pkcs8-pem", passphrase="right"))
    return path


async def test_a_wrong_passphrase_is_named_and_the_right_one_opens_the_key(
    puppet: Puppet, servers: Servers, tmp_path: Path
) -> None:
    key = str(locked_key(puppet, tmp_path))
    without = await refusal(servers.run(puppet.settings(key=key), ["true"], timeout=5))
    assert (without.code, "protected by a passphrase" in without.message) == ("key_unreadable", True)
    wrong = await refusal(
        servers.run(puppet.settings(key=key, password_command=("echo", "mistaken")), ["true"], timeout=5)
    )
    assert (wrong.code, "does not open it" in wrong.message) == ("key_unreadable", True)
    assert "mistaken" not in wrong.message
    right = puppet.settings(key=key, password_command=("echo", "right"))
    assert (await servers.run(right, ["true"], timeout=5)).exit_status == 0


async def test_a_key_of_ssh_keygen_with_a_passphrase_is_referred_to_the_agent(
    puppet: Puppet, servers: Servers, tmp_path: Path
) -> None:
    key = tmp_path / "made"
    making = await asyncio.create_subprocess_exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "right", "-f", str(key))
    assert await making.wait() == 0
    key.with_suffix(".pub").unlink()
    for command in ((), ("echo", "right")):
        locked = await refusal(
            servers.run(puppet.settings(key=str(key), password_command=command), ["true"], timeout=5)
        )
        assert (locked.code, locked.hint) == ("key_unreadable", f"load it in the SSH agent: ssh-add {key}")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real ssh-agent, empty."""
    path = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    yield path
    process.terminate()
    process.wait()
    process.stdout.close()


async def test_without_a_key_file_the_agents_keys_are_used_and_its_absence_is_named(
    puppet: Puppet, servers: Servers, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = puppet.settings(key=None)
    empty = await refusal(servers.run(site, ["true"], timeout=5))
    assert (empty.code, "does not hold" in empty.message) == ("ssh_auth", True)
    await add_to_agent(puppet.key)
    assert (await servers.run(site, ["true"], timeout=5)).exit_status == 0
    puppet.connections[-1].abort()
    monkeypatch.delenv("SSH_AUTH_SOCK")
    await asyncio.wait_for(puppet.lost.wait(), 5)
    assert "no SSH agent runs" in (await refusal(servers.run(site, ["true"], timeout=5))).message


async def add_to_agent(key: Path) -> None:
    adding = await asyncio.create_subprocess_exec("ssh-add", "-q", str(key), stderr=asyncio.subprocess.DEVNULL)
    assert await adding.wait() == 0


async def test_a_key_file_with_a_passphrase_is_used_through_the_agent_that_holds_it(
    puppet: Puppet, servers: Servers, agent: str, tmp_path: Path
) -> None:
    locked = locked_key(puppet, tmp_path)
    puppet.user.write_public_key(tmp_path / "locked.pub")
    await add_to_agent(puppet.key)
    assert (await servers.run(puppet.settings(key=str(locked)), ["true"], timeout=5)).exit_status == 0


async def test_a_password_comes_from_the_first_line_of_its_command(puppet: Puppet, servers: Servers) -> None:
    puppet.passwords = {"s3cret word"}
    site = puppet.settings(key=None, password_command=("printf", "s3cret word\nuser: kogyo\n"))
    assert (await servers.run(site, ["true"], timeout=5)).exit_status == 0
    wrong = await refusal(servers.run(puppet.settings(key=None, password_command=("echo", "bad")), ["true"], timeout=5))
    assert (wrong.code, "refused the password" in wrong.message) == ("ssh_auth", True)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("/no/such/program",), "No such file"),
        (("false",), "status 1"),
        (("true",), "printed nothing"),
        (("printf", "\nsecond"), "printed nothing"),
    ],
)
async def test_a_password_command_that_fails_is_named_without_what_it_printed(
    command: tuple[str, ...], says: str, puppet: Puppet, servers: Servers
) -> None:
    failed = await refusal(servers.run(puppet.settings(key=None, password_command=command), ["true"], timeout=5))
    assert failed.code == "password_command_failed"
    assert says in failed.message
    assert puppet.connections == []


# ---------------------------------------------------------------- jump hosts


@needs_sshd
async def test_a_server_behind_a_jump_host_is_reached_and_both_keys_are_pinned(
    sshd: RealServer, second_sshd: RealServer, servers: Servers, tmp_path: Path
) -> None:
    both = tmp_path / "both"
    shutil.copy(sshd.key, both)
    (second_sshd.key.parent / "authorized_keys").write_bytes(asyncssh.read_private_key(both).export_public_key())
    jump = {"jump": f"root@127.0.0.1:{second_sshd.port}", "key": str(both)}
    unpinned = await refusal(servers.run(sshd.settings(**jump), ["true"], timeout=5))
    assert (unpinned.code, unpinned.cause) == ("jump_failed", "ssh_host_key_unknown")
    assert unpinned.shown is not None
    site = sshd.settings(**jump, jump_host_key=unpinned.shown.public)
    assert (await servers.run(site, ["echo", "through"], timeout=10)).stdout == b"through\n"
    changed = sshd.settings(**jump, jump_host_key=unpinned.shown.public, host_key=second_sshd.host_key)
    assert (await refusal(servers.run(changed, ["true"], timeout=5))).code == "ssh_host_key_changed"
    assert (await servers.fingerprint(site)).public == sshd.host_key
    beyond = sshd.settings(**jump, jump_host_key=unpinned.shown.public, port=free_port())
    assert "jump host cannot reach it" in (await refusal(servers.run(beyond, ["true"], timeout=5))).message


async def test_a_jump_host_is_left_when_nothing_goes_through_it_any_more(puppet: Puppet, tmp_path: Path) -> None:
    gate = Puppet(tmp_path)
    gate.user = puppet.user
    await gate.start()
    gate_key = gate.host.export_public_key().decode().strip()
    gate.key.write_bytes(puppet.user.export_private_key())
    async with Servers(idle=0.01) as servers:
        site = puppet.settings(jump=f"127.0.0.1:{gate.port}", jump_host_key=gate_key)
        assert (await servers.run(site, ["cat"], b"through", timeout=5)).stdout == b"through"
        await asyncio.wait_for(puppet.lost.wait(), 5)
        await asyncio.wait_for(gate.lost.wait(), 5)
    await gate.stop()


# ---------------------------------------------------------------- connections that break


async def test_a_connection_that_died_is_replaced_without_a_word(puppet: Puppet, servers: Servers) -> None:
    await servers.run(puppet.settings(), ["true"], timeout=5)
    puppet.connections[0].abort()
    assert (await servers.run(puppet.settings(), ["cat"], b"again", timeout=5)).stdout == b"again"
    assert len(puppet.connections) == 2


async def test_a_connection_that_went_silent_is_replaced_when_the_next_command_starts(puppet: Puppet) -> None:
    async with Wire(puppet.port) as wire, Servers(channel_timeout=0.3) as servers:
        site = puppet.settings(port=wire.port)
        await servers.run(site, ["true"], timeout=5)
        wire.freeze()
        assert (await servers.run(site, ["cat"], b"again", timeout=5)).stdout == b"again"
        assert wire.accepted == 2


async def test_a_silent_connection_ends_by_keep_alive_even_while_a_command_runs(puppet: Puppet) -> None:
    puppet.handler = never_answer
    async with Wire(puppet.port) as wire, Servers(keepalive=0.05) as servers:
        running = asyncio.create_task(servers.run(puppet.settings(port=wire.port), ["php"], timeout=60))
        await puppet.until(lambda: puppet.running)
        wire.freeze()
        assert (await refusal(running)).code == "ssh_lost"


async def test_a_cut_command_is_reported_and_never_run_twice(puppet: Puppet, servers: Servers) -> None:
    async def read_then_cut(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await process.stdin.read()
        process.channel.get_connection().abort()

    puppet.handler = read_then_cut
    cut = await refusal(servers.run(puppet.settings(), ["restore"], b"{}", timeout=5))
    assert cut.code == "ssh_lost"
    assert puppet.commands == 1


async def test_a_stream_that_is_cut_never_looks_like_one_that_ended(puppet: Puppet, servers: Servers) -> None:
    async def two_lines_then_cut(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(b"one\ntwo\nthr")
        await process.stdin.read()
        process.channel.get_connection().abort()

    puppet.handler = two_lines_then_cut
    lines: list[bytes] = []

    async def follow() -> None:
        async with servers.stream(puppet.settings(), ["follow"]) as stream:
            async for line in stream:
                lines.append(line)  # noqa: PERF401  what came before the cut counts

    assert (await refusal(follow())).code == "ssh_lost"
    assert lines == [b"one", b"two"]


async def test_a_stream_whose_server_ends_it_without_a_status_was_cut(puppet: Puppet, servers: Servers) -> None:
    async def no_status(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(b"one\n")
        process.close()

    puppet.handler = no_status

    async def follow() -> None:
        async with servers.stream(puppet.settings(), ["follow"]) as stream:
            assert [line async for line in stream]

    assert (await refusal(follow())).code == "ssh_lost"


async def test_bytes_held_back_when_the_server_says_goodbye_are_missed_not_forgotten(
    puppet: Puppet, servers: Servers
) -> None:
    async def dump_or_answer(process: asyncssh.SSHServerProcess[bytes]) -> None:
        if process.command == "dump":
            process.stdout.write(b"x" * 1_900_000)
            process.exit(0)
        else:
            await answer_with_the_stdin(process)

    puppet.handler = dump_or_answer
    async with servers.stream(puppet.settings(), ["dump"]) as stream:
        # Its answer comes behind the dump and its status, on the same connection.
        await servers.run(puppet.settings(), ["true"], timeout=5)
        assert stream.exit_status == 0
        puppet.connections[0].close()
        await puppet.connections[0].wait_closed()
        # It runs on a new connection: the end of the old one has been noticed.
        await servers.run(puppet.settings(), ["true"], timeout=5)
        assert len(puppet.connections) == 2
        assert (await refusal(collect(stream))).code == "ssh_lost"


async def test_closing_the_pool_ends_what_runs_and_refuses_what_comes(puppet: Puppet) -> None:
    puppet.handler = never_answer
    servers = Servers()
    running = asyncio.create_task(servers.run(puppet.settings(), ["php"], timeout=60))
    await puppet.until(lambda: puppet.running)
    await servers.close()
    assert (await refusal(running)).code == "ssh_lost"
    assert (await refusal(servers.run(puppet.settings(), ["php"], timeout=60))).code == "ssh_closed"
    await servers.close()


async def test_closing_the_pool_while_it_connects_tells_who_waits(puppet: Puppet) -> None:
    servers = Servers()
    waiting = asyncio.create_task(servers.run(puppet.settings(), ["php"], timeout=60))
    await puppet.until(lambda: puppet.connections)
    await servers.close()
    assert (await refusal(waiting)).code == "ssh_closed"


# ---------------------------------------------------------------- streams


@needs_sshd
async def test_a_stream_gives_its_lines_its_status_and_the_end_of_stderr(sshd: RealServer, servers: Servers) -> None:
    script = b"echo a; echo; printf 'last'; head -c 100000 /dev/zero | tr '\\0' e >&2; echo END >&2; exit 4"
    async with servers.stream(sshd.settings(), ["sh"], script) as stream:
        assert [line async for line in stream] == [b"a", b"", b"last"]
        assert stream.exit_status == 4
        assert stream.stderr_tail().endswith(b"eEND\n")
        assert len(stream.stderr_tail()) <= 16 * 1024


@needs_sshd
async def test_two_hundred_megabytes_of_lines_pass_in_bounded_memory(sshd: RealServer, servers: Servers) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    size = count = most = 0
    before = resident()
    script = b"yes " + b"x" * 999 + b" | head -c 209715200"
    async with servers.stream(sshd.settings(), ["sh"], script) as stream:
        async for line in stream:
            size += len(line) + 1
            count += 1
            if count % 5000 == 0:
                most = max(most, resident())
        assert stream.exit_status == 0
    assert abs(size - 209715200) <= 1
    assert most - before < 48 * 1024 * 1024


@needs_sshd
async def test_a_reader_that_stops_holds_the_server_back(sshd: RealServer, servers: Servers) -> None:
    async with servers.stream(sshd.settings(), ["sh"], b"head -c 100000000 /dev/zero") as stream:
        first = await stream.read()
        assert first
        # Other commands pass on the same connection meanwhile.
        for _ in range(20):
            await servers.run(sshd.settings(), ["true"], timeout=5)
        assert stream._session.waiting < 4 * 1024 * 1024
        size = len(first)
        while data := await stream.read():
            size += len(data)
        assert size == 100_000_000


@needs_sshd
async def test_a_reader_that_is_slow_all_the_time_is_sent_no_more_than_it_reads(
    sshd: RealServer, servers: Servers
) -> None:
    size = most = 0
    async with servers.stream(sshd.settings(), ["sh"], b"head -c 60000000 /dev/zero") as stream:
        channel: Any = stream._session._channel
        async for block in stream.exactly(60_000_000):
            size += len(block)
            most = max(most, stream._session.waiting + sum(len(data) for data, _ in channel._recv_buf))
            await asyncio.sleep(0.005)
    assert size == 60_000_000
    assert most <= 5 * 1024 * 1024


@needs_sshd
async def test_counted_bytes_stand_between_lines(sshd: RealServer, servers: Servers) -> None:
    script = b"echo first; head -c 3000000 /dev/zero; echo; echo last; printf rest"
    async with servers.stream(sshd.settings(), ["sh"], script) as stream:
        lines = aiter(stream)
        assert await anext(lines) == b"first"
        assert b"".join([bytes(block) async for block in stream.exactly(3_000_000)]) == bytes(3_000_000)
        assert [line async for line in lines] == [b"", b"last", b"rest"]
        assert [block async for block in stream.exactly(1)] == []


@needs_sshd
async def test_what_is_written_while_a_command_runs_waits_for_it(sshd: RealServer, servers: Servers) -> None:
    block, most = bytes(1_000_000), 0
    async with servers.stream(sshd.settings(), ["wc", "-c"], ends=False, quiet=20) as stream:
        for _ in range(60):
            await stream.write(block)
            channel: Any = stream._session._channel
            most = max(most, channel.get_write_buffer_size())
        await stream.write(b"end", ends=True)
        assert [line.strip() async for line in stream] == [b"60000003"]
    assert most <= 4 * 1024 * 1024
    async with servers.stream(sshd.settings(), ["sleep", "30"], ends=False, quiet=0.5) as stream:
        with pytest.raises(Refused) as refused:
            await write_all(stream, [block] * 60)
        assert refused.value.code == "ssh_timeout"
    async with servers.stream(sshd.settings(), ["true"], ends=False, quiet=20) as stream:
        assert [line async for line in stream] == []
        await stream.write(block, ends=True)
        assert stream.exit_status == 0


async def write_all(stream: Stream, blocks: list[bytes]) -> None:
    for block in blocks:
        await stream.write(block)


async def collect(stream: Stream) -> list[bytes]:
    return [line async for line in stream]


async def test_a_line_without_end_is_refused(puppet: Puppet, servers: Servers) -> None:
    async with servers.stream(puppet.settings(), ["cat"], b"x" * 300_000, line_most=100_000) as stream:
        assert (await refusal(collect(stream))).code == "answer_too_long"


async def test_a_stream_that_falls_silent_is_given_up_after_its_time(puppet: Puppet, servers: Servers) -> None:
    puppet.handler = never_answer
    async with servers.stream(puppet.settings(), ["follow"], quiet=0.1) as stream:
        assert (await refusal(collect(stream))).code == "ssh_timeout"


async def test_leaving_a_stream_early_ends_it_and_keeps_the_connection(puppet: Puppet, servers: Servers) -> None:
    async def chatter(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(b"line\n")
        await never_answer(process)

    puppet.handler = chatter
    async with servers.stream(puppet.settings(), ["follow"]) as stream:
        async for _ in stream:
            break
    await puppet.until(lambda: not puppet.running)
    puppet.handler = answer_with_the_stdin
    await servers.run(puppet.settings(), ["true"], timeout=5)
    assert len(puppet.connections) == 1


# ---------------------------------------------------------------- the loop and the start


async def test_the_loop_is_never_held_up_by_connecting_or_running(puppet: Puppet, servers: Servers) -> None:
    worst = 0.0
    done = asyncio.Event()

    async def probe() -> None:
        nonlocal worst
        while not done.is_set():
            before = time.thread_time()  # what the loop itself works, however busy the machine is
            await asyncio.sleep(0.001)
            worst = max(worst, time.thread_time() - before)

    probing = asyncio.create_task(probe())
    await asyncio.gather(*(servers.run(puppet.settings(), ["cat"], b"x", timeout=20) for _ in range(50)))
    done.set()
    await probing
    assert worst < 0.5


def test_the_module_loads_without_asyncssh() -> None:
    code = "import sys, backends.ssh; sys.exit('asyncssh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
