"""What an operator would have known of the demo's sites the moment before it opens: the journal's first lines. Pure.

Made from the characters alone, so that the fleet is painted before any server is up; what the servers say later agrees.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.demo.cast import NEWEST_WORDPRESS, CertificateKind, Character, Condition
from app.demo.contents import slug_file, weight
from app.demo.description import describe
from app.demo.domain import expiry
from app.demo.history import past
from backends.records import (
    Administrator,
    BootError,
    Certificate,
    Domain,
    Drill,
    Generation,
    Health,
    Inspection,
    Plugin,
    State,
    Update,
)

LIFETIME = dt.timedelta(days=90)
ISSUER = "Modoseru Demo CA"


class Remembered(NamedTuple):
    """One call of the journal's `remember`."""

    site: str
    what: str
    """`health`, `certificate`, `domain`, `inspection` or `drill`."""
    record: Health | Certificate | Domain | Inspection | Drill
    at: dt.datetime


def seed(characters: Sequence[Character], birth: dt.datetime, language: str) -> Iterator[Remembered]:
    """Four records a site, each with an age that fits its kind, and the last drill where there was one."""
    for character in characters:
        minutes = dt.timedelta(minutes=2 + character.number % 9)
        hours = dt.timedelta(hours=3 + character.number % 5)
        # Where SSH is refused, the last inspection is as old as the last backup.
        seen = hours if character.ssh else dt.timedelta(days=character.newest_days)
        yield Remembered(character.name, "health", health(character, birth - minutes, language), birth - minutes)
        yield Remembered(character.name, "certificate", certificate(character, birth, birth - hours), birth - hours)
        yield Remembered(character.name, "domain", domain(character, birth, birth - hours), birth - hours)
        found = inspection(character, birth, birth - seen, language)
        yield Remembered(character.name, "inspection", found, birth - seen)
        if (rehearsed := drill(character, birth, found.generations, language)) is not None:
            yield Remembered(character.name, "drill", rehearsed, rehearsed.at)


def health(character: Character, at: dt.datetime, language: str) -> Health:
    title: str | None = character.title(language)
    status: int | None = 200
    latency: float | None = 0.08 + character.number * 13 % 40 / 100
    state, problem = State.OK, None
    match character.condition:
        case Condition.HACKED:
            state, problem = State.WARNING, f"title is HACKED BY NOBODY, not {title}"
            title = "HACKED BY NOBODY"
        case Condition.FATAL:
            state, status, problem = State.CRITICAL, 500, "status 500; critical error on the page"
            title = "WordPress › Error"
        case Condition.DATABASE:
            state, status, problem = State.CRITICAL, 500, "status 500; database error on the page"
            title = "Database Error"
        case Condition.REFUSED:
            state, status, latency, title = State.CRITICAL, None, None, None
            problem = "unreachable: connection refused"
        case Condition.SLOW:
            latency = 2.1
    if character.certificate is not CertificateKind.FINE and status is not None:
        said = f"certificate refused: {character.certificate.value}"
        state, problem = State.CRITICAL, f"{said}; {problem}" if problem else said
    return Health(state=state, http_status=status, latency_s=latency, checked_at=at, problem=problem, title=title)


def drill(character: Character, birth: dt.datetime, generations: Sequence[Generation], language: str) -> Drill | None:
    """The last rehearsal, of the generation that was the newest then."""
    if character.drilled_days is None:
        return None
    at = birth - dt.timedelta(days=character.drilled_days)
    rehearsed = max((one for one in generations if one.created <= at), key=lambda one: one.id, default=None)
    if rehearsed is None:
        return None
    detail = f"restored beside the site; “{character.title(language)}” starts"
    if character.drill_failed:
        detail = "the newest post of the generation is not on its page in the restored copy"
    seconds = 41 + character.number * 17 % 50
    return Drill(generation=rehearsed.id, at=at, ok=not character.drill_failed, seconds=seconds, detail=detail)


