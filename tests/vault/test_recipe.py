"""The page of the README that restores a site without Modoseru: exactly its commands, with `age` and a POSIX shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agent.small import tables_of, tree, without
from tests.lab import Lab, LabSite
from tests.store.grounds import InFolder
from tests.vault.machine import Machine

pytestmark = [pytest.mark.lab]
README = Path(__file__).parents[2] / "README.md"
NAME = "minato.example"


def commands() -> list[str]:
    page = README.read_text().split("## Recovering without Modoseru\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", page, re.DOTALL)


def test_the_commands_of_the_page_restore_the_site(
    on_folder: Machine, lab: Lab, fresh_site: Callable[[str], LabSite], tmp_path: Path
) -> None:
    site = fresh_site(NAME)
    on_folder.copied(NAME)
    (site.root / "wp-content/uploads/a name with ♥ and  blanks.txt").write_text("later")
    generation = on_folder.copied(NAME)
    files, tables = tree(site.root), tables_of(lab, site.db_name, site.db_prefix)
    place = on_folder.place
    assert isinstance(place, InFolder)
    here = tmp_path / "recovery"
    shutil.copytree(place.folder, here)
    shutil.copy(on_folder.identity, here / "identity.txt")
    lab.sql(site, "CREATE DATABASE IF NOT EXISTS recovered; DROP DATABASE recovered; CREATE DATABASE recovered")
    (tmp_path / ".my.cnf").write_text(f"[client]\nuser=root\nsocket={site.db_socket}\n")
    script = "\n".join(commands()).replace(
        "SITE=kogyo.example GENERATION=20261123T021500Z", f"SITE={NAME} GENERATION={generation} DATABASE=recovered"
    )
    done = subprocess.run(
        ["dash", "-eu", "-c", script], cwd=here, capture_output=True, text=True, check=False, timeout=120,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert generation in done.stdout
    assert done.stdout.count(": OK") == 5  # summary, manifest, dump, two packs

    restored = here / "generations" / generation / "restored" / "root"
    assert {path: entry.content for path, entry in tree(restored).items()} == {
        path: entry.content for path, entry in without(files, rb"wp-content/(cache|upgrade)/.+").items()
    }
    assert tables_of(lab, "recovered", site.db_prefix) == tables
    lab.sql(site, "DROP DATABASE recovered")
