"""The three grounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.stores import S3Servers
from tests.store.grounds import Ground, InFolder, OnS3


@pytest.fixture(params=["folder", "weed", "moto"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    if request.param == "folder":
        folder = tmp_path / "off site"
        folder.mkdir()
        return InFolder(folder)
    request.getfixturevalue("home")
    servers: S3Servers = request.getfixturevalue("s3_servers")
    server = servers.weed if request.param == "weed" else servers.moto
    return OnS3(server, server.bucket())


@pytest.fixture(params=["weed", "moto"])
def versioned(request: pytest.FixtureRequest, home: Path, s3_servers: S3Servers) -> OnS3:
    """The stores that keep versions and hold locks."""
    server = s3_servers.weed if request.param == "weed" else s3_servers.moto
    return OnS3(server, server.bucket())
