"""The pane beside the fleet: one site's news in words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from textual.widgets import Static

from widgets.cells import Cell, Tone, folded
from widgets.language import tr
from widgets.paint import paint
from widgets.site_page import SiteNews, brief, overview


class SitePane(Static):
    """Shows `brief` where the screen is narrow (class `-brief`), else `overview`."""

    DEFAULT_CSS = """
    SitePane {
        padding: 0 1;
        border-left: vkey $panel-lighten-2;
        height: 1fr;
        &.-brief { border: none; padding: 0; height: 3; background: $boost; }
        &.-brief { text-wrap: nowrap; text-overflow: ellipsis; }
        &:ansi { border-left: ascii ansi_default; }
        &.-brief:ansi { border-left: none; }
    }
    """

    def __init__(self, now: Callable[[], dt.datetime], zone: dt.tzinfo, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._now, self._zone = now, zone
        self._news: SiteNews | None = None

    def show(self, news: SiteNews | None) -> None:
        self._news = news
        self._draw()

    def set_brief(self, brief_only: bool) -> None:
        self.set_class(brief_only, "-brief")
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._news is None:
            self.update(paint(self, [(Cell(tr("no site"), Tone.DIM),)]))
            return
        short = self.has_class("-brief")
        now = self._now()
        lines = brief(self._news, now) if short else overview(self._news, now, self._zone)
        width = self.scrollable_content_region.width
        self.update(paint(self, lines if short or not width else folded(lines, width)), layout=False)
