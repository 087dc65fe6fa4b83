"""Which of a site's updates to apply. All are chosen at first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import SelectionList, Static
from textual.widgets.selection_list import Selection

from app.screens.dialog import Dialog
from backends.records import Update
from widgets.cells import fit, said
from widgets.key_line import Key
from widgets.language import tr, tr_n


class _Choice(SelectionList[str]):
    """Space chooses, enter goes on: enter must not undo a choice."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", show=False)]

    class Submitted(Message):
        pass

    def action_submit(self) -> None:
        self.post_message(self.Submitted())


class Updates(Dialog[tuple[str, ...]]):
    """Answers the slugs that were chosen."""

    DEFAULT_CSS = """
    Updates SelectionList { height: auto; max-height: 18; border: none; margin-top: 1; background: $surface; }
    Updates SelectionList:focus { border: none; }
    Updates #count { height: 1; color: $text-muted; }
    """

    def __init__(self, site: str, updates: Sequence[Update]) -> None:
        offered = [Key("", "space", tr("choose")), Key("", "enter", tr("go on"))]
        super().__init__(tr("Update {site}: which ones?", site=site), offered)
        self._updates = sorted(updates, key=lambda update: (not update.security, update.kind, update.slug))

    def body(self) -> Iterable[Widget]:
        rows = [
            Selection(_line(update), update.slug, initial_state=not update.held, disabled=update.held is not None)
            for update in self._updates
        ]
        yield _Choice(*rows)
        yield Static(id="count")

    def on_mount(self) -> None:
        self.query_one(_Choice).focus()
        self.count()

    @on(SelectionList.SelectedChanged)
    def count(self) -> None:
        chosen = len(self.query_one(_Choice).selected)
        self.query_one("#count", Static).update(Text(tr_n("{n} chosen", "{n} chosen", chosen)))

    @on(_Choice.Submitted)
    def submit(self) -> None:
        chosen = set(self.query_one(_Choice).selected)
        if chosen:
            self.dismiss(tuple(update.slug for update in self._updates if update.slug in chosen))

    def move(self, direction: str) -> bool:
        choice = self.query_one(_Choice)
        moves = {
            "down": choice.action_cursor_down,
            "up": choice.action_cursor_up,
            "page_down": choice.action_page_down,
            "page_up": choice.action_page_up,
            "top": choice.action_first,
            "bottom": choice.action_last,
        }
        moves[direction]()
        return True


def _line(update: Update) -> Text:
    change = f"{said(update.from_, 20) or '?'} → {said(update.to, 20) or '?'}"
    security = f"  ! {tr('security')} {said(update.closes, 120)}".rstrip() if update.security else ""
    held = f"  {tr('held: {why}', why=said(update.held, 80))}" if update.held else ""
    return Text(f"{fit(said(update.name or update.slug, 60), 32)} {change}{security}{held}")
