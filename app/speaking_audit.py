"""The audit as words and JSON. Knows no I/O but printing."""

from __future__ import annotations

from collections.abc import Sequence

from app.printing import put, put_columns, put_json
from backends.journal_audit import AuditCheck, AuditEntry
from backends.records import visible


def entries(found: Sequence[AuditEntry], *, as_json: bool) -> None:
    if as_json:
        put_json({"entries": found})
    elif found:
        put_columns([_fields(one) for one in found])
    else:
        put("Nothing was done from this machine.")


def checked(found: AuditCheck, *, as_json: bool) -> None:
    if as_json:
        put_json(found)
    elif found.why is not None:
        put(f"✖ entry {found.broken} of the audit: {found.why}; {found.entries} before it are whole")
    elif found.head is None:
        put("The audit is empty.")
    else:
        put(f"✔ {found.entries} entries, each bound to the one before it")
        put(f"  head {found.head}: note it elsewhere; audit verify --head tells whether it still fits")


def _fields(one: AuditEntry) -> list[str]:
    at = f"{one.at:%Y-%m-%d %H:%M:%S}"
    told = (one.who, one.origin, one.site or "", one.what, one.outcome)
    return [str(one.number), at, *(visible(text, 100) for text in told), visible(one.detail, 200)]
