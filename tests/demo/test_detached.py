"""Operations belong to the server: they outlive connections, exclude each other, and are recovered when they die."""

from __future__ import annotations

import asyncio

import pytest

from app.demo.fleet import Demo
from tests.demo.speaking import RefusedError, Speaker, fetch, speaking

SITE = "kogyo.example"


async def begin(speaker: Speaker, verb: str, **fields: object) -> str:
    """Launches and leaves at once; the operation's id."""
    async with speaker.talk(verb, **fields) as lines:
        async for line in lines:
            return str(line["reply"]["operation"])
    raise AssertionError


async def newest(speaker: Speaker) -> str:
    return str((await speaker.ask("generations"))["generations"][0]["id"])


async def until_asked(speaker: Speaker, operation: str) -> int:
    """The number of the open question."""
    async with speaker.talk("follow", operation=operation) as lines:
        async for line in lines:
            if line.get("event", {}).get("type") == "asked":
                return int(line["event"]["number"])
    raise AssertionError


async def state_of(speaker: Speaker, operation: str) -> dict[str, object]:
    (found,) = [one for one in (await speaker.ask("operations"))["operations"] if one["operation"] == operation]
    return dict(found)


async def test_a_cut_connection_leaves_the_operation_running_and_follow_resumes(demo: Demo) -> None:
    gate = demo.twin.hold(SITE, "files")
    async with speaking(demo) as first, first.talk("snapshot", reason="hand") as lines:
        operation = (await anext(lines))["reply"]["operation"]
        seen = [(await anext(lines))["event"], (await anext(lines))["event"]]
        await gate.reached.wait()
        first.connection.abort()
    async with speaking(demo) as second:
        assert (await state_of(second, operation))["state"] == "running"
        async with second.talk("follow", operation=operation, **{"from": len(seen)}) as lines:
            seen.append((await anext(lines))["event"])
            gate.release()
            async for line in lines:
                if "event" in line:
                    seen.append(line["event"])
                else:
                    assert line["reply"] == {"state": "finished"}
    assert [event["line"] for event in seen] == list(range(len(seen)))
    assert seen[-1]["outcome"] == "done"


async def test_two_clients_at_once_one_is_told_busy_and_by_whom(demo: Demo) -> None:
    gate = demo.twin.hold(SITE, "database")
    async with speaking(demo) as one, speaking(demo) as other:
        operation = await begin(one, "snapshot", reason="hand")
        await gate.reached.wait()
        with pytest.raises(RefusedError) as told:
            await other.ask("snapshot", reason="hand")
        assert (told.value.code, told.value.hint) == ("busy", operation)
        assert (await other.ask("inspect"))["operation"] == operation
        assert (await other.ask("recover"))["recovered"] == []
        gate.release()
        async with other.talk("follow", operation=operation) as lines:
            assert [line async for line in lines][-1]["reply"]["state"] == "finished"
        demo.twin.let_go(SITE, "database")
        assert (await other.carry_out("snapshot", reason="hand")).last["outcome"] == "done"


async def test_a_cancel_before_the_switch_leaves_the_site_as_it_was(demo: Demo) -> None:
    before = await fetch(demo)
    gate = demo.twin.hold(SITE, "verify")
    async with speaking(demo) as speaker:
        operation = await begin(speaker, "restore", generation=await newest(speaker), only="all")
        await gate.reached.wait()
        assert await speaker.ask("cancel", operation=operation) == {"asked": True}
        gate.release()
        async with speaker.talk("follow", operation=operation) as lines:
            events = [line["event"] async for line in lines if "event" in line]
        assert events[-1]["outcome"] == "cancelled"
        assert await speaker.ask("cancel", operation=operation) == {"asked": False}
    assert await fetch(demo) == before
    assert not list(demo.sites[SITE].home.glob(".modoseru-*"))


async def test_a_cancel_while_somebody_should_look_switches_back(demo: Demo) -> None:
    before = await fetch(demo)
    async with speaking(demo) as speaker:
        operation = await begin(speaker, "restore", generation=await newest(speaker), only="all")
        await until_asked(speaker, operation)
        assert await fetch(demo) != before
        await speaker.ask("cancel", operation=operation)
        async with speaker.talk("follow", operation=operation) as lines:
            events = [line["event"] async for line in lines if "event" in line]
        assert events[-1]["outcome"] == "cancelled"
    assert await fetch(demo) == before


