"""`python -m tests.bench [start|servers|signs …]` prints the comparisons of the issues; a peer that is absent fails."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from tests.bench import servers, signs, start


class Shown(Protocol):
    def lines(self) -> list[str]: ...


PARTS: dict[str, Callable[[], Sequence[Shown]]] = {"start": start.rows, "servers": servers.rows, "signs": signs.rows}


def main(names: list[str]) -> None:
    print(f"{platform.platform()}, Python {platform.python_version()}; medians of runs taken in turn")
    for name in names or PARTS:
        for row in PARTS[name]():
            print("\n".join(["", *row.lines()]))


if __name__ == "__main__":
    main(sys.argv[1:])
