"""Which site of the fleet becomes what another one was: found by a part of its name."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.widgets import Input, OptionList

from app.screens.choice import Narrowing
from backends.records import Site
from widgets.cells import fit, said
from widgets.fleet_filter import folded
from widgets.key_line import Key
from widgets.language import mark, tr


class Targets(Narrowing[Site]):
    """Answers the site that will be overwritten. Those that are read-only are not offered."""

    WANTED = mark("part of its name")

    def __init__(self, source: Site, sites: Sequence[Site]) -> None:
        title = tr("Which site becomes what {site} was?", site=source.name)
        super().__init__(title, [Key("", "enter", tr("find, then choose"))], danger=True)
        self._sites = [site for site in sites if site.name != source.name and not site.read_only]

    def find(self, words: str) -> None:
        found = [site for site in self._sites if words in folded(f"{site.name} {site.url}")]
        self.offer(found, (f"{fit(said(site.name, 100), 34)} {said(site.url, 100)}" for site in found))
        self.say("" if found else tr("No other site has this in its name."))

    @on(Input.Submitted)
    def enter_list(self) -> None:
        if self.offered:
            self.query_one(OptionList).focus()
