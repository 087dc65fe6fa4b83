"""Ctrl-C and kill -9 on the operator's machine: an operation is cancelled, or goes on and is found again."""

from __future__ import annotations

import shutil
import signal
import socket

import pytest

from tests.lab import Lab, LabSite
from tests.operations.program import Program
from tests.operations.test_main_job import files, rows

pytestmark = pytest.mark.lab
NAME = "minato.example"


@pytest.fixture(scope="module")
def reset(lab: Lab) -> LabSite:
    return lab.reset(lab.site(NAME))


@pytest.fixture
def site(reset: LabSite, program: Program) -> LabSite:
    """Never backed up; its server works so slowly that there is time to interrupt it."""
    shutil.rmtree(reset.home / ".modoseru", ignore_errors=True)
    program.write_site(reset, {"server.cpu": 0.3})
    return reset


def operation_in(line: str) -> str:
    return line.split('"operation":"')[1].split('"', maxsplit=1)[0]


def test_the_first_ctrl_c_cancels_and_the_site_is_as_before(lab: Lab, site: LabSite, program: Program) -> None:
    program.write_site(site)
    program("backup", NAME)
    program.write_site(site, {"server.cpu": 0.1})
    (site.root / "new.txt").write_text("new")
    before = files(site), rows(lab, site)
    running = program.start("restore", NAME, "--yes", "--json")
    running.until("stage")
    running.signal(signal.SIGINT)
    ended = running.ended(130)
    assert ended.json["outcome"] == "cancelled"
    assert "asked to cancel" in ended.err
    assert (files(site), rows(lab, site)) == before


def test_the_second_ctrl_c_leaves_it_running_and_says_how_to_follow_it(site: LabSite, program: Program) -> None:
    running = program.start("backup", NAME)
    running.until("database")
    running.signal(signal.SIGINT)
    running.until("asked to cancel")
    running.signal(signal.SIGINT)
    left = running.ended(3)
    assert "goes on there" in left.err
    line = next(line for line in left.err.splitlines() if "modoseru follow" in line)
    words = line.split("modoseru ")[1].split()
    answer = program(*words, "--json", code=None)
    assert answer.json["outcome"] in {"cancelled", "done"}  # the first Ctrl-C had asked


def test_ctrl_c_before_anything_began_says_that_nothing_did(site: LabSite, program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program.write_site(site, {"ssh.port": silent.getsockname()[1]})
        running = program.start("restore", NAME, "--yes", "--json")
        connection, _ = silent.accept()
        running.signal(signal.SIGINT)
        assert running.ended(130).error["code"] == "interrupted"
        connection.close()
    assert program("operations", NAME, "--json").json == {"operations": []}


def test_kill_9_of_the_client_is_found_again_by_operations_and_follow(site: LabSite, program: Program) -> None:
    running = program.start("backup", NAME, "--progress", "json")
    operation = operation_in(running.until('"started"'))
    running.until('"step"')
    running.signal(signal.SIGKILL)
    running.ended(-signal.SIGKILL)
    (found,) = program("operations", "--json").json["operations"]
    assert (found["operation"], found["outcome"]) == (operation, None)
    text = program("operations")
    assert "running" in text.out
    assert f"modoseru follow {NAME} {operation}" in text.err
    done = program("follow", NAME, operation, "--json").json
    assert (done["operation"], done["outcome"]) == (operation, "done")
    assert program("operations", "--json").json == {"operations": []}


def test_cancel_from_another_process_ends_both_of_them(site: LabSite, program: Program) -> None:
    program.write_site(site, {"server.cpu": 0.1})
    running = program.start("backup", NAME, "--progress", "json", "--json")
    operation = operation_in(running.until('"started"'))
    assert program("cancel", NAME, operation, "--json").json["outcome"] == "cancelled"
    assert running.ended(130).json["outcome"] == "cancelled"
    again = program("cancel", NAME, operation, "--json", code=1).error
    assert again["code"] == "ended"
    assert program("generations", NAME, "--json").json["generations"] == []


def test_a_reader_that_goes_away_does_not_stop_the_operation(site: LabSite, program: Program) -> None:
    program.write_site(site)
    running = program.start("backup", NAME, "--progress", "json")
    running.until('"started"')
    assert running.process.stderr is not None
    assert running.process.stdout is not None
    running.process.stderr.close()
    running.process.stdout.close()
    assert running.process.wait(60) == 0
    (done,) = program("operations", NAME, "--json").json["operations"]
    assert done["outcome"] == "done"
