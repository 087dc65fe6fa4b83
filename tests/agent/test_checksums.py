"""Core is judged by wordpress.org's checksums: what differs is a sign, the unknown neither sign nor pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from app import policy
from backends.agent.client import Agent
from backends.records import Difference, GenerationState, Outcome
from backends.ssh import Servers
from tests.agent.small import Small, Story, carry_out, summary_of

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
CORE = {
    "index.php": b"<?php\nrequire __DIR__ . '/wp-load.php';\n",
    "wp-load.php": b"<?php\nrequire __DIR__ . '/wp-config.php';\n",
    "wp-config-sample.php": b"<?php // sample\n",
    "license.txt": b"GPL\n",
    "wp-admin/index.php": b"<?php\n",
    "wp-admin/includes/update-core.php": b"<?php\n$_old_files = array(\n\t'wp-includes/class-json.php',\n);\n",
    "wp-includes/version.php": b"<?php\n$wp_version = '6.1.9';\n",
    "wp-includes/load.php": b"<?php\n// core\n",
    "wp-includes/js/wp-util.js": b"var wp = {};\n",
}
NEWER = CORE | {
    "wp-includes/version.php": b"<?php\n$wp_version = '6.2';\n",
    "wp-includes/load.php": b"<?php\n// newer core\n",
    "wp-includes/new.php": b"<?php\n// new\n",
}
SHELL = b"<?php include 'x';\n"


def listed(files: dict[str, bytes], version: str, locale: str = "en_US") -> bytes:
    lines = [f"{hashlib.md5(body, usedforsecurity=False).hexdigest()} {path}" for path, body in sorted(files.items())]
    return "\n".join([f"core {version} {locale}", *lines]).encode() + b"\n"


OLD_LIST, NEW_LIST = listed(CORE, "6.1.9"), listed(NEWER, "6.2")


def lay(site: Small, files: dict[str, bytes]) -> None:
    for path, body in files.items():
        if not (site.root / path).exists() or (site.root / path).read_bytes() != body:
            site.write(path, body)
    site.own()


async def asked(agent: Agent, text: bytes | None, problem: str | None = None) -> dict[str, Any]:
    if text is None:
        return {"sha256": None, "problem": problem}
    return {"sha256": (await agent.checksums(text)).sha256, "problem": None}


async def back_up(site: Small, servers: Servers, text: bytes | None = OLD_LIST, **more: Any) -> Story:
    agent = site.agent(servers)
    core = await asked(agent, text, "nobody answered")
    story = await carry_out(agent, "snapshot", reason="hand", signs=policy.SIGNS, core=core, **more)
    assert story.outcome is Outcome.DONE, story.end
    return story


def known(site: Small, story: Story) -> dict[str, Any]:
    assert story.end.generation
    found: dict[str, Any] = summary_of(site, story.end.generation)["core"]
    return found


def altered(site: Small, story: Story) -> list[str]:
    return [one["path"] for one in known(site, story)["altered"]]


async def compared(site: Small, servers: Servers, generation: str | None, text: bytes | None = OLD_LIST) -> Difference:
    assert generation
    agent = site.agent(servers)
    found = [one async for one in agent.diff(generation, core=await asked(agent, text, "nobody answered"))]
    assert isinstance(found[-1], Difference)
    return found[-1]


def suspects(found: Difference) -> dict[str, tuple[tuple[str, ...], str]]:
    return {one.path: (one.signs, one.change) for one in found.files.suspicious if "core_checksums" in one.signs}


async def test_a_core_as_it_was_published_is_known_and_read_once(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    lay(site, CORE)
    site.write("wp-config.php.bak", b"<?php // root-level files of people are no core\n")
    site.write("tool.php", b"<?php // nor is this\n")
    site.write("wp-admin/.htaccess", b"deny from all\n")
    first = await back_up(site, servers)
    assert first.notes("suspect") == first.notes("core_unknown") == []
    assert known(site, first) == {
        "problem": None, "version": "6.1.9", "locale": "en_US", "read": 7, "count": 0, "altered": [],
    }  # fmt: skip
    site.write("wp-includes/js/wp-util.js", CORE["wp-includes/js/wp-util.js"])
    again = await back_up(site, servers)
    assert (known(site, again)["read"], known(site, again)["count"]) == (0, 0)
    found = await compared(site, servers, again.end.generation)
    assert suspects(found) == {}
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("wp-includes/load.php", b"<?php\n// core\n@include 'x';\n"),
        ("wp-includes/js/wp-util.js", b"var wp = {}; steal();\n"),
        ("wp-load.php", b"<?php\nrequire __DIR__ . '/wp-config.php'; // x\n"),
        ("wp-admin/includes/class-wp-cache.php", SHELL),
        ("wp-includes/blocks/x.phtml", SHELL),
    ],
)
async def test_a_changed_file_of_core_and_php_that_no_release_has_make_a_generation_suspect_until_they_are_right(
    servers: Servers, small: Callable[..., Small], path: str, body: bytes
) -> None:
    site = small()
    lay(site, CORE)
    good = await back_up(site, servers)
    site.write(path, body)
    for _ in range(2):  # the next generation looks like its predecessor, and is as bad
        story = await back_up(site, servers)
        assert "core_checksums" in story.notes("suspect")
        assert altered(site, story) == [path]
        assert (await site.agent(servers).generations()).generations[0].state is GenerationState.SUSPECT
    against = await compared(site, servers, good.end.generation)
    assert suspects(against)[path][1] == ("changed" if path in CORE else "added")
    same = await compared(site, servers, story.end.generation)
    assert suspects(same) == {path: (("core_checksums",), "same")}
    assert same.counts["changed"] == same.counts["added"] == 0
    if path in CORE:
        site.write(path, CORE[path])
    else:
        (site.root / path).unlink()
    assert "core_checksums" not in (await back_up(site, servers)).notes("suspect")


async def test_a_site_that_is_hacked_already_makes_a_suspect_first_generation(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    lay(site, CORE)
    site.write("wp-includes/load.php", SHELL)
    assert (await back_up(site, servers)).notes("suspect") == ["core_checksums"]


async def test_what_people_change_and_delete_in_core_is_no_sign(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    lay(site, CORE)
    await back_up(site, servers)
    site.write("wp-config-sample.php", b"<?php // ours\n")
    site.write("license.txt", b"\n")
    site.write("readme.html", b"gone\n")
    (site.root / "wp-includes/js/wp-util.js").unlink()
    story = await back_up(site, servers)
    assert "core_checksums" not in story.notes("suspect")
    assert suspects(await compared(site, servers, story.end.generation)) == {}


async def test_an_update_is_no_sign_nor_is_what_it_leaves_of_the_older_core(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    left = CORE | {"wp-includes/left.php": b"<?php // of 6.1.9 alone\n"}
    lay(site, left)
    await back_up(site, servers, listed(left, "6.1.9"))
    lay(site, NEWER)
    updated = await back_up(site, servers, NEW_LIST)
    assert (updated.notes("suspect"), known(site, updated)["version"]) == ([], "6.2")
    assert known(site, updated)["read"] == 3
    assert suspects(await compared(site, servers, updated.end.generation, NEW_LIST)) == {}
    site.write("wp-includes/left.php", SHELL)
    assert "core_checksums" in (await back_up(site, servers, NEW_LIST)).notes("suspect")


async def test_without_a_generation_before_core_itself_says_what_is_a_left_over(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    lay(site, CORE)
    site.write("wp-includes/class-json.php", b"<?php // of an old core\n")
    assert (await back_up(site, servers)).notes("suspect") == []
    other = small()
    lay(other, CORE)
    forged = CORE["wp-admin/includes/update-core.php"].replace(b"class-json", b"planted")
    other.write("wp-admin/includes/update-core.php", forged)
    other.write("wp-includes/planted.php", SHELL)
    story = await back_up(other, servers)
    assert set(altered(other, story)) == {"wp-admin/includes/update-core.php", "wp-includes/planted.php"}


@pytest.mark.parametrize("how", ["offline", "another release", "another locale", "forged", "not asked"])
async def test_what_cannot_be_known_is_neither_a_sign_nor_a_pass(
    servers: Servers, small: Callable[..., Small], how: str
) -> None:
    site = small()
    lay(site, CORE)
    site.write("wp-includes/load.php", SHELL)
    agent = site.agent(servers)
    text = {"another release": NEW_LIST, "another locale": listed(CORE, "6.1.9", "ja")}.get(how, OLD_LIST)
    core: dict[str, Any] | None = await asked(agent, None if how == "offline" else text, "nobody answered")
    if how == "forged":  # by whoever owns the server, after it was brought
        (site.state / "checksums/core").write_bytes(OLD_LIST.replace(b"wp-includes/load.php", b"wp-includes/lord.php"))
    core = None if how == "not asked" else core
    story = await carry_out(agent, "snapshot", reason="hand", signs=policy.SIGNS, core=core)
    assert story.outcome is Outcome.DONE
    assert story.notes("suspect") == []
    assert len(story.notes("core_unknown")) == (0 if how == "not asked" else 1)
    assert (known(site, story)["count"], bool(known(site, story)["problem"])) == (None, True)
    found = [one async for one in agent.diff(str(story.end.generation), core=core)][-1]
    assert isinstance(found, Difference)
    assert suspects(found) == {}
    assert [one.code for one in found.warnings] == ([] if how == "not asked" else ["core_unknown"])
    # As soon as it can be known, all of it is looked at.
    assert (await back_up(site, servers)).notes("suspect") == ["core_checksums"]


async def test_an_operator_s_word_accepts_these_bytes_and_no_others(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    lay(site, CORE)
    site.write("wp-load.php", b"<?php // patched by the host\n")
    agent = site.agent(servers)
    first = (await back_up(site, servers)).end
    assert first.generation
    await agent.mark(first.generation, state="clean")
    assert (await back_up(site, servers)).notes("suspect") == []
    assert (await back_up(site, servers, None)).notes("suspect") == []
    assert (await back_up(site, servers)).notes("suspect") == []
    assert (await back_up(site, servers, full_every_s=0)).notes("suspect") == []
    # A client that keeps its own marks does not take the server's word for an operator's.
    seals = {"sealed": {first.generation: first.summary}}
    other = small()
    lay(other, CORE)
    other.write("wp-load.php", b"<?php // patched by an intruder\n")
    theirs = (await back_up(other, servers)).end
    await other.agent(servers).mark(str(theirs.generation), state="clean")
    assert (await back_up(other, servers, sealed=seals["sealed"])).notes("suspect") == ["core_checksums"]
    site.write("wp-load.php", b"<?php // and by somebody else\n")
    assert (await back_up(site, servers)).notes("suspect") == ["core_checksums"]


async def test_no_link_pipe_or_giant_in_core_s_place_holds_a_backup_up(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    lay(site, CORE)
    for path, target in (("wp-includes/load.php", "/dev/zero"), ("wp-admin/index.php", "../wp-config-sample.php")):
        (site.root / path).unlink()
        (site.root / path).symlink_to(target)
    story = await back_up(site, servers)
    assert set(altered(site, story)) == {"wp-includes/load.php", "wp-admin/index.php"}
    assert set(suspects(await compared(site, servers, story.end.generation))) == set(altered(site, story))
