"""Which file opens the vault; what is in it is never shown, and nothing remembers where it lies."""

from __future__ import annotations

import os
from collections.abc import Iterable

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import Input, Static

from app.screens.dialog import Dialog
from app.vault import IDENTITY
from widgets.key_line import Key
from widgets.language import tr


class AskIdentity(Dialog[str]):
    """Answers the path that was typed; `why` says what was wrong with the one before."""

    DEFAULT_CSS = """
    AskIdentity {
        & > #box { max-width: 84; }
        & #why { height: auto; color: $text-error; }
        & #where { height: auto; margin: 1 0; color: $text-muted; }
        & Input { height: 1; border: none; padding: 0 1; background: $boost; }
    }
    """

    def __init__(self, site: str, why: str = "", before: str | None = None) -> None:
        super().__init__(tr("Open the vault for {site}", site=site), [Key("", "enter", tr("go on"))])
        self._why, self._before = why, before if before is not None else os.environ.get(IDENTITY, "")

    def body(self) -> Iterable[Widget]:
        yield Static(Text(tr("The age identity, or the SSH key, that opens it: a file on this machine.")), id="where")
        yield Static(Text(self._why), id="why")
        yield Input(self._before, compact=True, max_length=1000)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def submit(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())

    def move(self, direction: str) -> bool:
        return False
