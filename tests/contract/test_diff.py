"""`diff`, on both grounds: how far it is, then what differs, the suspicious first; nothing is changed by it."""

from __future__ import annotations

import contextlib

import pytest

from backends.agent.client import Agent, AgentError
from backends.records import Difference, Progress
from backends.ssh import Servers
from tests.contract.ground import Ground
from tests.contract.test_protocol import generation_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
DOOR = "wp-content/uploads/2026/door.php"


async def compared(agent: Agent, generation: str, *, full: bool = False) -> Difference:
    async with contextlib.aclosing(agent.diff(generation, full=full)) as told:
        *progress, found = [one async for one in told]
    assert isinstance(found, Difference)
    assert progress
    for number, event in enumerate(progress):
        assert isinstance(event, Progress)
        assert event.line == number
        assert event.total is not None
        assert event.done <= event.total
    return found


async def test_a_site_as_it_was_backed_up_does_not_differ(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    for full in (False, True):
        found = await compared(agent, generation, full=full)
        assert (found.generation, found.full) == (generation, full)
        assert (found.files.added, found.files.changed, found.files.removed, found.files.suspicious) == ((), (), (), ())
        assert (found.posts, found.identity, found.warnings, found.truncated) == ((), (), (), ())
        assert found.tables
        assert all(table.rows_then == table.rows_now for table in found.tables)
        assert found.counts == {
            "added": 0, "changed": 0, "removed": 0, "suspicious": 0, "tables": len(found.tables), "posts": 0,
        }  # fmt: skip
        assert list(found.areas) == ["core", "plugin", "theme", "uploads", "other"]


async def test_what_was_planted_comes_first_and_a_lost_post_is_named(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    ground.plant("wp-includes/planted.php")
    ground.plant(DOOR)
    title = ground.lose_a_post()
    before = ground.looks()
    found = await compared(agent, generation)
    assert {(one.path, one.area) for one in found.files.added} == {
        (DOOR, "uploads"),
        ("wp-includes/planted.php", "core"),
    }
    first, second = found.files.suspicious
    assert (first.path, first.signs, first.change) == (DOOR, ("php_in_uploads",), "added")
    assert first.modified is not None
    assert (second.path, second.signs) == ("wp-includes/planted.php", ("core_changed",))
    (post,) = found.posts
    assert (post.title, post.change, post.type) == (title, "gone", "post")
    (posts,) = [table for table in found.tables if table.name.endswith("posts")]
    assert posts.rows_then is not None
    assert posts.rows_now == posts.rows_then - 1
    assert found.areas["uploads"] == {"added": 1, "changed": 0, "removed": 0}
    assert ground.looks() == before


async def test_a_database_that_nobody_can_read_leaves_the_files(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    ground.plant(DOOR)
    ground.break_database()
    found = await compared(agent, generation)
    assert [one.path for one in found.files.added] == [DOOR]
    assert [warning.code for warning in found.warnings] == ["no_database"]
    assert found.posts == ()


async def test_a_generation_that_is_not_there_is_refused(ground: Ground, servers: Servers) -> None:
    with pytest.raises(AgentError) as refused:
        await compared(ground.agent(servers), "20200101T000000Z")
    assert refused.value.code == "no_generation"
