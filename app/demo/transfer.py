"""The twin's `send` and `receive`: parts of a generation out, parts of another one in. Blocking."""

from __future__ import annotations

import re
from pathlib import Path

from app.demo.archive import DATABASE, HASHES, SUMMARY, TREE, Archive
from app.demo.operation import Request
from backends.records import GENERATION_ID, ModoseruError

_FILES = {"summary": SUMMARY, "manifest": HASHES, "dump": DATABASE}
Reply = dict[str, int]


def send(archive: Archive, request: Request) -> tuple[bytes, Reply]:
    """What follows `offset`, and the reply behind it. A generation's only pack has the generation's id."""
    name, what = request.text("generation"), request.text("what")
    archive.present(name)
    content = part_file(archive.folder / name, what, name).read_bytes()
    offset = request.whole("offset", 0)
    if not 0 <= offset <= len(content):
        raise _bad("the part has no such place")
    return content[offset:], {"size": len(content)}


def receive(state: Path, request: Request) -> Reply:
    """How much of a part is there, after what came along."""
    folder, size = transfer_folder(state, request), request.whole("size")
    what = request.text("what")
    path = part_file(folder, what, what)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes() if path.exists() else b""
    if request.fields.get("offset") is None:
        content = content if len(content) <= size else b""
    else:
        offset = request.whole("offset")
        if not 0 <= offset <= len(content) or offset + len(request.behind) > size:
            raise _bad("what was sent does not fit what is there")
        content = content[:offset] + request.behind
    path.write_bytes(content)
    return {"size": len(content)}


def transfer_folder(state: Path, request: Request) -> Path:
    """Where a transfer lies. Raises ModoseruError (bad_request)."""
    transfer = request.text("transfer")
    if not re.fullmatch(r"[0-9a-f]{16,64}", transfer):
        raise _bad("the name of a transfer is 16 to 64 hex digits")
    return state / "incoming" / transfer


def part_file(folder: Path, what: str, pack: str) -> Path:
    if what in _FILES:
        return folder / _FILES[what]
    if not GENERATION_ID.match(what) or what != pack:
        raise _bad("a generation has no such part")
    return folder / TREE


def _bad(message: str) -> ModoseruError:
    return ModoseruError("bad_request", message, "update Modoseru")
