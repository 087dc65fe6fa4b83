"""A site's PHP as words and JSON. Knows no I/O but printing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.operations.look import Judgement
from app.operations.runtime import Known
from app.operations.runtime_switch import Switch, minor
from app.printing import put, put_columns, put_json
from backends.records import Operation
from backends.runtimes import Binary, Reason, Trial

_MARKS = {"safe": "✔", "risky": "!", "impossible": "✖"}


def told(
    site: str,
    known: Known,
    trial: Trial | None,
    *,
    switched: Operation | None = None,
    steps: Sequence[str] = (),
    as_json: bool,
) -> None:
    """The binaries, and what a trial found; `switched` and `steps`: what became of the switch."""
    if as_json:
        put_json(_object(site, known, trial, switched, steps))
        return
    if trial is None:
        put_columns([_line_of(one, known) for one in known.binaries])
        if known.web and not _webs(known.binaries, known):
            put(f"The web runs PHP {known.web}, which is none of these.")
        return
    put(f"{_MARKS[trial.verdict]} {site}: {trial.verdict} under PHP {trial.to} ({trial.path}); now {trial.from_}")
    for one in trial.reasons:
        put(f"  {'✖' if one.severity == 'error' else '!'} {_reason(one)}")
    if trial.more:
        put(f"  and {trial.more} more")
    rendered = f"{trial.pages} pages of {trial.generation} rendered" if trial.generation else "no page was rendered"
    put(f"  {trial.files} files read, {rendered}")
    for number, step in enumerate(steps, 1):
        put(f"{number}. {step}")
    if switched is not None:
        put(f"{site}: switch {(switched.outcome or 'unknown').replace('_', ' ')}: {switched.detail}")


def checked(site: str, switch: Switch, judged: Judgement, *, as_json: bool) -> None:
    if as_json:
        put_json(
            {"site": site, "php": {"from": switch.from_, "to": switch.to}, "ok": judged.keep, "detail": judged.detail}
        )
        return
    again = "" if judged.keep else f" → choose PHP {minor(switch.from_)} again in the panel"
    put(f"{'✔' if judged.keep else '✖'} {site} under PHP {switch.to}: {judged.detail}{again}")


def _object(
    site: str, known: Known, trial: Trial | None, switched: Operation | None, steps: Sequence[str]
) -> dict[str, Any]:
    cli = known.cli
    now = trial.from_ if trial else cli.version if cli else None
    return {
        "site": site,
        "php": {"from": now, "to": trial.to if trial else None, "web": known.web},
        "verdict": trial.verdict if trial else None,
        "reasons": trial.reasons if trial else [],
        "more": trial.more if trial else 0,
        "extensions": {"missing": trial.missing if trial else []},
        "files": trial.files if trial else None,
        "pages": trial.pages if trial else None,
        "generation": trial.generation if trial else None,
        "binaries": [_binary(one, known) for one in known.binaries],
        "steps": list(steps),
        "switch": None
        if switched is None
        else {"operation": switched.operation, "outcome": switched.outcome, "detail": switched.detail},
    }


def _webs(binaries: Sequence[Binary], known: Known) -> list[Binary]:
    """Those of the version that answers visitors: which file that is, nobody outside can tell."""
    return [one for one in binaries if one.version is not None and one.version == known.web]


def _binary(one: Binary, known: Known) -> dict[str, Any]:
    return {
        "path": one.path,
        "version": one.version,
        "eol": known.lifecycle.of("php", one.version),
        "sapi": one.sapi,
        "ini": one.ini,
        "cli": one.cli,
        "web": one in _webs(known.binaries, known),
        "problem": one.problem,
    }


def _line_of(one: Binary, known: Known) -> list[str]:
    end = known.lifecycle.of("php", one.version)
    uses = [name for name, is_it in (("cli", one.cli), ("web", one in _webs(known.binaries, known))) if is_it]
    return [one.version or "?", one.path, f"until {end}" if end else "", " ".join(uses), one.problem or ""]


def _reason(one: Reason) -> str:
    at = f" ({one.file}{f':{one.line}' if one.line else ''})" if one.file else ""
    return f"{one.slug}: {one.kind.replace('_', ' ')}: {one.message}{at}{f' × {one.count}' if one.count > 1 else ''}"
