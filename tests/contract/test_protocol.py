"""The protocol of `backends.agent.client`, kept by the PHP agent on real servers and by the demo's twin alike."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from backends.agent.client import Agent, AgentError, Ended, Launched
from backends.records import OPERATION_ID, AnyEvent, Asked, Finished, ModoseruError, Outcome, Started
from backends.ssh import Servers
from tests.agent.small import Story, carry_out, follow, is_right, is_wrong, listen, verify
from tests.contract.ground import Ground

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def generation_of(agent: Agent) -> str:
    """One that was made by an operation of this protocol."""
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.end.generation
    return story.end.generation


async def begin(agent: Agent, verb: str, **request: Any) -> str:
    """Launches and leaves at once; the operation's id."""
    async with contextlib.aclosing(agent.launch(verb, request)) as lines:
        async for line in lines:
            assert isinstance(line, Launched)
            return line.operation
    raise AssertionError


async def begin_held(ground: Ground, agent: Agent, step: str, verb: str, **request: Any) -> str:
    ground.hold(step)
    operation = await begin(agent, verb, **request)
    await ground.held()
    return operation


async def state_of(agent: Agent, operation: str) -> tuple[str, Outcome | None]:
    (found,) = [one for one in await agent.operations() if one.operation == operation]
    return found.state, found.outcome


async def refused(agent: Agent, verb: str, **request: Any) -> AgentError:
    with pytest.raises(AgentError) as told:
        await carry_out(agent, verb, **request)
    return told.value


def nobody(_: Asked) -> None:
    """Leaves a question open."""


# ---------------------------------------------------------------- events


async def test_an_operation_tells_itself_from_its_launch_to_its_end(ground: Ground, servers: Servers) -> None:
    story = await carry_out(ground.agent(servers), "snapshot", reason="hand")
    assert OPERATION_ID.match(story.operation)
    assert story.detached
    first = story.events[0]
    assert isinstance(first, Started)
    assert (first.operation, first.site, first.kind) == (story.operation, ground.site.name, "backup")
    assert story.steps == ["prepare", "database", "files", "seal", "retention"]
    assert story.outcome is Outcome.DONE
    assert story.end.summary
    assert story.state == "finished"
    assert [event.line for event in story.events] == list(range(len(story.events)))
    assert [event.at for event in story.events] == sorted(event.at for event in story.events)


