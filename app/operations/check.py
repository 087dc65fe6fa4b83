"""Looks at sites now: from outside, at certificate and domain, and through the agent. Changes nothing on them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from app import holes, policy, readiness
from app.readiness import Known
from app.vault import OffSite
from backends.records import (
    Certificate,
    Contact,
    Domain,
    Drill,
    Expected,
    Generation,
    Gone,
    Health,
    Held,
    Inspection,
    ModoseruError,
    Site,
    SiteStatus,
    TriedPhp,
)

if TYPE_CHECKING:
    from app.session import Session
    from backends.agent.client import Generations
    from backends.web import Expectation

AT_ONCE = 20
"""Sites looked at together; connections to one host are bounded further below (FACTS 10)."""
REGISTRY_S = 0.5
"""Seconds that a site waits for its registry before it is shown without."""
PATIENCE_S = 120.0
"""Seconds that the registry's own pace may cost: one question in several seconds (FACTS 5)."""
CERTIFICATE_SEEN = "certificate_seen"
"""Under this name the journal keeps the last certificate that was seen: a server that does not answer hides no end."""
T = TypeVar("T", bound=Struct)


class SealedGenerations(Struct, frozen=True):
    """The generations of a site as they were last seen, compared with the seals kept here."""

    generations: tuple[Generation, ...] = ()
    gone: tuple[Gone, ...] = ()


async def last_known(session: Session, sites: Sequence[Site] | None = None) -> list[SiteStatus]:
    """From the journal, at once, without a connection; what was never seen is unknown."""
    journal = session.journal

    async def all_of(what: str, kind: type[T]) -> Mapping[str, tuple[T, dt.datetime]]:
        return await journal.recall_all(what, kind)

    health, certificate = await all_of("health", Health), await all_of("certificate", Certificate)
    domain, inspection = await all_of("domain", Domain), await all_of("inspection", Inspection)
    contact, generations = await all_of("contact", Contact), await all_of("generations", SealedGenerations)
    drill = await all_of("drill", Drill)
    drill_vault = await all_of("drill_vault", Drill)
    off_site, held = await all_of("vault", OffSite), await all_of("held", Held)
    chosen = session.fleet.sites if sites is None else sites
    seen_inside = [inspection[site.name][0] for site in chosen if site.name in inspection]
    weaknesses = await session.holes.weaknesses(holes.keys(seen_inside)) if session.holes else None
    tried = await all_of("tried", TriedPhp)
    ends, now = await session.lifecycle(), dt.datetime.now(dt.UTC)

    def known(name: str) -> Known:
        seen, inside = generations.get(name), _first(inspection, name)
        return Known(
            health=_first(health, name),
            certificate=_first(certificate, name),
            domain=_first(domain, name),
            inspection=inside,
            contact=_first(contact, name),
            generations=_both(
                seen[0].generations if seen else inside.generations if inside else None,
                _first(off_site, name),
                [one for one in (_first(drill, name), _first(drill_vault, name)) if one is not None and one.ok],
            ),
            drill=_first(drill, name),
            drill_vault=_first(drill_vault, name),
            held=_first(held, name) or Held(),
            gone=seen[0].gone if seen else (),
            weaknesses=weaknesses.of if weaknesses else None,
            holes_as_of=weaknesses.as_of if weaknesses else None,
            tried=_first(tried, name),
            lifecycle=ends,
        )

    return [readiness.status(site, known(site.name), now) for site in chosen]


def _both(
    server: tuple[Generation, ...] | None, off_site: OffSite | None, proven: Sequence[Drill]
) -> tuple[Generation, ...] | None:
    """None: nothing is known of the server, and nothing lies in the vault."""
    there = off_site.generations if off_site else ()
    at = {(drill.generation, drill.tier): drill.at for drill in proven}
    both = tuple(
        msgspec.structs.replace(one, drilled_at=at.get((one.id, one.tier), one.drilled_at))
        for one in (*(server or ()), *there)
    )
    return both if server is not None else both or None


def _first(found: Mapping[str, tuple[T, dt.datetime]], name: str) -> T | None:
    return found[name][0] if name in found else None


async def check(session: Session, sites: Sequence[Site], *, refresh: bool = False) -> AsyncGenerator[SiteStatus]:
    """Yields each site as it becomes known; `refresh` asks wordpress.org anew. A site that fails raises nothing.

    A site whose registry keeps us waiting is yielded at once with what was last known of its domain, and a second time
    when the registry has answered.
    """
    news: asyncio.Queue[SiteStatus | None] = asyncio.Queue()
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(site: Site) -> None:
        domain = asyncio.create_task(ask_registry(session, site))
        try:
            async with turns:
                await _look_at(session, site, refresh=refresh)
                await asyncio.wait({domain}, timeout=REGISTRY_S)
            answered = domain.done()
            await news.put(await _known(session, site))
            await domain
            if not answered:
                await news.put(await _known(session, site))
        finally:
            domain.cancel()

    async def every() -> None:
        """A defect that one site brings to light does not hide the others; it is raised when they are through."""
        try:
            ended = await asyncio.gather(*(one(site) for site in sites), return_exceptions=True)
        finally:
            await news.put(None)
        for result in ended:
            if isinstance(result, BaseException):
                raise result

    # It is part of no site's look, and may take as long as they do.
    ends = asyncio.create_task(session.endoflife.refresh())
    looking = asyncio.create_task(every())
    try:
        while (status := await news.get()) is not None:
            yield status
        await looking
        await ends
    finally:
        for task in (looking, ends):
            task.cancel()
        await asyncio.gather(looking, ends, return_exceptions=True)


