"""wordpress.org's checksums: believed when they are a list of WordPress's files, unknown in every other case."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from backends.checksums import ANSWER_LIMIT, FILES_MOST, KEPT, PLUGIN_LIMIT, REFUSAL_KEPT, ChecksumsUnknown, Publisher
from backends.domains import MemoryCache
from backends.records import WordpressSettings
from tests.lab.authority import Authority

pytestmark = pytest.mark.asyncio
NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
MD5 = "0123456789abcdef" * 2
FILES = {"wp-includes/version.php": MD5, "readme.html": MD5, "wp-content/plugins/hello.php": MD5}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """api.wordpress.org on loopback; answers what it is told to."""

    def __init__(self) -> None:
        self.answer: Handler = self._files
        self.asked: list[dict[str, str]] = []
        self.url = ""

    async def _files(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"checksums": FILES})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        return await self.answer(request)

    def says(self, body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(body=raw, status=status, headers=headers, content_type="application/json")

        self.answer = answer


@contextlib.asynccontextmanager
async def serving(path: str) -> AsyncIterator[Api]:
    made = Api()
    application = web.Application()
    application.router.add_get(path, made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    async with serving("/core/checksums/1.0/") as made:
        yield made


def publisher(api: Api, **more: Any) -> Publisher:
    return Publisher(WordpressSettings(api=api.url), cache=MemoryCache(), **more)


async def why(asked: Publisher, version: str = "7.1.1", locale: str = "ja") -> str:
    with pytest.raises(ChecksumsUnknown) as told:
        await asked.core(version, locale)
    return str(told.value)


async def test_a_release_is_the_list_of_its_core_as_text_with_a_hash(api: Api) -> None:
    release = await publisher(api).core("7.1.1", "ja", now=NOW)
    assert api.asked == [{"version": "7.1.1", "locale": "ja"}]
    assert release.text.decode() == f"core 7.1.1 ja\n{MD5} readme.html\n{MD5} wp-includes/version.php\n"
    assert release.asked == NOW


async def test_a_release_is_asked_for_once_a_month_and_an_older_answer_stands_in(api: Api) -> None:
    asked = publisher(api)
    for days in (0, 1, 29):
        assert (await asked.core("7.1.1", "ja", now=NOW + dt.timedelta(days=days))).asked == NOW
    assert len(api.asked) == 1
    api.says(b"", status=503)
    assert (await asked.core("7.1.1", "ja", now=NOW + KEPT)).asked == NOW
    assert len(api.asked) == 2
    api.answer = api._files
    assert (await asked.core("7.1.1", "ja", now=NOW + KEPT)).asked == NOW + KEPT
    await asked.core("7.1.1", "en_US", now=NOW)
    assert len(api.asked) == 4


async def test_a_release_that_nobody_knows_is_unknown_and_asked_for_again_after_hours(api: Api) -> None:
    asked = publisher(api)
    api.says({"checksums": False})
    for _ in range(2):
        with pytest.raises(ChecksumsUnknown, match="knows no WordPress"):
            await asked.core("9.9", "ja", now=NOW)
    assert len(api.asked) == 1
    api.answer = api._files
    assert (await asked.core("9.9", "ja", now=NOW + REFUSAL_KEPT)).version == "9.9"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>log in to the hotel's network</html>",
        b"[" * 100_000,
        {"checksums": True},
        {"checksums": None},
        {"checksums": {}},
        {"checksums": {"readme.html": MD5}},
        {"checksums": FILES | {"../../etc/passwd": MD5}},
        {"checksums": FILES | {"/etc/passwd": MD5}},
        {"checksums": FILES | {"a/./b": MD5}},
        {"checksums": FILES | {"a\nb": MD5}},
        {"checksums": FILES | {"\x1b]52;c;x\x07": MD5}},
        {"checksums": FILES | {"": MD5}},
        {"checksums": FILES | {"x" * 301: MD5}},
        {"checksums": FILES | {"a.php": "not a hash"}},
        {"checksums": FILES | {"a.php": MD5 + "\n"}},
        {"checksums": FILES | {"a.php": 5}},
        {"checksums": FILES | {f"{number}.php": MD5 for number in range(FILES_MOST)}},
        b'{"checksums": {"' + b"x" * ANSWER_LIMIT,
    ],
    ids=range(19),
)
async def test_an_answer_that_is_no_list_of_files_is_unknown_in_one_visible_line(api: Api, body: Any) -> None:
    api.says(body)
    said = await why(publisher(api))
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize("status", [204, 302, 404, 429, 500])
async def test_only_a_plain_answer_counts_and_no_redirect_is_followed(api: Api, status: int) -> None:
    api.says({"checksums": FILES}, status=status, headers={"Location": f"{api.url}/core/checksums/1.0/?again=1"})
    assert f"status {status}" in await why(publisher(api))
    assert len(api.asked) == 1


async def test_one_that_hangs_ends_in_time_and_one_that_is_not_there_is_unknown(api: Api) -> None:
    over = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"checksums":')
        await over.wait()
        return response

    api.answer = hang
    assert "no complete answer" in await why(publisher(api, timeout=0.2))
    over.set()
    api.url = "http://127.0.0.1:9"
    assert "refused" in await why(publisher(api))


@pytest.mark.parametrize(
    ("version", "locale"),
    [("7.1&x=1", "ja"), ("", "ja"), ("x" * 41, "ja"), ("7.1", "../x"), ("7.1", ""), ("7.1\n", "ja"), ("evil", "ja")],
)
async def test_what_a_hacked_site_calls_its_release_goes_into_no_address(api: Api, version: str, locale: str) -> None:
    await why(publisher(api), version, locale)
    assert api.asked == []


async def test_a_certificate_that_nobody_vouches_for_is_no_answer(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.certificate("fine", ["localhost"])
    application, asked = web.Application(), []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.json_response({"checksums": FILES})

    application.router.add_get("/core/checksums/1.0/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://localhost:{runner.addresses[0][1]}"
    try:
        alone = Publisher(WordpressSettings(api=url), cache=MemoryCache())
        assert "certificate" in await why(alone)
        assert asked == []
        told = Publisher(WordpressSettings(api=url, ca_file=str(tmp_path / "ca.pem")), cache=MemoryCache())
        assert "readme.html" in (await told.core("7.1.1", "ja")).files
    finally:
        await runner.cleanup()


# ---------------------------------------------------------------- plugins

ONE, OTHER = "ab" * 32, "cd" * 32
LIST = {
    "plugin": "forms",
    "version": "1.2",
    "source": "https://plugins.svn.wordpress.org/forms/tags/1.2/",
    "zip": "https://downloads.wordpress.org/plugins/forms.1.2.zip",
    "files": {
        "forms.php": {"md5": MD5, "sha256": ONE},
        "js/a b.js": {"md5": [MD5, MD5], "sha256": [ONE, OTHER]},
        "readme.txt": {"md5": MD5, "sha256": ONE},
        "../up.php": {"md5": MD5, "sha256": ONE},
        "line\n.php": {"md5": MD5, "sha256": ONE},
    },
}
TEXT = f"plugin forms 1.2\n{ONE} forms.php\n{ONE},{OTHER} js/a b.js\n".encode()


@pytest_asyncio.fixture
async def downloads() -> AsyncIterator[Api]:
    async with serving("/plugin-checksums/forms/1.2.json") as made:
        yield made


def of_plugins(downloads: Api, **more: Any) -> Publisher:
    return Publisher(WordpressSettings(downloads=downloads.url), cache=MemoryCache(), **more)


async def test_a_plugin_s_list_is_asked_for_once_and_holds_what_is_run_alone(downloads: Api) -> None:
    downloads.says(LIST)
    asked = of_plugins(downloads)
    told = await asyncio.gather(*(asked.plugin("forms", "1.2", now=NOW) for _ in range(5)))
    assert told == [TEXT] * 5
    downloads.says(b"", status=500)
    assert await asked.plugin("forms", "1.2", now=NOW + KEPT, may_ask=False) == TEXT
    assert await asked.plugin("forms", "1.2", now=NOW + KEPT) == TEXT
    assert len(downloads.asked) == 2


async def test_a_plugin_that_wordpress_org_has_not_is_asked_for_again_after_hours(downloads: Api) -> None:
    downloads.says({"error": "not found"}, status=404)
    asked = of_plugins(downloads)
    for later in (dt.timedelta(), REFUSAL_KEPT / 2, REFUSAL_KEPT):
        with pytest.raises(ChecksumsUnknown, match=r"knows no forms 1\.2"):
            await asked.plugin("forms", "1.2", now=NOW + later)
    assert len(downloads.asked) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 5000,
        {},
        LIST | {"files": {}},
        LIST | {"files": ["forms.php"]},
        LIST | {"version": "1.3"},
        LIST | {"plugin": "other"},
        LIST | {"files": {"forms.php": {"md5": MD5}}},
        LIST | {"files": {"forms.php": {"sha256": []}}},
        LIST | {"files": {"forms.php": {"sha256": "zz"}}},
        LIST | {"files": {"forms.php": {"sha256": [ONE, 5]}}},
        b'{"files": {"' + b"x" * PLUGIN_LIMIT,
    ],
    ids=range(12),
)
async def test_an_answer_that_is_no_plugin_s_list_is_unknown(downloads: Api, body: Any) -> None:
    downloads.says(body)
    with pytest.raises(ChecksumsUnknown) as told:
        await of_plugins(downloads).plugin("forms", "1.2")
    assert str(told.value).isprintable()


@pytest.mark.parametrize(
    ("slug", "version"),
    [("../x", "1"), ("a/b", "1"), ("forms", ""), ("forms", "1/2"), ("forms", "1 2"), ("x.php", "1")],
)
async def test_a_plugin_of_another_name_s_form_is_asked_of_nobody(downloads: Api, slug: str, version: str) -> None:
    with pytest.raises(ChecksumsUnknown, match="no release of wordpress"):
        await of_plugins(downloads).plugin(slug, version)
    with pytest.raises(ChecksumsUnknown, match="was slow"):
        await of_plugins(downloads).plugin("forms", "1.2", may_ask=False)
    assert downloads.asked == []
