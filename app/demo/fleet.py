"""The embedded fleet that `modoseru demo` opens: a configuration, and behind it real SSH, TLS, HTTP, RDAP and WHOIS.

Needs no root, no PHP and no network beyond loopback; everything lies in one temporary folder that goes at the end. What
`embedded` does before it yields is what stands before the first painted frame: it writes files and opens ports; the
servers come up behind it, and connections that come too early wait in the ports' queues. What only they need
is imported behind it too.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import functools
import importlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from app.demo import configuration, domain, feed, known
from app.demo.cast import cast
from app.demo.folder import TemporaryFolder, sweep
from app.demo.runtime import Runtime, utc_now
from app.demo.site import DemoSite

if TYPE_CHECKING:
    from app.demo.sshd import Account
    from app.demo.twin import Twin

DEFAULT_SITES = 24
MOST_SITES = 1000


class Demo:
    """An open demo. `config` is what `--config` would name; `journal_seed` what its journal starts with."""

    def __init__(
        self, folder: Path, sites: Mapping[str, DemoSite], runtime: Runtime, seed: tuple[known.Remembered, ...]
    ) -> None:
        self.folder, self.config = folder, folder / "config"
        self.sites, self.runtime, self.journal_seed = sites, runtime, seed
        self.ready = asyncio.Event()
        """Set when every server answers."""
        self._servers: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._starting: asyncio.Task[None] | None = None

    @functools.cached_property
    def twin(self) -> Twin:
        """Every account's server at once."""
        from app.demo.twin import Twin

        return Twin(self.runtime)

    def started_by(self, servers: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._servers = servers

    def start(self) -> None:
        """Lets the servers come up, unless they do so already."""
        if self._starting is None and self._servers is not None:
            self._starting = asyncio.create_task(self._servers(), name="demo servers")
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())  # `up` tells it

    async def up(self) -> None:
        """Waits until the servers answer; raises what kept them from it."""
        self.start()
        if self._starting is not None:
            await asyncio.shield(self._starting)

    async def stop_starting(self) -> None:
        """Ends what `start` began, where it has not ended."""
        self._servers = None
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)


class _Ports:
    """The demo's sockets, open from the first moment: their numbers stand in the configuration."""

    def __init__(self) -> None:
        self.ssh, self.https, self.rdap, self.whois = (self._open() for _ in range(4))
        # Bound and not listening: refused for as long as the demo lives, and nobody else's.
        self.closed = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.closed.bind(("127.0.0.1", 0))

    @staticmethod
    def _open() -> socket.socket:
        sock = socket.create_server(("127.0.0.1", 0), backlog=256)
        sock.setblocking(False)
        return sock

    def close(self) -> None:
        for sock in (self.ssh, self.https, self.rdap, self.whois, self.closed):
            sock.close()


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


@asynccontextmanager
async def embedded(
    sites: int = DEFAULT_SITES,
    *,
    language: str = "ja",
    speed: float = 1.0,
    clock: Callable[[], dt.datetime] = utc_now,
    parent: Path | None = None,
    start: bool = True,
) -> AsyncIterator[Demo]:
    """Opens a fleet of `sites` sites; `speed` above 1 hurries its operations, `INSTANT` lets them not pause at all.

    `parent` is where the temporary folder is made. Without `start` the servers wait for `Demo.start`: what they import
    would cost the first frame 0.1 s, for threads share one interpreter. On SIGTERM and SIGHUP the task that entered is
    cancelled, the folder is removed as at any other end, and the signal then takes its course.
    """
    if not 1 <= sites <= MOST_SITES:
        raise ValueError(f"a demo has 1 to {MOST_SITES} sites")
    runtime = Runtime(speed, clock)
    with _ended_by_signals():
        temporary = TemporaryFolder(parent)
        ports = _Ports()
        try:
            async with _opened(sites, language, runtime, temporary.path, ports) as demo:
                if start:
                    demo.start()
                yield demo
        finally:
            ports.close()
            await asyncio.to_thread(_clean_up, runtime, temporary)


def _clean_up(runtime: Runtime, temporary: TemporaryFolder) -> None:
    runtime.close()
    temporary.remove()


