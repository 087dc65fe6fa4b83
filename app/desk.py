"""What the dashboard asks of the program, and nothing else. Tests give it a desk of their own."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import importlib
import zoneinfo
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from app.operations.intent import Intent
from backends.records import AnyEvent, Credentials, Difference, HostPage, Operation, Progress, Site, SiteStatus

if TYPE_CHECKING:
    from app.operations.deciding import Decided, Item
    from app.operations.month import Plan, Result, Seat, Waves
    from app.operations.post import Found
    from app.session import Session
    from backends.journal_updates import Verdict


class Desk(Protocol):
    """The calls raise ModoseruError with a sentence for the operator. Closing a generator only detaches."""

    @property
    def name(self) -> str: ...
    @property
    def zone(self) -> dt.tzinfo: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def embedded(self) -> bool:
        """Whether the servers live in this process, and end with it: the demo's do."""

    @property
    def sites(self) -> tuple[Site, ...]: ...
    @property
    def known(self) -> Sequence[SiteStatus]:
        """All sites as the journal had them at the start; what was never seen is unknown."""

    async def known_again(self, names: Sequence[str]) -> Sequence[SiteStatus]:
        """These sites as the journal has them now."""

    def host(self, site: Site) -> HostPage | None:
        """The page of `hosts.d` for the site's host."""

    async def warm(self) -> None:
        """Load what connects (FACTS 10: asyncssh costs a quarter of a second). Called after the first frame."""

    def check(self, sites: Sequence[Site]) -> AsyncGenerator[SiteStatus]:
        """Look now; yields each site as it becomes known."""

    def diff(self, site: Site) -> AsyncGenerator[Progress | Difference]:
        """How far it is, then what differs from the newest clean generation."""

    async def plan_backup(self, site: Site) -> Intent: ...
    async def plan_vault(self, site: Site) -> Intent:
        """A copy of the newest clean generation, off-site."""

    async def plan_bring(self, site: Site, generation: str | None, identity: str, *, to_drill: bool = False) -> Intent:
        """A generation of the vault, the newest unless one is named, becomes one of the server's.

        `identity`: the path of what opens it. `to_drill`: it goes where the policy has it rehearsed.
        """

    async def plan_drill(self, site: Site) -> Intent: ...
    async def plan_off_site_drill(self, site: Site, generation: str | None, brought_s: float) -> Intent:
        """Of what `plan_bring` had brought there in so many seconds."""

    async def plan_verify(self, site: Site) -> Intent: ...
    async def plan_restore(self, site: Site, generation: str | None, given: Credentials | None = None) -> Intent:
        """`given`: what opens the database; raises CredentialsWanted where that is not known."""

    async def plan_move(self, source: Site, target: Site, generation: str) -> Intent:
        """`target` becomes what `source` was."""

    async def plan_undo(self, site: Site) -> Intent: ...
    async def plan_isolate(self, site: Site) -> Intent: ...
    async def plan_release(self, site: Site) -> Intent: ...
    async def plan_post(self, site: Site, found: Found) -> Intent: ...
    async def find_posts(self, site: Site, words: str) -> tuple[Found, ...]:
        """Of the clean generations, by words of their titles."""

    async def plan_update(self, site: Site, slugs: tuple[str, ...] | None) -> Intent: ...

    async def month(self) -> tuple[Decided, Waves | None]:
        """What is decided about updates, and how far the waves are."""

    async def decide(self, item: Item, site: str | None, verdict: Verdict, note: str) -> None:
        """About this version, on one site or over the fleet."""

    async def hold(self, slug: str, sites: Sequence[Site], why: str) -> None: ...
    async def let_go(self, slug: str, sites: Sequence[Site], *, fleet: bool) -> None: ...
    async def plan_month(self) -> Plan: ...
    async def run_month(self, plan: Plan, seat: Seat, stop: asyncio.Event) -> Result: ...

    def start(self, intent: Intent, *, confirmed: bool) -> AsyncGenerator[AnyEvent]:
        """The guard's door, the only one."""

    def follow(self, site: Site, operation: str) -> AsyncGenerator[AnyEvent]: ...
    async def cancel(self, site: Site, operation: str) -> bool: ...

    async def operations(self, site: str | None = None, *, running: bool = False) -> list[Operation]:
        """What the journal knows, the newest first."""

    async def events(self, operation: str) -> list[AnyEvent]: ...


