"""The strip of operations below the fleet: it takes a few lines of the screen and covers none of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from textual.widgets import Static

from widgets.cells import Cell, Line, Tone, folded, text_of
from widgets.job import Job, job_line
from widgets.language import tr_n
from widgets.paint import paint
from widgets.words import kind_word

JOBS = 5
"""Operations drawn at once; the others are counted."""


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
        shown = self._jobs[:JOBS]
        site = min(30, max(cell_len(job.site) for job in shown))
        kind = max(cell_len(kind_word(job.kind)) for job in shown)
        width = self.size.width or 80
        lines: list[Line] = []
        for job in shown:
            line = job_line(job, self._now(), site, kind)
            lines += [line] if job.running or job.well else self._two_lines(line, width, site + kind + 7)
        more = len(self._jobs) - JOBS
        if more > 0:
            lines.append((Cell("   " + tr_n("{n} more", "{n} more", more), Tone.DIM),))
        if any(not job.running for job in self._jobs):
            space = width - 1 - cell_len(text_of(lines[-1])) - cell_len(self._dismiss)
            lines[-1] = (*lines[-1], Cell(" " * max(2, space) + self._dismiss, Tone.DIM))
        return lines

    def _two_lines(self, line: Line, width: int, hang: int) -> list[Line]:
        """What went wrong is told in up to two lines; `l` shows the rest."""
        parts = folded([line], width - cell_len(self._dismiss) - 3, hang=hang)
        if len(parts) > 2:
            parts[1] = (*parts[1], Cell("…"))
        return parts[:2]
