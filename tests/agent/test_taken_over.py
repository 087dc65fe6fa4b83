"""What a restore takes over from the live site instead of writing it: right to the byte, or written after all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from backends.agent.client import Agent, Launched
from backends.records import Outcome
from backends.ssh import Servers
from tests.agent.small import Small, Story, carry_out, follow, is_wrong, lacking, summary_of, without

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
CACHED = rb"wp-content/cache(/.*)?"
PHOTO = "wp-content/uploads/2026/09/photo.jpg"
PLUGIN = "wp-content/plugins/hello/hello.php"


async def saved(site: Small, agent: Agent) -> str:
    """A generation of files that were left alone for a while: only those are taken over."""
    site.age()
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.end.generation
    return story.end.generation


def looks(site: Small) -> object:
    return without(site.files(), CACHED), site.tables()


def inode(site: Small, path: str) -> int:
    return (site.root / path).stat().st_ino


def table_id(site: Small, table: str) -> str:
    """InnoDB's own number of a table: it follows a rename, and a table that is loaded anew has another."""
    name = f"{site.within.db_name}/{site.prefix}{table}"
    return site.sql(f"SELECT TABLE_ID FROM information_schema.INNODB_SYS_TABLES WHERE NAME='{name}'")[0][0]


def edit_posts(site: Small, word: str) -> None:
    site.sql(f"INSERT INTO `{site.prefix}posts` (post_title) VALUES ('{word}')")


@contextlib.asynccontextmanager
async def held(site: Small, agent: Agent, step: str, verb: str, **request: object) -> AsyncIterator[str]:
    """The operation, once it waits in `step`; it goes on when the block ends."""
    site.hold(step)
    async with contextlib.aclosing(agent.launch(verb, request)) as lines:
        async for line in lines:
            if isinstance(line, Launched):
                break
    assert isinstance(line, Launched)
    await asyncio.to_thread(site.await_held)
    try:
        yield line.operation
    finally:
        site.release()


