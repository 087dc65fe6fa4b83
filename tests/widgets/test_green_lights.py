"""A green light that nobody tested is never met: not before a site, not in its pane, not on a generation."""

from __future__ import annotations

import datetime as dt

import pytest
from msgspec.structs import replace

from backends.records import Certainty, Generation, GenerationState
from tests.widgets.made import JST, NOW, generation, site, status
from widgets.cells import Line, Tone, text_of
from widgets.fleet_row import FleetRow, cells
from widgets.site_page import SiteNews, brief, generation_line, overview, whole

UNTRIED = replace(generation(3), verified_at=None)


def green(lines: list[Line]) -> list[str]:
    return [cell.text for line in lines for cell in line if cell.tone is Tone.GOOD]


@pytest.mark.parametrize("verdict", list(Certainty))
def test_a_site_with_which_nothing_is_wrong_is_green_only_when_a_restore_was_tried(verdict: Certainty) -> None:
    found = status("a.example", verdict=verdict, generations=(UNTRIED,))
    news = SiteNews(site("a.example"), found)
    drawn = [
        [cells(FleetRow(status=found), 120, NOW)],
        brief(news, NOW),
        overview(news, NOW, JST),
        whole(news, NOW, JST),
    ]
    for lines in drawn:
        assert bool(green(lines)) is (verdict is Certainty.PROVEN), text_of(lines[0])
        assert any("✔" in text_of(line) for line in lines) is (verdict is Certainty.PROVEN)


def test_a_site_that_is_well_and_untried_has_a_sign_of_its_own() -> None:
    line = cells(FleetRow(status=status("a.example", verdict=Certainty.UNPROVEN)), 120, NOW)
    assert line[0] == ("●", Tone.DIM)


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        ({}, "▮ complete"),
        ({"verified_at": NOW - dt.timedelta(days=3)}, "▮ read back 3d"),
        ({"drilled_at": NOW - dt.timedelta(hours=5)}, "▮ rehearsed 5h"),
        ({"verified_at": NOW - dt.timedelta(days=3), "drilled_at": NOW - dt.timedelta(days=9)}, "▮ rehearsed 9d"),
    ],
)
@pytest.mark.parametrize("in_full", [True, False])
def test_a_generation_is_green_only_when_it_was_read_back_and_says_when(
    tried: dict[str, dt.datetime], said: str, in_full: bool
) -> None:
    line = generation_line(replace(UNTRIED, **tried), NOW, in_full=in_full)
    assert said in text_of(line)
    assert green([line]) == ([said] if tried else [])
    assert ("never read back" in text_of(line)) is (in_full and not tried)


@pytest.mark.parametrize("state", [GenerationState.SUSPECT, GenerationState.DAMAGED])
def test_a_generation_in_doubt_is_never_green(state: GenerationState) -> None:
    doubtful: Generation = replace(UNTRIED, state=state, verified_at=NOW - dt.timedelta(days=2))
    line = generation_line(doubtful, NOW)
    assert green([line]) == []
    assert "▯" in text_of(line)
    assert "read back 2d" in text_of(line)
