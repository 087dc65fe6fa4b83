"""What one process holds open: the fleet, the journal, the connections. Opened once, handed to every operation."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import platformdirs

from app import fleet as fleets
from app.fleet import Fleet
from backends.agent.client import Agent, Agents
from backends.domains import Registries
from backends.journal import Journal
from backends.records import Site
from backends.ssh import Servers
from backends.web import Web


class Session:
    """Opens no connection by itself; `close` ends those that were."""

    def __init__(self, fleet: Fleet, journal: Journal, *, read_only: bool) -> None:
        self.fleet = fleet
        self.journal = journal
        self.read_only = read_only or fleet.settings.fleet.read_only
        self.who = f"{_user()}@{socket.gethostname()}"
        self.servers = Servers()
        self.web = Web()
        self.registries = Registries(fleet.settings.domains, cache=journal.cache)
        self._agents = Agents(self.servers)

    def agent(self, site: Site) -> Agent:
        return self._agents.of(site)

    async def close(self) -> None:
        await self.servers.close()


@contextlib.asynccontextmanager
async def opened(
    folder: Path, *, read_only: bool = False, journal: Path | None = None, fleet: Fleet | None = None
) -> AsyncIterator[Session]:
    """Reads the configuration in `folder` (unless `fleet` was read already), opens the journal, closes both at the end.

    Raises BadConfig with all that is wrong, and JournalBroken.
    """
    fleet = fleet or fleets.load(folder)
    book = await Journal.open(journal or journal_path(folder))
    session = Session(fleet, book, read_only=read_only)
    try:
        yield session
    finally:
        await session.close()
        await book.close()


def journal_path(folder: Path) -> Path:
    """One journal a configuration: `MODOSERU_STATE`, or the platform's place for a user's state.

    A folder named by `--config` has a journal of its own, so that two fleets never mix.
    """
    base = Path(os.environ.get("MODOSERU_STATE") or platformdirs.user_state_dir("modoseru"))
    if folder.resolve() == Path(platformdirs.user_config_dir("modoseru")).resolve():
        return base / "journal.db"
    return base / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}" / "journal.db"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such entry for this user id
        return str(os.getuid())
