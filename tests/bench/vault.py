"""Copies into the vault and restores out of it beside restic and a shell's pipe: `python -m tests.bench vault`.

A real sshd, a real S3 server with Object Lock (SeaweedFS), all on this machine: its disk and processors are shared by
client, server and store, for us as for the peers.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from app.operations import guard, vault_plan
from backends.records import Finished, Outcome
from tests.bench import peers
from tests.bench.ground import NAME, SETTLED, Ground, ground
from tests.bench.measure import Cost, CostRow, FactRow, Peer
from tests.bench.memory import noise
from tests.bench.server import COUNTED
from tests.lab import LabError
from tests.lab.stores import WRITER, S3Server, S3Servers
from tests.operations.program import SCRIPT, program_of
from tests.store.grounds import OnS3, credentials
from tests.vault.machine import Machine

TICK = 0.001
LARGE = 10 * 2**30


def rows(scale: float = 1.0, runs: int = 3) -> Iterator[CostRow | FactRow]:
    peers.ensure("restic", "age", "aws")
    with ground(scale) as here, _stores(here) as store:
        here.site.fill()
        time.sleep(SETTLED)
        bench = _Bench(here, store)
        yield from bench.copies(runs)
        yield bench.restores(runs)
        yield bench.stall()
        yield bench.memory(int(LARGE * scale))


@contextlib.contextmanager
def _stores(here: Ground) -> Iterator[S3Server]:
    servers = S3Servers(here.site.lab.layout)
    with pytest.MonkeyPatch.context() as environment:
        credentials(here.operator(), environment)
        servers.up()
        try:
            yield servers.weed
        finally:
            servers.down()


class _Bench:
    def __init__(self, here: Ground, store: S3Server) -> None:
        self._here, self._store = here, store
        self._numbers = itertools.count()
        self._machine: Machine | None = None

    # ------------------------------------------------------------ the work

    def copies(self, runs: int) -> Iterator[CostRow]:
        """First and second copies; the peers' in the same turns."""
        here = self._here
        first: list[Cost] = []
        second: list[Cost] = []
        costs: dict[str, list[Cost]] = {"pipe": [], "restic": []}
        generations: list[Cost] = []
        for run in range(runs + 1):
            here.server.install()
            self._machine = machine = self._anew()
            made = self._run("backup", NAME)
            ours = self._run("backup", NAME, "--tier", "vault")
            pipe = self._pipe(machine)
            restic = _Restic(self)
            theirs = restic.backup()
            here.site.change(run + 1)
            time.sleep(SETTLED)
            later = machine.program("backup", NAME, "--json").json["generation"]
            # So many files of plugins under the same version look like an attack; only clean ones are copied.
            machine.program("generations", NAME, "--mark", later, "clean")
            again = self._run("backup", NAME, "--tier", "vault")
            if run:
                first.append(ours)
                second.append(again)
                generations.append(made)
                costs["pipe"].append(pipe)
                costs["restic"].append(theirs)
        stored = f"{peers.size_of(here.server.state / 'packs') / 1e6:,.0f} MB of packs"
        yield CostRow(
            f"first copy of a server's generation into the vault ({here.shape}; {stored})",
            first,
            [
                Peer("ssh tar|age|aws", costs["pipe"], "1.0"),
                Peer("restic to S3", costs["restic"], "1.0"),
            ],
            [
                "the pipe moves the same bytes (packs, manifest, dump), checks none of them, and cannot be resumed;",
                "restic reads the files themselves, from the server, which so holds a key of the store, without Object",
                "Lock, at the agent's nice 10; its processor time is all of it, the others' that of the client.",
                f"the runner's peak memory: {max(one.peak for one in first) / 2**20:.0f} MiB (target under 200)",
            ],
        )
        yield CostRow(
            "a generation made on the server and copied into the vault",
            [
                Cost(a.wall + b.wall, a.cpu + b.cpu, max(a.peak, b.peak))
                for a, b in zip(generations, first, strict=True)
            ],
            [Peer("restic to S3", costs["restic"])],
            ["restic keeps one copy, off-site; this is two."],
        )
        yield CostRow("second copy, 1 % of the files changed", second, [Peer("the first copy", first, "0.1")])

    def restores(self, runs: int) -> CostRow:
        """To an account of which nothing is left but its database."""
        here, machine = self._here, self._machine
        assert machine is not None
        restic = _Restic(self)
        restic.backup()
        right = here.site.fingerprint()
        ours: list[Cost] = []
        theirs: list[Cost] = []
        for run in range(runs + 1):
            self._empty()
            own = self._run(
                "restore", NAME, "--tier", "vault", "--only", "files", "--yes", "--identity", str(machine.identity)
            )
            self._must_be(right, "modoseru")
            self._empty()
            other = restic.restore()
            self._must_be(right, "restic")
            if run:
                ours.append(own)
                theirs.append(other)
        return CostRow(
            "full restore of files to an empty account, from the vault",
            ours,
            [Peer("restic from S3", theirs, "1.2")],
            ["modoseru's packs stay on the server as a generation; restic leaves none."],
        )

    def stall(self) -> FactRow:
        """The loop of a dashboard while it copies: how long one turn of it took at most."""
        self._machine = machine = self._anew()
        self._run("backup", NAME)
        os.environ["MODOSERU_STATE"] = str(machine.program.state)
        return FactRow(
            "the event loop's longest stall during a first copy",
            [("longest", f"{1000 * asyncio.run(self._stalled(machine)):.0f} ms (target under 50)")],
        )

    async def _stalled(self, machine: Machine) -> float:
        async with machine.program.session() as session:
            site = session.fleet.site(NAME)
            intent = await vault_plan.copy(session, site)
            worst = 0.0

            async def tick() -> None:
                nonlocal worst
                while True:
                    began = time.perf_counter()
                    await asyncio.sleep(TICK)
                    worst = max(worst, time.perf_counter() - began - TICK)

            ticking = asyncio.create_task(tick())
            try:
                async with contextlib.aclosing(guard.start(session, intent, confirmed=True)) as events:
                    async for event in events:
                        if isinstance(event, Finished) and event.outcome is not Outcome.DONE:
                            raise LabError(f"the copy ended {event}")
            finally:
                ticking.cancel()
        return worst

    def memory(self, size: int) -> FactRow:
        """One file of `size` incompressible bytes more."""
        here = self._here
        # The file, its pack, the store's pieces, and those on their way.
        free = shutil.disk_usage(here.folder).free
        if free < 4 * size:
            raise LabError(
                f"{4 * size / 2**30:.0f} GiB are needed below {here.folder}, and {free / 2**30:.0f} are free"
            )
        large = here.site.root / "wp-content/uploads/large.bin"
        with large.open("wb") as file:
            file.writelines(noise(size))
        os.chown(large, here.site.site.uid, here.site.site.uid)
        time.sleep(SETTLED)
        self._machine = self._anew()
        self._run("backup", NAME)
        cost = self._run("backup", NAME, "--tier", "vault")
        large.unlink()
        return FactRow(
            f"the runner's peak memory, {size / 2**30:.0f} GiB more in one file",
            [
                ("peak", f"{cost.peak / 2**20:.0f} MiB (target under 200)"),
                ("took", f"{cost.wall:.1f} s"),
            ],
        )

    # ------------------------------------------------------------ hands

    def _anew(self) -> Machine:
        """Another operator's machine with a bucket of its own."""
        folder = self._here.operator() / f"machine{next(self._numbers)}"
        folder.mkdir()
        place = OnS3(self._store, self._store.bucket())
        return Machine(program_of(self._here.site.lab, folder), place, folder)

    def _run(self, *words: str) -> Cost:
        assert self._machine is not None
        return counted([str(SCRIPT), *words, "--json"], self._machine.program.environment)

    def _pipe(self, machine: Machine) -> Cost:
        site, state = self._here.site.site, self._here.server.state
        ssh = (
            f"ssh -q -i {site.key} -p {site.ssh_port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
            f"{site.account}@{site.ssh_host} tar -C {state} -cf - generations packs"
        )
        bucket = self._store.bucket()
        aws = f"aws --endpoint-url {self._store.endpoint} --profile {WRITER.user} s3 cp - s3://{bucket}/all.tar.age"
        pipe = f"set -o pipefail; {ssh} | age -r {machine.recipient} | {aws} --expected-size {2 * 2**30}"
        return counted(["bash", "-c", pipe], os.environ)

    def _empty(self) -> None:
        root, state = self._here.site.root, self._here.server.state
        for path in root.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.rmtree(state, ignore_errors=True)

    def _must_be(self, right: str, who: str) -> None:
        if self._here.site.fingerprint() != right:
            raise LabError(f"{who} did not bring the files back as they were")

    def restic(self, environment: Mapping[str, str], *words: str) -> Cost:
        return self._here.server.run(["restic", "--quiet", *words], environment=environment).cost

    @property
    def store(self) -> S3Server:
        return self._store

    @property
    def root(self) -> Path:
        return self._here.site.root

    @property
    def cache(self) -> Path:
        return self._here.folder / "cache"


