"""Expiries as an iCalendar file (RFC 5545): all-day events that block nobody's time. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence

from app.expiries import Expiry
from backends.records import visible

_OCTETS = 75


def written(expiries: Sequence[Expiry], name: str, now: dt.datetime) -> bytes:
    """The file. `name`: the calendar's; `now`: when it was made."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Modoseru//Expiries//EN", f"X-WR-CALNAME:{_text(name)}"]
    for one in expiries:
        lines += _event(one, now)
    lines.append("END:VCALENDAR")
    return b"".join(part + b"\r\n" for line in lines for part in _folded(line))


def _event(one: Expiry, now: dt.datetime) -> list[str]:
    """Its UID is the thing's, not the date's: read in again, a renewed one moves and leaves nothing behind."""
    uid = hashlib.sha256(f"{one.site}\0{one.what}".encode()).hexdigest()[:32]
    renewal = "renews by itself" if one.auto else "renewed by hand"
    facts = [f"ends {one.expires}", f"{one.state}, {renewal}", f"source: {one.source}"]
    facts += [f"owner: {one.owner}"] if one.owner else []
    facts += [f"evidence: {one.evidence}"] if one.evidence else []
    next_day = one.due if one.due == dt.date.max else one.due + dt.timedelta(days=1)
    return [
        "BEGIN:VEVENT",
        f"UID:{uid}@modoseru",
        f"DTSTAMP:{now.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}",
        f"DTSTART;VALUE=DATE:{_date(one.due)}",
        f"DTEND;VALUE=DATE:{_date(next_day)}",
        f"SUMMARY:{_text(f'{one.site}: {one.what}')}",
        "DESCRIPTION:" + "\\n".join(_text(fact) for fact in facts),
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
    ]


def _date(day: dt.date) -> str:
    return day.isoformat().replace("-", "")  # strftime drops the zeros of early years


def _text(value: str) -> str:
    shown = visible(value, 500)
    for character in "\\;,":
        shown = shown.replace(character, f"\\{character}")
    return shown


def _folded(line: str) -> Iterator[bytes]:
    """Parts of at most 75 octets, never cut within a character; each but the first begins with a blank."""
    part = b""
    for character in line:
        octets = character.encode()
        if len(part) + len(octets) > _OCTETS:
            yield part
            part = b" "
        part += octets
    yield part
