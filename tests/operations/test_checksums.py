"""Real WordPress against what wordpress.org publishes: a clean install, an update, a core that was opened."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab import Lab, LabSite, upstream
from tests.operations.program import Program

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
DOOR = "wp-includes/load.php"


def core_of(site: LabSite, generation: str) -> dict[str, Any]:
    file = site.home / ".modoseru" / site.name / "generations" / generation / "summary.json"
    found: dict[str, Any] = json.loads(file.read_bytes())["core"]
    return found


def back_up(program: Program, site: LabSite) -> tuple[str, list[dict[str, Any]]]:
    """The generation, and what was told of core on the way."""
    answer = program("backup", site.name, "--json", "--progress", "json")
    told = [one for one in answer.events if one.get("code") in ("suspect", "core_unknown")]
    return answer.json["generation"], told


def state(program: Program, site: LabSite) -> str:
    newest: str = program("generations", site.name, "--json").json["generations"][0]["state"]
    return newest


def suspicious(program: Program, site: LabSite) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = program("diff", site.name, "--json").json["files"]["suspicious"]
    return found


def write(site: LabSite, path: str, content: bytes) -> None:
    (site.root / path).write_bytes(content)
    os.chown(site.root / path, site.uid, site.uid)


@pytest.mark.parametrize("name", ["kogyo.example", "momiji.example", "higashi.example"])
def test_a_real_core_is_as_it_was_published_wherever_it_lies(
    lab: Lab, fresh_site: Fresh, program: Program, name: str
) -> None:
    site = fresh_site(name)
    generation, told = back_up(program, site)
    core = core_of(site, generation)
    assert (told, core["problem"], core["altered"]) == ([], None, [])
    assert core["read"] > 1500
    assert suspicious(program, site) == []
    # The second time nothing is asked for and nothing is read.
    lab.wporg.forget()
    generation, _ = back_up(program, site)
    assert core_of(site, generation)["read"] == 0
    assert [one for one in lab.wporg.requests() if one["path"].startswith("/core/checksums")] == []


def test_a_core_update_is_no_alarm_and_a_line_in_the_new_core_is_one(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("momiji.example")
    program("backup", site.name)
    lab.wporg.offer(core=upstream.CORE)
    program("update", site.name, "--yes")
    generation, told = back_up(program, site)
    core = core_of(site, generation)
    assert (told, core["version"], core["count"]) == ([], upstream.CORE, 0)
    assert suspicious(program, site) == []
    write(site, DOOR, (site.root / DOOR).read_bytes() + b"\n// and a door\n")
    _, told = back_up(program, site)
    assert {one["item"] for one in told} == {"core_checksums", "core_changed"}
    assert state(program, site) == "suspect"
    # Nothing changed since, and it is no better for it: the next one is as suspect, by the checksums alone.
    generation, told = back_up(program, site)
    assert [one["item"] for one in told] == ["core_checksums"]
    assert state(program, site) == "suspect"
    found = program("diff", site.name, generation, "--json").json["files"]["suspicious"]
    assert [(one["path"], one["signs"], one["change"]) for one in found] == [(DOOR, ["core_checksums"], "same")]
    assert "not as wordpress.org publishes it" in program("diff", site.name, generation).out


def test_an_older_core_s_left_overs_are_no_alarm_also_in_a_first_generation(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    """Core unpacked over the old one, as people do over FTP: what the new one no longer has stays."""
    site = fresh_site("kogyo.example")
    package = site.base / "package"
    shutil.unpack_archive(upstream.real_package("core", "wordpress", upstream.CORE), package, "zip")
    shutil.copytree(package / "wordpress", site.root, dirs_exist_ok=True)
    shutil.rmtree(package)
    for path in site.root.rglob("*"):
        os.chown(path, site.uid, site.uid, follow_symlinks=False)
    published = upstream.core_checksums(upstream.CORE)
    here = {path.relative_to(site.root).as_posix() for path in (site.root / "wp-includes").rglob("*.php")}
    assert here - published.keys()
    generation, told = back_up(program, site)
    assert (told, core_of(site, generation)["altered"]) == ([], [])
    assert suspicious(program, site) == []


def test_the_japanese_package_is_compared_with_its_own_list(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("kogyo.example")
    for path in ("wp-includes/version.php", "wp-config-sample.php"):
        write(site, path, upstream.as_japanese(path, (site.root / path).read_bytes()))
    generation, told = back_up(program, site)
    core = core_of(site, generation)
    assert (told, core["locale"], core["problem"], core["altered"]) == ([], "ja", None, [])


@pytest.mark.parametrize("why", ["offline", "a locale that nobody has"])
def test_what_wordpress_org_does_not_say_is_told_and_is_no_alarm(
    lab: Lab, fresh_site: Fresh, program: Program, why: str
) -> None:
    site = fresh_site("kogyo.example")
    write(site, DOOR, (site.root / DOOR).read_bytes() + b"\n// and a door\n")
    if why == "offline":
        lab.wporg.offer(fail=True)
    else:
        path = "wp-includes/version.php"
        write(site, path, (site.root / path).read_bytes() + b"\n$wp_local_package = 'tlh';\n")
    generation, told = back_up(program, site)
    (note,) = told
    assert (note["code"], note["level"]) == ("core_unknown", "info")
    assert ("status 500" if why == "offline" else "knows no WordPress") in note["text"]
    assert core_of(site, generation)["problem"]
    assert state(program, site) == "complete"
    warnings = [one["code"] for one in program("diff", site.name, "--json").json["warnings"]]
    assert warnings == ["core_unknown"]


def test_an_operator_who_calls_it_clean_is_believed_from_then_on(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("kogyo.example")
    write(site, DOOR, (site.root / DOOR).read_bytes() + b"\n// patched by the host\n")
    generation, told = back_up(program, site)
    assert [one["item"] for one in told] == ["core_checksums"]
    program("generations", site.name, "--mark", generation, "clean")
    assert back_up(program, site)[1] == []
    assert state(program, site) == "complete"
