"""Which holes a site has by the feed, which updates close them, and how urgent that makes it."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from app import readiness
from app.holes import Judged, judged, keys, named
from app.readiness import Known
from backends.holes_feed import Range, Weakness
from backends.records import Hole, Inspection, Plugin, SiteStatus, State, Update
from tests.widgets.made import NOW, site, status
from widgets.fleet_row import complaints, urgency

FORM = ("plugin", "contact-form-7")


def weakness(
    high: str | None = "5.3.1", *, low: str | None = None, score: float | None = 7.2, cve: str | None = "CVE-2026-1",
    patched: tuple[str, ...] = ("5.3.2",), title: str = "Stored XSS",
) -> Weakness:  # fmt: skip
    return Weakness(title, cve, score, None, "https://x.example/", (Range(low, True, high, True),), patched)


def seen(version: str | None = "5.0", *, kind: str = "plugin", slug: str = "contact-form-7") -> Inspection:
    plugins = (Plugin(slug=slug, name="Contact Form 7", version=version, kind=kind),)
    return Inspection(
        agent="a", at=NOW, php_cli="8.2", booted=True, wordpress="6.1.9", plugins=plugins, updates_checked=True
    )


def update(to: str | None = "5.4", *, held: str | None = None, **more: str) -> Update:
    return Update(**({"kind": "plugin", "slug": "contact-form-7", "from_": "5.0", "to": to, "held": held} | more))  # type: ignore[arg-type]


def test_a_site_is_asked_about_by_the_feeds_own_names() -> None:
    several = [seen(), seen(kind="theme", slug="Astra"), seen(kind="must-use", slug="loader")]
    assert keys(several) == {("core", "wordpress"), FORM, ("theme", "astra"), ("plugin", "loader")}


def test_an_update_beyond_the_range_closes_the_hole_and_comes_first() -> None:
    other = Update(kind="core", slug="wordpress", from_="6.1.9", to="7.1.1")
    found = judged(seen(), {FORM: (weakness(),)}, (other, update()))
    assert found.updates == (
        msgspec.structs.replace(update(), security=True, closes="CVE-2026-1 (7.2) Stored XSS"),
        msgspec.structs.replace(other, security=False),
    )
    (hole,) = found.holes or ()
    assert hole == Hole(
        kind="plugin", slug="contact-form-7", version="5.0", title="Stored XSS", cve="CVE-2026-1", score=7.2,
        patched="5.3.2", link="https://x.example/", closed_by="5.4",
    )  # fmt: skip


@pytest.mark.parametrize("pending", [(), (update("5.3.1"),), (update(None),), (update(held="it broke the page"),),
                                     (update(kind="theme"),), (update(slug="other"),)])  # fmt: skip
def test_a_hole_stays_open_without_an_update_that_closes_it_and_can_be_applied(pending: tuple[Update, ...]) -> None:
    (hole,) = judged(seen(), {FORM: (weakness(),)}, pending).holes or ()
    assert hole.closed_by is None


def test_the_gravest_is_named_and_the_others_are_counted() -> None:
    of = {FORM: (weakness(score=4.1, cve="CVE-2026-4"), weakness(score=9.8, cve="CVE-2026-9"), weakness(score=None)),
          ("core", "wordpress"): (weakness("6.1.9", score=5.0),)}  # fmt: skip
    core = Update(kind="core", slug="wordpress", from_="6.1.9", to="7.1.1")
    found = judged(seen(), of, (core, update()))
    assert [one.closes for one in found.updates or ()] == [
        "CVE-2026-9 (9.8) Stored XSS, +2",
        "CVE-2026-1 (5) Stored XSS",
    ]
    assert [one.score for one in found.holes or ()] == [9.8, 5.0, None, 4.1]


def test_what_is_open_comes_first() -> None:
    of = {FORM: (weakness("5.3.1", score=9.8), weakness("9.0", score=3.0))}
    assert [one.closed_by for one in judged(seen(), of, (update(),)).holes or ()] == [None, "5.4"]


def test_unknown_is_not_none() -> None:
    assert judged(seen(), None, (update(),)) == Judged(holes=None, updates=(update(),))
    unseen = msgspec.structs.replace(seen(), booted=False, plugins=())
    assert judged(unseen, {FORM: (weakness(),)}, None) == Judged(holes=None, updates=None)
    assert judged(seen("5.4"), {FORM: (weakness(),)}, None) == Judged(holes=(), updates=None)
    (open_,) = judged(seen(), {FORM: (weakness(),)}, None).holes or ()
    assert open_.closed_by is None


@pytest.mark.parametrize(
    ("version", "patched", "told"),
    [("6.1.9", ("7.1.1", "6.1.10", "6.2.7"), "6.1.10"), ("6.2", ("7.1.1", "6.1.10"), "7.1.1"), ("6.2", (), None),
     (None, ("2.0", "10.0"), "2.0")],
)  # fmt: skip
def test_the_nearest_patched_version_is_told(version: str | None, patched: tuple[str, ...], told: str | None) -> None:
    (hole,) = judged(seen(version), {FORM: (weakness(None, patched=patched),)}, ()).holes or ()
    assert hole.patched == told


def test_a_name_is_short() -> None:
    hole = Hole(kind="plugin", slug="a", title="x" * 500, rating="high")
    assert named(hole) == "(high) " + "x" * 89 + "…"


def test_a_site_says_what_no_update_closes_and_from_nine_on_it_is_critical() -> None:
    def of(score: float | None, closed_by: str | None = None, rating: str | None = None) -> SiteStatus:
        hole = Hole(kind="plugin", slug="a", title="t", score=score, rating=rating, closed_by=closed_by)
        return status("a.example", holes=(hole,))

    assert urgency(status("a.example", holes=())) is State.OK
    assert urgency(of(8.9)) is State.WARNING
    assert urgency(of(9.0)) is State.CRITICAL
    assert urgency(of(None, rating="critical")) is State.CRITICAL
    assert urgency(of(9.8, closed_by="2.0")) is State.OK  # the update itself makes it a warning
    assert [one.text for one in complaints(of(9.0))] == ["1 hole that no update closes"]
    assert [one.text for one in complaints(msgspec.structs.replace(of(9.0), updates=None))] == ["1 known hole"]


def test_a_status_has_its_holes_and_their_age() -> None:
    as_of = NOW - dt.timedelta(hours=3)
    inspection = msgspec.structs.replace(seen(), updates=(update(),))
    known = Known(inspection=inspection, weaknesses={FORM: (weakness(),)}, holes_as_of=as_of)
    found = readiness.status(site("a.example"), known, NOW)
    assert found.holes_as_of == as_of
    assert [hole.closed_by for hole in found.holes or ()] == ["5.4"]
    assert [one.security for one in found.updates or ()] == [True]
    assert readiness.status(site("a.example"), Known(inspection=inspection), NOW).holes is None
    assert readiness.status(site("a.example"), Known(), NOW).holes is None
