"""What opens a site's database where its wp-config.php is lost; the password is never shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input, Static

from app.operations.credentials import CredentialsWanted
from app.screens.dialog import Dialog
from backends.records import Credentials
from widgets.key_line import Key, KeyLine
from widgets.language import tr
from widgets.sentences import told

FIELDS = ("name", "user", "host", "password")


class AskCredentials(Dialog[Credentials]):
    """Answers what was typed. `enter` goes to the next line, and from the last one on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", show=False, priority=True),
        Binding("up", "app.focus_previous", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    AskCredentials {
        & > #box { max-width: 84; }
        & #why { height: auto; margin-top: 1; color: $text-error; }
        & #where { height: auto; margin-bottom: 1; color: $text-muted; }
        & .field { height: 1; }
        & .field > Static { width: 22; }
        & .field > Input { width: 1fr; height: 1; border: none; padding: 0 1; background: $boost; }
    }
    """

    def __init__(self, wanted: CredentialsWanted, before: Credentials | None) -> None:
        title = tr("The database of {site}", site=wanted.site.name)
        super().__init__(title, [Key("", "enter", tr("next, then go on"))], danger=True)
        known = before or wanted.known
        self._why = told(wanted.message)
        self._known = {"name": known.name, "user": known.user, "host": known.host or "localhost", "password": ""}

    def body(self) -> Iterable[Widget]:
        titles = {
            "name": tr("Database name"),
            "user": tr("Database user"),
            "host": tr("Database host"),
            "password": tr("Database password"),
        }
        yield Static(Text(self._why), id="why")
        yield Static(
            Text(tr("The host's panel shows them. They are written into the restored wp-config.php.")), id="where"
        )
        for field in FIELDS:
            with Horizontal(classes="field"):
                yield Static(Text(titles[field]))
                yield Input(self._known[field], id=field, compact=True, password=field == "password", max_length=500)

    def on_mount(self) -> None:
        first = next((field for field in FIELDS if not self._known[field]), "password")
        self.query_one(f"#{first}", Input).focus()

    @on(Input.Submitted)
    def submit(self, event: Input.Submitted) -> None:
        if event.input.id != FIELDS[-1]:
            self.focus_next()
            return
        given = {field: self.query_one(f"#{field}", Input).value for field in FIELDS}
        if missing := next((field for field in FIELDS[:-1] if not given[field].strip()), None):
            self.query_one(f"#{missing}", Input).focus()
            self.query_one(KeyLine).tell(tr("Something is missing here"))
            return
        named = {field: given[field].strip() for field in FIELDS[:-1]}
        self.dismiss(Credentials(**named, password=given["password"]))

    def move(self, direction: str) -> bool:
        return False
