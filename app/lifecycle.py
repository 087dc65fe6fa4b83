"""Until when PHP and databases get fixes, by a dated snapshot of endoflife.date (MIT) or its newer answer. Pure.

What a distribution goes on mending by itself is not known here: these are the dates of those who make them.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping

from msgspec import Struct

TAKEN = dt.date(2026, 8, 22)
OLD = dt.timedelta(days=180)
"""Age from which a release of one of them may be missing."""
ENDS = {
    "php": {
        "5.6": "2018-12-31",
        "7.0": "2019-01-10",
        "7.1": "2019-12-01",
        "7.2": "2020-11-30",
        "7.3": "2021-12-06",
        "7.4": "2022-11-28",
        "8.0": "2023-11-26",
        "8.1": "2025-12-31",
        "8.2": "2026-12-31",
        "8.3": "2027-12-31",
        "8.4": "2028-12-31",
        "8.5": "2029-12-31",
    },
    "mysql": {"5.5": "2018-12-03", "5.6": "2021-02-05", "5.7": "2023-10-31", "8.0": "2026-04-30", "8.4": "2032-04-30"},
    "mariadb": {
        "10.3": "2023-05-25",
        "10.4": "2024-06-18",
        "10.5": "2025-06-24",
        "10.6": "2026-07-06",
        "10.11": "2028-02-16",
        "11.4": "2029-05-29",
        "11.8": "2028-06-04",
    },
}


class Lifecycle(Struct, frozen=True, kw_only=True):
    """The last day of each cycle, by product, as it was known on a day."""

    ends: Mapping[str, Mapping[str, dt.date]]
    as_of: dt.date

    def of(self, product: str, version: str | None) -> dt.date | None:
        """The last day on which `php`, `mysql` or `mariadb` of that version gets fixes; None where nobody said."""
        found = re.match(r"(\d+\.\d+)", version or "")
        return self.ends.get(product, {}).get(found[1]) if found else None

    def is_old(self, today: dt.date) -> bool:
        return today - self.as_of > OLD


SNAPSHOT = Lifecycle(
    ends={one: {cycle: dt.date.fromisoformat(day) for cycle, day in days.items()} for one, days in ENDS.items()},
    as_of=TAKEN,
)


def newest(answer: tuple[Mapping[str, Mapping[str, dt.date]], dt.date] | None) -> Lifecycle:
    """The snapshot, with what an answer of a later day says laid over it."""
    if answer is None or answer[1] <= TAKEN:
        return SNAPSHOT
    said, day = answer
    return Lifecycle(ends={one: {**SNAPSHOT.ends[one], **said.get(one, {})} for one in SNAPSHOT.ends}, as_of=day)
