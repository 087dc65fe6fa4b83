"""The look from outside that decides whether a change stays (DESIGN 4, step 6; FIELD 3).

It runs after maintenance is lifted, judges content and not status alone, and says which page and what.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from backends import samples
from backends.records import Asked, Expected, Health, Journey, PageLook, Sample, Site, visible
from backends.web import Expectation, Measured

if TYPE_CHECKING:
    from app.session import Session
    from backends.fetch import Got

PAGES = ("wp-login.php", "wp-json/")
"""Beside the front page: the login and the REST root, each of which another part of WordPress answers."""
CRON = "wp-cron.php"
TIMEOUT = 20.0
WATCHED = ("the front page", "PHP files", "PHP files among the uploads", "static files")
CLOSED_EVERY = 1.0
OBEYED = 4.0
"""Seconds after which a server that goes by .htaccess has read it: it does at each request."""
REACHED = 10.0
"""Seconds for which a site that does not answer is asked again."""
LOG_NAMED = 4096
"""Bytes of the longest path (PATH_MAX, limits.h)."""
REMEMBERED = 330.0
"""Seconds for which php-fpm may go by an earlier .user.ini (user_ini.cache_ttl, 300), with room."""
_PROBE = re.compile(r"(?:[A-Za-z0-9_-]+/){0,8}modoseru-[0-9a-f]{32}")
REVALIDATED = 3.0
"""Seconds after which PHP's opcache has looked at changed files by itself (revalidate_freq is 2; FACTS 4)."""


class Judgement(Struct, frozen=True):
    keep: bool
    detail: str
    """One sentence: what was seen."""


async def before(session: Session, site: Site, *, spares: bool = False) -> Expected:
    """How the front page is now, to measure a change by. `spares`: what fails already judges nothing."""
    health = await _health(session, site)
    front = health.pages[0] if health.pages else PageLook(url=site.url, problem=health.problem)
    failing = tuple(path for path, page in zip(PAGES, health.pages[1:], strict=False) if page.problem)
    if spares and await _cron_fails(session, site):
        failing += (CRON,)
    seen = front.http_status is not None
    return Expected(title=front.title, before=front.problem, seen=seen, failing=failing if spares else ())


async def error_log(session: Session, site: Site) -> str | None:
    """Where PHP on the web writes its errors, by a one-time page; None where that was not told."""
    answer = await _told_by_web(session, site)
    told = answer.get("log") if answer else None
    return told if isinstance(told, str) and 0 < len(told) < LOG_NAMED else None


async def web_version(session: Session, site: Site) -> str | None:
    """Which PHP answers visitors, by a one-time page; None where it was not seen."""
    answer = await _told_by_web(session, site)
    told = answer.get("php") if answer else None
    # It becomes a word of the host's command.
    return told if isinstance(told, str) and re.fullmatch(r"[0-9]{1,2}\.[0-9]{1,3}\.[!-~]{1,40}", told) else None


async def _told_by_web(session: Session, site: Site) -> dict[str, Any] | None:
    page = await session.agent(site).page()
    return await session.web.visit(
        site.url, f"{page}?tell", connect=site.web.connect, ca_file=site.web.ca_file, timeout=TIMEOUT
    )


async def sampled(session: Session, site: Site, paths: Sequence[str]) -> tuple[Sample, ...]:
    """The pages as they are, each looked at twice; once more where the two differ in status (opcache may have looked
    between them). Raises ValueError where the site's URL is none."""
    first, second = [await _measured(session, site, paths) for _ in range(2)]
    if [one.look.http_status for one in first] != [one.look.http_status for one in second]:
        await asyncio.sleep(REVALIDATED)
        first, second = second, await _measured(session, site, paths)
    return tuple(samples.sample(*of) for of in zip(paths, first, second, strict=True))


