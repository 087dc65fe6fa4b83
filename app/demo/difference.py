"""The twin's `diff`: the site's small tree and tables against a generation's. Blocking."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from app.demo import archive, contents
from app.demo.archive import Archive
from app.demo.operation import matcher
from app.demo.site import DemoSite
from app.demo.update import wordpress
from backends.records import (
    Blocker,
    ChangedFile,
    ChangedFiles,
    ChangedIdentity,
    ChangedPost,
    Difference,
    SuspiciousFile,
    TableRows,
)

_AREAS = ("core", "plugin", "theme", "uploads", "other")
_PLACES = (
    ("wp-content/uploads/", "uploads"),
    ("wp-content/plugins/", "plugin"),
    ("wp-content/themes/", "theme"),
    ("wp-content/", "other"),
    ("wp-config.php", "other"),
    (".htaccess", "other"),
)


def difference(site: DemoSite, generations: Archive, name: str, exclude: tuple[str, ...], *, full: bool) -> Difference:
    """A site without a root or a configuration is compared by its files alone. Raises ModoseruError."""
    hashes = {path: sha for path, sha in generations.present(name).items() if path != archive.DATABASE}
    skip = matcher(exclude)
    there = [path for path in archive.walk(site.root) if not skip.fullmatch(path)] if site.root.is_dir() else []
    live = {path: (site.root / path).read_bytes() for path in there}
    kinds = {
        "added": sorted(live.keys() - hashes.keys()),
        "changed": [path for path in there if path in hashes and archive.hash_of(live[path]) != hashes[path]],
        "removed": sorted(path for path in hashes.keys() - live.keys() if not skip.fullmatch(path)),
    }
    files = {kind: tuple(ChangedFile(path=path, area=_area(path)) for path in paths) for kind, paths in kinds.items()}
    suspicious = _suspicious(site, kinds, live) if live else ()
    config, tables = site.read("wp-config.php"), _tables(site)
    then = generations.tables(name) if config is not None and tables is not None else None
    rows = () if tables is None or then is None else _rows(then, tables)
    posts = () if tables is None or then is None else _posts(then, tables)
    lists = {**files, "suspicious": suspicious, "tables": rows, "posts": posts}
    return Difference(
        generation=name,
        files=ChangedFiles(**files, suspicious=suspicious),
        tables=rows,
        posts=posts,
        counts={kind: len(found) for kind, found in lists.items()},
        areas={area: {kind: sum(one.area == area for one in files[kind]) for kind in kinds} for area in _AREAS},
        identity=() if tables is None or then is None else _identity(then, tables),
        warnings=_warnings(site, config, tables),
        full=full,
    )


def _area(path: str) -> str:
    return next((area for start, area in _PLACES if path.startswith(start)), "core")


def _suspicious(
    site: DemoSite, kinds: Mapping[str, list[str]], live: Mapping[str, bytes]
) -> tuple[SuspiciousFile, ...]:
    found = []
    for kind, paths in kinds.items():
        for path in paths:
            body = live.get(path, b"")
            signs = [
                sign
                for sign, shown in (
                    ("php_in_uploads", _area(path) == "uploads" and path.endswith(".php")),
                    ("obfuscated", b"eval(" in body and b"base64_decode" in body),
                    ("core_changed", _area(path) == "core" and wordpress(site) == site.character.wordpress),
                    ("server_rules", path.endswith(".htaccess")),
                    ("configuration", path == "wp-config.php"),
                )
                if shown and (kind != "removed" or sign not in ("php_in_uploads", "obfuscated"))
            ]
            if signs:
                at = dt.datetime.fromtimestamp(int((site.root / path).stat().st_mtime), dt.UTC) if body else None
                found.append(SuspiciousFile(path=path, signs=tuple(signs), area=_area(path), change=kind, modified=at))
    order = ("php_in_uploads", "obfuscated", "core_changed", "server_rules", "configuration")
    return tuple(sorted(found, key=lambda one: (order.index(one.signs[0]), one.path)))


def _tables(site: DemoSite) -> dict[str, Any] | None:
    try:
        tables = site.tables()
    except (OSError, ValueError):
        return None
    return tables if tables["options"].get("reachable") else None


def _rows(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[TableRows, ...]:
    return tuple(
        TableRows(name=f"wp_{name}", rows_then=len(then[name]), rows_now=len(now[name]))
        for name in sorted(contents.TABLES)
    )


def _posts(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[ChangedPost, ...]:
    before, after = ({post["id"]: post for post in tables["posts"]} for tables in (then, now))
    found = []
    for id_ in before.keys() | after.keys():
        old, new = before.get(id_), after.get(id_)
        post = new or old or {}
        if old == new:
            continue
        if new is None:
            change = "gone"
        elif new["status"] == "trash":
            change = "trashed"
        else:
            change = "changed" if old is not None else "added"
        at = dt.datetime.fromisoformat(post["date"])
        found.append(
            ChangedPost(
                id=id_, title=post["title"], type="post", change=change, modified=at, status=post["status"], blog=None
            )
        )
    return tuple(sorted(found, key=lambda one: (str(one.modified), one.id), reverse=True))


def _identity(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[ChangedIdentity, ...]:
    found = []
    for name in ("siteurl", "home"):
        old, new = then["options"][name], now["options"].get(name)
        if old != new:
            found.append(ChangedIdentity(name=name, then=(old,), now=(new,) if new else ()))
    admins = [
        tuple(sorted(user["login"] for user in tables["users"] if user["role"] == "administrator"))
        for tables in (then, now)
    ]
    if admins[0] != admins[1]:
        found.append(ChangedIdentity(name="administrators", then=admins[0], now=admins[1]))
    return tuple(found)


def _warnings(site: DemoSite, config: bytes | None, tables: dict[str, Any] | None) -> tuple[Blocker, ...]:
    only = "only files are compared: "
    if not site.root.is_dir():
        return (Blocker(code="no_root", message=f"{only}there is no folder {site.root}", hint="restore a generation"),)
    if config is None:
        message = f"{only}there is no wp-config.php in {site.root}"
        return (Blocker(code="no_config", message=message, hint="restore the files of a generation"),)
    if tables is None:
        message = "the database is not compared, or not all of it: the table wp_options is marked as crashed"
        return (Blocker(code="no_database", message=message, hint="look at the tables"),)
    return ()
