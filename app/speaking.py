"""How the commands print: one JSON object exactly as DESIGN 7 has it, or lines for a person. No decisions."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.cells import cell_len, set_cell_size

from backends.records import (
    AnyEvent,
    Finished,
    Generation,
    ModoseruError,
    Note,
    Operation,
    Progress,
    SiteStatus,
    State,
    Step,
    encode,
)
from widgets import language
from widgets.cells import text_of
from widgets.fleet_row import FleetRow, plain, titles, urgency

if TYPE_CHECKING:
    from app.enrolment import Tested
    from app.fleet import Fleet
    from app.operations.verify import Verified
    from backends.agent.client import Preview

_STATUS_FIELDS = ("state", "http_status", "latency_s", "checked_at")
_CERTIFICATE_FIELDS = ("not_after", "days_left", "issuer", "state")
_DOMAIN_FIELDS = ("name", "expires", "days_left", "source", "state")
_GENERATION_FIELDS = (
    *("id", "tier", "created", "bytes", "files", "tables", "rows", "state", "pinned", "sealed"),
    *("verified_at", "drilled_at", "locked_until"),
)
_UPDATE_FIELDS = ("kind", "slug", "from_", "to", "security")
_OPERATION_FIELDS = ("operation", "site", "kind", "outcome", "generation", "seconds", "steps", "detail")


def _line(text: str = "") -> None:
    click.echo(text)


def _json(value: Any) -> None:
    click.echo(encode(value).decode())


def _only(record: Any, fields: Sequence[str]) -> dict[str, Any]:
    return {name.rstrip("_"): getattr(record, name) for name in fields}


def error(problem: ModoseruError, *, as_json: bool) -> None:
    """One line on stderr, or the error object on stdout; what was wrong in several places, one line each."""
    if as_json:
        _json({"error": {"code": problem.code, "message": problem.message, "hint": problem.hint}})
        return
    for one in getattr(problem, "problems", None) or (problem.message,):
        click.echo(f"modoseru: {one}", err=True)
    if problem.hint:
        click.echo(f"  → {problem.hint}", err=True)


def speak(setting: str | None) -> None:
    """The language of the fleet's file, or the locale's."""
    language.use(language.choose(setting, os.environ), Path(__file__).parent / "locale")


def exit_code(known: Sequence[SiteStatus]) -> int:
    """`check`'s: 0 ok, 1 warning, 2 critical, 3 unknown; of the most urgent site (DESIGN 7)."""
    codes = {State.OK: 0, State.WARNING: 1, State.UNKNOWN: 3, State.CRITICAL: 2}
    order = list(codes)
    return codes[max((urgency(one) for one in known), key=order.index, default=State.OK)]


def statuses(fleet: Fleet, known: Sequence[SiteStatus], *, as_json: bool) -> None:
    """The same lines as the dashboard's list, or JSON."""
    if as_json:
        _json({"sites": [_status(one) for one in known]})
        return
    if not known:
        _line(f"No site yet. {fleet.hint or 'modoseru site add'}")
        return
    speak(fleet.settings.fleet.language)
    now, width = dt.datetime.now(dt.UTC), max(80, shutil.get_terminal_size((120, 24)).columns)
    tags = {site.name: site.tags for site in fleet.sites}
    _line(text_of(titles(width)))
    for one in known:
        _line(plain(FleetRow(status=one, tags=tags.get(one.name, ())), width, now))


def _status(one: SiteStatus) -> dict[str, Any]:
    return {
        **_only(one, ("name", "url", "verdict", "reasons", "rpo_s", "rto_s", "owner")),
        "health": _only(one.health, _STATUS_FIELDS) | {"problem": one.health.problem},
        "generations": [_only(generation, _GENERATION_FIELDS) for generation in one.generations],
        "certificate": _only(one.certificate, _CERTIFICATE_FIELDS) | {"problem": one.certificate.problem},
        "domain": _only(one.domain, _DOMAIN_FIELDS) | {"problem": one.domain.problem},
        "versions": one.versions,
        "updates": [_only(update, _UPDATE_FIELDS) for update in one.updates],
    }


def generations(site: str, found: Sequence[Generation], *, as_json: bool) -> None:
    if as_json:
        _json({"site": site, "generations": [_only(one, _GENERATION_FIELDS) for one in found]})
        return
    if not found:
        _line(f"{site} was never backed up: modoseru backup {site}")
    for one in found:
        seal = {True: "sealed", False: "SEAL BROKEN", None: "unsealed"}[one.sealed]
        read = f"read back {one.verified_at:%Y-%m-%d}" if one.verified_at else "never read back"
        size = f"{one.bytes / 1e6:,.1f} MB" if one.bytes is not None else "? MB"
        _line(f"{one.id}  {one.tier}  {one.state.value:<9} {size:>12}  {one.files or '?'} files  {seal}, {read}")


