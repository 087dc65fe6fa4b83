"""The feed of known holes that the demo's fleet names: a file in the form of Wordfence's, about the demo's plugins."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

AGE = dt.timedelta(hours=3)
_PAGE = "https://feed.example/holes/{number}"


def write(path: Path, birth: dt.datetime) -> None:
    """Three hours old when the demo opens."""
    path.write_text(json.dumps({one["id"]: one for one in _ENTRIES}), encoding="utf-8")
    at = (birth - AGE).timestamp()
    os.utime(path, (at, at))


def _entry(
    number: int, title: str, slug: str, high: str, *, patched: str | None, score: float, kind: str = "plugin"
) -> dict[str, Any]:
    span = {"from_version": "*", "from_inclusive": True, "to_version": high, "to_inclusive": True}
    software = {
        "type": kind,
        "slug": slug,
        "affected_versions": {f"* - {high}": span},
        "patched": patched is not None,
        "patched_versions": [patched] if patched else [],
    }
    return {
        "id": f"00000000-0000-4000-8000-{number:012}",
        "title": title,
        "software": [software],
        "informational": False,
        "references": [_PAGE.format(number=number)],
        "cvss": {"score": score},
        "cve": None,
    }


_ENTRIES = (
    _entry(1, "Contact Form 7 <= 6.0.5 - Order Replay", "contact-form-7", "6.0.5", patched="6.0.6", score=5.3),
    _entry(
        2,
        "Member Portal <= 2.2.0 - Subscribers Become Administrators",
        "member-portal",
        "2.2.0",
        patched=None,
        score=8.1,
    ),
    _entry(
        3, "Reservation Calendar <= 3.4.1 - SQL Injection", "reservation-calendar", "3.4.1", patched="3.4.2", score=7.5
    ),
    _entry(
        4,
        "WordPress <= 6.4.5 - Stored Cross-Site Scripting",
        "wordpress",
        "6.4.5",
        patched="6.4.6",
        score=6.4,
        kind="core",
    ),
)
