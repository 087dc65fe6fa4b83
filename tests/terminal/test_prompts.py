"""The command line's own prompts, answered in a real terminal: nothing begins that was not agreed to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.operations.program import Program, program_of
from tests.operations.test_lost_config import CHANGED, change_password, holding
from tests.terminal.hand import ENVIRONMENT, PROGRAM
from tests.terminal.tmux import Terminal

pytestmark = pytest.mark.lab
FIRST, SECOND = "sakura.example", "momiji.example"
GO_ON = r"Go on\? \[y/N\]: *$"


class Commands:
    """Runs commands of one operator's machine, each in a terminal of its own."""

    def __init__(self, program: Program, folder: Path, stack: ExitStack) -> None:
        self._program, self._folder, self._stack = program, folder, stack

    def __call__(self, *words: str) -> Terminal:
        settings = {key: self._program.environment[key] for key in ("MODOSERU_CONFIG", "MODOSERU_STATE")}
        return self._stack.enter_context(Terminal(self._folder, [str(PROGRAM), *words], ENVIRONMENT | settings))


@pytest.fixture(scope="module")
def program(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Two sites with one generation each, and an update to offer to both."""
    for name in (FIRST, SECOND):
        site = lab.reset(lab.site(name))
        lab.put_plugin(site, "good-plugin")
    made = program_of(lab, tmp_path_factory.mktemp("prompts"))
    made("backup", FIRST, SECOND)
    return made


@pytest.fixture
def command(program: Program, tmp_path: Path) -> Iterator[Commands]:
    with ExitStack() as stack:
        yield Commands(program, tmp_path, stack)


def operations(program: Program, site: str) -> int:
    return len(program("operations", site, "--json").json["operations"])


@pytest.mark.parametrize(("key", "code"), [("C-c", 130), ("C-d", 130), ("Enter", 2)])
def test_a_prompt_that_is_left_begins_nothing(program: Program, command: Commands, key: str, code: int) -> None:
    before = operations(program, FIRST)
    terminal = command("restore", FIRST)
    terminal.until(rf"The site is not broken\. Type {FIRST} to go on: *$")
    terminal.press(key)
    assert terminal.ended() == code
    assert "defect" not in terminal.screen
    assert "Traceback" not in terminal.screen
    assert operations(program, FIRST) == before


def test_another_name_is_no_agreement(program: Program, command: Commands) -> None:
    before = operations(program, FIRST)
    terminal = command("restore", FIRST)
    terminal.until("to go on: *$")
    terminal.type(SECOND)
    terminal.press("Enter")
    assert terminal.ended() == 2
    assert "that is another name" in terminal.screen
    assert operations(program, FIRST) == before


def test_a_no_to_one_site_keeps_none_of_the_others_from_what_was_agreed(
    lab: Lab, program: Program, command: Commands
) -> None:
    lab.wporg.offer({"good-plugin": "1.1"})
    before = operations(program, SECOND)
    try:
        terminal = command("update", FIRST, SECOND)
        terminal.until(GO_ON)
        terminal.type("y")
        terminal.press("Enter")
        terminal.until(lambda screen: screen.count("Go on?") == 2)
        terminal.type("n")
        terminal.press("Enter")
        assert terminal.ended(120) == 2
    finally:
        lab.wporg.offer()
    assert f"{FIRST}: update done" in terminal.screen
    assert f"{SECOND} was not changed" in terminal.screen
    assert operations(program, SECOND) == before


def test_a_database_password_is_asked_for_and_never_shown_and_a_wrong_one_is_asked_for_again(
    lab: Lab, program: Program, command: Commands
) -> None:
    site = lab.site(FIRST)
    change_password(lab, site)
    site.config_file.unlink()
    try:
        before = operations(program, FIRST)
        terminal = command("restore", FIRST)
        known = f"[{site.db_name}]", f"[{site.db_user}]", f"[{site.db_host}]"
        for times, secret in enumerate(("not this one", CHANGED), 1):
            for one in known:
                terminal.until(lambda screen, one=one, times=times: screen.count(f"{one}:") == times)  # type: ignore[misc]
                terminal.press("Enter")
            terminal.until(lambda screen, times=times: screen.count("(not shown):") == times)  # type: ignore[misc]
            terminal.type(secret)
            terminal.press("Enter")
        terminal.until("to go on: *$|" + GO_ON)
        assert "not this one" not in terminal.screen
        assert CHANGED not in terminal.screen
        assert operations(program, FIRST) == before
        terminal.type("y" if "Go on?" in terminal.screen else FIRST)
        terminal.press("Enter")
        assert terminal.ended(120) == 0
        assert f"{FIRST}: restore done" in terminal.screen
        assert site.title in lab.fetch(site)[1]
        assert holding(CHANGED, site.home / ".modoseru" / FIRST, program.state) == []
    finally:
        lab.reset(site)


def test_a_password_prompt_that_is_left_gives_the_terminal_its_echo_back(
    lab: Lab, program: Program, command: Commands
) -> None:
    site = lab.reset(lab.site(FIRST))
    program("backup", FIRST)
    change_password(lab, site)
    site.config_file.unlink()
    try:
        before = operations(program, FIRST)
        terminal = command("restore", FIRST)
        for _ in range(3):
            terminal.until(r"\]: *$")
            terminal.press("Enter")
        terminal.until(r"\(not shown\): *$")
        terminal.press("C-d")
        assert terminal.ended() == 130
        assert operations(program, FIRST) == before
    finally:
        lab.reset(site)