async def test_what_is_right_is_taken_over_and_what_differs_is_written(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(site, agent)
    before = looks(site)
    site.write(PLUGIN, b"<?php // hacked")
    edit_posts(site, "after")
    same = inode(site, PHOTO), inode(site, "wp-config.php"), table_id(site, "users"), table_id(site, "options")
    changed = inode(site, PLUGIN), table_id(site, "posts")
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
    assert looks(site) == before
    assert same == (
        inode(site, PHOTO), inode(site, "wp-config.php"), table_id(site, "users"), table_id(site, "options")
    )  # fmt: skip
    assert inode(site, PLUGIN) != changed[0]
    assert table_id(site, "posts") != changed[1]


async def test_bytes_decide_and_not_what_a_file_says_of_itself(small: Callable[..., Small], servers: Servers) -> None:
    """Size, time and mode are an attacker's to choose."""
    site = small()
    agent = site.agent(servers)
    generation = await saved(site, agent)
    before = looks(site)
    path = site.root / PLUGIN
    seen = path.stat()
    path.write_bytes(b"<?php evil(); //".ljust(seen.st_size, b"x"))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    site.sql(f"UPDATE `{site.prefix}users` SET user_login='tamas'")  # as long as before
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
    assert looks(site) == before


@pytest.mark.parametrize("what", ["mode", "mtime"])
async def test_a_file_with_other_attributes_gets_its_own_back(
    small: Callable[..., Small], servers: Servers, what: str
) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(site, agent)
    before = looks(site)
    if what == "mode":
        (site.root / PHOTO).chmod(0o777)
    else:
        os.utime(site.root / PHOTO, (1, 1))
    assert (await carry_out(agent, "restore", generation=generation, only="files")).outcome is Outcome.DONE
    assert looks(site) == before


async def test_a_fresh_restore_takes_nothing_over(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(site, agent)
    before = looks(site)
    inodes = {path: path.stat().st_ino for path in site.root.rglob("*.php")}
    tables = [table_id(site, name) for name in ("posts", "users", "options")]
    with (site.root / PLUGIN).open("r+b") as attacker:
        story = await carry_out(agent, "restore", generation=generation, only="all", fresh=True)
        assert story.outcome is Outcome.DONE
        attacker.write(b"<?php evil();")
    assert looks(site) == before
    assert not {path for path, number in inodes.items() if path.stat().st_ino == number}
    assert not set(tables) & {table_id(site, name) for name in ("posts", "users", "options")}


async def test_what_changes_while_it_is_staged_comes_from_the_generation(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(site, agent)
    before = looks(site)
    edit_posts(site, "after")
    async with held(site, agent, "verify", "restore", generation=generation, only="all") as operation:
        with (site.root / PLUGIN).open("r+b") as late:
            late.write(b"<?php late();")
        site.sql(f"INSERT INTO `{site.prefix}users` (user_login) VALUES ('late')")
    story = await follow(agent, operation)
    assert story.outcome is Outcome.DONE, story.end
    assert looks(site) == before
    assert len(story.notes("touched")) == 2
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert (site.root / PLUGIN).read_bytes().startswith(b"<?php late();")
    assert site.sql(f"SELECT user_login FROM `{site.prefix}users`")[-1] == ("late",)
    assert site.litter() == []


async def test_a_file_whose_time_is_this_second_is_written_whatever_it_holds(
    small: Callable[..., Small], servers: Servers
) -> None:
    """A change to it within the second would show in no time of its stat."""
    site = small()
    agent = site.agent(servers)
    site.age()
    soon = time.time() + 600
    os.utime(site.root / PLUGIN, (soon, soon))
    made = await carry_out(agent, "snapshot", reason="hand")
    before, photo = inode(site, PLUGIN), inode(site, PHOTO)
    story = await carry_out(agent, "restore", generation=made.end.generation, only="all")
    assert story.outcome is Outcome.DONE, story.end
    assert inode(site, PLUGIN) != before
    assert inode(site, PHOTO) == photo


async def test_the_undo_shows_the_site_as_it_was_whatever_happened_since(
    small: Callable[..., Small], servers: Servers
) -> None:
    """A file that both trees share, and a table that stayed where it was, changed after the restore: in place."""
    site = small()
    agent = site.agent(servers)
    generation = await saved(site, agent)
    site.write(PLUGIN, b"<?php // mine")
    edit_posts(site, "mine")
    old = looks(site)
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
    with (site.root / PHOTO).open("r+b") as shared:
        shared.write(b"since")
    site.sql(f"UPDATE `{site.prefix}users` SET user_login='since'")
    new = looks(site)
    for wanted in (old, new, old, new):
        story = await carry_out(agent, "undo")
        assert story.outcome is Outcome.DONE, story.end
        assert looks(site) == wanted
    assert site.litter() == []


async def test_a_restore_that_is_taken_back_leaves_the_tables_that_it_held(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(site, agent)
    edit_posts(site, "mine")
    site.write(PLUGIN, b"<?php // mine")
    before, users = looks(site), table_id(site, "users")
    story = await carry_out(agent, "restore", is_wrong, generation=generation, only="all")
    assert story.outcome is Outcome.ROLLED_BACK
    assert (looks(site), table_id(site, "users")) == (before, users)


@pytest.fixture
def no_lock_tables(small: Callable[..., Small]) -> Iterator[Small]:
    site = small()
    with lacking(site, "LOCK TABLES"):
        yield site


async def test_without_the_right_to_lock_every_table_is_loaded(no_lock_tables: Small, servers: Servers) -> None:
    site = no_lock_tables
    agent = site.agent(servers)
    generation = await saved(site, agent)
    before, users = looks(site), table_id(site, "users")
    edit_posts(site, "after")
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
    assert looks(site) == before
    assert table_id(site, "users") != users


async def test_tables_that_hang_together_switch_together(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    reference = f"FOREIGN KEY (post) REFERENCES `{site.prefix}posts` (ID)"
    site.sql(f"CREATE TABLE `{site.prefix}child` (a int, post bigint unsigned, {reference})")
    site.sql(f"INSERT INTO `{site.prefix}child` VALUES (1, 1)")
    site.sql(
        f"CREATE TRIGGER `{site.prefix}t` BEFORE INSERT ON `{site.prefix}users` FOR EACH ROW SET NEW.user_login='x'"
    )
    agent = site.agent(servers)
    generation = await saved(site, agent)
    before = looks(site)
    child, users, options = table_id(site, "child"), table_id(site, "users"), table_id(site, "options")
    edit_posts(site, "after")
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
    assert looks(site) == before
    assert child != table_id(site, "child")
    assert users != table_id(site, "users")
    assert options == table_id(site, "options")


async def test_a_generation_that_an_undo_needs_is_not_let_go(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(site, agent)
    site.write(PLUGIN, b"<?php // mine")
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
    for _ in range(3):
        await carry_out(agent, "snapshot", reason="weekly", keep=1, min_age_s=0)
    assert generation in site.generations()
    assert len(site.generations()) == 2
    for number in range(2):
        site.write(PLUGIN, b"<?php // %d" % number)
        newest = site.generations()[-1]
        assert (await carry_out(agent, "restore", generation=newest, only="files")).outcome is Outcome.DONE
    await carry_out(agent, "snapshot", reason="weekly", keep=1, min_age_s=0)
    assert generation not in site.generations()


async def test_another_generation_than_the_sealed_one_is_refused(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(site, agent)
    edit_posts(site, "after")
    before = looks(site)
    seal = (await agent.generations()).summaries[generation]
    for verb in ("restore", "drill"):
        story = await carry_out(agent, verb, generation=generation, only="all", seal="0" * 64)
        assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "damaged"), story.end
    assert looks(site) == before
    assert (await carry_out(agent, "restore", generation=generation, only="all", seal=seal)).outcome is Outcome.DONE


async def test_the_summary_says_what_a_restore_compares_with(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    story: Story = await carry_out(agent, "snapshot", reason="hand", front="工業 🏭")
    summary = summary_of(site, str(story.end.generation))
    assert summary["front"] == "工業 🏭"
    assert summary["wordpress"] == {"version": "6.1.9", "database": 0}
    assert all(table["checksum"] for table in summary["tables"] if table["kind"] == "table")
