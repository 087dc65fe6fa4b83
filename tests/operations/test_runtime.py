"""A site under another PHP: what would break is known without a switch; a switch that breaks a page is taken back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.lab import Lab, LabSite
from tests.lab.layout import wait_until, write_atomically
from tests.lab.other_php import LACKS, Pools, lean_php, new_php
from tests.lab.packages import php_version
from tests.lab.processes import owned_by
from tests.operations.program import Program

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]


@pytest.fixture
def site(fresh_site: Fresh) -> LabSite:
    return fresh_site("kogyo.example")


@pytest.fixture
def pools(lab: Lab, site: LabSite, tmp_path: Path) -> Iterator[Pools]:
    made = Pools(lab, site, tmp_path)
    yield made
    made.close()


def reasons(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["kind"], one["slug"]): one for one in found["reasons"]}


def live(lab: Lab, site: LabSite) -> list[tuple[str, ...]]:
    """What no trial may change: every table but for its statistics, and every file's time."""
    names = [row[0] for row in lab.sql(site, "SHOW TABLES")]
    sums = lab.sql(site, "CHECKSUM TABLE " + ", ".join(f"`{name}`" for name in names))
    files = [
        (str(path), str(path.lstat().st_mtime_ns), str(path.lstat().st_size)) for path in sorted(site.root.rglob("*"))
    ]
    return sums + files


def test_the_phps_of_a_server_are_told_with_what_uses_them(site: LabSite, program: Program) -> None:
    found = program("runtime", site.name, "--json").json
    (used,) = [one for one in found["binaries"] if one["cli"]]
    assert used["path"] == f"/usr/bin/php{php_version()}"
    assert used["version"] == found["php"]["web"] == found["php"]["from"]
    assert (used["web"], used["sapi"], used["problem"]) == (True, "cli", None)
    assert used["eol"] == "2026-12-31"
    assert found["verdict"] is None
    assert f"until {used['eol']}" in program("runtime", site.name).out
    assert list(site.root.glob("modoseru-*")) == []


def test_hostile_binaries_are_named_and_harm_nobody(lab: Lab, site: LabSite, program: Program) -> None:
    program("backup", site.name)
    folder = site.home / "bin"
    folder.mkdir(exist_ok=True)
    for name, body in {
        "php8.7": "sleep 600", "php8.8": "exec yes", "php8.9": f'exec /usr/bin/php{php_version()} "$@"',
        "php9.1": "echo nothing that anybody asked for",
    }.items():  # fmt: skip
        write_atomically(folder / name, f"#!/bin/sh\n{body}\n".encode(), 0o755)
    told = {Path(one["path"]).name: one for one in program("runtime", site.name, "--json").json["binaries"]}
    assert told["php8.7"]["problem"] == "it did not end within 5 s"
    assert told["php8.8"]["problem"] == "it prints without end"
    assert "no answer" in told["php9.1"]["problem"]
    assert told["php8.9"]["version"].startswith(php_version())
    for name, code in {"php8.9": "other_php", "php9.1": "no_php", "8.8": "no_php", "php4.4": "no_php"}.items():
        assert program("runtime", site.name, "--php", name, "--json", code=1).error["code"] == code


def test_what_a_newer_php_forbids_is_told_by_plugin_and_line(lab: Lab, site: LabSite, program: Program) -> None:
    for slug in ("php-parse", "php-requires"):
        lab.put_plugin(site, slug)
    lab.put_plugin(site, "php-removed", active=False)
    program("backup", site.name)
    php = new_php(lab)
    before = live(lab, site)
    found = program("runtime", site.name, "--php", str(php), "--json", code=1).json
    assert live(lab, site) == before
    assert (found["site"], found["verdict"]) == (site.name, "impossible")
    assert found["php"]["to"].startswith("8.4.")
    told = reasons(found)
    parse = told["parse", "php-parse"]
    assert parse["file"] == "wp-content/plugins/php-parse/php-parse.php"
    text = (site.root / parse["file"]).read_text().splitlines()
    assert text[parse["line"] - 1] == "const __PROPERTY__ = 1;"
    assert parse["severity"] == "error"
    assert told["requires", "php-requires"]["message"] == "it needs PHP 8.9"
    assert "mysqli" in found["extensions"]["missing"]
    assert {slug for kind, slug in told if kind == "parse"} == {"php-parse"}
    assert (found["pages"], found["generation"]) == (0, None)
    said = program("runtime", site.name, "--php", str(php), code=1).out
    assert f"php-parse: parse: {parse['message']} ({parse['file']}:{parse['line']})" in said


