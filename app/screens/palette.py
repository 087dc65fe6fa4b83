"""The palette: every action that may be done here, and every site by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from rich.text import Text
from textual.command import DiscoveryHit, Hit, Hits, Provider

from app.actions import ACTIONS, Action, Place, allowed
from app.screens.about_site import AboutSite
from app.screens.fleet import FleetScreen
from widgets.fleet_filter import folded
from widgets.language import tr

SITES_MAX = 20


class Palette(Provider):
    """Offers what `Dashboard.action_perform` would do for the screen below."""

    async def discover(self) -> Hits:
        for action in self._offered():
            yield DiscoveryHit(_shown(action), self._perform(action), text=tr(action.says))

    async def search(self, query: str) -> Hits:
        wanted = folded(query)
        for action in self._offered():
            if wanted in folded(f"{tr(action.says)} {tr(action.title)} {action.id}"):
                yield Hit(1.0, _shown(action), self._perform(action), text=tr(action.says))
        if isinstance(self.screen, FleetScreen):
            fleet = self.screen.list
            found = [name for name in fleet.shown if wanted in folded(name)][:SITES_MAX]
            for name in found:
                yield Hit(0.5, Text(name), partial(fleet.go_to, name), text=name)

    def _offered(self) -> Iterator[Action]:
        below = self.screen
        if not isinstance(below, AboutSite):
            return
        for action in ACTIONS:
            here = action.place in {Place.SITE, Place.PROGRAM} or isinstance(below, FleetScreen)
            quiet = action.place in {Place.MOVE, Place.BACK} or action.id == "palette"
            if here and not quiet and allowed(action, read_only=below.scene.read_only):
                yield action

    def _perform(self, action: Action) -> Callable[[], Awaitable[bool]]:
        return partial(self.app.run_action, f"app.perform('{action.id}')")


def _shown(action: Action) -> Text:
    return Text(f"{tr(action.says)}  ({action.key})")
