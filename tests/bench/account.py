"""Processor time of what sshd starts for an account, and of the database server, as /proc tells it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.bench.ground import Ground
from tests.lab.processes import owned_by

EVERY = 0.02
TICK = 1 / os.sysconf("SC_CLK_TCK")


class Used(NamedTuple):
    """Seconds of one process, and of its children that ended and were waited for."""

    parent: int
    own: float
    children: float


def used(pid: int) -> Used | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b") ", 1)[1].split()
    except (OSError, IndexError):
        return None
    user, system, of_children, system_of_children = (int(field) * TICK for field in fields[11:15])
    return Used(int(fields[1]), user + system, of_children + system_of_children)


def database_cpu(here: Ground) -> float:
    found = used(here.site.lab.processes.leader("mariadb"))
    return found.own if found else 0.0


class Account:
    """Within `with`: watches the account's processes. `cpu` afterwards: theirs and the database server's.

    What a process used after it was last seen (20 ms at most) is missed; a child too short to be seen is in its
    parent's account.
    """

    def __init__(self, here: Ground) -> None:
        self._here, self._uid = here, here.site.site.uid
        self._first: dict[int, Used] = {}
        self._last: dict[int, Used] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.cpu = 0.0

    def __enter__(self) -> Account:
        self._database = database_cpu(self._here)
        self._look(self._first)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        alive = set(owned_by([self._uid]))
        nothing = Used(0, 0.0, 0.0)
        for pid, last in self._last.items():
            first = self._first.get(pid, nothing)
            seen = sum(
                one.own + one.children
                for child, one in self._last.items()
                if one.parent == pid and child not in alive and child not in self._first
            )
            self.cpu += last.own - first.own + max(0.0, last.children - first.children - seen)
        self.cpu += database_cpu(self._here) - self._database

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            self._look(self._last)

    def _look(self, into: dict[int, Used]) -> None:
        for pid in owned_by([self._uid]):
            if (found := used(pid)) is not None:
                into[pid] = found
