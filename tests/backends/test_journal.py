"""What the journal promises: it keeps what it was told, whoever writes beside it and however that one dies."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends import journal_file as module
from backends.journal import Journal, JournalBroken, SealConflict, default_path, opened
from backends.records import (
    AnyEvent,
    Finished,
    Health,
    Inspection,
    ModoseruError,
    Note,
    Operation,
    Outcome,
    Progress,
    Started,
    State,
    Step,
)

NOW = dt.datetime(2026, 11, 23, 2, 15, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
OPERATION = "20261123T021500Z-backup-0a1b2c"
GENERATION = "20261123T021500Z"
A, B = "a" * 64, "b" * 64


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path / "state" / "journal.db") as book:
        yield book


def health(latency: float = 0.1) -> Health:
    return Health(state=State.OK, http_status=200, latency_s=latency, checked_at=NOW)


def operation(number: int = 0, site: str = "kogyo.example", **changes: Any) -> Operation:
    known: dict[str, Any] = {
        "operation": f"20261123T0215{number:02}Z-backup-0a1b2c",
        "site": site,
        "kind": "backup",
        "started": NOW + number * SECOND,
        "who": "duty A",
    }
    return Operation(**(known | changes))


async def broken(awaitable: Awaitable[Any]) -> JournalBroken:
    with pytest.raises(JournalBroken) as caught:
        await awaitable
    assert "\n" not in caught.value.message
    assert caught.value.hint or caught.value.code == "journal_closed"
    return caught.value


# ---------------------------------------------------------------- last known state


async def test_what_was_last_seen_is_there_after_opening_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "journal.db") as first:
        await first.remember("kogyo.example", "health", health(), NOW)
    async with opened(tmp_path / "journal.db") as second:
        assert await second.recall("kogyo.example", "health", Health) == (health(), NOW)
        assert await second.recall("kogyo.example", "domain", Health) is None
        assert await second.recall("other.example", "health", Health) is None


async def test_the_newest_observation_wins_in_whatever_order_they_arrive(journal: Journal) -> None:
    tokyo = dt.timezone(dt.timedelta(hours=9))
    await journal.remember("a", "health", health(2), (NOW + SECOND).astimezone(tokyo))
    await journal.remember("a", "health", health(1), NOW)
    assert await journal.recall("a", "health", Health) == (health(2), NOW + SECOND)
    await journal.remember("a", "health", health(3), NOW + SECOND)
    assert await journal.recall("a", "health", Health) == (health(3), NOW + SECOND)


async def test_a_time_without_zone_is_refused(journal: Journal) -> None:
    with pytest.raises(ValueError, match="zone"):
        await journal.remember("a", "health", health(), NOW.replace(tzinfo=None))


async def test_all_sites_are_recalled_at_once_and_what_no_longer_decodes_is_skipped(
    journal: Journal, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        await journal.remember(name, "health", health(), NOW)
    await journal.remember("a", "inspection", Inspection(agent="1", at=NOW, php_cli="8.2"), NOW)
    with sqlite3.connect(tmp_path / "state" / "journal.db") as other:
        other.execute("UPDATE state SET record = '{\"state\":\"splendid\"}' WHERE site = 'b' AND what = 'health'")
        other.execute("UPDATE state SET record = 'not json' WHERE site = 'c'")
    other.close()
    assert await journal.recall_all("health", Health) == {"a": (health(), NOW)}
    assert await journal.recall("b", "health", Health) is None


# ---------------------------------------------------------------- operations


async def test_an_operation_is_running_until_it_ends_and_keeps_who_began_it(journal: Journal) -> None:
    await journal.operation_began(operation())
    assert await journal.operations(running=True) == [operation()]
    ended = operation(outcome=Outcome.DONE, seconds=4.5, generation=GENERATION, who=None, started=None)
    await journal.operation_ended(ended)
    kept = operation(outcome=Outcome.DONE, seconds=4.5, generation=GENERATION)
    assert await journal.operations(running=True) == []
    assert await journal.operation(kept.operation) == kept
    await journal.operation_began(operation(who="late"))
    assert await journal.operation(kept.operation) == kept
    assert await journal.operation("unknown") is None


async def test_an_end_whose_beginning_nobody_saw_is_kept(journal: Journal) -> None:
    await journal.operation_ended(operation(outcome=Outcome.DONE, started=None))
    await journal.operation_ended(operation(1, outcome=Outcome.DONE))
    assert [one.operation[:16] for one in await journal.operations()] == ["20261123T021501Z", "20261123T021500Z"]


async def test_operations_come_newest_first_by_site_and_bounded(journal: Journal) -> None:
    for number in (3, 1, 2):
        await journal.operation_began(operation(number, "a" if number < 3 else "b"))
    assert [one.operation[13:15] for one in await journal.operations()] == ["03", "02", "01"]
    assert [one.operation[13:15] for one in await journal.operations("a")] == ["02", "01"]
    assert len(await journal.operations(limit=1)) == 1


async def test_every_kind_of_event_comes_back_in_order_and_a_repeated_line_changes_nothing(journal: Journal) -> None:
    await journal.operation_began(operation())
    events: list[AnyEvent] = [
        Started(at=NOW, line=0, operation=OPERATION, site="kogyo.example", kind="backup"),
        Step(at=NOW, line=1, name="dump"),
        Progress(at=NOW, line=2, done=1, total=None, unit="rows"),
        Note(at=NOW, line=3, code="slow", text="日本語 \\x1b"),
        Finished(at=NOW, line=4, outcome=Outcome.DONE, summary=A),
    ]
    assert await journal.last_line(OPERATION) == -1
    for event in reversed(events):
        await journal.record_event(OPERATION, event)
    await journal.record_event(OPERATION, Step(at=NOW, line=1, name="forged"))
    assert await journal.events(OPERATION) == events
    assert await journal.events(OPERATION, after=2) == events[3:]
    assert await journal.last_line(OPERATION) == 4


async def test_an_event_of_an_unknown_operation_or_without_its_line_is_refused(journal: Journal) -> None:
    with pytest.raises(LookupError):
        await journal.record_event(OPERATION, Step(at=NOW, line=0, name="dump"))
    await journal.operation_began(operation())
    with pytest.raises(ValueError, match="line"):
        await journal.record_event(OPERATION, Step(at=NOW, name="dump"))


# ---------------------------------------------------------------- seals and facts


async def test_the_first_seal_stays_and_another_one_is_a_conflict(journal: Journal) -> None:
    await journal.seal("a", GENERATION, A, NOW)
    await journal.seal("a", GENERATION, A, NOW + SECOND)
    with pytest.raises(SealConflict) as caught:
        await journal.seal("a", GENERATION, B, NOW)
    assert (caught.value.kept, caught.value.shown, caught.value.code) == (A, B, "seal_conflict")
    assert await journal.seals("a") == {GENERATION: A}
    assert await journal.seals("b") == {}


@pytest.mark.parametrize(
    ("generation", "sha256"), [("../x", A), (GENERATION, "A" * 64), (GENERATION, A + "\n"), (GENERATION, "")]
)
async def test_a_seal_that_is_none_is_refused(generation: str, sha256: str, journal: Journal) -> None:
    with pytest.raises(ModoseruError) as caught:
        await journal.seal("a", generation, sha256, NOW)
    assert caught.value.code == "seal_unreadable"


async def test_facts_of_a_generation_are_kept_by_tier_and_can_be_taken_back(journal: Journal) -> None:
    await journal.note_generation_fact("a", GENERATION, "server", "verified_at", NOW)
    await journal.note_generation_fact("a", GENERATION, "server", "pinned", True)
    await journal.note_generation_fact("a", GENERATION, "vault", "mark", "suspect")
    await journal.note_generation_fact("a", GENERATION, "vault", "mark", "clean")
    assert await journal.generation_facts("a") == {
        (GENERATION, "server"): {"verified_at": NOW, "pinned": True},
        (GENERATION, "vault"): {"mark": "clean"},
    }
    await journal.note_generation_fact("a", GENERATION, "vault", "mark", None)
    assert (GENERATION, "vault") not in await journal.generation_facts("a")


async def test_a_forgotten_site_leaves_its_seals_and_its_audit(journal: Journal) -> None:
    await journal.remember("a", "health", health(), NOW)
    await journal.operation_began(operation(site="a"))
    await journal.record_event(OPERATION, Step(at=NOW, line=0, name="dump"))
    await journal.note_generation_fact("a", GENERATION, "server", "pinned", True)
    await journal.seal("a", GENERATION, A, NOW)
    await journal.audit("duty A", "laptop", "remove", "a", "done")
    await journal.forget("a")
    assert await journal.recall("a", "health", Health) is None
    assert (await journal.operations(), await journal.events(OPERATION)) == ([], [])
    assert await journal.generation_facts("a") == {}
    assert await journal.seals("a") == {GENERATION: A}
    assert len(await journal.audit_log.entries()) == 1


# ---------------------------------------------------------------- audit, cache, changes


async def test_the_audit_says_who_did_what_from_where_newest_first_and_harmlessly(journal: Journal) -> None:
    await journal.audit("duty A", "laptop", "restore", "a", "asked", "text\x1b[2J", at=NOW)
    await journal.audit("duty B", "runner", "run", None, "done")
    newest, oldest = await journal.audit_log.entries()
    assert (newest.who, newest.site, newest.number) == ("duty B", None, 2)
    assert (oldest.at, oldest.detail) == (NOW, "text\\x1b[2J")
    assert len(await journal.audit_log.entries(1)) == 1


async def test_the_cache_keeps_the_newest_value_and_its_time(journal: Journal) -> None:
    assert await journal.cache.get("rest:jp") is None
    await journal.cache.set("rest:jp", "new", NOW + SECOND)
    await journal.cache.set("rest:jp", "old", NOW)
    assert await journal.cache.get("rest:jp") == ("new", NOW + SECOND)


async def test_a_turn_is_given_to_one_alone(journal: Journal, tmp_path: Path) -> None:
    async with opened(tmp_path / "state" / "journal.db") as other:
        books = [journal, other] * 10
        claims = [await asyncio.gather(*(book.cache.claim("jp", NOW, 5 * SECOND) for book in books))]
        claims.append([await journal.cache.claim("jp", NOW + number * SECOND, 5 * SECOND) for number in (4, 5, 9, 10)])
    assert claims[0].count(True) == 1
    assert claims[1] == [False, True, False, True]


async def test_what_another_process_wrote_is_noticed_once(journal: Journal, tmp_path: Path) -> None:
    async with opened(tmp_path / "state" / "journal.db") as other:
        await other.remember("a", "health", health(), NOW)
        await other.seal("b", GENERATION, A, NOW)
        first = await journal.changes()
        assert first.sites == ("a", "b")
        assert (await journal.changes(first.revision)).sites == ()
        await other.remember("a", "health", health(2), NOW - SECOND)
        await other.audit("x", "x", "x", "a", "x")
        assert (await journal.changes(first.revision)).sites == ()
        await other.operation_began(operation(site="a"))
        await other.record_event(OPERATION, Step(at=NOW, line=0, name="dump"))
        later = await journal.changes(first.revision)
        assert (later.sites, later.revision) == (("a",), first.revision + 2)


# ---------------------------------------------------------------- several processes

WRITER = """
import asyncio, datetime as dt, sys
from pathlib import Path
from backends.journal import opened
from backends.records import Health, Operation, State, Step
now = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
async def main(path, me, rounds):
    async with opened(Path(path)) as journal:
        print("open", flush=True)
        operation = f"20261123T000000Z-backup-{me:0>6}"
        await journal.operation_began(Operation(operation=operation, site=f"site{me}", kind="backup", started=now))
        number = 0
        while rounds == 0 or number < rounds:
            await journal.record_event(operation, Step(at=now, line=number, name="step"))
            await journal.remember("shared", "health", Health(state=State.OK), now + dt.timedelta(seconds=number))
            await journal.cache.set(f"{me}:{number}", "x", now)
            print(number, flush=True)
            number += 1
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def writer(path: Path, me: int, rounds: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(path), str(me), str(rounds)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)


