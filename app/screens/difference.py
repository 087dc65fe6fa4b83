"""What differs between a site and its newest clean generation: asked for when it opens, read while it is there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Static

from app.actions import key
from app.screens.scrolled import Scrolled
from backends.records import Difference, ModoseruError, Progress
from widgets import words
from widgets.cells import Cell, Line, Tone, folded, text_of
from widgets.difference import difference
from widgets.language import tr
from widgets.paint import paint
from widgets.sentences import told

MOST = 200
"""Paths of each list that are drawn: a screen of a hundred thousand lines answers no key."""


class WhatChanged(Scrolled):
    """`take` what the desk tells; `refuse` where it could not."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "app.perform('copy')", show=False)]
    DEFAULT_CSS = """
    WhatChanged #text { margin-top: 1; }
    """

    def __init__(self, site: str, now: Callable[[], dt.datetime], zone: dt.tzinfo) -> None:
        super().__init__(tr("{site}: what changed", site=site), [key("copy")])
        self._now, self._zone = now, zone
        self._lines: list[Line] = [(Cell(tr("Looking at {site}…", site=site), Tone.DIM),)]

    def text(self) -> Iterable[Widget]:
        yield Static(id="lines")

    def on_mount(self) -> None:
        super().on_mount()
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def take(self, one: Progress | Difference) -> None:
        if isinstance(one, Difference):
            self._lines = difference(one, self._now(), self._zone, most=MOST)
        elif one.total:
            so_far = f"{words.amount(one.done, one.unit)} / {words.amount(one.total, one.unit)}"
            self._lines = [(Cell(tr("Comparing… {so_far}", so_far=so_far), Tone.DIM),)]
        self._draw()

    def refuse(self, error: ModoseruError) -> None:
        hint: list[Line] = [(Cell("  → "), Cell(told(error.hint)))] if error.hint else []
        self._lines = [(Cell("✖ ", Tone.BAD), Cell(told(error.message), Tone.BAD)), *hint]
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        view, shown = self.query_one("#text"), self.query_one("#lines", Static)
        shown.update(paint(shown, folded(self._lines, view.scrollable_content_region.width or 80)))

    @property
    def plain(self) -> str:
        return "\n".join(text_of(line) for line in self._lines)
