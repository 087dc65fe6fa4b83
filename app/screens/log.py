"""What an operation did, line by line, and what it does now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Static

from app.actions import key
from app.screens.scrolled import Scrolled
from backends.records import Progress
from widgets import words
from widgets.cells import Line, folded, text_of
from widgets.job import Job, event_line, failure_lines, job_line
from widgets.language import tr
from widgets.paint import paint

_LINES_MAX = 2000
_TIME_WIDTH = 10


class Log(Scrolled):
    """Follows its job while that runs, and stays at the end unless the operator has scrolled up."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "app.perform('copy')", show=False)]
    DEFAULT_CSS = """
    Log {
        & #text { margin-top: 1; }
        & #now { height: 1; margin-top: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, job: Job, now: Callable[[], dt.datetime], zone: dt.tzinfo) -> None:
        super().__init__(tr("{site}: {kind}", site=job.site, kind=words.kind_word(job.kind)), [key("copy")])
        self._job, self._now, self._zone = job, now, zone
        self._written = -1

    def text(self) -> Iterable[Widget]:
        yield Static(id="lines")

    def body(self) -> Iterable[Widget]:
        yield from super().body()
        yield Static(id="now")

    def on_mount(self) -> None:
        self.call_after_refresh(self.renew)

    def on_resize(self) -> None:
        self._written = -1
        self.call_after_refresh(self.renew)

    def renew(self) -> None:
        """Show the events that have come since, and how far it is."""
        if not self.is_built:
            return
        events = len(self._job.events) + (self._job.error is not None)
        if events != self._written:
            self._written = events
            lines = self._lines()
            view, shown = self.query_one("#text"), self.query_one("#lines", Static)
            at_end = view.is_vertical_scroll_end
            shown.update(paint(shown, folded(lines, view.scrollable_content_region.width or 80, hang=_TIME_WIDTH)))
            if at_end:
                view.scroll_end(animate=False)
        now = self.query_one("#now", Static)
        now.update(paint(now, [job_line(self._job, self._now())]))

    def _lines(self) -> list[Line]:
        events = [event for event in self._job.events if not isinstance(event, Progress)]
        return [event_line(event, self._zone) for event in events[-_LINES_MAX:]] + failure_lines(self._job, self._zone)

    @property
    def plain(self) -> str:
        """The log as text, as `y` copies it."""
        return "\n".join(
            [*(text_of(line) for line in self._lines()), text_of(job_line(self._job, self._now())).strip()]
        )
