"""One post comes back: the PHP agent and the demo's twin find it, tell of it, and put it back alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.agent.client import AgentError
from backends.records import Outcome
from backends.ssh import Servers
from tests.agent import blog
from tests.agent.small import Small, carry_out, is_wrong
from tests.contract.ground import Ground, OnTheLab
from tests.contract.test_protocol import begin_held, error_of, generation_of, refused, state_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(params=["php", "twin"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """As the other contract tests have it; on the lab with the tables that articles have."""
    if request.param == "php":
        make: Callable[..., Small] = request.getfixturevalue("small")
        site = blog.with_pictures(make(tables=blog.tables()))
        site.sql(f"DELETE FROM `{site.prefix}posts` WHERE post_type='revision'")
        return OnTheLab(site)
    made: Ground = request.getfixturevalue("demo_ground")
    return made


async def test_a_post_is_found_by_its_title_and_told_what_became_of_it(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    before = ground.looks()
    post, title = ground.lose_post()
    assert ground.looks() != before
    words = title.split()[0]
    (found,) = [one for one in await agent.posts(generation, words) if one.id == post]
    assert (found.title, found.type, found.status, found.now) == (title, "post", "publish", "gone")
    assert post in [one.id for one in await agent.posts(generation, str(post))]
    assert await agent.posts(generation, "nobody wrote this") == ()
    seen = await agent.post(generation, post)
    assert (seen.generation, seen.id, seen.state, seen.then.title, seen.now) == (generation, post, "gone", title, None)
    assert seen.then.comments == seen.comments_back > 0
    assert (seen.comments_kept, seen.blockers) == (0, ())
    kept = next(one for one in await agent.posts(generation, "2") if one.now == "same")
    same = await agent.post(generation, kept.id)
    assert (same.state, same.now is not None and same.now.title) == ("same", kept.title)


async def test_a_post_comes_back_goes_by_the_undo_and_comes_back_by_the_next(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    before = ground.looks()
    post, _ = ground.lose_post()
    lost = ground.looks()
    story = await carry_out(agent, "restore", generation=generation, only=f"post:{post}")
    assert story.steps == ["preflight", "stage", "verify", "switch", "check"]
    assert (story.outcome, story.end.generation) == (Outcome.DONE, generation)
    assert ground.looks() == before
    assert (await agent.post(generation, post)).state == "same"
    for state in (lost, before):
        assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
        assert ground.looks() == state
    assert ground.litter() == []


async def test_a_look_that_is_wrong_and_a_death_in_the_switch_leave_the_post_as_it_was(
    ground: Ground, servers: Servers
) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    post, _ = ground.lose_post()
    lost = ground.looks()
    request = {"generation": generation, "only": f"post:{post}"}
    story = await carry_out(agent, "restore", is_wrong, **request)
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "check_failed")
    assert ground.looks() == lost
    operation = await begin_held(ground, agent, "switch", "restore", **request)
    assert await ground.kill()
    ground.release()
    await agent.recover()
    assert await state_of(agent, operation) == ("finished", Outcome.ROLLED_BACK)
    assert ground.looks() == lost
    assert ground.litter() == []


async def test_what_names_no_post_is_refused(ground: Ground, servers: Servers) -> None:
    agent = ground.agent(servers)
    generation = await generation_of(agent)
    before = ground.looks()
    for only in ("post:", "post:0", "post:-1", "post:1 OR 1=1", "post:1\n", "post:９", f"post:{'9' * 30}"):
        assert (await refused(agent, "restore", generation=generation, only=only)).code == "bad_request", only
    for words in ("", "  "):
        with pytest.raises(AgentError) as told:
            await agent.posts(generation, words)
        assert told.value.code == "bad_request"
    with pytest.raises(AgentError) as told:
        await agent.post(generation, 987654321)
    assert told.value.code == "no_post"
    story = await carry_out(agent, "restore", generation=generation, only="post:987654321")
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "no_post")
    assert ground.looks() == before
    for verb, fields in (("posts", {"words": "x"}), ("post", {"id": 1})):
        missing = await error_of(ground, servers, verb, {"generation": "20200101T000000Z", **fields})
        assert missing["code"] == "no_generation"
        bad = {"generation": generation} | {key: ["x"] for key in fields}
        assert (await error_of(ground, servers, verb, bad))["code"] == "bad_request"
