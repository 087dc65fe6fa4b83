"""Can this site be restored? The verdict, from records and a clock alone.

Until drills exist it is at best `unproven`: nothing here passes for proven that was not tried.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from msgspec import Struct

from app import policy
from backends.records import (
    Certainty,
    Certificate,
    Contact,
    Domain,
    Generation,
    GenerationState,
    Health,
    Inspection,
    Site,
    SiteStatus,
    State,
    Verdict,
    Versions,
)


def verdict(site: Site, generations: Sequence[Generation] | None, contact: Contact | None, now: dt.datetime) -> Verdict:
    """`generations` is None where nobody has ever seen them. Every reason is one sentence."""
    if generations is None:
        why = "its server was never reached" if contact is None else f"its server does not answer: {contact.problem}"
        return Verdict(verdict=Certainty.UNKNOWN, reasons=(why,))
    whole = [one for one in generations if one.state is not GenerationState.DAMAGED]
    if not whole:
        why = "it was never backed up" if not generations else "every generation is damaged"
        return Verdict(verdict=Certainty.FAILED, reasons=(why,))
    reasons = ["never rehearsed: no drill has restored it yet"]
    newest = max(whole, key=lambda one: one.id)
    age = now - newest.created
    if age > dt.timedelta(seconds=policy.seconds(site.policy.server_every)) + policy.GRACE:
        reasons.append(f"the newest generation is {age.days} days old (promised: every {site.policy.server_every})")
    if len(whole) < len(generations):
        reasons.append(f"{len(generations) - len(whole)} of {len(generations)} generations are damaged")
    if any(one.sealed is False for one in generations):
        reasons.append("a generation is not the one that was sealed")
    if all(one.tier == "server" for one in whole):
        reasons.append("every generation lies on the site's own server")
    if site.owner is None:
        reasons.append("nobody is named to restore it")
    if contact is not None and contact.code is not None:
        reasons.append(f"its server does not answer: {contact.problem}")
    return Verdict(verdict=Certainty.UNPROVEN, reasons=tuple(reasons), rpo_s=max(0, int(age.total_seconds())))


class Known(Struct, frozen=True, kw_only=True):
    """What is known of one site, each part or None."""

    health: Health | None = None
    certificate: Certificate | None = None
    domain: Domain | None = None
    inspection: Inspection | None = None
    contact: Contact | None = None
    generations: tuple[Generation, ...] | None = None
    rto_s: int | None = None


def status(site: Site, known: Known, now: dt.datetime) -> SiteStatus:
    """The site's line on the screen and in `status --json`. Days are counted to `now`, not to when they were read."""
    judged = verdict(site, known.generations, known.contact, now)
    inspection = known.inspection
    versions = Versions()
    if inspection is not None:
        engine, version = inspection.database_engine or "", inspection.database_version
        versions = Versions(
            wordpress=inspection.wordpress,
            php=inspection.php_web or inspection.php_cli,
            database=f"{engine} {version}".strip() if version else None,
        )
    certificate = known.certificate or Certificate(state=State.UNKNOWN, problem="not looked at yet")
    domain = known.domain or Domain(name="", state=State.UNKNOWN, problem="not looked at yet")
    return SiteStatus(
        name=site.name,
        url=site.url,
        verdict=judged.verdict,
        reasons=judged.reasons,
        rpo_s=judged.rpo_s,
        rto_s=known.rto_s,
        owner=site.owner,
        health=known.health or Health(state=State.UNKNOWN, problem="not looked at yet"),
        generations=tuple(known.generations or ()),
        certificate=certificate,
        domain=domain,
        versions=versions,
        updates=tuple(inspection.updates if inspection else ()),
    )
