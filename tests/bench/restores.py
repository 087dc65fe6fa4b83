"""Restores of files beside restic and rsync, and of the whole site: `python -m tests.bench restore`."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from tests.bench import peers, whole
from tests.bench.ground import SETTLED, Ground, ground, steps
from tests.bench.measure import Cost, CostRow, Peer
from tests.lab import LabError


def rows(scale: float = 1.0, runs: int = 3) -> list[CostRow]:
    peers.ensure("restic", "rsync", "mysql")
    with ground(scale) as here:
        here.site.fill()
        time.sleep(SETTLED)
        restic = peers.Restic(here.server, here.folder)
        restic.anew()
        restic.backup(here.site.root)
        copy = here.folder / "copy"
        here.server.run(["cp", "-a", f"{here.site.root}/.", str(copy)])
        generation = here.server.operation("snapshot", reason="weekly").end["generation"]
        return [
            _over_the_live_tree(here, generation, restic, copy, runs),
            _to_an_empty_root(here, generation, restic, runs),
            asyncio.run(whole.row(here, generation, runs)),
        ]


def _over_the_live_tree(here: Ground, generation: str, restic: peers.Restic, copy: Path, runs: int) -> CostRow:
    right = here.site.fingerprint()
    told, left = [], 0
    costs: dict[str, list[Cost]] = {"restic": [], "rsync": []}
    for run in range(runs + 1):
        here.server.forget_operations()
        here.site.differ(3 * run)
        ours = here.server.operation("restore", generation=generation, only="files")
        _must_be(here, right, "modoseru")
        here.site.differ(3 * run + 1)
        theirs = restic.restore()
        left = here.site.foreign_left()
        here.site.remove_foreign()
        here.site.differ(3 * run + 2)
        plain = here.server.run(["rsync", "-a", "--checksum", "--delete", f"{copy}/", f"{here.site.root}/"]).cost
        _must_be(here, right, "rsync")
        if run:
            told.append(ours)
            costs["restic"].append(theirs)
            costs["rsync"].append(plain)
    return CostRow(
        f"restore of files over the live tree ({here.shape}), 1 % of the files differing, {here.site.foreign} foreign",
        [one.cost for one in told],
        [Peer("restic", costs["restic"], "0.25"), Peer("rsync", costs["rsync"])],
        [
            steps(told),
            f"restic writes every file anew and leaves {left} foreign ones.",
            "rsync --checksum --delete hashes both sides, out of a plain copy, in place.",
            *peers.DIFFERENCES,
        ],
    )


def _to_an_empty_root(here: Ground, generation: str, restic: peers.Restic, runs: int) -> CostRow:
    right = here.site.fingerprint()
    told = []
    theirs: list[Cost] = []
    for run in range(runs + 1):
        here.server.forget_operations()
        _empty(here)
        ours = here.server.operation("restore", generation=generation, only="files")
        _must_be(here, right, "modoseru")
        _empty(here)
        other = restic.restore(verify=True)
        _must_be(here, right, "restic")
        if run:
            told.append(ours)
            theirs.append(other)
    return CostRow(
        "full restore of files to an empty root, verified",
        [one.cost for one in told],
        [Peer("restic --verify", theirs, "1.0")],
        [steps(told)],
    )


def _empty(here: Ground) -> None:
    for path in here.site.root.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _must_be(here: Ground, right: str, who: str) -> None:
    """A restore that did not bring the files back has no time. restic gives folders that it did not make no times."""
    if here.site.fingerprint() != right:
        raise LabError(f"{who} did not bring the files back as they were")
