"""The feed's server and its file: asked for seldom, kept on the disk; whatever they do, what was read before stays."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.holes import FILE, PAUSE, TOKEN, Feed, Holes
from backends.journal import Journal
from tests.backends.feed_server import FeedServer
from tests.backends.known_holes import ENTRIES, entry, feed, software, versions

pytestmark = pytest.mark.asyncio
NOW = dt.datetime(2026, 11, 23, 5, tzinfo=dt.UTC)
AKISMET = ("plugin", "akismet")
OTHER = feed(entry(50, "Another", software("akismet", versions("*", "9.9"))))


@pytest.fixture
def server() -> Iterator[FeedServer]:
    made = FeedServer()
    made.says(feed())
    with made.running():
        yield made


@asynccontextmanager
async def opened(folder: Path, source: str, **more: Any) -> AsyncIterator[Holes]:
    """As a process of its own has it: the journal is shared."""
    journal = await Journal.open(folder / "journal.db")
    try:
        yield Holes(source, folder, cache=journal.cache, **({"token": ""} | more))
    finally:
        await journal.close()


async def count(holes: Holes) -> int | None:
    """How many holes of Akismet are known; None: it is unknown."""
    found = await holes.weaknesses([AKISMET])
    return len(found.of[AKISMET]) if found is not None else None


def held(folder: Path) -> dict[str, bytes]:
    """Every file that lies in `folder`."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_the_feed_is_asked_for_once_in_half_an_hour_by_all_processes_together(
    server: FeedServer, tmp_path: Path
) -> None:
    async with opened(tmp_path, server.url) as first, opened(tmp_path, server.url) as second:
        assert await first.feed() == Feed(source=server.url)
        assert await count(first) is None
        told = await first.refresh(NOW)
        assert told == Feed(source=server.url, as_of=NOW, entries=len(ENTRIES))
        server.says(OTHER)
        assert await second.refresh(NOW + PAUSE - dt.timedelta(seconds=1)) == told
        assert (len(server.asked), await count(second)) == (1, 2)
        assert (await second.refresh(NOW + PAUSE)).as_of == NOW + PAUSE
        assert (len(server.asked), await count(first), await count(second)) == (2, 1, 1)
    assert server.asked[0]["Accept-Encoding"] == "gzip"
    assert "Authorization" not in server.asked[0]


async def test_what_has_not_changed_is_not_sent_again_and_is_fresh(server: FeedServer, tmp_path: Path) -> None:
    server.says(feed(), headers={"ETag": '"abc"', "Last-Modified": "Mon, 23 Nov 2026 05:00:00 GMT"})
    async with opened(tmp_path, server.url) as holes:
        await holes.refresh(NOW)
        assert (await holes.refresh(NOW + PAUSE)).as_of == NOW + PAUSE
        found = await holes.weaknesses([AKISMET])
        assert found is not None
        assert (found.as_of, len(found.of[AKISMET])) == (NOW + PAUSE, 2)
    assert server.asked[1]["If-None-Match"] == '"abc"'
    assert server.asked[1]["If-Modified-Since"] == "Mon, 23 Nov 2026 05:00:00 GMT"


async def test_a_packed_feed_is_unpacked_as_it_comes(server: FeedServer, tmp_path: Path) -> None:
    server.packed = True
    async with opened(tmp_path, server.url) as holes:
        assert (await holes.refresh(NOW)).entries == len(ENTRIES)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 401}, "WHERE wants a token: set MODOSERU_WORDFENCE_TOKEN"),
        ({"status": 500}, "WHERE answers status 500"),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}}, "WHERE answers status 302"),
        ({"body": b"<html>maintenance</html>"}, "this is no feed of known holes"),
        ({"body": b"{}"}, "the feed has no entries"),
        ({"body": feed()[:-40]}, "the feed stops in the middle"),
        ({"fault": "cut"}, "the feed of WHERE stops in the middle"),
        ({"fault": "hang"}, "no complete answer within 1.5 s from WHERE"),
        ({"fault": "endless", "body": OTHER[1:-1] + b", "}, "the feed has more than 4 MiB"),
        ({"fault": "endless", "body": b'"a": {"b": {"c": ' * 100}, "an entry has more than 1 MiB"),
    ],
)
async def test_whatever_the_server_does_the_old_one_stays_in_use_with_its_age(
    server: FeedServer, tmp_path: Path, answer: dict[str, Any], why: str
) -> None:
    patience = 1.5 if answer.get("fault") == "hang" else 30.0
    async with opened(tmp_path, server.url, most=2**22, silent_s=patience) as holes:
        server.says(feed())
        await holes.refresh(NOW)
        server.says(**({"body": feed()} | answer))
        told = await holes.refresh(NOW + PAUSE)
        assert told.problem == why.replace("WHERE", server.url.split("/")[2])
        assert (told.as_of, await count(holes)) == (NOW, 2)
        assert await holes.feed() == told  # and so say the commands that do not ask
        assert await holes.refresh(NOW + PAUSE * 1.5) == told
    assert [name for name in held(tmp_path) if name.endswith(".new")] == []


