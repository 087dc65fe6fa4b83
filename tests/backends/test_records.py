"""What the records let in from files and servers: a pattern ends where the value does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.records import (
    GENERATION_ID,
    OPERATION_ID,
    CredentialLine,
    Duration,
    Host,
    HttpUrl,
    RemotePath,
    RemoteWord,
    SiteName,
)


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        (SiteName, "a.example"), (Duration, "8w"), (RemoteWord, "php8.2"), (RemotePath, "~/www"), (Host, "a.example"),
        (HttpUrl, "https://a.example/"), (CredentialLine, "localhost"),
    ],
)  # fmt: skip
def test_a_line_end_behind_a_value_is_refused(kind: Any, good: str) -> None:
    assert msgspec.convert(good, kind) == good
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(f"{good}\n", kind)


def test_a_line_end_behind_an_id_is_refused() -> None:
    assert GENERATION_ID.match("20260101T000000Z")
    assert not GENERATION_ID.match("20260101T000000Z\n")
    assert OPERATION_ID.match("20260101T000000Z-backup-0123ab")
    assert not OPERATION_ID.match("20260101T000000Z-backup-0123ab\n")
