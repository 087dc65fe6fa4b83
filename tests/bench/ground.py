"""What a part of the bench stands on: a built site in the lab, its account, and room for the peers."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.server import Server, Told
from tests.bench.site import BenchSite
from tests.lab import Lab

NAME = "kogyo.example"
SETTLED = 3.0
"""Seconds after a change: what is younger than 2 s is read by us again, and no site changes just before its backup."""


class Ground:
    """A built site, its account, and an empty folder of that account for what the peers store."""

    def __init__(self, lab: Lab, scale: float) -> None:
        self.site = BenchSite(lab, NAME, scale)
        self.shape = self.site.build()
        self.server = Server(self.site.site)
        self.server.install()
        self.folder = self.site.site.home / "bench"
        self.folder.mkdir()
        shutil.chown(self.folder, self.site.site.account, self.site.site.account)
        self._operator = tempfile.TemporaryDirectory()
        time.sleep(SETTLED)

    def operator(self) -> Path:
        """The folder of an operator's own machine."""
        return Path(self._operator.name)

    def close(self) -> None:
        self._operator.cleanup()


@contextlib.contextmanager
def ground(scale: float) -> Iterator[Ground]:
    """The lab is left as it was found, its site in its first state."""
    lab = Lab()
    found_running = lab.running
    lab.up()
    try:
        here = Ground(lab, scale)
        try:
            yield here
        finally:
            here.close()
    finally:
        # The pristine tree comes back over it: all that a bench has made in the account's home goes.
        lab.reset(lab.site(NAME))
        if not found_running:
            lab.down()


def steps(told: Sequence[Told]) -> str:
    """Where the time of the median run went."""
    middle = sorted(told, key=lambda one: one.cost.wall)[len(told) // 2]
    return "steps of the median run: " + ", ".join(f"{name} {took:.2f} s" for name, took in middle.steps.items())
