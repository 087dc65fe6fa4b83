"""The agent's peak memory with very many files and with a very large one: `python -m tests.bench memory`."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.agent.small import Small
from tests.bench.ground import NAME, SETTLED
from tests.bench.measure import FactRow
from tests.bench.server import Server, Told
from tests.lab import Lab, LabError

FILES, FOLDERS = 1_000_000, 1_000
LARGE, LARGE_WHERE_SHORT = 10 * 2**30, 4 * 2**30
COPIES = 3.2
"""Of a large file, while it is restored over a changed one: live, in the pack, staged or put aside."""
PIECE = 2**24


def rows(scale: float = 1.0, runs: int = 1) -> list[FactRow]:
    """Memory does not differ from run to run: each is done once, whatever `runs` says."""
    lab = Lab()
    found_running = lab.running
    lab.up()
    try:
        return [_many(lab, round(FILES * scale)), _large(lab, scale)]
    finally:
        if not found_running:
            lab.down()


def _many(lab: Lab, count: int) -> FactRow:
    def make(small: Small) -> None:
        media = small.root / "wp-content" / "uploads" / "many"
        for folder in range(FOLDERS):
            (media / f"{folder:04}").mkdir(parents=True)
        for number in range(count):
            with open(f"{media}/{number % FOLDERS:04}/{number:07}.txt", "wb") as file:  # noqa: PTH123 - a million times
                file.write(b"%d\n" % number)

    def change(small: Small) -> None:
        media = small.root / "wp-content" / "uploads" / "many"
        for number in random.Random("many").sample(range(count), max(1, count // 100)):
            (media / f"{number % FOLDERS:04}/{number:07}.txt").write_bytes(b"changed\n")

    return _row(lab, f"agent's memory with {count:,} files in {FOLDERS:,} folders", make, change)


def _large(lab: Lab, scale: float) -> FactRow:
    wanted = int(LARGE * scale)
    free = shutil.disk_usage(lab.layout.root).free
    size = wanted if free > COPIES * wanted + 2**31 else min(wanted, LARGE_WHERE_SHORT)
    if free < COPIES * size:
        raise LabError(f"{COPIES * size / 1e9:.0f} GB are needed in {lab.layout.root} and {free / 1e9:.0f} GB are free")
    short = "" if size == wanted else f" (the disk is short: not {wanted / 2**30:.0f} GiB)"

    def make(small: Small) -> None:
        path = small.root / "wp-content" / "uploads" / "film.bin"
        with path.open("wb") as file:
            file.writelines(noise(size))
            file.truncate(size)

    def change(small: Small) -> None:
        with (small.root / "wp-content" / "uploads" / "film.bin").open("r+b") as file:
            file.seek(size // 2)
            file.write(b"changed")

    return _row(lab, f"agent's memory with one incompressible file of {size / 2**30:.1f} GiB{short}", make, change)


def noise(size: int) -> Iterator[bytes]:
    """At least `size` bytes: no packer makes the stream of a cipher smaller."""
    stream = Cipher(algorithms.AES(b"modoseru's bench"), modes.CTR(bytes(16))).encryptor()
    for _ in range(0, size, PIECE):
        yield stream.update(bytes(PIECE))


def _row(lab: Lab, what: str, make: Callable[[Small], None], change: Callable[[Small], None]) -> FactRow:
    with _small(lab) as (small, server):
        make(small)
        small.own()
        time.sleep(SETTLED)
        first = server.operation("snapshot", reason="weekly")
        later = server.operation("snapshot", reason="weekly")
        change(small)
        small.own()
        restored = server.operation("restore", generation=first.end["generation"], only="files")
        shutil.rmtree(small.root)
        empty = server.operation("restore", generation=first.end["generation"], only="files", fresh=True)
    facts = [
        _fact(name, told)
        for name, told in (
            ("first generation", first), ("second generation, nothing changed", later),
            ("restore over the live tree", restored), ("restore to no document root", empty),
        )
    ]  # fmt: skip
    return FactRow(what, facts, ["target: under 64 MiB; the largest process, as the kernel counted it."])


def _fact(name: str, told: Told) -> tuple[str, str]:
    return name, f"peak {told.cost.peak / 2**20:6.1f} MiB   wall {told.cost.wall:.1f} s   cpu {told.cost.cpu:.1f} s"


@contextmanager
def _small(lab: Lab) -> Iterator[tuple[Small, Server]]:
    small = Small(lab, lab.site(NAME), "bench.example").build()
    server = Server(lab.site(NAME), name=small.name, root=Path(small.root))
    server.install()
    try:
        yield small, server
    finally:
        subprocess.run(["rm", "-rf", small.base, server.state], check=True)
        small.remove()
