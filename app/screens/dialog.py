"""What every dialog has: a titled box over the fleet, `esc`, and the line that tells its keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget

from app.actions import BY_ID, Place, bindings, key
from widgets.key_line import Key, KeyLine

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """Subclasses give `body`. `esc` and `q` answer None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(Place.MOVE, Place.BACK),
        Binding("q", "app.perform('back')", show=False),  # where a word is being typed, the word takes it
    ]
    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        & > #box {
            width: 90%;
            max-width: 100;
            height: auto;
            max-height: 90%;
            border: round $primary;
            border-title-style: bold;
            background: $surface;
            padding: 0 1;
        }
        & > #box.-danger { border: round $error; }
        & > #box > KeyLine { margin-top: 1; background: $surface; }
    }
    """

    def __init__(self, title: str, keys: Sequence[Key] = (), *, danger: bool = False) -> None:
        super().__init__()
        self._heading, self._offered, self._danger = title, keys, danger

    def body(self) -> Iterable[Widget]:
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="-danger" if self._danger else "") as box:
            box.border_title = Text(self._heading)  # a Text is never parsed as markup
            yield from self.body()
            yield KeyLine([*self._offered, key("back")])

    def act(self, action: str) -> bool:
        """Do what a key of `Place.MOVE` or `Place.BACK` means here."""
        if action == "back":
            self.dismiss(None)
            return True
        return BY_ID[action].place is Place.MOVE and self.move(action)

    @property
    def is_built(self) -> bool:
        """Whether its last widget is there: an operation may move on while it opens."""
        return self.is_mounted and bool(self.query(KeyLine))

    def renew(self) -> None:
        """An operation has moved on: show it, where this dialog tells of one."""

    @property
    def plain(self) -> str:
        """What `y` copies; empty where nothing is."""
        return ""

    def move(self, direction: str) -> bool:
        """Move in the dialog's list; False where it has none."""
        return False
