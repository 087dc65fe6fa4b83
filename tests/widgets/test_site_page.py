"""The pane's answers about one site."""

from __future__ import annotations

import datetime as dt

from msgspec.structs import replace

from backends.records import Certainty, SiteStatus
from tests.widgets.made import JST, NOW, generation, site, status
from widgets.fleet_row import FleetRow, plain
from widgets.site_page import SiteNews, overview


def told(found: SiteStatus) -> list[str]:
    return ["".join(cell.text for cell in line) for line in overview(SiteNews(site(found.name), found), NOW, JST)]


def test_what_a_restore_takes_is_said_with_the_age_of_the_drill_that_measured_it() -> None:
    drilled = replace(generation(3), drilled_at=NOW - dt.timedelta(days=2))
    rehearsed = status("a.example", generations=(drilled, generation(10)), verdict=Certainty.PROVEN, rto_s=41)
    assert any(line.split() == ["takes", "41", "s,", "rehearsed", "2", "days", "ago"] for line in told(rehearsed))
    measured = status("a.example", generations=(generation(3),), verdict=Certainty.PROVEN, rto_s=41)
    assert any(line.split() == ["takes", "41", "s"] for line in told(measured))
    assert any(line.split() == ["takes", "never", "measured"] for line in told(status("a.example")))


def test_a_drill_that_took_much_longer_than_those_before_it_is_marked() -> None:
    def takes(rto_s: int, *before: int) -> list[str]:
        found = status("a.example", generations=(generation(3),), verdict=Certainty.PROVEN, rto_s=rto_s)
        (line,) = [line for line in told(replace(found, rto_before_s=before)) if line.strip().startswith("takes")]
        return line.split()[1:]

    assert takes(80, 41, 40, 43) == ["1:20", "↑,", "before", "that", "41", "s,", "40", "s,", "43", "s"]
    assert "↓," in takes(20, 41, 40, 43)
    assert takes(43, 41) == ["43", "s,", "before", "that", "41", "s"]


def test_unknown_updates_are_not_shown_as_none() -> None:
    asked = status("a.example")
    unasked = replace(asked, updates=None)
    shown = [line for line in told(unasked) if line.startswith("Updates")]
    assert shown == ["Updates  unknown"]
    assert plain(FleetRow(status=unasked), 80, NOW).split()[-1] == "?"
    assert plain(FleetRow(status=asked), 80, NOW).split()[-1] == "0"
