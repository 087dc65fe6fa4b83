"""What the screen knows of one operation: the events folded into a state that can be drawn. No Textual."""

from __future__ import annotations

import datetime as dt

from rich.cells import cell_len

from backends.records import AnyEvent, Asked, Finished, Note, Operation, Outcome, Progress, Started, Step
from widgets import words
from widgets.cells import Cell, Line, Tone, fit, said
from widgets.language import tr
from widgets.sentences import told

_EVENTS_MAX = 5000
_BAR = 10
_BY_HAND = "cancelled by an operator"
"""The agent's words for the usual reason of a cancellation: they would only repeat the outcome."""


class Job:
    """One operation on one site. Its one owner applies events; widgets read it."""

    def __init__(self, site: str, kind: str, *, began: dt.datetime, operation: str | None = None) -> None:
        self.site, self.kind, self.operation = site, kind, operation
        self.began = began
        self.ended: dt.datetime | None = None
        self.step: str | None = None
        self.progress: Progress | None = None
        self.finished: Finished | None = None
        self.error: tuple[str, str] | None = None
        """The sentence and the hint of a failure that is no outcome: it did not start, or the connection is gone."""
        self.code = ""
        """The error's."""
        self.waiting = False
        self.events: list[AnyEvent] = []
        self._step_first: Progress | None = None

    @classmethod
    def of(cls, operation: Operation, now: dt.datetime) -> Job:
        """A job for what the journal knows of an operation."""
        return cls(operation.site, operation.kind, began=operation.started or now, operation=operation.operation)

    @property
    def running(self) -> bool:
        return self.finished is None and self.error is None

    @property
    def well(self) -> bool:
        return self.finished is not None and self.finished.outcome is Outcome.DONE

    @property
    def seconds(self) -> float | None:
        """From its beginning to its end; None while it runs."""
        return None if self.ended is None else (self.ended - self.began).total_seconds()

    def apply(self, event: AnyEvent) -> None:
        if isinstance(event, Progress) and self.events and isinstance(self.events[-1], Progress):
            self.events[-1] = event
        elif len(self.events) < _EVENTS_MAX or isinstance(event, Finished):
            self.events.append(event)
        self.waiting = isinstance(event, Asked)
        if isinstance(event, Started):
            self.operation, self.kind, self.began = event.operation, event.kind, event.at
        elif isinstance(event, Step):
            self.step, self.progress, self._step_first = event.name, None, None
        elif isinstance(event, Progress):
            self._step_first = self._step_first or event
            self.progress = event
        elif isinstance(event, Finished):
            self.finished, self.ended = event, event.at

    def fail(self, message: str, hint: str, at: dt.datetime, code: str = "") -> None:
        self.error, self.ended, self.code = (message, hint), at, code

    def rate(self) -> float | None:
        """Units a second since the step began; None before two reports."""
        first, last = self._step_first, self.progress
        if first is None or last is None or first is last:
            return None
        seconds = (last.at - first.at).total_seconds()
        return (last.done - first.done) / seconds if seconds > 0 and last.done > first.done else None


# ---------------------------------------------------------------- as a line


def job_line(job: Job, now: dt.datetime, site_width: int = 0, kind_width: int = 0) -> Line:
    """One line of the jobs strip: site, kind, and how far it is or how it ended."""
    site, kind = said(job.site, 100), words.kind_word(job.kind)
    head = f" {fit(site, site_width or cell_len(site))}  {fit(kind, kind_width or cell_len(kind))}  "
    if job.error is not None:
        return (Cell(" ✖", Tone.BAD), Cell(head), *_sentence(*job.error))
    if job.finished is not None:
        return (*_outcome_head(job.finished, head), *_outcome(job, job.finished))
    return (Cell(" ↻", Tone.GOOD), Cell(head), *_how_far(job, now))


def _sentence(message: str, hint: str) -> Line:
    return Cell(told(message), Tone.BAD), Cell(f"  {told(hint)}" if hint else "", Tone.PLAIN)


def _outcome_head(finished: Finished, head: str) -> Line:
    outcome = finished.outcome
    return Cell(f" {words.OUTCOME_GLYPHS[outcome]}", words.OUTCOME_TONES[outcome]), Cell(head)


