"""How the commands print: one JSON object exactly as DESIGN 7 has it, or lines for a person. No decisions."""

from __future__ import annotations

import datetime as dt
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from app.printing import aside, error, error_object, fields_of, put, put_columns, put_json
from backends.records import (
    AnyEvent,
    Asked,
    Certainty,
    Difference,
    Finished,
    Generation,
    Gone,
    ModoseruError,
    Note,
    Operation,
    Outcome,
    Progress,
    Site,
    SiteStatus,
    State,
    Step,
    encode,
)
from widgets import language
from widgets.fleet_row import FleetRow, head, plain, urgency
from widgets.site_page import OLD_FEED_S

if TYPE_CHECKING:
    from app.enrolment import Tested
    from app.fleet import Fleet
    from app.operations.move import Dns
    from app.operations.post import Found
    from app.operations.vault_catalogue import Doctor, Rebuilt
    from app.operations.vault_prune import Pruned
    from app.operations.verify import Verified
    from backends.agent.client import Post, Preview
    from backends.holes import Feed

_STATUS_FIELDS = ("state", "http_status", "latency_s", "checked_at")
_CERTIFICATE_FIELDS = ("not_after", "days_left", "issuer", "state")
_DOMAIN_FIELDS = ("name", "expires", "days_left", "source", "state")
_GENERATION_FIELDS = (
    *("id", "tier", "created", "bytes", "files", "tables", "rows", "state", "pinned", "sealed"),
    *("verified_at", "drilled_at", "locked_until"),
)
UPDATE_FIELDS = ("kind", "slug", "from_", "to", "security", "closes", "held")
_WORDS = {
    None: "running",
    Outcome.DONE: "done",
    Outcome.ROLLED_BACK: "taken back",
    Outcome.CANCELLED: "cancelled",
    Outcome.NEEDS_HAND: "NEEDS A HAND",
}
_POST_FIELDS = ("id", "type", "title", "status", "modified", "now")
_BECOME = {
    "gone": "gone now",
    "trashed": "in the trash now",
    "changed": "changed since",
    "same": "the same now",
    "other": "its ID is another's now",
}
_AS_BEFORE = (Outcome.ROLLED_BACK, Outcome.CANCELLED)
_UNDOABLE = ("restore", "undo", "update", "rehouse")
_PATHS = 20
"""Of each list, before --all is asked for."""
_OPERATION_FIELDS = ("operation", "site", "kind", "outcome", "generation", "seconds", "steps", "detail")


def speak(setting: str | None) -> None:
    """The language of the fleet's file, or the locale's."""
    language.use(language.choose(setting, os.environ), Path(__file__).parent / "locale")


def exit_code(known: Sequence[SiteStatus]) -> int:
    """`check`'s: 0 ok, 1 warning, 2 critical, 3 unknown; of the most urgent site (DESIGN 7)."""
    codes = {State.OK: 0, State.WARNING: 1, State.UNKNOWN: 3, State.CRITICAL: 2}
    order = list(codes)
    return codes[max((_state(one) for one in known), key=order.index, default=State.OK)]


def _state(one: SiteStatus) -> State:
    """A site whose generations nobody could see is not ok, however well its pages answer."""
    seen = urgency(one)
    return State.UNKNOWN if one.verdict is Certainty.UNKNOWN and seen is not State.CRITICAL else seen


def statuses(fleet: Fleet, known: Sequence[SiteStatus], feed: Feed | None = None, *, as_json: bool) -> None:
    """The same lines as the dashboard's list, or JSON. `feed`: of known holes; of an old one a line tells."""
    if as_json:
        put_json({"sites": [_status(one) for one in known], "feed": feed_object(feed)})
        return
    if not known:
        put(f"No site yet. {fleet.hint or 'modoseru site add'}")
        return
    speak(fleet.settings.fleet.language)
    now, width = dt.datetime.now(dt.UTC), max(80, shutil.get_terminal_size((120, 24)).columns)
    tags = {site.name: site.tags for site in fleet.sites}
    put(head(width))
    for one in known:
        put(plain(FleetRow(status=one, tags=tags.get(one.name, ())), width, now))
    if feed is not None and (feed.as_of is None or (now - feed.as_of).total_seconds() > OLD_FEED_S):
        feed_told(feed)


