"""What the dashboard asks of the program, and nothing else. Tests give it a desk of their own."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from app.operations.intent import Intent
from backends.records import AnyEvent, HostPage, Operation, Site, SiteStatus


class Desk(Protocol):
    """The calls raise ModoseruError with a sentence for the operator. Closing a generator only detaches."""

    @property
    def name(self) -> str: ...
    @property
    def zone(self) -> dt.tzinfo: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def sites(self) -> tuple[Site, ...]: ...

    def host(self, site: Site) -> HostPage | None:
        """The page of `hosts.d` for the site's host."""

    async def last_known(self) -> list[SiteStatus]:
        """From the journal, at once, without a connection."""

    async def warm(self) -> None:
        """Load what connects (FACTS 10: asyncssh costs a quarter of a second). Called after the first frame."""

    def check(self, sites: Sequence[Site]) -> AsyncGenerator[SiteStatus]:
        """Look now; yields each site as it becomes known."""

    async def plan_backup(self, site: Site) -> Intent: ...
    async def plan_restore(self, site: Site, generation: str | None) -> Intent: ...
    async def plan_undo(self, site: Site) -> Intent: ...
    async def plan_update(self, site: Site, slugs: tuple[str, ...] | None) -> Intent: ...

    def start(self, intent: Intent, *, confirmed: bool) -> AsyncGenerator[AnyEvent]:
        """The guard's door, the only one."""

    def follow(self, site: Site, operation: str) -> AsyncGenerator[AnyEvent]: ...
    async def cancel(self, site: Site, operation: str) -> bool: ...

    async def operations(self, site: str | None = None, *, running: bool = False) -> list[Operation]:
        """What the journal knows, the newest first."""

    async def events(self, operation: str) -> list[AnyEvent]: ...
