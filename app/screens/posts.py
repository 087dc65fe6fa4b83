"""One post among those of the generations: words of its title, then the list with what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from textual import on
from textual.widgets import Input, OptionList

from app.operations.post import Found
from app.screens.choice import Search
from backends.records import ModoseruError
from widgets.cells import fit, said
from widgets.key_line import Key
from widgets.language import mark, tr
from widgets.sentences import told

Searched = Callable[[str], Awaitable[Sequence[Found]]]
BECOME = {
    "gone": mark("gone now"),
    "trashed": mark("in the trash now"),
    "changed": mark("changed since"),
    "same": mark("the same now"),
    "other": mark("its ID is another's now"),
}


class Posts(Search[Found]):
    """Answers the post that was chosen, of the generation from which it would come."""

    WANTED = mark("words of its title")

    def __init__(self, site: str, search: Searched) -> None:
        offered = [Key("", "enter", tr("search, then choose"))]
        super().__init__(tr("Bring a post back to {site}: which one?", site=site), offered)
        self._search = search
        self._asking: asyncio.Task[None] | None = None

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
        self.say(tr("Looking through the generations…"))
        try:
            found = await self._search(words)
        except ModoseruError as error:
            self.offer((), ())
            self.say(told(error.message))
            return
        self.say("" if found else tr("No clean generation holds a post with these words in its title."))
        self.offer(found, (line_of(one) for one in found))
        if found:
            self.query_one(OptionList).focus()


def line_of(one: Found) -> str:
    """Title, what became of it, when it was last changed, and from which generation it would come."""
    changed = f"{one.post.modified:%Y-%m-%d}" if one.post.modified else "–"
    return f"{fit(said(one.post.title, 200), 44)} {fit(tr(BECOME[one.post.now]), 20)} {changed}  {one.generation}"