class SessionDesk:
    """The desk of a real session. What connects is imported in `warm`, after the first frame."""

    def __init__(
        self,
        session: Session,
        known: Sequence[SiteStatus],
        after_first_frame: Callable[[], None] | None = None,
        *,
        embedded: bool = False,
    ) -> None:
        self._session, self.known, self._after_first_frame = session, known, after_first_frame
        info = session.fleet.settings.fleet
        self.name, self.zone = info.name, zoneinfo.ZoneInfo(info.timezone)
        self.embedded = embedded
        self.read_only, self.sites = session.read_only, session.fleet.sites

    async def known_again(self, names: Sequence[str]) -> Sequence[SiteStatus]:
        from app.operations import check

        return await check.last_known(self._session, [site for site in self.sites if site.name in names])

    def host(self, site: Site) -> HostPage | None:
        return self._session.fleet.hosts.get(site.ssh.host)

    @classmethod
    async def of(
        cls, session: Session, after_first_frame: Callable[[], None] | None = None, *, embedded: bool = False
    ) -> SessionDesk:
        """Reads the journal first, so that the first frame shows the fleet and no second one is needed."""
        from app.operations import check

        return cls(session, await check.last_known(session), after_first_frame, embedded=embedded)

    async def warm(self) -> None:
        if self._after_first_frame is not None:
            self._after_first_frame()
        for name in ("asyncssh", "backends.tls", "backends.web", "app.operations.guard"):
            await asyncio.to_thread(importlib.import_module, name)
        gc.freeze()  # what was imported stays: `opening` kept the collector off until here
        gc.enable()

    def check(self, sites: Sequence[Site]) -> AsyncGenerator[SiteStatus]:
        from app.operations import check

        return check.check(self._session, sites)

    def diff(self, site: Site) -> AsyncGenerator[Progress | Difference]:
        from app.operations import diff

        return diff.diff(self._session, site)

    async def plan_backup(self, site: Site) -> Intent:
        from app.operations import backup

        return await backup.plan(self._session, site)

    async def plan_vault(self, site: Site) -> Intent:
        from app.operations import vault_plan

        return await vault_plan.copy(self._session, site)

    async def plan_bring(self, site: Site, generation: str | None, identity: str, *, to_drill: bool = False) -> Intent:
        from app import vault
        from app.operations import drill, vault_plan, vault_verify

        vault.settings(self._session)
        key = await asyncio.to_thread(vault.wanted_identity, Path(identity))
        kept = await vault_verify.chosen(self._session, site, generation)
        return vault_plan.bring(drill.standby(self._session, site) if to_drill else site, kept, key)

    async def plan_drill(self, site: Site) -> Intent:
        from app.operations import drill

        return await drill.plan(self._session, site)

    async def plan_off_site_drill(self, site: Site, generation: str | None, brought_s: float) -> Intent:
        from app.operations import drill, vault_verify

        kept = await vault_verify.chosen(self._session, site, generation)
        return await drill.plan_brought(self._session, site, kept.entry, brought_s)

    async def plan_verify(self, site: Site) -> Intent:
        from app.operations import verify

        return (await verify.plan(self._session, site)).intent

    async def plan_restore(self, site: Site, generation: str | None, given: Credentials | None = None) -> Intent:
        from app.operations import restore

        return await restore.plan(self._session, site, generation, given=given)

    async def plan_move(self, source: Site, target: Site, generation: str) -> Intent:
        from app.operations import moving

        return await moving.plan(self._session, source, target, generation)

    async def plan_post(self, site: Site, found: Found) -> Intent:
        from app.operations import post

        return await post.plan(self._session, site, found.post.id, found.generation)

    async def find_posts(self, site: Site, words: str) -> tuple[Found, ...]:
        from app.operations import post

        return await post.find(self._session, site, words)

    async def plan_undo(self, site: Site) -> Intent:
        from app.operations import undo

        return await undo.plan(self._session, site)

    async def plan_isolate(self, site: Site) -> Intent:
        from app.operations import isolate

        return isolate.isolate(self._session, site)

    async def plan_release(self, site: Site) -> Intent:
        from app.operations import isolate

        return isolate.release(site)

    async def plan_update(self, site: Site, slugs: tuple[str, ...] | None) -> Intent:
        from app.operations import update

        return await update.plan(self._session, site, slugs)

    async def month(self) -> tuple[Decided, Waves | None]:
        from app.operations import deciding, month

        return await deciding.known(self._session), await month.progress(self._session)

    async def decide(self, item: Item, site: str | None, verdict: Verdict, note: str) -> None:
        from app.operations import deciding

        await deciding.record(self._session, [(item.kind, item.slug, item.to or "", site or "")], verdict, note)

    async def hold(self, slug: str, sites: Sequence[Site], why: str) -> None:
        from app.operations import holding

        for site in sites:
            await holding.hold(self._session, site, slug, why)

    async def let_go(self, slug: str, sites: Sequence[Site], *, fleet: bool) -> None:
        from app.operations import deciding

        await deciding.let_go(self._session, sites, slug, fleet=fleet)

    async def plan_month(self) -> Plan:
        from app.operations import month

        return await month.plan(self._session, [site for site in self.sites if not site.read_only])

    async def run_month(self, plan: Plan, seat: Seat, stop: asyncio.Event) -> Result:
        from app.operations import month

        return await month.run(self._session, plan, seat, stop)

    def start(self, intent: Intent, *, confirmed: bool) -> AsyncGenerator[AnyEvent]:
        from app.operations import guard

        return guard.start(self._session, intent, confirmed=confirmed)

    def follow(self, site: Site, operation: str) -> AsyncGenerator[AnyEvent]:
        from app.operations import guard

        return guard.follow(self._session, site, operation)

    async def cancel(self, site: Site, operation: str) -> bool:
        from app.operations import guard

        return await guard.cancel(self._session, site, operation)

    async def operations(self, site: str | None = None, *, running: bool = False) -> list[Operation]:
        return await self._session.journal.operations(site, running=running, limit=100 if running else 10)

    async def events(self, operation: str) -> list[AnyEvent]:
        return await self._session.journal.events(operation)
