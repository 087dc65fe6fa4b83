"""`site` and `key` against a real sshd: a site comes into the fleet, is tried, and leaves it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import Lab, LabSite
from tests.operations.program import Program
from tests.operations.test_bad_input import another_host_key

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
NAME = "kogyo.example"


def flags(site: LabSite, **changed: str) -> list[str]:
    given = {
        "url": site.url, "host": site.ssh_host, "port": str(site.ssh_port), "user": site.account,
        "key": str(site.key), "root": site.root_in_home, "php": site.php, "connect": site.connect,
        "ca-file": str(site.ca_file), "owner": "duty A",
    } | changed  # fmt: skip
    return [word for name, value in given.items() for word in (f"--{name}", value)]


@pytest.fixture
def empty(program: Program) -> Program:
    """A fleet without a site."""
    for file in (program.config / "sites.d").iterdir():
        file.unlink()
    return program


def shown_by(lab: Lab, program: Program) -> str:
    """The fingerprint of the lab's host."""
    error = program("site", "add", "x.example", *flags(lab.site(NAME)), "--json", code=2).error
    assert error["code"] == "host_key_not_accepted"
    return error["hint"].split("--accept ")[1]


def test_a_site_is_added_tried_backed_up_and_removed(lab: Lab, fresh_site: Fresh, empty: Program) -> None:
    site = fresh_site(NAME)
    fingerprint = shown_by(lab, empty)
    assert list((empty.config / "sites.d").iterdir()) == []
    wrong = empty("site", "add", NAME, *flags(site), "--accept", "SHA256:wrong", "--json", code=2)
    assert wrong.error["code"] == "host_key_not_accepted"

    added = empty("site", "add", NAME, *flags(site), "--accept", fingerprint, "--json").json
    assert added == {"site": NAME, "file": added["file"], "host_key": fingerprint}
    file = Path(added["file"])
    table = tomllib.loads(file.read_text())
    assert table["ssh"]["host_key"].split()[:2] == site.host_key.split()[:2]
    assert table["server"]["root"] == site.root_in_home
    assert file.stat().st_mode & 0o777 == 0o600
    again = empty("site", "add", NAME, *flags(site), "--accept", "yes", "--json", code=2)
    assert again.error["code"] == "site_exists"

    (row,) = empty("site", "list", "--json").json["sites"]
    assert row["account"] == f"{site.account}@127.0.0.1:{site.ssh_port}"
    (tested,) = empty("site", "test", "--json").json["sites"]
    assert {step["name"]: step["ok"] for step in tested["steps"]} == dict.fromkeys(
        ["login", "agent", "WordPress", "database", "detached work", "pages"], True
    )
    empty("backup", NAME)
    assert empty("site", "remove", NAME, "--json", code=2).error["code"] == "not_confirmed"
    assert empty("site", "remove", NAME, "--yes", "--json").json == {"site": NAME, "removed": True}
    assert not file.exists()
    assert empty("status", "--json").json == {"sites": [], "feed": None}
    assert list((site.home / ".modoseru").glob("*/generations/*"))  # what lies on the server stays


def test_the_awkward_host_is_understood(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("higashi.example")
    (tested,) = program("site", "test", site.name, "--json").json["sites"]
    steps = {step["name"] for step in tested["steps"]}
    assert {"login", "agent", "WordPress", "database", "detached work", "pages"} <= steps
    text = program("site", "test", site.name)
    assert text.out.startswith(f"{site.name}\n  ✔ login")


def test_a_failure_ends_what_depends_on_it_and_the_pages_are_still_looked_at(
    lab: Lab, program: Program, tmp_path: Path
) -> None:
    site = lab.site(NAME)
    program.write_site(site, {"ssh.key": str(tmp_path / "none")})
    (tested,) = program("site", "test", NAME, "--json", code=1).json["sites"]
    assert [(step["name"], step["ok"]) for step in tested["steps"]] == [("login", False), ("pages", True)]
    assert tested["steps"][0]["hint"]


def test_read_only_tries_without_leaving_anything_on_the_site(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site(NAME)
    before = sorted(path.name for path in site.root.iterdir())
    (tested,) = program("site", "test", NAME, "--read-only", "--json").json["sites"]
    (detached,) = [step for step in tested["steps"] if step["name"] == "detached work"]
    assert detached["detail"] == "not tried: read-only"
    assert sorted(path.name for path in site.root.iterdir()) == before
    assert program("operations", NAME, "--json").json == {"operations": []}


def test_a_changed_host_key_is_shown_and_pinned_only_by_its_fingerprint(lab: Lab, program: Program) -> None:
    site = lab.site(NAME)
    program.write_site(site, {"ssh.host_key": another_host_key()})
    (row,) = program("key", "show", NAME, "--json", code=1).json["keys"]
    assert row["state"] == "CHANGED"
    refused = program("key", "accept", NAME, "--json", code=2).error
    assert row["shown"] in refused["message"]
    assert program("key", "accept", NAME, "--accept", row["shown"], "--read-only", code=2)
    program("key", "accept", NAME, "--accept", row["shown"], "--json")
    (row,) = program("key", "show", NAME, "--json").json["keys"]
    assert row["state"] == "pinned"
    (login,) = program("key", "test", NAME, "--ssh", "--json").json["logins"]
    assert login["state"] == "ok"
    kept = tomllib.loads((program.config / "sites.d" / f"{NAME}.toml").read_text())
    assert kept["web"]["connect"] == site.connect
    assert str(kept["domain"]["expires"]) == "2035-01-01"


def test_a_new_key_logs_in_once_the_account_knows_it(
    lab: Lab, fresh_site: Fresh, program: Program, tmp_path: Path
) -> None:
    site = fresh_site(NAME)
    made = program("key", "new", str(tmp_path / "new"), "--ssh", "--json").json
    program.write_site(site, {"ssh.key": made["key"]})
    (login,) = program("key", "test", NAME, "--ssh", "--json", code=1).json["logins"]
    assert login["state"] == "ssh_auth"
    authorized = site.home / ".ssh" / "authorized_keys"
    before = authorized.read_text()
    try:
        authorized.write_text(f"{before}{made['public']}\n")
        (login,) = program("key", "test", NAME, "--ssh", "--json").json["logins"]
        assert login["state"] == "ok"
    finally:
        authorized.write_text(before)


def test_every_login_is_tried_though_some_are_refused(lab: Lab, program: Program, tmp_path: Path) -> None:
    program.write_site(lab.site(NAME), {"ssh.user": "nobody-here"})
    rows = {row["site"]: row["state"] for row in program("key", "test", "--ssh", "--json", code=1).json["logins"]}
    assert rows.pop(NAME) == "ssh_auth"
    assert set(rows.values()) == {"ok"}
    assert len(rows) == 4
