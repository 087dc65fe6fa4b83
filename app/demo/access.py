"""By whose word the twin opens a site's database: its wp-config.php's, a person's, the generation's. Blocking.

The password of a demo's database is a word in a file of its own; a wp-config.php opens it where it has the same word.
"""

from __future__ import annotations

import re
from typing import Any

from app.demo.archive import Archive
from app.demo.site import DemoSite
from backends.records import ModoseruError

CONFIG = "wp-config.php"
GONE = "wp-config.php is gone"
ASTRAY = "the live wp-config.php does not lead to the database"
_LINE = re.compile(r"[^\x00-\x1f\x7f]{0,500}")
_PASSWORD = re.compile(rb"(define\( 'DB_PASSWORD', ')([^']*)(' \);)")


def given(fields: dict[str, Any]) -> str | None:
    """The password that came with a request. Raises ModoseruError (bad_request)."""
    told = fields.get("credentials")
    if told is None:
        return None
    for key in ("name", "user", "password", "host"):
        value = told.get(key) if isinstance(told, dict) else None
        if not isinstance(value, str) or not _LINE.fullmatch(value) or not (value or key == "password"):
            text = f"the database's {key} is not a line of at most 500 characters"
            raise ModoseruError("bad_request", text, "compare it with the host's panel")
    return str(told["password"])


def opens(site: DemoSite, then: bytes, password: str | None) -> str | None:
    """`live`, `given`, `generation`, or None where none of them does. `then`: the generation's wp-config.php."""
    words = {"live": _word(site.read(CONFIG)), "given": password, "generation": _word(then)}
    return next((who for who, word in words.items() if word is not None and word == site.password), None)


def told(site: DemoSite, then: bytes, password: str | None) -> dict[str, Any]:
    """What a preview says of it: `database`, and what joins its blockers or warnings."""
    who, lost = opens(site, then, password), GONE if site.read(CONFIG) is None else ASTRAY
    database = {"opens": who, "name": site.character.user, "user": site.character.user, "host": "localhost"}
    if who == "live":
        return {"database": {"opens": who}}
    if who is None:
        text = "the database does not let us in: Access denied"
        why = (
            text
            if password is not None or lost == ASTRAY
            else f"{lost}, and the generation's no longer opens the database: {text}"
        )
        hint = "give them as the host's panel has them: [server.database] in the site's file, or at the prompt"
        return {"database": database, "blocker": {"code": "no_database", "message": why, "hint": hint}}
    what = "the generation's" if who == "generation" else "the credentials given"
    text = (
        f"{lost}; its database opens with {what}"
        if lost == GONE
        else f"{lost}; {what} {'opens' if who == 'generation' else 'open'} it"
    )
    return {"database": {"opens": who}, "warning": {"code": "credentials", "message": text, "hint": ""}}


def config_of(archive: Archive, name: str) -> bytes:
    """The generation's own."""
    return archive.body(name, CONFIG)


def let_in(site: DemoSite, config: bytes) -> bytes:
    """A wp-config.php with the word that opens the database, and nothing else changed."""
    return _PASSWORD.sub(lambda found: found[1] + site.password.encode() + found[3], config)


def _word(config: bytes | None) -> str | None:
    found = _PASSWORD.search(config or b"")
    return found[2].decode() if found else None
