"""The demo's fleet has known holes: some that an update closes, one that none does."""

from __future__ import annotations

from pathlib import Path

from app import session as sessions
from app.demo.fleet import embedded
from app.operations import check
from backends.records import State
from widgets.fleet_row import left_open, urgency


async def test_one_site_has_a_hole_that_an_update_closes_and_one_has_a_hole_without(tmp_path: Path) -> None:
    async with (
        embedded(24, parent=tmp_path, start=False) as demo,
        sessions.opened(demo.config, journal=demo.folder / "journal.db") as held,
    ):
        await held.journal.remember_all(demo.journal_seed)
        assert held.holes is not None
        assert (await held.holes.refresh()).problem is None
        known = {one.name: one for one in await check.last_known(held)}
    closed, open_ = known["kogyo.example"], known["example2.co.jp"]
    assert [(hole.slug, hole.closed_by) for hole in closed.holes or ()] == [("contact-form-7", "6.1.4")]
    assert [(one.slug, one.security) for one in (closed.updates or ())[:2]] == [
        ("contact-form-7", True), ("akismet", False),
    ]  # fmt: skip
    assert [hole.slug for hole in left_open(open_)] == ["member-portal"]
    assert urgency(open_) is State.WARNING
    assert known["zeirishi.example"].holes == ()
    assert closed.holes_as_of is not None
