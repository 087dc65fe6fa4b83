"""A dialog that holds a text longer than the screen."""

from __future__ import annotations

from collections.abc import Iterable

from textual.containers import VerticalScroll
from textual.widget import Widget

from app.screens.dialog import Dialog


def scroll(view: Widget, direction: str) -> bool:
    """Do what a key of `Place.MOVE` means in a text."""
    page = max(1, view.size.height - 1)
    steps = {"down": 1, "up": -1, "page_down": page, "page_up": -page, "top": -1_000_000, "bottom": 1_000_000}
    if direction not in steps:
        return False
    view.scroll_relative(y=steps[direction], animate=False)
    return True


class Scrolled(Dialog[None]):
    """Subclasses give `text`, the widgets that scroll together."""

    DEFAULT_CSS = """
    Scrolled {
        & > #box { width: 96%; max-width: 120; height: 94%; max-height: 94%; }
        & #text { height: 1fr; scrollbar-size-vertical: 1; }
    }
    """

    def text(self) -> Iterable[Widget]:
        raise NotImplementedError

    def body(self) -> Iterable[Widget]:
        yield VerticalScroll(*self.text(), id="text")

    def on_mount(self) -> None:
        self.query_one("#text").focus()

    def move(self, direction: str) -> bool:
        return scroll(self.query_one("#text"), direction)
