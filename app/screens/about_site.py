"""What the screens have in common on which one site is under the operator's hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from textual.binding import BindingType
from textual.screen import Screen

from app.actions import Place, bindings, key, keys
from widgets.jobs_strip import JobsStrip
from widgets.key_line import KeyLine
from widgets.language import tr
from widgets.site_page import SiteNews


class Scene(NamedTuple):
    """What every screen is told of the program."""

    fleet: str
    zone: dt.tzinfo
    now: Callable[[], dt.datetime]
    read_only: bool


class AboutSite(Screen[None]):
    """`site_name` is read once, when the key arrives: what the key starts acts on that site (FACTS 9)."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.SITE, Place.MOVE, Place.BACK, Place.PROGRAM)]

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.scene = scene
        dismiss = key("dismiss")
        self.strip = JobsStrip(scene.now, tr("{key} dismiss", key=dismiss.key))

    def key_line(self, ids: tuple[str, ...]) -> KeyLine:
        return KeyLine(keys(ids, read_only=self.scene.read_only), last=key("help"))

    @property
    def site_name(self) -> str | None:
        raise NotImplementedError

    def show(self, news: SiteNews | None) -> None:
        """Say the news of `site_name`."""
        raise NotImplementedError

    def act(self, action: str) -> bool:
        """Do what is the screen's own; False for what it does not know."""
        raise NotImplementedError

    @property
    def plain(self) -> str:
        """What `y` copies."""
        raise NotImplementedError