def verification(found: Verified, *, as_json: bool) -> None:
    if as_json:
        _json(found)
        return
    _line(f"{found.site} {found.generation}: {found.outcome}, {found.checked_bytes / 1e6:,.1f} MB read")
    for problem in found.problems:
        _line(f"  {problem.path}: {problem.what}")
    if found.outcome == "unknown":
        _line("  whole by the server's own word; no seal of it is kept here")


def updates(known: Sequence[SiteStatus], *, as_json: bool) -> None:
    if as_json:
        sites = [
            {"name": one.name, "updates": [_only(update, _UPDATE_FIELDS) for update in one.updates]} for one in known
        ]
        _json({"sites": sites})
        return
    for one in known:
        _line(f"{one.name}: {len(one.updates)} pending")
        for update in one.updates:
            _line(f"  {update.kind:<11} {update.slug}  {update.from_} → {update.to}")


def preview(site: str, found: Preview, *, as_json: bool) -> None:
    if as_json:
        _json(
            {
                "site": site,
                "generation": found.generation,
                "blockers": found.blockers,
                "warnings": found.warnings,
                "loss": found.loss,
            }
        )
        return
    from app.operations.restore import goes

    _line(f"Restoring {site} to {found.generation} would mean:")
    for sentence in goes(found.loss, "all"):
        _line(f"  {sentence}")
    for kind, blockers in (("blocked", found.blockers), ("warning", found.warnings)):
        for one in blockers:
            _line(f"  {kind}: {one.message} → {one.hint}")


def operations(known: Sequence[Operation], *, as_json: bool) -> None:
    if as_json:
        _json({"operations": [_operation(one) for one in known]})
        return
    if not known:
        _line("Nothing is running.")
    for one in known:
        state = one.outcome.value if one.outcome else "running"
        _line(f"{one.operation}  {one.site}  {one.kind}  {state}  {one.detail}")


def results(ended: Sequence[Operation | ModoseruError], *, as_json: bool) -> None:
    """One operation as its object, several as `operations`; a failure to begin as an error object among them."""
    if as_json:
        objects = [
            _operation(one)
            if isinstance(one, Operation)
            else {"error": {"code": one.code, "message": one.message, "hint": one.hint}}
            for one in ended
        ]
        _json(objects[0] if len(objects) == 1 else {"operations": objects})
        return
    for one in ended:
        if isinstance(one, ModoseruError):
            error(one, as_json=False)
            continue
        took = f" in {one.seconds:.1f} s" if one.seconds is not None else ""
        _line(f"{one.site}: {one.kind} {one.outcome.value if one.outcome else 'running'}{took}. {one.detail}")


def _operation(one: Operation) -> dict[str, Any]:
    return _only(one, _OPERATION_FIELDS)


def event(site: str, one: AnyEvent, how: str) -> None:
    """One event on stderr: NDJSON, a line, or (progress on a terminal) a line that is written over."""
    if how == "none":
        return
    if how == "json":
        click.echo(encode(one).decode(), err=True)
        return
    text = ""
    if isinstance(one, Step):
        text = one.name
    elif isinstance(one, Note):
        text = f"{one.level}: {one.text}" if one.level != "info" else one.text
    elif isinstance(one, Finished):
        text = one.outcome.value
    elif isinstance(one, Progress) and sys.stderr.isatty() and one.total:
        click.echo(
            f"\r{site}: {100 * one.done // one.total:3d} % of {one.total:,} {one.unit}\x1b[K\r", err=True, nl=False
        )
    if text:
        click.echo(f"{site}: {text}", err=True)


def counted(done: int, total: int, name: str, how: str) -> None:
    if how == "json":
        click.echo(encode({"type": "progress", "done": done, "total": total, "unit": "sites"}).decode(), err=True)
    elif how == "text" and sys.stderr.isatty():
        end = "\r" if done < total else "\r\x1b[K"
        click.echo(f"\r{done}/{total} {name}\x1b[K{end}", err=True, nl=False)


def table(name: str, rows: Sequence[Mapping[str, str | None]], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        _json({name: rows})
        return
    widths = [max([cell_len(row.get(column) or "–") for row in rows], default=0) for column in columns]
    for row in rows:
        shown = [(row.get(column) or "–") for column in columns]
        _line("  ".join(set_cell_size(text, width) for text, width in zip(shown, widths, strict=True)).rstrip())


def said(facts: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        _json(facts)
        return
    for name, value in facts.items():
        _line(f"{name}: {value}")


def tests(results: Sequence[Tested], *, as_json: bool) -> None:
    if as_json:
        _json({"sites": results})
        return
    for one in results:
        _line(one.site)
        for step in one.steps:
            hint = f" → {step.hint}" if step.hint and not step.ok else ""
            _line(f"  {'✔' if step.ok else '✖'} {step.name}: {step.detail}{hint}")
