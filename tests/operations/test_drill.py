"""`modoseru drill` on real servers: what it prints, what it leaves in the journal, and the verdict that follows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import LabSite
from tests.operations.program import Program

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
STEPS = ["preflight", "stage", "verify", "boot", "drop"]


def trouble(site: LabSite, code: str) -> Path:
    plugin = site.root / "wp-content/mu-plugins/aaa-trouble.php"
    plugin.write_text(f"<?php\n{code}\n")
    os.chown(plugin, site.uid, site.uid)
    return plugin


def test_a_drill_proves_the_site_and_measures_the_time(fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("kogyo.example")
    (generation,) = (program("backup", site.name, "--json").json["generation"],)
    (before,) = program("status", site.name, "--json").json["sites"]
    assert (before["verdict"], before["rto_s"]) == ("unproven", None)
    assert before["reasons"][0] == "never rehearsed: no drill has restored it yet"
    done = program("drill", site.name, "--json").json
    assert (done["kind"], done["outcome"], done["generation"]) == ("drill", "done", generation)
    assert [step["name"] for step in done["steps"]] == STEPS
    assert site.title in done["detail"]
    (after,) = program("status", site.name, "--json").json["sites"]
    assert after["verdict"] == "proven"
    taken = sum(step["seconds"] for step in done["steps"] if step["name"] != "drop")
    assert abs(after["rto_s"] - taken) <= 1.5
    assert [one["drilled_at"] is not None for one in after["generations"]] == [True]
    told = program("drill", site.name)
    assert told.out.startswith(f"{site.name}: drill done in ")
    (again,) = program("status", site.name, "--json").json["sites"]
    assert again["rto_before_s"] == [after["rto_s"]]
    (listed, *_) = program("operations", site.name, "--json").json["operations"]
    assert (listed["kind"], listed["outcome"]) == ("drill", "done")


def test_a_drill_that_failed_says_why_and_one_that_could_not_judge_changes_nothing(
    fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site("kogyo.example")
    sound = program("backup", site.name, "--json").json["generation"]
    plugin = trouble(site, "add_action('init', function () { wp_redirect('https://elsewhere.example/'); exit; });")
    elsewhere = program("backup", site.name, "--json").json["generation"]
    plugin = trouble(site, "add_action('init', function () { throw new Error('nobody caught it'); });")
    broken = program("backup", site.name, "--json").json["generation"]
    plugin.unlink()

    unjudged = program("drill", site.name, elsewhere, "--json", code=1).json
    assert unjudged["outcome"] == "rolled_back"
    assert "elsewhere" in unjudged["detail"]
    assert program("status", site.name, "--json").json["sites"][0]["verdict"] == "unproven"

    failed = program("drill", site.name, broken, "--json", code=1).json
    assert "nobody caught it" in failed["detail"]
    (status,) = program("status", site.name, "--json").json["sites"]
    assert status["verdict"] == "failed"
    assert status["reasons"][0].startswith("the last drill failed: WordPress does not start on the restored copy: ")

    program("drill", site.name, elsewhere, code=1)
    assert program("status", site.name, "--json").json["sites"][0]["verdict"] == "failed"
    program("drill", site.name, sound)
    assert program("status", site.name, "--json").json["sites"][0]["verdict"] == "proven"


def test_a_site_without_a_generation_and_a_fleet_that_is_read_only_refuse(fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("kogyo.example")
    refused = program("drill", site.name, "--json", code=1).error
    assert (refused["code"], refused["message"]) == (
        "no_generation",
        f"{site.name} cannot be restored: it was never backed up",
    )
    assert program("drill", site.name, "nonsense", "--json", code=2).error["code"] == "bad_generation"
    program("backup", site.name)
    assert program("drill", site.name, "--read-only", "--json", code=2).error["code"] == "read_only"
