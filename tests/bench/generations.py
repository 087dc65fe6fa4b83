"""First and later generations of a site's files beside restic and borg: `python -m tests.bench generations`.

The database is the small one of the lab, and the time of its step is taken off: the peers store files alone.
"""

from __future__ import annotations

import time

from tests.bench import peers
from tests.bench.ground import SETTLED, ground, steps
from tests.bench.measure import Cost, CostRow, FactRow, Peer
from tests.bench.server import Server, Told

WEEKS = 7


def rows(scale: float = 1.0, runs: int = 3) -> list[CostRow | FactRow]:
    versions = peers.ensure("restic", "borg")
    with ground(scale) as here:
        restic, borg = peers.Restic(here.server, here.folder), peers.Borg(here.server, here.folder)
        first: list[Told] = []
        costs: dict[str, list[Cost]] = {"restic": [], "borg": []}
        for run in range(runs + 1):
            here.server.install()
            restic.anew()
            borg.anew()
            told = here.server.operation("snapshot", reason="weekly")
            also = {"restic": restic.backup(here.site.root), "borg": borg.backup(here.site.root)}
            if run:  # the first of each fills the page cache for all
                first.append(told)
                for name, cost in also.items():
                    costs[name].append(cost)
        later: list[Told] = []
        again: dict[str, list[Cost]] = {"restic": [], "borg": []}
        for week in range(1, WEEKS + 1):
            changed = here.site.change(week)
            time.sleep(SETTLED)
            later.append(here.server.operation("snapshot", reason="weekly"))
            again["restic"].append(restic.backup(here.site.root))
            again["borg"].append(borg.backup(here.site.root))
        ours, theirs, others = _stored(here.server), restic.stored(), borg.stored()
    about = f"{here.shape}; {', '.join(versions.values())}"
    return [
        CostRow(
            f"first generation, files ({about})",
            [told.without("database") for told in first],
            [Peer("restic", costs["restic"], "1.0", "0.6"), Peer("borg", costs["borg"])],
            [steps(first), *peers.DIFFERENCES],
        ),
        CostRow(
            f"later generation, files, {changed} of them changed",
            [told.without("database") for told in later],
            [Peer("restic", again["restic"], "0.33"), Peer("borg", again["borg"], "0.4")],
            [steps(later)],
        ),
        FactRow(
            f"bytes of {WEEKS + 1} generations with 1 % churn, files",
            [
                ("modoseru", f"{ours:,}"),
                ("restic", f"{theirs:,}"),
                ("borg", f"{others:,}"),
                ("modoseru : restic", f"{ours / theirs:.3f} (target 1.06)"),
            ],
        ),
    ]


def _stored(server: Server) -> int:
    """All that we keep, but for the dumps."""
    kept = [server.state / "packs", server.state / "generations"]
    dumps = sum(path.stat().st_size for path in kept[1].glob("*/database.sql.gz"))
    return sum(map(peers.size_of, kept)) - dumps
