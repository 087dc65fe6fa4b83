"""`python -m tests.bench [start|servers …]` prints the comparisons of the issues; a peer that is absent fails."""

from __future__ import annotations

import platform
import sys

from tests.bench import servers, start

PARTS = {"start": start.rows, "servers": servers.rows}


def main(names: list[str]) -> None:
    print(f"{platform.platform()}, Python {platform.python_version()}; medians of runs taken in turn")
    for name in names or PARTS:
        for row in PARTS[name]():
            print("\n".join(["", *row.lines()]))


if __name__ == "__main__":
    main(sys.argv[1:])
