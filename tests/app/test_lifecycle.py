"""Ends of life: which version is meant, what is not known, and that a newer answer is laid over the snapshot."""

from __future__ import annotations

import datetime as dt

import pytest

from app import lifecycle
from app.lifecycle import SNAPSHOT


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
    assert SNAPSHOT.of(product, version) == day


def test_it_grows_old() -> None:
    assert not SNAPSHOT.is_old(lifecycle.TAKEN + dt.timedelta(days=180))
    assert SNAPSHOT.is_old(lifecycle.TAKEN + dt.timedelta(days=181))


def test_a_later_answer_wins_and_what_it_leaves_out_stays() -> None:
    later = lifecycle.TAKEN + dt.timedelta(days=30)
    answer = {"php": {"8.2": dt.date(2027, 6, 30), "8.6": dt.date(2030, 12, 31)}}
    found = lifecycle.newest((answer, later))
    assert found.of("php", "8.2.1") == dt.date(2027, 6, 30)
    assert found.of("php", "8.6.0") == dt.date(2030, 12, 31)
    assert found.of("php", "8.1.0") == dt.date(2025, 12, 31)
    assert found.of("mysql", "8.4.1") == dt.date(2032, 4, 30)
    assert found.as_of == later
    assert lifecycle.newest((answer, lifecycle.TAKEN)) is SNAPSHOT
    assert lifecycle.newest(None) is SNAPSHOT
