"""One post among those of the generations: words of its title, then the list with what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from app.operations.post import Found
from app.screens.dialog import Dialog
from backends.records import ModoseruError
from widgets.cells import fit, said
from widgets.key_line import Key
from widgets.language import mark, tr
from widgets.sentences import told

Search = Callable[[str], Awaitable[Sequence[Found]]]
BECOME = {
    "gone": mark("gone now"),
    "trashed": mark("in the trash now"),
    "changed": mark("changed since"),
    "same": mark("the same now"),
    "other": mark("its ID is another's now"),
}


class Posts(Dialog[Found]):
    """Answers the post that was chosen, of the generation from which it would come."""

    DEFAULT_CSS = """
    Posts Input { height: 1; border: none; padding: 0 1; margin-top: 1; background: $boost; }
    Posts OptionList { height: auto; max-height: 18; border: none; margin-top: 1; background: $surface; }
    Posts OptionList:focus { border: none; }
    Posts #said { height: 1; color: $text-muted; }
    """
    _MOVES: ClassVar[dict[str, str]] = {
        "down": "cursor_down",
        "up": "cursor_up",
        "page_down": "page_down",
        "page_up": "page_up",
        "top": "first",
        "bottom": "last",
    }

    def __init__(self, site: str, search: Search) -> None:
        offered = [Key("", "enter", tr("search, then choose"))]
        super().__init__(tr("Bring a post back to {site}: which one?", site=site), offered)
        self._search = search
        self._found: Sequence[Found] = ()
        self._asking: asyncio.Task[None] | None = None

    def body(self) -> Iterable[Widget]:
        yield Input(placeholder=tr("words of its title"), compact=True)
        yield OptionList(markup=False)
        yield Static(id="said")

    def on_mount(self) -> None:
        self.query_one(OptionList).display = False
        self.query_one(Input).focus()

    def on_unmount(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    @on(Input.Submitted)
    def submit(self, event: Input.Submitted) -> None:
        """A word that is sent while the server still searches for another takes its place."""
        if event.value.strip():
            self.on_unmount()
            self._asking = asyncio.create_task(self._look(event.value.strip()))

    async def _look(self, words: str) -> None:
        self._say(tr("Looking through the generations…"))
        try:
            self._found = await self._search(words)
        except ModoseruError as error:
            self._found = ()
            self._say(told(error.message))
            return
        self._say("" if self._found else tr("No clean generation holds a post with these words in its title."))
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(Option(Text(line_of(one))) for one in self._found)
        options.display = bool(self._found)
        if self._found:
            options.highlighted = 0
            options.focus()

    def _say(self, text: str) -> None:
        self.query_one("#said", Static).update(Text(text))

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._found[event.option_index])

    def move(self, direction: str) -> bool:
        if isinstance(self.focused, Input):
            return False
        getattr(self.query_one(OptionList), f"action_{self._MOVES[direction]}")()
        return True


def line_of(one: Found) -> str:
    """Title, what became of it, when it was last changed, and from which generation it would come."""
    changed = f"{one.post.modified:%Y-%m-%d}" if one.post.modified else "–"
    return f"{fit(said(one.post.title, 200), 44)} {fit(tr(BECOME[one.post.now]), 20)} {changed}  {one.generation}"
