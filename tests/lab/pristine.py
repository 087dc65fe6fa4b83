"""Keeps each site's first state, and brings it back: files to the byte, database, grants, and no trace of Modoseru."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.lab.database import Database
from tests.lab.layout import Layout
from tests.lab.processes import BOUND
from tests.lab.sites import LabSite


def save(layout: Layout, database: Database, site: LabSite) -> None:
    place = layout.pristine / site.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    subprocess.run([*BOUND, "cp", "-a", str(site.base), str(tree(layout, site))], check=True)
    database.dump(site, place / "database.sql")


def tree(layout: Layout, site: LabSite) -> Path:
    """The pristine copy of `site.base`."""
    return layout.pristine / site.name / "tree"


def bring_back(layout: Layout, database: Database, site: LabSite) -> None:
    """Nobody of the account may be writing meanwhile (Lab.reset sees to it)."""
    site.base.mkdir(exist_ok=True)
    # --checksum: a test may well have kept size and mtime of what it changed.
    options = ["-aHAX", "--numeric-ids", "--checksum", "--delete", "--force"]
    subprocess.run([*BOUND, "rsync", *options, f"{tree(layout, site)}/", f"{site.base}/"], check=True)
    if site.base != site.home:
        _clear_shared_home(layout, site)
    database.load(site, layout.pristine / site.name / "database.sql")


def _clear_shared_home(layout: Layout, site: LabSite) -> None:
    """Removes what this site left in a home that it shares: its state, and rubbish that belongs to no site."""
    state = site.home / ".modoseru"
    if state.is_dir() and not state.is_symlink():
        shutil.rmtree(state / site.name, ignore_errors=True)
        if not any(entry.is_dir() for entry in state.iterdir()):
            shutil.rmtree(state)
    keep = {".modoseru", ".ssh"} | {entry.name for entry in site.home.iterdir() if (entry / "public_html").is_dir()}
    for entry in site.home.iterdir():
        if entry.name in keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def move_database_port(layout: Layout, site: LabSite, old: str, new: str) -> None:
    """Rewrites DB_HOST, live and pristine, when the database had to take another port."""
    kept = tree(layout, site) / site.config_file.relative_to(site.base)
    kept.write_text(kept.read_text().replace(f"'{old}'", f"'{new}'"))
    if site.config_file.exists():
        site.config_file.write_text(site.config_file.read_text().replace(f"'{old}'", f"'{new}'"))
