"""Takes turns between us and peers in one run, and prints the medians with the raw figures beside the ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
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
        return [
            self.what,
            f"  modoseru        {_raw(self.ours)}",
            f"  {self.peer:<15} {_raw(self.theirs)}",
            f"  ratio {self.ratio:.2f}   target {self.target}",
        ]


class Cost(NamedTuple):
    """What one run took of the server: seconds until its command ended, seconds of user and system time of all of its
    processes, bytes of the largest of them."""

    wall: float
    cpu: float
    peak: int


class Peer(NamedTuple):
    name: str
    costs: Sequence[Cost]
    target: str = "none"
    """What the ratio of the times must be at most."""
    cpu_target: str = "none"


class CostRow(NamedTuple):
    """One kind of work by us and by peers, taken in turns; `notes` say what is not alike, and where the time goes."""

    what: str
    ours: Sequence[Cost]
    peers: Sequence[Peer]
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        lines = [self.what, *_costs("modoseru", self.ours)]
        for peer in self.peers:
            lines += _costs(peer.name, peer.costs)
            wall = _median(self.ours, 0) / _median(peer.costs, 0)
            cpu = _median(self.ours, 1) / _median(peer.costs, 1)
            ratios = f"wall {wall:.2f} (target {peer.target})  cpu {cpu:.2f} (target {peer.cpu_target})"
            lines.append(f"    modoseru : {peer.name}  {ratios}")
        return lines + [f"  {note}" for note in self.notes]


class FactRow(NamedTuple):
    """What has no ratio: named figures with their targets, as they are to be printed."""

    what: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        return [
            self.what,
            *(f"  {name:<34} {value}" for name, value in self.facts),
            *(f"  {one}" for one in self.notes),
        ]


def _costs(name: str, costs: Sequence[Cost]) -> list[str]:
    peak = max(cost.peak for cost in costs) / 2**20
    return [
        f"  {name:<15} wall {_raw([cost.wall for cost in costs])}",
        f"  {'':<15} cpu  {_raw([cost.cpu for cost in costs])}" + (f"   peak {peak:.0f} MiB" if peak else ""),
    ]


def _raw(times: Sequence[float]) -> str:
    return f"{statistics.median(times):8.3f} s   ({' '.join(f'{one:.3f}' for one in times)})"


def _median(costs: Sequence[Cost], place: int) -> float:
    return statistics.median(cost[place] for cost in costs)


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
