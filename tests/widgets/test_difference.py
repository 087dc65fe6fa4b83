"""What differs, as lines: the order in which an operator should look, bounded, harmless, in both languages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.records import (
    Blocker,
    ChangedFile,
    ChangedFiles,
    ChangedIdentity,
    ChangedPost,
    Difference,
    SuspiciousFile,
    TableRows,
)
from tests.widgets.made import JST, NOW
from widgets import language
from widgets.cells import text_of
from widgets.difference import AREA_WORDS, SIGN_WORDS, difference

ROOT = Path(__file__).parents[2]
DOOR = "wp-content/uploads/2026/11/x.php"
NONE = {"added": 0, "changed": 0, "removed": 0}
HACKED = Difference(
    site="shika.example",
    generation="20261120T050200Z",
    files=ChangedFiles(
        added=(
            ChangedFile(path=DOOR, area="uploads"),
            ChangedFile(path="wp-content/plugins/a/\x1b[2J.php", area="plugin"),
        ),
        changed=(ChangedFile(path="wp-includes/load.php", area="core"),),
        removed=tuple(ChangedFile(path=f"wp-content/uploads/{number}.jpg", area="uploads") for number in range(30)),
        suspicious=(
            SuspiciousFile(
                path=DOOR, signs=("php_in_uploads", "obfuscated"), area="uploads", change="added", modified=NOW
            ),
            SuspiciousFile(path="wp-includes/load.php", signs=("core_changed",), area="core", change="changed"),
        ),
    ),
    tables=(
        TableRows(name="wp_options", rows_then=9, rows_now=9),
        TableRows(name="wp_posts", rows_then=1200, rows_now=1190),
        TableRows(name="wp_evil", rows_then=None, rows_now=4),
        TableRows(name="wp_shop", rows_then=7, rows_now=None),
    ),
    posts=(
        ChangedPost(id=12, title="年末年始の休業日", type="page", change="gone", modified=NOW),
        ChangedPost(id=3, title="", type="product", change="changed", blog=2),
    ),
    counts={"added": 2, "changed": 1, "removed": 30, "suspicious": 2, "tables": 4, "posts": 2},
    areas={
        "core": NONE | {"changed": 1}, "plugin": NONE | {"added": 1}, "theme": NONE,
        "uploads": NONE | {"added": 1, "removed": 30}, "other": NONE,
    },
    identity=(ChangedIdentity(name="administrators", then=("kanri",), now=("kanri", "wp_support1")),),
    warnings=(Blocker(code="suspect", message="Part of this generation is damaged.", hint="compare with another one"),),
)  # fmt: skip


def lines(found: Difference, most: int | None = 20, zone: dt.tzinfo = JST) -> list[str]:
    return [text_of(line).rstrip() for line in difference(found, NOW, zone, most=most)]


@pytest.fixture
def japanese() -> Iterator[None]:
    language.use("ja", ROOT / "app" / "locale")
    yield
    language.use("en", ROOT / "app" / "locale")


def test_doubts_come_first_then_the_suspicious_then_how_much_then_what() -> None:
    told = lines(HACKED)
    order = [
        "! Part of this generation is damaged. → compare with another one", "Suspicious  2", f"✖ + {DOOR}",
        "✖ ~ wp-includes/load.php", "What the site says it is", "Posts and pages  2",
        "Tables with more or fewer rows  3", "core: changed  1", f"  + {DOOR}",
    ]  # fmt: skip
    assert [told.index(one) for one in order] == sorted(told.index(one) for one in order)
    assert told[0].startswith("shika.example against 20261120T050200Z")
    at = f"{NOW.astimezone(JST):%Y-%m-%d %H:%M}"
    assert f"    PHP among the uploads · runs packed code or what a visitor sends  {at}" in told
    assert "  administrators kanri → kanri, wp_support1" in told
    assert f"  - gone 年末年始の休業日  page 12  {NOW.astimezone(JST):%Y-%m-%d %H:%M}" in told
    assert "  ~ changed (no title)  product 2:3" in told
    assert [line for line in told if line.startswith("  wp_")] == [
        "  wp_posts  1,200 → 1,190  -10", "  wp_evil  – → 4  new table", "  wp_shop  7 → –  no longer there",
    ]  # fmt: skip


def test_areas_are_counted_and_those_without_a_difference_left_out() -> None:
    told = lines(HACKED)
    head = next(number for number, line in enumerate(told) if line.startswith("Files"))
    assert [line.split() for line in told[head : head + 4]] == [
        ["Files", "added", "changed", "removed"], ["core", "·", "1", "·"], ["plugins", "1", "·", "·"],
        ["uploads", "1", "·", "30"],
    ]  # fmt: skip
    assert told[head + 4] == ""


def test_a_long_list_says_how_many_more_there_are() -> None:
    assert len([line for line in lines(HACKED) if line.endswith(".jpg")]) == 20
    assert "  10 more" in lines(HACKED)
    assert len([line for line in lines(HACKED, None) if line.endswith(".jpg")]) == 30
    assert not [line for line in lines(HACKED, None) if line.endswith("more")]
    cut = replace(HACKED, counts=HACKED.counts | {"suspicious": 6001}, truncated=("suspicious",))
    assert "  5,999 more" in lines(cut, None)


def test_names_from_the_server_are_harmless() -> None:
    assert "  + wp-content/plugins/a/\\x1b[2J.php" in lines(HACKED)
    assert not any("\x1b" in line for line in lines(HACKED))


@pytest.mark.parametrize("generation", ["99999999T999999Z", "\x1b[2J", ""])
def test_an_id_that_no_server_would_make_is_no_crash(generation: str) -> None:
    assert "against" in lines(replace(HACKED, generation=generation))[0]


def test_what_is_the_same_says_so_and_what_could_not_be_compared_does_not() -> None:
    same = Difference(site="a.example", generation="20261120T050200Z", areas=dict.fromkeys(AREA_WORDS, NONE))
    assert lines(same)[-1] == "✔ Nothing differs."
    unknown = replace(same, warnings=(Blocker(code="no_database", message="the database is away"),))
    assert not any("Nothing differs" in line for line in lines(unknown))
    assert "✔ Nothing that differs looks suspicious." in lines(unknown)


def test_it_is_said_in_japanese(japanese: None) -> None:
    told = lines(HACKED)
    assert "不審なファイル  2" in told
    assert "    同じバージョンなのに本体が違う" in told
    assert "! この世代の一部が壊れています。 → 別の世代と比べる" in told


def test_every_sign_of_the_agent_has_its_words() -> None:
    source = (ROOT / "backends" / "agent" / "diff.php").read_text("utf-8")
    listed = source.partition("const GRAVITY = [")[2].partition("];")[0]
    assert [sign.strip(" '\n") for sign in listed.split(",")] == list(SIGN_WORDS)
