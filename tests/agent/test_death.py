"""`kill -9` at any moment: the site is wholly old or wholly new, nothing half-made stays, the next operation works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from backends.agent.client import Agent, AgentError, Launched
from backends.records import Asked, Outcome
from backends.ssh import Servers
from tests.agent.small import Small, carry_out, follow, is_right, summary_of, verify
from tests.lab.layout import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
MOMENTS = 6
"""How many moments of each operation are tried: one in each equal part of its duration, by chance within it."""


def looks(site: Small) -> object:
    return site.files(), site.tables()


def grown(small: Callable[..., Small]) -> Small:
    """Enough to do that an operation has moments to die at."""
    site = small()
    for number in range(120):
        site.write(f"wp-content/uploads/many/{number}.txt", b"%d\n" % number * 900)
    rows = f"INSERT INTO `{site.prefix}meta` SELECT seq, REPEAT(seq, 300) FROM seq_1_to_1500"
    site.sql(f"CREATE TABLE `{site.prefix}meta` (a int PRIMARY KEY, b text); {rows}")
    site.sql(f"CREATE TABLE `{site.prefix}child` (a int, FOREIGN KEY (a) REFERENCES `{site.prefix}meta` (a))")
    site.sql(f"CREATE VIEW `{site.prefix}view` AS SELECT a FROM `{site.prefix}meta`")
    trigger = f"CREATE TRIGGER `{site.prefix}trigger` BEFORE INSERT ON `{site.prefix}posts` FOR EACH ROW"
    site.sql(f"{trigger} SET NEW.post_type = 'post'")
    return site


async def killed_after(site: Small, agent: Agent, seconds: float, verb: str, **request: Any) -> str:
    """Launches, kills the worker when the time has come, and follows to whatever end there is; the operation's id."""
    operation = ""
    started = time.monotonic()

    async def kill() -> None:
        pids: list[int] = []
        while not pids:
            pids = await asyncio.to_thread(site.workers)
            if time.monotonic() - started > 10:
                return
        await asyncio.sleep(max(0.0, started + seconds - time.monotonic()))
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    death = asyncio.create_task(kill())
    # Where it dies before its first line, the launch says so (no_detach).
    with contextlib.suppress(AgentError):
        async with contextlib.aclosing(agent.launch(verb, request)) as lines:
            async for line in lines:
                if isinstance(line, Launched):
                    operation = line.operation
                elif isinstance(line, Asked):
                    await agent.answer(operation, line.number, keep=True, detail="right")
    await death
    return operation


async def settled(agent: Agent, operation: str) -> Outcome:
    """Recovers what a kill left; what waits for an answer is cancelled."""
    await agent.recover()
    (found,) = [one for one in await agent.operations() if one.operation == operation]
    if found.state == "waiting":
        await agent.cancel(operation)
        ended = await follow(agent, operation, look=lambda asked: is_right(asked) if asked.subject == "reset" else None)
        return ended.outcome
    assert found.state == "finished", found
    assert found.outcome is not None
    return found.outcome


def moments(seconds: float) -> list[float]:
    chance = random.Random(20261123)
    return [seconds * (number + chance.random()) / MOMENTS for number in range(MOMENTS)]