def test_pages_are_rendered_under_it_and_nothing_live_changes(lab: Lab, site: LabSite, program: Program) -> None:
    for slug in ("php-removed", "php-dynamic"):
        lab.put_plugin(site, slug)
    made = program("backup", site.name, "--json").json["generation"]
    before = live(lab, site)
    found = program("runtime", site.name, "--php", str(lean_php(lab)), "--json", code=1).json
    assert live(lab, site) == before
    told = reasons(found)
    fatal = told["fatal", "php-removed"]
    assert "undefined function cal_days_in_month()" in fatal["message"]
    assert fatal["file"] == "wp-content/plugins/php-removed/php-removed.php"
    assert "cal_days_in_month" in (site.root / fatal["file"]).read_text().splitlines()[fatal["line"] - 1]
    assert found["verdict"] == "impossible"
    assert found["generation"] == made
    assert LACKS in found["extensions"]["missing"]
    used = told["extension", "php-removed"]
    assert used["message"] == f"it uses cal_days_in_month of the extension {LACKS}, which is missing"
    assert (used["file"], used["line"], used["severity"]) == (fatal["file"], fatal["line"], "warning")
    assert not [one for one in lab.sql(site, "SHOW TABLES") if one[0].startswith("_m")]


def test_what_is_new_under_it_makes_it_risky(lab: Lab, site: LabSite, program: Program) -> None:
    lab.put_plugin(site, "php-dynamic")
    program("backup", site.name)
    found = program("runtime", site.name, "--php", str(lean_php(lab)), "--json").json
    told = reasons(found)
    late = told["deprecated", "php-dynamic"]
    assert "Php_Dynamic::$late" in late["message"]
    assert late["severity"] == "warning"
    assert late["count"] >= found["pages"] > 1
    assert found["verdict"] == "risky"
    assert {kind for kind, _ in told} == {"deprecated", "extension"}


def test_the_php_of_now_is_safe_and_the_second_time_reads_no_file_again(
    lab: Lab, site: LabSite, program: Program
) -> None:
    program("backup", site.name)
    lab.put_plugin(site, "good-plugin")
    for _ in range(2):
        found = program("runtime", site.name, "--php", f"php{php_version()}", "--json").json
        assert (found["verdict"], found["reasons"]) == ("safe", [])
        assert found["files"] > 500
    (cache,) = (site.home / ".modoseru" / site.name).glob("syntax-*")
    plugin = site.root / "wp-content/plugins/good-plugin/good-plugin.php"
    plugin.write_text(plugin.read_text() + "\nthis is not php;\n")
    found = program("runtime", site.name, "--php", str(lean_php(lab)), "--json").json
    assert "parse" not in {one["kind"] for one in found["reasons"]}  # the PHP of now cannot read it either
    assert len(cache.read_text().splitlines()) > 500


def test_a_trial_is_cancelled_and_leaves_nothing(lab: Lab, site: LabSite, program: Program) -> None:
    program("backup", site.name)
    running = program.start("runtime", site.name, "--php", str(lean_php(lab)))
    running.until("stage")
    running.signal(signal.SIGINT)
    running.ended(code=130)
    assert not [one for one in lab.sql(site, "SHOW TABLES") if one[0].startswith("_m")]
    assert not list((site.home / ".modoseru" / site.name / "ops").glob("*/stage"))


