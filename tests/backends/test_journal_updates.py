"""Decisions and the ledger in the journal's file."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from backends.journal import Journal, opened
from backends.journal_updates import Decision, Entry, Verdict
from backends.records import Update

NOW = dt.datetime(2026, 11, 26, 3, 0, tzinfo=dt.UTC)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path / "journal.db") as made:
        yield made


def decision(site: str = "", version: str = "1.1", verdict: Verdict = Verdict.APPROVED, minutes: int = 0) -> Decision:
    at = NOW + dt.timedelta(minutes=minutes)
    return Decision(kind="plugin", slug="forms", version=version, site=site, verdict=verdict, who="a@b", at=at)


def entry(site: str, outcome: str = "put_back", operation: str = "op", minutes: int = 0, to: str = "1.1") -> Entry:
    at = NOW + dt.timedelta(minutes=minutes)
    return Entry(
        site=site, operation=operation, kind="plugin", slug="forms", from_="1.0", to=to, outcome=outcome, at=at
    )


async def test_a_decision_takes_the_place_of_the_one_before_about_the_same_version(journal: Journal) -> None:
    await journal.updates.decide([decision(), decision("a.example"), decision(version="1.2")])
    await journal.updates.decide([decision(verdict=Verdict.SKIPPED, minutes=1)])
    found = {(one.site, one.version): one.verdict for one in await journal.updates.decisions()}
    assert found == {
        ("a.example", "1.1"): Verdict.APPROVED,
        ("", "1.2"): Verdict.APPROVED,
        ("", "1.1"): Verdict.SKIPPED,
    }
    assert await journal.updates.forget("forms", ["", "b.example"]) == 2
    assert [one.site for one in await journal.updates.decisions()] == ["a.example"]


async def test_an_operation_that_is_followed_again_is_no_second_entry(journal: Journal) -> None:
    first = entry("a.example")
    await journal.updates.write([first])
    await journal.updates.write([msgspec.structs.replace(first, outcome="applied")])
    assert await journal.updates.entries(NOW, NOW + dt.timedelta(days=1)) == [first]


async def test_of_a_site_where_nothing_was_begun_the_last_word_counts(journal: Journal) -> None:
    await journal.updates.write([entry("a.example", "not_begun", "")])
    last = entry("a.example", "not_begun", "", minutes=5)
    await journal.updates.write([last])
    assert await journal.updates.entries(NOW, NOW + dt.timedelta(days=1)) == [last]
    carried_out, later = (
        entry("a.example", "applied", minutes=9),
        entry("a.example", "not_begun", "", minutes=60 * 24 * 31),
    )
    await journal.updates.write([carried_out])
    await journal.updates.write([later])
    assert await journal.updates.entries(NOW, NOW + dt.timedelta(days=60)) == [carried_out, later]


async def test_a_month_ends_before_the_next_begins(journal: Journal) -> None:
    end = NOW + dt.timedelta(minutes=10)
    await journal.updates.write([entry("a.example"), entry("b.example", minutes=10)])
    assert [one.site for one in await journal.updates.entries(NOW, end)] == ["a.example"]


async def test_failures_are_of_that_version_and_say_something_against_it(journal: Journal) -> None:
    outcomes = ("put_back", "not_updated", "applied", "not_judged", "not_begun")
    await journal.updates.write([entry(f"{outcome}.example", outcome) for outcome in outcomes])
    await journal.updates.write([entry("other.example", to="1.2")])
    failed = await journal.updates.failures(Update(kind="plugin", slug="forms", to="1.1"))
    assert sorted(one.site for one in failed) == ["not_updated.example", "put_back.example"]


async def test_a_site_that_leaves_the_fleet_takes_its_own_decisions_and_entries_with_it(journal: Journal) -> None:
    await journal.updates.decide([decision(), decision("a.example")])
    await journal.updates.write([entry("a.example"), entry("b.example")])
    await journal.forget("a.example")
    assert [one.site for one in await journal.updates.decisions()] == [""]
    assert [one.site for one in await journal.updates.entries(NOW, NOW + dt.timedelta(days=1))] == ["b.example"]
