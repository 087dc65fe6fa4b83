"""The embedded fleet that `modoseru demo` opens: a configuration, and behind it real SSH, TLS, HTTP, RDAP and WHOIS.

Needs no root, no PHP and no network beyond loopback; everything lies in one temporary folder that goes at the end. What
`embedded` does before it yields is what stands before the first painted frame: it writes files and opens ports; the
servers come up behind it, and connections that come too early wait in the ports' queues.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import importlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from app.demo import configuration, domain, known
from app.demo.cast import cast
from app.demo.folder import TemporaryFolder, sweep
from app.demo.runtime import Runtime, utc_now
from app.demo.site import DemoSite
from app.demo.twin import Twin

if TYPE_CHECKING:
    from app.demo.sshd import Account

DEFAULT_SITES = 24
MOST_SITES = 1000


class Demo:
    """An open demo. `config` is what `--config` would name; `journal_seed` what its journal starts with."""

    def __init__(
        self, folder: Path, sites: Mapping[str, DemoSite], twin: Twin, seed: tuple[known.Remembered, ...]
    ) -> None:
        self.folder, self.config = folder, folder / "config"
        self.sites, self.twin, self.journal_seed = sites, twin, seed
        self.ready = asyncio.Event()
        """Set when every server answers."""
        self.starting: asyncio.Task[None] | None = None

    async def up(self) -> None:
        """Waits until the servers answer; raises what kept them from it."""
        if self.starting is not None:
            await asyncio.shield(self.starting)


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
) -> AsyncIterator[Demo]:
    """Opens a fleet of `sites` sites; `speed` above 1 hurries its operations, `INSTANT` lets them not pause at all.

    `parent` is where the temporary folder is made. On SIGTERM and SIGHUP the task that entered is cancelled, the folder
    is removed as at any other end, and the signal then takes its course.
    """
    if not 1 <= sites <= MOST_SITES:
        raise ValueError(f"a demo has 1 to {MOST_SITES} sites")
    runtime = Runtime(speed, clock)
    with _ended_by_signals():
        temporary = TemporaryFolder(parent)
        ports = _Ports()
        try:
            async with _opened(sites, language, runtime, temporary.path, ports) as demo:
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
    )
    configuration.write(folder / "config", characters, wiring, language)
    wiring.key_file.touch(mode=0o600)
    wiring.key_file.write_bytes(_private(client_key))
    wiring.bootstrap_file.write_bytes(domain.bootstrap(port_of(ports.rdap), birth))
    sites = {
        character.name: DemoSite(character, folder / "home" / character.user, birth, language)
        for character in characters
    }
    demo = Demo(folder, sites, Twin(runtime), tuple(known.seed(characters, birth, language)))
    servers = contextlib.AsyncExitStack()
    starting = asyncio.create_task(_start(demo, servers, ports, host_key, client_key), name="demo servers")
    starting.add_done_callback(lambda task: task.cancelled() or task.exception())  # told by `up`, never to the log
    demo.starting = starting
    try:
        yield demo
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await servers.aclose()
        await demo.twin.close()


async def _start(
    demo: Demo,
    servers: contextlib.AsyncExitStack,
    ports: _Ports,
    host_key: ed25519.Ed25519PrivateKey,
    client_key: ed25519.Ed25519PrivateKey,
) -> None:
    """Brings the servers up. What is slow to import is imported in a thread, while the screen is already painted."""
    run, sites = demo.twin.runtime.run, tuple(demo.sites.values())
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


def _private(key: ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def _public(key: ed25519.Ed25519PrivateKey) -> str:
    """`ssh-ed25519 AAAA…`, as a site's file pins it."""
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


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
