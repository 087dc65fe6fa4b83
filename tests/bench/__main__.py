"""`python -m tests.bench [PART…] [--scale X] [--runs N]` prints the comparisons of the issues; a peer that is absent
fails."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from tests.bench import availability, generations, guard, holes, memory, restores, servers, signs, start, updates, vault
from tests.lab import LabError


class Shown(Protocol):
    def lines(self) -> list[str]: ...


PLAIN: dict[str, Callable[[], Sequence[Shown]]] = {"start": start.rows, "servers": servers.rows, "signs": signs.rows}
SCALED: dict[str, Callable[[float, int], Iterable[Shown]]] = {
    "generations": generations.rows,
    "restore": restores.rows,
    "availability": availability.rows,
    "memory": memory.rows,
    "holes": holes.rows,
    "vault": vault.rows,
    "updates": updates.rows,
    "guard": guard.rows,
}
"""Parts on a site, or a feed, that can be made smaller, to try them."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measurements beside their peers.")
    parser.add_argument("part", nargs="*", choices=[[], *PLAIN, *SCALED], help="default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="of the site's files, bytes and rows (default 1.0)")
    parser.add_argument("--runs", type=int, default=3, help="of each, taken in turn (default 3)")
    asked = parser.parse_args(arguments)
    machine = f"{platform.platform()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
    print(
        f"{machine}, Python {platform.python_version()}; medians of runs taken in turn, scale {asked.scale:g}",
        flush=True,
    )
    try:
        for name in asked.part or [*PLAIN, *SCALED]:
            for row in PLAIN[name]() if name in PLAIN else SCALED[name](asked.scale, asked.runs):
                print("\n".join(["", *row.lines()]), flush=True)
    except LabError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
