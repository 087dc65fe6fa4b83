"""Real servers on loopback for tests and for trying things by hand: `python -m tests.lab up`."""

from tests.lab.lab import Lab
from tests.lab.layout import LabError
from tests.lab.sites import LabSite

__all__ = ["Lab", "LabError", "LabSite"]
