"""What ends when, by which day it is due, and the calendar's file as another reader understands it."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import icalendar
import msgspec
import pytest

from app import calendar_file, expiries, policy
from app.expiries import Known
from backends.journal_renewals import RenewalEntry
from backends.records import Certificate, Domain, Renewal, ServerSettings, Site, SshSettings, State

JST = zoneinfo.ZoneInfo("Asia/Tokyo")
TODAY = dt.date(2027, 4, 1)
NOW = dt.datetime(2027, 4, 1, 3, tzinfo=dt.UTC)
PLAN = Renewal(what="server plan", due=dt.date(2027, 4, 30), owner="books")
SITE = Site(
    name="kogyo.example",
    url="https://www.kogyo.example/",
    ssh=SshSettings(host="sv1.example", user="kogyo"),
    server=ServerSettings(root="~/www"),
    owner="duty A",
    renewals=(PLAN,),
)


def certificate(days: int, lifetime: int = 90) -> Certificate:
    ends = NOW + dt.timedelta(days=days)
    return Certificate(state=State.OK, not_after=ends, not_before=ends - dt.timedelta(days=lifetime), checked_at=NOW)


@pytest.mark.parametrize(
    ("day", "due"),
    [
        ("2027-04-30", "2027-04-30"),
        ("2027-04-29", "2027-04-28"),  # Showa Day, a Thursday
        ("2027-05-05", "2027-04-30"),  # Golden Week: Saturday the 1st to Wednesday the 5th
        ("2027-03-22", "2027-03-19"),  # the equinox falls on a Sunday: Monday in its place
        ("2027-01-03", "2026-12-30"),  # banks are closed from the 31st
        ("9999-12-31", "9999-12-31"),
        ("0001-01-01", "0001-01-01"),
    ],
)
def test_a_day_on_which_nobody_works_is_due_the_business_day_before(day: str, due: str) -> None:
    assert policy.business_day(dt.date.fromisoformat(day)) == dt.date.fromisoformat(due)


@pytest.mark.parametrize(
    ("left", "reached"), [(61, None), (60, 60), (31, 60), (30, 30), (8, 30), (7, 7), (0, 7), (-400, 7)]
)
def test_the_last_reminder_that_is_reached_counts(left: int, reached: int | None) -> None:
    assert policy.reminder(left, state="open", auto=False) == reached
    assert policy.reminder(left, state="paid", auto=False) == reached
    assert policy.reminder(left, state="confirmed", auto=False) is None


def test_what_renews_by_itself_or_lives_briefly_is_reminded_of_when_it_did_not() -> None:
    assert [policy.reminder(left, state="open", auto=True) for left in (30, 8, 7)] == [None, None, 7]
    assert [policy.reminder(left, state="open", auto=False, lifetime=90) for left in (30, 8, 7)] == [None, None, 7]
    assert policy.reminder(30, state="open", auto=False, lifetime=398) == 30


def test_all_that_ends_stands_in_one_list_by_the_day_it_is_due() -> None:
    domain = Domain(name="kogyo.example", state=State.OK, expires=dt.date(2027, 5, 5), source="whois", checked_at=NOW)
    found = expiries.of_site(SITE, Known(certificate=certificate(60), domain=domain), TODAY, JST)
    assert [(one.what, one.due.isoformat(), one.owner, one.source) for one in found] == [
        ("domain", "2027-04-30", "duty A", "whois"),
        ("server plan", "2027-04-30", "books", "manual"),
        ("certificate", "2027-05-31", "duty A", "certificate"),
    ]
    assert [one.what for one in expiries.within(found, 29)] == ["domain", "server plan"]


def test_a_chain_that_ends_first_stands_apart() -> None:
    chained = msgspec.structs.replace(certificate(60), chain_not_after=NOW + dt.timedelta(days=20))
    found = expiries.of_site(SITE, Known(certificate=chained), TODAY, JST)
    assert [one.what for one in found] == ["certificate chain", "server plan", "certificate"]


def test_a_word_counts_for_its_own_period_alone() -> None:
    def entry(expires: dt.date, state: str) -> RenewalEntry:
        return RenewalEntry(
            site=SITE.name, what="server plan", expires=expires, state=state, who="a@b", at=NOW, evidence="No. 12"
        )

    old = entry(dt.date(2026, 4, 30), "confirmed")
    (one,) = expiries.of_site(SITE, Known(entries=[old]), TODAY, JST)
    assert (one.state, one.evidence, one.reminder) == ("open", None, 30)
    (one,) = expiries.of_site(
        SITE, Known(entries=[old, entry(PLAN.due, "paid"), entry(PLAN.due, "confirmed")]), TODAY, JST
    )
    assert (one.state, one.who, one.evidence, one.reminder) == ("confirmed", "a@b", "No. 12", None)
    assert expiries.within([one], 90) == [one]


def test_what_is_past_stays_until_it_is_confirmed() -> None:
    (one,) = expiries.of_site(SITE, Known(), dt.date(2027, 6, 1), JST)
    assert one.days_left == -32
    assert expiries.within([one], 0) == [one]
    assert expiries.within([msgspec.structs.replace(one, state="confirmed")], 90) == []


def test_a_domain_without_a_date_asks_for_one() -> None:
    unknown = Known(domain=Domain(name="kogyo.example", state=State.UNKNOWN))
    assert "enter [domain] expires" in (
        expiries.undated(SITE, unknown, expiries.of_site(SITE, unknown, TODAY, JST)) or ""
    )
    assert "not looked at yet" in (expiries.undated(SITE, Known(), []) or "")


def test_another_reader_finds_in_the_file_what_was_written() -> None:
    hostile = 'プラン; 年額, "A"\\n\x1b]0;x\x07\r\nEND:VCALENDAR ' + "更新" * 40
    site = msgspec.structs.replace(SITE, renewals=(Renewal(what="x", due=dt.date(2027, 4, 29), owner=hostile), PLAN))
    found = expiries.of_site(site, Known(), TODAY, JST)
    data = calendar_file.written(found, "保守; 部", NOW)
    lines = data.split(b"\r\n")
    assert max(map(len, lines)) <= 75
    assert not any(byte < 32 for line in lines for byte in line)
    for line in lines:
        line.decode()  # no character is cut
    read = icalendar.Calendar.from_ical(data)
    events = read.walk("VEVENT")
    assert [str(event["SUMMARY"]) for event in events] == ["kogyo.example: x", "kogyo.example: server plan"]
    assert events[0].decoded("DTSTART") == dt.date(2027, 4, 28)
    assert 'owner: プラン; 年額, "A"' in str(events[0]["DESCRIPTION"])
    assert "ends 2027-04-29\n" in str(events[0]["DESCRIPTION"])
    later = [msgspec.structs.replace(one, expires=dt.date(2028, 4, 28), due=dt.date(2028, 4, 28)) for one in found]
    again = icalendar.Calendar.from_ical(calendar_file.written(later, "保守; 部", NOW)).walk("VEVENT")
    assert [event["UID"] for event in again] == [event["UID"] for event in events]
    assert len({event["UID"] for event in events}) == 2