async def _known(session: Session, site: Site) -> SiteStatus:
    (found,) = await last_known(session, [site])
    return found


async def ask_registry(session: Session, site: Site) -> None:
    """Asks the registry, as its pace allows, and remembers what it says."""
    found = await session.registries.expiry(
        urlsplit(site.url).hostname or "", manual=site.domain.expires, patience=PATIENCE_S
    )
    await session.journal.remember(site.name, "domain", found, dt.datetime.now(dt.UTC))


async def _look_at(session: Session, site: Site, *, refresh: bool) -> None:
    """All probes of one site at once; each result is remembered, a probe that fails hides no other."""
    from backends import tls  # here and below: the first frame needs `last_known`, not what connects

    web = site.web
    expect = await _expected(session, site)
    health, certificate, inside = await asyncio.gather(
        session.web.look(site.url, connect=web.connect, ca_file=web.ca_file, expect=expect),
        tls.probe(site.url, connect=web.connect, ca_file=web.ca_file),
        _ask_agent(session, site, refresh=refresh),
    )
    contact, inspection = inside
    seen: dict[str, Struct] = {"health": health, "certificate": certificate, "contact": contact}
    if certificate.not_after is not None:
        seen[CERTIFICATE_SEEN] = certificate
    if inspection is not None:
        seen["inspection"] = inspection
        if _shows(health, inspection.title):
            seen["title"] = Expected(title=inspection.title)
    now = dt.datetime.now(dt.UTC)
    await session.journal.remember_all((site.name, what, record, now) for what, record in seen.items())


async def _expected(session: Session, site: Site) -> Expectation:
    """The site's name in the front page's title, once it was seen there: a defaced page mostly loses it.

    Not every theme shows the name, so nothing is expected that was never seen.
    """
    from backends.web import Expectation

    kept = await session.journal.recall(site.name, "title", Expected)
    if kept is not None:
        return Expectation(title=kept[0].title)
    health = await session.journal.recall(site.name, "health", Health)
    inspection = await session.journal.recall(site.name, "inspection", Inspection)
    if health and inspection and _shows(health[0], inspection[0].title):
        return Expectation(title=inspection[0].title)
    return Expectation()


def _shows(health: Health, title: str | None) -> bool:
    return bool(title and health.title and title.casefold() in health.title.casefold())


async def inside(session: Session, site: Site) -> None:
    """What the agent says of the site now, remembered. Raises JournalBroken; what the connection does is kept."""
    contact, inspection = await _ask_agent(session, site, refresh=False)
    now = dt.datetime.now(dt.UTC)
    seen: dict[str, Struct] = {"contact": contact} | ({"inspection": inspection} if inspection else {})
    await session.journal.remember_all((site.name, what, record, now) for what, record in seen.items())


async def _ask_agent(session: Session, site: Site, *, refresh: bool) -> tuple[Contact, Inspection | None]:
    try:
        inspection, told = await session.agent(site).inspect(refresh=refresh)
    except ModoseruError as error:
        now = dt.datetime.now(dt.UTC)
        return Contact(at=now, code=error.code, problem=error.message, hint=error.hint), None
    await remember_generations(session, site, told)
    return Contact(at=dt.datetime.now(dt.UTC)), inspection


async def remember_generations(session: Session, site: Site, told: Generations) -> SealedGenerations:
    """Compares each summary's hash with the seal kept here; the first one seen becomes the seal.

    What was sealed and is no longer there is `gone`, unless an operation that was seen here let it go.
    """
    journal = session.journal
    now = dt.datetime.now(dt.UTC)
    seals = await journal.seals(site.name)
    judged: list[Generation] = []
    for one in told.generations:
        summary = told.summaries.get(one.id)
        kept = seals.get(one.id)
        if summary is not None and kept is None:
            await journal.seal(site.name, one.id, summary, now)
        sealed = None if summary is None or kept is None else summary == kept
        judged.append(msgspec.structs.replace(one, sealed=sealed))
    facts = await journal.generation_facts(site.name)
    known = {generation for (generation, tier), fact in facts.items() if tier == "server" and "let_go" in fact}
    gone = missing(site, seals.keys() - {one.id for one in judged} - known, told.let_go, now)
    seen = SealedGenerations(tuple(judged), gone)
    await journal.remember(site.name, "generations", seen, now)
    return seen


def missing(site: Site, ids: Iterable[str], let_go: Iterable[str], now: dt.datetime) -> tuple[Gone, ...]:
    """What became of generations that are no longer there, newest first. That its retention let one go is the server's
    word: it is taken only where the promise allows it. Pure."""
    said = set(let_go)
    return tuple(
        Gone(id=one, let_go=one in said and policy.may_be_let_go(one, site.policy.server_min_age, now))
        for one in sorted(ids, reverse=True)
    )


async def generations(session: Session, site: Site) -> tuple[Generation, ...]:
    """The site's generations as its server tells them now. Raises what the connection raises."""
    return (await seen(session, site)).generations


async def seen(session: Session, site: Site) -> SealedGenerations:
    """`generations`, and what is gone. Raises what the connection raises."""
    return await remember_generations(session, site, await session.agent(site).generations())
