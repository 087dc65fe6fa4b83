"""A generation of one site, restored to another, of the agent on real servers and of its twin."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pytest

from app.demo.cast import Condition
from app.demo.fleet import Demo
from app.operations import transfer
from backends.agent.client import Agent, AgentError
from backends.records import Outcome, Site
from backends.ssh import Servers
from tests.agent.small import Story, carry_out, is_wrong
from tests.contract.ground import Ground, InTheDemo, OnTheLab

pytestmark = pytest.mark.asyncio(loop_scope="session")


_number = itertools.count()
Asked = dict[str, Any]


class Pair(NamedTuple):
    source: Ground
    target: Ground


class Brought(NamedTuple):
    """What `transfer.bring` asks of a session."""

    servers: Servers

    def agent(self, site: Site) -> Agent:
        return self.pair[site.name].agent(self.servers)

    pair: dict[str, Ground]


@pytest.fixture(params=["php", "twin"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """Two sites that nobody has worked on yet."""
    if request.param == "php":
        make = request.getfixturevalue("small")
        sites = make(), make()
        for site in sites:
            site.sql(f"ALTER TABLE `{site.prefix}users` ADD user_activation_key varchar(255) NOT NULL DEFAULT ''")
        return Pair(*(OnTheLab(site) for site in sites))
    demo: Demo = request.getfixturevalue("demo")
    well = [name for name, site in demo.sites.items() if site.condition is Condition.WELL and site.character.ssh]
    well.reverse()  # the other tests take them from the front
    return Pair(InTheDemo(demo, well[next(_number)]), InTheDemo(demo, well[next(_number)]))


async def brought(pair: Pair, servers: Servers) -> tuple[Agent, Asked]:
    """The target's agent, where a generation of the source lies now; what its `restore` is asked for."""
    source = pair.source.agent(servers)
    made = (await carry_out(source, "snapshot", reason="hand")).end
    assert made.generation
    wanted = await transfer.summary_of(source, pair.source.site, made.generation)
    assert wanted.seal == made.summary
    session = Brought(servers, {one.site.name: one for one in pair})
    async for _ in transfer.bring(session, wanted, pair.target.site):  # type: ignore[arg-type]
        pass
    incoming = {"site": pair.source.site.name, "url": pair.source.site.url}
    request = {"generation": made.generation, "seal": wanted.seal, "transfer": wanted.transfer, "incoming": incoming}
    found = await pair.target.agent(servers).preview(
        made.generation, "all", incoming={**incoming, "summary": wanted.text.decode()}
    )
    assert found.blockers == ()
    return pair.target.agent(servers), request


async def restored(agent: Agent, request: Asked, *, right: bool = True) -> Story:
    return await (carry_out(agent, "restore", **request) if right else carry_out(agent, "restore", is_wrong, **request))


async def test_a_site_becomes_another_keeps_its_own_wp_config_and_undo_takes_that_back(
    pair: Pair, servers: Servers
) -> None:
    pair.source.plant("wp-content/uploads/only-there.txt")
    agent, request = await brought(pair, servers)
    own, config, others = pair.target.looks(), pair.target.config.read_bytes(), pair.source.looks()
    story = await restored(agent, request, right=False)
    assert story.outcome is Outcome.ROLLED_BACK
    assert pair.target.looks() == own

    story = await restored(agent, request)
    assert story.outcome is Outcome.DONE, story.end
    assert story.steps == ["preflight", "stage", "verify", "rewrite", "switch", "check"]
    assert (pair.target.config.parent / "wp-content/uploads/only-there.txt").exists()
    assert pair.target.config.read_bytes() == config
    assert pair.source.looks() == others
    assert pair.target.litter() == []
    assert not list((pair.target.state / "incoming").iterdir())
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert pair.target.looks() == own


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"transfer": "f" * 32}, "damaged"), ({"only": "files"}, "bad_request"), ({"incoming": {}}, "bad_request")],
)
async def test_what_was_not_brought_or_cannot_be_meant_is_refused(
    pair: Pair, servers: Servers, changed: Asked, code: str
) -> None:
    agent, request = await brought(pair, servers)
    own = pair.target.looks()
    with pytest.raises(AgentError) as refused:
        await restored(agent, request | changed)
    assert refused.value.code == code
    assert pair.target.looks() == own


async def test_bytes_that_were_spoiled_on_their_way_are_never_served(pair: Pair, servers: Servers) -> None:
    agent, request = await brought(pair, servers)
    own = pair.target.looks()
    dump = next((pair.target.state / "incoming" / request["transfer"]).glob("database*"))
    spoiled = bytearray(dump.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    dump.write_bytes(spoiled)
    story = await restored(agent, request)
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "damaged")
    assert pair.target.looks() == own
