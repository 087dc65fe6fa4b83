"""The twin's side of a restore to another site: the generation that was brought, and what of it becomes this site's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec

from app.demo.archive import DATABASE, HASHES, SUMMARY, TREE, Archive, Summary, hash_of
from app.demo.site import DemoSite, read_tables, write_tables
from backends.records import ModoseruError


class Move(msgspec.Struct, frozen=True):
    """From where a generation comes."""

    site: str
    url: str


def of(fields: dict[str, Any]) -> Move | None:
    """None where a site's own generation is asked for. Raises ModoseruError (bad_request)."""
    if fields.get("incoming") is None:
        return None
    try:
        found = msgspec.convert(fields["incoming"], Move)
    except msgspec.ValidationError:
        text = "the request does not say where the generation comes from"
        raise ModoseruError("bad_request", text, "update Modoseru") from None
    if fields.get("only") not in (None, "all"):
        raise ModoseruError("bad_request", "a generation of another site is restored whole", "leave --only out")
    return found


def incoming(state: Path, fields: dict[str, Any]) -> Path:
    """Where the bytes lie. Raises ModoseruError (damaged) where they were not brought."""
    folder = state / "incoming" / str(fields.get("transfer"))
    if not str(fields.get("transfer")).isalnum() or not (folder / SUMMARY).exists():
        raise ModoseruError("damaged", "the generation was not brought here", "begin the restore again")
    return folder


def taken(site: DemoSite, source: Path, into: Path, name: str) -> Archive:
    """What was brought, as an archive of its own below `into`; every part is what the summary says.

    Raises ModoseruError (damaged).
    """
    summary = msgspec.json.decode((source / SUMMARY).read_bytes(), type=Summary)
    parts = {HASHES: summary.manifest, DATABASE: summary.dump, TREE: summary.packs[0] if summary.packs else None}
    for part, sealed in parts.items():
        if sealed is None or not (source / part).exists() or hash_of((source / part).read_bytes()) != sealed.sha256:
            raise ModoseruError("damaged", f"its {part} is not what was sealed", "begin the restore again")
    target = into / "generations" / name
    shutil.copytree(source, target)
    return Archive(site, into)


def settle(site: DemoSite, move: Move, tree: Path, tables: Path) -> int:
    """This site's address in the staged tables, its own wp-config.php in the staged tree; how many values changed."""
    old, new = move.url.rstrip("/"), f"https://{site.character.host}"
    text = json.dumps(read_tables(tables), ensure_ascii=False)
    changed = text.count(old)
    write_tables(tables, json.loads(text.replace(old, new)))
    (tree / "wp-config.php").unlink(missing_ok=True)
    if (own := site.read("wp-config.php")) is not None:
        (tree / "wp-config.php").write_bytes(own)
    return changed
