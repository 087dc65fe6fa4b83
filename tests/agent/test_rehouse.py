"""The move of a site's database to another real server: what arrives there, and every way in which it fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable

import pytest

from backends.agent.client import Agent, AgentError, Launched
from backends.records import Asked, Credentials, Note, Outcome
from backends.ssh import Servers
from tests.agent import odd_tables
from tests.agent.small import Look, Small, Story, carry_out, follow, is_right, is_wrong, lacking, listen, tables_in
from tests.agent.test_death import grown
from tests.lab.layout import wait_until
from tests.lab.other_database import Second

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
STEPS = ["preflight", "prepare", "database", "files", "seal", "load", "verify", "switch", "check"]


async def moved(agent: Agent, to: Credentials, look: Look = is_right) -> Story:
    async with contextlib.aclosing(agent.launch("rehouse", {}, credentials=to)) as lines:
        return await listen(agent, lines, look)


def leads_to(site: Small) -> str:
    """The DB_NAME of its live wp-config.php."""
    found = re.search(r"define\('DB_NAME', ['\"](.*)['\"]\)", site.config_file.read_text())
    assert found
    return found[1]


def at_home(site: Small) -> object:
    return site.files(), site.tables()


def there(second: Second, site: Small) -> dict[str, tuple[str, ...]]:
    return tables_in(second, "moved", site.prefix)


def left(site: Small) -> list[str]:
    """What no operation that ended may leave, credentials among it."""
    secrets = [
        str(path) for path in site.state.glob("ops/*/*") if path.is_file() and b"of the new one" in path.read_bytes()
    ]
    return site.litter() + secrets


def told(story: Story, code: str) -> str:
    (text,) = [event.text for event in story.events if isinstance(event, Note) and event.code == code]
    return text


async def test_every_table_arrives_as_it_was_and_the_old_database_stays(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    site = small()
    site.drop_tables()
    site.sql(odd_tables.statements(site.prefix))
    before, config, other_files = site.tables(), site.config_file.stat(), site.files()
    story = await moved(site.agent(servers), empty.credentials())
    assert (story.outcome, story.steps) == (Outcome.DONE, STEPS), story.end
    assert story.end.summary
    assert story.end.generation == site.generations()[-1]
    assert there(empty, site) == before == site.tables()
    assert leads_to(site) == "moved"
    now = site.config_file.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (config.st_mode, config.st_uid, config.st_gid)
    files = site.files()
    assert files.pop(b"wp-config.php") != other_files.pop(b"wp-config.php")
    assert files == other_files
    assert left(site) == []


async def test_what_is_written_between_the_dump_and_the_switch_arrives(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    site = small()
    p = site.prefix
    site.sql(f"CREATE TABLE `{p}log` (a int) ENGINE=MyISAM; CREATE TABLE `{p}gone` (a int);"
             f"CREATE TABLE `{p}kept` (a int PRIMARY KEY); INSERT INTO `{p}kept` VALUES (1)")  # fmt: skip
    site.hold("verify")
    moving = asyncio.create_task(moved(site.agent(servers), empty.credentials()))
    await asyncio.to_thread(site.await_held)
    site.sql(f"INSERT INTO `{p}posts` (post_title) VALUES ('late'); INSERT INTO `{p}log` VALUES (7);"
             f"DROP TABLE `{p}gone`; CREATE TABLE `{p}new` (id int PRIMARY KEY, parent bigint unsigned,"
             f"FOREIGN KEY (parent) REFERENCES `{p}posts` (ID));"
             f"INSERT INTO `{p}new` VALUES (1, 1); ALTER TABLE `{p}users` ADD KEY login (user_login);"
             f"CREATE VIEW `{p}view` AS SELECT ID FROM `{p}posts`;"
             f"CREATE TRIGGER `{p}trigger` BEFORE INSERT ON `{p}posts` FOR EACH ROW"
             " SET NEW.post_type='post'")  # fmt: skip
    now = site.tables()
    site.release()
    story = await moving
    assert story.outcome is Outcome.DONE, story.end
    assert there(empty, site) == now
    text = told(story, "followed")
    assert {f"{p}posts", f"{p}log"} <= set(re.findall(r"\w+", text))
    assert not {f"{p}kept", f"{p}options"} & set(re.findall(r"\w+", text))
    assert left(site) == []


@pytest.mark.parametrize("why", ["not_empty", "no_grant", "target_refuses", "same_database"])
async def test_one_that_will_not_do_is_refused_and_nothing_is_begun(
    small: Callable[..., Small], servers: Servers, empty: Second, why: str
) -> None:
    site = small()
    to = empty.credentials()
    if why == "not_empty":
        empty.sql("CREATE TABLE moved.mine (a int)")
    elif why == "no_grant":
        empty.sql("REVOKE DROP ON moved.* FROM mover@localhost")
    elif why == "target_refuses":
        to = empty.credentials(password="x")
    else:
        own = site.within
        to = Credentials(name=own.db_name, user=own.db_user, password=own.db_password, host=own.db_host)
    before, held = at_home(site), empty.holds()
    story = await moved(site.agent(servers), to)
    assert (story.outcome, story.end.code, story.steps) == (Outcome.ROLLED_BACK, why, ["preflight"])
    assert (at_home(site), empty.holds(), site.generations()) == (before, held, [])
    assert left(site) == []


async def test_without_credentials_nothing_begins(small: Callable[..., Small], servers: Servers) -> None:
    with pytest.raises(AgentError) as refused:
        await carry_out(small().agent(servers), "rehouse")
    assert refused.value.code == "bad_request"


async def test_a_check_that_fails_goes_back_and_empties_the_new_one_of_its_own_alone(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    site = grown(small)
    before = at_home(site)

    def spoils(asked: Asked) -> tuple[bool, str]:
        if asked.subject == "look":
            assert leads_to(site) == "moved"
            empty.sql(
                f"CREATE TABLE moved.mine (a int); INSERT INTO moved.{site.prefix}posts (post_title) VALUES ('lost')"
            )
        return is_wrong(asked)

    story = await moved(site.agent(servers), empty.credentials(), spoils)
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "check_failed")
    assert "status 500" in story.end.detail
    assert f"{site.prefix}posts" in told(story, "left_behind")
    assert at_home(site) == before
    assert empty.holds() == ["mine"]
    assert left(site) == []


async def test_a_new_server_that_is_gone_does_not_keep_the_site_there(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    site = small()
    before = at_home(site)

    def goes(asked: Asked) -> tuple[bool, str]:
        if asked.subject == "look":
            empty.sql("ALTER USER mover@localhost ACCOUNT LOCK; KILL USER mover")
        return is_wrong(asked)

    story = await moved(site.agent(servers), empty.credentials(), goes)
    assert story.outcome is Outcome.ROLLED_BACK
    assert at_home(site) == before
    assert "could not be emptied" in told(story, "left_over")
    assert left(site) == []


async def test_a_table_that_was_not_loaded_whole_is_found_before_anything_is_switched(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    site = grown(small)
    rows = f"INSERT INTO `{site.prefix}z` SELECT seq, REPEAT(seq, 300) FROM seq_1_to_20000"
    site.sql(f"CREATE TABLE `{site.prefix}z` (a int PRIMARY KEY, b text); {rows}")
    before = at_home(site)
    moving = asyncio.create_task(moved(site.agent(servers), empty.credentials()))

    def loaded() -> list[str]:
        return [name for name in empty.holds() if name.endswith("_1")]

    def is_loaded() -> bool:
        return any(empty.sql(f"SELECT COUNT(*) FROM moved.{name}") == [("1500",)] for name in loaded())

    await asyncio.to_thread(wait_until, is_loaded, 20, "the rows to arrive")
    (worker,) = site.workers()
    os.kill(worker, signal.SIGSTOP)
    last = [name for name in await asyncio.to_thread(empty.holds) if name.endswith("_5")]
    assert not any(empty.sql(f"SELECT COUNT(*) FROM moved.{name}") == [("20000",)] for name in last), "it was too late"
    empty.sql(f"UPDATE moved.{loaded()[0]} SET b='bent' WHERE a=700")
    os.kill(worker, signal.SIGCONT)
    story = await moving
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "damaged"), story.end
    assert f"{site.prefix}meta" in story.end.detail
    assert (at_home(site), empty.holds()) == (before, [])
    assert left(site) == []


async def test_a_cancel_before_the_switch_and_one_at_the_look(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    site = small()
    agent = site.agent(servers)
    before = at_home(site)
    site.hold("verify")
    moving = asyncio.create_task(moved(agent, empty.credentials()))
    await asyncio.to_thread(site.await_held)
    (running,) = await agent.operations()
    await agent.cancel(running.operation)
    site.release()
    assert (await moving).outcome is Outcome.CANCELLED
    assert (at_home(site), empty.holds(), left(site)) == (before, [], [])

    operation = ""
    async with contextlib.aclosing(agent.launch("rehouse", {}, credentials=empty.credentials())) as lines:
        async for line in lines:
            if isinstance(line, Launched):
                operation = line.operation
            elif isinstance(line, Asked) and line.subject == "reset":
                await agent.answer(operation, line.number, keep=True, detail="opcache was reset")
            elif isinstance(line, Asked):
                await agent.cancel(operation)
    assert (await follow(agent, operation)).outcome is Outcome.CANCELLED
    assert (at_home(site), empty.holds(), left(site)) == (before, [], [])


async def killed_when(site: Small, agent: Agent, to: Credentials, is_time: Callable[[], bool]) -> str:
    """`kill -9` of the worker at the moment at which that is so; the operation's id."""
    operation = ""
    async with contextlib.aclosing(agent.launch("rehouse", {}, credentials=to)) as lines:
        async for line in lines:
            if isinstance(line, Launched):
                operation = line.operation
                break
    await asyncio.to_thread(wait_until, is_time, 30, "the moment to kill it")
    assert await asyncio.to_thread(site.kill)
    return operation