async def measured(
    session: Session, site: Site, expected: Expected, paths: Sequence[str]
) -> tuple[Expected, dict[str, str]]:
    """`expected` with these pages and the site's journeys as they are, and the journeys that fail already, with the
    reason: they judge nothing."""
    samples = await sampled(session, site, ["", *paths])
    lost = await travelled(session, site, site.web.journey)
    journeys = tuple(one for one in site.web.journey if one.name not in lost)
    return msgspec.structs.replace(expected, samples=samples, journeys=journeys), lost


async def travelled(
    session: Session, site: Site, journeys: Sequence[Journey], secret: str | None = None
) -> dict[str, str]:
    """By the name of each journey that does not come to its end, the step and what is wrong there."""
    if not journeys:
        return {}
    ends = await session.web.travelled(
        site.url, journeys, connect=site.web.connect, ca_file=site.web.ca_file, timeout=TIMEOUT, secret=secret
    )
    return {one.name: why for one, why in zip(journeys, ends, strict=True) if why is not None}


def travelling(expected: Expected, *, title: bool, page: str | None = None) -> dict[str, Any]:
    """As the request carries it. `title`: the change must not alter the front page's title. `page` must be there."""
    kept = expected.title if title else None
    found = {"title": kept, "before": expected.before, "seen": expected.seen, "page": page}
    more = {"samples": expected.samples, "journeys": expected.journeys, "failing": expected.failing}
    return found | {name: msgspec.to_builtins(of) for name, of in more.items() if of}


async def judge(session: Session, site: Site, asked: Asked) -> Judgement:
    """Opens the one-time page, then looks; looks again later where opcache could not be reset."""
    if asked.subject == "closed":
        return await closed(session, site, asked.item or "")
    reset, secret = None, None
    if asked.token:
        secret = asked.token.removeprefix("modoseru-").removesuffix(".php")
        reset = await session.web.visit(
            site.url, asked.token, connect=site.web.connect, ca_file=site.web.ca_file, timeout=TIMEOUT, secret=secret
        )
    if asked.subject == "reset":
        return Judgement(True, "opcache was reset" if reset else "opcache was not reset")
    expected = asked.expect or Expected()
    found = await _looked(session, site, expected, secret)
    if found.keep and not reset:
        await asyncio.sleep(REVALIDATED)
        found = await _looked(session, site, expected, secret)
    return found


async def _cron_fails(session: Session, site: Site) -> str | None:
    """What is wrong with WP-cron, which does what is due. Most servers answer first: then the error log tells more."""
    try:
        got = await session.web.answers(
            site.url, [CRON], connect=site.web.connect, ca_file=site.web.ca_file, timeout=TIMEOUT
        )
    except ValueError as error:
        return str(error)
    return f"status {got[0].status}" if (got[0].status or 0) >= 500 else None


async def _looked(session: Session, site: Site, expected: Expected, secret: str | None) -> Judgement:
    # First, so that what it does is in the error log by the end. A busy server may fail once.
    judged = expected.samples and CRON not in expected.failing
    if judged and await _cron_fails(session, site) and (why := await _cron_fails(session, site)):
        return Judgement(False, f"{CRON}: {why}")
    found = verdict(await _health(session, site, expected.page, secret), expected)
    if found.keep and expected.samples:
        found = await _compared(session, site, expected, found, secret)
    if not (found.keep and expected.journeys):
        return found
    lost = await travelled(session, site, expected.journeys, secret)
    if lost:
        # As for a page: what a busy server gave badly once is right the second time.
        lost = await travelled(session, site, [one for one in expected.journeys if one.name in lost], secret)
    if lost:
        name, why = next(iter(lost.items()))
        return Judgement(False, f"journey “{visible(name, 100)}”, {why}")
    return found


