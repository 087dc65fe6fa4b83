"""What a fetched page says: its text in whatever charset, its title, and the faults that a visitor would see.

Pure and linear in the size of the page, whatever the page: nothing here may be slow on hostile input. Fetches nothing.
"""

from __future__ import annotations

import codecs
import html
import re
import unicodedata
from collections.abc import Iterator

from msgspec import Struct

from backends.records import State, visible

TITLE_LIMIT = 300


class Page(Struct, frozen=True, kw_only=True):
    text: str
    is_html: bool
    title: str | None = None
    """Entities decoded, white space collapsed; raw: make it visible before it is shown."""


class Fault(Struct, frozen=True):
    state: State
    problem: str


# ---------------------------------------------------------------- reading

# By the WHATWG's labels: servers say shift_jis and mean Windows-31J, iso-8859-1 and mean windows-1252. A fixed list,
# because Python's registry also has codecs that are slow or warn on hostile bytes (idna, punycode, unicode_escape).
_CHARSETS = {
    **dict.fromkeys(("utf-8", "utf8", "unicode-1-1-utf-8", "us-ascii", "ascii"), "utf-8"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis", "ms_kanji", "windows-31j", "cp932"), "cp932"),
    **dict.fromkeys(("euc-jp", "x-euc-jp", "eucjp", "eucjp-win", "cseucpkdfmtjapanese"), "euc_jp"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "windows-1252", "cp1252", "iso-8859-15"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030"),
    **{name: name for name in ("big5", "euc-kr", "koi8-r", "windows-1250", "windows-1251", "utf-16le", "utf-16be")},
    "iso-2022-jp": "iso2022_jp",
    "iso-8859-2": "iso8859-2",
}
_META_CHARSET = re.compile(
    rb"<meta[^<>]{0,300}?charset\s{0,5}=\s{0,5}[\"']?\s{0,5}([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE
)
_HEADER_CHARSET = re.compile(r"charset\s{0,5}=\s{0,5}[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)


def read(body: bytes, content_type: str) -> Page:
    """The page in `body`. An unknown charset is read as UTF-8; bytes that do not fit become U+FFFD."""
    text = body.decode(_charset(body, content_type), errors="replace")
    kind = content_type.partition(";")[0].strip().lower()
    is_html = kind in {"text/html", "application/xhtml+xml", ""}
    return Page(text=text, is_html=is_html, title=_title(text) if is_html else None)


def _charset(body: bytes, content_type: str) -> str:
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if body.startswith(mark):
            return name
    declared = _HEADER_CHARSET.search(content_type[:1000])
    if declared and declared[1].lower() in _CHARSETS:
        return _CHARSETS[declared[1].lower()]
    meta = _META_CHARSET.search(body[:4096])
    return _CHARSETS.get(meta[1].decode("ascii").lower(), "utf-8") if meta else "utf-8"


_HEAD_READ = 262_144
_OPENING = re.compile(r"<(?:(!--)|(title|script|style|svg|textarea|noscript)\b[^<>]{0,2000}>)", re.IGNORECASE)
_CLOSING = {
    name: re.compile(rf"</{name}\b", re.IGNORECASE)
    for name in ("title", "script", "style", "svg", "textarea", "noscript")
}


def _title(text: str) -> str | None:
    """The first <title> outside comments, scripts and drawings. One pass: what is never closed ends it."""
    head, at = text[:_HEAD_READ], 0
    while opening := _OPENING.search(head, at):
        if opening[1]:
            at = head.find("-->", opening.end()) + 3
            if at < 3:
                return None
            continue
        name = opening[2].lower()
        closing = _CLOSING[name].search(head, opening.end())
        if closing is None:
            return None
        if name == "title":
            inner = head[opening.end() : closing.start()][:4000]
            return " ".join(html.unescape(inner).split())[:1000] or None
        at = closing.end()
    return None


def shown_title(page: Page) -> str | None:
    return visible(page.title, TITLE_LIMIT) if page.title else None


# ---------------------------------------------------------------- measures


class Measure(Struct, frozen=True, kw_only=True):
    """How much of a page there is, for comparing it with itself."""

    letters: int
    """Of its visible text, white space left out."""
    elements: int
    forms: int


_TAG = re.compile(r"<[^<>]*>")
_ELEMENT = re.compile(r"<[a-zA-Z]")
_FORM = re.compile(r"<form\b", re.IGNORECASE)


def measure(page: Page) -> Measure:
    seen = "".join(_shown(page.text))
    return Measure(
        letters=len(_INVISIBLE.sub("", seen)),
        elements=len(_ELEMENT.findall(page.text)),
        forms=len(_FORM.findall(page.text)),
    )


def words(page: Page) -> str:
    """The visible text: what tags, scripts and comments say is not in it."""
    return html.unescape(_TAG.sub("", "".join(_shown(page.text)))) if page.is_html else page.text


def _shown(text: str) -> Iterator[str]:
    """The source without its comments, scripts, styles and drawings. One pass: what is never closed ends it."""
    at = 0
    while opening := _OPENING.search(text, at):
        yield text[at : opening.start()]
        if opening[1]:
            end = text.find("-->", opening.end()) + 3
            if end < 3:
                return
        else:
            name = opening[2].lower()
            closing = _CLOSING[name].search(text, opening.end())
            if closing is None:
                return
            if name in {"textarea", "title"}:
                yield text[opening.end() : closing.start()]
            end = text.find(">", closing.end()) + 1
            if end < 1:
                return
        at = end
    yield text[at:]


# ---------------------------------------------------------------- faults

_WP_DIE = re.compile(r"""id=["']error-page["']|wp-die-message""")
_CRITICAL = re.compile(
    r"There has been a critical error on (?:this|your) website|このサイトで重大なエラーが発生しました"
    r"|The site is experiencing technical difficulties|サイトに技術的な問題が発生しています"
)
_DATABASE = re.compile(r"Error establishing a database connection|データベース接続確立エラー")
_MAINTENANCE = re.compile(
    r"Briefly unavailable for scheduled maintenance|短い間だけ|メンテナンス中"
    r"|<title>\s{0,5}(?:Maintenance|メンテナンス)"
)
_PHP_KINDS = r"(?:Fatal error|Parse error|Recoverable fatal error|Uncaught \w{1,60})"
_PHP_HTML = re.compile(rf"<b>{_PHP_KINDS}</b>:[^\n]{{1,3000}}", re.IGNORECASE)
_PHP_PLAIN = re.compile(rf"(?:^|[\n>])(?:PHP )?{_PHP_KINDS}: [^\n]{{1,3000}}")
_BARE_LIMIT = 16_384


def faults(page: Page, status: int) -> list[Fault]:
    """What a visitor would call broken, worst first: also under status 200 (FACTS 11, FIELD 3).

    An article *about* such an error must not be taken for one. So WordPress's sentences count only on its own error
    page (`wp_die`) or on a page without much else; PHP's messages in their HTML form always, in their plain form only
    where the page ends with them.
    """
    found: list[Fault] = []
    bare = len(page.text) < _BARE_LIMIT or _WP_DIE.search(page.text) is not None
    if status == 503 and _MAINTENANCE.search(page.text):
        # Core ignores its own maintenance file after ten minutes, so this one ends by itself.
        return [Fault(State.WARNING, "maintenance page (status 503)")]
    if bare and _DATABASE.search(page.text):
        found.append(Fault(State.CRITICAL, "database error on the page"))
    if _PHP_HTML.search(page.text) or _php_ends_it(page.text):
        found.append(Fault(State.CRITICAL, "fatal error on the page"))
    elif bare and _CRITICAL.search(page.text):
        found.append(Fault(State.CRITICAL, "critical error on the page"))
    if status >= 400:
        found.insert(0, Fault(State.CRITICAL, f"status {status}"))
    elif not found and _is_empty(page):
        found.append(Fault(State.CRITICAL, "empty page"))
    return found


def is_cut_off(page: Page) -> bool:
    """A whole HTML page that stops before its end, as a template that dies half way does with errors hidden."""
    lower = page.text[-4096:].lower()
    return page.is_html and "<body" in page.text[:_HEAD_READ].lower() and "</html" not in lower


def _php_ends_it(text: str) -> bool:
    for match in _PHP_PLAIN.finditer(text):
        if " on line " in match[0] or " in " in match[0]:
            return "</html" not in text[match.end() :].lower()
    return False


_INVISIBLE = re.compile(r"<[^<>]*>|&nbsp;|\s+")
_SPEAKS = re.compile(r"<(?:img|video|iframe|object|embed|svg|script|frame)\b", re.IGNORECASE)


def _is_empty(page: Page) -> bool:
    """Nothing to see: no title, no words, no picture, nothing that could draw one."""
    if not page.text.strip():
        return True
    if not page.is_html or page.title or len(page.text) > _BARE_LIMIT or _SPEAKS.search(page.text):
        return False
    return not _INVISIBLE.sub("", page.text)


# ---------------------------------------------------------------- expectations


def says(haystack: str, needle: str) -> bool:
    """Whether `needle` stands in `haystack`, whatever the width of its characters, its case and its white space."""
    return _plain(needle) in _plain(haystack)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
