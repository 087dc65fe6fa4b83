"""What the service promises, as pure functions: how long, how urgent, what is due. No I/O, no clock of its own."""

from __future__ import annotations

import datetime as dt
import re

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400, "mo": 31 * 86400}
GRACE = dt.timedelta(days=1)
"""How late a generation may be before it is said: a night's window and a weekend's first day."""


def seconds(duration: str) -> int:
    """`12h`, `7d`, `1w`, `1mo` in seconds; a month is its longest, so that monthly never means late after 30 days."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})(h|d|w|mo)", duration)
    if found is None:
        raise ValueError(f"{duration!r} is no duration")
    return int(found[1]) * _UNITS[found[2]]


SIGNS = {
    "media_changed_share": 0.10,
    "media_gone_share": 0.30,
    "scrambled": 3,
    "renamed": 10,
    "ransom_notes": 0,
    "php_in_uploads": 0,
    "obfuscated": 0,
    "core_changed": 0,
    "rows_lost_share": 0.30,
    "tables_gone": 0,
    "identity": 0,
}
"""What a normal successor of a generation stays within; past any of them it is suspect.

Shares count from twenty files or rows on. Media are what lies in uploads: once there, a file hardly ever changes, while
core, plugins and themes change whole at every update. `core_changed` counts only where WordPress's version did not.
"""