def test_one_whose_process_is_killed_is_cleared_away_by_the_next(lab: Lab, site: LabSite, program: Program) -> None:
    program("backup", site.name)
    hold = lab.layout.host / "hold"
    hung = lab.layout.host / "php" / "hung" / "bin" / f"php{php_version()}"
    hung.parent.mkdir(parents=True, exist_ok=True)
    text = f"""#!/bin/sh
case "$*" in *' render'*) while [ -e {hold} ]; do sleep 0.05; done; esac
exec /usr/bin/php{php_version()} "$@"
"""
    write_atomically(hung, text.encode(), 0o755)
    hold.touch()
    try:
        running = program.start("runtime", site.name, "--php", str(hung), "--json")
        running.until("boot")
        for pid in owned_by([site.uid]):
            if b"\0work\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
    finally:
        hold.unlink()
    assert "its process died" in running.ended(code=1).error["message"]
    assert not [one for one in lab.sql(site, "SHOW TABLES") if one[0].startswith("_m")]
    assert not list((site.home / ".modoseru" / site.name / "ops").glob("*/stage"))
    assert program("runtime", site.name, "--php", str(hung), "--json").json["verdict"] == "safe"


def test_a_site_without_a_generation_is_told_to_make_one(site: LabSite, program: Program) -> None:
    error = program("runtime", site.name, "--php", "8.2", "--json", code=1).error
    assert error["code"] == "no_generation"
    assert error["hint"] == f"make one first: modoseru backup {site.name}"


# ---------------------------------------------------------------- the switch


def switching(program: Program, site: LabSite, pools: Pools, to: str, back: str) -> None:
    program.write_site(site, {"runtime.php.switch": pools.command(to), "runtime.php.back": pools.command(back)})
    program("backup", site.name)


def test_a_switch_stays_where_every_page_is_as_it_was(lab: Lab, site: LabSite, program: Program, pools: Pools) -> None:
    switching(program, site, pools, "good", pools.own)
    php = lean_php(lab)
    refused = program("runtime", site.name, "--php", str(php), "--switch", "--json", code=2)
    assert refused.error["code"] == "not_confirmed"
    assert pools.calls() == []
    found = program("runtime", site.name, "--php", str(php), "--switch", "--yes", "--json").json
    assert found["switch"]["outcome"] == "done"
    assert pools.calls() == [["good", str(php), php_version(), site.name]]
    listed = program("operations", site.name, "--json").json["operations"]
    assert [one["kind"] for one in listed][:2] == ["switch", "runtime"]


def test_one_that_breaks_the_page_is_taken_back_by_itself(
    lab: Lab, site: LabSite, program: Program, pools: Pools
) -> None:
    switching(program, site, pools, "broken", pools.own)
    found = program("runtime", site.name, "--php", str(lean_php(lab)), "--switch", "--yes", "--json", code=1).json
    assert found["switch"]["outcome"] == "rolled_back"
    assert "status 500" in found["switch"]["detail"]
    assert [call[0] for call in pools.calls()] == ["broken", pools.own]
    assert pools.calls()[1][1] == f"/usr/bin/php{php_version()}"
    assert lab.fetch(site)[0] == 200


def test_one_whose_way_back_fails_needs_a_hand(lab: Lab, site: LabSite, program: Program, pools: Pools) -> None:
    switching(program, site, pools, "broken", "fails")
    found = program("runtime", site.name, "--php", str(lean_php(lab)), "--switch", "--yes", "--json", code=3).json
    assert found["switch"]["outcome"] == "needs_hand"
    assert "the panel says no" in found["switch"]["detail"]
    assert lab.fetch(site)[0] == 500


