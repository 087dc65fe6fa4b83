"""What the conformance suite runs on: one ground a store, with the hands of its owner and of an attacker."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from backends.records import VaultSettings
from backends.store import Store, open_store
from backends.store_retry import Patience
from tests.lab.stores import PRUNER, WRITER, S3Server


async def at_once(_seconds: float) -> None:
    """A pause that takes no time."""


PATIENT = Patience(sleep=at_once)
"""Tries again at once: no test waits."""


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def fresh(kind: str = "object") -> str:
    return f"{kind}/{secrets.token_hex(8)}"


async def read(store: Store, name: str, version: str | None = None, start: int = 0) -> bytes:
    async with aclosing(cast("Any", store.get(name, version, start=start))) as chunks:
        return b"".join([chunk async for chunk in chunks])


class Ground:
    """A store of one kind."""

    immutable = False
    """It keeps versions and holds locks."""

    def settings(self) -> VaultSettings:
        raise NotImplementedError

    def hide(self, name: str) -> None:
        """What a stolen writer's key can do to an object of a store with versions: delete it without a version."""
        raise NotImplementedError

    @asynccontextmanager
    async def open(self, *, pruning: bool = False) -> AsyncIterator[Store]:
        async with open_store(self.settings(), pruning=pruning, patience=PATIENT) as store:
            yield store


class InFolder(Ground):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settings(self) -> VaultSettings:
        return VaultSettings(url=f"file://{self.folder}", lock="none")


class OnS3(Ground):
    immutable = True

    def __init__(self, server: S3Server, bucket: str, *, endpoint: str = "", prefix: str = "/deep/prefix") -> None:
        self.server, self.bucket, self.prefix = server, bucket, prefix
        self.endpoint = endpoint or server.endpoint

    def settings(self, **more: Any) -> VaultSettings:
        known = {"endpoint": self.endpoint, "profile": WRITER.user, "prune_profile": PRUNER.user}
        return VaultSettings(url=f"s3://{self.bucket}{self.prefix}", **(known | more))

    def hide(self, name: str) -> None:
        self.server.client(WRITER).delete_object(Bucket=self.bucket, Key=f"{self.prefix.strip('/')}/{name}")


def credentials(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    """A home of credentials in `folder`: one profile a user, `more` lines behind them, and nothing else anywhere."""
    profiles = "".join(
        f"[{key.user}]\naws_access_key_id = {key.access}\naws_secret_access_key = {key.secret}\n"
        for key in (WRITER, PRUNER)
    )
    (folder / "credentials").write_text(profiles + more)
    (folder / "config").write_text("[default]\nregion = us-east-1\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
