"""The audit's chain: what was changed, taken out or put in is named; an older journal is linked when it is added to."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from backends.journal import Journal
from backends.journal_audit import AuditCheck


async def written(path: Path, entries: int = 5) -> AuditCheck:
    journal = await Journal.open(path)
    for number in range(entries):
        await journal.audit("duty A", "laptop", "restore", f"s{number}", "done", "復元")
    found = await journal.audit_log.check()
    await journal.close()
    return found


async def checked(path: Path, head: str | None = None) -> AuditCheck:
    journal = await Journal.open(path)
    noted = head.split(":") if head else None
    found = await journal.audit_log.check((int(noted[0]), noted[1]) if noted else None)
    await journal.close()
    return found


def tampered(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


async def test_a_whole_one_has_a_head_that_goes_on_fitting(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    assert await checked(path) == AuditCheck(entries=0, head=None)
    first = await written(path)
    assert (first.entries, first.why) == (5, None)
    later = await written(path, 3)
    assert (later.entries, later.why) == (8, None)
    assert later.head != first.head
    assert (await checked(path, first.head)).why is None


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit SET who = 'duty B' WHERE number = 3", 3),
        ("UPDATE audit SET site = NULL WHERE number = 1", 1),
        ("UPDATE audit SET link = NULL WHERE number = 4", 4),
        ("DELETE FROM audit WHERE number = 2", 3),
        ("DELETE FROM audit WHERE number = 1", 2),
    ],
)
async def test_what_was_changed_or_taken_out_is_named(tmp_path: Path, statement: str, broken: int) -> None:
    path = tmp_path / "journal.db"
    await written(path)
    tampered(path, statement)
    found = await checked(path)
    assert found.broken == broken
    assert found.why


async def test_only_a_noted_head_tells_that_the_end_is_gone_or_all_of_it_was_forged(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    head = (await written(path)).head
    tampered(path, "DELETE FROM audit WHERE number > 3")
    assert (await checked(path)).why is None
    assert (await checked(path, head)).why == "entry 5 is gone"
    await written(path, 4)
    assert (await checked(path, head)).why == "it is not the one that was noted"


async def test_an_older_journal_is_linked_from_its_first_entry_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await written(path)
    tampered(path, "UPDATE audit SET link = NULL")
    before = await checked(path)
    assert (before.entries, before.why) == (5, None)
    after = await written(path, 1)
    assert (after.entries, after.why) == (6, None)
    assert (await checked(path, before.head)).why is None
    tampered(path, "UPDATE audit SET detail = '' WHERE number = 2")
    assert (await checked(path)).broken == 2


async def test_two_processes_add_to_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    one, other = await Journal.open(path), await Journal.open(path)
    for number in range(10):
        await (one if number % 2 else other).audit("a", "b", "c", None, str(number))
    assert (await one.audit_log.check()).why is None
    assert [entry.outcome for entry in await other.audit_log.entries(3)] == ["9", "8", "7"]
    await one.close()
    await other.close()