@pytest.mark.parametrize("step", ["stage", "verify", "switch", "check"])
async def test_a_restore_that_was_killed_is_orphaned_then_rolled_back(demo: Demo, step: str) -> None:
    before = await fetch(demo)
    gate = demo.twin.hold(SITE, step)
    async with speaking(demo) as speaker:
        operation = await begin(speaker, "restore", generation=await newest(speaker), only="all")
        await gate.reached.wait()
        async with speaker.talk("follow", operation=operation) as lines:
            assert "event" in await anext(lines)
            assert await demo.twin.kill(SITE)
            assert [line async for line in lines][-1] == {"reply": {"state": "orphaned"}}
        assert (await state_of(speaker, operation))["state"] == "orphaned"
        recovered = (await speaker.ask("recover"))["recovered"]
        assert recovered == [{"operation": operation, "outcome": "rolled_back"}]
        assert (await state_of(speaker, operation))["state"] == "finished"
    assert await fetch(demo) == before
    assert not list(demo.sites[SITE].home.glob(".modoseru-*"))


async def test_what_a_dead_backup_left_is_swept_by_the_next_operation(demo: Demo) -> None:
    gate = demo.twin.hold(SITE, "seal")
    async with speaking(demo) as speaker:
        operation = await begin(speaker, "snapshot", reason="hand")
        await gate.reached.wait()
        assert await demo.twin.kill(SITE)
        assert not await demo.twin.kill(SITE)
        demo.twin.let_go(SITE, "seal")
        assert len((await speaker.ask("generations"))["generations"]) == 8
        assert (await speaker.carry_out("snapshot", reason="hand")).last["outcome"] == "done"
        assert (await state_of(speaker, operation))["outcome"] == "rolled_back"
        assert len((await speaker.ask("generations"))["generations"]) == 9
    state = demo.sites[SITE].home / ".modoseru" / SITE
    assert not list((state / "generations").glob(".*"))


async def test_a_killed_update_takes_everything_back(demo: Demo) -> None:
    async with speaking(demo) as speaker:
        items = [{"kind": "plugin", "slug": "akismet"}, {"kind": "plugin", "slug": "contact-form-7"}]
        operation = await begin(speaker, "update", items=items)
        await speaker.ask("answer", operation=operation, number=await until_asked(speaker, operation), keep=True)
        async with speaker.talk("follow", operation=operation) as lines:
            async for line in lines:
                if line.get("event", {}).get("item") == "contact-form-7" and line["event"]["type"] == "asked":
                    await demo.twin.kill(SITE)
        assert (await state_of(speaker, operation))["state"] == "waiting"
        assert len((await speaker.ask("inspect"))["updates"]) == 1
        assert (await speaker.ask("recover"))["recovered"][0]["outcome"] == "rolled_back"
        assert len((await speaker.ask("inspect"))["updates"]) == 3


@pytest.mark.parametrize(("keep", "outcome"), [(True, "done"), (False, "rolled_back")])
async def test_a_question_outlives_its_process_and_any_client_may_answer(demo: Demo, keep: bool, outcome: str) -> None:
    before = await fetch(demo)
    async with speaking(demo) as one:
        operation = await begin(one, "restore", generation=await newest(one), only="all")
        number = await until_asked(one, operation)
        await demo.twin.kill(SITE)
    async with speaking(demo) as other:
        assert (await state_of(other, operation))["state"] == "waiting"
        with pytest.raises(RefusedError, match="waiting"):
            await other.ask("snapshot", reason="hand")
        assert (await other.ask("recover"))["recovered"] == [], "nothing is lost by waiting"
        await other.ask("answer", operation=operation, number=number, keep=keep, detail="looked at it later")
        story_end = await finish(other, operation)
        assert story_end["outcome"] == outcome
    assert (await fetch(demo) == before) is not keep


async def finish(speaker: Speaker, operation: str) -> dict[str, object]:
    """Follows to the end, answering what is asked on the way."""
    async with speaker.talk("follow", operation=operation) as lines:
        answered = 0
        async for line in lines:
            event = line.get("event", {})
            if event.get("type") == "answered":
                answered = event["number"]
            if event.get("type") == "asked" and event["subject"] == "reset" and event["number"] > answered:
                await speaker.ask("answer", operation=operation, number=event["number"], keep=True)
            if event.get("type") == "finished":
                return dict(event)
    raise AssertionError


async def test_an_attached_operation_says_so_and_does_the_same(demo: Demo) -> None:
    async with speaking(demo) as speaker, speaker.talk("snapshot", reason="hand", attached=True) as lines:
        told = [line async for line in lines]
    assert told[0]["reply"]["detached"] is False
    assert told[-1] == {"reply": {"state": "finished"}}


async def test_a_follower_that_hangs_up_leaves_no_task_behind(demo: Demo) -> None:
    gate = demo.twin.hold(SITE, "files")
    async with speaking(demo) as speaker:
        operation = await begin(speaker, "snapshot", reason="hand")
        await gate.reached.wait()
        counted = len(asyncio.all_tasks())
        for _ in range(5):
            async with speaker.talk("follow", operation=operation) as lines:
                await anext(lines)
        await speaker.ask("operations")
        assert len(asyncio.all_tasks()) <= counted + 1
        gate.release()
