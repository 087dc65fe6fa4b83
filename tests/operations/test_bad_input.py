"""What an operator can get wrong, and the ways in which a host can refuse: one clear line, and nothing changed."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.lab import Lab, LabSite
from tests.operations.program import Answer, Program

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
NAME = "minato.example"
LONGEST = 330
"""Characters of a message: what still reads as one sentence."""


def tree(site: LabSite) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in sorted(site.root.rglob("*"))}


@pytest.fixture
def site(lab: Lab) -> Iterator[LabSite]:
    """A site that must be afterwards what it was before."""
    found = lab.site(NAME)
    before = tree(found)
    yield found
    assert tree(found) == before


@pytest.fixture(scope="module", autouse=True)
def _fresh(lab: Lab) -> None:
    for name in (NAME, "higashi.example"):
        lab.reset(lab.site(name))


def another_key(folder: Path) -> Path:
    key = Ed25519PrivateKey.generate()
    file = folder / "another"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    )
    file.chmod(0o600)
    return file


def another_host_key() -> str:
    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def refused(program: Program, *words: str, code: int = 1) -> dict[str, str]:
    """The error of `--json`; as text it is the same one line, and what to do about it."""
    error = program(*words, "--json", code=code).error
    text = program(*words, code=code)
    assert text.out == ""
    lines = text.err.splitlines()
    assert lines[0].startswith("modoseru: ")
    assert len(lines) <= 2
    assert len(error["message"]) <= LONGEST
    assert error["hint"], error
    return error


def listed(program: Program, name: str = NAME) -> Answer:
    """Whatever is wrong inside, `check` lists the site and `status` remembers it."""
    answer = program("check", name, "--json", code=None)
    assert answer.json["sites"][0]["health"]["http_status"] == 200
    assert answer.code in {2, 3}
    assert program("status", name, "--json").json["sites"][0]["reasons"]
    return answer


# ---------------------------------------------------------------- the host and the login


def test_a_closed_port(site: LabSite, program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    program.write_site(site, {"ssh.port": port})
    error = refused(program, "backup", NAME)
    assert error["code"] == "ssh_unreachable"
    assert f"127.0.0.1:{port}" in error["message"]
    listed(program)


def test_a_host_that_does_not_exist(site: LabSite, program: Program) -> None:
    program.write_site(site, {"ssh.host": "no-such-host.invalid"})
    assert refused(program, "generations", NAME)["code"] == "ssh_unreachable"


def test_a_port_that_speaks_no_ssh(lab: Lab, site: LabSite, program: Program) -> None:
    program.write_site(site, {"ssh.port": int(site.connect.split(":")[1])})
    assert refused(program, "backup", NAME)["code"] in {"ssh_protocol", "ssh_unreachable"}


def test_a_refused_key(site: LabSite, program: Program, tmp_path: Path) -> None:
    program.write_site(site, {"ssh.key": str(another_key(tmp_path))})
    error = refused(program, "restore", NAME, "--yes")
    assert error["code"] == "ssh_auth"
    assert "refused the key" in error["message"]
    listed(program)


@pytest.mark.parametrize("broken", ["missing", "not a key", "a folder"])
def test_a_key_file_that_is_none(site: LabSite, program: Program, tmp_path: Path, broken: str) -> None:
    file = tmp_path / "key"
    if broken == "not a key":
        file.write_text("ssh-ed25519 AAAA")
    elif broken == "a folder":
        file.mkdir()
    program.write_site(site, {"ssh.key": str(file)})
    error = refused(program, "backup", NAME)
    assert error["code"] == "key_unreadable"
    assert str(file) in error["message"]


def test_no_key_and_no_agent(site: LabSite, program: Program) -> None:
    program.write_site(site, {"ssh.key": None})
    assert refused(program, "backup", NAME)["code"] == "ssh_auth"


def test_a_host_key_that_nobody_accepted_yet(site: LabSite, program: Program) -> None:
    program.write_site(site, {"ssh.host_key": None})
    error = refused(program, "backup", NAME)
    assert error["code"] == "ssh_host_key_unknown"
    assert "SHA256:" in error["message"]


def test_a_host_key_that_changed(site: LabSite, program: Program) -> None:
    program.write_site(site, {"ssh.host_key": another_host_key()})
    error = refused(program, "restore", NAME, "--yes")
    assert error["code"] == "ssh_host_key_changed"
    assert error["message"].count("SHA256:") == 2
    assert "nothing was sent" in error["hint"]
    listed(program)


def test_a_user_that_does_not_exist(site: LabSite, program: Program) -> None:
    program.write_site(site, {"ssh.user": "nobody-here"})
    assert refused(program, "backup", NAME)["code"] == "ssh_auth"


def test_a_jump_host_that_is_down(site: LabSite, program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    program.write_site(site, {"ssh.jump": f"127.0.0.1:{port}", "ssh.jump_host_key": site.host_key})
    error = refused(program, "backup", NAME)
    assert error["code"] == "jump_failed"
    assert "jump host" in error["message"]


# ---------------------------------------------------------------- what is on the server


@pytest.mark.parametrize("php", ["/usr/bin/php9.9", "no-such-php"])
def test_a_missing_php(site: LabSite, program: Program, php: str) -> None:
    program.write_site(site, {"server.php": php})
    error = refused(program, "backup", NAME)
    assert error["code"] == "no_php"
    assert php in error["message"]
    assert "[server] php" in error["hint"]
    listed(program)


def test_a_program_that_is_no_php(site: LabSite, program: Program) -> None:
    program.write_site(site, {"server.php": "/bin/true"})
    assert refused(program, "backup", NAME)["code"] == "no_php"


def test_an_old_php_that_comes_first_on_the_path(lab: Lab, program: Program) -> None:
    higashi = lab.site("higashi.example")
    program.write_site(higashi, {"server.php": "php"})
    error = refused(program, "backup", higashi.name)
    assert error["code"] == "no_php"
    assert "the agent gave no answer" in error["message"]
    assert "[server] php" in error["hint"]
    listed(program, higashi.name)


@pytest.mark.parametrize(("root", "code"), [("~/no-such-folder", "no_root"), ("~/.ssh", "no_config")])
def test_a_wrong_document_root(site: LabSite, program: Program, root: str, code: str) -> None:
    program.write_site(site, {"server.root": root})
    answer = program("backup", NAME, "--json", code=1).json
    told = answer.get("error", answer)
    assert root.removeprefix("~/") in (told.get("message") or told["detail"])
    found = listed(program).json["sites"][0]
    assert found["versions"]["wordpress"] is None
    tested = program("site", "test", NAME, code=1)
    assert "✖ WordPress" in tested.out
    assert code in {"no_root", "no_config"}


def test_a_home_that_cannot_be_written(lab: Lab, site: LabSite, program: Program) -> None:
    shutil.rmtree(site.home / ".modoseru", ignore_errors=True)
    mode = site.home.stat().st_mode
    site.home.chmod(0o511)
    try:
        error = refused(program, "backup", NAME)
        assert error["code"] == "no_state"
        assert "writable" in error["hint"]
        listed(program)
    finally:
        site.home.chmod(mode)


def test_a_full_disk(lab: Lab, site: LabSite, program: Program) -> None:
    shutil.rmtree(site.home / ".modoseru", ignore_errors=True)
    lab.small_disk(site, site.home / ".modoseru", 2 << 20)
    try:
        answer = program("backup", NAME, "--json", code=1).json
        told = answer.get("error") or {"code": answer["outcome"], "message": answer["detail"]}
        assert told["code"] in {"rolled_back", "no_space"}
        assert "MB" in told["message"] or "space" in told["message"] or "full" in told["message"]
        assert program("generations", NAME, "--json").json["generations"] == []
    finally:
        subprocess.run(["umount", "-l", str(site.home / ".modoseru")], check=True)


def test_a_disk_so_full_that_not_even_the_agent_fits(lab: Lab, site: LabSite, program: Program) -> None:
    shutil.rmtree(site.home / ".modoseru", ignore_errors=True)
    lab.small_disk(site, site.home / ".modoseru", 64 << 10)
    try:
        assert refused(program, "backup", NAME)["code"] == "no_state"
        listed(program)
    finally:
        subprocess.run(["umount", "-l", str(site.home / ".modoseru")], check=True)


# ---------------------------------------------------------------- generations, operations, parts


def test_generations_and_operations_that_are_none(lab: Lab, site: LabSite, program: Program) -> None:
    shutil.rmtree(site.home / ".modoseru", ignore_errors=True)
    never = refused(program, "restore", NAME, "--yes")
    assert "never backed up" in never["message"]
    assert refused(program, "undo", NAME, "--yes")["code"] == "nothing_to_undo"
    program("backup", NAME)
    for command in (["restore", "--yes"], ["verify"], ["diff"], ["restore", "--dry-run"]):
        words = (command[0], NAME, "20200101T000000Z", *command[1:])
        assert refused(program, *words)["code"] == "no_generation"
        words = (command[0], NAME, "../../etc", *command[1:])
        assert refused(program, *words, code=2)["code"] == "bad_generation"
    operation = "20200101T000000Z-restore-abcdef"
    for verb in ("follow", "cancel"):
        assert refused(program, verb, NAME, operation)["code"] == "no_operation"
    assert refused(program, "restore", NAME, "--only", "../etc", "--yes")["code"] == "bad_request"
    gone = program("restore", NAME, "--only", "no/such/file", "--yes", "--json", code=1)
    assert "no/such/file" in gone.out
    kinds = {
        one["kind"] for one in program("operations", NAME, "--json").json["operations"] if one["outcome"] == "done"
    }
    assert kinds == {"backup"}


def test_one_bad_site_does_not_keep_the_others_from_their_backup(
    lab: Lab, site: LabSite, program: Program, tmp_path: Path
) -> None:
    program.write_site(site, {"ssh.key": str(tmp_path / "none")})
    lab.reset(lab.site("sakura.example"))
    found = program("backup", NAME, "sakura.example", "--json", code=1).json["operations"]
    assert found[0]["site"] == NAME
    assert found[0]["error"]["code"] == "key_unreadable"
    assert (found[1]["site"], found[1]["outcome"]) == ("sakura.example", "done")
    text = program("backup", NAME, "sakura.example", code=1)
    assert f"{NAME}: key " in text.err
    assert "sakura.example: backup done" in text.out
