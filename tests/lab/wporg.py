"""An imitation of wordpress.org on loopback: update checks, checksums, downloads.

What it offers is read from `offers.json` at each request, and each request is noted in `requests.ndjson`, so that
tests steer and watch it through `Wporg` from any process.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import time
import zipfile
from collections.abc import Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from tests.lab import plugins, upstream
from tests.lab.layout import write_atomically
from tests.lab.plugins import build_words, words_file
from tests.lab.processes import Processes

REPOSITORY = Path(__file__).parents[2]
DOWNLOADS = "https://downloads.wordpress.org"


class Offers(msgspec.Struct, forbid_unknown_fields=True):
    """What the imitation offers: newest versions by slug, zips by path, seconds that a download takes by path."""

    core: str | None = None
    plugins: dict[str, str] = {}
    themes: dict[str, str] = {}
    packages: dict[str, str] = {}
    seconds: dict[str, float] = {}
    harm: dict[str, str] = {}
    """What becomes of a download, by path: `cut` half-way, `bent` where its checksum says otherwise."""
    needs_php: dict[str, str] = {}
    listed: dict[str, dict[str, Any]] = {}
    """What plugins/info says of a slug; of the others that they are kept up."""
    words: dict[str, str] = {}
    """`plugin/good-plugin/ja` → when it was last revised: `2026-10-01 00:00:00`."""
    fail: bool = False


class Wporg:
    """The test's hand on the imitation of one lab."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._zips = folder / "zips"

    def start(self, processes: Processes, port: int) -> None:
        plugins.build_packages(self._zips)
        write_atomically(self._folder / "url", f"http://127.0.0.1:{port}\n".encode())
        self.offer()
        argv = [sys.executable, "-c", "from tests.lab import wporg; wporg.main()", str(self._folder), str(port)]
        processes.start("wporg", argv, {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"})

    @property
    def url(self) -> str:
        return (self._folder / "url").read_text().strip()

    def offer(
        self,
        plugins: Mapping[str, str] | None = None,
        *,
        themes: Mapping[str, str] | None = None,
        core: str | None = None,
        seconds: Mapping[str, float] | None = None,
        needs_php: Mapping[str, str] | None = None,
        words: Mapping[str, str] | None = None,
        listed: Mapping[str, dict[str, Any]] | None = None,
        harm: Mapping[str, str] | None = None,
        fail: bool = False,
    ) -> None:
        """From now on these are the newest versions, and nothing else is new.

        `seconds`: how long a slug's download takes (slow-plugin: five). `harm`: a slug's download is `cut` or `bent`.
        `fail`: every answer is a 500.
        """
        offers = Offers(
            core=core,
            plugins=dict(plugins or {}),
            themes=dict(themes or {}),
            needs_php=dict(needs_php or {}),
            words=dict(words or {}),
            listed=dict(listed or {}),
            fail=fail,
        )
        slow = {_SLOW: _SLOW_SECONDS, **(seconds or {})}
        for kind, slug, version in (
            *(("plugin", *one) for one in offers.plugins.items()),
            *(("theme", *one) for one in offers.themes.items()),
            *([("core", "wordpress", core)] if core else []),
        ):
            path = _download_path(kind, slug, version)
            offers.packages[path] = str(self.package(kind, slug, version))
            if slug in slow:
                offers.seconds[path] = slow[slug]
            if harm and slug in harm:
                offers.harm[path] = harm[slug]
        for name, revised in offers.words.items():
            package = build_words(self._zips, name, revised)
            offers.packages[f"/words/{package.name}"] = str(package)
        if core:
            upstream.core_checksums(core)
        write_atomically(self._folder / "offers.json", msgspec.json.encode(offers))

    def package(self, kind: str, slug: str, version: str) -> Path:
        """The zip of a made plugin or theme, or of a real release."""
        made = self._zips / f"{slug}.{version}.zip"
        if made.exists():
            return made
        return upstream.real_package(kind, slug, version)

    def requests(self) -> list[dict[str, Any]]:
        """What was asked since `forget`: `method`, `path`, `query`, `form`, `agent`."""
        try:
            lines = (self._folder / "requests.ndjson").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def forget(self) -> None:
        (self._folder / "requests.ndjson").unlink(missing_ok=True)


_SLOW, _SLOW_SECONDS = plugins.SLOW, plugins.SLOW_SECONDS


def _download_path(kind: str, slug: str, version: str) -> str:
    return f"/release/wordpress-{version}.zip" if kind == "core" else f"/{kind}/{slug}.{version}.zip"


# ---------------------------------------------------------------- the server


class Handler(BaseHTTPRequestHandler):
    server_version = "lab-wporg"
    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, *arguments: Any) -> None:
        self._folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer({name: values[-1] for name, values in parse_qs(body.decode()).items()})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Requests are noted in a file of their own."""

    def _answer(self, form: dict[str, str]) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        note = {"method": self.command, "path": parts.path, "query": query, "form": form,
                "agent": self.headers.get("User-Agent", "")}  # fmt: skip
        with (self._folder / "requests.ndjson").open("a") as log:
            log.write(json.dumps(note) + "\n")
        offers = msgspec.json.decode((self._folder / "offers.json").read_bytes(), type=Offers)
        if offers.fail:
            self._send(500, b"upstream is ill", "text/plain")
        elif parts.path in offers.packages:
            harm = offers.harm.get(parts.path)
            self._send_package(Path(offers.packages[parts.path]), offers.seconds.get(parts.path, 0), harm)
        elif (match := re.fullmatch(r"/plugins/info/1\.0/([a-z0-9-]+)\.json", parts.path)) is not None:
            told = offers.listed.get(match[1]) or {"slug": match[1], "last_updated": "2026-10-01 9:12pm GMT"}
            self._send(404 if "error" in told else 200, json.dumps(told).encode(), "application/json")
        elif (found := answer(parts.path, query, form, offers)) is None:
            self._send(404, b'{"error":"not found"}', "application/json")
        else:
            self._send(200, json.dumps(found).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_package(self, file: Path, seconds: float, harm: str | None) -> None:
        body = file.read_bytes()
        checksum = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        self.send_response(200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-MD5", checksum)
        self.end_headers()
        if harm == "cut":
            body, self.close_connection = body[: len(body) // 2], True
        elif harm == "bent":
            body = body[:-100] + bytes([body[-100] ^ 1]) + body[-99:]
        pieces = 20 if seconds else 1
        size = -(-len(body) // pieces)
        for start in range(0, len(body), size):
            time.sleep(seconds / pieces)
            self.wfile.write(body[start : start + size])
            self.wfile.flush()


def answer(path: str, query: dict[str, str], form: dict[str, str], offers: Offers) -> dict[str, Any] | None:
    """The JSON of an API address; None where there is no such address."""
    found: dict[str, Any] | None = None
    if path == "/core/version-check/1.7/":
        found = _core(query.get("version", "0"), offers.core)
        found["translations"] = _words("core", form, offers)
    elif path == "/core/checksums/1.0/":
        found = {"checksums": upstream.core_checksums(query.get("version", ""), query.get("locale", "en_US")) or False}
    elif path == "/plugins/update-check/1.1/":
        found = _plugins(_installed(form, "plugins"), offers) | {"translations": _words("plugin", form, offers)}
    elif path == "/themes/update-check/1.1/":
        found = _themes(_installed(form, "themes"), offers) | {"translations": _words("theme", form, offers)}
    elif path.startswith("/translations/"):
        found = {"translations": []}
    elif match := re.fullmatch(r"/plugin-checksums/([a-z0-9-]+)/([0-9.]+)\.json", path):
        found = _plugin_checksums(match[1], match[2], offers)
    return found


def _words(kind: str, form: dict[str, str], offers: Offers) -> list[dict[str, str]]:
    """Those that are newer than what the site says that it has."""
    told = json.loads(form.get("translations", "[]")) or {}
    found = []
    for name, revised in offers.words.items():
        of, slug, language = name.split("/")
        has = told.get(slug, {}).get(language, {}).get("PO-Revision-Date", "")
        if of == kind and revised > has[:19]:
            package = f"{DOWNLOADS}/words/{words_file(name, revised)}"
            found.append({"type": kind, "slug": slug, "language": language, "version": "1.1", "updated": revised,
                          "package": package, "autoupdate": "1"})  # fmt: skip
    return found


def _installed(form: dict[str, str], kind: str) -> dict[str, str]:
    """What a site says that it has: file or slug → version."""
    told = json.loads(form.get(kind, "{}")).get(kind) or {}
    return {name: str(one.get("Version", "0")) for name, one in told.items()}


def _core(installed: str, newest: str | None) -> dict[str, Any]:
    newer = newest is not None and _order(newest) > _order(installed)
    version = newest if newer and newest else installed
    package = f"{DOWNLOADS}/release/wordpress-{version}.zip"
    return {
        "offers": [{
            "response": "upgrade" if newer else "latest",
            "download": package,
            "locale": "en_US",
            "packages": {"full": package, "no_content": False, "new_bundled": False, "partial": False,
                         "rollback": False},
            "current": version, "version": version, "php_version": "7.4", "mysql_version": "5.5.5",
            "new_bundled": "6.7", "partial_version": False,
        }],
        "translations": [],
    }  # fmt: skip


def _plugins(installed: dict[str, str], offers: Offers) -> dict[str, Any]:
    new: dict[str, Any] = {}
    same: dict[str, Any] = {}
    for file, version in installed.items():
        slug = file.split("/")[0].removesuffix(".php")
        newest = offers.plugins.get(slug, version)
        newer = _order(newest) > _order(version)
        (new if newer else same)[file] = {
            "id": f"w.org/plugins/{slug}", "slug": slug, "plugin": file, "new_version": newest if newer else version,
            "url": f"https://wordpress.org/plugins/{slug}/",
            "package": DOWNLOADS + _download_path("plugin", slug, newest if newer else version),
            "icons": {}, "banners": {}, "banners_rtl": {}, "requires": "5.0", "tested": "7.1.1",
            "requires_php": offers.needs_php.get(slug, "7.0"),
        }  # fmt: skip
    return {"plugins": new, "no_update": same, "translations": []}


def _themes(installed: dict[str, str], offers: Offers) -> dict[str, Any]:
    new: dict[str, Any] = {}
    same: dict[str, Any] = {}
    for slug, version in installed.items():
        newest = offers.themes.get(slug, version)
        newer = _order(newest) > _order(version)
        (new if newer else same)[slug] = {
            "theme": slug, "new_version": newest if newer else version, "url": f"https://wordpress.org/themes/{slug}/",
            "package": DOWNLOADS + _download_path("theme", slug, newest if newer else version),
            "requires": "5.0", "requires_php": "5.6",
        }  # fmt: skip
    return {"themes": new, "no_update": same, "translations": []}


def _plugin_checksums(slug: str, version: str, offers: Offers) -> dict[str, Any] | None:
    package = offers.packages.get(_download_path("plugin", slug, version))
    if package is None and (slug, version) == ("akismet", upstream.AKISMET):
        package = str(upstream.real_package("plugin", slug, version))
    if package is None:
        contents = upstream.plugin_contents(slug, version)
    else:
        with zipfile.ZipFile(package) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            contents = {name.removeprefix(f"{slug}/"): archive.read(name) for name in names}
    if not contents:
        return None
    return {
        "plugin": slug,
        "version": version,
        "source": f"https://plugins.svn.wordpress.org/{slug}/tags/{version}/",
        "zip": DOWNLOADS + _download_path("plugin", slug, version),
        "files": {
            name: {
                "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in contents.items()
        },
    }


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, folder)).serve_forever()
