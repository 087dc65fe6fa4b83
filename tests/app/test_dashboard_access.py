"""Who may do what, keys that never act, and text that is never obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.events import Key
from textual.keys import _character_to_key

from app.actions import ACTIONS, Action, May, Place
from app.dashboard import OF_SCREENS, Dashboard
from app.screens.dialog import Dialog
from app.screens.fleet import FleetScreen
from backends.records import (
    Finished,
    ModoseruError,
    Outcome,
    Site,
    SiteStatus,
)
from tests.app.dashboard_desk import FakeDesk
from tests.app.dashboard_pilot import opened, told, until
from tests.widgets.made import NOW, broken, fleet, operation, site, status, updates
from widgets import language
from widgets.key_line import KeyLine

LOCALE = Path(__file__).parents[2] / "app" / "locale"


def test_every_action_has_a_key_of_its_own() -> None:
    of_month = {Place.MONTH, Place.MOVE, Place.BACK}
    for places in (set(Place) - {Place.MONTH}, of_month):  # no screen binds the others beside these
        keys = [key for action in ACTIONS if action.place in places for key in action.keys.split(",")]
        assert len(keys) == len(set(keys))


def test_every_action_is_done_somewhere_and_nothing_is_done_that_is_no_action() -> None:
    app = Dashboard(FakeDesk(fleet()))
    places = (set(app.of_site), set(app.of_program), OF_SCREENS)
    assert set().union(*places) == {action.id for action in ACTIONS}
    assert sum(map(len, places)) == len(ACTIONS)


async def test_what_overwrites_is_an_operators_and_asks() -> None:
    for action in ACTIONS:
        if action.place is not Place.SITE or action.may is not May.OPERATOR or action.id in {"cancel", "off_site"}:
            continue
        async with opened() as (app, desk, pilot):
            await pilot.press(action.keys)
            await until(pilot, lambda: isinstance(app.screen, Dialog) or bool(desk.made("start")))
            assert bool(desk.made("start")) is not action.danger, action.id
            assert isinstance(app.screen, Dialog) is action.danger, action.id


@pytest.mark.parametrize("read_only", [False, True])
async def test_at_eighty_columns_the_keys_that_are_needed_first_are_there(read_only: bool) -> None:
    async with opened(FakeDesk(fleet(), read_only=read_only), size=(80, 24)) as (app, _, _):
        shown = str(app.screen.query_one(KeyLine).render())
        first = ["enter", *([] if read_only else ["R", "u", "b"]), "n", "/", "q"]
        assert [word for word in shown.split() if word in {*first, "?"}] == [*first, "?"]


def test_what_is_dangerous_is_an_operators() -> None:
    assert {action.id for action in ACTIONS if action.danger} == {
        *("restore", "choose", "post", "move", "undo", "update", "isolate", "waves"),
    }
    assert all(action.may is May.OPERATOR for action in ACTIONS if action.danger)


async def test_read_only_binds_nothing_that_changes_a_site() -> None:
    async with opened(FakeDesk(fleet(), read_only=True)) as (app, desk, pilot):
        assert "READ-ONLY" in app.fleet.header.plain
        bound = {binding.binding.id for binding in app.screen.active_bindings.values()}
        for action in ACTIONS:
            if action.may is May.OPERATOR:
                assert action.id not in bound
                assert f"{action.key} {action.title}" not in told(app)
                if action.place is not Place.MONTH:  # its keys are others' here
                    await pilot.press(action.keys)
                app.action_perform(action.id)
        await pilot.press("colon", *"make a gen")
        await app.workers.wait_for_complete()
        await pilot.press("enter", "escape", "escape")
        await pilot.pause()
        assert desk.calls == []
        assert {"check", "log", "open"} <= bound


async def test_a_read_only_site_says_why_it_refuses() -> None:
    found = [(site("a.example", read_only=True), status("a.example", pending=updates(1)))]
    async with opened(FakeDesk(found)) as (app, desk, pilot):
        for key in ("R", "r", "U", "u", "b", "C"):
            await pilot.press(key)
            assert told(app) == "a.example is read-only: its file in sites.d says so"
        await pilot.press("c")
        assert desk.calls == [("check", ("a.example",))]


@pytest.mark.parametrize("key", ["Ｒ", "ｒ", "Ｕ", "ｂ", "ｑ", "あ", "ん", "ｱ", "。", "　", "？"])
async def test_a_key_typed_with_an_ime_on_never_acts(key: str) -> None:
    async with opened() as (app, desk, pilot):
        app.post_message(Key(_character_to_key(key), key))
        await until(pilot, lambda: told(app) == "Switch to half-width input")
        assert desk.calls == []
        assert isinstance(app.screen, FleetScreen)
        await pilot.press("j")
        assert told(app) != "Switch to half-width input"


async def test_the_ime_notice_is_japanese_in_japanese_and_shown_in_dialogs() -> None:
    language.use("ja", LOCALE)
    try:
        async with opened() as (app, desk, pilot):
            await pilot.press("question_mark", "Ｒ")
            assert told(app) == "半角に切り替えてください"
            assert desk.calls == []
    finally:
        language.use("en", LOCALE)


@pytest.mark.parametrize("action", [action for action in ACTIONS if action.place in {Place.SITE, Place.FLEET}])
async def test_no_key_reaches_an_operation_but_through_the_guards_door(action: Action) -> None:
    """The key is pressed and whatever it asks is agreed to: danger starts only confirmed, and nothing else starts."""
    async with opened() as (_, desk, pilot):
        await pilot.press(action.keys.split(",")[0])
        await pilot.pause()
        for _ in range(2 if action.may is May.OPERATOR else 0):
            await pilot.press("right", "enter")
            await pilot.pause()
        starts = {"restore": "restore", "choose": "restore", "undo": "undo", "update": "update", "backup": "backup"}
        starts |= {"drill": "drill", "verify": "verify", "vault": "vault", "isolate": "isolate"}
        wanted = {("start", starts[action.id], "shika.example", action.danger)} if action.id in starts else set()
        assert set(desk.made("start")) == wanted


# ---------------------------------------------------------------- hostile text

HOSTILE = "[/bold]\x1b]52;c;aGk=\x07\x1b[2J\u202eevil\u200b\x9b31m[red]"


def hostile() -> Sequence[tuple[Site, SiteStatus]]:
    pending = tuple(
        type(update)(kind=update.kind, slug=f"{update.slug}[x]", name=HOSTILE, from_=HOSTILE, to=HOSTILE)
        for update in updates(3)
    )
    found = status("a.example", health=broken(HOSTILE), owner=HOSTILE, pending=pending, reasons=(HOSTILE,))
    return [(site("a.example", tags=(HOSTILE,)), found)]


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_text_of_a_hacked_site_is_harmless_on_every_screen(size: tuple[int, int]) -> None:
    desk = FakeDesk(hostile())
    past = operation("a.example", "restore", Outcome.NEEDS_HAND, detail=HOSTILE)
    desk.journal = [past]
    desk.past[past.operation] = [Finished(at=NOW, outcome=Outcome.NEEDS_HAND, detail=HOSTILE, hint=HOSTILE)]
    desk.refusal = ModoseruError("x", HOSTILE, HOSTILE)
    async with opened(desk, size) as (app, _, pilot):
        for keys in (("enter",), ("u",), ("r",), ("l",), ("question_mark",), ("R",), ("colon",)):
            await pilot.press(*keys)
            await pilot.pause()
            _assert_harmless(app)
            await pilot.press("escape")
            await pilot.pause()
        await until(pilot, lambda: bool(app.jobs.all))
        _assert_harmless(app)


def _assert_harmless(app: Dashboard) -> None:
    width, height = app.size
    shown = "\n".join(
        "".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips(app.size)
    )
    assert len(shown) >= height
    assert width
    for char in "\x1b\x07\u202e\u200b\x9b":
        assert char not in shown
