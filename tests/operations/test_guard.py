"""The one door: what it refuses, what it keeps, and that no cut, crash or full disk makes it lose or invent an end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from app.operations import backup, guard, patience, restore
from app.operations.intent import Intent, same_word
from app.session import Session
from backends import ssh
from backends.agent.client import Agent
from backends.journal import Journal, JournalBroken
from backends.records import (
    AnyEvent,
    Asked,
    Finished,
    ModoseruError,
    Note,
    Outcome,
    Progress,
    Started,
    Step,
)
from tests.lab import Lab, LabSite
from tests.lab.processes import owned_by
from tests.operations.program import Program

pytestmark = pytest.mark.lab
NAME = "minato.example"
VERBS = {"backup": "snapshot", "restore": "restore", "undo": "undo", "update": "update", "probe": "probe"}


@pytest.fixture(scope="module")
def reset(lab: Lab) -> LabSite:
    return lab.reset(lab.site(NAME))


@pytest.fixture
def site(reset: LabSite) -> LabSite:
    """A site that was never backed up. What these tests do to it ends as it began."""
    shutil.rmtree(reset.home / ".modoseru", ignore_errors=True)
    return reset


async def through(events: AsyncGenerator[AnyEvent], until: Callable[[AnyEvent], bool] | None = None) -> list[AnyEvent]:
    """The events up to the first for which `until` holds; the generator is closed there."""
    seen = []
    async with contextlib.aclosing(events) as stream:
        async for event in stream:
            seen.append(event)
            if until is not None and until(event):
                break
    return seen


def lines(events: list[AnyEvent]) -> list[int]:
    """Of the operation's own journal: a note of this process has none."""
    return [event.line for event in events if event.line >= 0]


def is_step(name: str) -> Callable[[AnyEvent], bool]:
    return lambda event: isinstance(event, Step) and event.name == name


def is_asked(event: AnyEvent) -> bool:
    return isinstance(event, Asked)


