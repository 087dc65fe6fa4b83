"""A desk for the dashboard's tests: remembers what reached it, and does only what a test feeds it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Sequence

import msgspec

from app.operations.credentials import CredentialsWanted
from app.operations.deciding import Decided, Item
from app.operations.intent import Intent
from app.operations.month import Plan, Result, Seat, Stopped, Waves
from app.operations.post import Found
from backends.agent.client import Access
from backends.journal_updates import Decision, Verdict
from backends.records import (
    AnyEvent,
    Blocker,
    Credentials,
    Difference,
    HostPage,
    ModoseruError,
    Operation,
    Progress,
    Site,
    SiteStatus,
)
from tests.widgets.made import JST


class FakeDesk:
    """`calls` holds what reached it, in order. `feed(site)` is where a test puts the events of an operation."""

    def __init__(self, fleet: Sequence[tuple[Site, SiteStatus]], *, read_only: bool = False) -> None:
        self.name, self.read_only = "Web agency", read_only
        self.embedded = False
        self.zone: dt.tzinfo = JST
        self.sites = tuple(site for site, _ in fleet)
        self.known = [status for _, status in fleet]
        self.calls: list[tuple[object, ...]] = []
        self.journal: list[Operation] = []
        self.past: dict[str, list[AnyEvent]] = {}
        self.results: asyncio.Queue[SiteStatus] = asyncio.Queue()
        self.compared: asyncio.Queue[Progress | Difference | ModoseruError] = asyncio.Queue()
        self.looks_end = True
        self.refusal: ModoseruError | None = None
        self.typed: str | None = None
        self.found: tuple[Found, ...] = ()
        self.locked: Blocker | None = None
        self.access, self.opens = Access(), Credentials(name="", user="", password="")
        self.plan_gate: asyncio.Event | None = None
        self.closed: list[str] = []
        self.decisions: list[Decision] = []
        self.progress: Waves | None = None
        self.planned: Plan | None = None
        self._feeds: dict[str, asyncio.Queue[AnyEvent | ModoseruError]] = {}

    def feed(self, site: str) -> asyncio.Queue[AnyEvent | ModoseruError]:
        return self._feeds.setdefault(site, asyncio.Queue())

    def made(self, verb: str) -> list[tuple[object, ...]]:
        return [call for call in self.calls if call[0] == verb]

    async def known_again(self, names: Sequence[str]) -> Sequence[SiteStatus]:
        return [status for status in self.known if status.name in names]

    def host(self, site: Site) -> HostPage | None:
        return HostPage(panel="https://panel.host.example/", phone="+81-3-0000-0000", hours="24 h")

    async def warm(self) -> None:
        self.calls.append(("warm",))

    async def check(self, sites: Sequence[Site]) -> AsyncGenerator[SiteStatus]:
        self.calls.append(("check", tuple(site.name for site in sites)))
        while not self.looks_end or not self.results.empty():
            yield await self.results.get()

    async def diff(self, site: Site) -> AsyncGenerator[Progress | Difference]:
        self.calls.append(("diff", site.name))
        try:
            while True:
                told = await self.compared.get()
                if isinstance(told, ModoseruError):
                    raise told
                yield told
                if isinstance(told, Difference):
                    return
        finally:
            self.closed.append(site.name)

    async def plan_backup(self, site: Site) -> Intent:
        return await self._plan("backup", site, {})

    async def plan_vault(self, site: Site) -> Intent:
        return await self._plan("vault", site, {})

    async def plan_bring(self, site: Site, generation: str | None, identity: str, *, to_drill: bool = False) -> Intent:
        return await self._plan("bring", site, {"generation": generation, "identity": identity, "to_drill": to_drill})

    async def plan_drill(self, site: Site) -> Intent:
        return await self._plan("drill", site, {})

    async def plan_off_site_drill(self, site: Site, generation: str | None, brought_s: float) -> Intent:
        return await self._plan("drill", site, {"generation": generation, "brought_s": brought_s})

    async def plan_verify(self, site: Site) -> Intent:
        return await self._plan("verify", site, {})

    async def plan_restore(self, site: Site, generation: str | None, given: Credentials | None = None) -> Intent:
        if self.locked is not None and given != self.opens:
            self.calls.append(("refused", site.name, generation, given))
            raise CredentialsWanted(site, self.locked, self.access)
        return await self._plan("restore", site, {"generation": generation})

    async def plan_move(self, source: Site, target: Site, generation: str) -> Intent:
        return await self._plan("restore", target, {"generation": generation, "source": source.name})

    async def plan_post(self, site: Site, found: Found) -> Intent:
        return await self._plan("restore", site, {"generation": found.generation, "post": found.post.id})

    async def find_posts(self, site: Site, words: str) -> tuple[Found, ...]:
        self.calls.append(("find", site.name, words))
        if self.refusal is not None:
            raise self.refusal
        return self.found

    async def plan_undo(self, site: Site) -> Intent:
        return await self._plan("undo", site, {})

    async def plan_isolate(self, site: Site) -> Intent:
        return await self._plan("isolate", site, {})

    async def plan_release(self, site: Site) -> Intent:
        return await self._plan("release", site, {})

    async def plan_update(self, site: Site, slugs: tuple[str, ...] | None) -> Intent:
        return await self._plan("update", site, {"slugs": slugs})

    async def _plan(self, kind: str, site: Site, request: dict[str, object]) -> Intent:
        self.calls.append(("plan", kind, site.name, *request.values()))
        if self.plan_gate is not None:
            await self.plan_gate.wait()
        if self.refusal is not None:
            raise self.refusal
        return Intent(
            kind=kind,
            site=site,
            verb=kind,
            request=request,
            question=f"Put {site.name} back to 20261120T050200Z, 3 days old?",
            goes=("2 posts and 1 comment newer than the generation", "14 files changed since 2026-11-20"),
            stays=("everything that goes is kept 7 days: U takes the restore back", "mail and DNS are not touched"),
            danger=kind not in {"backup", "drill", "verify", "vault", "bring"},
            typed=self.typed,
        )

    async def month(self) -> tuple[Decided, Waves | None]:
        return {(one.kind, one.slug, one.version, one.site): one for one in self.decisions}, self.progress

    async def decide(self, item: Item, site: str | None, verdict: Verdict, note: str) -> None:
        self.calls.append(("decide", item.slug, item.to, site, verdict, note))
        at = dt.datetime(2026, 11, 23, 5, 0, tzinfo=dt.UTC)
        made = Decision(
            kind=item.kind, slug=item.slug, version=item.to or "", site=site or "", verdict=verdict, who="a", at=at
        )
        self.decisions.append(msgspec.structs.replace(made, note=note))

    async def hold(self, slug: str, sites: Sequence[Site], why: str) -> None:
        self.calls.append(("hold", slug, tuple(site.name for site in sites), why))

    async def let_go(self, slug: str, sites: Sequence[Site], *, fleet: bool) -> None:
        self.calls.append(("let go", slug, tuple(site.name for site in sites), fleet))

    async def plan_month(self) -> Plan:
        self.calls.append(("plan", "month"))
        if self.refusal is not None:
            raise self.refusal
        assert self.planned is not None
        return self.planned

    async def run_month(self, plan: Plan, seat: Seat, stop: asyncio.Event) -> Result:
        self.calls.append(("run", "month", plan.left))
        seat.tell("wave 1 of 1: 1 site")
        await seat.watch(self.sites[0], self._events(self.sites[0].name))
        stopped = Stopped.LEFT if stop.is_set() else Stopped.THROUGH
        return Result(stopped=stopped, progress=plan.progress)

    async def start(self, intent: Intent, *, confirmed: bool) -> AsyncGenerator[AnyEvent]:
        self.calls.append(("start", intent.kind, intent.site.name, confirmed))
        async for event in self._events(intent.site.name):
            yield event

    async def follow(self, site: Site, operation: str) -> AsyncGenerator[AnyEvent]:
        self.calls.append(("follow", site.name, operation))
        async for event in self._events(site.name):
            yield event

    async def _events(self, site: str) -> AsyncGenerator[AnyEvent]:
        try:
            while True:
                event = await self.feed(site).get()
                if isinstance(event, ModoseruError):
                    raise event
                yield event
        finally:
            self.closed.append(site)

    async def cancel(self, site: Site, operation: str) -> bool:
        self.calls.append(("cancel", site.name, operation))
        return True

    async def operations(self, site: str | None = None, *, running: bool = False) -> list[Operation]:
        found = [op for op in self.journal if site in {None, op.site}]
        return [op for op in found if op.outcome is None] if running else found

    async def events(self, operation: str) -> list[AnyEvent]:
        return self.past.get(operation, [])
