"""The twin's `send` and `receive`: pieces of a generation out, pieces of another one in. Blocking."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

from app.demo.archive import DATABASE, HASHES, SUMMARY, TREE, Archive
from app.demo.operation import Request
from backends.records import GENERATION_ID, ModoseruError

PIECE_MOST = 8 * 1024 * 1024
TURN_S = 15.0
"""Seconds that a piece waits for the one in front of it."""
_FILES = {"summary": SUMMARY, "manifest": HASHES, "dump": DATABASE}
Reply = dict[str, int | str]


def send(archive: Archive, request: Request) -> tuple[bytes, Reply]:
    """A piece and the reply that follows it. A generation's only pack has the generation's id."""
    name, what = request.text("generation"), request.text("what")
    archive.present(name)
    content = part_file(archive.folder / name, what, name).read_bytes()
    offset, length = request.whole("offset", 0), request.whole("length", PIECE_MOST)
    if not 0 <= offset <= len(content) or not 1 <= length <= PIECE_MOST:
        raise _bad("there is no such piece")
    piece = content[offset : offset + length]
    return piece, {"size": len(content), "sha256": hashlib.sha256(piece).hexdigest()}


def receive(state: Path, request: Request) -> Reply:
    """How much of a part is there, after the piece that came along."""
    folder, size = transfer_folder(state, request), request.whole("size")
    what = request.text("what")
    path = part_file(folder, what, what)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes() if path.exists() else b""
    if request.fields.get("offset") is None:
        content = content if len(content) <= size else b""
    else:
        offset, piece = request.whole("offset"), request.behind
        until = time.monotonic() + TURN_S
        while len(content) < offset and time.monotonic() < until:
            time.sleep(0.003)
            content = path.read_bytes() if path.exists() else b""
        if not 0 <= offset <= len(content) or offset + len(piece) > size or len(piece) > PIECE_MOST:
            raise _bad("the piece does not fit what is there")
        if hashlib.sha256(piece).hexdigest() != request.text("sha256"):
            raise ModoseruError("damaged", "a piece changed on its way", "try again")
        if content[offset : offset + len(piece)] != piece or not piece:
            content = content[:offset] + piece
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