async def test_four_processes_that_create_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    writers = [writer(path, number, 100) for number in range(4)]
    try:
        assert [await asyncio.to_thread(process.communicate) for process in writers]
        assert [process.returncode for process in writers] == [0] * 4
    finally:
        for process in writers:
            process.kill()
            process.wait()
    async with opened(path) as journal:
        assert len(await journal.operations()) == 4
        for number in range(4):
            assert len(await journal.events(f"20261123T000000Z-backup-{number:0>6}")) == 100
        assert (await journal.changes()).revision >= 4 * 101


@pytest.mark.parametrize("lines", [1, 2, 7, 50])
async def test_what_was_told_before_a_kill_is_there_and_the_journal_opens(lines: int, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    process = writer(path, 1, 0)
    assert process.stdout is not None
    for _ in range(lines + 1):
        said = await asyncio.to_thread(process.stdout.readline)
    process.kill()
    process.wait()
    process.stdout.close()
    async with opened(path) as journal:
        assert await journal.last_line("20261123T000000Z-backup-000001") >= int(said)
        assert [one.site for one in await journal.operations(running=True)] == ["site1"]
        await journal.remember("a", "health", health(), NOW)


# ---------------------------------------------------------------- migrations


async def test_an_older_journal_is_brought_up_to_date_and_keeps_what_it_knew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as old:
        await old.remember("a", "health", health(), NOW)
    addition = ("ALTER TABLE state ADD COLUMN source TEXT", "UPDATE state SET source = 'before'")
    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, addition))
    async with opened(path) as new:
        assert await new.recall("a", "health", Health) == (health(), NOW)
    assert look(path, "SELECT source FROM state") == [("before",)]
    assert look(path, "PRAGMA user_version") == [(len(module.MIGRATIONS),)]


