"""When sites may be updated, and in which order: windows, freezes, canaries, waves. Pure, no clock of its own."""

from __future__ import annotations

import datetime as dt
import math
import re
import zoneinfo
from collections.abc import Hashable, Iterator, Sequence

from msgspec import Struct

from backends.records import Policy

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CANARY = "canary"
"""The tag of sites that are updated before all others."""
FORESEEN_DAYS = 400
WINDOW = re.compile(
    r"(?P<days>(?:mon|tue|wed|thu|fri|sat|sun)(?:[-,](?:mon|tue|wed|thu|fri|sat|sun))*) "
    r"(?P<from>(?:[01]\d|2[0-3]):[0-5]\d)-(?P<to>(?:[01]\d|2[0-3]):[0-5]\d|24:00)",
    re.IGNORECASE,
)
_FREEZE = re.compile(r"(\d{4}-\d\d-\d\d)(?:/(\d{4}-\d\d-\d\d))?")
_PAUSE = {"m": 60, "h": 3600, "d": 86400}


def pause_s(pause: str) -> int:
    """`0`, `15m`, `2h`, `1d` in seconds."""
    return 0 if pause == "0" else int(pause[:-1]) * _PAUSE[pause[-1]]


def period(text: str) -> tuple[dt.date, dt.date] | None:
    """The first and the last day of a freeze; None for what is none."""
    found = _FREEZE.fullmatch(text)
    try:
        return (dt.date.fromisoformat(found[1]), dt.date.fromisoformat(found[2] or found[1])) if found else None
    except ValueError:
        return None


def may_update(policy: Policy, at: dt.datetime) -> bool:
    """Whether `at`, in the fleet's zone, lies in the window and in no freeze."""
    day, minute = at.date(), at.hour * 60 + at.minute
    if any(days is not None and days[0] <= day <= days[1] for days in map(period, policy.freeze)):
        return False
    days, begins, ends = _window(policy)
    today, yesterday = at.weekday() in days, (at.weekday() - 1) % 7 in days
    if begins < ends:
        return today and begins <= minute < ends
    # Past midnight the window is still that of the evening before.
    return (today and minute >= begins) or (yesterday and minute < ends)


def next_time(policy: Policy, zone: zoneinfo.ZoneInfo, at: dt.datetime) -> dt.datetime | None:
    """From when on sites may be updated: `at` itself where they may now; None where nothing is foreseen for a year."""
    at = at.astimezone(zone)
    if may_update(policy, at):
        return at
    _, begins, _ = _window(policy)
    for number in range(FORESEEN_DAYS):
        day = at.date() + dt.timedelta(days=number)
        for hour, minute in ((0, 0), divmod(begins, 60)):
            begun = dt.datetime.combine(day, dt.time(hour, minute), zone)
            if begun > at and may_update(policy, begun):
                return begun
    return None


def _window(policy: Policy) -> tuple[frozenset[int], int, int]:
    """Days of the week, and the minutes of the day at which it begins and ends. Raises ValueError for no window."""
    found = WINDOW.fullmatch(policy.update_window)
    if found is None:
        raise ValueError(f"{policy.update_window!r} is no window")
    begins, ends = (int(text[:2]) * 60 + int(text[3:]) for text in (found["from"], found["to"]))
    return frozenset(_days(found["days"].lower())), begins, ends


def _days(text: str) -> Iterator[int]:
    for part in text.split(","):
        begins, _, ends = part.partition("-")
        first, last = DAYS.index(begins), DAYS.index(ends or begins)
        yield from ((first + number) % 7 for number in range((last - first) % 7 + 1))


class Candidate(Struct, frozen=True, kw_only=True):
    """A site that is to be updated, as far as it decides who goes first."""

    name: str
    tags: tuple[str, ...] = ()
    php: str | None = None
    core: str | None = None
    items: tuple[tuple[str, str], ...] = ()
    """Kind and slug of each update."""


def waves(candidates: Sequence[Candidate], share: float) -> tuple[tuple[str, ...], ...]:
    """The names in up to three waves: canaries, then `share` of all, then the rest.

    Canaries are the sites that are tagged so, and as few others as it takes for each PHP, each core, each update, and
    each update on each PHP to be seen on one.
    """
    left = sorted(candidates, key=lambda one: one.name)
    first = [one for one in left if CANARY in one.tags]
    left = [one for one in left if one not in first]
    missing = set().union(*map(_shows, candidates)) - set().union(*map(_shows, first))
    while missing:
        best = max(left, key=lambda one: len(missing & _shows(one)))
        first.append(best)
        left.remove(best)
        missing -= _shows(best)
    second = min(len(left), math.ceil(share * len(candidates)))
    found = (first, left[:second], left[second:])
    return tuple(tuple(one.name for one in wave) for wave in found if wave)


def _shows(one: Candidate) -> set[Hashable]:
    """What is learnt of other sites by updating this one."""
    php = ".".join((one.php or "").split(".")[:2])
    return {("php", php), ("core", one.core), *one.items, *((item, php) for item in one.items)}
