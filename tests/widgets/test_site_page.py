"""The pane's answers about one site."""

from __future__ import annotations

import datetime as dt

from msgspec.structs import replace

from backends.records import Certainty, Hole, SiteStatus, TriedPhp
from tests.widgets.made import JST, NOW, generation, site, status, updates
from widgets.fleet_row import FleetRow, plain
from widgets.site_page import SiteNews, overview, whole


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


def test_holes_that_no_update_closes_stand_in_the_pane_with_the_age_of_the_feed() -> None:
    open_ = Hole(kind="plugin", slug="forms", version="1.2", title="RCE", cve="CVE-2026-1", score=9.8)
    closed = Hole(kind="plugin", slug="shop", version="3.0", title="XSS", rating="high", closed_by="3.1")
    found = status("a.example", holes=(open_, closed), holes_as_of=NOW - dt.timedelta(hours=5))
    lines = told(found)
    at = lines.index("Known holes  1  (5 hours ago)")
    assert lines[at + 1] == "  forms 1.2  no update closes it  CVE-2026-1 9.8 RCE"
    assert not any("shop" in line for line in lines)
    page = ["".join(cell.text for cell in line) for line in whole(SiteNews(site("a.example"), found), NOW, JST)]
    assert "  shop 3.0  3.1 closes it  high XSS" in page
    unasked = told(replace(found, updates=None))
    assert "  forms 1.2  updates are unknown  CVE-2026-1 9.8 RCE" in unasked
    unknown = SiteNews(site("a.example"), status("a.example"))
    assert ["".join(cell.text for cell in line) for line in whole(unknown, NOW, JST)].count("Known holes  unknown") == 1
    assert not any("Known holes" in line for line in told(replace(found, holes=(closed,))))


def test_an_update_names_the_hole_that_it_closes() -> None:
    (update,) = updates(1, security=True)
    found = status("a.example", pending=(replace(update, closes="CVE-2026-1 (9.8) RCE, +2"),))
    assert "  Akismet 5.0.2 → 5.7.2  ! security  CVE-2026-1 (9.8) RCE, +2" in told(found)


def test_what_the_last_trial_under_another_php_said_is_shown_with_its_age() -> None:
    tried = TriedPhp(to="8.4.15", verdict="risky", at=NOW - dt.timedelta(days=3))
    (line,) = [one for one in told(replace(status("a.example"), tried=tried)) if one.strip().startswith("versions")]
    assert line.endswith("under PHP 8.4.15: risky (3 days ago)")
    (line,) = [one for one in told(status("a.example")) if one.strip().startswith("versions")]
    assert "under PHP" not in line
