"""Expiries and renewals as words and JSON. Knows no I/O but printing."""

from __future__ import annotations

from app.expiries import Expiry
from app.operations.renewal import Calendar
from app.printing import put, put_columns, put_json
from backends.journal_renewals import RenewalEntry
from backends.records import visible


def calendar(found: Calendar, days: int, *, as_json: bool) -> None:
    if as_json:
        put_json({"days": days, "expiries": found.expiries, "undated": found.undated})
        return
    if found.expiries:
        put_columns([_fields(one) for one in found.expiries])
    else:
        put(f"Nothing that is known of ends in the next {days} days.")
    for site, what in found.undated.items():
        put(f"? {site}: {what}")


def renewal(one: Expiry, confirmed: RenewalEntry | None, *, as_json: bool) -> None:
    if as_json:
        put_json({"expiry": one, "confirmed": confirmed})
        return
    if confirmed is not None:
        put(f"✔ {one.site}: {visible(one.what, 100)} is renewed: {confirmed.evidence}")
    put("  ".join(field for field in _fields(one) if field))
    if one.who is not None:
        put(f"  {one.state} by {visible(one.who, 100)}{f': {visible(one.evidence, 500)}' if one.evidence else ''}")


def _fields(one: Expiry) -> list[str]:
    late, near = one.days_left < 0, one.reminder is not None
    mark = "✔" if one.state == "confirmed" else "✖" if late else "!" if near else " "
    left = f"{one.days_left} d" if one.days_left >= 0 else f"{-one.days_left} d ago"
    ends = f"ends {one.expires}" if one.expires != one.due else ""
    auto = "auto" if one.auto else ""
    owner = visible(one.owner, 100) if one.owner else "nobody"
    return [mark, str(one.due), left, one.site, visible(one.what, 100), one.state, auto, owner, one.source, ends]
