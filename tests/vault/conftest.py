"""An operator's machine whose fleet is the lab, and whose vault is a folder or a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operations.conftest import program
from tests.operations.program import Program
from tests.store.grounds import Ground, InFolder, OnS3
from tests.vault.machine import Machine

__all__ = ["program"]


@pytest.fixture(params=["folder", "weed"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    if request.param == "folder":
        folder = tmp_path / "off site"
        folder.mkdir()
        return InFolder(folder)
    found: OnS3 = request.getfixturevalue("on_weed")
    return found


@pytest.fixture
def machine(place: Ground, program: Program, tmp_path: Path) -> Machine:
    return Machine(program, place, tmp_path)


@pytest.fixture
def on_folder(program: Program, tmp_path: Path) -> Machine:
    (tmp_path / "off site").mkdir()
    return Machine(program, InFolder(tmp_path / "off site"), tmp_path)
