"""The verb `guard` of the twin: the same file in the same place, and blocks beside the site's generations."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from app.demo.operation import Request
from app.demo.site import DemoSite
from backends.agent.client import guard_source
from backends.records import GuardBlock, GuardReport, ModoseruError

_SETTING = "'{{settings}}'"
_FILE = "wp-content/mu-plugins/modoseru-guard.php"
_VERSION = re.compile(r"^Version: (\S{1,20})$", re.MULTILINE)


def guard(site: DemoSite, state: Path, request: Request, now: dt.datetime) -> dict[str, Any]:
    """Raises ModoseruError: bad_request, not_ours, not_guarded."""
    file, blocks = site.root / _FILE, state / "guard" / "state.json"
    do = request.text("do")
    here = file.read_text() if file.is_file() else None
    if do in ("install", "remove") and here is not None and "Plugin Name: Modoseru Guard" not in here[:1024]:
        raise ModoseruError("not_ours", f"{file} is not Modoseru's", "look at it, and rename or delete it")
    if do == "install":
        made = _made(here) if here is not None else not file.parent.is_dir()
        settings = json.dumps({"made": made, **dict(request.fields.get("settings") or {})})
        file.parent.mkdir(parents=True, exist_ok=True)
        blocks.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(guard_source().replace(_SETTING, f"'{settings}'"))
    elif do == "remove":
        file.unlink(missing_ok=True)
        if here is not None and _made(here):
            file.parent.rmdir()
        shutil.rmtree(blocks.parent, ignore_errors=True)
    elif do in ("block", "unblock"):
        if here is None:
            raise ModoseruError("not_guarded", f"{site.name} has no guard", f"modoseru guard install {site.name}")
        known, key = _blocks(blocks), request.text("key")
        known.pop(key, None)
        if do == "block":
            known[key] = now.timestamp() + request.whole("seconds")
        blocks.write_text(json.dumps(known))
    elif do != "show":
        raise ModoseruError("bad_request", "the guard is not asked for that", "update Modoseru")
    reply: dict[str, Any] = to_builtins(_report(file, _blocks(blocks), now))
    return reply


def _report(file: Path, blocks: dict[str, float], now: dt.datetime) -> GuardReport:
    text = file.read_text() if file.is_file() else None
    before, _, after = guard_source().partition(_SETTING)
    current = _VERSION.search(before)
    assert current is not None
    version = _VERSION.search(text[:1024]) if text is not None else None
    inforce = sorted((until, key) for key, until in blocks.items() if until > now.timestamp())
    return GuardReport(
        installed=text is not None,
        ours=None if text is None else text.startswith(before) and text.endswith(after),
        version=version[1] if version else None,
        current=current[1],
        file=str(file),
        blocks=tuple(
            GuardBlock(
                kind="account" if key.startswith("u:") else "address",
                name=key[2:],
                until=dt.datetime.fromtimestamp(int(until), dt.UTC),
            )
            for until, key in reversed(inforce[-200:])
        ),
        blocks_in_force=len(inforce),
        counts={"failed": 0, "blocked": 0, "watched": len(blocks)},
    )


def _made(text: str) -> bool:
    return '"made": true' in text


def _blocks(file: Path) -> dict[str, float]:
    known: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
    return known
