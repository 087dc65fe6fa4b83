"""The pane beside the fleet: one site's news in words. Drawn by lines, for it follows every rest of the cursor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from widgets.cells import Cell, Line, Tone, folded, text_of
from widgets.language import tr
from widgets.paint import style
from widgets.site_page import SiteNews, brief, overview


class SitePane(Widget):
    """Shows `brief` where the screen is narrow (class `-brief`), else `overview`."""

    DEFAULT_CSS = """
    SitePane {
        padding: 0 1;
        border-left: vkey $panel-lighten-2;
        height: 1fr;
        &.-brief { border: none; padding: 0; height: 3; background: $boost; }
        &:ansi { border-left: ascii ansi_default; }
        &.-brief:ansi { border-left: none; }
    }
    """

    def __init__(self, now: Callable[[], dt.datetime], zone: dt.tzinfo, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._now, self._zone = now, zone
        self._news: SiteNews | None = None
        self._lines: list[Line] | None = None

    def show(self, news: SiteNews | None) -> None:
        self._news = news
        self._forget()

    def set_brief(self, brief_only: bool) -> None:
        self.set_class(brief_only, "-brief")
        self._forget()

    @property
    def plain(self) -> str:
        return "\n".join(text_of(line) for line in self._told())

    def on_resize(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._lines = None
        self.refresh()

    def _told(self) -> list[Line]:
        if self._lines is None:
            self._lines = self._tell()
        return self._lines

    def _tell(self) -> list[Line]:
        if self._news is None:
            return [(Cell(tr("no site"), Tone.DIM),)]
        if self.has_class("-brief"):
            return brief(self._news, self._now())
        return folded(overview(self._news, self._now(), self._zone), self.size.width or 40)

    def render_line(self, y: int) -> Strip:
        lines, width, base = self._told(), self.size.width, self.rich_style
        if y >= len(lines):
            return Strip.blank(width, base)
        strip = Strip([Segment(cell.text, base + style(self, cell.tone)) for cell in lines[y]])
        if strip.cell_length > width:
            strip = Strip([*strip.crop(0, width - 1), Segment("…", base)])
        return strip.adjust_cell_length(width, base)
