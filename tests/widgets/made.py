"""Records made for the tests of the screen: a fleet as real ones are, with every state in it."""

from __future__ import annotations

import datetime as dt

from backends.records import (
    Certainty,
    Certificate,
    Domain,
    Generation,
    GenerationState,
    Health,
    Operation,
    Outcome,
    ServerSettings,
    Site,
    SiteStatus,
    SshSettings,
    State,
    Update,
    Versions,
)

NOW = dt.datetime(2026, 11, 23, 5, 2, tzinfo=dt.UTC)
JST = dt.timezone(dt.timedelta(hours=9), "JST")


def generation(days: float, state: GenerationState = GenerationState.COMPLETE, tier: str = "server") -> Generation:
    created = NOW - dt.timedelta(days=days)
    id_ = created.strftime("%Y%m%dT%H%M%SZ")
    verified = created + dt.timedelta(minutes=5) if state is GenerationState.COMPLETE else None
    return Generation(
        id=id_, tier=tier, created=created, bytes=1_240_000_000, files=22_910, state=state, verified_at=verified
    )


def updates(count: int, *, security: bool = False) -> tuple[Update, ...]:
    names = (("akismet", "Akismet", "5.0.2", "5.7.2"), ("contact-form-7", "Contact Form 7", "5.9", "6.0.1"),
             ("woocommerce", "WooCommerce", "9.1.0", "9.4.2"),
             ("twentytwentythree", "Twenty Twenty-Three", "1.0", "1.7"),
             ("core", "WordPress", "6.9.1", "7.1.1"))  # fmt: skip
    found = []
    for index in range(count):
        slug, name, before, after = names[index % len(names)]
        slug = slug if index < len(names) else f"{slug}-{index}"
        kind = "core" if slug == "core" else "plugin"
        found.append(Update(kind=kind, slug=slug, from_=before, to=after, name=name, security=security and index == 0))
    return tuple(found)


def site(name: str, *, tags: tuple[str, ...] = (), owner: str | None = "duty A", read_only: bool = False) -> Site:
    return Site(
        name=name,
        url=f"https://www.{name}/",
        ssh=SshSettings(host="sv1.host.example", user=name.split(".", maxsplit=1)[0][:30]),
        server=ServerSettings(root="~/public_html", php="/usr/bin/php8.2"),
        owner=owner,
        tags=tags,
        read_only=read_only,
    )


def status(
    name: str,
    *,
    health: Health | None = None,
    verdict: Certainty = Certainty.UNPROVEN,
    cert: int | None = 61,
    domain: int | None = 204,
    generations: tuple[Generation, ...] | None = None,
    pending: tuple[Update, ...] = (),
    **more: object,
) -> SiteStatus:
    """A site that is well, but for what is said."""
    kept = tuple(generation(3 + 7 * week) for week in range(8)) if generations is None else generations
    newest = max((g.created for g in kept if g.state is GenerationState.COMPLETE), default=None)
    looked = NOW - dt.timedelta(minutes=3)
    fields: dict[str, object] = {
        "name": name,
        "url": f"https://www.{name}/",
        "verdict": verdict,
        "rpo_s": int((NOW - newest).total_seconds()) if newest is not None else None,
        "owner": "duty A",
        "health": health or Health(state=State.OK, http_status=200, latency_s=0.4, checked_at=looked),
        "generations": kept,
        "certificate": Certificate(
            state=_due(cert, 5, 20), days_left=cert, issuer="R11", checked_at=looked,
            not_after=NOW + dt.timedelta(days=cert) if cert is not None else None,
            problem="expired" if cert is not None and cert < 0 else None,
        ),
        "domain": Domain(
            name=name, state=_due(domain, 7, 30), days_left=domain, source="rdap" if domain is not None else "unknown",
            expires=(NOW + dt.timedelta(days=domain)).date() if domain is not None else None, checked_at=looked,
        ),
        "versions": Versions(
            wordpress="7.1.1", php="8.2.29", database="10.11.19-MariaDB", php_eol=dt.date(2026, 12, 31),
        ),
        "updates": pending,
    }  # fmt: skip
    return SiteStatus(**{**fields, **more})  # type: ignore[arg-type]


