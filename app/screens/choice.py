"""One of several: what the dialogs have in common whose body is a list, with or without a line to find things by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from app.screens.dialog import Dialog
from widgets.fleet_filter import folded
from widgets.language import tr

Answer = TypeVar("Answer")


class Choice(Dialog[Answer]):
    """A list that the keys of `Place.MOVE` move in. Options are told apart by their place: what is outside may tell the
    same id twice."""

    DEFAULT_CSS = """
    Choice OptionList { height: auto; max-height: 60vh; border: none; margin-top: 1; background: $surface; }
    Choice OptionList:focus { border: none; }
    """
    _MOVES: ClassVar[dict[str, str]] = {
        "down": "cursor_down",
        "up": "cursor_up",
        "page_down": "page_down",
        "page_up": "page_up",
        "top": "first",
        "bottom": "last",
    }

    offered: Sequence[Answer] = ()
    """What stands in the list now."""

    def offer(self, answers: Sequence[Answer], lines: Iterable[str]) -> None:
        """What there is to choose from, a line each, the first one highlighted; without any the list is hidden."""
        self.offered = answers
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(Option(Text(line)) for line in lines)
        options.display = options.option_count > 0
        if options.display:
            options.highlighted = 0

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.offered[event.option_index])

    def move(self, direction: str) -> bool:
        return not isinstance(self.focused, Input) and self.move_list(direction)

    def move_list(self, direction: str) -> bool:
        getattr(self.query_one(OptionList), f"action_{self._MOVES[direction]}")()
        return True


class Search(Choice[Answer]):
    """A list under a line to find things by, and a line for what there is to say."""

    DEFAULT_CSS = """
    Search Input { height: 1; border: none; padding: 0 1; margin-top: 1; background: $boost; }
    Search OptionList { max-height: 50vh; }
    Search #said { height: 1; color: $text-muted; }
    """
    WANTED: ClassVar[str]
    """The placeholder of the line, to be translated."""

    def body(self) -> Iterable[Widget]:
        yield Input(placeholder=tr(self.WANTED), compact=True)
        yield OptionList(markup=False)
        yield Static(id="said")

    def say(self, text: str) -> None:
        self.query_one("#said", Static).update(Text(text))


class Narrowing(Search[Answer]):
    """The list is always that of the words that stand in the line: `find` offers what they name, at once."""

    def find(self, words: str) -> None:
        """Offer what `words`, folded, name; all of it where there are none."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.find("")
        self.query_one(Input).focus()

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        self.find(folded(event.value.strip()))
