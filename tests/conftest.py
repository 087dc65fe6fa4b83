"""Opens the lab to every test; where it cannot be had, a person's own machine skips, CI fails."""

from __future__ import annotations

import os

import pytest

from tests.lab.fixtures import empty, fresh_site, lab, second
from tests.lab.layout import DEFAULT_ROOT
from tests.store.fixtures import home, on_weed, s3_servers

__all__ = ["empty", "fresh_site", "home", "lab", "on_weed", "s3_servers", "second"]

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Before any lab is made: each of the processes that share a run has its own.
    os.environ["MODOSERU_LAB_DIR"] = f"{os.environ.get('MODOSERU_LAB_DIR', DEFAULT_ROOT)}-{worker}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "lab" in getattr(item, "fixturenames", ()) and os.geteuid() != 0 and os.environ.get("CI") != "true":
        pytest.skip("the lab's servers need root")
