"""One post comes back into the living site as it was, to the byte, and nothing else of the site is touched."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from backends.agent.client import Agent, AgentError, Launched
from backends.records import Asked, Outcome
from backends.ssh import Servers
from tests.agent.blog import (
    ARTICLE,
    OTHER_PICTURE,
    PHOTO,
    PICTURE,
    SHARED,
    SHARED_PHOTO,
    THUMBNAIL,
    TITLE,
    delete,
    rows,
    tables,
    with_pictures,
)
from tests.agent.small import Small, Story, Tree, carry_out, follow, is_right, is_wrong, summary_of
from tests.agent.test_death import killed_after, settled

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
ONLY = f"post:{ARTICLE}"


def blog(small: Callable[..., Small], engine: str = "InnoDB", **more: Any) -> Small:
    return with_pictures(small(tables=tables(engine), **more))


async def saved(agent: Agent) -> str:
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.end.generation
    return story.end.generation


async def brought_back(agent: Agent, generation: str, only: str = ONLY) -> Story:
    story = await carry_out(agent, "restore", generation=generation, only=only)
    assert story.outcome is Outcome.DONE, story.end
    return story


def looks(site: Small) -> object:
    """The folder of the pictures is as new as what was last deleted in it."""
    return pictures(site), site.tables()


def pictures(site: Small) -> Tree:
    return {
        path: entry._replace(mtime=0) if path == b"wp-content/uploads/2026/09" else entry
        for path, entry in site.files().items()
    }


def without_revision(site: Small) -> None:
    site.sql(f"DELETE FROM `{site.prefix}posts` WHERE post_type='revision'")


# ---------------------------------------------------------------- back as it was


async def test_a_deleted_article_comes_back_to_the_byte_and_nothing_else_is_touched(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    without_revision(site)
    agent = site.agent(servers)
    before = looks(site)
    generation = await saved(agent)
    delete(site)
    gone = looks(site)
    seen = await agent.post(generation, ARTICLE)
    assert (seen.state, seen.now, seen.then.title, seen.blockers) == ("gone", None, TITLE, ())
    assert (seen.then.comments, seen.comments_back, seen.files_back, seen.files_replaced) == (4, 4, 2, 0)
    assert seen.then.terms == ("春 🌸", "桜")
    assert looks(site) == gone
    story = await brought_back(agent, generation)
    assert story.steps == ["preflight", "stage", "verify", "switch", "check"]
    assert looks(site) == before
    assert (await agent.post(generation, ARTICLE)).state == "same"
    assert site.litter() == []
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert looks(site) == gone
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert looks(site) == before
    assert site.litter() == []


async def test_what_the_site_did_meanwhile_stays(small: Callable[..., Small], servers: Servers) -> None:
    """Other posts, their terms and comments change; numbers that were freed are used again."""
    site = blog(small)
    agent = site.agent(servers)
    p = site.prefix
    before = rows(site, "posts", f"ID={ARTICLE}"), rows(site, "comments", f"comment_post_ID={ARTICLE}")
    generation = await saved(agent)
    delete(site)
    site.sql(f"""
        UPDATE `{p}posts` SET post_content='edited since' WHERE ID=2;
        INSERT INTO `{p}postmeta` (meta_id, post_id, meta_key, meta_value) VALUES (31, 2, 'took it', 'y');
        INSERT INTO `{p}commentmeta` (meta_id, comment_id, meta_key, meta_value) VALUES (40, 20, 'took it', 'y');
        INSERT INTO `{p}posts` (ID, post_title, guid) VALUES (50, '新しい記事', 'https://small.example/?p=50');
        INSERT INTO `{p}term_relationships` VALUES (50, 5, 0);
        UPDATE `{p}term_taxonomy` SET count=2 WHERE term_taxonomy_id=5;
        INSERT INTO `{p}comments` (comment_ID, comment_post_ID, comment_content) VALUES (60, 2, 'new')""")
    others = {
        "posts": rows(site, "posts"), "comments": rows(site, "comments"), "postmeta": rows(site, "postmeta"),
        "commentmeta": rows(site, "commentmeta"), "options": rows(site, "options"), "users": rows(site, "users"),
        "term_relationships": rows(site, "term_relationships"),
    }  # fmt: skip
    await brought_back(agent, generation)
    for table, were in others.items():
        assert set(were) <= set(rows(site, table)), table
    assert (rows(site, "posts", f"ID={ARTICLE}"), rows(site, "comments", f"comment_post_ID={ARTICLE}")) == before
    assert site.sql(f"SELECT term_taxonomy_id, count FROM `{p}term_taxonomy` ORDER BY 1") == [
        ("1", "1"), ("3", "0"), ("4", "1"), ("5", "3"),
    ]  # fmt: skip
    assert site.sql(f"SELECT COUNT(*) FROM `{p}postmeta` WHERE post_id={ARTICLE}") == [("4",)]
    assert site.sql(f"SELECT COUNT(*) FROM `{p}posts` WHERE post_type='revision'") == [("0",)]
    await carry_out(agent, "undo")
    assert {table: rows(site, table) for table in others} == others


async def test_a_vandalised_article_is_as_it_was_and_newer_comments_stay(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    p = site.prefix
    good = rows(site, "posts", f"ID={ARTICLE}"), rows(site, "postmeta", f"post_id={ARTICLE}")
    generation = await saved(agent)
    site.sql(f"""
        UPDATE `{p}posts` SET post_content='HACKED', post_title='HACKED' WHERE ID={ARTICLE};
        DELETE FROM `{p}postmeta` WHERE post_id={ARTICLE} AND meta_key='serialized';
        INSERT INTO `{p}postmeta` (post_id, meta_key, meta_value) VALUES ({ARTICLE}, 'evil', 'x');
        DELETE FROM `{p}comments` WHERE comment_ID=21;
        UPDATE `{p}comments` SET comment_approved='spam' WHERE comment_ID=23;
        INSERT INTO `{p}comments` (comment_ID, comment_post_ID, comment_content) VALUES (70, {ARTICLE}, '新しい')""")
    ruined = looks(site)
    seen = await agent.post(generation, ARTICLE)
    assert (seen.state, seen.comments_back, seen.comments_kept) == ("changed", 1, 4)
    assert seen.now is not None
    assert seen.now.title == "HACKED"
    await brought_back(agent, generation)
    assert (rows(site, "posts", f"ID={ARTICLE}"), rows(site, "postmeta", f"post_id={ARTICLE}")) == good
    assert site.sql(f"SELECT comment_ID, comment_approved FROM `{p}comments` WHERE comment_post_ID={ARTICLE}") == [
        ("21", "1"), ("22", "1"), ("23", "spam"), ("24", "spam"), ("70", "1"),
    ]  # fmt: skip
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert looks(site) == ruined


async def test_what_was_trashed_with_its_comments_is_published_with_them(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    p = site.prefix
    generation = await saved(agent)
    site.sql(
        f"""
        INSERT INTO `{p}comments` (comment_ID, comment_post_ID, comment_content) VALUES (70, {ARTICLE}, 'newer');
        UPDATE `{p}posts` SET post_status='trash', post_name='sakura__trashed' WHERE ID={ARTICLE};
        INSERT INTO `{p}postmeta` (post_id, meta_key, meta_value) VALUES ({ARTICLE}, '_wp_trash_meta_comments_status',
            'a:5:{{i:21;s:1:"1";i:22;s:1:"1";i:23;s:1:"1";i:24;s:4:"spam";i:70;s:1:"1";}}');
        UPDATE `{p}comments` SET comment_approved='post-trashed' WHERE comment_post_ID={ARTICLE}""".replace(
            "{{", "{"
        ).replace("}}", "}")
    )
    trashed = looks(site)
    assert (await agent.post(generation, ARTICLE)).state == "trashed"
    await brought_back(agent, generation)
    assert site.sql(f"SELECT post_status, post_name, comment_count FROM `{p}posts` WHERE ID={ARTICLE}") == [
        ("publish", "sakura", "4")
    ]
    assert site.sql(f"SELECT comment_ID, comment_approved FROM `{p}comments` WHERE comment_post_ID={ARTICLE}") == [
        ("21", "1"), ("22", "1"), ("23", "1"), ("24", "spam"), ("70", "1"),
    ]  # fmt: skip
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert looks(site) == trashed


async def test_a_comment_made_after_it_came_back_goes_and_comes_with_the_article(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    generation = await saved(agent)
    delete(site)
    gone = looks(site)
    await brought_back(agent, generation)
    site.sql(
        f"INSERT INTO `{site.prefix}comments` (comment_post_ID, comment_content) VALUES ({ARTICLE}, 'ようこそ');"
        f"UPDATE `{site.prefix}posts` SET comment_count=4 WHERE ID={ARTICLE}"
    )
    with_comment = looks(site)
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert looks(site) == gone
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert looks(site) == with_comment


# ---------------------------------------------------------------- terms, authors, names, IDs


async def test_terms_that_are_gone_come_back_with_those_above_them_and_go_with_the_undo(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    without_revision(site)
    agent = site.agent(servers)
    before = looks(site)
    generation = await saved(agent)
    delete(site)
    p = site.prefix
    site.sql(f"""DELETE FROM `{p}terms` WHERE term_id IN (3, 4); DELETE FROM `{p}term_taxonomy` WHERE term_id IN (3, 4);
        DELETE FROM `{p}termmeta`""")
    gone = looks(site)
    assert (await agent.post(generation, ARTICLE)).terms_back == ("春 🌸", "行事")
    await brought_back(agent, generation)
    assert looks(site) == before
    await carry_out(agent, "undo")
    assert looks(site) == gone
    await carry_out(agent, "undo")
    assert looks(site) == before
    # Somebody uses it now: it stays when the article goes.
    site.sql(f"INSERT INTO `{p}term_relationships` VALUES (2, 4, 0)")
    await carry_out(agent, "undo")
    assert site.sql(f"SELECT term_id, count FROM `{p}term_taxonomy` WHERE term_id IN (3, 4)") == [
        ("3", "0"),
        ("4", "1"),
    ]
    assert site.litter() == []


async def test_a_term_that_was_made_anew_is_taken_under_its_new_number(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    p = site.prefix
    generation = await saved(agent)
    delete(site)
    site.sql(f"""DELETE FROM `{p}terms` WHERE term_id=4; DELETE FROM `{p}term_taxonomy` WHERE term_id=4;
        INSERT INTO `{p}terms` VALUES (9, '春', 'spring'), (4, '誰か', 'someone');
        INSERT INTO `{p}term_taxonomy` VALUES (19, 9, 'category', '', 0, 0), (4, 4, 'post_tag', '', 0, 0)""")
    await brought_back(agent, generation)
    assert site.sql(f"SELECT term_taxonomy_id FROM `{p}term_relationships` WHERE object_id={ARTICLE} ORDER BY 1") == [
        ("5",), ("19",),
    ]  # fmt: skip
    assert site.sql(f"SELECT count FROM `{p}term_taxonomy` WHERE term_taxonomy_id=19") == [("1",)]


async def test_a_term_whose_numbers_are_another_one_s_comes_back_under_free_ones(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    p = site.prefix
    generation = await saved(agent)
    delete(site)
    site.sql(f"""UPDATE `{p}terms` SET name='誰か', slug='someone' WHERE term_id=4;
        UPDATE `{p}term_taxonomy` SET taxonomy='post_tag' WHERE term_id=4""")
    theirs = rows(site, "terms"), rows(site, "term_taxonomy", "term_id=4")
    await brought_back(agent, generation)
    assert site.sql(
        f"SELECT t.slug, m.meta_value, x.parent, x.count FROM `{p}term_relationships` r JOIN `{p}term_taxonomy` x"
        f" USING (term_taxonomy_id) JOIN `{p}terms` t USING (term_id) LEFT JOIN `{p}termmeta` m ON m.term_id=t.term_id"
        f" WHERE r.object_id={ARTICLE} AND x.taxonomy='category'"
    ) == [("spring", "ピンク", "3", "1")]
    assert set(theirs[0]) <= set(rows(site, "terms"))
    assert rows(site, "term_taxonomy", "term_id=4") == theirs[1]


async def test_a_gone_author_a_taken_name_and_a_gone_page_above_are_said(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    p = site.prefix
    site.sql(f"""UPDATE `{p}posts` SET post_type='page', post_parent=3 WHERE ID={ARTICLE};
        UPDATE `{p}posts` SET post_parent=3 WHERE ID=2""")
    agent = site.agent(servers)
    generation = await saved(agent)
    delete(site)
    site.sql(f"""DELETE FROM `{p}users` WHERE ID=2; DELETE FROM `{p}posts` WHERE ID=3;
        UPDATE `{p}posts` SET post_type='page', post_name='sakura' WHERE ID=2""")
    seen = await agent.post(generation, ARTICLE)
    assert {warning.code for warning in seen.warnings} == {"no_author", "no_parent", "name_taken"}
    story = await brought_back(agent, generation)
    assert story.notes("no_author") == [ONLY]
    assert site.sql(f"SELECT post_author, post_name FROM `{p}posts` WHERE ID={ARTICLE}") == [("1", "sakura-2")]
    assert site.sql(f"SELECT post_author FROM `{p}posts` WHERE ID={PICTURE}") == [("1",)]


async def test_an_id_that_is_another_one_s_is_refused_before_anything_is_touched(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    p = site.prefix
    generation = await saved(agent)
    delete(site)
    takers = {
        "other_post": f"INSERT INTO `{p}posts` (ID, post_title, guid) VALUES ({ARTICLE}, '別', '/?p=999')",
        "other_comment": f"INSERT INTO `{p}comments` (comment_ID, comment_post_ID, comment_content) VALUES (22, 2, '')",
    }
    for code, statement in takers.items():
        site.sql(statement)
        taken = looks(site)
        assert [one.code for one in (await agent.post(generation, ARTICLE)).blockers] == [code]
        story = await carry_out(agent, "restore", generation=generation, only=ONLY)
        assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, code)
        assert looks(site) == taken
        site.sql(f"DELETE FROM `{p}posts` WHERE ID={ARTICLE}; DELETE FROM `{p}comments` WHERE comment_ID=22")
    site.sql(takers["other_post"].replace(str(ARTICLE), str(PICTURE)))
    assert [one.code for one in (await agent.post(generation, ARTICLE)).blockers] == ["other_post"]
    assert site.litter() == []


@pytest.mark.parametrize("what", ["column", "table", "post", "revision", "nonsense"])
async def test_what_cannot_come_back_is_refused_with_a_reason(
    small: Callable[..., Small], servers: Servers, what: str
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    p = site.prefix
    generation = await saved(agent)
    delete(site)
    only, code = ONLY, ""
    match what:
        case "column":
            site.sql(f"ALTER TABLE `{p}postmeta` DROP COLUMN weight")
            code = "columns"
        case "table":
            site.sql(f"DROP TABLE `{p}commentmeta`")
            code = "no_table"
        case "post":
            only, code = "post:999", "no_post"
        case "revision":
            only, code = "post:16", "not_a_post"
        case "nonsense":
            only, code = "post:1 OR 1=1", "bad_request"
    before = looks(site)
    if what == "nonsense":
        with pytest.raises(AgentError) as told:
            await carry_out(agent, "restore", generation=generation, only=only)
        assert told.value.code == code
    else:
        story = await carry_out(agent, "restore", generation=generation, only=only)
        assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, code), story.end
    assert looks(site) == before
    assert site.litter() == []


async def test_more_columns_and_another_prefix_are_no_obstacle(small: Callable[..., Small], servers: Servers) -> None:
    site = blog(small)
    p = site.prefix
    agent = site.agent(servers)
    generation = await saved(agent)
    then = rows(site, "postmeta", f"post_id={ARTICLE}")
    delete(site)
    site.sql(f"ALTER TABLE `{p}posts` ADD COLUMN extra int NOT NULL DEFAULT 7 FIRST")
    for name, _ in site.schema():
        site.sql(f"RENAME TABLE `{name}` TO `neu{name}`")
    site.sql(f"UPDATE `neu{p}usermeta` SET meta_key='neu{p}capabilities'")
    site.config(prefix=f"neu{p}")
    try:
        await brought_back(agent, generation)
        assert site.sql(f"SELECT extra, post_name FROM `neu{p}posts` WHERE ID={ARTICLE}") == [("7", "sakura")]
        site.prefix = f"neu{p}"
        assert rows(site, "postmeta", f"post_id={ARTICLE}") == then
    finally:
        site.drop_tables(f"neu{p}")
        site.prefix = p


# ---------------------------------------------------------------- files


async def test_files_are_written_where_they_are_gone_or_other_and_left_where_they_are_right(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    generation = await saved(agent)
    good = pictures(site)
    site.write(PHOTO, b"<?php evil();")
    (site.root / THUMBNAIL).unlink()
    right = (site.root / SHARED_PHOTO).stat().st_ino
    ruined = pictures(site)
    seen = await agent.post(generation, ARTICLE)
    assert (seen.state, seen.files_back, seen.files_replaced) == ("changed", 1, 1)
    await brought_back(agent, generation)
    assert pictures(site) == good
    assert (site.root / SHARED_PHOTO).stat().st_ino == right
    await carry_out(agent, "undo")
    assert pictures(site) == ruined
    assert site.litter() == []


async def test_a_picture_that_others_use_comes_back_where_it_is_gone_and_is_never_replaced(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    p = site.prefix
    generation = await saved(agent)
    good, right = rows(site, "posts", f"ID={SHARED}"), (site.root / SHARED_PHOTO).read_bytes()
    site.write(SHARED_PHOTO, b"a new logo")
    site.sql(f"UPDATE `{p}posts` SET post_title='new logo' WHERE ID={SHARED}")
    delete(site)
    await brought_back(agent, generation)
    assert (site.root / SHARED_PHOTO).read_bytes() == b"a new logo"
    assert site.sql(f"SELECT post_title FROM `{p}posts` WHERE ID={SHARED}") == [("new logo",)]
    (site.root / SHARED_PHOTO).unlink()
    site.sql(f"DELETE FROM `{p}posts` WHERE ID={SHARED}; DELETE FROM `{p}postmeta` WHERE post_id={SHARED}")
    await brought_back(agent, generation)
    assert (site.root / SHARED_PHOTO).read_bytes() == right
    assert rows(site, "posts", f"ID={SHARED}") == good
    assert site.sql(f"SELECT post_title FROM `{p}posts` WHERE ID={OTHER_PICTURE}") == [("other",)]


# ---------------------------------------------------------------- the transaction


@pytest.mark.parametrize("engine", ["InnoDB", "MyISAM"])
async def test_a_look_that_fails_takes_all_of_it_back(
    small: Callable[..., Small], servers: Servers, engine: str
) -> None:
    site = blog(small, engine)
    without_revision(site)
    agent = site.agent(servers)
    before = looks(site)
    generation = await saved(agent)
    delete(site)
    site.write(PHOTO, b"other bytes")
    gone = looks(site)
    story = await carry_out(agent, "restore", is_wrong, generation=generation, only=ONLY)
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "check_failed")
    assert bool(story.notes("not_transactional")) is (engine == "MyISAM")
    assert looks(site) == gone
    assert site.litter() == []
    await brought_back(agent, generation)
    assert looks(site) == before


@pytest.mark.parametrize(
    ("only", "dies", "content"),
    [(ONLY, False, "wp-content"), (ONLY, True, "wp-content"), ("database", False, "app"), ("database", True, "app")],
)
async def test_a_persistent_cache_forgets_what_was_shown_until_the_look_failed(
    small: Callable[..., Small], servers: Servers, only: str, dies: bool, content: str
) -> None:
    site = blog(small)
    site.more = f"define('WP_CONTENT_DIR', '{site.root}/{content}');"
    site.config()
    kept = site.within.home / f"{site.prefix}cache"
    site.write(f"{content}/object-cache.php", b"<?php\n")
    settings = f"<?php\nfunction wp_cache_flush() {{ @unlink('{kept}'); }}\n"
    site.write("wp-settings.php", settings.encode())
    agent = site.agent(servers)
    generation = await saved(agent)
    delete(site)
    kept.write_text("of the site without the article")

    def visited(_: Asked) -> tuple[bool, str] | None:
        """A visitor of the new state fills the cache; whoever asked dies, or hears that it is wrong."""
        assert not kept.exists()
        kept.write_text("of the site with the article")
        if dies:
            site.kill()
            return None
        return False, "status 500"

    def taken_back(asked: Asked) -> tuple[bool, str]:
        if asked.subject == "look":
            return visited(asked) or (False, "")
        return is_right(asked)

    if dies:
        story = await carry_out(agent, "restore", visited, generation=generation, only=only)
        await agent.cancel(story.operation)
        story = await follow(agent, story.operation, look=is_right)
    else:
        story = await carry_out(agent, "restore", taken_back, generation=generation, only=only)
    assert story.outcome in (Outcome.ROLLED_BACK, Outcome.CANCELLED)
    assert not kept.exists()


async def test_rows_that_somebody_holds_are_waited_for_and_then_nothing_is_changed(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    generation = await saved(agent)
    site.sql(f"UPDATE `{site.prefix}posts` SET post_content='HACKED' WHERE ID={ARTICLE}")
    (site.root / PHOTO).unlink()
    before = looks(site)
    with site.session(f"START TRANSACTION; SELECT ID FROM `{site.prefix}posts` WHERE ID={ARTICLE} FOR UPDATE"):
        story = await carry_out(agent, "restore", generation=generation, only=ONLY)
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "no_switch")
    assert looks(site) == before
    assert site.litter() == []


@pytest.mark.parametrize("held", ["before the rows", "in the transaction"])
@pytest.mark.parametrize("engine", ["InnoDB", "MyISAM"])
async def test_a_death_in_the_switch_is_taken_back_from_the_journal_alone(
    small: Callable[..., Small], servers: Servers, held: str, engine: str
) -> None:
    site = blog(small, engine)
    without_revision(site)
    agent = site.agent(servers)
    good = looks(site)
    generation = await saved(agent)
    delete(site)
    gone = looks(site)
    p = site.prefix
    holding = (
        site.session(f"LOCK TABLES `{p}term_taxonomy` READ")
        if held == "in the transaction"
        else contextlib.nullcontext()
    )
    with holding:
        if held == "before the rows":
            site.hold("switch")
        operation = ""
        async with contextlib.aclosing(agent.launch("restore", {"generation": generation, "only": ONLY})) as lines:
            async for line in lines:
                if isinstance(line, Launched):
                    operation = line.operation
                    break
        if held == "before the rows":
            await asyncio.to_thread(site.await_held)
            assert (site.root / PHOTO).exists()  # the files are there, the rows are not
        else:
            waiting = f"""SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB='{site.within.db_name}'
                AND INFO LIKE 'UPDATE `{p}term_taxonomy`%'"""
            until = time.monotonic() + 20
            while site.sql(waiting) == [("0",)]:
                assert time.monotonic() < until
        assert await asyncio.to_thread(site.kill)
        site.release()
    assert await settled(agent, operation) is Outcome.ROLLED_BACK
    assert looks(site) == gone
    assert site.litter() == []
    await brought_back(agent, generation)
    assert looks(site) == good


@pytest.mark.parametrize("verb", ["restore", "undo"])
async def test_killed_at_any_moment_the_post_is_wholly_gone_or_wholly_back(
    small: Callable[..., Small], servers: Servers, verb: str
) -> None:
    site = blog(small)
    without_revision(site)
    agent = site.agent(servers)
    good = looks(site)
    generation = await saved(agent)
    delete(site)
    gone = looks(site)
    request: dict[str, Any] = {"generation": generation, "only": ONLY} if verb == "restore" else {}
    old, new = (gone, good) if verb == "restore" else (good, gone)
    started = time.monotonic()
    await brought_back(agent, generation)
    seconds = time.monotonic() - started
    chance = random.Random(20261125)
    outcomes = set()
    for number in range(6):
        if looks(site) != old:
            assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
        assert looks(site) == old
        operation = await killed_after(site, agent, seconds * (number + chance.random()) / 6, verb, **request)
        if operation:
            outcome = await settled(agent, operation)
            outcomes.add(outcome)
            assert looks(site) == (new if outcome is Outcome.DONE else old), (number, outcome)
        await agent.recover()
        assert looks(site) in (old, new)
        assert site.litter() == []
    # How many moments fell before its end is the machine's affair; that one does, the deaths in the switch show.
    assert outcomes <= {Outcome.DONE, Outcome.ROLLED_BACK, Outcome.CANCELLED}


# ---------------------------------------------------------------- found


async def test_articles_are_found_by_words_of_their_titles_and_told_what_became_of_them(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = blog(small)
    agent = site.agent(servers)
    p = site.prefix
    site.sql(
        f"INSERT INTO `{p}posts` (ID, post_title, guid)"
        " SELECT 100+seq, CONCAT('連番 News ', seq), CONCAT('/?p=', seq) FROM seq_1_to_80"
    )
    generation = await saved(agent)
    found = await agent.posts(generation, "桜まつり IT'S")
    assert [(one.id, one.title, one.status, one.now) for one in found] == [(ARTICLE, TITLE, "publish", "same")]
    assert found[0].modified is not None
    site.sql(
        f"UPDATE `{p}posts` SET post_status='trash' WHERE ID={ARTICLE};"
        f"UPDATE `{p}posts` SET post_content='x' WHERE ID=2"
    )
    site.sql(f"DELETE FROM `{p}posts` WHERE ID=3; UPDATE `{p}posts` SET guid='/?p=0' WHERE ID=101")
    states = {
        word: [(one.id, one.now) for one in await agent.posts(generation, word)]
        for word in ("12", "別の", "会社", "news 1")
    }
    assert (ARTICLE, "trashed") in states["12"]
    assert (states["別の"], states["会社"]) == ([(2, "changed")], [(3, "gone")])
    assert (101, "other") in states["news 1"]
    assert len(await agent.posts(generation, "連番　news")) == 50
    assert await agent.posts(generation, "revision") == ()
    with pytest.raises(AgentError) as told:
        await agent.posts(generation, " 　")
    assert told.value.code == "bad_request"


async def test_a_forged_dump_shows_and_writes_nothing(small: Callable[..., Small], servers: Servers) -> None:
    """Only literals in the form of our own statements pass, whoever made the dump."""
    site = blog(small)
    agent = site.agent(servers)
    generation = await saved(agent)
    delete(site)
    gone = looks(site)
    folder, posts = site.state / "generations" / generation, f"{site.prefix}posts"
    whole, summary = (folder / "database.sql.gz").read_bytes(), summary_of(site, generation)
    head = f"INSERT INTO `{posts}` (`ID`,`post_title`) VALUES "
    for kind, sql in (
        ("insert", f"{head}(SLEEP(9),'x')"), ("insert", f"{head}(12,(SELECT user_pass FROM users))"),
        ("insert", f"{head}(12,'x'); DROP TABLE `{posts}`"), ("insert", f"{head}(12,'x') ON DUPLICATE KEY UPDATE ID=1"),
        ("insert", f"{head}(12,'it''s')"), ("insert", f"{head}(12,'open"), ("insert", f"{head}(12,'x\\"),
        ("insert", f"{head}(12)"), ("insert", f"{head}(12,'x','y')"), ("insert", f"{head}(12,0xabc)"),
        ("insert", f"{head}(12,@m1)"), ("insert", f"{head}"), ("insert", head.replace(posts, "users") + "(12,'x')"),
        ("insert", head.replace("`post_title`", "post_title") + "(12,'x')"), ("set", "SET @m1=(SELECT 1)"),
        ("set", "SET GLOBAL x=1"), ("set", "SET @m1=CONCAT(@m2,'a')"), ("set", "SET @m1='a', @@global.x=1"),
    ):  # fmt: skip
        text = f"-- @ {len(sql)} {kind} {posts}\n{sql};\n".encode()
        packed = gzip.compress(text)
        part = {"offset": len(whole), "stored": len(packed), "size": len(text), "sha256": sha256(text).hexdigest()}
        dump = whole + packed
        forged = summary | {
            "tables": [one | part if one["name"] == posts else one for one in summary["tables"]],
            "dump": summary["dump"] | {"size": len(dump), "sha256": sha256(dump).hexdigest()},
        }
        (folder / "database.sql.gz").write_bytes(dump)
        (folder / "summary.json").write_text(json.dumps(forged))
        for asked in (agent.posts(generation, "x"), agent.post(generation, ARTICLE)):
            with pytest.raises(AgentError) as told:
                await asked
            assert told.value.code == "damaged", sql
        story = await carry_out(agent, "restore", generation=generation, only=ONLY)
        assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "damaged"), sql
    assert looks(site) == gone
    assert site.litter() == []


async def test_a_generation_that_is_not_the_sealed_one_shows_and_writes_nothing(
    small: Callable[..., Small], servers: Servers
) -> None:
    agent = blog(small).agent(servers)
    generation = await saved(agent)
    for asked in (agent.posts(generation, "桜", seal="0" * 64), agent.post(generation, ARTICLE, seal="0" * 64)):
        with pytest.raises(AgentError) as told:
            await asked
        assert told.value.code == "damaged"
    story = await carry_out(agent, "restore", generation=generation, only=ONLY, seal="0" * 64)
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "damaged")
