"""The keys that change a site: what asks, what reaches the desk, what the operator sees of it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from textual.widgets import Button, Input, Static

from app.dashboard import Dashboard
from app.screens.confirm import Confirm
from app.screens.dialog import Dialog
from app.screens.fleet import FleetScreen
from app.screens.generations import Generations
from app.screens.identity import AskIdentity
from app.screens.log import Log
from app.screens.updates import Updates
from backends.records import (
    Finished,
    ModoseruError,
    Note,
    Outcome,
    Site,
)
from tests.app.dashboard_desk import FakeDesk
from tests.app.dashboard_pilot import events, feed, opened, told, until
from tests.widgets.made import NOW, generation, operation, site, status


@pytest.mark.parametrize(
    ("key", "plan"),
    [
        ("R", ("plan", "restore", "shika.example", None)),
        ("U", ("plan", "undo", "shika.example")),
        ("x", ("plan", "isolate", "shika.example")),
    ],
)
async def test_what_overwrites_asks_first_and_cancel_has_the_focus(key: str, plan: tuple[object, ...]) -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Confirm) and not app.screen.query_one("#go", Button).disabled)
        assert app.focused is not None
        assert app.focused.id == "cancel"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert desk.calls == [plan]
        await pilot.press(key, "right", "enter")
        await until(pilot, lambda: bool(desk.made("start")))
        assert desk.made("start") == [("start", plan[1], "shika.example", True)]


async def test_the_key_that_closes_a_site_opens_one_that_is_closed() -> None:
    closed = status("shika.example", isolated=NOW)
    desk = FakeDesk([(site("shika.example"), closed)])
    async with opened(desk) as (_, _, pilot):
        await pilot.press("x")
        await until(pilot, lambda: bool(desk.made("plan")))
        assert desk.made("plan") == [("plan", "release", "shika.example")]


async def test_where_no_generation_is_good_the_others_are_offered() -> None:
    """Never a dead end: what is unproven is for the operator to read and to take."""
    async with opened() as (app, desk, pilot):
        desk.refusal = ModoseruError("no_generation", "no generation is known to be good", "choose one")
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, Generations))
        desk.refusal = None
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert desk.made("plan")[-1][3] is not None


async def test_a_drill_overwrites_nothing_and_begins_at_once() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("d")
        await until(pilot, lambda: bool(desk.made("start")))
        assert desk.calls[-2:] == [("plan", "drill", "shika.example"), ("start", "drill", "shika.example", False)]
        assert isinstance(app.screen, FleetScreen)


async def test_the_prompt_opens_at_once_and_closes_while_the_plan_is_made() -> None:
    async with opened() as (app, desk, pilot):
        desk.plan_gate = asyncio.Event()
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert app.screen.query_one("#go", Button).disabled
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        desk.plan_gate.set()
        await pilot.pause()
        assert desk.made("start") == []


async def test_a_key_acts_on_the_site_that_was_under_the_cursor() -> None:
    async with opened() as (app, desk, pilot):
        desk.plan_gate = asyncio.Event()
        await pilot.press("j", "R")
        await until(pilot, lambda: bool(desk.made("plan")))
        app.fleet.list.move("bottom")
        app.fleet.list.set_sort("site")
        desk.plan_gate.set()
        await until(pilot, lambda: isinstance(app.screen, Confirm) and not app.screen.query_one("#go", Button).disabled)
        await pilot.press("right", "enter")
        await until(pilot, lambda: bool(desk.made("start")))
        (started,) = desk.made("start")
        assert started[2] == desk.made("plan")[0][2] == "hanaya.example"


async def test_a_word_that_is_wanted_must_be_typed_and_may_be_full_width() -> None:
    async with opened() as (app, desk, pilot):
        desk.typed = "shika.example"
        await pilot.press("R")
        await until(
            pilot, lambda: isinstance(app.screen, Confirm) and app.screen.query_one("#word").has_class("-wanted")
        )
        go = app.screen.query_one("#go", Button)
        assert go.disabled
        assert app.focused is not None
        assert app.focused.id == "cancel"
        typed = app.screen.query_one("#typed", Input)
        await pilot.press("g", "j", "G")
        assert typed.value == "gjG"
        typed.value = "shika.exampl"
        await pilot.pause()
        assert go.disabled
        typed.value = "ｓｈｉｋａ．ｅｘａｍｐｌｅ"
        await pilot.pause()
        assert not go.disabled
        typed.focus()
        await pilot.press("enter")
        assert desk.made("start") == []
        assert app.focused is go
        assert told(app) == "enter: Restore"
        await pilot.press("enter")
        await until(pilot, lambda: bool(desk.made("start")))


async def test_enter_after_a_wrong_word_says_so_and_stays() -> None:
    async with opened() as (app, desk, pilot):
        desk.typed = "shika.example"
        await pilot.press("R")
        await until(
            pilot, lambda: isinstance(app.screen, Confirm) and app.screen.query_one("#word").has_class("-wanted")
        )
        await pilot.press(*"shiq", "enter")
        assert told(app) == "That is another word: nothing begins"
        assert app.focused is app.screen.query_one("#typed", Input)
        await pilot.press("escape")
        await until(pilot, lambda: told(app) == "Nothing was changed")
        assert isinstance(app.screen, FleetScreen)
        assert desk.made("start") == []


@pytest.mark.parametrize("key", ["R", "r", "u", "question_mark", "l"])
async def test_q_closes_a_dialog_and_does_not_quit(key: str) -> None:
    async with opened() as (app, desk, pilot):
        desk.journal = [operation("shika.example", "backup", Outcome.DONE)]
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Dialog))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert app.is_running


async def test_leaving_says_what_goes_on_and_in_the_demo_what_ends() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("b")
        await until(pilot, lambda: bool(desk.made("start")))
        for embedded, said in ((False, "Goes on"), (True, "The demo's servers end with it.")):
            desk.embedded = embedded
            await pilot.press("q")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            shown = str(app.screen.query_one("#consequences Static", Static).render())
            assert said in shown
            assert "Stays" not in shown
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, FleetScreen))


async def test_what_was_said_of_a_cancellation_goes_when_it_has_ended() -> None:
    async with opened() as (app, desk, pilot):
        feed(desk, "shika.example", "backup")
        await pilot.press("b")
        await until(pilot, lambda: "staging" in app.fleet.strip.plain)
        await pilot.press("C")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("right", "enter")
        await until(pilot, lambda: told(app) == "Asked it to cancel")
        desk.feed("shika.example").put_nowait(
            Finished(at=NOW, line=3, outcome=Outcome.CANCELLED, detail="cancelled by an operator")
        )
        await until(pilot, lambda: "cancelled" in app.fleet.strip.plain)
        await until(pilot, lambda: told(app) != "Asked it to cancel")
        assert "by an operator" not in app.fleet.strip.plain


async def test_a_log_longer_than_it_shows_goes_on() -> None:
    async with opened() as (app, desk, pilot):
        desk.feed("shika.example").put_nowait(events("shika.example")[0])
        await pilot.press("b")
        await until(pilot, lambda: app.jobs.of("shika.example") is not None)
        job = app.jobs.of("shika.example")
        assert job is not None
        for number in range(2100):
            job.apply(Note(at=NOW, line=number + 1, code="x", text=f"note {number}"))
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, Log) and "note 2099" in shown_log(app))
        desk.feed("shika.example").put_nowait(Note(at=NOW, line=2200, code="x", text="the last note"))
        await until(pilot, lambda: "the last note" in shown_log(app))


def shown_log(app: Dashboard) -> str:
    return str(app.screen.query_one("#lines", Static).render())


async def test_a_backup_starts_at_once() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("b")
        await until(pilot, lambda: bool(desk.made("start")))
        assert desk.calls == [("plan", "backup", "shika.example"), ("start", "backup", "shika.example", False)]
        await until(pilot, lambda: "backup" in app.fleet.strip.plain)


async def test_choosing_a_generation() -> None:
    async with opened() as (app, desk, pilot):
        app.fleet.list.go_to("kogyo.example")
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, Generations))
        await pilot.press("j", "enter")
        await until(pilot, lambda: bool(desk.made("plan")))
        (plan,) = desk.made("plan")
        newest_first = sorted((g.id for g in status("kogyo.example").generations), reverse=True)
        assert plan[:3] == ("plan", "restore", "kogyo.example")
        assert plan[3] in newest_first
        await until(pilot, lambda: isinstance(app.screen, Confirm))


async def test_a_site_without_a_generation_says_how_to_make_one() -> None:
    async with opened() as (app, desk, pilot):
        app.fleet.list.go_to("old-shop.example")
        await pilot.press("r")
        await pilot.pause()
        assert told(app) == "old-shop.example has no generation yet; b makes one"
        assert desk.calls == []


async def test_a_generation_that_only_the_vault_has_is_brought_first_and_never_moved() -> None:
    off_site = generation(3, tier="vault")
    found = msgspec.structs.replace(status("a.example"), generations=(off_site,))
    async with opened(FakeDesk([(site("a.example"), found)])) as (app, desk, pilot):
        await pilot.press("m")
        await pilot.pause()
        assert told(app) == "Only the vault has one: modoseru restore a.example --tier vault"
        assert desk.calls == []
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, Generations))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, AskIdentity))
        desk.refusal = ModoseruError("no_identity", "it cannot be read", "name another file")
        await pilot.press(*"key.txt", "enter")
        await until(pilot, lambda: "it cannot be read" in text_of_screen(app))
        desk.refusal = None
        await pilot.press("enter")
        await until(pilot, lambda: bool(desk.made("start")))
        assert desk.made("plan")[-1] == ("plan", "bring", "a.example", off_site.id, "key.txt", False)
        assert desk.made("start") == [("start", "bring", "a.example", False)]


async def test_a_drill_out_of_the_vault_brings_its_newest_and_begins_when_that_has_arrived() -> None:
    found = msgspec.structs.replace(status("a.example"), generations=(generation(3, tier="vault"),))
    sites = [(site("a.example"), found), (site("b.example"), status("b.example", generations=()))]
    async with opened(FakeDesk(sites)) as (app, desk, pilot):
        app.fleet.list.go_to("b.example")
        await pilot.press("o")
        await pilot.pause()
        assert told(app) == "Nothing of b.example is known to be in the vault; V copies it there"
        app.fleet.list.go_to("a.example")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, AskIdentity))
        await pilot.press(*"key.txt", "enter")
        await until(pilot, lambda: bool(desk.made("start")))
        assert desk.made("plan") == [("plan", "bring", "a.example", None, "key.txt", True)]
        feed(desk, "a.example", "bring", Outcome.DONE)
        await until(pilot, lambda: len(desk.made("plan")) > 1)
        assert desk.made("plan")[-1] == ("plan", "drill", "a.example", None, 41.0)
        await until(pilot, lambda: desk.made("start")[-1] == ("start", "drill", "a.example", False))


async def test_one_that_both_tiers_have_comes_from_the_server_unless_it_is_gone_there() -> None:
    own = generation(5)
    found = msgspec.structs.replace(status("a.example"), generations=(own, generation(5, tier="vault")))
    async with opened(FakeDesk([(site("a.example"), found)])) as (app, desk, pilot):
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, Generations))
        desk.refusal = ModoseruError("no_generation", f"a.example has no generation {own.id}", "choose another")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, AskIdentity))
        assert desk.made("plan") == [("plan", "restore", "a.example", own.id)]


def text_of_screen(app: Dashboard) -> str:
    return " ".join(str(one.render()) for one in app.screen.query(Static))


async def test_choosing_updates() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, Updates))
        await pilot.press("space", "enter")
        await until(pilot, lambda: bool(desk.made("plan")))
        (plan,) = desk.made("plan")
        assert plan[:3] == ("plan", "update", "shika.example")
        assert isinstance(plan[3], tuple)
        assert len(plan[3]) == 3
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        app.fleet.list.go_to("museum.example")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        await pilot.press("u")
        await pilot.pause()
        assert told(app) == "museum.example has no updates waiting"


async def test_no_update_chosen_goes_nowhere() -> None:
    async with opened() as (app, desk, pilot):
        app.fleet.list.go_to("yoga-studio.example")
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, Updates))
        await pilot.press("space", "enter")
        await pilot.pause()
        assert isinstance(app.screen, Updates)
        await pilot.press("escape")
        assert desk.calls == []


async def test_a_refusal_is_a_sentence_that_stays() -> None:
    async with opened() as (app, desk, pilot):
        desk.refusal = ModoseruError("ssh_auth", "the server refused the key", "run modoseru site test shika.example")
        await pilot.press("R")
        await until(pilot, lambda: "the server refused the key" in app.fleet.strip.plain)
        assert "modoseru site test" in app.fleet.strip.plain
        assert isinstance(app.screen, FleetScreen)
        await pilot.press("j", "escape")
        assert "the server refused the key" in app.fleet.strip.plain
        await pilot.press("D")
        await until(pilot, lambda: app.fleet.strip.plain == "")


async def test_several_operations_run_beside_each_other_and_their_ends_stay() -> None:
    async with opened() as (app, desk, pilot):
        for name in ("shika.example", "kogyo.example", "nouen.example"):
            app.fleet.list.go_to(name)
            await pilot.press("b")
            await until(pilot, lambda name=name: any(call[2] == name for call in desk.made("start")))  # type: ignore[misc]
        feed(desk, "shika.example", "backup", Outcome.DONE)
        feed(desk, "kogyo.example", "backup", Outcome.ROLLED_BACK)
        feed(desk, "nouen.example", "backup")
        await until(pilot, lambda: "rolled back" in app.fleet.strip.plain and "10%" in app.fleet.strip.plain)
        assert "done  41 s" in app.fleet.strip.plain
        assert app.fleet.list.size.height > 20
        await pilot.press("D")
        await until(pilot, lambda: "rolled back" not in app.fleet.strip.plain)
        assert "10%" in app.fleet.strip.plain


async def test_after_an_operation_the_site_is_looked_at() -> None:
    async with opened() as (_, desk, pilot):
        await pilot.press("b")
        feed(desk, "shika.example", "backup", Outcome.DONE)
        await until(pilot, lambda: ("check", ("shika.example",)) in desk.calls)


async def test_a_defect_in_one_operation_leaves_the_others_and_the_screen() -> None:
    async with opened() as (app, desk, pilot):

        async def broken_plan(_: Site) -> None:
            raise ZeroDivisionError("oops")

        desk.plan_backup = broken_plan  # type: ignore[method-assign, assignment]
        await pilot.press("b")
        await until(pilot, lambda: "ZeroDivisionError: oops" in app.fleet.strip.plain)


async def test_cancelling_asks_and_the_operation_itself_says_that_it_was_cancelled() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("C")
        await pilot.pause()
        assert told(app) == "Nothing runs on shika.example"
        await pilot.press("b")
        feed(desk, "shika.example", "backup")
        await until(pilot, lambda: "10%" in app.fleet.strip.plain)
        await pilot.press("C")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        assert desk.made("cancel") == []
        await pilot.press("C", "right", "enter")
        await until(pilot, lambda: bool(desk.made("cancel")))
        assert desk.made("cancel") == [("cancel", "shika.example", "20261123T050200Z-backup-00beef")]
        assert app.jobs.running


async def test_quitting_while_something_runs_says_so_and_only_detaches() -> None:
    async with opened() as (app, desk, pilot):
        await pilot.press("b")
        feed(desk, "shika.example", "backup")
        await until(pilot, lambda: "10%" in app.fleet.strip.plain)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        assert app.is_running
        assert desk.closed == []
        await pilot.press("q", "right", "enter")
        await until(pilot, lambda: not app.is_running)
    assert desk.closed == ["shika.example"]
    assert desk.made("cancel") == []


async def test_quitting_with_nothing_running_quits() -> None:
    async with opened() as (app, _, pilot):
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)
