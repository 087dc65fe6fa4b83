"""When sites may be updated, and who goes first."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest

from app.waves import Candidate, may_update, next_time, pause_s, waves
from backends.records import Policy

TOKYO = zoneinfo.ZoneInfo("Asia/Tokyo")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def at(text: str, zone: zoneinfo.ZoneInfo = TOKYO) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("window", "when", "open_"),
    [
        ("Mon-Thu 10:00-16:00", "2026-11-23 10:00", True),
        ("Mon-Thu 10:00-16:00", "2026-11-23 09:59", False),
        ("Mon-Thu 10:00-16:00", "2026-11-26 15:59", True),
        ("Mon-Thu 10:00-16:00", "2026-11-26 16:00", False),
        ("Mon-Thu 10:00-16:00", "2026-11-27 12:00", False),
        ("fri-mon 10:00-16:00", "2026-11-29 12:00", True),
        ("fri-mon 10:00-16:00", "2026-11-24 12:00", False),
        ("tue,sat-sun 10:00-16:00", "2026-11-24 12:00", True),
        ("sun 00:00-24:00", "2026-11-29 23:59", True),
        ("tue 22:00-04:00", "2026-11-24 23:00", True),
        ("tue 22:00-04:00", "2026-11-25 03:59", True),
        ("tue 22:00-04:00", "2026-11-25 04:00", False),
        ("tue 22:00-04:00", "2026-11-24 03:00", False),
    ],
)
def test_a_window_is_open_on_its_days_and_past_midnight_still_that_evening_s(
    window: str, when: str, open_: bool
) -> None:
    assert may_update(Policy(update_window=window), at(when)) is open_


def test_nothing_is_updated_in_a_freeze_its_last_day_included() -> None:
    policy = Policy(update_window="mon-sun 00:00-24:00", freeze=("2026-12-28/2027-01-05", "2026-11-30"))
    assert not may_update(policy, at("2026-12-28 00:00"))
    assert not may_update(policy, at("2027-01-05 23:59"))
    assert may_update(policy, at("2027-01-06 00:00"))
    assert not may_update(policy, at("2026-11-30 12:00"))


def test_the_next_time_is_told_in_the_fleet_s_zone() -> None:
    policy = Policy(freeze=("2026-11-30/2026-12-02",))
    assert next_time(policy, TOKYO, at("2026-11-26 11:00")) == at("2026-11-26 11:00")
    assert next_time(policy, TOKYO, dt.datetime(2026, 11, 26, 7, 30, tzinfo=dt.UTC)) == at("2026-12-03 10:00")
    night = Policy(update_window="tue 22:00-04:00", freeze=("2026-11-24",))
    assert next_time(night, TOKYO, at("2026-11-24 12:00")) == at("2026-11-25 00:00")
    assert next_time(Policy(freeze=("2026-01-01/2030-01-01",)), TOKYO, at("2026-11-26 11:00")) is None


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_the_day_on_which_clocks_change_has_its_window(day: str) -> None:
    policy = Policy(update_window="sun 02:30-05:00")
    found = next_time(policy, BERLIN, at(f"{day} 00:30", BERLIN))
    assert found is not None
    assert found.date().isoformat() == day
    assert may_update(policy, at(f"{day} 04:59", BERLIN))


def test_pauses() -> None:
    assert [pause_s(one) for one in ("0", "15m", "2h", "1d")] == [0, 900, 7200, 86400]


def site(name: str, php: str = "8.2.1", core: str = "7.1", *items: str, tags: tuple[str, ...] = ()) -> Candidate:
    return Candidate(name=name, php=php, core=core, tags=tags, items=tuple(("plugin", one) for one in items))


def test_canaries_show_every_php_core_and_update_and_each_update_on_each_php() -> None:
    sites = [
        *(site(f"plain{n}", "8.2.1", "7.1", "a") for n in range(10)),
        site("old", "7.4.33", "7.1", "a"),
        site("both", "8.2.9", "7.1", "a", "b"),
        site("core", "8.2.1", "6.9", "a"),
    ]
    first, second, third = waves(sites, 0.1)
    assert set(first) == {"both", "core", "old"}
    assert second == ("plain0", "plain1")
    assert len(third) == 8
    assert sorted((*first, *second, *third)) == sorted(one.name for one in sites)


def test_what_is_marked_goes_first_and_saves_others_the_part() -> None:
    sites = [site(f"s{n}", "8.2.1", "7.1", "a") for n in range(5)] + [site("z", "8.2.1", "7.1", "a", tags=("canary",))]
    assert waves(sites, 0.5) == (("z",), ("s0", "s1", "s2"), ("s3", "s4"))


def test_waves_without_a_site_are_none() -> None:
    assert waves([], 0.1) == ()
    assert waves([site("one", "8.2.1", "7.1", "a")], 1.0) == (("one",),)
