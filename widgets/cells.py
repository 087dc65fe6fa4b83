"""Pieces of text with a tone: what every widget draws. No Textual here, so that the CLI can print the same pieces.

Text from outside passes `visible` here once more and is never parsed as markup (FACTS 1.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from backends.records import visible

_WHOLE = 24
"""A cell up to this wide is not broken: a version stays beside its name."""


class Tone(StrEnum):
    """How a piece is meant. A glyph or a word always says the same: colour comes on top."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    DIM = "dim"
    STRONG = "strong"


class Cell(NamedTuple):
    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Cell, ...]
_WORDS = re.compile(r"\s+|[!-\u2e7f]+|.")
"""Blanks, words, and single characters of scripts that are written without blanks (from U+2E80 on)."""


def said(text: str | None, limit: int = 300) -> str:
    """Remote text made harmless; empty for None."""
    return visible(text, limit) if text else ""


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` terminal columns, cut with `…` where it is longer."""
    length = cell_len(text)
    if length > width:
        text = set_cell_size(text, max(0, width - 1)).rstrip() + "…" if width > 0 else ""
        length = cell_len(text)
    pad = " " * (width - length)
    return pad + text if right else text + pad


def cut(line: Line, width: int) -> Line:
    """`line` in at most `width` columns, ending in `…` where it is longer."""
    left = width
    found: list[Cell] = []
    for cell in line:
        size = cell_len(cell.text)
        if size > left:
            return *found, Cell(fit(cell.text, left), cell.tone)
        found.append(cell)
        left -= size
    return line


def labelled(label: str, width: int, *cells: Cell) -> Line:
    """A line that begins with a dim label of `width` columns."""
    return (Cell(fit(label, width) + " ", Tone.DIM), *cells)


def text_of(line: Line) -> str:
    return "".join(cell.text for cell in line)


def folded(lines: Iterable[Line], width: int, *, hang: int | None = None) -> list[Line]:
    """`lines` broken at `width` columns, between words where there are any.

    The rest of a line is indented by `hang` columns, else below where its second cell begins.
    """
    found: list[Line] = []
    for line in lines:
        found += _fold(line, max(width, 8), _hang(line) if hang is None else hang)
    return found


def _fold(line: Line, width: int, hang: int) -> list[Line]:
    hang = min(hang, width // 2)
    found: list[Line] = []
    now: list[Cell] = []
    at = 0
    for cell in line:
        whole = cell_len(cell.text) <= min(_WHOLE, width - hang)
        for word in [cell.text] if whole else _WORDS.findall(cell.text):
            size = cell_len(word)
            if at + size > width and at > hang and not word.isspace():
                found.append(tuple(now))
                now, at = [Cell(" " * hang)], hang
                word = word.lstrip()  # noqa: PLW2901 - a new line begins with its word
                size = cell_len(word)
            while at + size > width and not word.isspace():  # a word wider than the line: a key's fingerprint, a path
                piece, word = _split(word, width - at)  # noqa: PLW2901
                found.append((*now, Cell(piece, cell.tone)))
                now, at, size = [Cell(" " * hang)], hang, cell_len(word)
            if at + size > width:
                word, size = fit(word, width - at), width - at  # noqa: PLW2901 - blanks at the end of a line
            if word and (at > hang or not word.isspace() or not found):
                now.append(Cell(word, cell.tone))
                at += size
    return [*found, tuple(now)]


def _split(word: str, width: int) -> tuple[str, str]:
    """The beginning of `word` that fills at most `width` columns (one character at least), and the rest."""
    at = size = 0
    for char in word:
        size += cell_len(char)
        if size > width and at:
            break
        at += 1
    return word[:at], word[at:]


def _hang(line: Line) -> int:
    """Where a line goes on: below its second cell, if the first is a label or a mark."""
    first = line[0].text if line else ""
    return cell_len(first) if len(line) > 1 and first.endswith(" ") else cell_len(first) - cell_len(first.lstrip()) + 2
