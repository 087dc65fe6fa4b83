"""The demo by keys in a real terminal: find the broken site, restore it, take that back, find one's way, leave."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal.hand import Hand
from widgets import language
from widgets.language import tr
from widgets.words import kind_word, step_word

LOCALE = Path(__file__).parents[2] / "app" / "locale"
BROKEN = "fudosan.example"
STEPS = ("stage", "import", "verify", "switch", "check")


@pytest.fixture
def spoken(request: pytest.FixtureRequest) -> Iterator[str]:
    language.use(request.param, LOCALE)
    yield request.param
    language.use("en", LOCALE)


@pytest.fixture
def demo(spoken: str, size: tuple[int, int], tmp_path: Path) -> Iterator[Hand]:
    """The demo, painted and looked at; its temporary folder lies below `tmp_path`."""
    (tmp_path / "tmp").mkdir()
    environment = {"TMPDIR": str(tmp_path / "tmp")}
    with Hand(tmp_path, "demo", "--language", spoken, environment=environment, size=size) as hand:
        hand.until("shika.example")
        yield hand


EVERYWHERE = pytest.mark.parametrize(
    ("spoken", "size"), [("en", (120, 40)), ("en", (80, 24)), ("ja", (120, 40)), ("ja", (80, 24))], indirect=["spoken"]
)
HERE = pytest.mark.parametrize(("spoken", "size"), [("en", (120, 40))], indirect=["spoken"])


@EVERYWHERE
def test_a_broken_site_is_found_restored_and_the_restore_is_taken_back(demo: Hand) -> None:
    demo.find_problem(BROKEN)
    demo.until_row(BROKEN, tr("db"))

    prompt = demo.ask("R", tr("Restore {site}", site=BROKEN))
    assert tr("Goes") in prompt
    assert re.search(r"\d{8}T\d{6}Z", prompt), "the prompt names the generation"
    demo.press("Enter")  # Cancel has the focus
    demo.until(lambda screen: tr("Stays") not in screen)
    demo.press("l")
    demo.until(re.escape(tr("Nothing has been done on {site} yet", site=BROKEN)))

    demo.ask("R", tr("Restore {site}", site=BROKEN))
    demo.agree(BROKEN)
    seen: set[str] = set()
    restore = kind_word("restore")

    def ended(screen: str) -> bool:
        line = demo.job(BROKEN, restore)
        seen.update(step for step in STEPS if step_word(step) in line)
        return tr("done") in line

    demo.until(ended)
    assert len(seen) >= 2, f"of the steps only {seen} were seen"
    demo.until_row(BROKEN, rf"^. ?{BROKEN} +{tr('ok')} ")
    demo.dismiss()

    prompt = demo.ask("U", tr("Undo on {site}", site=BROKEN))
    assert tr("Type {word} to go on:", word=BROKEN) in prompt, "the site is well now: overwriting it wants its name"
    demo.press("Enter")
    demo.until(lambda screen: tr("Stays") not in screen)
    demo.ask("U", tr("Undo on {site}", site=BROKEN))
    demo.type(BROKEN[:-1])
    demo.press("Tab", "Enter")  # the other button is not to be had: this is Cancel again
    demo.until(lambda screen: tr("Stays") not in screen)
    demo.ask("U", tr("Undo on {site}", site=BROKEN))
    demo.agree(BROKEN)
    assert tr("done") in demo.outcome(BROKEN, kind_word("undo"))
    demo.until_row(BROKEN, rf"^✖.*{tr('db')} ")
    demo.quit()


@EVERYWHERE
def test_one_finds_ones_way_and_leaves_nothing_behind(demo: Hand, tmp_path: Path) -> None:
    demo.press("?")
    demo.until(re.escape(tr("Restore the newest complete generation")))
    demo.press("Escape")
    demo.until(lambda screen: tr("Restore the newest complete generation") not in screen)

    demo.press("/")
    demo.type("ryokan")
    demo.until(lambda screen: demo.filtering(screen) == ("ryokan", 1) and not demo.row("shika.example"))
    demo.press("Escape")
    demo.until(lambda _: demo.row("shika.example"))

    demo.press("s")
    demo.until(re.escape(tr("Order: {column}", column=tr("site"))))
    demo.until(lambda _: len(demo.sites) > 10 and demo.sites == sorted(demo.sites))

    demo.press("C-p")
    demo.until(re.escape(tr("An action or a site…")))
    demo.type("kogyo")
    demo.press("Enter")
    demo.until(lambda _: " kogyo.example " in demo.cursor)

    demo.quit()
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == []


@HERE
def test_the_first_frame_is_whole(demo: Hand) -> None:
    demo.until(lambda _: "Demo Web Agency   24 sites   " in demo.lines[0])
    demo.until(lambda _: demo.lines[-1].rstrip().endswith("? help"))
    demo.until(re.escape("Can it be restored?"))


@HERE
def test_what_is_typed_ahead_of_the_filter_is_written_there_and_never_acts(demo: Hand) -> None:
    demo.type("/bengoshi")  # b backs up, n goes on, g goes to the top, s sorts …
    demo.until(lambda screen: demo.filtering(screen) == ("bengoshi", 1))
    demo.press("Escape")
    demo.until(lambda _: " bengoshi.example " in demo.cursor and demo.row("shika.example"))
    demo.press("l")
    demo.until("Nothing has been done on bengoshi.example yet")


@HERE
def test_a_wide_key_does_nothing_and_says_why(demo: Hand) -> None:
    demo.find_problem(BROKEN)
    demo.type("Ｒ")
    demo.until("Switch to half-width input")
    assert tr("Stays") not in demo.screen
