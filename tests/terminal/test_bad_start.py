"""`modoseru` where it cannot open, or hardly: one line a problem on the plain terminal, never a broken screen."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.operations.program import SCRIPT, Program
from tests.operations.test_bad_input import another_key
from tests.terminal.hand import Hand
from tests.terminal.tmux import Terminal

SITE = """name = "kogyo.example"
url = "https://127.0.0.1:9/"
[ssh]
host = "127.0.0.1"
port = 9
user = "kogyo"
key = "/key"
[server]
root = "~/public_html"
[domain]
expires = 2035-01-01
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A fleet of one site whose server does not answer, and a journal that was written once."""
    made = Program(tmp_path / "config", tmp_path / "state")
    (made.config / "sites.d").mkdir(parents=True)
    write(made, SITE.replace("/key", str(another_key(tmp_path))))
    made("status")
    return made


def write(program: Program, site: str) -> None:
    (program.config / "sites.d" / "kogyo.example.toml").write_text(site)


def dashboard(
    program: Program, environment: Mapping[str, str] | None = None, size: tuple[int, int] = (120, 40)
) -> Hand:
    names = ("MODOSERU_CONFIG", "MODOSERU_STATE")
    told = {name: program.environment[name] for name in names} | dict(environment or {})
    return Hand(program.config.parent, environment=told, size=size)


def refused(program: Program, code: int) -> list[str]:
    """The lines on the terminal after `modoseru` has ended there."""
    with dashboard(program) as hand:
        assert hand.ended() == code
        assert not hand.alternate
        lines = [line.rstrip() for line in hand.scroll.splitlines() if line.strip()]
    assert not [line for line in lines if "Traceback" in line]
    return [line for line in lines if not line.startswith("Pane is dead")]


def told_by_status(program: Program, code: int) -> list[str]:
    """The same, where no screen is asked for."""
    answer = program("status", code=code)
    assert answer.out == ""
    return answer.err.splitlines()


# ---------------------------------------------------------------- the configuration


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('url = "', "url = ", r"sites\.d/kogyo\.example\.toml: line 2, column \d+"),
        ('user = "kogyo"', 'user = "kogyo"\nuserr = "x"', r"sites\.d/kogyo\.example\.toml: ssh\.userr: unknown key"),
        ("port = 9", 'port = "nine"', r"sites\.d/kogyo\.example\.toml: ssh\.port: "),
        ("port = 9", "port = 70000", r"sites\.d/kogyo\.example\.toml: ssh\.port: "),
        ('host = "127.0.0.1"', 'host = ""', r"sites\.d/kogyo\.example\.toml: ssh\.host: "),
        ('root = "~/public_html"', 'root = "public html;"', r"sites\.d/kogyo\.example\.toml: server\.root: "),
        ('url = "https', 'url = "gopher', r"sites\.d/kogyo\.example\.toml: url: "),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_line_with_file_and_key(
    program: Program, old: str, new: str, told: str
) -> None:
    assert old in SITE
    write(program, SITE.replace(old, new, 1))
    first, *rest = refused(program, 2)
    assert re.match(rf"modoseru: {told}", first)
    assert rest == ["  → correct the lines named; nothing was changed"]
    assert told_by_status(program, 2) == [first, *rest]


def test_several_problems_are_a_line_each(program: Program) -> None:
    write(program, SITE.replace("port = 9", "port = 0\ncolour = 1"))
    (program.config / "fleet.toml").write_text('[fleet]\ntimezone = "Mars"\n')
    *lines, hint = refused(program, 2)
    assert [line.split(": ")[1:3] for line in lines] == [
        ["fleet.toml", "fleet.timezone"],
        ["sites.d/kogyo.example.toml", "ssh.colour"],
        ["sites.d/kogyo.example.toml", "ssh.port"],
    ]
    assert hint.startswith("  → ")


def test_a_file_that_is_binary_or_hostile_reaches_no_terminal(program: Program) -> None:
    (program.config / "sites.d" / "kogyo.example.toml").write_bytes(b"\x1b]0;evil\x07\xff\xfe = 1\n")
    (line, _) = refused(program, 2)
    assert line.startswith("modoseru: sites.d/kogyo.example.toml: ")
    write(program, SITE.replace('"kogyo"', '"\\u001b[2J\\u202eevil"'))
    (line, _) = refused(program, 2)
    assert "ssh.user" in line
    assert "\x1b" not in line
    assert "\u202e" not in line


# ---------------------------------------------------------------- the journal


def journal(program: Program) -> Path:
    (found,) = program.state.rglob("journal.db")
    return found


@contextlib.contextmanager
def held(file: Path) -> Iterator[None]:
    """Another process is writing and does not end."""
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        database.close()


def test_a_journal_that_another_process_holds(program: Program) -> None:
    with held(journal(program)):
        first, hint = refused(program, 1)
    assert first == f"modoseru: journal {journal(program)}: another process holds it"
    assert hint == "  → wait for that process, or end it"


def test_a_journal_that_is_none(program: Program) -> None:
    file = journal(program)
    for extra in file.parent.glob("journal.db-*"):
        extra.unlink()
    file.write_bytes(b"this is not a database" * 100)
    before = file.read_bytes()
    first, hint = refused(program, 1)
    assert first == f"modoseru: journal {file}: is not a journal"
    assert "set the file aside" in hint
    assert file.read_bytes() == before


@pytest.mark.lab  # it mounts, as root
def test_a_journal_on_a_full_disk(program: Program, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "modoseru-test", str(full)], check=True)
    try:
        (full / "filling").write_bytes(b"x" * (60 << 10))
        program.state = full
        program.environment["MODOSERU_STATE"] = str(full)
        first, hint = refused(program, 1)
    finally:
        subprocess.run(["umount", "-l", str(full)], check=True)
    assert re.match(rf"modoseru: journal {full}/\S+: (the disk is full|no space left on device)", first)
    assert "free some space" in hint


def test_a_journal_whose_folder_is_a_file(program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    program.environment["MODOSERU_STATE"] = str(tmp_path / "file")
    first, _ = refused(program, 1)
    assert first.startswith(f"modoseru: journal {tmp_path}/file/")


# ---------------------------------------------------------------- the terminal


@pytest.mark.parametrize("size", [(40, 10), (20, 5)])
def test_a_terminal_that_is_too_small_still_shows_the_site_and_ends(program: Program, size: tuple[int, int]) -> None:
    with dashboard(program, size=size) as hand:
        hand.until("kogyo")
        hand.press("b")
        hand.until("✖.*kogyo")
        hand.quit()


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "", "LANG": "", "LC_CTYPE": ""},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "xx_YY.KOI8-R", "TERM": "vt100"},
        {"NO_COLOR": "1", "COLORTERM": "", "TERM": "dumb"},
    ],
    ids=lambda environment: " ".join(f"{name}={value}" for name, value in environment.items()),
)
def test_without_a_locale_it_opens_in_english(program: Program, environment: dict[str, str]) -> None:
    with dashboard(program, environment) as hand:
        hand.until("kogyo.example")
        hand.until("Can it be restored")
        hand.press("b")
        hand.until("cannot connect")
        hand.quit()


@pytest.mark.parametrize("words", [[], ["demo"]])
@pytest.mark.parametrize("side", ["stdin", "stdout"])
def test_without_a_terminal_it_says_so(program: Program, words: list[str], side: str) -> None:
    ours, theirs = os.openpty()
    try:
        given = {"stdin": theirs, "stdout": theirs} | {side: subprocess.DEVNULL}
        done = subprocess.run(
            [SCRIPT, *words], **given, stderr=subprocess.PIPE, text=True, check=False, env=program.environment
        )  # type: ignore[call-overload]
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    first, hint = done.stderr.splitlines()
    assert first == "modoseru: the dashboard needs a terminal"
    assert hint.startswith("  → ")


DEFECTIVE = """
from app.cli import main
from app.screens.fleet import FleetScreen

def broken(self, news):
    password = "the password of the host"
    raise ZeroDivisionError("oops")

FleetScreen.show = broken
main([])
"""


def test_a_defect_of_the_screen_is_one_line_and_shows_no_locals(program: Program, tmp_path: Path) -> None:
    environment = {name: program.environment[name] for name in ("MODOSERU_CONFIG", "MODOSERU_STATE")}
    with Terminal(tmp_path, [sys.executable, "-c", DEFECTIVE], environment | {"LC_ALL": "C.UTF-8"}) as terminal:
        assert terminal.ended() == 3
        assert not terminal.alternate
        lines = [line.rstrip() for line in terminal.scroll.splitlines() if line.strip()]
    assert lines[0] == "modoseru: this is a defect of Modoseru: ZeroDivisionError: oops"
    assert lines[1].startswith("  → ")
    assert "password" not in "".join(lines)