@asynccontextmanager
async def _opened(count: int, language: str, runtime: Runtime, folder: Path, ports: _Ports) -> AsyncIterator[Demo]:
    birth = runtime.now()
    characters = cast(count)
    host_key, client_key = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    wiring = configuration.Wiring(
        ssh_port=port_of(ports.ssh),
        https_port=port_of(ports.https),
        closed_port=port_of(ports.closed),
        whois_port=port_of(ports.whois),
        key_file=folder / "id_ed25519",
        host_key=_public(host_key),
        ca_file=folder / "ca.pem",
        bootstrap_file=folder / "rdap.json",
        feed_file=folder / "holes.json",
    )
    configuration.write(folder / "config", characters, wiring, language)
    wiring.key_file.touch(mode=0o600)
    wiring.key_file.write_bytes(_private(client_key))
    feed.write(wiring.feed_file, birth)
    wiring.bootstrap_file.write_bytes(domain.bootstrap(port_of(ports.rdap), birth))
    sites = {
        character.name: DemoSite(character, folder / "home" / character.user, birth, language)
        for character in characters
    }
    demo = Demo(folder, sites, runtime, tuple(known.seed(characters, birth, language)))
    servers = contextlib.AsyncExitStack()
    demo.started_by(lambda: _start(demo, servers, ports, host_key, client_key))
    try:
        yield demo
    finally:
        await demo.stop_starting()
        await servers.aclose()
        if "twin" in demo.__dict__:
            await demo.twin.close()


async def _start(
    demo: Demo,
    servers: contextlib.AsyncExitStack,
    ports: _Ports,
    host_key: ed25519.Ed25519PrivateKey,
    client_key: ed25519.Ed25519PrivateKey,
) -> None:
    """Brings the servers up. What is slow to import is imported in a thread, while the screen is already painted."""
    run, sites = demo.runtime.run, tuple(demo.sites.values())
    names = ("authority", "web", "registry", "sshd")
    authority, web, registry, sshd = [await run(importlib.import_module, f"app.demo.{name}") for name in names]
    certificates, birth = demo.folder / "certificates", sites[0].birth
    certificates.mkdir()
    signer = await run(authority.Authority, certificates, birth, demo.folder / "ca.pem")
    by_host = {name: site for site in sites for name in (site.character.host, site.character.domain)}
    pages = web.SiteServer(by_host, signer, run)
    servers.push_async_callback(pages.close)
    await pages.start(ports.https, await run(pages.context))
    owners = {site.character.domain: site.character for site in sites}
    for server, sock in ((registry.Rdap(owners, birth), ports.rdap), (registry.Whois(owners, birth), ports.whois)):
        servers.push_async_callback(server.close)
        await server.start(sock)
    shell = await run(
        sshd.Sshd, _accounts(sshd.Account, sites), demo.twin, _private(host_key), _public(client_key).encode()
    )
    servers.push_async_callback(shell.close)
    await shell.start(ports.ssh)
    demo.ready.set()
    await run(sweep, demo.folder.parent)


def _accounts(account: type[Account], sites: Sequence[DemoSite]) -> dict[str, Account]:
    grouped: dict[str, list[DemoSite]] = {}
    for site in sites:
        grouped.setdefault(site.character.user, []).append(site)
    return {
        user: account(user, held[0].home, tuple(held), all(site.character.ssh for site in held))
        for user, held in grouped.items()
    }


# By hand: cryptography's serialization imports every cipher that a key file can have, 6 ms before the first frame.


def _private(key: ed25519.Ed25519PrivateKey) -> bytes:
    """As PKCS 8 has it (RFC 8410, 7)."""
    der = bytes.fromhex("302e020100300506032b657004220420") + key.private_bytes_raw()
    return b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(der) + b"\n-----END PRIVATE KEY-----\n"


def _public(key: ed25519.Ed25519PrivateKey) -> str:
    """`ssh-ed25519 AAAA…`, as a site's file pins it (RFC 8709, 4)."""
    parts = (b"ssh-ed25519", key.public_key().public_bytes_raw())
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Signals that would end the process at once cancel the calling task; when all is put away they take their course.

    A second signal ends the process at once: its folder is swept by the next demo.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    main = threading.current_thread() is threading.main_thread()
    signals = (signal.SIGTERM, signal.SIGHUP)
    ours = [number for number in signals if main and signal.getsignal(number) is signal.SIG_DFL]
    caught: list[int] = []

    def end(number: int) -> None:
        caught.append(number)
        loop.remove_signal_handler(number)
        if not task.cancel():  # it has ended and nobody would unwind
            os.kill(os.getpid(), number)

    for number in ours:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    finally:
        for number in ours:
            loop.remove_signal_handler(number)
        if caught:
            os.kill(os.getpid(), caught[0])