def finished(events: list[AnyEvent]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


async def backed_up(session: Session) -> str:
    made = finished(
        await through(guard.start(session, await backup.plan(session, session.fleet.site(NAME)), confirmed=False))
    )
    assert made.generation is not None
    return made.generation


def worker_of(site: LabSite) -> int:
    """The process that does the work on the site's server."""
    found = [pid for pid in owned_by([site.uid]) if b"\0work\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(found) == 1, found
    return found[0]


# ---------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("switch", "hint"), [("flag", "--read-only"), ("fleet", "fleet.toml"), ("site", f"sites.d/{NAME}.toml")]
)
async def test_read_only_refuses_every_operation_at_the_door(
    site: LabSite, program: Program, switch: str, hint: str
) -> None:
    if switch == "fleet":
        program.write_fleet({"fleet": {"read_only": True}})
    if switch == "site":
        program.write_site(site, {"read_only": True})
    async with program.session(read_only=switch == "flag") as session:
        for kind, verb in VERBS.items():
            intent = Intent(kind=kind, site=session.fleet.site(NAME), verb=verb, request={}, danger=True)
            with pytest.raises(guard.Refused) as refused:
                await through(guard.start(session, intent, confirmed=True))
            assert refused.value.code == "read_only"
            assert hint in refused.value.hint
        with pytest.raises(guard.Refused):
            await guard.cancel(session, session.fleet.site(NAME), "20261123T021500Z-restore-1a2b3c")
        assert await session.journal.operations() == []
    assert not (site.home / ".modoseru").exists()


async def test_what_overwrites_is_refused_until_it_is_confirmed(site: LabSite, program: Program) -> None:
    async with program.session() as session:
        await backed_up(session)
        intent = await restore.plan(session, session.fleet.site(NAME))
        assert intent.danger
        with pytest.raises(guard.Refused) as refused:
            await through(guard.start(session, intent, confirmed=False))
        assert refused.value.code == "not_confirmed"
        assert [one.kind for one in await session.agent(intent.site).operations()] == ["backup"]


def test_read_only_commands_refuse_without_a_connection(site: LabSite, program: Program) -> None:
    for words in (["backup", NAME], ["restore", NAME, "--yes"], ["undo", NAME, "--yes"], ["update", NAME, "--yes"]):
        assert program(*words, "--read-only", "--json", code=2).error["code"] == "read_only"
        assert program("--read-only", *words, "--json", code=2).error["code"] == "read_only"
    assert not (site.home / ".modoseru").exists()


def test_without_yes_and_without_a_terminal_nothing_is_overwritten(site: LabSite, program: Program) -> None:
    program("backup", NAME)
    for words in (["restore", NAME], ["restore", NAME, "--json"]):
        answer = program(*words, code=2)
        assert "not confirmed" in answer.out + answer.err
        assert "--yes" in answer.out + answer.err
    assert len(program("operations", NAME, "--json").json["operations"]) == 1


# ---------------------------------------------------------------- what it keeps


async def test_the_journal_has_every_event_and_the_audit_who_did_it(site: LabSite, program: Program) -> None:
    async with program.session() as session:
        events = await through(
            guard.start(session, await backup.plan(session, session.fleet.site(NAME)), confirmed=False)
        )
        assert lines(events) == list(range(len(events)))
        (kept,) = await session.journal.operations(NAME)
        assert (kept.kind, kept.outcome, kept.who) == ("backup", Outcome.DONE, session.who)
        assert kept.seconds is not None
        assert [step.name for step in kept.steps] == [event.name for event in events if isinstance(event, Step)]
        told = [event for event in events if not isinstance(event, Progress)]
        assert await session.journal.events(kept.operation) == told
        entries = [entry for entry in await session.journal.audit_log.entries() if entry.site == NAME]
        assert [(entry.what, entry.outcome, entry.who) for entry in entries] == [
            ("backup", "done", session.who),
            ("backup", "asked", session.who),
        ]
        assert list(await session.journal.seals(NAME)) == [kept.generation]


def test_a_summary_changed_on_the_server_breaks_its_seal(site: LabSite, program: Program) -> None:
    generation = program("backup", NAME, "--json").json["generation"]
    assert program("verify", NAME, "--json").json["outcome"] == "ok"
    (summary,) = site.home.glob(f".modoseru/*/generations/{generation}/summary.json")
    summary.chmod(0o600)
    summary.write_text(summary.read_text().rstrip() + " ")
    (found,) = program("generations", NAME, "--json").json["generations"]
    assert found["sealed"] is False
    assert "SEAL BROKEN" in program("generations", NAME).out
    assert program("restore", NAME, "--yes", "--json", code=1).error["code"] == "no_generation"
    verified = program("verify", NAME, generation, "--json", code=1).json
    assert verified["outcome"] == "damaged"
    assert "sealed" in json_words(verified["problems"])
    status = program("status", NAME, "--json").json["sites"][0]
    assert status["verdict"] == "failed"
    assert status["reasons"] == ["every generation is damaged"]


def json_words(problems: list[dict[str, Any]]) -> str:
    return " ".join(problem["what"] for problem in problems)


def test_a_machine_that_keeps_no_seal_says_unknown_never_ok(
    lab: Lab, site: LabSite, program: Program, tmp_path: Path
) -> None:
    program("backup", NAME)
    other = Program(program.config, tmp_path / "other")
    first = other("verify", NAME, "--json", code=1).json
    assert (first["outcome"], first["problems"]) == ("unknown", [])


async def test_a_seal_that_conflicts_is_told_and_does_not_leave_the_operation_running(
    site: LabSite, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = program("backup", NAME, "--json").json
    monkeypatch.setenv("MODOSERU_STATE", str(tmp_path / "other"))
    async with program.session() as session:
        (sealed,) = (await session.agent(session.fleet.site(NAME)).generations()).generations
        await session.journal.seal(NAME, sealed.id, "0" * 64, sealed.created)
        events = await through(guard.follow(session, session.fleet.site(NAME), made["operation"]))
        assert finished(events).outcome is Outcome.DONE
        problem = events[-2]
        assert isinstance(problem, Note)
        assert (problem.code, problem.level, problem.line) == ("seal_conflict", "error", -1)
        assert await session.journal.seals(NAME) == {sealed.id: "0" * 64}
        (kept,) = await session.journal.operations(NAME)
        assert kept.outcome is Outcome.DONE
        assert "seal_conflict" in [entry.outcome for entry in await session.journal.audit_log.entries()]


# ---------------------------------------------------------------- what does not stop it


async def test_closing_the_generator_leaves_it_running_and_follow_tells_all_of_it(
    site: LabSite, program: Program
) -> None:
    program.write_site(site, {"server.cpu": 0.2})
    async with program.session() as session:
        begun = await through(
            guard.start(session, await backup.plan(session, session.fleet.site(NAME)), confirmed=False),
            is_step("files"),
        )
        assert isinstance(begun[0], Started)
        (running,) = await session.journal.operations(running=True)
        assert running.operation == begun[0].operation
        events = await through(guard.follow(session, session.fleet.site(NAME), running.operation))
        assert finished(events).outcome is Outcome.DONE
        assert lines(events) == list(range(len(events)))
        assert await session.journal.operations(running=True) == []


async def test_a_question_whose_client_died_is_answered_by_the_next_follow(site: LabSite, program: Program) -> None:
    async with program.session() as session:
        await backed_up(session)
        begun = await through(
            guard.start(session, await restore.plan(session, session.fleet.site(NAME)), confirmed=True), is_asked
        )
        assert isinstance(begun[0], Started)
        (there, *_) = await session.agent(session.fleet.site(NAME)).operations()
        assert there.state == "running"
    done = program("follow", NAME, begun[0].operation, "--json").json
    assert done["outcome"] == "done"


async def test_read_only_follow_leaves_the_question_to_somebody_else(site: LabSite, program: Program) -> None:
    async with program.session() as session:
        await backed_up(session)
        begun = await through(
            guard.start(session, await restore.plan(session, session.fleet.site(NAME)), confirmed=True), is_asked
        )
    assert isinstance(begun[0], Started)
    watching = program.start("follow", NAME, begun[0].operation, "--read-only", "--progress", "json")
    watching.until('"asked"')
    done = program("follow", NAME, begun[0].operation, "--json").json
    assert done["outcome"] == "done"
    watching.ended(0)


async def test_a_cut_connection_loses_and_repeats_no_event(lab: Lab, site: LabSite, program: Program) -> None:
    program.write_site(site, {"server.cpu": 0.2})
    async with program.session() as session:
        events = []
        async for event in guard.start(session, await backup.plan(session, session.fleet.site(NAME)), confirmed=False):
            events.append(event)
            if is_step("database")(event) or is_step("files")(event):
                lab.cut_ssh(site)
        assert finished(events).outcome is Outcome.DONE
        assert lines(events) == list(range(len(lines(events))))
        assert [event.code for event in events if isinstance(event, Note) and event.line < 0] == ["reconnecting"] * 2
        (kept,) = await session.journal.operations(NAME)
        told = [event for event in events if event.line >= 0 and not isinstance(event, Progress)]
        assert await session.journal.events(kept.operation) == told


async def test_an_answer_that_was_cut_off_is_given_again(
    site: LabSite, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Agent.answer
    tries = itertools.count(1)

    async def cut_twice(self: Agent, *words: Any, **more: Any) -> None:
        if next(tries) <= 2:
            raise ssh.Refused("ssh_lost", "the connection was lost")
        await given(self, *words, **more)

    async with program.session() as session:
        await backed_up(session)
        monkeypatch.setattr(Agent, "answer", cut_twice)
        events = await through(
            guard.start(session, await restore.plan(session, session.fleet.site(NAME)), confirmed=True)
        )
        assert finished(events).outcome is Outcome.DONE
        assert next(tries) == 4


async def test_a_worker_killed_while_it_waits_goes_on_with_the_answer(site: LabSite, program: Program) -> None:
    async with program.session() as session:
        await backed_up(session)
        events = []
        async for event in guard.start(session, await restore.plan(session, session.fleet.site(NAME)), confirmed=True):
            events.append(event)
            if is_asked(event):
                os.kill(worker_of(site), signal.SIGKILL)
        assert finished(events).outcome is Outcome.DONE
        assert lines(events) == list(range(len(lines(events))))


async def test_a_worker_killed_at_work_is_recovered_and_the_site_is_as_before(
    lab: Lab, site: LabSite, program: Program
) -> None:
    program.write_site(site, {"server.cpu": 0.6})
    async with program.session() as session:
        await backed_up(session)
        events = []
        async for event in guard.start(session, await restore.plan(session, session.fleet.site(NAME)), confirmed=True):
            events.append(event)
            if is_step("verify")(event):
                os.kill(worker_of(site), signal.SIGKILL)
        assert finished(events).outcome is Outcome.ROLLED_BACK
        assert lines(events) == list(range(len(lines(events))))
        assert await session.journal.operations(running=True) == []
    assert lab.fetch(site)[0] == 200


async def test_a_full_disk_on_this_machine_says_that_it_goes_on_there(
    site: LabSite, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: Journal, operation: str, event: AnyEvent) -> None:
        raise JournalBroken("journal_full", "the journal cannot be written: no space left on device", "free some space")

    async with program.session() as session:
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "record_event", full)
            with pytest.raises(guard.LostSight) as lost:
                await through(
                    guard.start(session, await backup.plan(session, session.fleet.site(NAME)), confirmed=False)
                )
        assert lost.value.exit_code == 3
        (running,) = await session.journal.operations(running=True)
        assert f"modoseru follow {NAME} {running.operation}" in lost.value.hint
    assert program("follow", NAME, running.operation, "--json").json["outcome"] == "done"


def test_of_two_that_start_at_once_one_is_told_who_is_busy(site: LabSite, program: Program) -> None:
    program.write_site(site, {"server.cpu": 0.1})
    first = program.start("backup", NAME, "--json", "--progress", "json")
    operation = json.loads(first.until('"started"'))["operation"]
    busy = program("backup", NAME, "--json", code=1).error
    assert busy["code"] == "busy"
    assert busy["message"] == "backup is running on this site"
    assert busy["hint"] == f"modoseru follow {NAME} {operation}"
    program("cancel", NAME, operation)
    assert first.ended(130).json["outcome"] == "cancelled"


# ---------------------------------------------------------------- which failures pass


@pytest.mark.parametrize(
    ("code", "cause", "passing"),
    [
        ("ssh_lost", None, True),
        ("ssh_busy", None, True),
        ("ssh_timeout", None, True),
        ("ssh_auth", None, False),
        ("ssh_host_key_changed", None, False),
        ("jump_failed", "ssh_unreachable", True),
        ("jump_failed", "ssh_auth", False),
        ("jump_failed", "ssh_host_key_changed", False),
        ("jump_failed", "key_unreadable", False),
    ],
)
def test_a_failure_is_tried_again_only_where_it_may_pass(code: str, cause: str | None, passing: bool) -> None:
    assert patience.passes(ssh.Refused(code, "", cause=cause)) is passing


@pytest.mark.parametrize(("typed", "same"), [("ＫＯＧＹＯ．example ", True), ("kogyo.exampl", False), ("", False)])
def test_a_name_typed_with_an_input_method_is_the_name(typed: str, same: bool) -> None:
    assert same_word("kogyo.example", typed) is same


def test_lost_sight_and_needs_a_hand_end_alike() -> None:
    assert guard.LostSight("lost_sight", "").exit_code == guard.exit_code(Outcome.NEEDS_HAND) == 3
    assert ModoseruError("x", "").exit_code == guard.exit_code(Outcome.ROLLED_BACK) == 1


# ---------------------------------------------------------------- generations that somebody took away


def test_a_generation_that_was_taken_away_is_an_alarm_until_somebody_knows_why(site: LabSite, program: Program) -> None:
    first = program("backup", NAME, "--json").json["generation"]
    second = program("backup", NAME, "--json").json["generation"]
    assert program("generations", NAME, "--json").json["gone"] == []
    (folder,) = site.home.glob(f".modoseru/*/generations/{second}")
    shutil.rmtree(folder)
    listed = program("generations", NAME, "--json").json
    assert [one["id"] for one in listed["generations"]] == [first]
    assert listed["gone"] == [{"id": second, "let_go": False}]
    assert "GONE" in program("generations", NAME).out
    reasons = program("status", NAME, "--json").json["sites"][0]["reasons"]
    assert f"a generation is gone: {second}" in reasons
    verified = program("verify", NAME, "--json", code=1).json
    assert (verified["generation"], verified["outcome"]) == (first, "damaged")
    assert [one["path"] for one in verified["problems"]] == [f"generations/{second}"]
    assert program("verify", NAME, second, "--json", code=1).error["code"] == "gone"
    # That the server says its own retention did it counts for nothing: it was too young to be let go.
    (state,) = site.home.glob(".modoseru/*/generations")
    (state.parent / "let-go").write_text(json.dumps({"generation": second}) + "\n")
    assert program("generations", NAME, "--json").json["gone"] == [{"id": second, "let_go": False}]
    known = program("generations", NAME, "--let-go", second, "--json").json
    assert known["gone"] == []
    assert program("verify", NAME, "--json").json["outcome"] == "ok"


async def test_a_backup_tells_the_server_which_generations_this_client_can_vouch_for(
    site: LabSite, program: Program
) -> None:
    watched = program("backup", NAME, "--json").json["generation"]
    (folder,) = site.home.glob(f".modoseru/*/generations/{watched}")
    planted = folder.with_name("20990101T000000Z")
    shutil.copytree(folder, planted)
    summary = planted / "summary.json"
    text = summary.read_text().replace(watched, planted.name)
    summary.chmod(0o600)
    summary.write_text(text)
    for path in (planted, *planted.iterdir()):
        os.chown(path, site.uid, site.uid)
    program("generations", NAME, "--mark", watched, "clean")
    program("generations", NAME, "--pin", watched)
    async with program.session() as session:
        assert planted.name in await session.journal.seals(NAME)  # it was sealed when it turned up, and proves nothing
        request = (await backup.plan(session, session.fleet.site(NAME), "weekly")).request
    assert set(request["sealed"]) == {watched}
    assert (request["marked"], request["pinned"]) == ({watched: "clean"}, [watched])


def test_a_damaged_pack_is_healed_and_said_to_be(site: LabSite, program: Program) -> None:
    generation = program("backup", NAME, "--json").json["generation"]
    (pack,) = site.home.glob(f".modoseru/*/packs/{generation}.tar")
    whole = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(whole[: len(whole) // 2] + b"\0" + whole[len(whole) // 2 + 1 :])
    found = program("verify", NAME, "--json").json
    assert (found["outcome"], found["problems"]) == (
        "ok",
        [{"what": "has other bytes than what was sealed", "path": f"packs/{generation}.tar", "healed": True}],
    )
    assert found["checked_bytes"] > len(whole)
    assert pack.read_bytes() == whole
    (newest, *_) = program("operations", NAME, "--json").json["operations"]
    assert (newest["kind"], newest["outcome"]) == ("verify", "done")