def test_a_command_that_fails_leaves_the_site_as_it_was(
    lab: Lab, site: LabSite, program: Program, pools: Pools
) -> None:
    (program.config / "hosts.d").mkdir()
    page = {"runtime": {"php": {"switch": pools.command("fails"), "back": pools.command(pools.own)}}}
    (program.config / "hosts.d" / f"{site.ssh_host}.toml").write_text(tomli_w.dumps(page))
    program("backup", site.name)
    found = program("runtime", site.name, "--php", str(lean_php(lab)), "--switch", "--yes", "--json", code=1).json
    assert found["switch"]["outcome"] == "rolled_back"
    assert "the panel says no" in found["switch"]["detail"]


def test_a_switch_that_is_cancelled_goes_back(lab: Lab, site: LabSite, program: Program, pools: Pools) -> None:
    switching(program, site, pools, "waits", pools.own)
    running = program.start("runtime", site.name, "--php", str(lean_php(lab)), "--switch", "--yes", "--json")
    wait_until(lambda: any(call[0] == "waits" for call in pools.calls()), 90, "the switch command")
    running.signal(signal.SIGINT)
    found = running.ended(code=130).json
    assert found["switch"]["outcome"] == "cancelled"
    assert [call[0] for call in pools.calls()] == ["waits", pools.own]
    assert lab.fetch(site)[0] == 200


def test_a_program_that_is_killed_in_a_switch_leaves_word_of_it(
    lab: Lab, site: LabSite, program: Program, pools: Pools
) -> None:
    switching(program, site, pools, "waits", pools.own)
    running = program.start("runtime", site.name, "--php", str(lean_php(lab)), "--switch", "--yes", "--json")
    wait_until(lambda: any(call[0] == "waits" for call in pools.calls()), 90, "the switch command")
    running.signal(signal.SIGKILL)
    running.ended(code=-signal.SIGKILL)
    begun = program("operations", site.name, "--json").json["operations"][0]
    assert begun["kind"] == "switch"
    followed = program("follow", site.name, begun["operation"], "--json", code=3).json
    assert followed["outcome"] == "needs_hand"


def test_the_flags_that_belong_together_are_told(site: LabSite, program: Program) -> None:
    for words in (["--switch"], ["--check", "--php", "8.2"], ["--check", "--switch"]):
        assert program("runtime", site.name, *words, "--json", code=2).error["code"] == "usage"
    refused = program("--read-only", "runtime", site.name, "--php", "8.2", "--json", code=2).error
    assert refused["code"] == "read_only"
    assert program("--read-only", "runtime", site.name, "--json").json["php"]["web"] is None


def test_an_impossible_one_is_never_switched(lab: Lab, site: LabSite, program: Program, pools: Pools) -> None:
    lab.put_plugin(site, "php-removed")
    switching(program, site, pools, "good", pools.own)
    error = program("runtime", site.name, "--php", str(lean_php(lab)), "--switch", "--yes", "--json", code=1).error
    assert error["code"] == "impossible"
    assert pools.calls() == []


def test_without_a_command_the_steps_are_told_and_a_second_call_looks(
    lab: Lab, site: LabSite, program: Program
) -> None:
    program("backup", site.name)
    assert program("runtime", site.name, "--check", "--json", code=1).error["code"] == "no_baseline"
    (program.config / "hosts.d").mkdir()
    panel = "https://panel.host.example/"
    (program.config / "hosts.d" / f"{site.ssh_host}.toml").write_text(tomli_w.dumps({"panel": panel}))
    found = program("runtime", site.name, "--php", str(lean_php(lab)), "--switch", "--yes", "--json").json
    assert found["steps"][0].endswith(panel)
    assert f"Choose PHP {php_version()} for {site.url} (it is {php_version()} now)." in found["steps"]
    assert program("runtime", site.name, "--check", "--json").json["ok"] is True
    lab.put_plugin(site, "broken-init", "1.1")
    looked = program("runtime", site.name, "--check", "--json", code=1).json
    assert "status 500" in looked["detail"]