class _Restic:
    """On the site's server, with a key of the store."""

    def __init__(self, bench: _Bench) -> None:
        self._bench = bench
        shutil.rmtree(bench.cache, ignore_errors=True)
        bucket = bench.store.bucket(lock=False, closed=False)
        self._environment = {
            "RESTIC_REPOSITORY": f"s3:{bench.store.endpoint}/{bucket}/restic", "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(bench.cache), "AWS_ACCESS_KEY_ID": WRITER.access,
            "AWS_SECRET_ACCESS_KEY": WRITER.secret,
        }  # fmt: skip
        bench.restic(self._environment, "init")

    def backup(self) -> Cost:
        return self._bench.restic(self._environment, "backup", str(self._bench.root))

    def restore(self) -> Cost:
        return self._bench.restic(self._environment, "restore", "latest", "--target", "/")


def counted(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """A command of the operator's machine to its end. Raises LabError where it fails."""
    os.sync()
    with tempfile.NamedTemporaryFile() as figures:
        words = [sys.executable, "-I", "-S", str(COUNTED), figures.name, *command]
        done = subprocess.run(words, env={**environment}, capture_output=True, check=False)
        if done.returncode:
            raise LabError(f"{' '.join(command)}: {(done.stdout + done.stderr).decode(errors='replace')[-800:]}")
        wall, cpu, peak = Path(figures.name).read_text().split()
    return Cost(float(wall), float(cpu), int(peak))