async def test_the_steps_of_each_operation_are_those_of_the_protocol(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    restored = await carry_out(agent, "restore", generation=generation, only="all")
    assert restored.steps == ["preflight", "stage", "verify", "switch", "check"]
    undone = await carry_out(agent, "undo")
    assert undone.steps == ["preflight", "stage", "switch", "check"]
    updated = await carry_out(agent, "update", items=[{"kind": "plugin", "slug": "nobody-has-this"}])
    assert updated.steps[:4] == ["prepare", "database", "files", "seal"]
    assert updated.steps[-1] == "update"
    assert updated.notes("updating") == updated.notes("not_updated") == ["nobody-has-this"]
    assert (updated.outcome, updated.end.code) == (Outcome.ROLLED_BACK, "put_back")
    probed = await carry_out(agent, "probe")
    assert probed.outcome is Outcome.DONE
    told = await agent.operations()
    assert [one.kind for one in told] == ["probe", "update", "undo", "restore", "backup"]
    assert [one.operation for one in told] == sorted((one.operation for one in told), reverse=True)


async def test_any_client_follows_from_any_line(ground: Ground, servers: Servers, others: Servers) -> None:
    story = await carry_out(ground.agent(servers), "snapshot", reason="hand")
    other = ground.agent(others)
    for start in (0, 1, len(story.events) - 1, len(story.events), len(story.events) + 7):
        again = await follow(other, story.operation, start)
        assert again.events == story.events[start:]
        assert again.state == "finished"


async def test_an_attached_operation_says_so_and_does_the_same(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    story = await carry_out(agent, "snapshot", reason="hand")
    attached = Story()
    async with contextlib.aclosing(agent._stream("snapshot", {"reason": "hand", "attached": True})) as lines:
        attached = await listen(agent, lines)
    assert not attached.detached
    assert attached.steps == story.steps
    assert [event.line for event in attached.events] == list(range(len(attached.events)))
    assert (attached.outcome, attached.state) == (Outcome.DONE, "finished")


# ---------------------------------------------------------------- connections


async def test_a_cut_connection_leaves_the_operation_running_and_another_client_goes_on(
    ground: Ground, servers: Servers, others: Servers
) -> None:
    agent, other = ground.agent(servers), ground.agent(others)
    seen: list[AnyEvent] = []
    operations: list[str] = []

    async def until_cut() -> None:
        ground.hold("prepare")
        async with contextlib.aclosing(agent.launch("snapshot", {"reason": "hand"})) as lines:
            async for line in lines:
                if isinstance(line, Launched):
                    operations.append(line.operation)
                elif not isinstance(line, Ended):
                    seen.append(line)
                if len(seen) == 2:
                    await ground.held()
                    servers.drop(ground.site.ssh)

    with pytest.raises(ModoseruError) as told:
        await until_cut()
    assert told.value.code == "cut"
    (operation,) = operations
    assert await state_of(other, operation) == ("running", None)
    ground.release()
    rest = await follow(other, operation, len(seen))
    assert [event.line for event in [*seen, *rest.events]] == list(range(len(seen) + len(rest.events)))
    assert rest.outcome is Outcome.DONE
    # The first client's next word opens another connection.
    assert await state_of(agent, operation) == ("finished", Outcome.DONE)


async def test_operations_one_right_after_another_do_not_take_each_other_for_dead(
    ground: Ground, servers: Servers
) -> None:
    """The process that asked may end just when its answer comes; the next operation is then about to begin."""
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    story = await carry_out(agent, "restore", generation=generation, only="all")
    for _ in range(5):
        assert (story.outcome, story.state) == (Outcome.DONE, "finished"), story
        assert isinstance(story.events[0], Started)
        story = await carry_out(agent, "undo")


async def test_who_stops_listening_stops_nothing(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    operation = await begin_held(ground, agent, "prepare", "snapshot", reason="hand")
    assert await state_of(agent, operation) == ("running", None)
    ground.release()
    assert (await follow(agent, operation)).outcome is Outcome.DONE


async def test_while_one_runs_another_is_busy_and_told_by_whom(
    ground: Ground, servers: Servers, others: Servers
) -> None:
    agent, other = ground.agent(servers), ground.agent(others)
    generation = await generation_of(agent)
    operation = await begin_held(ground, agent, "prepare", "snapshot", reason="hand")
    for verb, request in (("snapshot", {"reason": "hand"}), ("restore", {"generation": generation, "only": "all"})):
        error = await refused(other, verb, **request)
        assert (error.code, error.hint) == ("busy", operation)
    assert (await other.inspect())[0].operation == operation
    await other.recover()  # leaves what lives alone
    assert await state_of(other, operation) == ("running", None)
    assert (await other.generations()).generations[0].id == generation
    ground.release()
    assert (await follow(other, operation)).outcome is Outcome.DONE
    assert (await carry_out(other, "snapshot", reason="hand")).outcome is Outcome.DONE


# ---------------------------------------------------------------- questions


async def test_a_restore_that_looks_right_stays(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    before = ground.looks()
    ground.spoil()
    assert ground.looks() != before
    asked: list[Asked] = []

    def look(question: Asked) -> tuple[bool, str]:
        asked.append(question)
        return is_right(question)

    story = await carry_out(agent, "restore", look, generation=generation, only="all", expect={"title": "a title"})
    assert (story.outcome, story.end.generation, story.end.detail) == (Outcome.DONE, generation, "the page is right")
    assert [(one.number, one.subject) for one in asked] == [(1, "look")]
    assert asked[0].token
    assert asked[0].token.startswith("modoseru-")
    assert [getattr(event, "keep", None) for event in story.events if type(event).__name__ == "Answered"] == [True]
    assert ground.litter() == []


async def test_a_restore_that_looks_wrong_is_taken_back_whole(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    ground.spoil()
    before = ground.looks()
    asked: list[str] = []

    def look(question: Asked) -> tuple[bool, str]:
        asked.append(question.subject)
        return is_wrong(question)

    story = await carry_out(agent, "restore", look, generation=generation, only="all")
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "check_failed")
    assert "status 500" in story.end.detail
    assert asked == ["look", "reset"]
    assert ground.looks() == before
    assert ground.litter() == []
    assert (await refused(agent, "undo")).code == "nothing_to_undo"


async def test_an_answer_to_another_question_is_no_answer(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    story = await carry_out(agent, "restore", nobody, generation=generation, only="all", wait_s=0)
    for number in (0, 2, 99):
        await agent.answer(story.operation, number, keep=False, detail="not asked")
    assert (await state_of(agent, story.operation))[0] == "waiting"
    await agent.answer(story.operation, 1, keep=True, detail="now")
    ended = await follow(agent, story.operation)
    assert (ended.outcome, ended.end.detail) == (Outcome.DONE, "now")
    await agent.answer(story.operation, 1, keep=False, detail="too late")
    assert await state_of(agent, story.operation) == ("finished", Outcome.DONE)


@pytest.mark.parametrize("keep", [True, False])
async def test_a_question_outlives_its_process_and_any_client_may_answer(
    ground: Ground, servers: Servers, others: Servers, keep: bool
) -> None:
    agent, other = ground.agent(servers), ground.agent(others)
    generation = await generation_of(agent)
    ground.spoil()
    before = ground.looks()
    async with contextlib.aclosing(agent.launch("restore", {"generation": generation, "only": "all"})) as lines:
        operation, states = "", []
        async for line in lines:
            match line:
                case Launched():
                    operation = line.operation
                case Asked():
                    assert await ground.kill()
                case Ended():
                    states.append(line.state)
    assert states == ["waiting"]
    assert await state_of(other, operation) == ("waiting", None)
    error = await refused(other, "snapshot", reason="hand")
    assert (error.code, error.hint) == ("waiting", operation)
    await other.recover()  # nothing is lost by waiting
    assert await state_of(other, operation) == ("waiting", None)

    await other.answer(operation, 1, keep=keep, detail="looked at it later")
    ended = await follow(other, operation, look=lambda asked: is_right(asked) if asked.subject == "reset" else None)
    assert ended.outcome is (Outcome.DONE if keep else Outcome.ROLLED_BACK)
    assert (ground.looks() == before) is not keep
    assert [event.line for event in ended.events] == list(range(len(ended.events)))
    assert ground.litter() == []
    assert (await carry_out(other, "snapshot", reason="hand")).outcome is Outcome.DONE


# ---------------------------------------------------------------- cancelling


async def test_a_cancel_before_the_switch_leaves_the_site_as_it_was(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    ground.spoil()
    before = ground.looks()
    operation = await begin_held(ground, agent, "verify", "restore", generation=generation, only="all")
    assert await agent.cancel(operation)
    ground.release()
    ended = await follow(agent, operation)
    assert ended.outcome is Outcome.CANCELLED
    assert ground.looks() == before
    assert ground.litter() == []
    assert not await agent.cancel(operation)


async def test_a_cancelled_backup_leaves_no_generation(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    before = (await agent.generations()).generations
    operation = await begin_held(ground, agent, "prepare", "snapshot", reason="hand")
    assert await agent.cancel(operation)
    ground.release()
    assert (await follow(agent, operation)).outcome is Outcome.CANCELLED
    assert (await agent.generations()).generations == before
    assert ground.litter() == []


@pytest.mark.parametrize("alive", [True, False])
async def test_a_cancel_while_somebody_should_look_switches_back(ground: Ground, servers: Servers, alive: bool) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    ground.spoil()
    before = ground.looks()
    asked: list[str] = []
    async with contextlib.aclosing(agent.launch("restore", {"generation": generation, "only": "all"})) as lines:
        operation = ""
        async for line in lines:
            if isinstance(line, Launched):
                operation = line.operation
            if isinstance(line, Asked):
                asked.append(line.subject)
                break
    assert asked == ["look"]
    if not alive:
        assert await ground.kill()
    assert await agent.cancel(operation)
    ended = await follow(agent, operation, look=lambda asked: is_right(asked) if asked.subject == "reset" else None)
    assert ended.outcome is Outcome.CANCELLED
    assert ground.looks() == before
    assert ground.litter() == []


# ---------------------------------------------------------------- recovering


@pytest.mark.parametrize("step", ["preflight", "verify", "switch"])
async def test_a_restore_that_was_killed_is_an_orphan_and_then_taken_back(
    ground: Ground, servers: Servers, step: str
) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    ground.spoil()
    before = ground.looks()
    operation = await begin_held(ground, agent, step, "restore", generation=generation, only="all")
    assert await ground.kill()
    ground.release()
    assert (await follow(agent, operation)).state == "orphaned"
    assert (await state_of(agent, operation))[0] == "orphaned"
    await agent.recover()
    assert await state_of(agent, operation) == ("finished", Outcome.ROLLED_BACK)
    ended = await follow(agent, operation)
    assert [event.line for event in ended.events] == list(range(len(ended.events)))
    assert isinstance(ended.events[-1], Finished)
    assert ground.looks() == before
    assert ground.litter() == []


async def test_what_a_dead_backup_left_is_swept_by_the_next_operation(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    before = (await agent.generations()).generations
    operation = await begin_held(ground, agent, "prepare", "snapshot", reason="hand")
    assert await ground.kill()
    ground.release()
    assert (await agent.generations()).generations == before
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.outcome is Outcome.DONE
    assert await state_of(agent, operation) == ("finished", Outcome.ROLLED_BACK)
    assert len((await agent.generations()).generations) == len(before) + 1
    assert ground.litter() == []


# ---------------------------------------------------------------- undoing


async def test_an_undo_brings_back_what_was_overwritten_and_is_itself_undone(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    ground.spoil()
    spoiled = ground.looks()
    restored = await carry_out(agent, "restore", generation=generation, only="all")
    good = ground.looks()
    assert good != spoiled
    undone = await carry_out(agent, "undo")
    assert undone.outcome is Outcome.DONE
    assert ground.looks() == spoiled
    assert (await carry_out(agent, "undo", operation=undone.operation)).outcome is Outcome.DONE
    assert ground.looks() == good
    assert (await refused(agent, "undo", operation=restored.operation)).code == "nothing_to_undo"
    assert ground.litter() == []


async def test_an_undo_stays_whatever_the_look_shows(ground: Ground, servers: Servers) -> None:
    """It may well bring a broken state back: it reports what was seen."""
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    ground.spoil()
    spoiled = ground.looks()
    await carry_out(agent, "restore", generation=generation, only="all")
    undone = await carry_out(agent, "undo", is_wrong)
    assert undone.outcome is Outcome.DONE
    assert "status 500" in undone.end.detail
    assert ground.looks() == spoiled


# ---------------------------------------------------------------- generations


async def test_a_generation_that_was_made_is_listed_sealed_and_verified(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    story = await carry_out(agent, "snapshot", reason="weekly")
    told = await agent.generations()
    assert [one.id for one in told.generations] == sorted((one.id for one in told.generations), reverse=True)
    newest, *_ = told.generations
    assert (newest.id, newest.reason, newest.verified_at) == (story.end.generation, "weekly", None)
    assert newest.files
    assert newest.tables
    assert newest.bytes
    assert told.summaries[newest.id] == story.end.summary
    inspection, also = await agent.inspect()
    assert inspection.generations[0] == newest
    assert also == told
    verification = await verify(agent, newest.id)
    assert (verification.outcome, verification.problems, verification.summary) == ("ok", (), story.end.summary)
    assert verification.checked_bytes
    assert (await agent.generations()).generations[0].verified_at is not None


async def test_a_preview_counts_what_would_be_lost_and_touches_nothing(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    before = ground.looks()
    for only in ("all", "files", "database"):
        preview = await agent.preview(generation, only)
        assert (preview.generation, preview.blockers) == (generation, ())
        assert preview.loss.posts == preview.loss.users == preview.loss.orders == 0
    assert ground.looks() == before


async def test_a_page_for_the_web_side_has_the_name_of_its_token(ground: Ground, servers: Servers) -> None:
    token = "00112233445566778899aabbccddeeff"
    assert (await ground.raw(servers, "page", token=token))[-1] == {"reply": {"page": f"modoseru-{token}.php"}}


# ---------------------------------------------------------------- refusals


async def test_what_is_not_there_is_refused_before_anything_begins(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    missing = "20200101T000000Z"
    assert (await refused(agent, "undo")).code == "nothing_to_undo"
    for generation in (missing, "../../etc", "", "20261123T021500Z\n", "x" * 5000):
        assert (await refused(agent, "restore", generation=generation, only="all")).code == "no_generation"
        assert (await refused(agent, "verify", generation=generation)).code == "no_generation"
        with pytest.raises(AgentError) as told:
            await agent.preview(generation, "all")
        assert told.value.code == "no_generation"
    for operation in (f"{missing}-backup-abcdef", "../ops", "", f"{missing}-backup-abcdef\n"):
        for asked in (agent.cancel(operation), agent.answer(operation, 1, keep=True, detail="")):
            with pytest.raises(AgentError) as told:
                await asked
            assert told.value.code == "no_operation"
        with pytest.raises(AgentError) as told:
            await follow(agent, operation)
        assert told.value.code == "no_operation"
    assert await agent.operations() == ()


async def test_what_cannot_be_restored_is_refused_before_anything_begins(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    bad: list[object] = [["../x"], ["/etc"], ["a/../b"], [""], [], "everything", 5, [["a"]], {"a": "b"}]
    for only in bad:
        assert (await refused(agent, "restore", generation=generation, only=only)).code == "bad_request", only
    assert len(await agent.operations()) == 1


async def test_the_document_root_itself_is_no_path_below_it(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    assert (await refused(agent, "restore", generation=generation, only=["."])).code == "bad_request"


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("inspect", {"protocol": 2}, "protocol"),
    ("inspect", {"protocol": "1"}, "protocol"),
    ("inspect", {"protocol": None}, "protocol"),
    ("inspect", {"marker": "zz"}, "bad_request"),
    ("inspect", {"marker": "abcdef0"}, "bad_request"),
    ("inspect", {"marker": None}, "bad_request"),
    ("inspect", {"marker": 12345678}, "bad_request"),
    ("inspect", {"marker": ["abcdef01"]}, "bad_request"),
    ("inspect", {"marker": "abcdef0123456789\n"}, "bad_request"),
    ("inspect", {"site": 5}, "bad_request"),
    ("inspect", {"root": 5}, "bad_request"),
    ("inspect", {"root": ["a"]}, "bad_request"),
    ("inspect", {"state": None}, "bad_request"),
    ("nonsense", {}, "bad_request"),
    ("verify", {}, "bad_request"),
    ("verify", {"generation": 5}, "bad_request"),
    ("verify", {"generation": ["20261123T021500Z"]}, "bad_request"),
    ("preview", {"generation": None, "only": "all"}, "bad_request"),
    ("restore", {"only": "all"}, "bad_request"),
    ("follow", {"operation": 7}, "bad_request"),
    ("follow", {"operation": "20261123T021500Z-backup-abcdef", "from": "x"}, "no_operation"),
    ("answer", {"operation": {}, "number": 1}, "bad_request"),
    ("cancel", {}, "bad_request"),
]


async def test_a_bad_request_gets_an_error_object_and_leaves_nothing(ground: Ground, servers: Servers) -> None:
    for verb, fields, code in BAD:
        error = await error_of(ground, servers, verb, fields)
        # What is no number is no protocol either: both words are true.
        assert error["code"] in ({"protocol", "bad_request"} if "protocol" in fields else {code}), (verb, fields, error)
    assert ground.litter() == []


async def error_of(ground: Ground, servers: Servers, verb: str, fields: dict[str, Any]) -> dict[str, str]:
    lines = await ground.raw(servers, verb, **fields)
    assert [set(line) for line in lines] == [{"error"}], (verb, fields, lines)
    error: dict[str, str] = lines[0]["error"]
    assert set(error) == {"code", "message", "hint"}
    assert error["message"]
    return error


async def test_a_site_s_name_never_becomes_a_path_of_its_own(ground: Ground, servers: Servers) -> None:
    for name in ("../../etc", "kogyo.example\n", "..", "", "a" * 300, "a\0b", "a/b", "-rf", "~", "日本"):
        for verb in ("inspect", "generations"):
            error = await error_of(ground, servers, verb, {"site": name})
            assert error["code"] == "bad_request", (name, error)


async def test_items_to_update_that_are_no_items_change_nothing(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    for items in (
        [],
        [{"kind": "plugin"}],
        [{"kind": "virus", "slug": "x"}],
        [{"kind": "plugin", "slug": "../x"}],
        "x",
        [5],
    ):
        story = await carry_out(agent, "update", items=items)
        assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "bad_request"), items
