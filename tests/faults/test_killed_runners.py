"""`kill -9` of `modoseru` itself in every step of an operation: the work goes on, and who follows it is told the same.

In CI in the steps in which a restore and an update change the site; MODOSERU_FAULTS=full: in every step of every kind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
import tomli_w

from tests.faults.points import Tracer
from tests.faults.test_other_faults import FULL, once_a_step
from tests.faults.updates import WordPressSite
from tests.lab import Lab
from tests.lab.configuration import site_table
from tests.lab.layout import choose_port, wait_until
from tests.operations.conftest import program
from tests.operations.program import Program

__all__ = ["program"]
pytestmark = pytest.mark.lab
HACKED = "wp-content/uploads/2026/photo.jpg"


class Operator:
    """A small WordPress, its own web server, and `modoseru` with that site alone."""

    def __init__(self, site: WordPressSite, program: Program, port: int) -> None:
        self.site, self.program = site, program
        self.tracer = Tracer(site)
        address = f"http://127.0.0.1:{port}"
        site.sql(
            f"UPDATE `{site.prefix}options` SET option_value = '{address}' WHERE option_name IN ('home', 'siteurl')"
        )
        for file in (program.config / "sites.d").glob("*.toml"):
            file.unlink()
        table = site_table(site.within)
        table |= {"name": site.name, "url": f"{address}/", "web": {}}
        table["server"] = {"root": f"~/{site.root.relative_to(site.within.home)}", "php": str(self.tracer.php)}
        (program.config / "sites.d" / f"{site.name}.toml").write_text(tomli_w.dumps(table))

    def run(self, *words: str, code: int | None = 0) -> dict[str, object]:
        verb, *more = words
        found: dict[str, object] = self.program(verb, self.site.name, *more, "--json", code=code).json
        return found

    def ruins(self) -> None:
        self.site.write(HACKED, b"hacked")
        self.site.write("wp-content/uploads/shell.php", b"<?php shell();")

    def operations(self) -> set[str]:
        return {path.name for path in (self.site.state / "ops").glob("2*")}


@pytest.fixture
def operator(lab: Lab, program: Program) -> Iterator[Operator]:
    site = WordPressSite(lab, lab.site("kogyo.example"), "r1.example").grow()
    port = choose_port(None, set())
    with served(site, port):
        made = Operator(site, program, port)
        yield made
        made.tracer.remove()
    site.remove()


@contextlib.contextmanager
def served(site: WordPressSite, port: int) -> Iterator[None]:
    account = [f"--reuid={site.within.uid}", f"--regid={site.within.uid}", "--clear-groups"]
    server = subprocess.Popen(
        ["setpriv", *account, "php", "-S", f"127.0.0.1:{port}", "-t", str(site.root)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={"HOME": str(site.within.home), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    try:
        wait_until(lambda: answers(port), 20, "the site's web server")
        yield
    finally:
        server.kill()
        server.wait()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def nothing(_: Operator) -> None:
    """The site is ready for it as it is."""


def restored(operator: Operator) -> None:
    operator.run("restore", "--yes")


def undone(operator: Operator) -> None:
    operator.run("undo", "--yes")


Step = Callable[[Operator], None]
KINDS: dict[str, tuple[tuple[str, ...], Step, Step]] = {
    "restore": (("--yes",), nothing, undone),
    "undo": (("--yes",), restored, nothing),
    "update": (("--yes",), nothing, undone),
    "backup": ((), nothing, nothing),
    "drill": ((), nothing, nothing),
}
"""What is said behind the command and the site, what makes the site ready for it, and what takes it back."""


CHANGING = {"restore": ("switch", "check"), "update": ("update",)}


@pytest.mark.parametrize("kind", KINDS if FULL else CHANGING)
def test_an_operation_whose_runner_is_killed_goes_on_and_is_followed_to_the_same_end(
    operator: Operator, kind: str
) -> None:
    words, ready, back = KINDS[kind]
    operator.run("check", code=None)  # WordPress makes its salts when it is first asked for a page.
    operator.run("backup")
    operator.ruins()
    for _ in range(2):  # The first one finds out what the later ones know.
        ready(operator)
        operator.tracer.watch()
        whole = operator.run(kind, *words, code=None)
        new = operator.site.looks()
        back(operator)
    points = once_a_step(operator.tracer.points())
    for point in points if FULL else [one for one in points if one.step in CHANGING[kind]]:
        ready(operator)
        operator.tracer.stop_at(point)
        told = killed_in_the_middle(operator, kind, *words)
        assert (told["outcome"], names(told)) == (whole["outcome"], names(whole)), point
        assert operator.site.looks().differs(new) == "", point
        assert operator.site.litter() == []
        assert operator.program("operations", "--json").json == {"operations": []}
        back(operator)
    print(f"{kind}: {len(points)} steps")


def killed_in_the_middle(operator: Operator, kind: str, *words: str) -> dict[str, object]:
    """What a second runner is told of the operation."""
    before = operator.operations()
    running = operator.program.start(kind, operator.site.name, *words)
    operator.tracer.await_stop()
    running.signal(signal.SIGKILL)
    running.ended(-signal.SIGKILL)
    operator.tracer.go_on()
    (operation,) = operator.operations() - before
    return operator.run("follow", operation, code=None)


def names(told: dict[str, object]) -> list[str]:
    steps = told["steps"]
    assert isinstance(steps, list)
    return [step["name"] for step in steps]
