"""The switch of a site's PHP, by the host's own command: measured before and after, taken back by itself on failure."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from msgspec import Struct

from app.operations import look
from backends import host_command
from backends.records import (
    AnyEvent,
    Asked,
    Expected,
    Finished,
    ModoseruError,
    Note,
    Outcome,
    PhpSwitch,
    Site,
    Step,
)

if TYPE_CHECKING:
    from app.session import Session

BASELINE = "switch baseline"
"""Under this name the journal keeps how the pages were before a switch that is made by hand."""


class Switch(Struct, frozen=True, kw_only=True):
    """From one PHP to another: their paths and versions."""

    now: str
    from_: str
    to: str
    path: str


class Baseline(Struct, frozen=True, kw_only=True):
    """How the pages were, and which switch was about to be made."""

    switch: Switch
    expected: Expected


def commands(session: Session, site: Site) -> PhpSwitch | None:
    """The site's own, or its host's; None where there are none."""
    if site.runtime.php.switch:
        return site.runtime.php
    page = session.fleet.hosts.get(site.ssh.host)
    return page.runtime.php if page is not None and page.runtime.php.switch else None


def filled(words: tuple[str, ...], site: Site, php: str, version: str) -> list[str]:
    """Each word stays one word. Pure."""
    values = {"php": php, "version": minor(version), "site": site.name}
    return [re.sub(r"\{(php|version|site)\}", lambda found: values[found[1]], word) for word in words]


def minor(version: str) -> str:
    """`8.3` of `8.3.4`. Pure."""
    found = re.match(r"[0-9]+\.[0-9]+", version)
    return found[0] if found else ""


async def baseline(session: Session, site: Site) -> Expected:
    """How the pages are. Raises ModoseruError (already_failing) where they could not judge anything."""
    expected = await look.before(session, site)
    if expected.before is not None or not expected.seen:
        raise ModoseruError(
            "already_failing",
            f"{site.name} is failing already, or is not seen from here: {expected.before}",
            "bring it back first; a switch could not be judged",
        )
    paths = site.web.pages or await session.agent(site).pages()
    return (await look.measured(session, site, expected, paths))[0]


async def judged(session: Session, site: Site, expected: Expected, version: str) -> look.Judgement:
    """Whether the pages are as they were, and the web runs that PHP."""
    found = await _web_comes_to(session, site, version)
    if found is not None and minor(found) != minor(version):
        return look.Judgement(False, f"the web runs PHP {found}, not {minor(version)}")
    token = await session.agent(site).page()
    asked = Asked(at=dt.datetime.now(dt.UTC), number=0, subject="look", token=token, expect=expected)
    judgement = await look.judge(session, site, asked)
    if judgement.keep and found is None:
        return look.Judgement(False, "which PHP answers visitors was not seen")
    return judgement


async def _web_comes_to(session: Session, site: Site, version: str) -> str | None:
    """What the web runs, asked again for a while: a panel's word takes some seconds to reach its servers."""
    clock = asyncio.get_running_loop().time
    until = clock() + look.REACHED
    while True:
        found = await look.web_version(session, site)
        if (found is not None and minor(found) == minor(version)) or clock() > until:
            return found
        await asyncio.sleep(1.0)


async def switch(session: Session, site: Site, wanted: Switch) -> AsyncGenerator[AnyEvent]:
    """Baseline, the command, the same look; `back` and another look where that is not good, or it is cancelled."""
    words = commands(session, site)
    if words is None:
        raise ModoseruError("no_switch_command", f"{site.name} has no [runtime.php] switch", "it is switched by hand")
    yield _step("baseline")
    expected = await baseline(session, site)
    cancelled = False
    try:
        yield _step("switch")
        await host_command.run(filled(words.switch, site, wanted.path, wanted.to))
        yield _step("check")
        found = await judged(session, site, expected, wanted.to)
        why = "" if found.keep else found.detail
    except asyncio.CancelledError:
        cancelled, why = True, "it was cancelled"
    except ModoseruError as error:
        why = error.message
    except Exception as error:
        why = f"this is a defect of Modoseru: {type(error).__name__}: {error}"
    if not why:
        detail = f"PHP {wanted.from_} → {wanted.to}: {found.detail}"
        yield _finished(Outcome.DONE, detail, hint=f'set [server] php = "{wanted.path}"')
        return
    if not cancelled:
        yield Note(at=dt.datetime.now(dt.UTC), code="switching_back", text=why, level="error")
        yield _step("back")
    problem = await _taken_back(session, site, wanted, filled(words.back, site, wanted.now, wanted.from_), expected)
    if problem is not None:
        hint = f"switch {site.name} to PHP {minor(wanted.from_)} in its host's panel, then modoseru check {site.name}"
        yield _finished(Outcome.NEEDS_HAND, f"{why}; it was not taken back: {problem}", "needs_hand", hint)
    elif cancelled:
        yield _finished(Outcome.CANCELLED, f"it was cancelled; the site is back under PHP {wanted.from_}")
    else:
        detail = f"{why}; the site is back under PHP {wanted.from_}, and its pages are as they were"
        yield _finished(Outcome.ROLLED_BACK, detail, "check_failed", f"see modoseru runtime {site.name}")


async def _taken_back(
    session: Session, site: Site, wanted: Switch, command: list[str], expected: Expected
) -> str | None:
    """Why the site is not as it was, or None."""
    try:
        await host_command.run(command)
        found = await judged(session, site, expected, wanted.from_)
    except ModoseruError as error:
        return error.message
    return None if found.keep else found.detail


def _step(name: str) -> Step:
    return Step(at=dt.datetime.now(dt.UTC), name=name)


def _finished(outcome: Outcome, detail: str, code: str | None = None, hint: str = "") -> Finished:
    return Finished(at=dt.datetime.now(dt.UTC), outcome=outcome, detail=detail, code=code, hint=hint)
