"""The look from outside that decides whether a change stays (DESIGN 4, step 6; FIELD 3).

It runs after maintenance is lifted, judges content and not status alone, and says which page and what.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from backends.records import Asked, Expected, Health, PageLook, Site
from backends.web import Expectation

if TYPE_CHECKING:
    from app.session import Session

PAGES = ("wp-login.php", "wp-json/")
"""Beside the front page: the login and the REST root, each of which another part of WordPress answers."""
TIMEOUT = 20.0
REVALIDATED = 3.0
"""Seconds after which PHP's opcache has looked at changed files by itself (revalidate_freq is 2; FACTS 4)."""


class Judgement(Struct, frozen=True):
    keep: bool
    detail: str
    """One sentence: what was seen."""


async def before(session: Session, site: Site) -> Expected:
    """How the front page is now, to measure a change by."""
    health = await _health(session, site)
    front = health.pages[0] if health.pages else PageLook(url=site.url, problem=health.problem)
    return Expected(title=front.title, before=front.problem, seen=front.http_status is not None)


def travelling(expected: Expected, *, title: bool, page: str | None = None) -> dict[str, str | bool | None]:
    """As the request carries it. `title`: the change must not alter the front page's title. `page` must be there."""
    kept = expected.title if title else None
    return {"title": kept, "before": expected.before, "seen": expected.seen, "page": page}


async def judge(session: Session, site: Site, asked: Asked) -> Judgement:
    """Opens the one-time page, then looks; looks again later where opcache could not be reset."""
    reset = None
    if asked.token:
        reset = await session.web.visit(
            site.url, asked.token, connect=site.web.connect, ca_file=site.web.ca_file, timeout=TIMEOUT
        )
    if asked.subject == "reset":
        return Judgement(True, "opcache was reset" if reset else "opcache was not reset")
    expected = asked.expect or Expected()
    found = verdict(await _health(session, site, expected.page), expected)
    if found.keep and not reset:
        await asyncio.sleep(REVALIDATED)
        found = verdict(await _health(session, site, expected.page), expected)
    return found


def verdict(health: Health, expected: Expected) -> Judgement:
    """Whether the pages are right. Pure. A refused certificate is no fault of the change and is left out."""
    if not health.pages:
        return Judgement(False, health.problem or "nothing could be looked at")
    front, *others = health.pages
    if front.http_status is None and not expected.seen:
        return Judgement(True, f"not seen from outside, before or after: {front.problem}")
    if front.problem:
        return Judgement(False, f"the front page: {front.problem}")
    if expected.title and expected.title.casefold() not in (front.title or "").casefold():
        return Judgement(False, f"the front page is titled “{front.title}” where “{expected.title}” was expected")
    for page in others:
        # A host may keep its login page from strangers; that it breaks is another matter. A post that came back is not
        # missing, whatever a host keeps from whom.
        own = expected.page is not None and page.url.endswith(expected.page)
        if page.problem and page.http_status not in ((401, 403, 429) if own else (401, 403, 404, 405, 429)):
            return Judgement(False, f"{page.url}: {page.problem}")
    latency = f" in {front.latency_s:.2f} s" if front.latency_s is not None else ""
    return Judgement(True, f"the front page “{front.title or ''}” answers {front.http_status}{latency}")


async def _health(session: Session, site: Site, page: str | None = None) -> Health:
    return await session.web.look(
        site.url,
        connect=site.web.connect,
        ca_file=site.web.ca_file,
        timeout=TIMEOUT,
        expect=Expectation(pages=(*PAGES, page) if page else PAGES),
    )
