"""What the twin's `inspect` and `preview` see: read from the site's tree and tables, as the PHP agent reads them."""

from __future__ import annotations

import datetime as dt
import shutil
from typing import Any

from app.demo import access, archive
from app.demo.archive import Archive
from app.demo.contents import rows as count_rows
from app.demo.contents import slug_file, weight
from app.demo.description import describe
from app.demo.operation import Request, matcher
from app.demo.rendering import faulty_plugin
from app.demo.restore import Only, chosen
from app.demo.site import DemoSite
from app.demo.update import installed, pending, wordpress
from backends.records import Administrator, BootError, Generation, Inspection, Plugin


def inspect(site: DemoSite, at: dt.datetime, generations: tuple[Generation, ...], operation: str | None) -> Inspection:
    """One look, as the site is now. A broken site is inspected too: what cannot be read is absent."""
    tables = _tables(site)
    options = tables.get("options", {})
    reachable = bool(options.get("reachable"))
    has_config = site.read("wp-config.php") is not None
    booted, boot_error = _boot(site, has_config, reachable)
    active = set(options.get("active_plugins", ()))
    plugins = tuple(
        Plugin(slug=part.slug, name=part.name, version=version, active=part.slug in active)
        for part in site.character.plugins
        if (version := installed(site, part)) is not None
    )
    administrators = tuple(
        Administrator(id=user["id"], login=user["login"], registered=user["registered"])
        for user in tables.get("users", ())
        if user["role"] == "administrator"
    )
    return describe(
        site.character,
        at,
        booted=booted,
        boot_error=boot_error,
        wordpress=wordpress(site),
        title=options.get("blogname"),
        root=str(site.root),
        config_file=str(site.root / "wp-config.php") if has_config else None,
        database_error=None if reachable else "Table 'wp_options' is marked as crashed and should be repaired",
        database_bytes=weight(count_rows(tables)) if tables else None,
        plugins=plugins,
        administrators=administrators if reachable else (),
        updates=tuple(pending(site)) if booted else (),
        updates_checked=booted,
        operation=operation,
        isolated=None if site.closed is None else dt.datetime.fromisoformat(site.closed["since"]),
        generations=generations,
    )


def _tables(site: DemoSite) -> dict[str, Any]:
    try:
        return site.tables()
    except (OSError, ValueError):
        return {}


def _boot(site: DemoSite, has_config: bool, reachable: bool) -> tuple[bool, BootError | None]:
    if not site.root.is_dir():
        return False, BootError(message=f"there is no folder {site.root}")
    if not has_config:
        return False, BootError(message="there is no wp-config.php")
    if not reachable:
        return False, BootError(message="Error establishing a database connection")
    match faulty_plugin(site):
        case (slug, "fatal"):
            part = next(part for part in site.character.plugins if part.slug == slug)
            text = "Uncaught Error: Call to undefined function function_that_this_php_does_not_have()"
            return False, BootError(message=text, file=slug_file(part), line=6)
    return True, None


def moved_preview(site: DemoSite, name: str) -> dict[str, Any]:
    """What a site would lose that becomes another: all that it has."""
    live = _tables(site)
    counts = {table: len(live.get(table, ())) for table in ("posts", "comments", "users", "orders")}
    newest = [str(post["title"]) for post in reversed(live.get("posts", ()))]
    return {"generation": name, "blockers": [], "warnings": [], "loss": counts | {"newest": newest[:5]}}


def preview(site: DemoSite, generations: Archive, name: str, only: Only, request: Request) -> dict[str, Any]:
    """What a restore would lose: rows and files that are live and not in the generation, the newest by name."""
    exclude = request.exclude
    hashes, generation = generations.present(name), generations.summary(name).generation
    live, then = _tables(site), generations.tables(name)
    blockers = []
    if shutil.disk_usage(site.home).free < (generation.bytes or 0):
        blockers.append({"code": "no_space", "message": "the disk is full", "hint": "free some space in the account"})
    newer: dict[str, list[dict[str, Any]]] = {}
    for table in ("posts", "comments", "users", "orders"):
        known = {row["id"] for row in then.get(table, ())}
        found = [row for row in live.get(table, ()) if row["id"] not in known]
        newer[table] = found if only in ("all", "database") else []
    skip = matcher(exclude)
    present = [path for path in archive.walk(site.root) if not skip.fullmatch(path)] if site.root.is_dir() else []
    files = [path for path in chosen(only, present) if _differs(site, path, hashes)]
    newest = [str(post["title"]) for post in reversed(newer["posts"])]
    loss = {table: len(found) for table, found in newer.items()} | {"files": len(files), "newest": newest[:5]}
    warnings: list[dict[str, str]] = []
    seen = {"generation": name, "blockers": blockers, "warnings": warnings, "loss": loss}
    if only not in ("all", "files"):
        return seen
    told = access.told(site, access.config_of(generations, name), access.given(request.fields))
    if "blocker" in told:
        (blockers if only == "all" else warnings).append(told["blocker"])
    if "warning" in told:
        warnings.append(told["warning"])
    return {**seen, "database": told["database"]}


def _differs(site: DemoSite, path: str, hashes: dict[str, str]) -> bool:
    body = site.read(path)
    return body is not None and hashes.get(path) != archive.hash_of(body)
