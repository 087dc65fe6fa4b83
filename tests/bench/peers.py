"""The programs that we are measured against, as Debian has them. One that is absent is installed or fails the bench."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.bench.measure import Cost
from tests.bench.server import Server
from tests.lab import LabError
from tests.lab.packages import install

PACKAGES = {
    "restic": "restic",
    "borg": "borgbackup",
    "rsync": "rsync",
    "mysql": "mariadb-client",
    "age": "age",
    "aws": "awscli",
}
DIFFERENCES = (
    "restic and borg do more: they encrypt, and find equal pieces of different files.",
    "modoseru does more: it looks for signs of a poisoned generation, and tar, gunzip and mysql alone can restore what",
    "it made; a restore stages, verifies, switches, and keeps what it overwrote for undo.",
)


def ensure(*names: str) -> dict[str, str]:
    """Each peer's version line. Raises LabError where one cannot be had: a comparison without a peer is none."""
    absent = [PACKAGES[name] for name in names if shutil.which(name) is None]
    if absent:
        print(f"bench: installing the peers {', '.join(absent)} with apt-get", flush=True)
        install(absent)
    still = [name for name in names if shutil.which(name) is None]
    if still:
        raise LabError(f"the bench needs its peers: {', '.join(still)} cannot be found after apt-get install")
    versions = {}
    for name in names:
        words = [name, "version"] if name == "restic" else [name, "--version"]
        versions[name] = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return versions


class Restic:
    name = "restic"

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self.repository = server, folder / "restic"
        self._environment = {
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": f"{folder}/cache",
        }

    def anew(self) -> None:
        """An empty repository; making it is not measured."""
        shutil.rmtree(self.repository, ignore_errors=True)
        shutil.rmtree(self._environment["RESTIC_CACHE_DIR"], ignore_errors=True)
        self._run("init")

    def backup(self, root: Path) -> Cost:
        return self._run("backup", str(root))

    def restore(self, *, verify: bool = False) -> Cost:
        """The newest snapshot to where it was taken from."""
        return self._run("restore", "latest", "--target", "/", *(["--verify"] if verify else []))

    def stored(self) -> int:
        return size_of(self.repository)

    def _run(self, *words: str) -> Cost:
        return self._server.run(["restic", "--quiet", *words], environment=self._environment).cost


class Borg:
    name = "borg"

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self.repository = server, folder / "borg"
        self._environment = {
            "BORG_REPO": str(self.repository), "BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": f"{folder}/borg-home",
        }  # fmt: skip
        self._number = 0

    def anew(self) -> None:
        for place in (self.repository, Path(self._environment["BORG_BASE_DIR"])):
            shutil.rmtree(place, ignore_errors=True)
        self._run("init", "--encryption", "repokey")

    def backup(self, root: Path) -> Cost:
        self._number += 1
        return self._run("create", "--compression", "zstd,3", f"::{self._number}", str(root))

    def stored(self) -> int:
        return size_of(self.repository)

    def _run(self, *words: str) -> Cost:
        return self._server.run(["borg", *words], environment=self._environment).cost


def size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
