"""What one site's line says, at every width and in both languages."""

from __future__ import annotations

import datetime as dt
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from backends.records import Certainty, Certificate, State
from tests.widgets.made import NOW, broken, fleet, generation, status, updates
from widgets import language
from widgets.fleet_row import (
    BY_ID,
    FleetRow,
    cells,
    complaints,
    gap,
    layout,
    plain,
    titles,
    urgency,
    worst_first,
    wrong,
)

LOCALE = Path(__file__).parents[2] / "app" / "locale"
WIDTHS = (40, 72, 80, 100, 120, 160, 200)


@pytest.fixture(params=["en", "ja"])
def spoken(request: pytest.FixtureRequest) -> Iterator[str]:
    language.use(request.param, LOCALE)
    yield request.param
    language.use("en", LOCALE)


def row(name: str, **more: object) -> FleetRow:
    return FleetRow(status=status(name, **more))  # type: ignore[arg-type]


def test_a_line_says_the_state_in_words_and_signs() -> None:
    well = row("kogyo.example", verdict=Certainty.PROVEN, pending=updates(3))
    assert plain(well, 80, NOW) == "✔ kogyo.example           ok    ✔ proven 3d     ▮▮▮▮▮▮▮▮ —       61d  204d   3"
    down = row("shika.example", health=broken("status 500", 500), verdict=Certainty.FAILED, cert=6, domain=19,
               generations=(), pending=updates(4, security=True))  # fmt: skip
    assert plain(down, 80, NOW) == "✖ shika.example           500   ✖ failed        ········ —       6d!  19d!  4!"


@pytest.mark.parametrize("width", WIDTHS)
def test_every_line_has_the_width_of_its_head(width: int, spoken: str) -> None:
    head = sum(cell_len(cell.text) for cell in titles(width))
    for _, found in fleet():
        drawn = cells(FleetRow(status=found), width, NOW)
        assert sum(cell_len(cell.text) for cell in drawn) == head
        assert [cell_len(cell.text) for cell in drawn] == [size for _, size in layout(width)]
    assert head + gap(width) * (len(layout(width)) - 1) <= width - 2 or width < 60


@pytest.mark.parametrize("width", WIDTHS)
def test_the_verdict_and_its_age_are_never_cut(width: int, spoken: str) -> None:
    for verdict in Certainty:
        shown = dict(
            zip([column.id for column, _ in layout(width)], cells(row("a", verdict=verdict), width, NOW), strict=True)
        )
        assert shown["restorable"].text.rstrip().endswith("3d")


def test_wider_lists_show_more_columns() -> None:
    shown = [{column.id for column, _ in layout(width)} for width in WIDTHS]
    assert all(narrow <= wide for narrow, wide in itertools.pairwise(shown))
    assert {"site", "up", "restorable", "cert", "updates"} <= shown[0]
    assert {"server", "vault", "domain"} <= shown[2]
    assert {"owner", "why"} <= shown[4]
    assert {"rto", "tags", "wordpress", "php"} <= shown[6]


def test_east_asian_names_take_two_columns_each() -> None:
    wide = FleetRow(status=status("shop.example", owner="当番の田中さん"))
    narrow = FleetRow(status=status("shop.example", owner="tanaka"))
    one, other = plain(wide, 160, NOW), plain(narrow, 160, NOW)
    assert cell_len(one.rstrip()) <= 160
    assert "当番の田中…" in one
    assert cell_len(one[: one.index("7.1.1")]) == cell_len(other[: other.index("7.1.1")])


def test_text_from_outside_is_made_harmless() -> None:
    hostile = "\x1b]52;c;aGk=\x07[/bold]\u202e\u200b\x9b"
    line = plain(FleetRow(status=status("a.example", owner=hostile, health=broken(hostile)), tags=(hostile,)), 200, NOW)
    assert not any(char in line for char in "\x1b\x07\u202e\u200b\x9b")


def test_marks_show_the_newest_generation_first_and_every_free_place() -> None:
    from backends.records import GenerationState

    damaged_newest = (generation(1, GenerationState.DAMAGED), generation(8), generation(15))
    assert "▯▮▮·····" in plain(row("a.example", generations=damaged_newest), 80, NOW)
    assert "▯▮▮ " in plain(FleetRow(status=status("a.example", generations=damaged_newest), slots=3), 80, NOW)
    many = tuple(generation(day) for day in range(1, 30))
    assert "▮" * 8 + " " in plain(row("a.example", generations=many), 80, NOW)


