"""The demo's one temporary folder: made, locked while its process lives, and swept when one was left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

PREFIX = "modoseru-demo-"
_ALIVE = "alive"


class TemporaryFolder:
    """A private folder that nobody sweeps while this process holds its lock."""

    def __init__(self, parent: Path | None = None) -> None:
        self.parent = parent or Path(tempfile.gettempdir())
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.parent)).resolve()
        self._alive: IO[bytes] = (self.path / _ALIVE).open("wb")
        fcntl.flock(self._alive, fcntl.LOCK_EX)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._alive.close()


def sweep(parent: Path | None = None, *, grace_s: float = 60.0) -> list[Path]:
    """Removes the folders of demos that were killed; returns what it removed.

    A dead process holds no lock. A folder without the lock file is younger than its first line of code, or a torso:
    it goes when it is older than `grace_s`. Folders of other users are left alone.
    """
    removed = []
    for path in (parent or Path(tempfile.gettempdir())).glob(PREFIX + "*"):
        try:
            if path.is_symlink() or not path.is_dir() or path.stat().st_uid != os.getuid() or not _dead(path, grace_s):
                continue
        except OSError:
            continue
        shutil.rmtree(path, ignore_errors=True)
        removed.append(path)
    return removed


def _dead(path: Path, grace_s: float) -> bool:
    try:
        with (path / _ALIVE).open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:
        return time.time() - path.stat().st_mtime > grace_s
    except BlockingIOError:
        return False