def never_seen(found: Site) -> SiteStatus:
    unknown = State.UNKNOWN
    return SiteStatus(
        name=found.name,
        url=found.url,
        verdict=Certainty.UNKNOWN,
        health=Health(state=unknown, problem="not looked at yet"),
        certificate=Certificate(state=unknown, problem="not looked at yet"),
        domain=Domain(name="", state=unknown, problem="not looked at yet"),
    )


def _due(days: int | None, critical: int, warning: int) -> State:
    if days is None:
        return State.UNKNOWN
    return State.CRITICAL if days <= critical else State.WARNING if days <= warning else State.OK


def broken(problem: str, http_status: int | None = None, state: State = State.CRITICAL, latency: float = 1.2) -> Health:
    return Health(
        state=state,
        http_status=http_status,
        latency_s=latency,
        checked_at=NOW - dt.timedelta(minutes=3),
        problem=problem,
    )


def fleet() -> list[tuple[Site, SiteStatus]]:
    """Twenty-four sites, in no order."""
    suspect = tuple(
        generation(1 + 7 * w, GenerationState.SUSPECT if w < 2 else GenerationState.COMPLETE) for w in range(6)
    )
    damaged = (generation(9, GenerationState.DAMAGED),)
    vaulted = (*(generation(3 + 7 * w) for w in range(8)), *(generation(12 + 30 * m, tier="vault") for m in range(3)))
    statuses = [
        status("zeirishi.example", generations=vaulted, verdict=Certainty.PROVEN, rto_s=41),
        status("kogyo.example", generations=vaulted, verdict=Certainty.PROVEN, rto_s=41, pending=updates(3)),
        status("shika.example", health=broken("status 500", 500), cert=6, domain=19, verdict=Certainty.FAILED,
               generations=damaged, pending=updates(4), reasons=("no complete generation",)),
        status("hanaya.example", health=broken("fatal error on the page", 500), pending=updates(2)),
        status("ryokan.example", cert=-2, pending=updates(1)),
        status("sushi-matsu.example", health=broken("unreachable: connection refused")),
        status("old-shop.example", generations=(), verdict=Certainty.FAILED, pending=updates(12),
               reasons=("never backed up",)),
        status("bengoshi.example", cert=12),
        status("sakura-kai.example", domain=25, pending=updates(2)),
        status("hacked.example", generations=suspect, verdict=Certainty.STALE, pending=updates(5, security=True)),
        status("slow.example", health=broken("slow: 4.1 s", 200, State.WARNING, 4.1)),
        status("toshi-keikaku.example", domain=None),
        status("gakuen.example", cert=80, domain=301),
        status("nouen.example", pending=updates(6)),
        status("kensetsu-yamada.example", generations=tuple(generation(5 + 7 * week) for week in range(5))),
        status("cafe-mori.example", generations=vaulted, verdict=Certainty.PROVEN, rto_s=33),
        status("iin-suzuki.example"),
        status("yoga-studio.example", pending=updates(1)),
        status("photo-ito.example"),
        status("matsuri.example", verdict=Certainty.STALE, reasons=("the last rehearsal is 70 days old",)),
        status("kikaku.example", pending=updates(2)),
        status("shimbun.example", generations=vaulted, verdict=Certainty.PROVEN, rto_s=187),
        status("museum.example"),
        status("kominkan.example", domain=88),
    ]  # fmt: skip
    return [(site(found.name, tags=("shop",) if "shop" in found.name else ()), found) for found in statuses]


def operation(site_name: str, kind: str, outcome: Outcome | None, days: float = 3.0, detail: str = "") -> Operation:
    started = NOW - dt.timedelta(days=days)
    id_ = f"{started:%Y%m%dT%H%M%SZ}-{kind}-00beef"
    return Operation(
        operation=id_, site=site_name, kind=kind, outcome=outcome, started=started, seconds=12.0, detail=detail
    )
