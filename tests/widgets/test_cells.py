"""Lines that are broken lose nothing: a fingerprint or a path is read to its end."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from widgets.cells import Cell, cut, folded, text_of

SENTENCE = "the host key has changed: pinned SHA256:" + "a" * 43 + ", 「東京都」の鍵ではない shown SHA256:" + "b" * 43


@pytest.mark.parametrize("width", [8, 13, 40, 41, 42, 43, 80, 300])
@pytest.mark.parametrize("hang", [0, 4, 30])
def test_a_broken_line_keeps_every_letter_and_its_width(width: int, hang: int) -> None:
    lines = [text_of(line) for line in folded([(Cell("· "), Cell(SENTENCE))], width, hang=hang)]
    assert "".join("".join(lines).split()) == "".join(f"· {SENTENCE}".split())
    assert all(cell_len(line) <= width for line in lines)


def test_a_line_that_is_cut_says_so() -> None:
    assert text_of(cut((Cell("abc"), Cell("defgh")), 6)) == "abcde…"
    assert text_of(cut((Cell("abc"), Cell("def")), 6)) == "abcdef"
