"""The palette: every action that may be done here, and every site by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from textual import on
from textual.widgets import Input, OptionList

from app.actions import ACTIONS, Place, allowed
from app.screens.about_site import AboutSite
from app.screens.choice import Narrowing
from app.screens.fleet import FleetScreen
from widgets.cells import said
from widgets.fleet_filter import folded
from widgets.key_line import Key
from widgets.language import mark, tr

SITES_MAX = 20


class Offer(NamedTuple):
    """One line: an action's id, or a site's name."""

    action: str | None
    site: str | None
    shown: str
    found_by: str


class Palette(Narrowing[Offer]):
    """Answers what was chosen. Enter takes it from the line of words: a list that is filled meanwhile would offer what
    the words before had found."""

    WANTED = mark("An action or a site…")

    def __init__(self, below: AboutSite) -> None:
        super().__init__(tr("Find an action or a site"), [Key("", "enter", tr("choose"))])
        self._actions = list(_actions(below))
        self._sites = below.list.shown if isinstance(below, FleetScreen) else ()

    def find(self, words: str) -> None:
        found = [offer for offer in self._actions if words in offer.found_by]
        if words:
            names = [name for name in self._sites if words in folded(name)][:SITES_MAX]
            found += [Offer(None, name, said(name, 100), "") for name in names]
        self.offer(found, (offer.shown for offer in found))
        self.say("" if found else tr("No action and no site is called so."))

    @on(Input.Submitted)
    def send(self) -> None:
        if self.offered:
            self.dismiss(self.offered[self.query_one(OptionList).highlighted or 0])

    def move(self, direction: str) -> bool:
        return self.move_list(direction)


def _actions(below: AboutSite) -> Iterator[Offer]:
    """What `Dashboard.action_perform` would do for the screen below."""
    for action in ACTIONS:
        here = action.place in {Place.SITE, Place.PROGRAM} or isinstance(below, FleetScreen)
        quiet = action.place in {Place.MOVE, Place.BACK} or action.id == "palette"
        if here and not quiet and allowed(action, read_only=below.scene.read_only):
            shown = f"{tr(action.says)}  ({action.key})"
            yield Offer(action.id, None, shown, folded(f"{tr(action.says)} {tr(action.title)} {action.id}"))