def _outcome(job: Job, finished: Finished) -> Line:
    tone = words.OUTCOME_TONES[finished.outcome]
    parts = [Cell(tr(words.OUTCOME_WORDS[finished.outcome]), tone)]
    if finished.detail and finished.outcome is not Outcome.DONE and finished.detail != _BY_HAND:
        parts.append(Cell(f": {told(finished.detail)}", tone))
    if finished.generation and finished.outcome is Outcome.DONE:
        parts.append(Cell(f"  {said(finished.generation, 20)}"))
    if job.seconds is not None:
        parts.append(Cell(f"  {words.took(job.seconds)}", Tone.DIM))
    if finished.hint:
        parts.append(Cell(f"  {told(finished.hint)}"))
    return tuple(parts)


def _how_far(job: Job, now: dt.datetime) -> Line:
    elapsed = Cell(f"  {words.took(max(0.0, (now - job.began).total_seconds()))}", Tone.DIM)
    step = words.step_word(job.step) if job.step else tr("starting")
    progress = job.progress
    if job.waiting or progress is None:
        return *_bar(None), Cell(tr("looking from outside") if job.waiting else step), elapsed
    rate = job.rate()
    speed = "  " + tr("{amount}/s", amount=words.amount(rate, progress.unit)) if rate is not None else ""
    if progress.total is None or progress.total <= 0:
        return *_bar(None), Cell(f"{step}  {words.amount(progress.done, progress.unit)}{speed}"), elapsed
    rest = max(0, progress.total - progress.done)
    left = f"  {tr('{time} left', time=words.took(rest / rate))}" if rate else ""
    return (
        *_bar(min(1.0, max(0.0, progress.done / progress.total))),
        Cell(f"{step}{speed}{left}"),
        *(() if left else (elapsed,)),
    )


def _bar(share: float | None) -> Line:
    """A bar of constant width, so that the words after it stand below each other."""
    full = round((share or 0.0) * _BAR)
    percent = f" {share:4.0%}  " if share is not None else " " * 7
    return Cell("▮" * full, Tone.GOOD), Cell("·" * (_BAR - full), Tone.DIM), Cell(percent)


# ---------------------------------------------------------------- as a log


def event_line(event: AnyEvent, zone: dt.tzinfo) -> Line:
    """One event of the journal as a line of a log."""
    at = Cell(words.local(event.at, zone, "%H:%M:%S") + "  ", Tone.DIM)
    return at, *_told(event)


def failure_lines(job: Job, zone: dt.tzinfo) -> list[Line]:
    """In a log, the whole of a failure that is no event: what is wrong, and what to do about it."""
    if job.error is None or job.ended is None:
        return []
    at = Cell(words.local(job.ended, zone, "%H:%M:%S") + "  ", Tone.DIM)
    message, hint = (told(text, 1000) for text in job.error)
    return [(at, Cell(f"✖ {message}", Tone.BAD)), *([(at, Cell(f"  {hint}"))] if hint else [])]


def _told(event: AnyEvent) -> Line:
    match event:
        case Started():
            line = (Cell(f"{words.kind_word(event.kind)}  {said(event.site)}  {said(event.operation)}", Tone.STRONG),)
        case Step():
            line = (Cell(f"→ {words.step_word(event.name)}"),)
        case Progress():
            total = f" / {words.amount(event.total, event.unit)}" if event.total else ""
            line = (Cell(f"  {words.amount(event.done, event.unit)}{total}", Tone.DIM),)
        case Note():
            glyph, tone = {"error": ("✖", Tone.BAD), "warning": ("!", Tone.WARN)}.get(event.level, ("·", Tone.PLAIN))
            item = f"{said(event.item)}: " if event.item else ""
            line = (Cell(f"{glyph} {item}{told(event.text, 1000)}", tone),)
        case Asked():
            line = (Cell(tr("the server waits for a look from outside")),)
        case Finished():
            before = event.outcome in {Outcome.ROLLED_BACK, Outcome.CANCELLED}
            parts = (
                tr(words.OUTCOME_WORDS[event.outcome]),
                tr("the site is as before") if before else "",
                told(event.detail, 1000) if event.detail != _BY_HAND else "",
                told(event.hint),
            )
            sentence = " · ".join(part for part in parts if part)
            glyph, tone = words.OUTCOME_GLYPHS[event.outcome], words.OUTCOME_TONES[event.outcome]
            line = (Cell(f"{glyph} {sentence}", tone),)
        case _:
            kept = tr("the look was right: it goes on") if event.keep else tr("the look was wrong: it goes back")
            line = (Cell(f"{kept}  {told(event.detail)}", Tone.PLAIN if event.keep else Tone.WARN),)
    return line
