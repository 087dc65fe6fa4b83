"""Everything about one site on a screen of its own."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from app.screens.about_site import AboutSite, Scene
from app.screens.scrolled import scroll
from widgets.cells import folded, text_of
from widgets.paint import paint
from widgets.site_page import SiteNews, whole

KEYS = ("back", "restore", "choose", "undo", "update", "backup", "drill", "isolate", "diff", "check", "log", "copy")


class _Page(Static):
    DEFAULT_CSS = "_Page { height: auto; padding: 1 2; }"


class Details(AboutSite):
    DEFAULT_CSS = """
    Details > #page { height: 1fr; scrollbar-size-vertical: 1; }
    """

    def __init__(self, scene: Scene, news: SiteNews) -> None:
        super().__init__(scene)
        self._news = news

    @property
    def site_name(self) -> str:
        return self._news.site.name

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="page"):
            yield _Page()
        yield self.strip
        yield self.key_line(KEYS)

    def on_mount(self) -> None:
        self.query_one("#page").focus()
        self.show(self._news)

    def show(self, news: SiteNews | None) -> None:
        if news is None:
            return
        self._news = news
        page = self.query_one(_Page)
        width = page.scrollable_content_region.width or 80
        page.update(paint(page, folded(whole(news, self.scene.now(), self.scene.zone), width)))

    def on_resize(self) -> None:
        self.call_after_refresh(self.show, self._news)

    @property
    def plain(self) -> str:
        return "\n".join(text_of(line) for line in whole(self._news, self.scene.now(), self.scene.zone))

    def act(self, action: str) -> bool:
        if action == "back":
            self.dismiss(None)
            return True
        return scroll(self.query_one("#page"), action)