def certificate(character: Character, birth: dt.datetime, at: dt.datetime) -> Certificate:
    """As `authority` signs it: ninety days long, and of the same end."""
    end = birth + dt.timedelta(days=character.certificate_days)
    left = end - at
    state, problem = State.OK, None
    if left < LIFETIME * 0.25:
        state = State.CRITICAL if left < LIFETIME * 0.1 else State.WARNING
    if character.certificate is CertificateKind.EXPIRED:
        state, problem = State.CRITICAL, f"expired: {end:%Y-%m-%d}"
    names: tuple[str, ...] = (character.host, character.domain)
    if character.certificate is CertificateKind.WRONG_NAME:
        names = ("sv1.host.example",)
        state, problem = State.CRITICAL, f"wrong name: it is for {names[0]}, not for {character.host}"
    return Certificate(
        state=state,
        not_after=end.replace(microsecond=0),
        days_left=left.days,
        issuer=ISSUER,
        not_before=(end - LIFETIME).replace(microsecond=0),
        names=names,
        problem=problem,
        checked_at=at,
    )


def domain(character: Character, birth: dt.datetime, at: dt.datetime) -> Domain:
    end = expiry(character, birth)
    if end is None:
        problem = "the registry publishes no expiry: enter it by hand"
        return Domain(name=character.domain, state=State.UNKNOWN, problem=problem, checked_at=at)
    left = (end - at.date()).days
    state = State.CRITICAL if left < 14 else State.WARNING if left < 60 else State.OK
    source = "whois" if character.domain.endswith(".jp") else "rdap"
    return Domain(name=character.domain, state=state, expires=end, days_left=left, source=source, checked_at=at)


def inspection(character: Character, birth: dt.datetime, at: dt.datetime, language: str) -> Inspection:
    """What the agent saw at `at`: the trouble, where it had begun."""
    troubled = birth - dt.timedelta(hours=character.hours_ago) <= at
    condition = character.condition if troubled else Condition.WELL
    booted, boot_error, database_error = True, None, None
    if condition is Condition.FATAL:
        text = "Uncaught Error: Call to undefined function function_that_this_php_does_not_have()"
        booted, boot_error = False, BootError(message=text, file=slug_file(character.plugins[-1]), line=6)
    elif condition is Condition.DATABASE:
        booted, boot_error = False, BootError(message="Error establishing a database connection")
        database_error = "Table 'wp_options' is marked as crashed and should be repaired"
    start = (birth - dt.timedelta(days=800)).isoformat(timespec="seconds")
    administrators = [Administrator(id=1, login=f"{character.user}-admin", registered=start)]
    if condition is Condition.HACKED:
        since = birth - dt.timedelta(hours=character.hours_ago)
        administrators.append(Administrator(id=99, login="wp_support1", registered=since.isoformat(timespec="seconds")))
    generations = tuple(generation for generation in past(character, birth) if generation.created <= at)
    return describe(
        character,
        at,
        booted=booted,
        boot_error=boot_error,
        database_error=database_error,
        wordpress=character.wordpress,
        title=character.title(language),
        database_bytes=weight(_rows(generations)),
        plugins=tuple(
            Plugin(slug=part.slug, name=part.name, version=part.version, active=True) for part in character.plugins
        ),
        administrators=() if database_error else tuple(administrators),
        updates=_updates(character) if booted else (),
        updates_checked=booted,
        generations=generations,
    )


def _rows(generations: Sequence[Generation]) -> int:
    return next((generation.rows or 0 for generation in generations), 0)


def _updates(character: Character) -> tuple[Update, ...]:
    found = [
        Update(kind="plugin", slug=part.slug, from_=part.version, to=part.to, name=part.name)
        for part in character.plugins
        if part.to is not None
    ]
    if character.wordpress != NEWEST_WORDPRESS:
        core = Update(kind="core", slug="wordpress", from_=character.wordpress, to=NEWEST_WORDPRESS, name="WordPress")
        found.insert(0, core)
    return tuple(found)
