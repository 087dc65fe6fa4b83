"""The feed of known holes, read as its bytes come: what it says is kept, what it sends never grows in memory."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from backends.holes_feed import ENTRY_MOST, Cutter, FeedBroken, Range, Weakness, weaknesses
from backends.holes_index import About, Building, lookup
from backends.records import visible
from tests.backends.known_holes import ENTRIES, HOSTILE, entry, feed, large, software, versions
from tests.widgets.made import NOW

ROOT = Path(__file__).parents[2]
ABOUT = About(source="https://feed.example/", as_of=NOW)
MEMORY = """
import resource, sys
from pathlib import Path
from backends.holes_index import About, Building
from tests.backends.known_holes import large
from tests.widgets.made import NOW
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
building = Building(Path(sys.argv[1]))
for piece in large(int(sys.argv[2])):
    building.take(piece)
building.finish(About(source="x", as_of=NOW))
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, building.entries, building.bytes)
"""


def cut(body: bytes, piece: int) -> list[bytes]:
    cutter = Cutter()
    found: list[bytes] = []
    for at in range(0, len(body), piece):
        found += cutter.take(body[at : at + piece])
    cutter.end()
    return found


def built(path: Path, body: bytes, **more: int) -> Building:
    building = Building(path, **more)
    try:
        for at in range(0, len(body), 1000):
            building.take(body[at : at + 1000])
        building.finish(ABOUT)
    finally:
        building.drop()
    return building


def refused(path: Path, body: bytes, **more: int) -> str:
    with pytest.raises(FeedBroken) as told:
        built(path, body, **more)
    assert list(path.parent.iterdir()) in ([], [path])
    return str(told.value)


@pytest.mark.parametrize("piece", [1, 2, 7, 1000, 10**6])
def test_wherever_its_bytes_are_cut_the_entries_are_the_same(piece: int) -> None:
    odd = entry(20, 'braces } { and "quotes" \\', software("a", versions("*", "}{")), deep={"a": [{"b": {}}, '}\\"']})
    body = b"\xef\xbb\xbf \n" + feed(*ENTRIES, odd) + b"\r\n "
    assert [json.loads(one) for one in cut(body, piece)] == [*ENTRIES, odd]
    indented = json.dumps({one["id"]: one for one in ENTRIES}, indent=2).encode()
    assert [json.loads(one) for one in cut(indented, piece)] == list(ENTRIES)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the feed stops in the middle"),
        (b"{", "the feed stops in the middle"),
        (b"{}", "the feed has no entries"),
        (b"[]", "this is no feed of known holes"),
        (b"<!DOCTYPE html><html>", "this is no feed of known holes"),
        (b'{"error": "unauthorized"}', "this is no feed of known holes"),
        (b'{"a": {}, }', "this is no feed of known holes"),
        (b'{"a": {"software": []}} {', "something follows behind the feed"),
        (b'{"a": {"software": }}', "an entry of the feed is no JSON"),
        (b'{"a": {"software": [], "title": "\xff"}}', "an entry of the feed is not UTF-8"),
        (b'{"a": {"message": "no"}, "b": {"software": 3}}', "none of its entries can be read"),
        (b'{"a": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", "an entry of the feed is no JSON"),
        (b'{"a": {"title": "' + b"x" * (ENTRY_MOST + 5000), "an entry has more than 1 MiB"),
        (b'{"' + b"x" * (ENTRY_MOST + 5000), "an entry has more than 1 MiB"),
        (feed()[:-1], "the feed stops in the middle"),
        (gzip.compress(feed())[:-300], "the feed stops in the middle"),
        (b"\x1f\x8b" + bytes(100), "the feed cannot be unpacked"),
    ],
)  # fmt: skip
def test_what_is_no_feed_is_refused_in_a_sentence_and_leaves_nothing(tmp_path: Path, body: bytes, why: str) -> None:
    assert refused(tmp_path / "holes.db", body) == why


def test_a_bomb_and_an_endless_one_end_at_the_bound(tmp_path: Path) -> None:
    blanks = gzip.compress(b"{" + b" " * 2**24)
    assert refused(tmp_path / "holes.db", blanks, most=2**22) == "an entry has more than 1 MiB"
    endless = b"{" + b",".join(b'"a": {"software": []}' for _ in range(400_000))
    bomb = gzip.compress(endless)
    assert len(bomb) < 2**16
    assert refused(tmp_path / "holes.db", bomb, most=2**22) == "the feed has more than 4 MiB"
    assert refused(tmp_path / "holes.db", endless, most=2**20) == "the feed has more than 1 MiB"


def test_a_refused_one_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "holes.db"
    built(path, feed())
    before = path.read_bytes()
    refused(path, feed()[:-1])
    assert path.read_bytes() == before


def test_a_disk_that_is_full_is_an_error_of_the_disk_and_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "holes.db"
    built(path, feed())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**17, hard))  # no file may grow beyond 128 KiB
        with pytest.raises(OSError, match="disk"):
            built(path, b"".join(large(5_000_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one.name for one in tmp_path.iterdir()] == ["holes.db"]
    assert lookup(path, [("plugin", "akismet")]) is not None


def test_what_the_feed_says_is_found_by_kind_and_slug(tmp_path: Path) -> None:
    building = built(tmp_path / "holes.db", gzip.compress(feed()))
    assert (building.entries, building.unread) == (len(ENTRIES), 0)
    keys = [("plugin", "akismet"), ("core", "wordpress"), ("plugin", "nulls"), ("theme", "akismet")]
    found = lookup(tmp_path / "holes.db", keys)
    assert found is not None
    about, of = found
    assert (about.entries, about.as_of) == (len(ENTRIES), NOW)
    newest, oldest = of["plugin", "akismet"]
    assert newest == Weakness(
        "Akismet Anti-spam 5.0 – 5.0.2 – Stored Cross-Site Scripting “コメント” 🧪", "CVE-2026-10001", 7.2, "high",
        f"https://www.wordfence.com/threat-intel/vulnerabilities/id/{ENTRIES[0]['id']}?source=api-prod",
        (Range("5.0", True, "5.0.2", True),), ("5.0.3",),
    )  # fmt: skip
    assert oldest.ranges == (Range(None, True, "3.1.4", True),)
    assert [len(one.ranges) for one in of["core", "wordpress"]] == [3]
    assert of["plugin", "nulls"] == (
        Weakness("untitled", None, None, None, None, (Range(None, True, None, True),), ()),
    )
    assert of["theme", "akismet"] == ()


@pytest.mark.parametrize(
    ("told", "holds", "not_"),
    [
        (Range(None, True, None, True), ["0", "1.0", "99", "anything", None], []),
        (Range(None, True, "5.3.1", True), ["0.1", "5.3.1", "5.3.1-beta1", "5.3"], ["5.3.1.1", "5.3.10", None]),
        (Range(None, True, "1.5", False), ["1.4.9", "1.5-RC1"], ["1.5", "1.5.0"]),
        (Range("6.1", True, "6.1.9", True), ["6.1", "6.1.9"], ["6.0.9", "6.1.10", "6.1-beta3"]),
        (Range("2.0", False, None, True), ["2.0.1", "3"], ["2.0", "1.9", None]),
    ],
)  # fmt: skip
def test_a_range_holds_what_lies_between_its_ends(told: Range, holds: list[str | None], not_: list[str | None]) -> None:
    assert [one for one in [*holds, *not_] if told.holds(one)] == holds


def test_hostile_texts_are_visible_and_bounded() -> None:
    ((kind, slug, told),) = weaknesses(json.dumps(HOSTILE).encode())
    assert (kind, slug, told.cve, told.link) == ("plugin", "form-plugin", None, None)
    assert told.title == visible(told.title)
    assert len(told.title) <= 200


def test_an_entry_that_does_not_fit_is_counted_and_hides_no_other(tmp_path: Path) -> None:
    bad = [entry(30, "a", {"type": "plugin", "slug": 3}), entry(31, "b", software("b", versions("*", "1" * 101))),
           entry(32, "c", cvss="high")]  # fmt: skip
    building = built(tmp_path / "holes.db", feed(*bad, *ENTRIES))
    assert (building.entries, building.unread) == (len(ENTRIES) + 3, 3)


def test_bytes_of_chance_are_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    chance, body = random.Random("feed"), feed()
    for _ in range(300):
        broken = bytearray(body)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(broken))
            broken[at : at + chance.randint(0, 3)] = bytes(chance.choice(b'{}[]",:\\ x\xff') for _ in range(2))
        with contextlib.suppress(FeedBroken):
            assert built(tmp_path / "holes.db", bytes(broken)).entries > 0


def test_a_feed_of_forty_megabytes_costs_no_memory(tmp_path: Path) -> None:
    def grown(size: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, tmp_path / f"{size}.db", str(size)],
            capture_output=True,
            check=True,
            cwd=ROOT,
        )
        before, after, entries, read = (int(one) for one in done.stdout.split())
        assert read >= size
        assert entries > size // 8000
        return after - before

    small, big = grown(2_000_000), grown(40_000_000)
    assert big < small + 4096  # KiB