async def test_a_migration_that_fails_leaves_the_older_journal_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as old:
        await old.remember("a", "health", health(), NOW)
    with monkeypatch.context() as patched:
        faulty = ("ALTER TABLE state ADD COLUMN source TEXT", "UPDATE nothing SET x = 1")
        patched.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, faulty))
        await broken(Journal.open(path))
    assert look(path, "PRAGMA user_version") == [(len(module.MIGRATIONS),)]
    async with opened(path) as again:
        assert await again.recall("a", "health", Health) == (health(), NOW)


async def test_a_journal_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path):
        pass
    look(path, "PRAGMA user_version = 99")
    newer = await broken(Journal.open(path))
    assert newer.code == "journal_newer"
    assert "schema 99, this one knows" in newer.message
    assert look(path, "PRAGMA user_version") == [(99,)]


def look(path: Path, query: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(path)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


# ---------------------------------------------------------------- what goes wrong


async def test_the_file_and_its_folder_are_the_operators_alone(journal: Journal, tmp_path: Path) -> None:
    await journal.remember("a", "health", health(), NOW)
    folder = tmp_path / "state"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert {path.name for path in folder.iterdir()} >= {"journal.db", "journal.db-wal"}


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"\0" * 8192])
async def test_a_file_that_is_no_journal_is_told_and_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(content)
    assert (await broken(Journal.open(tmp_path / "journal.db"))).code == "journal_corrupt"
    assert (tmp_path / "journal.db").read_bytes() == content


