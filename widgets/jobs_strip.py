"""The strip of operations below the fleet: it takes a few lines of the screen and covers none of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from textual.widgets import Static

from widgets.cells import Cell, Line, Tone, cut, folded, text_of
from widgets.job import Job, job_line
from widgets.language import tr_n
from widgets.paint import paint
from widgets.words import kind_word

JOBS = 5
"""Operations drawn at once; the others are counted."""
_LINES = 8
_SHARE = 3
"""The strip takes at most so many lines, and at most this part of the screen: the fleet stays in sight."""
_HANG = 4


class JobsStrip(Static):
    DEFAULT_CSS = """
    JobsStrip {
        height: auto;
        max-height: 8;
        background: $panel;
        display: none;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        &.-some { display: block; }
        &:ansi { background: ansi_default; border-top: ascii ansi_default; }
    }
    """

    def __init__(self, now: Callable[[], dt.datetime], dismiss: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._now, self._dismiss = now, dismiss
        self._jobs: Sequence[Job] = ()
        self._height = 0

    def show(self, jobs: Sequence[Job]) -> None:
        """Draw these operations, those that run first; none hides the strip."""
        self._jobs = sorted(jobs, key=lambda job: (not job.running, job.well))
        self.set_class(bool(jobs), "-some")
        self._draw()

    @property
    def plain(self) -> str:
        return "\n".join(text_of(line) for line in self._lines())

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        """Lay the screen out anew only where the strip's height changes."""
        lines = self._lines()
        self.update(paint(self, lines), layout=len(lines) != self._height)
        self._height = len(lines)

    def _lines(self) -> list[Line]:
        if not self._jobs:
            return []
        most = self._room()
        drawn = min(JOBS, most if len(self._jobs) <= most else most - 1)
        shown = self._jobs[:drawn]
        more = len(self._jobs) - drawn
        site = min(30, max(cell_len(job.site) for job in shown))
        kind = max(cell_len(kind_word(job.kind)) for job in shown)
        width = self.size.width or 80
        failed = sum(not (job.running or job.well) for job in shown)
        room = max(1, (most - (len(shown) - failed) - (more > 0)) // max(1, failed))
        lines: list[Line] = []
        for job in shown:
            line = job_line(job, self._now(), site, kind)
            lines += [line] if job.running or job.well else _in_full(line, width, room)
        if more > 0:
            lines.append((Cell("   " + tr_n("{n} more", "{n} more", more), Tone.DIM),))
        if any(not job.running for job in self._jobs):
            lines[-1:] = self._dismissable(lines[-1], width, fits=len(lines) < most)
        return lines

    def _room(self) -> int:
        """How many lines the strip may take: the fleet stays in sight."""
        return min(_LINES, max(2, self.app.size.height // _SHARE)) if self.is_mounted else _LINES

    def _dismissable(self, line: Line, width: int, *, fits: bool) -> list[Line]:
        """The last line with the key that takes the ended ones away; below it where it `fits` and the line is full."""
        left = width - 1 - cell_len(self._dismiss)
        if cell_len(text_of(line)) + 2 > left:
            if fits:
                return [line, (Cell(" " * left + self._dismiss, Tone.DIM),)]
            line = cut(line, left - 2)
        return [(*line, Cell(" " * (left - cell_len(text_of(line))) + self._dismiss, Tone.DIM))]


def _in_full(line: Line, width: int, room: int) -> list[Line]:
    """What went wrong, in up to `room` lines; `l` shows the rest."""
    parts = folded([line], width - 2, hang=_HANG)
    return parts if len(parts) <= room else [*parts[: room - 1], (*parts[room - 1], Cell("…"))]
