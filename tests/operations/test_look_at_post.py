"""The look after a post came back: its own page must be there, whatever a host keeps from whom."""

from __future__ import annotations

import pytest

from app.operations import look
from backends.records import Expected, Health, PageLook, State

URL = "https://kogyo.example/"


def seen(own: PageLook | None) -> Health:
    pages = [
        PageLook(url=URL, http_status=200, title="工業"),
        PageLook(url=f"{URL}wp-login.php", http_status=403, problem="x"),
    ]
    return Health(state=State.OK, pages=(*pages, *([own] if own else [])))


@pytest.mark.parametrize(
    ("status", "problem", "keep"),
    [(200, None, True), (404, "status 404", False), (200, "fatal error on the page", False), (403, "status 403", True)],
)
def test_the_page_of_the_post_decides(status: int, problem: str | None, keep: bool) -> None:
    own = PageLook(url=f"{URL}?p=12", http_status=status, problem=problem)
    found = look.verdict(seen(own), Expected(page="?p=12"))
    assert found.keep is keep
    assert keep or (f"{URL}?p=12" in found.detail and str(problem) in found.detail)


def test_what_is_no_post_of_this_restore_may_be_missing() -> None:
    assert look.verdict(seen(PageLook(url=f"{URL}wp-json/", http_status=404, problem="status 404")), Expected()).keep