async def test_damage_in_the_middle_is_told_where_it_is_met(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as journal:
        for number in range(200):
            await journal.remember(f"site{number}", "health", health(), NOW)
    content = bytearray(path.read_bytes())
    content[8192:] = os.urandom(len(content) - 8192)
    path.write_bytes(content)

    async def use() -> None:
        async with opened(path) as journal:
            await journal.recall_all("health", Health)
            await journal.remember("site1", "health", health(), NOW)

    assert (await broken(use())).code == "journal_corrupt"


async def test_a_journal_that_another_process_holds_is_told_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path):
        pass
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert (await broken(Journal.open(path, busy=0.05))).code == "journal_locked"
    holder.execute("ROLLBACK")
    journal = await Journal.open(path, busy=0.05)
    holder.execute("BEGIN IMMEDIATE")
    assert (await broken(journal.remember("a", "health", health(), NOW))).code == "journal_locked"
    assert await journal.recall("a", "health", Health) is None
    holder.close()
    await journal.remember("a", "health", health(), NOW)
    await journal.close()


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that everybody may enter but not write, while this process is nobody, for whom permissions count."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


async def test_a_folder_that_takes_no_file_is_told_in_one_line(unprivileged: Path) -> None:
    assert (await broken(Journal.open(unprivileged / "journal.db"))).code == "journal_unwritable"
    assert (await broken(Journal.open(unprivileged / "state" / "journal.db"))).code == "journal_unwritable"


