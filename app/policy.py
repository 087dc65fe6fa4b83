"""What the service promises, as pure functions: how long, how urgent, what is due. No I/O, no clock of its own."""

from __future__ import annotations

import datetime as dt
import re

FULL_EVERY_S = 31 * 86400
"""How long a backup may believe size and times of a file: after that every live file is read again, so that a change
that hides its times is caught within a month. Reading costs what a verify costs (FACTS 12: 1.1 GB in under 3 s)."""

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
    "code_changed_share": 0.03,
    "code_gone_share": 0.03,
    "scrambled": 3,
    "renamed": 10,
    "ransom_notes": 0,
    "php_in_uploads": 0,
    "obfuscated": 0,
    "core_changed": 0,
    "core_checksums": 0,
    "plugin_checksums": 0,
    "rows_lost_share": 0.30,
    "published_lost_share": 0.30,
    "tables_gone": 0,
    "identity": 0,
    "hidden": 0,
}
"""What a normal successor of a generation stays within; past any of them it is suspect.

Shares count from twenty files or rows on. Media are what lies in uploads: once there, a file hardly ever changes, while
core, plugins and themes change whole at every update. `core_changed` counts only where WordPress's version did not, and
so do the shares of code for each plugin and theme: their limit is the geometric mean of the largest ordinary change and
the smallest attack in the fitting set of `python -m tests.bench signs` (0.8 % and 10.8 %). `core_checksums` counts
files of core that are not what wordpress.org publishes for their release, and PHP there that no release has. Unlike the
others it does not look at the generation before: it stays until the files are right, or an operator calls a
generation that has them clean. `plugin_checksums` counts in the same way what a server or a browser runs of plugins.
"""


REMINDERS = (60, 30, 7)
"""How many days before its due day a renewal is reminded of."""
_SHARE_LEFT = 0.25
"""A certificate of which more is left is not due yet, however few days that are (FACTS 5)."""


_BANKS_CLOSED = {(12, 31), (1, 1), (1, 2), (1, 3)}


def business_day(day: dt.date) -> dt.date:
    """`day`, or the last one before it that is no weekend, no Japanese holiday and none on which banks are closed
    (31 December to 3 January): what has to be paid has to be paid by then."""
    import jpholiday  # only what looks at dates needs it

    if not 1950 <= day.year <= 2150:  # a hostile certificate's; equinoxes are known for these years alone
        return day
    while day.weekday() >= 5 or (day.month, day.day) in _BANKS_CLOSED or jpholiday.is_holiday(day):
        day -= dt.timedelta(days=1)
    return day


def reminder(days_left: int, *, state: str, auto: bool, lifetime: int | None = None) -> int | None:
    """Which of REMINDERS is the last that was reached; None: none yet, or it is confirmed.

    What renews by itself is reminded of by the last one alone: by then it has not. `lifetime`: a certificate's days.
    """
    if state == "confirmed":
        return None
    counted = [
        days
        for days in (REMINDERS[-1:] if auto else REMINDERS)
        if lifetime is None or days <= max(REMINDERS[-1], lifetime * _SHARE_LEFT)
    ]
    return min((days for days in counted if days_left <= days), default=None)


def may_be_let_go(generation: str, min_age: str, now: dt.datetime) -> bool:
    """Whether the promise allows that a retention removed this generation by now: what is younger was taken away.

    `generation` is an id, `min_age` the policy's duration.
    """
    made = dt.datetime.strptime(generation, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    return now - made >= dt.timedelta(seconds=seconds(min_age))
