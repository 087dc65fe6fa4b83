"""The S3 servers, started by the first test that needs them, and a home of credentials for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.layout import Layout
from tests.lab.stores import S3Servers
from tests.store.grounds import OnS3, credentials


@pytest.fixture(scope="session")
def s3_servers() -> Iterator[S3Servers]:
    layout: Layout = Lab().layout
    layout.root.mkdir(parents=True, exist_ok=True)
    servers = S3Servers(layout)
    servers.up()
    yield servers
    servers.down()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the writer's and the pruner's profile, and no other credentials anywhere."""
    folder = tmp_path / "aws"
    folder.mkdir()
    credentials(folder, monkeypatch)
    return folder


@pytest.fixture
def on_weed(s3_servers: S3Servers, home: Path) -> OnS3:
    return OnS3(s3_servers.weed, s3_servers.weed.bucket())
