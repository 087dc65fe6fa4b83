"""What of a page has to be as it was: `backends.samples`, and the measures that it goes by."""

from __future__ import annotations

import pytest

from backends import page as pages
from backends import samples
from backends.records import PageLook
from backends.web import Measured

WORDS = "<p>お問い合わせはこちらから。営業日に折り返します。</p>"
WHOLE = f"<html><head><title>会社</title><style>p{{}}</style></head><body>{WORDS * 40}<form></form></body></html>"


def seen(html: str = WHOLE, *, status: int | None = 200, latency: float = 0.1, problem: str | None = None) -> Measured:
    page = pages.read(html.encode(), "text/html; charset=utf-8")
    look = PageLook(url="https://x.example/", http_status=status, latency_s=latency, title=page.title, problem=problem)
    return Measured(look, pages.measure(page))


def told(after: Measured, first: Measured | None = None, second: Measured | None = None) -> str | None:
    first = first or seen()
    return samples.difference(samples.sample("a/", first, second or first), after)


def test_only_what_is_seen_is_measured() -> None:
    hidden = "<!-- many words --><script>var a = '<p>words</p>';</script><style>.x{}</style><svg><text>t</text></svg>"
    found = pages.measure(pages.read(f"<p>ab&nbsp;c \n d</p>{hidden}<textarea>ef</textarea>".encode(), "text/html"))
    assert found.letters == len("abcdef")
    assert pages.measure(pages.read(b"<p>ab<script>never closed", "text/html")).letters == 2
    assert pages.measure(pages.read(b"<p>ab<!-- never closed", "text/html")).letters == 2


def test_a_page_that_is_as_it_was_passes_and_so_does_a_little_more_or_less() -> None:
    assert told(seen()) is None
    assert told(seen(WHOLE.replace("<form>", f"{WORDS * 5}<form>"))) is None
    assert told(seen(WHOLE.replace(WORDS * 40, WORDS * 30))) is None
    assert told(seen(WHOLE.replace("会社", "会社 | 新しい題"))) is None
    assert told(seen(latency=4.0)) is None


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (seen(problem="fatal error on the page"), "fatal error on the page"),
        (seen(status=404), "status 404, before 200"),
        (seen(WHOLE.replace("<title>会社</title>", "")), "its title is gone, it was “会社”"),
        (seen(WHOLE.replace(WORDS * 40, WORDS * 5)), "its text is gone: 122 letters, before 962"),
        (seen(WHOLE.replace(WORDS * 40, WORDS * 200)), "its text has grown: 4802 letters, before 962"),
        (seen(WHOLE.replace("<form></form>", "")), "a form is gone: 0, before 1"),
        (seen(latency=8.0), "it takes 8.0 s, before 0.1 s"),
    ],
)
def test_what_is_missing_is_named(after: Measured, why: str) -> None:
    assert told(after) == why


def test_a_skeleton_that_collapsed_is_named() -> None:
    flat = f"<html><head><title>会社</title></head><body><p>{'字' * 960}</p><form></form></body></html>"
    assert told(seen(flat)) == "it has 6 elements, before 46"


def test_what_moves_by_itself_is_no_difference() -> None:
    other = WHOLE.replace(WORDS * 40, WORDS * 12).replace("会社", "別の題").replace("<form></form>", "")
    assert told(seen(other), seen(), seen(other)) is None
    assert told(seen(WHOLE.replace("<title>会社</title>", "")), seen(), seen(other)) is None


def test_a_page_that_was_no_measure_before_is_none_after() -> None:
    broken = seen("<html></html>", status=500, problem="status 500")
    assert told(broken, broken) is None
    assert told(seen("", status=404), seen(), seen(status=503)) is None


def test_what_was_wrong_before_is_no_news_and_all_else_is_compared() -> None:
    cut = "page ends without </html>"
    before = seen(problem=cut)
    assert told(seen(problem=cut), before) is None
    assert told(seen(WHOLE.replace("<form></form>", ""), problem=cut), before) == "a form is gone: 0, before 1"
    assert told(seen(problem="fatal error on the page"), before) == "fatal error on the page"
