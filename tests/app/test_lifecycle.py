"""Ends of life: which version is meant, and what is not known."""

from __future__ import annotations

import datetime as dt

import pytest

from app import lifecycle


@pytest.mark.parametrize(
    ("product", "version", "day"),
    [
        ("php", "8.2.29", dt.date(2026, 12, 31)),
        ("php", "8.1.2-1ubuntu2.14", dt.date(2025, 12, 31)),
        ("mysql", "8.0.36", dt.date(2026, 4, 30)),
        ("mariadb", "10.11.19", dt.date(2028, 2, 16)),
        ("mariadb", "10.1.48", None),
        ("php", "9.0.1", None),
        ("php", None, None),
        ("php", "eight", None),
        ("postgresql", "16.1", None),
    ],
)
def test_the_end_is_that_of_the_first_two_numbers(product: str, version: str | None, day: dt.date | None) -> None:
    assert lifecycle.ends(product, version) == day


def test_all_of_the_snapshot_are_days_and_it_grows_old() -> None:
    for product, cycles in lifecycle.ENDS.items():
        for version in cycles:
            assert lifecycle.ends(product, version) is not None
    assert not lifecycle.is_old(lifecycle.TAKEN + dt.timedelta(days=365))
    assert lifecycle.is_old(lifecycle.TAKEN + dt.timedelta(days=366))
