"""All keys, made from the actions; and what the signs of the fleet mean."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget
from textual.widgets import Static

from app.actions import ACTIONS, GROUPS, Place, allowed
from app.screens.scrolled import Scrolled
from backends.records import Certainty, State
from widgets import words
from widgets.cells import Cell, Line, Tone, fit
from widgets.language import tr
from widgets.paint import paint

_KEY_WIDTH = 8


class _Keys(Static):
    def __init__(self, lines: list[Line]) -> None:
        super().__init__()
        self._lines = lines

    def on_mount(self) -> None:
        self.update(paint(self, self._lines))


class Help(Scrolled):
    def __init__(self, *, read_only: bool) -> None:
        super().__init__(tr("Help"))
        self._read_only = read_only

    def text(self) -> Iterable[Widget]:
        yield _Keys([*_keys(self._read_only), *_signs()])


def _keys(read_only: bool) -> list[Line]:
    lines: list[Line] = []
    if read_only:
        lines.append((Cell(tr("Read-only: what changes a site is not bound."), Tone.WARN),))
    for title, place in GROUPS:
        lines += [(), (Cell(tr(title), Tone.STRONG),)]
        for action in ACTIONS:
            here = action.place is place or (place is Place.PROGRAM and action.place is Place.BACK)
            if here and allowed(action, read_only=read_only):
                danger = Cell("  " + tr("asks first"), Tone.WARN) if action.danger else Cell("")
                lines.append((Cell("  " + fit(action.key, _KEY_WIDTH), Tone.GOOD), Cell(tr(action.says)), danger))
    return lines


def _signs() -> list[Line]:
    lines: list[Line] = [(), (Cell(tr("Signs"), Tone.STRONG),)]
    lines += [
        (Cell(f"  {fit(glyph, _KEY_WIDTH)}", words.STATE_TONES[state]), Cell(tr(words.STATE_WORDS[state])))
        for state, glyph in words.STATE_GLYPHS.items()
        if state is not State.OK
    ]
    untried = (Cell(f"  {fit(words.UNTRIED_GLYPH, _KEY_WIDTH)}", Tone.DIM), Cell(tr("nothing is wrong; untried")))
    proven = words.STATE_GLYPHS[State.OK], words.STATE_TONES[State.OK]
    lines += [
        untried,
        (Cell(f"  {fit(proven[0], _KEY_WIDTH)}", proven[1]), Cell(tr("nothing is wrong, and it is proven"))),
    ]
    told = {
        Certainty.PROVEN: tr("a rehearsal restored it lately"),
        Certainty.STALE: tr("the last proof of a restore is old"),
        Certainty.UNPROVEN: tr("there is a generation; nobody has restored it yet"),
        Certainty.FAILED: tr("there is nothing that can be restored"),
        Certainty.UNKNOWN: tr("not looked at yet"),
    }
    for verdict, meaning in told.items():
        head = f"{words.VERDICT_GLYPHS[verdict]} {tr(words.VERDICT_WORDS[verdict])}"
        lines.append((Cell(f"  {fit(head, 14)}", words.VERDICT_TONES[verdict]), Cell(meaning)))
    marks = (("▮", tr("a complete generation, the newest on the left")), ("▯", tr("a suspect or damaged one")))
    lines += [
        (Cell(f"  {fit(glyph, _KEY_WIDTH)}"), Cell(meaning)) for glyph, meaning in (*marks, ("·", tr("a free place")))
    ]
    return lines
