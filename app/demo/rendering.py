"""A site's pages, made from what lies in its tree and its database. The demo's PHP: it obeys a few files, no code.

No `index.php`: 403. No `wp-config.php`, a plugin that throws, a table that is gone: what WordPress shows then.
"""

from __future__ import annotations

import html
import json
import mimetypes
import re
from http import HTTPStatus

from msgspec import Struct

from app.demo import contents
from app.demo.site import DemoSite

ONE_TIME = re.compile(r"modoseru-([A-Za-z0-9]{8,64})\.php")
_DEFACED = b"<html><head><title>HACKED BY NOBODY</title></head><body><h1>HACKED BY NOBODY</h1></body></html>"
_CRITICAL = "There has been a critical error on this website."
_SERVED = (".png", ".jpg", ".css", ".js", ".txt")


class Page(Struct, frozen=True):
    """One answer of the web server."""

    status: HTTPStatus
    body: bytes
    kind: str = "text/html; charset=UTF-8"
    more: str = ""
    """Further header lines."""


def render(site: DemoSite, target: str) -> Page:
    """The answer to a GET of `target` (path and query)."""
    path, _, query = target.partition("?")
    path = path.lstrip("/")
    if found := ONE_TIME.fullmatch(path):
        return _one_time(site, found.group())
    if path.endswith(_SERVED) and ".." not in path.split("/"):
        body = site.read(path)
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return _missing() if body is None else Page(HTTPStatus.OK, body, kind)
    return _boot(site) or _answer(site, path, query)


def _one_time(site: DemoSite, name: str) -> Page:
    """The page that resets opcache on the web side: it answers once and removes itself."""
    if site.read(name) is None:
        return _missing()
    site.delete_file(name)
    token = name.removeprefix("modoseru-").removesuffix(".php")
    body = json.dumps({"modoseru": token, "php": f"{site.character.php}.14", "opcache": True}).encode()
    return Page(HTTPStatus.OK, body, "application/json")


def _boot(site: DemoSite) -> Page | None:
    """What a visitor gets where WordPress does not come up; None where it does."""
    index = site.read("index.php")
    if index is None:
        return Page(HTTPStatus.FORBIDDEN, b"<html><head><title>403 Forbidden</title></head><h1>Forbidden</h1></html>")
    if contents.DEFACED.encode() in index:
        return Page(HTTPStatus.OK, _DEFACED)
    if site.read(".maintenance") is not None:
        text = "Briefly unavailable for scheduled maintenance."
        return _wordpress("Maintenance", text, HTTPStatus.SERVICE_UNAVAILABLE)
    return _settings(site) or _plugins(site)


def _settings(site: DemoSite) -> Page | None:
    """Before plugins are loaded: configuration, core, database."""
    if site.read("wp-config.php") is None:
        return _wordpress("WordPress › Error", "There is no wp-config.php file.")
    if site.read("wp-includes/version.php") is None:
        return _wordpress("WordPress › Error", _CRITICAL)
    try:
        reachable = site.tables()["options"]["reachable"]
    except (OSError, ValueError, KeyError):
        reachable = False
    return None if reachable else _wordpress("Database Error", "Error establishing a database connection")


def _plugins(site: DemoSite) -> Page | None:
    match faulty_plugin(site):
        case (_, "fatal"):
            return _wordpress("WordPress › Error", _CRITICAL)
        case (_, "white"):
            return Page(HTTPStatus.OK, b"")
    return None


def faulty_plugin(site: DemoSite) -> tuple[str, str] | None:
    """The first active plugin that spoils every page, and how: `fatal` or `white`."""
    for slug in site.tables()["options"]["active_plugins"]:
        source = (site.read(f"wp-content/plugins/{slug}/{slug}.php") or b"").decode()
        if contents.FATAL in source:
            return slug, "fatal"
        if contents.WHITE in source:
            return slug, "white"
    return None


def _wordpress(title: str, text: str, status: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR) -> Page:
    head = f'<!DOCTYPE html><html lang="ja"><head><title>{title}</title></head>'
    return Page(status, f'{head}<body id="error-page"><p>{text}</p></body></html>'.encode())


def _missing() -> Page:
    return Page(HTTPStatus.NOT_FOUND, b"<html><head><title>404 Not Found</title></head><h1>Not Found</h1></html>")


def _answer(site: DemoSite, path: str, query: str) -> Page:
    tables = site.tables()
    name = html.escape(tables["options"]["blogname"])
    if path in {"", "index.php"}:
        number = re.fullmatch(r"p=([0-9]{1,9})", query)
        posts = [post for post in tables["posts"] if number is None or post["id"] == int(number.group(1))]
        if not posts:
            return _missing()
        return _front(site, name, posts)
    if path == "wp-login.php":
        form = '<form name="loginform" id="loginform" method="post"><input name="log"><input name="pwd"></form>'
        return Page(HTTPStatus.OK, f"<html><head><title>ログイン ‹ {name}</title></head>{form}</html>".encode())
    if path in {"wp-json", "wp-json/"}:
        body = json.dumps({"name": tables["options"]["blogname"], "namespaces": ["wp/v2"]}, ensure_ascii=False)
        return Page(HTTPStatus.OK, body.encode(), "application/json")
    return _missing()


def _front(site: DemoSite, name: str, posts: list[dict[str, str]]) -> Page:
    version = re.search(rb"wp_version = '([0-9.]+)'", site.read("wp-includes/version.php") or b"")
    articles = "\n".join(
        f'<article><h2><a href="/?p={post["id"]}">{html.escape(post["title"])}</a></h2>'
        f"<time>{post['date']}</time><p>{html.escape(post['content'])}</p></article>"
        for post in reversed(posts)
    )
    pictures = "\n".join(
        f'<img src="/{path.relative_to(site.root)}" alt="">'
        for path in sorted((site.root / "wp-content/uploads").glob("*/*/*.png"))
    )
    generator = f"WordPress {version.group(1).decode()}" if version else "WordPress"
    body = (
        f'<!DOCTYPE html>\n<html lang="ja"><head><meta charset="UTF-8"><title>{name}</title>'
        f'<meta name="generator" content="{generator}">'
        f'<link rel="stylesheet" href="/wp-content/themes/harmony/style.css"></head>\n'
        f"<body><header><h1>{name}</h1></header>\n{articles}\n{pictures}\n"
        f"<footer>© {name}</footer></body></html>\n"
    )
    return Page(HTTPStatus.OK, body.encode())
