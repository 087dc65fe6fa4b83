"""The one prompt before anything is overwritten: names what goes and what stays. Cancel has the focus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual import events, on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from app.operations.intent import Intent, same_word
from app.screens.dialog import Dialog
from widgets.cells import Cell, Line, Tone, said
from widgets.key_line import Key, KeyLine
from widgets.language import tr
from widgets.paint import paint
from widgets.sentences import told

_LOW = 18
"""Lines of a screen below which blank lines and the line of keys give way to the sentences."""
_AROUND, _AROUND_LOW = 11, 4
"""Lines of the box that are no sentence: its border, the word, the buttons, and between them the blank ones."""


class Prompt(NamedTuple):
    """A question and its consequences, one sentence each."""

    question: str
    goes: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()
    typed: str | None = None
    goes_on: tuple[str, ...] = ()
    """What runs on, where nothing goes and nothing stays."""

    @classmethod
    def of(cls, intent: Intent) -> Prompt:
        return cls(intent.question, intent.goes, intent.stays, intent.typed)


class _Consequences(Static):
    """The prompt's sentences."""

    def tell(self, lines: list[Line]) -> None:
        self.update(paint(self, lines))


class Confirm(Dialog[bool]):
    """Opens at once; `ask` gives it the prompt when the plan is made. Answers True only by its own button."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]
    DEFAULT_CSS = """
    Confirm {
        & > #box { max-width: 84; }
        & #consequences { height: auto; margin: 1 0 0 0; }
        & #word { display: none; height: 1; margin-top: 1; }
        & #word.-wanted { display: block; }
        & #word > Static { width: auto; max-width: 75%; text-wrap: nowrap; text-overflow: ellipsis; }
        & #word > Input { width: 1fr; height: 1; border: none; padding: 0 1; background: $boost; }
        & #buttons { height: 1; margin-top: 1; align-horizontal: right; }
        & Button { margin-left: 2; min-width: 12; }
        & Button:focus { text-style: bold reverse; }
        &.-low > #box { max-height: 100%; & > KeyLine { display: none; } }
        &.-low #consequences, &.-low #word, &.-low #buttons { margin-top: 0; }
    }
    """

    def __init__(self, title: str, go: str, prompt: Prompt | None = None, *, stay: str | None = None) -> None:
        super().__init__(title, [Key("", "← →", tr("choose"))], danger=True)
        self._go, self._stay, self._prompt = go, stay or tr("Cancel"), prompt

    def body(self) -> Iterable[Widget]:
        yield VerticalScroll(_Consequences(), id="consequences", can_focus=False)
        with Horizontal(id="word"):
            yield Static(id="wanted")
            yield Input(id="typed", compact=True, select_on_focus=False)
        with Horizontal(id="buttons"):
            yield Button(self._stay, id="cancel", compact=True)
            yield Button(self._go, id="go", variant="error", compact=True, disabled=True)

    def on_mount(self) -> None:
        self.query_one("#cancel", Button).focus()
        if self._prompt is not None:
            self._show(self._prompt)
        else:
            self.query_one(_Consequences).tell(
                [(Cell(tr("Looking at the site first; nothing is touched…"), Tone.DIM),)]
            )

    def on_resize(self, event: events.Resize) -> None:
        """However long the sentences are, they scroll: the buttons stay in sight."""
        height = event.size.height
        low = height < _LOW
        self.set_class(low, "-low")
        around = _AROUND_LOW if low else _AROUND + height // 10
        self.query_one("#consequences").styles.max_height = max(1, height - around)

    def ask(self, prompt: Prompt) -> None:
        """Show what goes and what stays, and let the answer be given."""
        self._prompt = prompt
        if self.is_mounted:
            self._show(prompt)

    def _show(self, prompt: Prompt) -> None:
        lines: list[Line] = [(Cell(told(prompt.question), Tone.STRONG),)]
        if prompt.goes:
            lines += [
                (),
                (Cell(tr("Goes"), Tone.BAD),),
                *((Cell("  ✖ ", Tone.BAD), Cell(told(s))) for s in prompt.goes),
            ]
        if prompt.stays:
            lines += [(), (Cell(tr("Stays"), Tone.GOOD),)]
            lines += [(Cell("  ✔ ", Tone.GOOD), Cell(told(s))) for s in prompt.stays]
        if prompt.goes_on:
            lines += [(), (Cell(tr("Goes on"), Tone.GOOD),)]
            lines += [(Cell("  ↻ ", Tone.GOOD), Cell(told(s))) for s in prompt.goes_on]
        self.query_one(_Consequences).tell(lines)
        if prompt.typed is not None:
            self.query_one("#wanted", Static).update(Text(tr("Type {word} to go on:", word=said(prompt.typed)) + " "))
            self.query_one("#word").add_class("-wanted")
        self.query_one("#go", Button).disabled = prompt.typed is not None

    def on_key(self, event: events.Key) -> None:
        """Where a word is wanted, typing it goes to its place whatever has the focus."""
        wanted = self._prompt is not None and self._prompt.typed is not None
        if wanted and event.is_printable and event.character is not None and isinstance(self.focused, Button):
            typed = self.query_one("#typed", Input)
            typed.focus()
            typed.insert_text_at_cursor(event.character)
            event.stop()

    @on(Input.Changed, "#typed")
    def compare(self, event: Input.Changed) -> None:
        self.query_one("#go", Button).disabled = not self._agrees(event.value)

    def _agrees(self, value: str) -> bool:
        if self._prompt is None:
            return False
        wanted = self._prompt.typed
        return wanted is None or same_word(wanted, value)

    @on(Input.Submitted, "#typed")
    def go_to_buttons(self) -> None:
        """Enter in the word starts nothing: the right word leads to its button, a wrong one stays to be mended."""
        line = self.query_one(KeyLine)
        if self._agrees(self.query_one("#typed", Input).value):
            self.query_one("#go", Button).focus()
            line.tell(tr("enter: {go}", go=self._go), alarm=False)
        else:
            line.tell(tr("That is another word: nothing begins"))

    @on(Button.Pressed, "#cancel")
    def cancel(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#go")
    def agree(self) -> None:
        if self._agrees(self.query_one("#typed", Input).value):
            self.dismiss(True)

    def move(self, direction: str) -> bool:
        scroll = self.query_one("#consequences", VerticalScroll)
        step = {"down": 1, "up": -1, "page_down": 5, "page_up": -5, "top": -10_000, "bottom": 10_000}[direction]
        scroll.scroll_relative(y=step, animate=False)
        return True
