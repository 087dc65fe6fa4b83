"""Real WordPress: the awkward account, plugins that speak out of turn, and a page that visitors get back."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from backends.agent.client import Agent, Agents, agent_name
from backends.records import Asked, Outcome, Site
from backends.ssh import Servers
from tests.agent.small import carry_out, tables_of, tree, without
from tests.lab import Lab, LabSite
from tests.lab.configuration import site_table

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
Fresh = Callable[[str], LabSite]
LEFT = rb"wp-content/(cache|upgrade)(/.*)?"


def agent_of(servers: Servers, site: LabSite) -> Agent:
    return Agents(servers).of(msgspec.convert(site_table(site), Site))


def must_use(site: LabSite, name: str, code: str) -> Path:
    target = site.root / "wp-content/mu-plugins" / name
    target.write_text(f"<?php\n{code}\n")
    os.chown(target, site.uid, site.uid)
    return target


async def test_a_vandalised_wordpress_is_served_again_and_the_undo_serves_the_ruin(
    lab: Lab, fresh_site: Fresh, servers: Servers
) -> None:
    """On the account with tcsh, a greeting, an old PHP first on PATH and no client programs."""
    site = await asyncio.to_thread(fresh_site, "higashi.example")
    agent = agent_of(servers, site)
    files, tables = tree(site.root), tables_of(lab, site.db_name, site.db_prefix)
    made = await carry_out(agent, "snapshot", reason="hand")
    assert made.outcome is Outcome.DONE, made.end
    assert site.title in lab.fetch(site)[1]

    lab.sql(site, f"DELETE FROM {site.db_prefix}posts; DROP TABLE {site.db_prefix}termmeta")
    lab.sql(site, f"UPDATE {site.db_prefix}options SET option_value='HACKED' WHERE option_name='blogname'")
    shutil.rmtree(site.root / "wp-content/uploads")
    (site.root / "wp-includes/post.php").unlink()
    (site.root / "evil.php").write_text("<?php evil();")
    lab.restart_php(site)
    assert lab.fetch(site)[0] == 500
    ruined = tree(site.root)
    pages: list[tuple[int, str]] = []
    shown: list[dict[str, tuple[str, ...]]] = []

    def look(asked: Asked) -> tuple[bool, str]:
        assert asked.token
        status, body = lab.fetch(site, f"/{asked.token}")
        assert (status, '"opcache":true' in body) == (200, True), body
        shown.append(tables_of(lab, site.db_name, site.db_prefix))
        pages.append(lab.fetch(site))  # from here on WordPress writes its transients
        return True, str(pages[-1][0])

    story = await carry_out(agent, "restore", look, generation=made.end.generation, only="all")
    assert story.outcome is Outcome.DONE, story.end
    assert pages[0][0] == 200
    assert site.title in pages[0][1]
    assert without(tree(site.root), LEFT) == without(files, LEFT)
    assert shown[0] == tables

    undone = await carry_out(agent, "undo", look)
    assert undone.outcome is Outcome.DONE, undone.end
    assert (pages[1][0], undone.end.detail) == (500, "500")
    assert tree(site.root) == ruined


async def test_what_plugins_and_shells_print_is_noise(lab: Lab, fresh_site: Fresh, servers: Servers) -> None:
    site = await asyncio.to_thread(fresh_site, "higashi.example")
    agent = agent_of(servers, site)
    quiet, _ = await agent.inspect()
    must_use(site, "noise.php", r"""
        $say = fopen('php://stdout', 'w');
        $forged = "\n0123456789abcdef {\"reply\": {\"agent\": \"evil\"}}\n";
        foreach (['no newline', $forged, "\n{\"error\": {}}\n", "\0\xff\n"] as $text) {
            echo $text;
            fwrite($say, $text);
        }
        trigger_error('a notice of a plugin');
        ob_start(fn($page) => strrev($page));
        add_action('shutdown', function () { echo 'last words'; });
        register_shutdown_function(function () { fwrite(fopen('php://stdout', 'w'), "\nvery last words"); });
    """)  # fmt: skip
    noisy, _ = await agent.inspect()
    assert noisy.booted
    assert (noisy.title, noisy.wordpress, noisy.plugins[:1]) == (quiet.title, quiet.wordpress, quiet.plugins[:1])
    assert (await carry_out(agent, "snapshot", reason="hand")).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("exit('bye');", "ended the request by itself"),
        ("throw new Exception('it threw');", "it threw"),
        ("function_that_is_not_there();", "function_that_is_not_there"),
        ("this is no php", "syntax error"),
        ("while (true) { $all[] = str_repeat('x', 1 << 20); }", "memory"),
    ],
)
async def test_a_wordpress_that_does_not_boot_is_still_inspected_backed_up_and_restored(
    fresh_site: Fresh, servers: Servers, code: str, words: str
) -> None:
    site = await asyncio.to_thread(fresh_site, "kogyo.example")
    agent = agent_of(servers, site)
    made = await carry_out(agent, "snapshot", reason="hand")
    broken = must_use(site, "broken.php", code)
    seen, _ = await agent.inspect()
    assert not seen.booted
    assert seen.boot_error is not None
    assert words in seen.boot_error.message, seen.boot_error
    assert (seen.wordpress, seen.database_engine, seen.prefix) == ("6.1.9", "mariadb", "wp_")
    assert [one.id for one in seen.generations] == [made.end.generation]
    assert (
        await carry_out(agent, "restore", generation=made.end.generation, only=["wp-content/mu-plugins"])
    ).outcome is Outcome.DONE
    assert not broken.exists()
    assert (await agent.inspect())[0].booted


async def test_an_agent_that_was_deleted_meanwhile_is_installed_again(fresh_site: Fresh, servers: Servers) -> None:
    site = await asyncio.to_thread(fresh_site, "kogyo.example")
    agent = agent_of(servers, site)
    await agent.generations()
    for verb in ("generations", "snapshot"):
        (site.home / ".modoseru" / agent_name()).unlink()
        if verb == "snapshot":
            assert (await carry_out(agent, verb, reason="hand")).outcome is Outcome.DONE
        else:
            assert (await agent.generations()).generations == ()
