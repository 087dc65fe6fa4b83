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
