"""The twin's PHP binaries, and its trial of a site under one of them: it runs none, and knows what plugins would do."""

from __future__ import annotations

import json
import re
from typing import Any

from app.demo.cast import PluginPart
from app.demo.operation import Operation
from app.demo.site import DemoSite
from app.demo.update import installed
from app.demo.worker import Worker
from backends.records import ModoseruError, Outcome

_VERSIONS = ("7.4", "8.2", "8.3", "8.4")
_PATCH = {"7.4": "33", "8.2": "30", "8.3": "28", "8.4": "15"}
_EXTENSIONS = ("Core", "curl", "gd", "json", "mbstring", "mysqli", "openssl", "tokenizer", "xml", "zip")
_OLD = {"reservation-calendar": "8.4"}
"""Slug → the PHP from which on its release of now is deprecated on every page."""


def runtimes(site: DemoSite) -> dict[str, Any]:
    return {"binaries": [_binary(site, version) for version in _ordered(site)]}


def _ordered(site: DemoSite) -> list[str]:
    """The site's own first."""
    own = site.character.php
    return [own, *(version for version in _VERSIONS if version != own)]


def _binary(site: DemoSite, version: str) -> dict[str, Any]:
    return {
        "path": f"/usr/bin/php{version}",
        "version": f"{version}.{_PATCH.get(version, '14')}",
        "sapi": "cli",
        "extensions": list(_EXTENSIONS),
        "ini": f"/etc/php/{version}/cli/php.ini",
        "cli": version == site.character.php,
        "problem": None,
    }


async def trial(worker: Worker) -> None:
    """Reads, stages and renders nothing; it takes the time of it and tells what it knows."""
    site, request = worker.site, worker.operation.request
    await worker.step("binary")
    named = str(request.get("php", ""))
    word = re.search(r"(\d+\.\d+)[^/]*\Z", named)
    if word is None or word[1] not in _ordered(site):
        text = f"there is no PHP {named} on this server"
        raise ModoseruError("no_php", text, "modoseru runtime without --php lists those that are there")
    binary = _binary(site, word[1])
    worker.operation.remember("generation", request["generation"])
    for step, seconds in (
        *(("requires", 0.2), ("syntax", 1.2), ("preflight", 0.3), ("stage", 1.2), ("verify", 0.4)),
        *(("boot", 1.0), ("drop", 0.2)),
    ):
        await worker.step(step)
        await worker.runtime.pause(seconds)
    reasons = [_deprecated(part) for part in site.character.plugins if _is_old(site, part, word[1])]
    found = {
        "verdict": "risky" if reasons else "safe",
        "from": _binary(site, site.character.php)["version"],
        "to": binary["version"],
        "path": binary["path"],
        "now": f"/usr/bin/php{site.character.php}",
        "missing": [],
        "files": 2550,
        "pages": 2,
        "generation": request["generation"],
        "reasons": reasons,
        "more": 0,
    }
    (worker.operation.folder / "found").write_text(json.dumps(found))
    for one in reasons:
        worker.note(one["kind"], f"{one['slug']}: {one['message']}", one["severity"], one["slug"])
    detail = f"{found['verdict']} under PHP {found['to']}"
    worker.finish(Outcome.DONE, detail, generation=request["generation"])


def _is_old(site: DemoSite, part: PluginPart, version: str) -> bool:
    least = _OLD.get(part.slug)
    return least is not None and version >= least and installed(site, part) is not None


def _deprecated(part: PluginPart) -> dict[str, Any]:
    return {
        "kind": "deprecated",
        "slug": part.slug,
        "file": f"wp-content/plugins/{part.slug}/{part.slug}.php",
        "line": 12,
        "message": "Implicitly marking parameter $day as nullable is deprecated",
        "count": 2,
        "severity": "warning",
    }


def found(operation: Operation) -> dict[str, Any]:
    """What a trial that ended wrote down."""
    file = operation.folder / "found"
    if operation.kind != "runtime" or not file.exists():
        raise ModoseruError("no_operation", f"{operation.id} has found nothing", "run modoseru runtime again")
    kept: dict[str, Any] = json.loads(file.read_text())
    return kept