async def test_a_backup_that_is_killed_at_any_moment_leaves_whole_generations_and_nothing_else(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = grown(small)
    agent = site.agent(servers)
    started = time.monotonic()
    await carry_out(agent, "snapshot", reason="hand")
    outcomes = []
    before = looks(site)
    for moment in moments(time.monotonic() - started):
        site.write("wp-content/new.txt", random.Random(moment).randbytes(20_000))
        before = looks(site)
        operation = await killed_after(site, agent, moment, "snapshot", reason="hand")
        known = {one.id for one in (await agent.generations()).generations}
        if operation:
            outcomes.append(await settled(agent, operation))
        await agent.recover()
        assert looks(site) == before
        assert site.litter() == []
        assert known == {one.id for one in (await agent.generations()).generations} == set(site.generations())
        needed = {pack["id"] for one in known for pack in summary_of(site, one)["packs"]}
        assert {path.name.removesuffix(".tar") for path in (site.state / "packs").iterdir()} == needed
    for generation in site.generations():
        assert (await verify(agent, generation)).outcome == "ok"
    assert Outcome.ROLLED_BACK in outcomes
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.outcome is Outcome.DONE
    assert story.end.generation == max(site.generations())


@pytest.mark.parametrize("verb", ["restore", "undo"])
async def test_a_switch_that_is_killed_at_any_moment_leaves_the_site_old_or_new(
    small: Callable[..., Small], servers: Servers, verb: str
) -> None:
    site = grown(small)
    agent = site.agent(servers)
    generation = (await carry_out(agent, "snapshot", reason="hand")).end.generation
    good = looks(site)
    site.write("index.php", b"<?php echo 'HACKED';")
    site.write("wp-content/evil.php", b"<?php evil();")
    site.sql(f"DROP VIEW `{site.prefix}view`; DROP TRIGGER `{site.prefix}trigger`; DELETE FROM `{site.prefix}posts`")
    site.sql(f"CREATE TABLE `{site.prefix}evil` (a int)")
    ruined = looks(site)
    request: dict[str, Any] = {"generation": generation, "only": "all"} if verb == "restore" else {}
    old, new = (ruined, good) if verb == "restore" else (good, ruined)

    async def back_to_old() -> None:
        if looks(site) != old:
            story = await carry_out(agent, "undo")
            assert story.outcome is Outcome.DONE, story.end
        assert looks(site) == old

    if verb == "undo":
        assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
        assert looks(site) == good
    started = time.monotonic()
    assert (await carry_out(agent, verb, **request)).outcome is Outcome.DONE
    seconds = time.monotonic() - started
    assert looks(site) == new
    await back_to_old()
    outcomes = set()
    for moment in moments(seconds):
        operation = await killed_after(site, agent, moment, verb, **request)
        if operation:
            outcome = await settled(agent, operation)
            outcomes.add(outcome)
            # An undo stays whatever the look shows: cancelled while it was asked, it is done.
            assert outcome in (Outcome.DONE, Outcome.ROLLED_BACK, Outcome.CANCELLED)
            assert looks(site) == (new if outcome is Outcome.DONE else old), (moment, outcome)
        await agent.recover()
        assert looks(site) in (old, new)
        assert site.litter() == [], moment
        await back_to_old()
    # How many moments fall before its end is the machine's affair; that one does, the death in the switch shows.
    assert outcomes <= {Outcome.DONE, Outcome.ROLLED_BACK, Outcome.CANCELLED}
    assert (await carry_out(agent, "snapshot", reason="hand")).outcome is Outcome.DONE


async def killed_between_files_and_tables(site: Small, agent: Agent, verb: str, **request: Any) -> str:
    """`kill -9` where the files are switched and the tables wait for a transaction that reads one of them."""
    before = (site.root / "index.php").read_bytes()
    with site.session(f"START TRANSACTION; SELECT * FROM `{site.prefix}posts`"):
        async with contextlib.aclosing(agent.launch(verb, request)) as lines:
            async for line in lines:
                if isinstance(line, Launched):
                    break
        switched = lambda: (site.root / "index.php").read_bytes() != before  # noqa: E731
        await asyncio.to_thread(wait_until, switched, 20, "the files to be switched")
        assert await asyncio.to_thread(site.kill)
    assert isinstance(line, Launched)
    return line.operation


async def test_a_database_that_is_away_is_waited_for_and_no_hand_is_needed(
    small: Callable[..., Small], servers: Servers
) -> None:
    """Between files and tables nobody but the database can tell which way to go: at the next contact, by itself."""
    site = small()
    agent = site.agent(servers)
    generation = (await carry_out(agent, "snapshot", reason="hand")).end.generation
    site.write("index.php", b"<?php // later")
    site.sql(f"INSERT INTO `{site.prefix}posts` (post_title) VALUES ('later')")
    later = looks(site)
    operation = await killed_between_files_and_tables(site, agent, "restore", generation=generation, only="all")
    with site.locked_out():
        with pytest.raises(AgentError) as told:
            await agent.recover()
        assert told.value.code == "no_database"
        assert (await carry_out(agent, "snapshot", reason="hand")).end.code == "no_database"
        (known,) = [one for one in await agent.operations() if one.operation == operation]
        assert known.state == "orphaned"
    await agent.recover()
    assert looks(site) == later
    assert (await follow(agent, operation)).outcome is Outcome.ROLLED_BACK
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
    assert site.litter() == []


async def test_what_a_dead_process_asked_of_the_database_comes_to_nothing_before_anything_is_taken_back(
    small: Callable[..., Small], servers: Servers
) -> None:
    """The server goes on with a statement whose client was killed: granted late, it would switch the tables alone."""
    site = small()
    agent = site.agent(servers)
    generation = (await carry_out(agent, "snapshot", reason="hand")).end.generation
    site.write("index.php", b"<?php // later")
    site.sql(f"INSERT INTO `{site.prefix}posts` (post_title) VALUES ('later')")
    later = looks(site)
    before = (site.root / "index.php").read_bytes()

    def is_back() -> bool:
        return (site.root / "index.php").read_bytes() == before

    with site.session(f"START TRANSACTION; SELECT * FROM `{site.prefix}posts`"):
        async with contextlib.aclosing(agent.launch("restore", {"generation": generation, "only": "all"})) as lines:
            async for line in lines:
                if isinstance(line, Launched):
                    break
        await asyncio.to_thread(wait_until, lambda: not is_back(), 20, "the files to be switched")
        await asyncio.to_thread(wait_until, site.waits_for_tables, 20, "the tables to be waited for")
        assert await asyncio.to_thread(site.kill)
        recovery = asyncio.create_task(agent.recover())
        await asyncio.to_thread(wait_until, is_back, 20, "the files to be switched back")
    await recovery
    assert looks(site) == later
    assert site.litter() == []
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE


async def test_an_undo_that_dies_in_its_switch_can_be_asked_for_again(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    generation = (await carry_out(agent, "snapshot", reason="hand")).end.generation
    site.write("index.php", b"<?php // later")
    site.sql(f"INSERT INTO `{site.prefix}posts` (post_title) VALUES ('later')")
    later = looks(site)
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
    restored = looks(site)
    await killed_between_files_and_tables(site, agent, "undo")
    assert looks(site) not in (later, restored)
    await agent.recover()
    assert looks(site) == restored
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert looks(site) == later
    assert site.litter() == []


async def test_a_torn_last_line_of_a_journal_stands_for_nothing(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    site.hold("prepare")
    async with contextlib.aclosing(agent.launch("snapshot", {"reason": "hand"})) as lines:
        async for line in lines:
            if isinstance(line, Launched):
                operation = line.operation
                break
    await asyncio.to_thread(site.await_held)
    assert await asyncio.to_thread(site.kill)
    site.release()
    with (site.state / "ops" / operation / "journal").open("ab") as journal:
        journal.write(b'{"type":"finished","line":2,"outcome":"done"')
    assert (await follow(agent, operation)).state == "orphaned"
    await agent.recover()
    ended = await follow(agent, operation)
    assert ended.outcome is Outcome.ROLLED_BACK
    assert [event.line for event in ended.events] == list(range(len(ended.events)))
