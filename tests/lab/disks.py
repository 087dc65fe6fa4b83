"""Small file systems inside a site's account, so that a disk can be full in a test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def mount(folder: Path, size: int, uid: int) -> None:
    if not folder.exists():
        folder.mkdir(mode=0o700)
        os.chown(folder, uid, uid)
    options = f"size={size},uid={uid},gid={uid},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "modoseru-lab", str(folder)], check=True)


def unmount_below(folder: Path) -> None:
    """Unmounts whatever a test has mounted in `folder`, innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    for place in sorted((one for one in places if Path(one).is_relative_to(folder)), key=len, reverse=True):
        subprocess.run(["umount", "-l", place], check=True)
