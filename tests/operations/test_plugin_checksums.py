"""Real plugins against what wordpress.org publishes of them: a good update, a planted line, a planted file, a lie."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
import tomli_w

from tests.lab import Lab, LabSite, upstream
from tests.operations.program import Program

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
SITE = "momiji.example"
WORDS = ("suspect", "plugins_unknown", "plugin_added", "plugin_version", "checksums_ignored")


def plugins_of(site: LabSite, generation: str) -> dict[str, Any]:
    file = site.home / ".modoseru" / site.name / "generations" / generation / "summary.json"
    found: dict[str, Any] = json.loads(file.read_bytes())["plugins"]
    return found


def state_of(site: LabSite, generation: str, slug: str = "akismet") -> tuple[str, str]:
    (one,) = [one for one in plugins_of(site, generation)["plugins"] if one["slug"] == slug]
    return one["version"], one["state"]


def back_up(program: Program, site: LabSite) -> tuple[str, list[dict[str, Any]]]:
    answer = program("backup", site.name, "--json", "--progress", "json")
    return answer.json["generation"], [one for one in answer.events if one.get("code") in WORDS]


def diff(program: Program, site: LabSite) -> dict[str, Any]:
    found: dict[str, Any] = program("diff", site.name, "--json").json
    return found


def plugin(site: LabSite, path: str) -> Any:
    (folder,) = [found for found in site.base.rglob("plugins/akismet") if ".modoseru" not in found.parts]
    return folder / path


def write(site: LabSite, path: str, content: bytes) -> None:
    plugin(site, path).write_bytes(content)
    os.chown(plugin(site, path), site.uid, site.uid)


def test_a_real_plugin_is_as_it_was_published_before_and_after_a_good_update(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site(SITE)
    generation, told = back_up(program, site)
    assert (told, state_of(site, generation)) == ([], ("5.0.2", "published"))
    lab.wporg.offer({"akismet": upstream.AKISMET})
    program("update", site.name, "--yes")
    lab.wporg.forget()
    generation, told = back_up(program, site)
    assert (told, state_of(site, generation)) == ([], (upstream.AKISMET, "published"))
    assert len([one for one in lab.wporg.requests() if one["path"].startswith("/plugin-checksums/akismet")]) == 1
    lab.wporg.forget()
    found = diff(program, site)
    assert (found["files"]["suspicious"], found["warnings"]) == ([], [])
    assert [one["path"] for one in lab.wporg.requests() if one["path"].startswith("/plugin-checksums/")] == []


def test_a_line_in_a_plugin_is_found_until_it_is_right_and_a_text_s_is_not(fresh_site: Fresh, program: Program) -> None:
    site = fresh_site(SITE)
    back_up(program, site)
    original = plugin(site, "class.akismet.php").read_bytes()
    write(site, "class.akismet.php", original + b"\n// and a door\n")
    write(site, "readme.txt", b"changed\n")
    for _ in range(2):
        generation, told = back_up(program, site)
        assert "plugin_checksums" in {one["item"] for one in told}
        assert state_of(site, generation) == ("5.0.2", "altered")
        assert program("generations", site.name, "--json").json["generations"][0]["state"] == "suspect"
    answer = program("diff", site.name, generation, "--json").json
    (one,) = answer["files"]["suspicious"]
    assert (one["path"].rpartition("/")[2], one["signs"], one["change"]) == (
        "class.akismet.php",
        ["plugin_checksums"],
        "same",
    )
    assert "a plugin's file that is not as wordpress.org" in program("diff", site.name, generation).out
    write(site, "class.akismet.php", original)
    generation, told = back_up(program, site)
    assert state_of(site, generation) == ("5.0.2", "published")


def test_php_that_no_release_has_is_told_and_silence_is_not(fresh_site: Fresh, program: Program) -> None:
    site = fresh_site(SITE)
    write(site, "views/index.php", b"<?php\n// Silence is golden.\n")
    back_up(program, site)
    write(site, "views/cache.php", b"<?php include 'x';\n")
    (one,) = diff(program, site)["files"]["suspicious"]
    assert (one["signs"], one["change"]) == (["plugin_added"], "added")
    _, told = back_up(program, site)
    (note,) = told
    assert (note["code"], note["level"]) == ("plugin_added", "warning")
    assert "akismet/views/cache.php" in note["text"]
    # What stays is counted, and no alarm for ever: a plugin may have made it, or an older release left it.
    assert back_up(program, site)[1] == []
    found = diff(program, site)
    assert found["files"]["suspicious"] == []
    assert [one["added"] for one in found["plugins"] if one["slug"] == "akismet"] == [1]
    assert "PHP files that no release has: akismet 1" in program("diff", site.name).out


@pytest.mark.parametrize("version", ["99.9", upstream.AKISMET])
def test_a_version_that_was_changed_to_hide_is_found(fresh_site: Fresh, program: Program, version: str) -> None:
    site = fresh_site(SITE)
    back_up(program, site)
    lie = plugin(site, "akismet.php").read_bytes().replace(b"Version: 5.0.2", f"Version: {version}".encode())
    write(site, "akismet.php", lie + b"\n// and a door\n")
    for _ in range(2):
        generation, told = back_up(program, site)
        if version == "99.9":
            assert [one["code"] for one in told] == ["plugin_version"]
            assert state_of(site, generation) == (version, "unknown")
        else:
            assert "plugin_checksums" in {one["item"] for one in told}


def test_what_a_rule_ignores_is_told_with_its_reason(fresh_site: Fresh, program: Program) -> None:
    site = fresh_site(SITE)
    file = program.config / "sites.d" / f"{site.name}.toml"
    rule = {"checksums": {"ignore": [{"path": "akismet/class.akismet.php", "why": "our patch for the form"}]}}
    file.write_text(file.read_text() + "\n" + tomli_w.dumps(rule))
    write(site, "class.akismet.php", plugin(site, "class.akismet.php").read_bytes() + b"\n// ours\n")
    _, told = back_up(program, site)
    (note,) = told
    assert (note["code"], note["item"]) == ("checksums_ignored", "akismet/class.akismet.php")
    assert "our patch for the form" in note["text"]
    found = diff(program, site)
    assert found["files"]["suspicious"] == []
    assert [(one["path"], one["why"]) for one in found["ignored"]] == [
        ("akismet/class.akismet.php", "our patch for the form")
    ]
    write(site, "class.akismet-widget.php", plugin(site, "class.akismet-widget.php").read_bytes() + b"\n// not ours\n")
    _, told = back_up(program, site)
    assert "plugin_checksums" in {one["item"] for one in told}


def test_what_wordpress_org_does_not_say_of_a_plugin_is_unknown_and_no_alarm(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site(SITE)
    write(site, "class.akismet.php", b"<?php // a door\n")
    lab.wporg.offer(fail=True)
    generation, told = back_up(program, site)
    assert told == []
    assert state_of(site, generation) == ("5.0.2", "unknown")
    assert "status 500" in plugins_of(site, generation)["plugins"][0]["why"]
