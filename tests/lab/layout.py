"""Where everything of one lab lies, and what it must remember between two starts. Starts nothing."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

DEFAULT_ROOT = Path("/tmp/modoseru-lab")
DEFAULT_CACHE = Path("/var/cache/modoseru-lab")


class LabError(Exception):
    """The lab cannot do what was asked; the message says why in one line."""


class Layout:
    """The folders of the lab at `root`. Its path goes into shell-free commands and socket names, so it is bounded."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        # A UNIX socket's name ends at 107 bytes; the longest here is run/fpm-<site>.sock.
        if not re.fullmatch(r"/[A-Za-z0-9_./=-]{1,60}", str(self.root)):
            raise LabError(f"{self.root}: the lab's folder must match [A-Za-z0-9_./=-] and be at most 60 characters")
        self.homes = self.root / "home"
        self.keys = self.root / "keys"
        self.tls = self.root / "tls"
        self.run = self.root / "run"
        self.log = self.root / "log"
        self.etc = self.root / "etc"
        self.host = self.root / "host"
        self.pristine = self.root / "pristine"
        self.datadir = self.root / "db"
        self.web = self.root / "web"
        self.wporg = self.root / "wporg"
        self.config = self.root / "config"
        self.state_file = self.root / "state.json"
        # Outside the folder: whoever removes that by hand must not lose sight of the servers.
        self.ledger = Path(f"/run/modoseru-lab{self.suffix}.json")

    @property
    def suffix(self) -> str:
        """Tells the accounts of labs in other folders apart, so that several may run at once."""
        if self.root == DEFAULT_ROOT:
            return ""
        return "-" + hashlib.sha256(str(self.root).encode()).hexdigest()[:6]

    def make(self) -> None:
        private = {self.keys}
        for folder in (
            self.root, self.homes, self.keys, self.tls, self.run, self.log, self.etc, self.host, self.pristine,
            self.web, self.wporg, self.config,
        ):  # fmt: skip
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700 if folder in private else 0o755)
        for parent in self.root.parents:
            if not parent.stat().st_mode & 0o001:
                raise LabError(f"{parent}: the lab's accounts cannot pass through it (mode has no x for others)")

    @contextlib.contextmanager
    def locked(self, name: str, seconds: float) -> Iterator[None]:
        """Holds a lock of this lab: two starts, or two test runs, must not share one."""
        path = Path(f"/run/lock/modoseru-lab{self.suffix}.{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

        def take() -> bool:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        try:
            wait_until(
                take, seconds, f"{path} (another process uses {self.root}; choose another folder with MODOSERU_LAB_DIR)"
            )
            yield
        finally:
            os.close(descriptor)


class State(msgspec.Struct):
    """What a warm start needs: chosen ports and secrets, numeric ids of accounts, and what the data was built from."""

    built: str = ""
    ports: dict[str, int] = {}
    passwords: dict[str, str] = {}
    uids: dict[str, int] = {}


def load_state(layout: Layout) -> State:
    try:
        return msgspec.json.decode(layout.state_file.read_bytes(), type=State)
    except (FileNotFoundError, msgspec.DecodeError):
        return State()


def save_state(layout: Layout, state: State) -> None:
    write_atomically(layout.state_file, msgspec.json.encode(state), 0o600)


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fresh.chmod(mode)
    fresh.replace(path)


def choose_port(wanted: int | None, taken: set[int]) -> int:
    """`wanted` where it is free, else a free one. Below the ephemeral range, whose ports outgoing connections take."""
    start = 20000 + os.getpid() * 7 % 9000
    for port in ([wanted] if wanted else []) + [20000 + (start + step) % 12000 for step in range(12000)]:
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise LabError("no free port on 127.0.0.1")


def wait_until(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Polls `done` until it is true; LabError naming `what` at the deadline."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while not done():
        if time.monotonic() > deadline:
            raise LabError(f"not ready after {seconds:g} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
