"""Durations as the configuration writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import policy
from backends.records import Policy

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12h", 12 * HOUR), ("7d", 7 * DAY), ("1w", 7 * DAY), ("1mo", 31 * DAY), ("9999d", 9999 * DAY)],
)
def test_a_duration_is_what_it_says(text: str, seconds: int) -> None:
    assert policy.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "7", "d", "7D", "1.5h", "-1d", "12345d", "7d ", "1w\n", "７d", "1year"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        policy.seconds(text)


@given(st.integers(1, 9999), st.sampled_from(["h", "d", "w", "mo"]))
def test_longer_is_never_shorter(number: int, unit: str) -> None:
    assert policy.seconds(f"{number}{unit}") >= number * HOUR
    if number < 9999:
        assert policy.seconds(f"{number + 1}{unit}") > policy.seconds(f"{number}{unit}")


def test_the_promise_of_the_service_can_be_kept() -> None:
    promised = Policy()
    assert promised.server_keep * policy.seconds(promised.server_every) == policy.seconds(promised.server_min_age)
    assert policy.seconds(promised.server_every) <= policy.seconds(promised.vault_every)
