"""What is installed is whole: the wheel carries the agent's PHP, the texts and the typing marks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOOK = """
import sys
from pathlib import Path
import app, backends, widgets
from backends.agent.client import agent_bytes, agent_name
from widgets import language
assert all(Path(one.__file__).is_relative_to(sys.argv[1]) for one in (app, backends, widgets))
assert agent_bytes().count(b"<?php") >= 1 and agent_name().startswith("agent-")
language.use("ja", Path(app.__file__).parent / "locale")
print(language.tr("site"))
"""


def test_a_wheel_built_from_the_tree_has_all_that_it_needs(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    built, target = tmp_path / "wheel", tmp_path / "installed"
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(built), str(ROOT)], check=True, capture_output=True)
    (wheel,) = built.glob("modoseru-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True, capture_output=True)
    alone = {**os.environ, "PYTHONPATH": str(target)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=alone, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", LOOK, str(target)).strip() == "サイト"
    assert run("-m", "app.cli", "--version").startswith("modoseru ")
    assert not (target / "tests").exists()
