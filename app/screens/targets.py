"""Which site of the fleet becomes what another one was: found by a part of its name."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.widgets import Input, OptionList

from app.screens.choice import Search
from backends.records import Site
from widgets.cells import fit, said
from widgets.fleet_filter import folded
from widgets.key_line import Key
from widgets.language import mark, tr


class Targets(Search[Site]):
    """Answers the site that will be overwritten. Those that are read-only are not offered."""

    WANTED = mark("part of its name")

    def __init__(self, source: Site, sites: Sequence[Site]) -> None:
        title = tr("Which site becomes what {site} was?", site=source.name)
        super().__init__(title, [Key("", "enter", tr("find, then choose"))], danger=True)
        self._sites = [site for site in sites if site.name != source.name and not site.read_only]
        self._shown = list(self._sites)

    def on_mount(self) -> None:
        self._show("")
        self.query_one(Input).focus()

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        self._show(event.value)

    def _show(self, wanted: str) -> None:
        part = folded(wanted.strip())
        self._shown = [site for site in self._sites if part in folded(f"{site.name} {site.url}")]
        self.offer(f"{fit(said(site.name, 100), 34)} {said(site.url, 100)}" for site in self._shown)
        self.say("" if self._shown else tr("No other site has this in its name."))

    @on(Input.Submitted)
    def found(self) -> None:
        if self._shown:
            self.query_one(OptionList).focus()

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index])