async def test_one_that_wants_to_be_left_alone_is(server: FeedServer, tmp_path: Path) -> None:
    where = server.url.split("/")[2]
    async with opened(tmp_path, server.url) as holes:
        server.says(b"", 429, {"Retry-After": "7200"})
        told = await holes.refresh(NOW)
        assert told.problem == f"{where} wants to be left alone until 2026-11-23 07:00 UTC"
        server.says(feed())
        late = await holes.refresh(NOW + 3 * PAUSE)
        assert late.problem == "its server wants to be left alone until 2026-11-23 07:00 UTC"
        assert len(server.asked) == 1
        assert (await holes.refresh(NOW + dt.timedelta(hours=2))).problem is None


@pytest.mark.parametrize(("asked", "hours"), [("", 0.5), ("5", 0.5), ("soon", 0.5), ("999999999", 24.0),
                                              ("Mon, 23 Nov 2026 06:30:00 GMT", 1.5)])  # fmt: skip
async def test_what_it_asks_for_is_bounded(server: FeedServer, tmp_path: Path, asked: str, hours: float) -> None:
    async with opened(tmp_path, server.url) as holes:
        server.says(b"", 429, {"Retry-After": asked})
        until = NOW + dt.timedelta(hours=hours)
        assert f"until {until:%Y-%m-%d %H:%M} UTC" in str((await holes.refresh(NOW)).problem)


async def test_the_token_goes_to_the_feed_and_nowhere_else(
    server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "s3cret-t0ken")
    server.says(b"s3cret-t0ken", 403)
    async with opened(tmp_path, server.url, token=None) as holes:
        told = await holes.refresh(NOW)
    where = server.url.split("/")[2]
    assert told.problem == f"{where} refuses the token in MODOSERU_WORDFENCE_TOKEN"
    assert server.asked[0]["Authorization"] == "Bearer s3cret-t0ken"
    assert [name for name, body in held(tmp_path).items() if b"s3cret-t0ken" in body] == []
    async with opened(tmp_path, server.url, token="another") as mended:  # who has mended it need not wait
        server.says(feed())
        assert (await mended.refresh(NOW)).problem is None
    async with opened(tmp_path, server.url, token="two words\n") as wrong:
        assert "blank or a line's end" in str((await wrong.refresh(NOW)).problem)
    assert len(server.asked) == 2


async def test_nobody_there_is_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with opened(tmp_path, f"http://127.0.0.1:{port}/feed") as holes:
        assert (await holes.refresh(NOW)).problem == f"connection refused at 127.0.0.1:{port}"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_a_file_is_read_when_it_is_another_one(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "feed.json"
    path.write_bytes(pack(feed()))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    async with opened(tmp_path, str(path)) as holes:
        told = await holes.refresh(NOW)
        assert (told.problem, told.as_of) == (None, dt.datetime.fromtimestamp(1_700_000_000, dt.UTC))
        index = (tmp_path / FILE).stat()
        assert await holes.refresh(NOW) == told
        assert (tmp_path / FILE).stat().st_ino == index.st_ino
        path.write_bytes(pack(OTHER))
        await holes.refresh(NOW)
        assert await count(holes) == 1
        path.write_bytes(b"nonsense")
        assert (await holes.refresh(NOW)).problem == "this is no feed of known holes"
        path.unlink()
        assert (await holes.refresh(NOW)).problem == f"{path} cannot be read: no such file or directory"
        assert await count(holes) == 1


async def test_what_is_no_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("pipe", "is not a file"), (".", "is a directory")):
        async with opened(tmp_path, str(tmp_path / name)) as holes:
            assert str((await holes.refresh(NOW)).problem).endswith(why)


async def test_a_damaged_index_or_one_of_another_feed_is_none(server: FeedServer, tmp_path: Path) -> None:
    async with opened(tmp_path, server.url) as holes:
        await holes.refresh(NOW)
    async with opened(tmp_path, "/elsewhere/feed.json") as other:
        assert (await other.feed(), await count(other)) == (Feed(source="/elsewhere/feed.json"), None)
    (tmp_path / FILE).write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    async with opened(tmp_path, server.url) as holes:
        assert (await holes.feed(), await count(holes)) == (Feed(source=server.url), None)
        assert (await holes.refresh(NOW + PAUSE)).as_of == NOW + PAUSE
        assert await count(holes) == 2


async def test_a_folder_that_cannot_be_written_is_a_sentence(server: FeedServer, tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    async with opened(tmp_path, server.url) as holes:
        told = await holes.refresh(NOW)
        assert str(told.problem).endswith("cannot be kept or read: is a directory")
        assert await count(holes) is None


async def test_entries_that_cannot_be_read_are_told(server: FeedServer, tmp_path: Path) -> None:
    server.says(feed(entry(60, "odd", {"type": "plugin"}), *ENTRIES))
    async with opened(tmp_path, server.url) as holes:
        assert (await holes.refresh(NOW)).problem == f"1 of its {len(ENTRIES) + 1} entries cannot be read"
        assert await count(holes) == 2
    with sqlite3.connect(tmp_path / FILE) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
