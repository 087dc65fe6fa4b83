"""A word about what was decided, kept for others; it may stay empty."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import Input, Static

from app.screens.dialog import Dialog
from widgets.key_line import Key
from widgets.language import tr


class AskNote(Dialog[str]):
    """Answers what was typed, the empty string too."""

    DEFAULT_CSS = """
    AskNote {
        & > #box { max-width: 84; }
        & #where { height: auto; margin: 1 0; color: $text-muted; }
        & Input { height: 1; border: none; padding: 0 1; background: $boost; }
    }
    """

    def __init__(self, title: str, where: str) -> None:
        super().__init__(title, [Key("", "enter", tr("go on"))])
        self._where = where

    def body(self) -> Iterable[Widget]:
        yield Static(Text(self._where), id="where")
        yield Input(placeholder=tr("why; it may stay empty"), compact=True, max_length=300)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def submit(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def move(self, direction: str) -> bool:
        return False
