"""Until when PHP and databases get fixes, by a dated snapshot of endoflife.date (MIT). Pure.

What a distribution goes on mending by itself is not known here: these are the dates of those who make them.
"""

from __future__ import annotations

import datetime as dt
import re

TAKEN = dt.date(2026, 8, 22)
OLD = dt.timedelta(days=365)
"""Age from which the snapshot misses a release a year of each."""
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


def ends(product: str, version: str | None) -> dt.date | None:
    """The last day on which `php`, `mysql` or `mariadb` of that version gets fixes; None where nobody said."""
    found = re.match(r"(\d+\.\d+)", version or "")
    day = ENDS.get(product, {}).get(found[1]) if found else None
    return dt.date.fromisoformat(day) if day else None


def is_old(today: dt.date) -> bool:
    return today - TAKEN > OLD
