"""An operator's machine whose fleet is the lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import Lab
from tests.operations.program import Program, program_of


@pytest.fixture
def program(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    made = program_of(lab, tmp_path)
    monkeypatch.setenv("MODOSERU_STATE", str(made.state))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return made