def test_the_worst_is_what_counts() -> None:
    assert urgency(status("a")) is State.OK
    assert urgency(status("a", cert=12)) is State.WARNING
    assert urgency(status("a", cert=-1)) is State.CRITICAL
    assert urgency(status("a", verdict=Certainty.FAILED)) is State.CRITICAL
    assert urgency(status("a", pending=updates(1))) is State.OK
    assert urgency(status("a", pending=updates(1, security=True))) is State.WARNING
    assert urgency(status("a", domain=None)) is State.OK
    assert urgency(status("a", health=broken("", state=State.UNKNOWN))) is State.UNKNOWN


def test_worst_first() -> None:
    names = [found.name for found in sorted((FleetRow(status=found) for _, found in fleet()), key=worst_first)]
    assert names[0] == "shika.example"
    assert set(names[1:3]) == {"hanaya.example", "sushi-matsu.example"}
    assert names.index("old-shop.example") < names.index("ryokan.example") < names.index("bengoshi.example")
    assert names.index("bengoshi.example") < names.index("nouen.example") < names.index("zeirishi.example")


@pytest.mark.parametrize(
    ("column", "first", "last"),
    [
        ("worst", ["shika.example", "hanaya.example", "sushi-matsu.example"], "zeirishi.example"),
        ("site", ["bengoshi.example", "cafe-mori.example", "gakuen.example"], "zeirishi.example"),
        ("restorable", ["old-shop.example", "shika.example", "hacked.example"], "zeirishi.example"),
        ("server", ["old-shop.example", "shika.example", "kensetsu-yamada.example"], "hacked.example"),
        ("cert", ["ryokan.example", "shika.example", "bengoshi.example"], "gakuen.example"),
        ("domain", ["shika.example", "sakura-kai.example", "kominkan.example"], "toshi-keikaku.example"),
        ("updates", ["old-shop.example", "nouen.example", "hacked.example"], "zeirishi.example"),
    ],
)
def test_a_column_puts_first_what_wants_a_hand(column: str, first: list[str], last: str) -> None:
    rows = sorted((FleetRow(status=found) for _, found in fleet()), key=BY_ID[column].order)
    assert [row.name for row in rows][:3] == first
    assert rows[-1].name == last


def test_complaints_are_sentences_gravest_first() -> None:
    found = status("a", health=broken("status 500", 500), verdict=Certainty.STALE, cert=6, domain=3)
    assert [complaint.text for complaint in complaints(found)] == [
        "answers 500", "domain: 3 days left", "the last proof of a restore is old", "certificate: 6 days left",
    ]  # fmt: skip
    assert wrong(status("a")) == ""


def test_a_certificate_that_is_wrong_shows_no_days_as_if_all_were_well() -> None:
    certificate = Certificate(
        state=State.CRITICAL, days_left=61, problem="wrong name: it is for b.example, not for a.example"
    )
    found = status("a", certificate=certificate)
    shown = dict(zip([column.id for column, _ in layout(80)], cells(FleetRow(status=found), 80, NOW), strict=True))
    assert shown["cert"].text.strip() == "✖"
    assert wrong(found) == "certificate: wrong name: it is for b.example, not for a.example"


def test_an_expired_certificate_says_since_when() -> None:
    certificate = Certificate(state=State.CRITICAL, days_left=-2, problem="expired: 2026-11-21")
    found = status("a", certificate=certificate)
    assert "-2d!" in plain(FleetRow(status=found), 80, NOW)
    assert wrong(found) == "certificate: ended 2 days ago"


def test_ages_stay_narrow() -> None:
    from widgets.words import compact_age

    ages = {
        30.0: "0m",
        3599.0: "59m",
        7200.0: "2h",
        47 * 3600.0: "47h",
        3 * 86400.0: "3d",
        4000 * 86400.0: "999d",
        None: "",
    }
    assert {seconds: compact_age(seconds) for seconds in ages} == ages
    assert dt.timedelta(days=999).days == 999


def test_the_commands_print_these_lines_without_loading_textual() -> None:
    code = "import sys, widgets.fleet_row, widgets.job, widgets.site_page; print('textual' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=LOCALE.parents[1]
    )
    assert told.stdout.strip() == "False"
