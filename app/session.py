"""What one process holds open: the fleet, the journal, the connections. Opened once, handed to every operation."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import getpass
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from app import fleet as fleets
from app import lifecycle
from app.fleet import Fleet
from backends.journal import Journal
from backends.records import IgnoredFiles, Site

if TYPE_CHECKING:
    from app.lifecycle import Lifecycle
    from backends.agent.client import Agent, Agents
    from backends.checksums import Publisher
    from backends.domains import Registries
    from backends.endoflife import EndOfLife
    from backends.holes import Holes
    from backends.plugin_directory import PluginDirectory
    from backends.ssh import Servers
    from backends.web import Web


class Session:
    """Connections are made when they are first needed, and what makes them is imported then: the dashboard paints its
    first frame from the journal alone (FACTS 9)."""

    def __init__(self, fleet: Fleet, journal: Journal, *, state: Path, read_only: bool) -> None:
        """`state`: the folder in which the journal lies, and what this machine keeps beside it."""
        self.fleet = fleet
        self.journal = journal
        self.state = state
        self.cancels: dict[str, asyncio.Event] = {}
        """What this process carries out itself, by operation; set, it stops."""
        self.read_only = read_only or fleet.settings.fleet.read_only
        self.who = f"{_user()}@{socket.gethostname()}"

    @functools.cached_property
    def servers(self) -> Servers:
        from backends.ssh import Servers

        return Servers()

    @functools.cached_property
    def _agents(self) -> Agents:
        from backends.agent.client import Agents

        return Agents(self.servers)

    @functools.cached_property
    def web(self) -> Web:
        from backends.web import Web

        return Web()

    @functools.cached_property
    def registries(self) -> Registries:
        from backends.domains import Registries

        return Registries(self.fleet.settings.domains, cache=self.journal.cache)

    @functools.cached_property
    def publisher(self) -> Publisher:
        from backends.checksums import Publisher

        return Publisher(self.fleet.settings.wordpress, cache=self.journal.cache)

    @functools.cached_property
    def directory(self) -> PluginDirectory:
        from backends.plugin_directory import PluginDirectory

        return PluginDirectory(self.fleet.settings.wordpress, cache=self.journal.cache)

    @functools.cached_property
    def holes(self) -> Holes | None:
        """None: no feed of known holes is named."""
        told = self.fleet.settings.updates
        if told.feed is None:
            return None
        from backends.holes import Holes

        return Holes(told.feed, self.state, cache=self.journal.cache, ca_file=told.ca_file)

    @functools.cached_property
    def endoflife(self) -> EndOfLife:
        from backends.endoflife import EndOfLife

        return EndOfLife(self.fleet.settings.lifecycle, lifecycle.ENDS, cache=self.journal.cache)

    async def lifecycle(self) -> Lifecycle:
        """What is known now, without asking anybody."""
        return lifecycle.newest(await self.endoflife.known())

    def ignored(self, site: Site) -> tuple[IgnoredFiles, ...]:
        """What of a site's plugins was changed on purpose: the site's own rules come first."""
        return (*site.checksums.ignore, *self.fleet.settings.checksums.ignore)

    def agent(self, site: Site) -> Agent:
        return self._agents.of(site)

    async def close(self) -> None:
        if "servers" in self.__dict__:
            await self.servers.close()


@contextlib.asynccontextmanager
async def opened(
    folder: Path, *, read_only: bool = False, journal: Path | None = None, fleet: Fleet | None = None
) -> AsyncIterator[Session]:
    """Reads the configuration in `folder` (unless `fleet` was read already), opens the journal, closes both at the end.

    Raises BadConfig with all that is wrong, and JournalBroken.
    """
    if fleet is None:
        fleet = await asyncio.to_thread(fleets.load, folder)
    path = journal or journal_path(folder)
    book = await Journal.open(path)
    session = Session(fleet, book, state=path.parent, read_only=read_only)
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
