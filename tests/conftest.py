"""Opens the lab to every test; where it cannot be had, a person's own machine skips, CI fails."""

from __future__ import annotations

import os

import pytest

from tests.lab.fixtures import fresh_site, lab

__all__ = ["fresh_site", "lab"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "lab" in getattr(item, "fixturenames", ()) and os.geteuid() != 0 and os.environ.get("CI") != "true":
        pytest.skip("the lab's servers need root")
