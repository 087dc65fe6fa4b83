"""Turns tones into the theme's colours. Text is put together from pieces and never parsed as markup (FACTS 1.2)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from rich.style import Style
from rich.text import Text
from textual.color import Color
from textual.widget import Widget

from widgets.cells import Line, Tone

_VARIABLES = {
    Tone.GOOD: "text-success",
    Tone.WARN: "text-warning",
    Tone.BAD: "text-error",
    Tone.DIM: "foreground-muted",
}
_ANSI = {
    Tone.PLAIN: Style(),
    Tone.GOOD: Style(color="green"),
    Tone.WARN: Style(color="yellow"),
    Tone.BAD: Style(color="red", bold=True),
    Tone.DIM: Style(dim=True),
    Tone.STRONG: Style(bold=True),
}
_COLOURLESS = {
    Tone.PLAIN: Style(),
    Tone.GOOD: Style(),
    Tone.WARN: Style(bold=True),
    Tone.BAD: Style(bold=True, underline=True),
    Tone.DIM: Style(dim=True),
    Tone.STRONG: Style(bold=True),
}


def style(widget: Widget, tone: Tone) -> Style:
    """The tone's colour in the present theme; the background is whatever it is drawn on."""
    if widget.app.no_color:
        return _COLOURLESS[tone]
    if widget.app.native_ansi_color:
        return _ANSI[tone]
    variables = widget.app.theme_variables
    return _style(tone, variables.get(_VARIABLES.get(tone, "")), variables["background"])


@lru_cache(64)
def _style(tone: Tone, color: str | None, background: str) -> Style:
    bold = tone in {Tone.BAD, Tone.STRONG}
    if color is None:
        return Style(bold=bold)
    return Style(color=(Color.parse(background) + Color.parse(color)).rich_color, bold=bold)


def paint(widget: Widget, lines: Iterable[Line]) -> Text:
    """`lines` as one text."""
    text = Text(end="")
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for cell in line:
            text.append(cell.text, style(widget, cell.tone))
    return text
