"""The main screen: all sites, the one under the cursor in words, what runs, and the keys."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Static

from app.actions import Place, bindings
from app.screens.about_site import AboutSite, Scene
from widgets.cells import text_of
from widgets.fleet_header import FleetHeader
from widgets.fleet_list import FleetList
from widgets.fleet_row import BY_ID
from widgets.key_line import KeyLine
from widgets.language import tr
from widgets.site_page import SiteNews, overview
from widgets.site_pane import SitePane

KEYS = (
    *("open", "restore", "update", "backup", "problem", "filter", "quit"),
    *("choose", "undo", "drill", "isolate", "check", "log", "sort"),
)
"""The first line, and with `?` all that 80 columns hold, is what somebody needs who has never been here."""
PANE_FROM = 110
"""Terminal columns from which the pane stands beside the list; narrower, three lines below it say the most."""


class _FilterInput(Input):
    """Takes the keys of the list that a filter has no use for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.perform('back')", show=False),
        Binding("down", "app.perform('down')", show=False),
        Binding("up", "app.perform('up')", show=False),
    ]


class FleetScreen(AboutSite):
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.FLEET)]
    DEFAULT_CSS = """
    FleetScreen {
        & > #body { height: 1fr; }
        & SitePane { width: 35%; min-width: 44; max-width: 64; }
        & FleetList { width: 1fr; }
        &.-narrow > #body { layout: vertical; }
        &.-narrow SitePane { width: 100%; max-width: 100%; }
        &.-narrow FleetList { width: 1fr; }
        & > #filtering { height: 1; display: none; background: $boost; }
        &.-filtering > #filtering { display: block; }
        & #slash { width: 2; color: $text-accent; padding-left: 1; }
        & #filter { width: 1fr; height: 1; border: none; padding: 0; background: $boost; }
        & #count { width: auto; padding: 0 1; color: $text-muted; }
    }
    """

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.header = FleetHeader(scene.fleet, scene.zone, read_only=scene.read_only)
        self.list = FleetList(scene.now)
        self.pane = SitePane(scene.now, scene.zone)
        self._news: SiteNews | None = None

    def compose(self) -> ComposeResult:
        yield self.header
        with Horizontal(id="body"):
            yield self.list
            yield self.pane
        yield self.strip
        with Horizontal(id="filtering"):
            yield Static("/", id="slash")
            yield _FilterInput(id="filter", compact=True, select_on_focus=False)
            yield Static(id="count")
        yield self.key_line(KEYS)

    def on_mount(self) -> None:
        self.list.focus()

    def on_resize(self) -> None:
        narrow = self.size.width < PANE_FROM
        self.set_class(narrow, "-narrow")
        self.pane.set_brief(narrow)

    @property
    def site_name(self) -> str | None:
        return self.list.site

    @property
    def plain(self) -> str:
        if self._news is None:
            return ""
        lines = overview(self._news, self.scene.now(), self.scene.zone)
        return "\n".join([self.list.plain(self._news.site.name), *(text_of(line) for line in lines)])

    def show(self, news: SiteNews | None) -> None:
        """Say the news of the site under the cursor."""
        self._news = news
        self.pane.show(news)

    # ------------------------------------------------------------ keys

    def act(self, action: str) -> bool:
        match action:
            case "filter":
                self.add_class("-filtering")
                # At once: `focus()` waits for the next message, and keys that are typed fast would act on the site.
                self.set_focus(filter_ := self.query_one("#filter", Input))
                filter_.select_all()
            case "sort":
                self._tell_sort(self.list.next_sort())
            case "back":
                self._back()
            case "problem" | "down" | "up" | "page_down" | "page_up" | "top" | "bottom":
                self.list.touch()
                self.list.move(action)
            case _:
                return False
        return True

    def _tell_sort(self, column: str) -> None:
        title = tr("worst first") if column == "worst" else tr(BY_ID[column].title)
        self.query_one(KeyLine).tell(tr("Order: {column}", column=title), alarm=False)

    def _back(self) -> None:
        self.query_one("#filter", Input).value = ""
        self.remove_class("-filtering")
        self.set_focus(self.list)

    @on(Input.Changed, "#filter")
    def narrow_down(self, event: Input.Changed) -> None:
        # In the list's own turn: Textual ends a message's way up at the screen that caused it.
        self.list.call_later(self._narrow_down, event.value)

    def _narrow_down(self, query: str) -> None:
        self.list.touch()
        self.list.set_filter(query)
        self.count()

    @on(Input.Submitted, "#filter")
    def keep_filter(self, event: Input.Submitted) -> None:
        if not event.value.strip():
            self._back()
        self.set_focus(self.list)

    def count(self) -> None:
        """Say how many sites the filter leaves."""
        if self.has_class("-filtering"):
            self.query_one("#count", Static).update(Text(f"{len(self.list.shown):,}/{self.list.total:,}"))
