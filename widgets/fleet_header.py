"""The one line at the top: how the fleet is, how far the refresh is, what time it is where the fleet is."""

from __future__ import annotations

import datetime as dt

from rich.cells import cell_len
from textual.widgets import Static

from widgets.cells import Cell, Line, Tone, said, text_of
from widgets.fleet_tally import Tally
from widgets.language import tr, tr_n
from widgets.paint import paint


def header_line(
    tally: Tally, *, name: str, read_only: bool, refresh: tuple[int, int] | None, clock: str, width: int
) -> Line:
    """The counts and the clock in exactly `width` columns. What is broken never gives way to what is not."""
    counts = _counts(tally)
    badge = [Cell(f" {tr('READ-ONLY')} ", Tone.WARN)] if read_only else []
    right = [Cell(f"↻ {refresh[0]:,}/{refresh[1]:,}   ", Tone.DIM)] if refresh is not None else []
    right = [*badge, *right, Cell(f"{clock} ", Tone.DIM)]
    sites = Cell(tr_n("{n} site", "{n} sites", tally.sites) + "   ")
    brand = Cell(f" {said(name, 30)}   ", Tone.STRONG)
    left: list[Cell] = []
    for left in (
        [brand, sites, *_joined(counts)],
        [Cell(" "), sites, *_joined(counts)],
        [Cell(" "), *_joined(counts)],
        [Cell(" "), *_joined(counts[:-1])],
        [Cell(" "), *_joined(counts[:2])],
    ):
        space = width - cell_len(text_of((*left, *right)))
        if space >= 1:
            return *left, Cell(" " * space), *right
    return tuple(left)


def _counts(tally: Tally) -> list[Cell]:
    critical, lost = tally["critical"], tally["unrestorable"]
    expiring, updates = tally["expiring"], tally["updates"]
    return [
        Cell(tr_n("{n} critical", "{n} critical", critical), Tone.BAD if critical else Tone.DIM),
        Cell(tr_n("{n} cannot be restored", "{n} cannot be restored", lost), Tone.BAD if lost else Tone.DIM),
        Cell(tr_n("{n} expiring", "{n} expiring", expiring), Tone.WARN if expiring else Tone.DIM),
        Cell(tr_n("{n} update", "{n} updates", updates), Tone.PLAIN if updates else Tone.DIM),
    ]


def _joined(cells: list[Cell]) -> list[Cell]:
    found: list[Cell] = []
    for cell in cells:
        found += [Cell(" · ", Tone.DIM), cell] if found else [cell]
    return found


class FleetHeader(Static):
    DEFAULT_CSS = """
    FleetHeader { height: 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
    FleetHeader:ansi { background: ansi_default; text-style: bold; }
    """

    def __init__(self, name: str, zone: dt.tzinfo, *, read_only: bool, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._fleet, self._zone, self._read_only = name, zone, read_only
        self.plain = ""
        self._line: Line = ()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._line = ()

    def show(self, tally: Tally, refresh: tuple[int, int] | None, now: dt.datetime) -> None:
        """Draw the fleet's counts; `refresh` is how many of how many sites were looked at."""
        clock = now.astimezone(self._zone).strftime("%H:%M %Z")
        line = header_line(
            tally,
            name=self._fleet,
            read_only=self._read_only,
            refresh=refresh,
            clock=clock,
            width=self.size.width or self.app.size.width,
        )
        if line != self._line:
            self._line, self.plain = line, text_of(line)
            self.update(paint(self, [line]), layout=False)
