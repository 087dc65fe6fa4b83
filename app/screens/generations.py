"""Which generation to restore: state, age, size, what is known of its bytes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from textual.widget import Widget
from textual.widgets import OptionList

from app.screens.choice import Choice
from backends.records import Generation
from widgets.cells import text_of
from widgets.key_line import Key
from widgets.language import tr
from widgets.site_page import generation_line


class Generations(Choice[str]):
    """Answers the chosen generation's id."""

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
        yield OptionList(markup=False)

    def on_mount(self) -> None:
        lines = (text_of(generation_line(generation, self._now)) for generation in self._generations)
        self.offer([generation.id for generation in self._generations], lines)
        self.query_one(OptionList).focus()
