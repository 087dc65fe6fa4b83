"""`update --all` on the lab's sites: what is approved, waves that halt on the bad item, windows, and being left."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.lab import Lab, LabSite
from tests.lab.plugins import GOOD
from tests.operations.program import SCRIPT, Program

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
BAD = "broken-web"
NAMES = ("higashi.example", "kogyo.example", "minato.example", "sakura.example")
ALWAYS = {"update_window": "mon-sun 00:00-24:00", "wave_pause": "0", "wave_share": 0.25}


@pytest.fixture
def sites(lab: Lab, fresh_site: Fresh, program: Program) -> list[LabSite]:
    """Four sites with a good and a bad plugin, both offered; the fifth is not in the fleet."""
    found = [fresh_site(name) for name in NAMES]
    for site in found:
        for slug in (GOOD, BAD):
            lab.put_plugin(site, slug)
    lab.wporg.offer({GOOD: "1.1", BAD: "1.1"})
    (program.config / "sites.d" / "momiji.example.toml").unlink()
    policy(program)
    return found


def policy(program: Program, **changes: Any) -> None:
    program.write_fleet({"fleet": {"name": "研究所", "timezone": "Asia/Tokyo"}, "policy": {**ALWAYS, **changes}})


def versions(lab: Lab, sites: Sequence[LabSite]) -> dict[str, tuple[str, str]]:
    """What each front page says of the good and of the bad one."""

    def told(body: str, slug: str) -> str:
        return next(v for v in ("1.0", "1.1") if f"<meta name='{slug}' content='{v}'>" in body)

    pages = {site.name: lab.fetch(site)[1] for site in sites}
    return {name: (told(body, GOOD), told(body, BAD)) for name, body in pages.items()}


def test_the_first_failure_halts_that_item_everywhere_and_the_good_one_goes_on(
    lab: Lab, sites: list[LabSite], program: Program
) -> None:
    assert program("update", "--all", "--json").json["state"] == "done"
    nothing = program("update", "--all", "--dry-run", "--json").json
    assert nothing["waves"] == []
    assert {one["slug"] for one in nothing["undecided"]} == {GOOD, BAD}

    decided = program("updates", "--approve", GOOD, "--approve", BAD, "--why", "read the changelog", "--json").json
    assert {one["slug"]: (one["decision"]["verdict"], len(one["sites"])) for one in decided["items"]} == {
        GOOD: ("approved", 4),
        BAD: ("approved", 4),
    }
    plan = program("update", "--all", "--dry-run", "--json").json
    assert [len(wave) for wave in plan["waves"]] == [1, 1, 2]
    assert set(versions(lab, sites).values()) == {("1.0", "1.0")}
    assert program("update", "--all", "--json", code=2).error["code"] == "not_confirmed"

    done = program("update", "--all", "--yes", "--json", code=1).json
    assert done["state"] == "done"
    assert [one["slug"] for one in done["halted"]] == [BAD]
    canary = plan["waves"][0][0]["site"]
    assert done["halted"][0]["note"].startswith(f"{canary}: the front page: status 500")
    assert versions(lab, sites) == dict.fromkeys(NAMES, ("1.1", "1.0"))

    entries = program("ledger", "--json").json["entries"]
    told = {(one["site"], one["slug"]): one for one in entries}
    assert {key for key, one in told.items() if one["outcome"] == "applied"} == {(name, GOOD) for name in NAMES}
    put_back = told[canary, BAD]
    assert (put_back["outcome"], put_back["from"], put_back["to"]) == ("put_back", "1.0", "1.1")
    assert put_back["unavailable_s"] > 0
    assert told[canary, GOOD]["unavailable_s"] == 0
    assert len(told) == 5
    assert {one["note"] for one in entries} == {"read the changelog"}
    assert all(one["approved_by"] for one in entries)

    assert program("update", "--all", "--yes", "--json").json["waves"] == []
    (item,) = program("updates", "--json").json["items"]
    assert (item["slug"], item["decision"]["verdict"], item["held"]) == (BAD, "halted", [canary])
    # Somebody who knows better approves it again: three sites are left, and it is halted by the first of them.
    program("updates", "--approve", BAD)
    again = program("update", "--all", "--yes", "--json", code=1).json
    assert sum(len(wave) for wave in again["waves"]) == 3
    assert len(again["halted"]) == 1
    assert versions(lab, sites) == dict.fromkeys(NAMES, ("1.1", "1.0"))


def test_a_decision_about_a_site_stands_over_the_fleet_s(lab: Lab, sites: list[LabSite], program: Program) -> None:
    program("updates", "--approve", GOOD)
    program("updates", NAMES[0], "--skip", GOOD, "--why", "the client has a sale")
    program("updates", NAMES[1], "--hold", GOOD)
    program.write_site(sites[2], {"read_only": True})
    assert program("update", "--all", "--yes", "--json").json["state"] == "done"
    assert {name for name, (good, _) in versions(lab, sites).items() if good == "1.1"} == {NAMES[3]}
    program.write_site(sites[2])
    program("updates", "--let-go", GOOD)
    assert program("update", "--all", "--dry-run", "--json").json["waves"] == []
    assert (
        program("updates", NAMES[0], "--approve", "nothing-like-it", "--json", code=1).error["code"] == "unknown_item"
    )
    program("updates", NAMES[0], "--approve", GOOD)
    plan = program("update", "--all", "--dry-run", "--json").json
    assert [[one["site"] for one in wave] for wave in plan["waves"]] == [[NAMES[0]]]


def test_outside_of_the_window_nothing_is_begun(lab: Lab, sites: list[LabSite], program: Program) -> None:
    today = dt.datetime.now(dt.UTC) + dt.timedelta(hours=9)
    policy(program, freeze=[f"{today - dt.timedelta(days=1):%Y-%m-%d}/{today + dt.timedelta(days=1):%Y-%m-%d}"])
    program("updates", "--approve-all")
    closed = program("update", "--all", "--yes", "--json", code=1).json
    assert closed["state"] == "closed"
    opens = dt.datetime.fromisoformat(closed["until"])
    assert opens.astimezone(dt.timezone(dt.timedelta(hours=9))).date() == today.date() + dt.timedelta(days=2)
    assert set(versions(lab, sites).values()) == {("1.0", "1.0")}
    assert program("ledger").out.startswith("Nothing was updated in ")


def test_killed_and_begun_again_it_goes_on_with_the_same_waves(
    lab: Lab, sites: list[LabSite], program: Program
) -> None:
    program("updates", "--approve", GOOD)
    plan = [[one["site"] for one in wave] for wave in program("update", "--all", "--dry-run", "--json").json["waves"]]
    running = program.start("update", "--all", "--yes", "--progress", "json")
    running.until("wave 2 of 3")
    running.until('"code":"updating"')
    busy = program("update", "--all", "--yes", "--json", code=1)
    assert busy.error["code"] == "elsewhere"
    running.signal(signal.SIGKILL)
    running.ended(None)
    left = [[one["site"] for one in wave] for wave in program("update", "--all", "--dry-run", "--json").json["waves"]]
    assert left == [[], plan[1], plan[2]]
    done = program("update", "--all", "--yes", "--json").json
    assert [[one["site"] for one in wave] for wave in done["waves"]] == plan
    assert {one["state"] for wave in done["waves"] for one in wave} == {"done"}
    assert {good for good, _ in versions(lab, sites).values()} == {"1.1"}
    entries = program("ledger", "--json").json["entries"]
    assert sorted((one["site"], one["outcome"]) for one in entries) == [(name, "applied") for name in NAMES]


def test_a_site_that_cannot_be_updated_is_told_and_keeps_no_other_from_it(
    lab: Lab, sites: list[LabSite], program: Program
) -> None:
    program("updates", "--approve", GOOD)
    sick = sites[1]
    (sick.root / "wp-content/mu-plugins").mkdir(exist_ok=True)
    trouble = "<?php if (PHP_SAPI !== 'cli') { http_response_code(500); exit; }\n"
    (sick.root / "wp-content/mu-plugins/aaa-trouble.php").write_text(trouble)
    lab.fetch(sick)
    done = program("update", "--all", "--yes", "--json", code=1).json
    fates = {one["site"]: one["state"] for wave in done["waves"] for one in wave}
    assert fates == dict.fromkeys(NAMES, "done") | {sick.name: "failed"}
    (told,) = program("ledger", sick.name, "--json").json["entries"]
    assert (told["outcome"], told["operation"]) == ("not_begun", "")
    assert "is failing already" in told["why"]


def test_ctrl_c_begins_nothing_more_and_keeps_what_is_through(lab: Lab, sites: list[LabSite], program: Program) -> None:
    program("updates", "--approve", GOOD)
    policy(program, wave_pause="1h")
    running = program.start("update", "--all", "--yes", "--json")
    running.until("wave 2 begins at")
    running.signal(signal.SIGINT)
    stopped = running.ended(130).json
    assert stopped["state"] == "cancelled"
    assert [[one["state"] for one in wave] for wave in stopped["waves"]] == [["done"], [None], [None, None]]
    assert sorted(good for good, _ in versions(lab, sites).values()) == ["1.0", "1.0", "1.0", "1.1"]


def test_bad_words_are_told_before_anything(program: Program) -> None:
    for words in (["update"], ["update", "--all", NAMES[0]], ["update", "--all", "--back", GOOD],
                  ["update", NAMES[0], "--dry-run"]):  # fmt: skip
        assert program(*words, "--json", code=2).error["code"] == "bad_update"
    assert program("ledger", "--month", "2026-13", "--json", code=2).error["code"] == "bad_month"
    policy(program, wave_pause="soon")
    assert "wave_pause" in program("status", code=2).err


def test_a_terminal_asks_for_the_number_of_sites(lab: Lab, sites: list[LabSite], program: Program) -> None:
    program("updates", "--approve", GOOD)
    script = ["script", "-qec", f"exec {SCRIPT} update --all", "/dev/null"]
    done = subprocess.run(script, input=b"3\n", capture_output=True, env=program.environment, timeout=120, check=False)
    assert b"Type 4 to update 4 sites:" in done.stdout
    assert done.returncode == 2
    assert {good for good, _ in versions(lab, sites).values()} == {"1.0"}
