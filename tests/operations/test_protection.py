"""`guard …` as a process: put there by the site's file, blocking, read, and taken away byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agent.test_guard import login
from tests.lab import Lab, LabSite
from tests.operations.program import Program

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]


def files(root: Path) -> dict[str, bytes]:
    return {str(one.relative_to(root)): one.read_bytes() for one in sorted(root.rglob("*")) if one.is_file()}


def test_a_guard_comes_blocks_and_goes(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("kogyo.example")
    program.write_site(site, {"guard.address": 3, "guard.allow": ["127.0.0.9"]})
    before = files(site.root / "wp-content")
    missing = program("guard", "show", site.name, "--json", code=1).json
    assert (missing["installed"], missing["blocks"]) == (False, [])
    assert program("guard", "install", site.name, "--json").json["ours"] is True
    assert [login(site, "127.0.0.1", "x\x1b[31m") for _ in range(4)] == [200] * 3 + [429]
    assert [login(site, "127.0.0.9", "x") for _ in range(5)] == [200] * 5
    told = program("guard", "show", site.name).out
    assert "127.0.0.1" in told
    assert "\x1b" not in told
    program("guard", "unblock", site.name, "127.0.0.1")
    assert login(site, "127.0.0.1", "x") == 200
    program("guard", "block", site.name, "127.0.0.2", "--hours", "1")
    assert login(site, "127.0.0.2", site.admin, site.admin_password) == 429

    assert program("guard", "remove", site.name, "--json", code=2).error["code"] == "not_confirmed"
    assert program("guard", "show", site.name, "--json").json["installed"] is True
    assert program("guard", "remove", site.name, "--yes", "--json").json["installed"] is False
    assert files(site.root / "wp-content") == before
    assert login(site, "127.0.0.2", site.admin, site.admin_password) == 302
    told = program("audit", "show", site.name, "--json").json["entries"]
    assert [(one["what"], one["outcome"]) for one in told[:2]] == [("guard remove", "done"), ("guard remove", "asked")]
    head = program("audit", "verify", "--json").json["head"]
    assert "✔" in program("audit", "verify", "--head", head).out
    assert program("audit", "verify", "--head", f"999:{'0' * 64}", "--json", code=1).json["why"] == "entry 999 is gone"
    assert program("audit", "verify", "--head", "999", "--json", code=2).error["code"] == "usage"


def test_what_cannot_be_is_one_line(fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("kogyo.example")
    assert program("guard", "block", site.name, "203.0.113.x", "--json", code=2).error["code"] == "bad_address"
    assert program("guard", "unblock", site.name, "127.0.0.1", "--json", code=1).error["code"] == "not_guarded"
    assert program("--read-only", "guard", "install", site.name, "--json", code=2).error["code"] == "read_only"
    program.write_site(site, {"guard.allow": ["here"]})
    assert "guard.allow" in program("guard", "install", site.name, "--json", code=2).error["message"]


def test_its_file_is_no_suspicious_one_and_a_changed_one_is(fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("kogyo.example")
    program("backup", site.name)
    program("guard", "install", site.name)
    assert program("diff", site.name, "--json").json["files"]["suspicious"] == []
    plugin = site.root / "wp-content/mu-plugins/modoseru-guard.php"
    plugin.write_text(plugin.read_text() + "\neval(base64_decode($_POST['x']));\n")
    suspicious = program("diff", site.name, "--json").json["files"]["suspicious"]
    assert [Path(one["path"]).name for one in suspicious] == ["modoseru-guard.php"]
    assert program("guard", "show", site.name, "--json", code=1).json["ours"] is False
