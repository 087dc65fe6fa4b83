"""Takes turns between us and a peer in one run, and prints the medians with the raw times beside the ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

RUNS = 5


class Row(NamedTuple):
    """One comparison; times in seconds."""

    what: str
    target: str
    ours: list[float]
    peer: str
    theirs: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.theirs)

    def lines(self) -> list[str]:
        def raw(times: list[float]) -> str:
            return f"{statistics.median(times):8.3f} s   ({' '.join(f'{one:.3f}' for one in times)})"

        return [
            self.what,
            f"  modoseru        {raw(self.ours)}",
            f"  {self.peer:<15} {raw(self.theirs)}",
            f"  ratio {self.ratio:.2f}   target {self.target}",
        ]


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(
    ours: Callable[[], float], theirs: Callable[[], float], runs: int = RUNS
) -> tuple[list[float], list[float]]:
    """Each returns its own seconds; one of each is thrown away first, then A B A B …"""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(runs)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
