"""Promises of `backends.web`, against real HTTP and TLS servers that behave as real sites do, well and badly."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import time
import tracemalloc

import pytest

from backends import page, web
from backends.records import Health, State
from backends.web import Expectation, Web, look, visit
from tests.backends.web_servers import (
    DAY,
    Authority,
    Handler,
    Request,
    answer,
    bomb,
    by_path,
    endless,
    html,
    http,
    listening,
    redirect,
    stalling,
)

NAME = "shika.example"
URL = f"http://{NAME}/"
NOW = dt.datetime(2026, 11, 23, 2, 15, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


async def seen(handler: Handler, expect: Expectation | None = None, *, timeout: float = 10.0) -> Health:
    async with http(handler) as served:
        return await look(URL, connect=served.connect, timeout=timeout, expect=expect, now=NOW)


async def test_a_good_page_is_ok_with_title_size_and_latency() -> None:
    text = html("てすと歯科 &#8211; 札幌 &amp; 小樽")
    health = await seen(answer(text))
    assert (health.state, health.problem, health.http_status) == (State.OK, None, 200)
    assert health.title == "てすと歯科 – 札幌 & 小樽"
    assert health.bytes == len(text.encode())
    assert health.checked_at == NOW
    assert health.latency_s is not None
    assert 0 < health.latency_s < 10
    assert [p.url for p in health.pages] == [URL]


async def test_the_site_is_asked_by_its_own_name_and_told_who_asks() -> None:
    async with http(answer(html())) as served:
        await look(URL, connect=served.connect)
        await look("http://日本語.example/", connect=served.connect)
    assert served.requests[0].headers["host"] == NAME
    assert served.requests[0].headers["user-agent"].startswith("Modoseru/")
    assert served.requests[0].headers["user-agent"].endswith("(+site check)")
    assert served.requests[1].headers["host"] == "xn--wgv71a119e.example"


# ---------------------------------------------------------------- broken pages


@pytest.mark.parametrize("status", [404, 403, 500, 502])
async def test_an_error_status_is_critical(status: int) -> None:
    health = await seen(answer(html(), status=status))
    assert (health.state, health.problem, health.http_status) == (State.CRITICAL, f"status {status}", status)


WP_DIE = (
    '<!DOCTYPE html><html lang="ja"><head><title>WordPress &rsaquo; エラー</title></head>'
    '<body id="error-page"><div class="wp-die-message"><p>{}</p></div></body></html>'
)
PHP_FATAL = (
    "<br />\n<b>Fatal error</b>:  Uncaught Error: Call to undefined function no_such() in "
    "/home/shika/public_html/wp-content/plugins/broken/broken.php:7\nStack trace:\n#0 {main}\n  thrown in "
    "<b>/home/shika/public_html/wp-content/plugins/broken/broken.php</b> on line <b>7</b><br />\n"
)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (WP_DIE.format("There has been a critical error on this website."), "critical error on the page"),
        (WP_DIE.format("このサイトで重大なエラーが発生しました。"), "critical error on the page"),
        (PHP_FATAL, "fatal error on the page"),
        (html(body="<p>head</p>" + PHP_FATAL), "fatal error on the page"),
        (
            "PHP Fatal error:  Uncaught Error: x in /a/b.php:3\nthrown in /a/b.php on line 3\n",
            "fatal error on the page",
        ),
        (
            "<br />\n<b>Parse error</b>:  syntax error, unexpected token in <b>/a/b.php</b> on line <b>3</b><br />",
            "fatal error on the page",
        ),
        ("<h1>Error establishing a database connection</h1>", "database error on the page"),
        (WP_DIE.format("<h1>データベース接続確立エラー</h1>"), "database error on the page"),
    ],
)
async def test_a_broken_page_is_critical_also_under_200(body: str, problem: str, status: int) -> None:
    health = await seen(answer(body, status=status))
    assert health.state is State.CRITICAL
    assert health.problem == (problem if status == 200 else f"status {status}; {problem}")


async def test_a_large_page_that_wordpress_ended_with_its_error_page_is_critical() -> None:
    died = html(body="<p>" + "long " * 10_000) + WP_DIE.format("There has been a critical error on this website.")
    assert (await seen(answer(died))).problem == "critical error on the page"


async def test_an_article_about_such_errors_is_not_taken_for_one() -> None:
    article = html(
        "重大なエラーの直し方",
        "<p>" + "WordPress " * 2000 + "There has been a critical error on this website. "
        "Error establishing a database connection</p>"
        "<pre>\nPHP Fatal error: Uncaught Error: x in /var/www/a.php on line 12\n</pre>",
    )
    health = await seen(answer(article))
    assert (health.state, health.problem) == (State.OK, None)


@pytest.mark.parametrize(
    "body", ["", " \n\n", "<html><head></head><body></body></html>", "<!-- nothing --><div>&nbsp;</div>"]
)
async def test_a_white_page_under_200_is_critical(body: str) -> None:
    health = await seen(answer(body))
    assert (health.state, health.problem) == (State.CRITICAL, "empty page")


async def test_a_page_that_draws_itself_is_not_empty() -> None:
    health = await seen(answer('<html><body><div id="app"></div><script src="app.js"></script></body></html>'))
    assert health.state is State.OK


@pytest.mark.parametrize(
    "body",
    [
        (
            "<html><head><title>Maintenance</title></head><body><h1>Briefly unavailable for scheduled maintenance. "
            "Check back in a minute.</h1></body></html>"
        ),
        "<html><head><title>メンテナンス</title></head><body><h1>短い間だけ利用できません。</h1></body></html>",
    ],
)
async def test_maintenance_is_told_from_a_broken_site(body: str) -> None:
    health = await seen(answer(body, status=503))
    assert (health.state, health.problem) == (State.WARNING, "maintenance page (status 503)")
    assert (await seen(answer("<h1>Service Unavailable</h1>", status=503))).problem == "status 503"


async def test_a_page_that_stops_half_way_is_a_warning() -> None:
    health = await seen(answer(html().removesuffix("</body></html>")))
    assert (health.state, health.problem) == (State.WARNING, "page ends without </html>")


async def test_an_answer_that_breaks_off_is_critical() -> None:
    health = await seen(answer(html(), headers={"Content-Length": "99999"}))
    assert health.state is State.CRITICAL
    assert health.problem == f"answer broke off after {len(html().encode())} bytes"
    assert health.http_status == 200


async def test_a_compressed_answer_that_breaks_off_is_critical() -> None:
    import gzip

    half = gzip.compress(html(body="".join(f"<p>{i}</p>" for i in range(5000))).encode())[:5000]
    health = await seen(answer(half, headers={"Content-Encoding": "gzip"}))
    assert health.state is State.CRITICAL
    assert (health.problem or "").startswith("answer broke off after ")


# ---------------------------------------------------------------- charsets and titles


@pytest.mark.parametrize(
    ("charset", "codec", "content_type"),
    [
        ("utf-8", "utf-8", "text/html; charset=UTF-8"),
        ("utf-8", "utf-8-sig", "text/html"),
        ("euc-jp", "euc_jp", "text/html; charset=EUC-JP"),
        ("euc-jp", "euc_jp", "text/html"),
        ("shift_jis", "cp932", "text/html; charset=Shift_JIS"),
        ("Shift_JIS", "cp932", "text/html"),
        ("x-sjis", "cp932", 'text/html;charset="x-sjis"'),
        ("iso-2022-jp", "iso2022_jp", "text/html; charset=ISO-2022-JP"),
        ("utf-16", "utf-16", "text/html"),
    ],
)
async def test_japanese_titles_are_read_in_every_charset_that_sites_use(
    charset: str, codec: str, content_type: str
) -> None:
    body = html("株式会社てすと工業", "<p>目印</p>", charset=charset).encode(codec)
    expect = Expectation(title="てすと工業", marker="目印")
    health = await seen(answer(body, content_type=content_type), expect)
    assert (health.state, health.title) == (State.OK, "株式会社てすと工業")


@pytest.mark.parametrize("charset", ["idna", "unicode_escape", "zip", "../../etc/passwd", "undefined", "utf-7"])
async def test_a_hostile_charset_is_read_as_utf8(charset: str) -> None:
    health = await seen(answer(html("歯科"), content_type=f"text/html; charset={charset}"))
    assert (health.state, health.title) == (State.OK, "歯科")


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ("<title>\n  a\n  b </title>", "a b"),
        ("<TITLE lang=ja>a</TITLE>", "a"),
        ("<!-- <title>old</title> --><title>a</title>", "a"),
        ("<script>document.title='<title>x</title>'</script><title>a</title>", "a"),
        ("<svg><title>icon</title></svg><title>a</title>", "a"),
        ("<title>&#155;0;owned&lrm;&#x202e;a</title>", "›0;owned\\u200e\\u202ea"),
        ("<title>\x1b[2Ja</title>", "\\x1b[2Ja"),
        ("<title></title>", None),
        ("<title>never closed", None),
        ("<!-- never closed <title>a</title>", None),
        ("", None),
    ],
)
def test_the_title_is_the_visitors_and_safe_to_show(head: str, title: str | None) -> None:
    assert page.shown_title(page.read(f"<html><head>{head}".encode(), "text/html; charset=utf-8")) == title


def test_a_long_title_is_cut() -> None:
    shown = page.shown_title(page.read(html("x" * 5000).encode(), "text/html"))
    assert shown is not None
    assert len(shown) == page.TITLE_LIMIT


@pytest.mark.parametrize("part", [b"<", b"<!--", b"<title>", b"<script>", b"<title", b"&#", b"<b>Fatal error</b>:\n"])
def test_reading_a_hostile_page_takes_linear_time(part: bytes) -> None:
    body, began = part * (web.BODY_LIMIT // len(part)), time.process_time()
    read = page.read(body, "text/html")
    page.faults(read, 200)
    page.is_cut_off(read)
    assert time.process_time() - began < 20  # a tenth of a second; quadratic, it would be minutes


# ---------------------------------------------------------------- expectations


async def test_another_title_is_a_warning_and_a_missing_marker_critical() -> None:
    health = await seen(answer(html("Cheap pills")), Expectation(title="てすと歯科"))
    assert (health.state, health.problem) == (State.WARNING, "title is Cheap pills, not てすと歯科")
    health = await seen(answer(html()), Expectation(title="てすと歯科", marker="診療時間"))
    assert (health.state, health.problem) == (State.CRITICAL, "content marker missing: 診療時間")


async def test_width_case_and_white_space_do_not_matter_in_expectations() -> None:
    expect = Expectation(title="ＡＢＣ　歯科", marker="TEL 011")
    health = await seen(answer(html("abc 歯科 | ようこそ", "<p>tel\n ０１１-000</p>")), expect)
    assert (health.state, health.problem) == (State.OK, None)


async def test_more_pages_are_looked_at_and_named() -> None:
    pages = by_path({"/": answer(html()), "/wp-login.php": answer(PHP_FATAL), "/a/b": answer(html("B"))})
    health = await seen(pages, Expectation(pages=("wp-login.php", "a/b", "none")))
    assert health.state is State.CRITICAL
    assert health.problem == "wp-login.php: fatal error on the page; none: status 404"
    assert [(p.http_status, p.problem) for p in health.pages] == [
        (200, None),
        (200, "fatal error on the page"),
        (200, None),
        (404, "status 404"),
    ]
    assert health.pages[2].title == "B"


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_host_that_filters_the_login_page_is_no_failure(status: int) -> None:
    pages = by_path({"/": answer(html()), "/wp-login.php": answer("<p>no</p>", status=status)})
    health = await seen(pages, Expectation(pages=("wp-login.php",)))
    assert (health.state, health.problem) == (State.OK, None)
    assert health.pages[1].problem == f"status {status}"


# ---------------------------------------------------------------- redirects


async def test_redirects_are_followed_on_the_pinned_address() -> None:
    pages = by_path(
        {"/": redirect("/ja/", 301), "/ja/": redirect(f"http://{NAME}/ja/top", 308), "/ja/top": answer(html("Top"))}
    )
    health = await seen(pages)
    assert (health.state, health.title, health.http_status) == (State.OK, "Top", 200)


@pytest.mark.parametrize("page", ["install.php", "setup-config.php"])
async def test_a_wordpress_that_asks_to_be_installed_is_broken(page: str) -> None:
    """Without tables, or without wp-config.php, every page leads there and answers 200."""
    setup = f"/wp-admin/{page}"
    health = await seen(by_path({"/": redirect(setup), setup: answer(html("WordPress › Setup"))}))
    assert (health.state, health.http_status) == (State.CRITICAL, 200)
    assert health.problem == "WordPress asks to be installed"


async def test_another_port_of_the_same_host_is_looked_for_at_the_pinned_host() -> None:
    async with http(answer(html("Other port"))) as other:
        health = await seen(redirect(f"http://{NAME}:{other.port}/"))
    assert health.title == "Other port"
    assert other.requests[0].headers["host"] == f"{NAME}:{other.port}"


async def test_a_redirect_loop_ends_and_is_named() -> None:
    health = await seen(by_path({"/": redirect("/a"), "/a": redirect("/")}))
    assert health.state is State.CRITICAL
    assert health.problem == f"redirect loop: http://{NAME}/a"
    assert health.http_status == 302


async def test_redirects_without_end_are_counted() -> None:
    async def further(request: Request, writer: asyncio.StreamWriter) -> None:
        await redirect(f"{request.path}x")(request, writer)

    health = await seen(further)
    assert (health.state, health.problem) == (State.CRITICAL, f"more than 10 redirects: http://{NAME}/xxxxxxxxxxx")


async def test_a_redirect_to_another_host_is_a_warning() -> None:
    async with http(answer(html("Casino"))) as other:
        health = await seen(redirect(f"http://localhost:{other.port}/"))
    assert health.state is State.WARNING
    assert health.problem == f"redirects to another host: http://localhost:{other.port}/"


async def test_a_redirect_to_nobody_names_the_place_that_does_not_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    health = await seen(redirect(f"http://localhost:{port}/"))
    assert health.state is State.CRITICAL
    assert (health.problem or "").startswith(f"unreachable: connection refused at localhost:{port}")


@pytest.mark.parametrize("target", ["javascript:alert(1)", "file:///etc/passwd", "ftp://x.example/"])
async def test_a_redirect_to_something_that_is_no_page_is_critical(target: str) -> None:
    health = await seen(redirect(target))
    assert health.problem == f"redirects to something that is no page: {target}"


async def test_a_redirect_to_a_broken_url_is_critical() -> None:
    health = await seen(redirect("http://a..b:99999/\x1b[2J"))
    assert health.state is State.CRITICAL
    assert "\x1b" not in (health.problem or "")


# ---------------------------------------------------------------- bounds


async def test_a_page_without_end_is_judged_by_its_beginning() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4294967296\r\n\r\n" + html().encode()
    health = await seen(endless(head, b"<p>more</p>" * 1000))
    assert (health.state, health.problem) == (State.WARNING, "larger than 2 MiB: judged by its beginning")
    assert health.bytes == web.BODY_LIMIT


async def test_a_gzip_bomb_costs_no_more_than_a_page() -> None:
    handler = bomb(200)
    tracemalloc.start()
    try:
        health = await seen(handler)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert health.bytes == web.BODY_LIMIT
    assert health.state is not State.OK
    assert peak < 40 * 2**20


async def test_a_compressed_page_is_read() -> None:
    import gzip
    import zlib

    for encoding, body in (("gzip", gzip.compress(html().encode())), ("deflate", zlib.compress(html().encode()))):
        health = await seen(answer(body, headers={"Content-Encoding": encoding}))
        assert (health.state, health.title) == (State.OK, "てすと歯科")


@pytest.mark.parametrize(
    ("encoding", "problem"),
    [
        ("br", "answers in an encoding that was not offered: br"),
        ("gzip", "answer cannot be decompressed"),
    ],
)
async def test_an_encoding_that_cannot_be_read_is_named(encoding: str, problem: str) -> None:
    health = await seen(answer(b"\x00not that", headers={"Content-Encoding": encoding}))
    assert (health.state, health.problem) == (State.CRITICAL, problem)


@pytest.mark.parametrize("part", [b"X-Header: 1\r\n", b"X" * 1000], ids=["endless headers", "one endless header"])
async def test_headers_without_end_are_refused(part: bytes) -> None:
    health = await seen(endless(b"HTTP/1.1 200 OK\r\n", part))
    assert health.state is State.CRITICAL
    assert (health.problem or "").startswith("not a valid HTTP answer from 127.0.0.1:")


@pytest.mark.parametrize(
    "beginning",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<"],
    ids=["no answer", "half a header", "one byte of the page"],
)
async def test_a_site_that_stalls_ends_at_the_time_out(beginning: bytes) -> None:
    health = await seen(stalling(beginning), timeout=0.2)
    assert health.state is State.CRITICAL
    assert "no complete answer within 0.2 s from 127.0.0.1:" in (health.problem or "")
    assert health.http_status == (200 if b"<" in beginning else None)


async def test_a_server_that_speaks_no_http_is_named_so() -> None:
    health = await seen(stalling(b"220 mail.example ESMTP \x1b[2J\r\n"))
    assert health.state is State.CRITICAL
    assert (health.problem or "").startswith("not a valid HTTP answer from 127.0.0.1:")
    assert "\x1b" not in (health.problem or "")


# ---------------------------------------------------------------- unreachable


async def test_a_refused_connection_is_critical_and_says_where() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    health = await look(URL, connect=f"127.0.0.1:{port}", expect=Expectation(pages=("wp-login.php",)))
    assert health.state is State.CRITICAL
    assert health.problem == f"unreachable: connection refused at 127.0.0.1:{port}"
    assert (health.http_status, health.latency_s, health.bytes) == (None, None, None)
    assert len(health.pages) == 1


async def test_a_connection_closed_without_an_answer_is_critical() -> None:
    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with listening(hang_up) as port:
        health = await look(URL, connect=f"127.0.0.1:{port}")
    assert health.state is State.CRITICAL
    assert (health.problem or "").startswith("unreachable: connection ")


@pytest.mark.parametrize(
    ("url", "problem"),
    [("https://a..b/", "not a valid host name: a..b"), ("ftp://shika.example/", "not an http or https URL")],
)
async def test_what_cannot_be_asked_is_unknown(url: str, problem: str) -> None:
    health = await look(url)
    assert (health.state, health.problem) == (State.UNKNOWN, problem)


# ---------------------------------------------------------------- TLS


async def test_a_trusted_certificate_lets_the_visitor_in(authority: Authority) -> None:
    async with http(answer(html()), context=authority.context(authority.leaf(NAME))) as served:
        health = await look(f"https://{NAME}/", connect=served.connect, ca_file=authority.root_file)
    assert (health.state, health.problem) == (State.OK, None)


async def test_a_refused_certificate_is_critical_and_the_page_is_judged_all_the_same(authority: Authority) -> None:
    expired = authority.context(authority.leaf(NAME, left=-DAY))
    async with http(answer(PHP_FATAL), context=expired) as served:
        health = await look(f"https://{NAME}/", connect=served.connect, ca_file=authority.root_file)
    assert health.state is State.CRITICAL
    assert health.problem == "certificate refused: certificate has expired; fatal error on the page"
    assert health.pages[0].problem == "fatal error on the page"
    async with http(answer(html()), context=expired) as served:
        health = await look(f"https://{NAME}/", connect=served.connect, ca_file=authority.root_file)
    assert (health.state, health.title) == (State.CRITICAL, "てすと歯科")
    assert health.pages[0].problem is None


async def test_a_certificate_for_another_name_is_refused_with_the_reason(authority: Authority) -> None:
    async with http(answer(html()), context=authority.context(authority.leaf("other.example"))) as served:
        health = await look(f"https://{NAME}/", connect=served.connect, ca_file=authority.root_file)
    assert (health.problem or "").startswith("certificate refused: Hostname mismatch")


async def test_a_server_that_speaks_no_tls_is_unreachable() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with listening(plain) as port:
        health = await look(f"https://{NAME}/", connect=f"127.0.0.1:{port}")
    assert health.state is State.CRITICAL
    assert (health.problem or "").startswith(f"unreachable: TLS handshake failed at 127.0.0.1:{port}: ")


# ---------------------------------------------------------------- one-time pages and many sites


async def test_a_visit_returns_the_small_json_of_a_one_time_page(authority: Authority) -> None:
    pages = by_path({"/blog/m-1f2e.php": answer('{"reset": true}', content_type="application/json")})
    async with http(answer('{"a": ["\\u001b[2J"]}')) as served:
        assert await visit(URL, "x", connect=served.connect) == {"a": ["\\x1b[2J"]}
    async with http(pages) as served:
        url = f"http://{NAME}/blog/"
        assert await visit(url, "m-1f2e.php", connect=served.connect) == {"reset": True}
        assert await visit(url, "m-none.php", connect=served.connect) is None
    expired = authority.context(authority.leaf(NAME, left=-DAY))
    async with http(answer('{"reset": true}'), context=expired) as served:
        secure = await visit(f"https://{NAME}/", "x", connect=served.connect, ca_file=authority.root_file)
    assert secure == {"reset": True}


@pytest.mark.parametrize(
    "body",
    ["", "[1]", "3", "<html>", '{"a": "' + "x" * 5000 + '"}', "[" * 4000, b'{"a": "\xff"}'],
    ids=["empty", "list", "number", "html", "too long", "too deep", "not utf-8"],
)
async def test_a_visit_returns_none_for_any_other_answer(body: str | bytes) -> None:
    async with http(answer(body)) as served:
        assert await visit(URL, "x", connect=served.connect) is None


async def test_a_visit_to_nobody_returns_none() -> None:
    assert await visit("https://a..b/", "x") is None
    async with http(stalling(b"")) as served:
        assert await visit(URL, "x", connect=served.connect, timeout=0.1) is None


async def test_no_more_sites_are_looked_at_together_than_allowed() -> None:
    now = most = 0
    full = asyncio.Event()

    async def count(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 3:
            full.set()
        await full.wait()
        await answer(html())(request, writer)
        now -= 1

    async with http(count) as served:
        some = Web(concurrency=3)
        looks = await asyncio.gather(*(some.look(URL, connect=served.connect) for _ in range(12)))
    assert most == 3
    assert {health.state for health in looks} == {State.OK}


@pytest.mark.parametrize(
    ("page", "url"),
    [
        ("contact/", "https://x.example/blog/contact/"),
        ("/contact/", "https://x.example/blog/contact/"),
        ("?s=a", "https://x.example/blog/?s=a"),
        ("http://127.0.0.1:8500/v1/kv", "https://x.example/blog/"),
        ("../../../secret", "https://x.example/blog/"),
    ],
)
def test_a_page_that_a_server_names_is_one_of_its_site(page: str, url: str) -> None:
    assert web._below("https://x.example/blog/?lang=ja#top", page) == url