def feed_told(feed: Feed) -> None:
    """How old what is known of holes is, and why it is not newer."""
    why = f": {feed.problem}" if feed.problem else ""
    if feed.as_of is None:
        aside(f"known holes are unknown{why or ': their feed was not read yet: modoseru updates'}")
        return
    age = _age(dt.datetime.now(dt.UTC) - feed.as_of)
    aside(f"known holes as of {feed.as_of:%Y-%m-%d %H:%M} UTC, {age} ago{why}")


def _age(age: dt.timedelta) -> str:
    minutes = max(0, int(age.total_seconds()) // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2 * 1440 else f"{minutes // 1440} days"


def feed_object(feed: Feed | None) -> dict[str, Any] | None:
    if feed is None:
        return None
    age = dt.datetime.now(dt.UTC) - feed.as_of if feed.as_of is not None else None
    return {
        "source": feed.source,
        "as_of": feed.as_of,
        "age_s": max(0, int(age.total_seconds())) if age is not None else None,
        "entries": feed.entries,
        "problem": feed.problem,
    }


def _status(one: SiteStatus) -> dict[str, Any]:
    return {
        **fields_of(
            one,
            ("name", "url", "verdict", "reasons", "rpo_s", "rto_s", "rto_before_s", "rto_vault_s", "owner", "isolated"),
        ),
        "health": fields_of(one.health, _STATUS_FIELDS),
        "generations": [fields_of(generation, _GENERATION_FIELDS) for generation in one.generations],
        "certificate": fields_of(one.certificate, _CERTIFICATE_FIELDS),
        "domain": fields_of(one.domain, _DOMAIN_FIELDS),
        "versions": one.versions,
        "updates": None if one.updates is None else [fields_of(update, UPDATE_FIELDS) for update in one.updates],
        "holes": one.holes,
    }


def generations(site: str, found: Sequence[Generation], gone: Sequence[Gone] = (), *, as_json: bool) -> None:
    if as_json:
        put_json({"site": site, "generations": [fields_of(one, _GENERATION_FIELDS) for one in found], "gone": gone})
        return
    if not found and not gone:
        put(f"{site} was never backed up: modoseru backup {site}")
    for one in found:
        seal = {True: "sealed", False: "SEAL BROKEN", None: "unsealed"}[one.sealed]
        read = f"read back {one.verified_at:%Y-%m-%d}" if one.verified_at else "never read back"
        size = f"{one.bytes / 1e6:,.1f} MB" if one.bytes is not None else "? MB"
        files = f"{one.files:,}" if one.files is not None else "?"
        locked = f", locked until {one.locked_until:%Y-%m-%d}" if one.locked_until else ", not locked"
        end = locked if one.tier == "vault" else ""
        put(f"{one.id}  {one.tier:<6}  {one.state.value:<9} {size:>12}  {files:>9} files  {seal}, {read}{end}")
    if any(one.sealed is False for one in found):
        aside("  → SEAL BROKEN: somebody changed it after it was made; restore takes another one")
    for lost in gone:
        how = (
            "let go by the server's retention, by its own word" if lost.let_go else "GONE: sealed here, and taken away"
        )
        put(f"{lost.id}  server  {how}")
    if any(not lost.let_go for lost in gone):
        aside(f"  → find out who took it away; where you know: modoseru generations {site} --let-go ID")


def verification(found: Verified, *, as_json: bool) -> None:
    if as_json:
        put_json(found)
        return
    put(f"{found.site} {found.generation}: {found.outcome}, {found.checked_bytes / 1e6:,.1f} MB read")
    for problem in found.problems:
        put(f"  {problem.path}: {problem.what}{'; healed' if problem.healed else ''}")
    if found.outcome == "unknown" and found.tier == "vault" and not found.checked_bytes:
        put("  it is stored; that it can be read nobody has shown: name the identity with --identity")
    elif found.outcome == "unknown":
        put("  whole by the server's own word; no seal of it is kept here")
    elif any(not one.healed and not one.path.startswith("generations/") for one in found.problems):
        aside(f"  → do not restore it; take another one: modoseru generations {found.site}")


def doctor(found: Doctor, *, as_json: bool) -> None:
    if as_json:
        put_json(found)
        return
    able = found.abilities
    answers = {True: "yes", False: "no", None: "unknown"}
    put(found.place)
    put(f"  keeps versions: {answers[able.versioning]}; locks: {able.lock or 'none'}")
    put(f"  refuses to overwrite: {answers[able.conditional]}; compares checksums: {answers[able.checksums]}")
    put(f"  these credentials can delete: {answers[able.may_delete]}")
    if found.orphans:
        put(f"  {found.orphans} pieces ({found.orphan_bytes / 1e6:,.1f} MB) that no known entry names")
    for name in found.missing:
        put(f"  {name} is missing: modoseru verify --tier vault says of which generation")
    for problem in found.problems:
        put(f"  ! {problem}")


def rebuilt(found: Rebuilt, *, as_json: bool) -> None:
    if as_json:
        put_json(found)
        return
    put(f"{found.place}: {found.entries} generations of {len(found.sites)} sites")
    for problem in found.problems:
        put(f"  ! {problem}")


def pruned(found: Pruned, *, as_json: bool) -> None:
    if as_json:
        put_json(found)
        return
    for one in found.generations:
        put(f"  {one.site}  {one.generation}  of {one.created:%Y-%m-%d}")
    what = f"{len(found.generations)} generations, {found.pieces} pieces ({found.bytes / 1e6:,.1f} MB)"
    put(f"{found.place}: {what} {'went' if found.deleted else 'would go'}")
    if found.orphans:
        put(f"  {found.orphans} of the pieces were named by no entry")
    for problem in found.problems:
        put(f"  ! {problem}")
    if not found.deleted and (found.generations or found.pieces):
        aside("  → nothing was deleted: --yes deletes")


def difference(fleet: Fleet, found: Difference, *, everything: bool, as_json: bool) -> None:
    """In the fleet's language, as the dashboard says it."""
    if as_json:
        put_json(found)
        return
    from zoneinfo import ZoneInfo

    from widgets.cells import text_of
    from widgets.difference import difference as lines_of

    speak(fleet.settings.fleet.language)
    zone, most = ZoneInfo(fleet.settings.fleet.timezone), None if everything else _PATHS
    if sys.stderr.isatty():
        aside("\x1b[K", end="\r")
    now = dt.datetime.now(dt.UTC)
    lines = lines_of(found, now, zone, most=most)
    for line in lines:
        put(text_of(line).rstrip())
    if len(lines) < len(lines_of(found, now, zone, most=None)):
        aside("  → every path: --all")
    elif found.truncated:
        aside(f"  → the server sent the first of each alone: {', '.join(found.truncated)}")


def preview(
    site: str, found: Preview, only: str | Sequence[str], *, fresh: bool, as_json: bool, dns: Dns | None = None
) -> None:
    if as_json:
        put_json({"site": site, **_foreseen(found), **({"dns": dns} if dns else {})})
        return
    from app.operations.restore import goes

    put(f"Restoring {site} to {found.generation} would mean:")
    parts = [] if only == "all" else [only] if isinstance(only, str) else only
    flags = "".join(f" --only {shlex.quote(part)}" for part in parts) + (" --fresh" if fresh else "")
    _would_mean(found, goes(found, only), f"modoseru restore {site} {found.generation}{flags}")
    _dns(dns)


def moved_preview(source: Site, target: Site, found: Preview, *, as_json: bool) -> None:
    if as_json:
        put_json({"site": source.name, "to": target.name, **_foreseen(found)})
        return
    from app.operations.moving import goes

    put(f"Restoring {source.name} of {found.generation} to {target.name} would mean:")
    again = f"modoseru restore {source.name} {found.generation} --to {target.name}"
    _would_mean(found, goes(source, target, found), again)


def _foreseen(found: Preview) -> dict[str, object]:
    return {
        "generation": found.generation,
        "blockers": found.blockers,
        "warnings": found.warnings,
        "loss": found.loss,
        "recommended": found.recommended,
    }


def _would_mean(found: Preview, sentences: Sequence[str], again: str) -> None:
    for sentence in sentences:
        put(f"  {sentence}")
    for kind, blockers in (("blocked", found.blockers), ("warning", found.warnings)):
        for one in blockers:
            put(f"  {kind}: {one.message}{f' → {one.hint}' if one.hint else ''}")
    if found.blockers:
        aside("  → nothing was changed; it cannot be restored before that is put right")
    else:
        aside(f"  → nothing was changed; to do it: {again}")


def post(site: str, found: Post, *, as_json: bool) -> None:
    if as_json:
        loss = {"posts": 0, "comments": 0, "users": 0, "orders": 0, "entries": 0, "files": 0, "newest": []}
        shown = {"site": site, "generation": found.generation, "blockers": found.blockers, "warnings": found.warnings}
        put_json({**shown, "loss": loss, "recommended": None, "post": found})
        return
    from app.operations.post import comes, goes

    put(f"Bringing “{found.then.title}” back to {site} from {found.generation} would mean ({_BECOME[found.state]}):")
    for sentence in (*goes(found), *comes(found)):
        put(f"  {sentence}")
    for kind, blockers in (("blocked", found.blockers), ("warning", found.warnings)):
        for one in blockers:
            put(f"  {kind}: {one.message}{f' → {one.hint}' if one.hint else ''}")
    if found.blockers:
        aside("  → nothing was changed; it cannot come back before that is put right")
    else:
        part = f"--only post:{found.id}"
        aside(f"  → nothing was changed; to do it: modoseru restore {site} {found.generation} {part}")


def posts(site: str, found: Sequence[Found], *, as_json: bool) -> None:
    if as_json:
        put_json(
            {
                "site": site,
                "posts": [{"generation": one.generation, **fields_of(one.post, _POST_FIELDS)} for one in found],
            }
        )
        return
    if not found:
        put(f"No clean generation of {site} holds a post with these words in its title.")
    rows = []
    for one in found:
        kind = (one.post.type, f"{one.post.modified:%Y-%m-%d}" if one.post.modified else "–")
        rows.append((f"post:{one.post.id}", *kind, _BECOME[one.post.now], one.generation, one.post.title))
    put_columns(rows)
    if found:
        aside(f"  → to bring one back: modoseru restore {site} --only post:{found[0].post.id}")


def operations(known: Sequence[Operation], *, nothing: str, as_json: bool) -> None:
    if as_json:
        put_json({"operations": [_operation(one) for one in known]})
        return
    if not known:
        put(nothing)
    put_columns([(one.operation, one.site, _WORDS[one.outcome], one.detail) for one in known])
    for one in known:
        if one.outcome is None:
            aside(f"  → modoseru follow {one.site} {one.operation}")


def _dns(found: Dns | None) -> None:
    if found is None:
        return
    kept = f", kept for {found.ttl_s} s" if found.ttl_s is not None else ""
    now = "unknown" if found.now is None else ", ".join(found.now) or "nowhere"
    put(f"  DNS: {found.host} leads to {now}{kept}; the new server is {found.wanted}")
    for one in found.records:
        if one.from_ is None:
            put(f"    add {one.name} {one.type} {one.to}")
        else:
            verb, end = ("change", f" → {one.to}") if one.to else ("remove", "")
            put(f"    {verb} {one.name} {one.type} {one.from_}{end}")
    if found.problem:
        put(f"    {found.problem}")
    put(f"    {found.mail}")


def waited(site: str, found: Dns, how: str) -> None:
    """How far DNS is, each time that it was asked."""
    if how == "json":
        aside(encode({"type": "dns", **msgspec.to_builtins(found)}).decode())
    elif how == "text":
        left = "; ".join(f"{one.name} {one.type} is {one.from_ or 'missing'}" for one in found.records)
        state = left or found.problem or f"DNS leads to {found.wanted}, and the certificate there is valid"
        aside(f"{site}: {state}")


def results(
    sites: Sequence[str], ended: Sequence[Operation | ModoseruError], *, as_json: bool, dns: Dns | None = None
) -> None:
    """One operation as its object, several as `operations`; what failed to begin as its site and the error."""
    if as_json:
        objects = [
            _operation(one) if isinstance(one, Operation) else {"site": site, "error": error_object(one)}
            for site, one in zip(sites, ended, strict=True)
        ]
        put_json(objects[0] | ({"dns": dns} if dns else {}) if len(objects) == 1 else {"operations": objects})
        return
    for site, one in zip(sites, ended, strict=True):
        if isinstance(one, ModoseruError):
            error(one, as_json=False, site=site)
            continue
        took = f" in {one.seconds:.1f} s" if one.seconds is not None else ""
        put(f"{site}: {one.kind} {_WORDS[one.outcome]}{took}. {one.detail}")
        if one.outcome in _AS_BEFORE:
            put("  the site is as before")
        elif one.outcome is Outcome.DONE and one.kind in _UNDOABLE:
            aside(f"  → to take it back: modoseru undo {site}")
    _dns(dns)


def _operation(one: Operation) -> dict[str, Any]:
    return fields_of(one, _OPERATION_FIELDS)


def event(site: str, one: AnyEvent, how: str) -> None:
    """One event on stderr: NDJSON, a line, or (progress on a terminal) a line that is written over."""
    if how == "none":
        return
    if how == "json":
        aside(encode(one).decode())
        return
    text = ""
    if isinstance(one, Step):
        text = one.name
    elif isinstance(one, Note):
        text = f"{one.level}: {one.text}" if one.level != "info" else one.text
    elif isinstance(one, Asked) and one.subject == "look":
        text = f"looking at {one.item} from outside" if one.item else "looking from outside"
    elif isinstance(one, Finished):
        text = f"→ {one.hint}" if one.hint else ""
    elif isinstance(one, Progress) and sys.stderr.isatty() and one.total:
        aside(f"\r{site}: {100 * one.done // one.total:3d} % of {one.total:,} {one.unit}\x1b[K", end="\r")
    if text:
        aside(f"{site}: {text}")


def counted(done: int, total: int, name: str, how: str) -> None:
    if how == "json":
        aside(encode({"type": "progress", "done": done, "total": total, "unit": "sites"}).decode())
    elif how == "text" and sys.stderr.isatty():
        aside(f"\r{done}/{total} {name}\x1b[K", end="\r" if done < total else "\r\x1b[K")


def table(name: str, rows: Sequence[Mapping[str, str | None]], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        put_json({name: rows})
        return
    put_columns([[row.get(column) or "–" for column in columns] for row in rows])


def said(facts: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        put_json(facts)
        return
    for name, value in facts.items():
        put(f"{name}: {value}")


def tests(results: Sequence[Tested], *, as_json: bool) -> None:
    if as_json:
        put_json({"sites": results})
        return
    for one in results:
        put(one.site)
        for step in one.steps:
            hint = f" → {step.hint}" if step.hint and not step.ok else ""
            put(f"  {'✔' if step.ok else '✖'} {step.name}: {step.detail}{hint}")