async def _compared(
    session: Session, site: Site, expected: Expected, found: Judgement, secret: str | None
) -> Judgement:
    differing = await _differing(session, site, expected.samples, secret)
    if differing:
        # A page that a busy server gave badly once is right the second time.
        again = [one for one in expected.samples if one.path in differing]
        differing = await _differing(session, site, again, secret)
    if differing:
        path, why = next(iter(differing.items()))
        more = f"; and {len(differing) - 1} more" if len(differing) > 1 else ""
        return Judgement(False, f"{f'/{path}' if path else 'the front page'}: {why}{more}")
    compared = sum(samples.is_measure(one) for one in expected.samples)
    return Judgement(True, f"{found.detail}; {compared} pages are as they were")


async def _differing(session: Session, site: Site, before: Sequence[Sample], secret: str | None) -> dict[str, str]:
    """By the path of each page that is not as it was, what differs."""
    now = await _measured(session, site, [one.path for one in before], secret)
    told = {one.path: samples.difference(one, after) for one, after in zip(before, now, strict=True)}
    return {path: why for path, why in told.items() if why is not None}


async def _measured(session: Session, site: Site, paths: Sequence[str], secret: str | None = None) -> list[Measured]:
    return await session.web.measured(
        site.url, paths, connect=site.web.connect, ca_file=site.web.ca_file, timeout=TIMEOUT, secret=secret
    )


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
        if not own and page.url.endswith(expected.failing):
            continue
        if page.problem and page.http_status not in ((401, 403, 429) if own else (401, 403, 404, 405, 429)):
            return Judgement(False, f"{page.url}: {page.problem}")
    latency = f" in {front.latency_s:.2f} s" if front.latency_s is not None else ""
    return Judgement(True, f"the front page “{front.title or ''}” answers {front.http_status}{latency}")


async def closed(session: Session, site: Site, probe: str) -> Judgement:
    """Whether everything is refused from outside, for as long as a server may go by its old rules.

    `probe` is what the agent calls its files. `static` as detail: the server itself still serves what is no PHP.
    """
    if not _PROBE.fullmatch(probe):
        return Judgement(False, "the server names nothing that could be looked at")
    name = probe.rpartition("/")[2]
    pages = ("", f"{name}.php", f"{probe}.php", f"{probe}.txt", f".well-known/acme-challenge/{name}")
    clock = asyncio.get_running_loop().time
    began = clock()
    while True:
        try:
            got = await session.web.answers(
                site.url, pages, connect=site.web.connect, ca_file=site.web.ca_file, timeout=TIMEOUT
            )
        except ValueError as error:
            return Judgement(False, str(error))
        waited = clock() - began
        if lost := next((one.broken for one in got if one.status is None), None):
            # Nobody was refused: the site was not asked.
            if waited > REACHED:
                return Judgement(False, f"the site was not reached from outside: {lost}")
            await asyncio.sleep(CLOSED_EVERY)
            continue
        front, top, script, static, acme = (_told(one, name) for one in got)
        served = [what for what, told in zip(WATCHED, (front, top, script, static), strict=True) if told is not None]
        if not served:
            note = "" if acme == name else "; /.well-known/acme-challenge/ was not seen to be open: look after renewals"
            return Judgement(True, f"refused from outside: the front page ({got[0].status}), PHP and files{note}")
        if served == [WATCHED[3]] or (WATCHED[3] in served and waited > OBEYED):
            return Judgement(False, "static")
        if waited > REMEMBERED:
            return Judgement(False, f"still served after {REMEMBERED:.0f} s: {', '.join(served)}")
        await asyncio.sleep(CLOSED_EVERY)


def _told(got: Got, name: str) -> str | None:
    """What was served in spite of the gate; None for a refusal. A probe that came counts whatever its status."""
    text = got.body.decode(errors="replace").strip()
    if name in text:
        return text
    return None if (got.status or 0) >= 400 else text


async def _health(session: Session, site: Site, page: str | None = None, secret: str | None = None) -> Health:
    return await session.web.look(
        site.url,
        connect=site.web.connect,
        ca_file=site.web.ca_file,
        timeout=TIMEOUT,
        expect=Expectation(pages=(*PAGES, page) if page else PAGES),
        secret=secret,
    )
