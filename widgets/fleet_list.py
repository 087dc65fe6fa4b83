"""The list of sites: draws only the lines that show, repaints only the row that changed (FACTS 9).

The cursor belongs to a site, not to a position. Changes alter rows where they stand; the order settles once the
operator pauses, and the row under the cursor stays where it is on the screen.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable
from time import monotonic
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from backends.records import State
from widgets.cells import Tone
from widgets.fleet_filter import folded, matches, searched
from widgets.fleet_row import BY_ID, SORTS, FleetRow, SortKey, cells, gap, layout, plain, titles, urgency
from widgets.language import tr
from widgets.paint import style

SETTLE_S = 1.5
"""How long no key must have come before the order may change."""
_STRIPS_MAX = 2000


class FleetList(ScrollView, can_focus=True, inherit_bindings=False):
    """Line 0 is the head of the columns and stays; sites follow. Keys come from the actions of the screen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"fleet-list--cursor"}
    DEFAULT_CSS = """
    FleetList {
        height: 1fr;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        & > .fleet-list--cursor { background: $panel-lighten-2; text-style: bold; }
        &:focus > .fleet-list--cursor { background: $primary-muted; text-style: bold; }
        &:ansi > .fleet-list--cursor { background: ansi_default; text-style: reverse; }
    }
    """

    class Highlighted(Message):
        """The cursor came to another site (None: the list is empty)."""

        def __init__(self, site: str | None) -> None:
            super().__init__()
            self.site = site

    class Opened(Message):
        """A site was clicked twice."""

        def __init__(self, site: str) -> None:
            super().__init__()
            self.site = site

    def __init__(self, now: Callable[[], dt.datetime], *, settle_s: float = SETTLE_S, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._now, self._settle_s = now, settle_s
        self._rows: dict[str, FleetRow] = {}
        self._keys: dict[str, SortKey] = {}
        self._texts: dict[str, str] = {}
        self._order: list[str] = []
        self._at: dict[str, int] = {}
        self._strips: dict[tuple[str, bool], Strip] = {}
        self._styles: dict[tuple[bool, Tone], Style] = {}
        self._cursor: str | None = None
        self._held: SortKey | None = None
        """The key by which the cursor's row will stand when the cursor has left it."""
        self._query = ""
        self._sort = "worst"
        self._unsettled = False
        self._touched = -1e9
        self._settling: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ what it holds

    @property
    def site(self) -> str | None:
        """The site under the cursor."""
        return self._cursor

    @property
    def shown(self) -> tuple[str, ...]:
        """The sites in the order in which they stand."""
        return tuple(self._order)

    @property
    def total(self) -> int:
        return len(self._rows)

    @property
    def sort(self) -> str:
        """The id of the column that orders the list."""
        return self._sort

    def row(self, name: str) -> FleetRow | None:
        return self._rows.get(name)

    def plain(self, name: str) -> str:
        """What the site's line says, at the list's present width."""
        return plain(self._rows[name], self._width, self._now())

    def put(self, rows: Iterable[FleetRow]) -> None:
        """Take what is now known of some sites. None of them changes place before `settle`."""
        order = BY_ID[self._sort].order
        for row in rows:
            name = row.name
            if self._rows.get(name) == row:
                continue
            self._rows[name] = row
            self._texts.pop(name, None)
            key = order(row)
            if name == self._cursor and name in self._keys:
                # What an operator has just mended stays under the hand; `_set_cursor` lets it go.
                self._held = key if key != self._keys[name] else None
                if not self._query:
                    self._repaint(name)
                    continue
                key = self._keys[name]
            if self._keys.get(name) != key or self._query:
                self._keys[name] = key
                self._unsettled = True
            self._repaint(name)
        if self._unsettled:
            if self._order:
                self._settle_later()
            else:
                self.settle()

    def set_filter(self, query: str) -> None:
        """Show only the sites that `query` means; empty shows all."""
        self._query = folded(query)
        self.settle(follow=True)

    def set_sort(self, column: str) -> None:
        self._sort = column
        order = BY_ID[column].order
        self._keys = {name: order(row) for name, row in self._rows.items()}
        self._held = None
        self.settle(follow=True)

    def next_sort(self) -> str:
        """Order by the next of the columns that are on the screen; the new one's id."""
        shown = {column.id for column, _ in layout(self._width)}
        offered = [column for column in SORTS if column in shown]
        self.set_sort(offered[(offered.index(self._sort) + 1) % len(offered)] if self._sort in offered else "worst")
        return self._sort

    # ------------------------------------------------------------ order

    def settle(self, *, follow: bool = False) -> None:
        """Put the rows in their order now. The cursor's row keeps its line on the screen, but at the top of the list.

        `follow`: the operator asked for another order, so the view goes where the cursor's site went.
        """
        self._unsettled = False
        line = self._at.get(self._cursor or "", 0) - self.scroll_offset.y
        query = self._query
        names = [name for name in self._rows if matches(self._text(name), query)] if query else list(self._rows)
        names.sort(key=self._keys.__getitem__)
        before = self._at.get(self._cursor or "", 0)
        self._order = names
        self._at = {name: position for position, name in enumerate(names)}
        self._strips.clear()
        self.virtual_size = Size(self.size.width, len(names) + 1)
        if self._cursor not in self._at:
            self._set_cursor(names[min(before, len(names) - 1)] if names else None)
        if self._cursor is not None:
            position = self._at[self._cursor]
            if not follow and self.scroll_offset.y > 0:
                self.scroll_to(y=max(0, position - line), animate=False, immediate=True, force=True)
            self._show(position)
        self.refresh()

    def _text(self, name: str) -> str:
        if name not in self._texts:
            self._texts[name] = searched(self._rows[name])
        return self._texts[name]

    def _settle_later(self) -> None:
        """By the loop's own clock: a one-shot timer of Textual is dropped where the loop was busy past its time."""
        if self._settling is None and self.is_attached:
            loop = asyncio.get_running_loop()
            self._settling = loop.call_later(self._settle_s, self.call_later, self._settle_if_quiet)

    def on_unmount(self) -> None:
        if self._settling is not None:
            self._settling.cancel()

    def _settle_if_quiet(self) -> None:
        self._settling = None
        if monotonic() - self._touched < self._settle_s:
            self._settle_later()
        elif self._unsettled:
            self.settle()

    def touch(self) -> None:
        """The operator's hand is on the keys: the order waits."""
        self._touched = monotonic()

    # ------------------------------------------------------------ the cursor

    def go_to(self, name: str) -> bool:
        """Put the cursor on a site; False where it is not shown."""
        if name not in self._at:
            return False
        self._move_to(self._at[name])
        return True

    def move(self, direction: str) -> None:
        """`up`, `down`, `page_up`, `page_down`, `top`, `bottom`, `problem` (the next site that is not well)."""
        if not self._order:
            return
        position, last, page = self._at.get(self._cursor or "", 0), len(self._order) - 1, max(1, self.size.height - 2)
        moves = {
            "up": position - 1,
            "down": position + 1,
            "page_up": position - page,
            "page_down": position + page,
            "top": 0,
            "bottom": last,
        }
        target = self._next_problem(position) if direction == "problem" else moves[direction]
        self._move_to(min(max(target, 0), last))

    def _next_problem(self, position: int) -> int:
        count = len(self._order)
        for step in range(1, count + 1):
            there = (position + step) % count
            if urgency(self._rows[self._order[there]].status) in {State.CRITICAL, State.WARNING}:
                return there
        return position

    def _move_to(self, position: int) -> None:
        self._set_cursor(self._order[position])
        self._show(position)

    def _set_cursor(self, name: str | None) -> None:
        if name == self._cursor:
            return
        before, self._cursor = self._cursor, name
        if before is not None and self._held is not None:
            self._keys[before], self._held = self._held, None
            self._unsettled = True
            self._settle_later()
        for changed in (before, name):
            if changed is not None:
                self._repaint(changed, keep=True)
        self.post_message(self.Highlighted(name))

    def _show(self, position: int) -> None:
        """Scroll as little as brings the line at `position` into view."""
        top, height = self.scroll_offset.y, max(1, self.size.height - 1)
        if position < top:
            self.scroll_to(y=position, animate=False, immediate=True, force=True)
        elif position >= top + height:
            self.scroll_to(y=position - height + 1, animate=False, immediate=True, force=True)

    # ------------------------------------------------------------ drawing

    @property
    def _width(self) -> int:
        return self.scrollable_content_region.width or 80

    def _repaint(self, name: str, *, keep: bool = False) -> None:
        if not keep:
            self._strips.pop((name, True), None)
            self._strips.pop((name, False), None)
        position = self._at.get(name)
        if position is None:
            return
        line = position - self.scroll_offset.y + 1
        if 1 <= line < self.size.height:
            self.refresh(Region(0, line, self._width, 1))

    def render_line(self, y: int) -> Strip:
        if y == 0:
            return self._head()
        position = self.scroll_offset.y + y - 1
        if position >= len(self._order):
            if position == 0:
                return self._empty()
            return Strip.blank(self._width, self.rich_style)
        name = self._order[position]
        key = (name, name == self._cursor)
        strip = self._strips.get(key)
        if strip is None or strip.cell_length != self._width:
            if len(self._strips) > _STRIPS_MAX:
                self._strips.clear()
            strip = self._strips[key] = self._draw(*key)
        return strip

    def _draw(self, name: str, under_cursor: bool) -> Strip:
        base = self._style(under_cursor, Tone.PLAIN)
        # Blanks of another style keep each column a run of its own: an exported picture places runs, not characters.
        between = Segment(" " * gap(self._width), self._style(under_cursor, Tone.DIM))
        segments: list[Segment] = []
        for cell in cells(self._rows[name], self._width, self._now()):
            segments += [between, Segment(cell.text, self._style(under_cursor, cell.tone))]
        segments[0] = Segment("▌" if under_cursor else " ", base)
        return Strip(segments).adjust_cell_length(self._width, base).simplify()

    def _style(self, under_cursor: bool, tone: Tone) -> Style:
        if (under_cursor, tone) not in self._styles:
            base = self.rich_style
            if under_cursor:
                base += self.get_component_rich_style("fleet-list--cursor", partial=True)
            # A terminal's own colours are reversed under the cursor: red on white is harder to read than black.
            reversed_ = under_cursor and self.app.native_ansi_color
            self._styles[under_cursor, tone] = base if reversed_ else base + style(self, tone)
        return self._styles[under_cursor, tone]

    def _head(self) -> Strip:
        base, sorted_style = self.rich_style + style(self, Tone.DIM), self.rich_style + style(self, Tone.STRONG)
        segments: list[Segment] = []
        for (column, _), cell in zip(layout(self._width), titles(self._width), strict=True):
            word = cell.text.strip()
            lead = cell.text[: len(cell.text) - len(cell.text.lstrip())] if word else ""
            chosen = column.id == self._sort
            text = (
                ("▾" if not word else word + "▾" if cell_len(cell.text) > cell_len(word) else word) if chosen else word
            )
            lead = lead[: cell_len(cell.text) - cell_len(text)]
            trail = " " * (cell_len(cell.text) - cell_len(lead) - cell_len(text))
            segments += [Segment(" " * gap(self._width), base), Segment(lead, base)]
            segments += [Segment(text, sorted_style if chosen else base), Segment(trail, base)]
        segments[0] = Segment(" ", base)
        return Strip(segments).adjust_cell_length(self._width, base)

    def _empty(self) -> Strip:
        told = tr("no site matches; esc shows all") if self._query else tr("no site yet: modoseru site add")
        dim = self.rich_style + style(self, Tone.DIM)
        return Strip([Segment("   " + told, dim)]).adjust_cell_length(self._width, self.rich_style)

    def redraw(self) -> None:
        """Draw every line anew: ages have grown, or the language or the theme is another one."""
        self._strips.clear()
        self.refresh()

    # ------------------------------------------------------------ events

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()

    def on_focus(self) -> None:
        self._forget_cursor()

    def on_blur(self) -> None:
        self._forget_cursor()

    def _forget_cursor(self) -> None:
        """The cursor looks different with and without the focus."""
        self._styles.clear()
        self._strips.pop((self._cursor or "", True), None)

    def watch_show_vertical_scrollbar(self) -> None:
        """The scrollbar takes a column: every line has another width now."""
        self.redraw()

    def on_resize(self) -> None:
        self._strips.clear()
        self.virtual_size = Size(self.size.width, len(self._order) + 1)
        if self._cursor in self._at:
            self._show(self._at[self._cursor])

    def on_key(self) -> None:
        self.touch()

    def on_click(self, event: events.Click) -> None:
        self.touch()
        position = self.scroll_offset.y + event.y - 1
        if event.y < 1 or position >= len(self._order):
            return
        name = self._order[position]
        if event.chain == 2 and name == self._cursor:
            self.post_message(self.Opened(name))
        self._move_to(position)

    def on_mouse_scroll_down(self) -> None:
        self.touch()

    def on_mouse_scroll_up(self) -> None:
        self.touch()