async def ended(agent: Agent, operation: str) -> Outcome:
    await agent.recover()
    return (await follow(agent, operation)).outcome


@pytest.mark.parametrize("moment", ["load", "closed", "opcache"])
async def test_killed_before_anybody_looked_it_is_wholly_on_the_old_one(
    small: Callable[..., Small], servers: Servers, empty: Second, moment: str
) -> None:
    site = grown(small)
    agent = site.agent(servers)
    before = at_home(site)
    to = empty.credentials()
    if moment == "load":
        operation = await killed_when(site, agent, to, lambda: bool(empty.holds()))
    elif moment == "closed":
        # A transaction keeps the tables from being held still.
        with site.session(f"START TRANSACTION; UPDATE `{site.prefix}posts` SET post_type='page'"):
            operation = await killed_when(site, agent, to, (site.root / ".maintenance").exists)
            assert (site.root / ".maintenance").exists()
    else:
        operation = await killed_when(site, agent, to, lambda: leads_to(site) == "moved")
        assert (site.root / ".maintenance").exists()
        assert f"{site.prefix}posts" in empty.holds()
    assert await ended(agent, operation) is Outcome.ROLLED_BACK
    assert at_home(site) == before
    assert (empty.holds(), left(site)) == ([], [])
    assert (await moved(agent, to)).outcome is Outcome.DONE


