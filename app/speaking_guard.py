"""The guard's report as words and JSON. Knows no I/O but printing."""

from __future__ import annotations

import datetime as dt
import zoneinfo

from msgspec import structs

from app.fleet import Fleet
from app.printing import put, put_columns, put_json
from app.speaking import speak
from backends.records import GuardLine, GuardReport, visible
from widgets.language import tr

_SHOWN = 10


def told(fleet: Fleet, site: str, report: GuardReport, *, as_json: bool) -> None:
    """In the fleet's language; the JSON is English, as it is kept."""
    if as_json:
        put_json({"site": site, **structs.asdict(report)})
        return
    speak(fleet.settings.fleet.language)
    zone = zoneinfo.ZoneInfo(fleet.settings.fleet.timezone)
    put(f"{site}: {_standing(report)}")
    if not report.installed:
        return
    counts = report.counts
    put(tr("{failed} failed logins counted, {blocked} blocks, {now} in force",
           failed=counts.get("failed", 0), blocked=counts.get("blocked", 0), now=report.blocks_in_force))  # fmt: skip
    if report.blocks:
        put_columns([["  ■", visible(one.name, 80), _when(one.until, zone)] for one in report.blocks[:_SHOWN]])
    for title, lines in ((tr("attacks"), report.attacks), (tr("who did what"), report.deeds)):
        if lines:
            put(title)
            put_columns([_row(one, zone) for one in lines[:_SHOWN]])


def _standing(report: GuardReport) -> str:
    if not report.installed:
        return tr("no guard stands there")
    if not report.ours:
        return tr("a guard whose bytes are not Modoseru's: look at {file}, or install it again", file=report.file)
    return tr("the guard stands, version {version}", version=report.version or "?")


def _row(one: GuardLine, zone: dt.tzinfo) -> list[str]:
    return ["  ", _when(one.at, zone), one.event, visible(one.what, 60), visible(one.user, 40), one.address]


def _when(at: dt.datetime, zone: dt.tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