@pytest.mark.parametrize("kind", ["folder", "loop", "beneath a file"])
async def test_a_place_where_no_file_can_be_is_told_in_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.write_bytes(b"")
        path /= "journal.db"
    assert (await broken(Journal.open(path))).code == "journal_unwritable"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
async def test_a_full_disk_is_told_and_what_was_kept_before_stays(small_disk: Path) -> None:
    path = small_disk / "journal.db"
    async with opened(path) as journal:
        await journal.remember("a", "health", health(), NOW)
        (small_disk / "filler").write_bytes(b"x" * (small_disk_free(small_disk) - 64 * 1024))

        async def fill() -> None:
            for number in range(1000):
                await journal.cache.set(f"key{number}", "x" * 10_000, NOW)

        assert (await broken(fill())).code == "journal_full"
        assert await journal.recall("a", "health", Health) == (health(), NOW)
        (small_disk / "filler").unlink()
        await journal.remember("a", "health", health(2), NOW)
        assert await journal.recall("a", "health", Health) == (health(2), NOW)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
async def test_a_disk_without_room_for_a_new_journal_is_told(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * small_disk_free(small_disk))
    assert (await broken(Journal.open(small_disk / "journal.db"))).code == "journal_full"


def small_disk_free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


async def test_after_closing_everything_is_refused_in_a_sentence(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path / "journal.db")
    pending = asyncio.gather(*(journal.remember(f"s{number}", "health", health(), NOW) for number in range(50)))
    await asyncio.sleep(0)
    await journal.close()
    await pending
    await journal.close()
    assert (await broken(journal.operations())).code == "journal_closed"
    assert len(look(tmp_path / "journal.db", "SELECT * FROM state")) == 50


async def test_a_cancelled_caller_leaves_the_journal_in_order(journal: Journal) -> None:
    tasks = [asyncio.create_task(journal.remember(f"s{number}", "health", health(), NOW)) for number in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await journal.remember("last", "health", health(), NOW)
    assert {f"s{number}" for number in range(1, 50, 2)} <= set(await journal.recall_all("health", Health))


async def test_the_loop_never_waits_for_the_journal_even_while_another_process_holds_it(
    journal: Journal, tmp_path: Path
) -> None:
    holder = sqlite3.connect(tmp_path / "state" / "journal.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(journal.remember("a", "health", health(), NOW))
    for _ in range(100):
        await asyncio.sleep(0.001)
    # A loop that waits itself turns once, and finds the write given up when it turns again.
    assert not writing.done()
    holder.execute("ROLLBACK")
    holder.close()
    await writing


def test_the_default_place_is_the_one_named_or_the_platforms_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODOSERU_STATE", str(tmp_path))
    assert default_path() == tmp_path / "journal.db"
    monkeypatch.delenv("MODOSERU_STATE")
    assert default_path().parts[-2:] == ("modoseru", "journal.db")


@pytest.mark.bench
async def test_a_thousand_sites_are_remembered_and_recalled(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    start = time.perf_counter()
    await asyncio.gather(*(journal.remember(f"site{number}", "health", health(), NOW) for number in range(1000)))
    written = time.perf_counter()
    assert len(await journal.recall_all("health", Health)) == 1000
    read = time.perf_counter()
    for _ in range(1000):
        await journal.changes(10**9)
    asked = time.perf_counter()
    with capsys.disabled():
        print(
            f"\n1,000 sites: remember {(written - start) * 1e3:.0f} ms, recall_all {(read - written) * 1e3:.0f} ms; "
            f"changes {(asked - read) * 1e3:.0f} µs each"
        )