@pytest.mark.parametrize("keep", [True, False])
async def test_killed_while_somebody_looks_the_answer_settles_it(
    small: Callable[..., Small], servers: Servers, empty: Second, keep: bool
) -> None:
    site = small()
    agent = site.agent(servers)
    before = at_home(site)
    operation = ""
    async with contextlib.aclosing(agent.launch("rehouse", {}, credentials=empty.credentials())) as lines:
        async for line in lines:
            if isinstance(line, Launched):
                operation = line.operation
            elif isinstance(line, Asked) and line.subject == "reset":
                await agent.answer(operation, line.number, keep=True, detail="opcache was reset")
            elif isinstance(line, Asked):
                assert await asyncio.to_thread(site.kill)
                break
    await agent.recover()
    (known,) = await agent.operations()
    assert known.state == "waiting"
    assert leads_to(site) == "moved"
    story = await follow(agent, operation, look=is_right if keep else is_wrong)
    await agent.recover()
    story = await follow(agent, operation)
    assert story.outcome is (Outcome.DONE if keep else Outcome.ROLLED_BACK), story.end
    assert leads_to(site) == ("moved" if keep else site.within.db_name)
    if not keep:
        assert (at_home(site), empty.holds()) == (before, [])
    assert left(site) == []


async def test_a_request_that_still_writes_into_the_old_one_fails_rather_than_be_lost(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    site = small()
    before = site.tables()
    answers: list[str] = []

    def writes(asked: Asked) -> tuple[bool, str]:
        if asked.subject == "reset":
            as_user = ["mariadb", "--no-defaults", f"--socket={site.within.db_socket}", f"-u{site.within.db_user}"]
            writer = subprocess.Popen(
                [
                    *as_user,
                    site.within.db_name,
                    "-e",
                    f"INSERT INTO `{site.prefix}posts` (post_title) VALUES ('straggler')",
                ],
                env={**os.environ, "MYSQL_PWD": site.within.db_password},
                stderr=subprocess.PIPE,
            )
            waits = f"USER='{site.within.db_user}' AND STATE LIKE 'Waiting for table%'"
            waits = f"SELECT ID FROM information_schema.PROCESSLIST WHERE {waits}"
            wait_until(lambda: bool(site.sql(waits)), 10, "the straggler to wait")
            answers.append("")
            asyncio.get_running_loop().run_in_executor(None, lambda: answers.append(writer.communicate()[1].decode()))
        return is_right(asked)

    story = await moved(site.agent(servers), empty.credentials(), writes)
    assert story.outcome is Outcome.DONE
    assert "1 requests" in told(story, "cut_off")
    await asyncio.to_thread(wait_until, lambda: len(answers) > 1, 10, "the straggler's end")
    assert "ERROR" in answers[1]
    assert site.tables() == before == there(empty, site)


async def test_without_the_grant_to_lock_it_moves_and_says_so(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    site = small()
    before = site.tables()
    with lacking(site, "LOCK TABLES"):
        story = await moved(site.agent(servers), empty.credentials())
    assert story.outcome is Outcome.DONE
    assert "may not lock" in told(story, "not_locked")
    assert there(empty, site) == before


async def test_an_undo_leads_back_and_names_what_was_written_since_and_another_one_leads_there_again(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    site = small()
    agent = site.agent(servers)
    before = at_home(site)
    assert (await moved(agent, empty.credentials())).outcome is Outcome.DONE
    empty.sql(f"INSERT INTO moved.{site.prefix}posts (post_title) VALUES ('since')")
    since = there(empty, site)
    story = await carry_out(agent, "undo")
    assert story.outcome is Outcome.DONE, story.end
    text = told(story, "left_behind")
    assert re.findall(rf"{site.prefix}\w+", text) == [f"{site.prefix}posts"]
    assert story.notes("left_over") == []
    assert at_home(site) == before
    assert there(empty, site) == since
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert leads_to(site) == "moved"
    assert left(site) == []


async def test_an_undo_to_a_database_that_is_gone_is_refused(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    site = small()
    agent = site.agent(servers)
    assert (await moved(agent, empty.credentials())).outcome is Outcome.DONE
    files = site.files()
    with site.locked_out():
        story = await carry_out(agent, "undo")
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "no_database")
    site.drop_tables()
    story = await carry_out(agent, "undo")
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "no_database")
    assert site.files() == files
    assert leads_to(site) == "moved"
