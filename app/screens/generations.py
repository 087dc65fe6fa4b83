"""Which generation to restore: state, age, size, what is known of its bytes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from app.screens.dialog import Dialog
from backends.records import Generation
from widgets.cells import text_of
from widgets.key_line import Key
from widgets.language import tr
from widgets.site_page import generation_line


class Generations(Dialog[str]):
    """Answers the chosen generation's id."""

    DEFAULT_CSS = """
    Generations OptionList { height: auto; max-height: 20; border: none; margin-top: 1; background: $surface; }
    Generations OptionList:focus { border: none; }
    """
    _MOVES: ClassVar[dict[str, str]] = {
        "down": "cursor_down",
        "up": "cursor_up",
        "page_down": "page_down",
        "page_up": "page_up",
        "top": "first",
        "bottom": "last",
    }

    def __init__(
        self, site: str, generations: Sequence[Generation], now: dt.datetime, *, elsewhere: bool = False
    ) -> None:
        """`elsewhere`: it is to be restored to another site."""
        here = tr("Restore {site}: which generation?", site=site)
        there = tr("Restore {site} to another site: which generation?", site=site)
        super().__init__(there if elsewhere else here, [Key("", "enter", tr("choose"))])
        self._generations = sorted(generations, key=lambda generation: generation.id, reverse=True)
        self._now = now

    def body(self) -> Iterable[Widget]:
        lines = [generation_line(generation, self._now) for generation in self._generations]
        # Told apart by their place: both tiers may hold the same id, and a server may tell it twice.
        yield OptionList(*(Option(Text(text_of(line))) for line in lines), markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._generations[event.option_index].id)

    def move(self, direction: str) -> bool:
        getattr(self.query_one(OptionList), f"action_{self._MOVES[direction]}")()
        return True
