"""The last line: the keys that work here, and for a moment what the operator must be told in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from textual import events
from textual.message import Message
from textual.widgets import Static

from widgets.cells import Cell, Tone
from widgets.paint import paint, style


class Key(NamedTuple):
    """One offered key: the action's id, the key as it is written, and the word beside it."""

    action: str
    key: str
    title: str


class KeyLine(Static):
    """Shows as many keys as fit, in their order; a click on one presses it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-line--key"}
    DEFAULT_CSS = """
    KeyLine {
        height: 1;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        color: $text-muted;
        & > .key-line--key { color: $text-accent; text-style: bold; }
        &.-told { background: $warning-muted; color: $text; text-style: bold; }
        &:ansi > .key-line--key { color: ansi_cyan; text-style: bold; }
        &.-told:ansi { background: ansi_default; text-style: reverse; }
    }
    """

    class Pressed(Message):
        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def __init__(self, keys: Sequence[Key], *, last: Key | None = None, id: str | None = None) -> None:  # noqa: A002
        """`last` keeps its place at the end however narrow the line is."""
        super().__init__(id=id)
        self._keys, self._last = keys, last
        self._told = ""
        self._spans: list[tuple[int, int, str]] = []

    @property
    def plain(self) -> str:
        return self._told or "  ".join(f"{key.key} {key.title}" for key in self._keys)

    def tell(self, text: str, *, alarm: bool = True) -> None:
        """Say `text` in place of the keys, until the next key."""
        self._told = text
        self.set_class(alarm, "-told")
        self._draw()

    def clear_told(self, text: str | None = None) -> None:
        """Show the keys again; with `text`, only where that is what is said."""
        if self._told and text in {None, self._told}:
            self._told = ""
            self.set_class(False, "-told")
            self._draw()

    def on_mount(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.is_mounted:
            self.call_later(self._draw)

    def _draw(self) -> None:
        if self._told:
            self.update(paint(self, [(Cell(f" {self._told}"),)]), layout=False)
            return
        text = paint(self, [])
        keycap = self.get_component_rich_style("key-line--key", partial=True)
        self._spans = []
        at = 1
        for key in self._fitting():
            width = cell_len(key.key) + 1 + cell_len(key.title)
            text.append("  " if self._spans else " ")
            text.append(key.key, keycap)
            text.append(f" {key.title}", style(self, Tone.PLAIN))
            self._spans.append((at, at + width, key.action))
            at += width + 2
        self.update(text, layout=False)

    def _fitting(self) -> list[Key]:
        last = [self._last] if self._last else []
        left = (self.size.width or self.app.size.width) + 1 - sum(_width(key) for key in last)
        shown: list[Key] = []
        for key in self._keys:
            left -= _width(key)
            if left < 0:
                break
            shown.append(key)
        return shown + last

    def on_click(self, event: events.Click) -> None:
        for start, end, action in self._spans:
            if start <= event.x < end:
                self.post_message(self.Pressed(action))


def _width(key: Key) -> int:
    return cell_len(key.key) + 1 + cell_len(key.title) + 2
