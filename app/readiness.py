"""Can this site be restored? The verdict, from records and a clock alone.

Nothing passes for proven that was not tried, and what was tried decays with time by itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from app import holes, lifecycle, policy
from app.lifecycle import Lifecycle
from backends.holes_feed import Weakness
from backends.records import (
    Certainty,
    Certificate,
    Contact,
    Domain,
    Drill,
    Generation,
    GenerationState,
    Gone,
    Health,
    Held,
    Inspection,
    Site,
    SiteStatus,
    State,
    TriedPhp,
    Verdict,
    Versions,
)


def verdict(site: Site, known: Known, now: dt.datetime) -> Verdict:
    """The rules are the table in the README. Every reason is one sentence."""
    generations, contact, drill = known.generations, known.contact, known.drill
    if generations is None:
        why = "its server was never reached" if contact is None else f"its server cannot be asked: {contact.problem}"
        return Verdict(verdict=Certainty.UNKNOWN, reasons=(why,))
    whole = [one for one in generations if one.state is not GenerationState.DAMAGED and one.sealed is not False]
    if not whole:
        why = "every generation is damaged" if generations else "it was never backed up"
        taken = tuple(_taken(known.gone))
        told = taken if taken and not generations else (why, *taken)
        return Verdict(verdict=Certainty.FAILED, reasons=(*told, *_inside(known)))
    clean = [one for one in whole if one.state is GenerationState.COMPLETE]
    if not clean:
        why = "no generation is clean: each is suspect"
        return Verdict(verdict=Certainty.FAILED, reasons=(why, *_taken(known.gone), *_inside(known)))
    age = now - max(clean, key=lambda one: one.id).created
    late = age > dt.timedelta(seconds=policy.seconds(site.policy.server_every)) + policy.GRACE
    drills = [one for one in (drill, known.drill_vault) if one is not None]
    last = max(drills, key=lambda one: one.at, default=None)
    word, said = _rehearsed(site, last, {one.id for one in whole}, now)
    reasons = [said] if said else []
    if late:
        reasons.append(
            f"the newest clean generation is {age.days} days old (promised: every {site.policy.server_every})"
        )
        word = Certainty.STALE if word is Certainty.PROVEN else word
    reasons += [*_taken(known.gone), *_doubts(site, generations, whole, now), *_inside(known)]
    return Verdict(
        verdict=word,
        reasons=tuple(reasons),
        rpo_s=max(0, int(age.total_seconds())),
        rto_s=round(drill.seconds) if drill and drill.ok else None,
        rto_before_s=tuple(round(seconds) for seconds in drill.before) if drill else (),
    )


def _rehearsed(site: Site, drill: Drill | None, ids: set[str], now: dt.datetime) -> tuple[Certainty, str]:
    """What the last drill that could run says, and how it decays."""
    if drill is None:
        return Certainty.UNPROVEN, "never rehearsed: no drill has restored it yet"
    if not drill.ok:
        return Certainty.FAILED, f"the last drill failed: {drill.detail}"
    age = now - drill.at
    if age > dt.timedelta(seconds=policy.seconds(site.policy.drill_every)) + policy.GRACE:
        return Certainty.STALE, f"the last drill is {age.days} days old (promised: every {site.policy.drill_every})"
    if drill.generation not in ids:
        return Certainty.STALE, f"the generation that was rehearsed is gone: {drill.generation}"
    return Certainty.PROVEN, ""


def _taken(gone: Sequence[Gone]) -> Iterator[str]:
    """Only a retention takes generations away; what went otherwise was taken by somebody."""
    taken = [one.id for one in gone if not one.let_go]
    if len(taken) == 1:
        yield f"a generation is gone: {taken[0]}"
    elif taken:
        yield f"{len(taken)} generations are gone: {taken[0]} and older"


def _inside(known: Known) -> Iterator[str]:
    """What keeps the program from looking inside the site: a wrong document root shows nowhere else."""
    contact, inspection = known.contact, known.inspection
    if contact is not None and contact.code is not None:
        yield f"its server cannot be asked: {contact.problem}"
    elif inspection is not None and not inspection.booted:
        told = inspection.boot_error.message if inspection.boot_error else ""
        if why := inspection.database_error or told:
            yield f"WordPress does not start: {why}"


def _off_site(site: Site, whole: Sequence[Generation], now: dt.datetime) -> Iterator[str]:
    there = [one for one in whole if one.tier == "vault" and one.state is GenerationState.COMPLETE]
    if not there:
        yield "every generation lies on the site's own server"
        return
    age = now - max(one.created for one in there)
    if age > dt.timedelta(seconds=policy.seconds(site.policy.vault_every)) + policy.GRACE:
        yield f"the newest generation in the vault is {age.days} days old (promised: every {site.policy.vault_every})"
    if any(one.locked_until is not None and one.locked_until <= now for one in there):
        yield "the lock of a generation in the vault has run out"


def _doubts(
    site: Site, generations: Sequence[Generation], whole: Sequence[Generation], now: dt.datetime
) -> Iterator[str]:
    damaged = sum(one.state is GenerationState.DAMAGED for one in generations)
    if damaged:
        yield f"{damaged} of {len(generations)} generations are damaged"
    suspect = sum(one.state is GenerationState.SUSPECT for one in generations)
    if suspect:
        yield f"{suspect} of {len(generations)} generations are suspect"
    if any(one.sealed is False for one in generations):
        yield "a generation is not the one that was sealed"
    yield from _off_site(site, whole, now)
    if site.owner is None:
        yield "nobody is named to restore it"


def _closed(since: dt.datetime) -> str:
    return f"isolated since {since:%Y-%m-%d %H:%M} UTC: everyone gets 503"


class Known(Struct, frozen=True, kw_only=True):
    """What is known of one site, each part or None."""

    health: Health | None = None
    certificate: Certificate | None = None
    domain: Domain | None = None
    inspection: Inspection | None = None
    contact: Contact | None = None
    generations: tuple[Generation, ...] | None = None
    drill: Drill | None = None
    drill_vault: Drill | None = None
    """The last one of a generation of the vault, with the time that it took to bring it."""
    gone: tuple[Gone, ...] = ()
    held: Held = Held()
    weaknesses: Mapping[holes.Key, tuple[Weakness, ...]] | None = None
    """What the feed of known holes says of what the site has; None: it was never read."""
    holes_as_of: dt.datetime | None = None
    tried: TriedPhp | None = None
    lifecycle: Lifecycle = lifecycle.SNAPSHOT


def status(site: Site, known: Known, now: dt.datetime) -> SiteStatus:
    """The site's line on the screen and in `status --json`. Days are counted to `now`, not to when they were read."""
    judged = verdict(site, known, now)
    inspection = known.inspection
    versions = Versions()
    if inspection is not None:
        engine, version = inspection.database_engine or "", inspection.database_version
        php = inspection.php_web or inspection.php_cli
        versions = Versions(
            wordpress=inspection.wordpress,
            php=php,
            database=f"{engine} {version}".strip() if version else None,
            php_eol=known.lifecycle.of("php", php),
            database_eol=known.lifecycle.of(engine, version),
        )
    health = known.health or Health(state=State.UNKNOWN, problem="not looked at yet")
    isolated = inspection.isolated if inspection is not None else None
    if isolated is not None and health.http_status == 503:
        health = msgspec.structs.replace(health, state=State.WARNING, problem=_closed(isolated))
    certificate = known.certificate or Certificate(state=State.UNKNOWN, problem="not looked at yet")
    domain = known.domain or Domain(name="", state=State.UNKNOWN, problem="not looked at yet")
    found = holes.Judged(holes=None, updates=None)
    if inspection is not None:
        pending = known.held.marked(inspection.updates) if inspection.updates_checked else None
        found = holes.judged(inspection, known.weaknesses, pending)
    return SiteStatus(
        name=site.name,
        url=site.url,
        verdict=judged.verdict,
        reasons=(*((_closed(isolated),) if isolated else ()), *judged.reasons),
        rpo_s=judged.rpo_s,
        rto_s=judged.rto_s,
        rto_before_s=judged.rto_before_s,
        rto_vault_s=round(known.drill_vault.seconds) if known.drill_vault and known.drill_vault.ok else None,
        owner=site.owner,
        health=health,
        isolated=isolated,
        generations=tuple(known.generations or ()),
        certificate=certificate,
        domain=domain,
        versions=versions,
        tried=known.tried,
        updates=found.updates,
        holes=found.holes,
        holes_as_of=known.holes_as_of,
    )
