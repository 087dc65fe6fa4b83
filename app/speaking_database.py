"""The report on a site's database as words and JSON. Knows no I/O but printing."""

from __future__ import annotations

import itertools
from typing import Any

from app.fleet import Fleet
from app.operations.runtime_database import Finding, Found
from app.printing import put, put_columns, put_json
from app.speaking import speak
from backends.records import TableFacts, TargetReport
from widgets.language import tr
from widgets.sentences import told

_NAMES = {"mysql": "MySQL", "mariadb": "MariaDB"}


def report(fleet: Fleet, found: Found, *, as_json: bool) -> None:
    """In the fleet's language; the JSON is English, as it is kept."""
    seen = found.report
    if as_json:
        put_json(
            {
                "site": found.site,
                "engine": seen.engine,
                "version": seen.version,
                "eol": found.eol,
                "ended": found.ended,
                "snapshot_old": found.snapshot_old,
                "sql_mode": seen.sql_mode,
                "collation": seen.collation,
                "counts": seen.counts,
                "tables": seen.tables,
                "findings": found.findings,
                "truncated": seen.truncated,
                "target": seen.target,
            }
        )
        return
    speak(fleet.settings.fleet.language)
    put(f"{found.site}: {_NAMES[seen.engine]} {seen.version}  {_fixes(found)}")
    if found.snapshot_old:
        put(f"  {tr('these dates are more than a year old')}")
    put_columns([["", *row] for row in _kinds(seen.tables)])
    for one in found.findings:
        put(f"{'✖' if one.refused_by else '●'} {_said(one)}")
        more = f" … ({one.count})" if one.count > len(one.items) else ""
        put(f"    {', '.join(one.items)}{more}")
        put(f"    → {told(one.hint)}")
    if seen.truncated:
        put(tr("not all tables and columns were looked at"))
    elif not found.findings:
        put(tr("no table that another server would refuse"))
    if seen.target is not None:
        _target(seen.target)


def _target(target: TargetReport) -> None:
    runs = f"{_NAMES[target.engine]} {target.version}" if target.engine else "?"
    put(f"→ {target.name} ({target.host}): {runs}")
    for old, new in target.mapped.items():
        put(f"● {old} → {new}")
    for one in target.blockers:
        put(f"✖ {told(one.message)}")
        put(f"    → {told(one.hint)}")
    if not target.blockers:
        put(f"✔ {tr('nothing is in the way of a move')}")


def _fixes(found: Found) -> str:
    if found.eol is None:
        return tr("nobody says until when it gets fixes")
    day = found.eol.isoformat()
    return tr("no fixes since {day}", day=day) if found.ended else tr("fixes until {day}", day=day)


def _said(one: Finding) -> str:
    by = ", ".join(_NAMES[name] for name in one.refused_by)
    return tr("{by} refuses: {what}", by=by, what=told(one.message)) if by else told(one.message)


def _kinds(tables: tuple[TableFacts, ...]) -> list[list[Any]]:
    """How many tables there are of each engine and collation, the most first."""

    def kind(one: TableFacts) -> tuple[str, str]:
        return ("view" if one.view else one.engine or "?"), one.collation or "–"

    groups = itertools.groupby(sorted(tables, key=kind), key=kind)
    counted = [(len(list(group)), engine, collation) for (engine, collation), group in groups]
    return [[str(count), engine, collation] for count, engine, collation in sorted(counted, reverse=True)] or [["0"]]
