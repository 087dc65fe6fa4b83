"""Crash points: system calls of a real worker, numbered by strace, at any of which that worker can be killed.

The product knows nothing of it. `[server] php` of the site is a small script that runs PHP under its own name, so that
the agent starts its worker by it too; where an order lies ready, the worker is started under strace, which kills it as
it enters the call that the order names: the kernel then never carries that call out.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.agent.small import Small
from tests.lab.layout import wait_until
from tests.lab.processes import owned_by

CALLS = (
    *("fsync", "fdatasync", "rename", "renameat2", "link", "symlink", "unlink", "rmdir", "mkdir", "ftruncate"),
    *("chmod", "utimensat", "sendto", "recvfrom"),
)
"""What changes the disk or the database. Writes of content are not among them: without the fsync or the rename that
follows, they stand for nothing."""
SEEN = (*CALLS, "write")
SCRIPT = """#!/bin/bash
if [[ " $* " == *" {process} "* || " $*" == *" {process}" ]] && mv {order} {order}.taken 2>/dev/null; then
    exec strace -D -y -s 4000 -o {trace} $(cat {order}.taken) {php} "$@"
fi
exec -a "$0" {php} "$@"
"""


ASKED = re.compile(
    r"\b(RENAME TABLE|LOCK TABLES|(?:CREATE|DROP)\b.*?\b(?:TABLE|VIEW|TRIGGER)"
    r"|INSERT INTO|DELETE FROM|UPDATE|COMMIT)\b"
)
"""Statements that change or hold something; a process that dies over any other leaves the database as it was."""


Kind = tuple[str, str, str]
"""Step, call, and what it touches."""


class Point(NamedTuple):
    """The `number`th `call` of the worker, which falls into `step` and touches `what`."""

    call: str
    number: int
    step: str
    what: str

    @property
    def kind(self) -> Kind:
        return self.step, self.call, self.what

    def __str__(self) -> str:
        return f"{self.step}: {self.call} {self.number} ({self.what})"


class Tracer:
    """The script that stands for PHP on one site, its orders and its traces."""

    def __init__(self, site: Small, process: str = "work") -> None:
        """`process`: the verb of the agent's process that orders are for."""
        self.site, self._process = site, process
        home = site.within.home
        self.php = home / f"{site.base.name}-php"
        self._order, self._trace = home / f"{site.base.name}.order", home / f"{site.base.name}.trace"
        php = shutil.which(site.within.php)
        assert php is not None
        self.php.write_text(SCRIPT.format(process=process, order=self._order, trace=self._trace, php=php))
        self.php.chmod(0o755)

    def watch(self) -> None:
        """The next worker is traced to its end."""
        self._put(f"-e trace={','.join(SEEN)}")

    def kill_at(self, point: Point) -> None:
        """The next worker dies at that call."""
        self._put(f"-e trace={','.join(SEEN)} -e inject={point.call}:signal=SIGKILL:when={point.number}")

    def stop_at(self, point: Point) -> None:
        """The next worker stops as it enters that call, and stays so until `go_on`."""
        self._put(f"-e trace={','.join(SEEN)} -e inject={point.call}:signal=SIGSTOP:when={point.number}")

    def await_stop(self) -> None:
        wait_until(
            lambda: self._trace.exists() and "--- stopped by SIGSTOP ---" in self._trace.read_text(errors="replace"),
            20, "the worker to stop at its point",
        )  # fmt: skip

    def go_on(self) -> None:
        for pid in owned_by([self.site.within.uid]):
            with contextlib.suppress(OSError):
                if self._process.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    os.kill(pid, signal.SIGCONT)

    def points(self) -> list[Point]:
        """What the last traced worker did."""
        self._await_end()
        lines = self._trace.read_text(errors="replace").splitlines()
        if self._process == "work":
            return list(points_of(lines, self.site, "start"))
        # What WordPress itself asks of its database depends on what it happens to remember.
        found = points_of(lines, self.site, self._process)
        return [point for point in found if point.call not in ("sendto", "recvfrom")]

    def killed(self) -> bool:
        """Whether the last worker that had an order died of it."""
        self._await_end()
        return "+++ killed by SIGKILL +++" in self._trace.read_text(errors="replace")

    def remove(self) -> None:
        for path in self.php.parent.glob(f"{self.site.base.name}[-.]*"):
            if path.is_file():
                path.unlink()

    def _put(self, order: str) -> None:
        for path in (self._trace, self._order.with_name(f"{self._order.name}.taken")):
            path.unlink(missing_ok=True)
        part = self._order.with_name(f"{self._order.name}.part")
        part.write_text(order)
        os.chown(part, self.site.within.uid, self.site.within.uid)
        part.rename(self._order)

    def _await_end(self) -> None:
        """strace writes the last line after its worker's end."""
        wait_until(lambda: "\n+++ " in self._trace.read_text(errors="replace"), 20, "the end of the traced worker")


def points_of(lines: Iterable[str], site: Small, step: str = "start") -> Iterator[Point]:
    """The trace's calls, counted for each name, in the steps that the worker wrote into its journal."""
    counts: dict[str, int] = {}
    asked: str | None = None
    for line in lines:
        found = re.match(r"(\w+)\((.*)", line)
        if not found:
            continue
        call, rest = found[1], found[2]
        if call == "write" and "/journal>" in rest:
            step = ([step, *re.findall(r'\{\\"type\\":\\"step\\"[^{]*\\"name\\":\\"(\w+)', rest)])[-1]
        if call not in CALLS:
            continue
        counts[call] = counts.get(call, 0) + 1
        if call == "sendto":
            asked = statement(rest)
        what = asked if call in ("sendto", "recvfrom") else place(rest, site)
        if what is not None:
            yield Point(call, counts[call], step, what)
        if call == "recvfrom":
            asked = None


def statement(rest: str) -> str | None:
    """The first words of what is asked of the database; None where that changes nothing."""
    found = ASKED.search(re.sub(r"\\[0-7]{1,3}|\\.", " ", rest.partition('"')[2][:300]))
    return " ".join(dict.fromkeys(re.findall(r"[A-Z]{4,}", found[1]))) if found else None


def place(rest: str, site: Small) -> str | None:
    """What the path (the last one that is named) belongs to; None for PHP's own temporary files."""
    paths = re.findall(rf"{re.escape(str(site.within.home))}/[^\"<>]*", rest)
    if not paths:
        return None
    path = Path(paths[-1])
    if path == site.root:
        return "root"
    if path.is_relative_to(site.root):
        first = path.relative_to(site.root).parts[0]
        return "page" if first.startswith("modoseru-") else first if first == ".maintenance" else "live"
    if path.is_relative_to(site.state):
        below = path.relative_to(site.state).parts
        return below[2] if below[0] == "ops" and len(below) > 2 else below[0]
    return "beside"
