"""Which site of the fleet becomes what another one was: found by a part of its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from app.screens.dialog import Dialog
from backends.records import Site
from widgets.cells import fit, said
from widgets.fleet_filter import folded
from widgets.key_line import Key
from widgets.language import tr


class Targets(Dialog[Site]):
    """Answers the site that will be overwritten. Those that are read-only are not offered."""

    DEFAULT_CSS = """
    Targets Input { height: 1; border: none; padding: 0 1; margin-top: 1; background: $boost; }
    Targets OptionList { height: auto; max-height: 16; border: none; margin-top: 1; background: $surface; }
    Targets OptionList:focus { border: none; }
    Targets #said { height: 1; color: $text-muted; }
    """
    _MOVES: ClassVar[dict[str, str]] = {
        "down": "cursor_down",
        "up": "cursor_up",
        "page_down": "page_down",
        "page_up": "page_up",
        "top": "first",
        "bottom": "last",
    }

    def __init__(self, source: Site, sites: Sequence[Site]) -> None:
        title = tr("Which site becomes what {site} was?", site=source.name)
        super().__init__(title, [Key("", "enter", tr("find, then choose"))], danger=True)
        self._sites = [site for site in sites if site.name != source.name and not site.read_only]
        self._shown = list(self._sites)

    def body(self) -> Iterable[Widget]:
        yield Input(placeholder=tr("part of its name"), compact=True)
        yield OptionList(markup=False)
        yield Static(id="said")

    def on_mount(self) -> None:
        self._show("")
        self.query_one(Input).focus()

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        self._show(event.value)

    def _show(self, wanted: str) -> None:
        part = folded(wanted.strip())
        self._shown = [site for site in self._sites if part in folded(f"{site.name} {site.url}")]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(
            Option(Text(f"{fit(said(site.name, 100), 34)} {said(site.url, 100)}")) for site in self._shown
        )
        options.display = bool(self._shown)
        if self._shown:
            options.highlighted = 0
        self.query_one("#said", Static).update(Text("" if self._shown else tr("No other site has this in its name.")))

    @on(Input.Submitted)
    def found(self) -> None:
        if self._shown:
            self.query_one(OptionList).focus()

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index])

    def move(self, direction: str) -> bool:
        if isinstance(self.focused, Input):
            return False
        getattr(self.query_one(OptionList), f"action_{self._MOVES[direction]}")()
        return True
