"""The fault site: 300 files and 15 tables of every kind, with states that can be put back in half a second."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.agent.small import Small, Tree, quoted

PROSE = "\n".join(
    [
        "CREATE TABLE `{p}meta` (a int PRIMARY KEY, b text);",
        "INSERT INTO `{p}meta` SELECT seq, REPEAT(seq, 30) FROM seq_1_to_200;",
        "CREATE TABLE `{p}child` (a int, FOREIGN KEY (a) REFERENCES `{p}meta` (a));",
        "INSERT INTO `{p}child` SELECT seq FROM seq_1_to_20;",
        "CREATE TABLE `{p}old` (a int PRIMARY KEY, b blob) ENGINE=MyISAM;",
        "INSERT INTO `{p}old` VALUES (1, UNHEX('00FF27'));",
        *[
            f"CREATE TABLE `{{p}}t{number}` (a int PRIMARY KEY, b varchar(60)) DEFAULT CHARSET=utf8mb4; "
            f"INSERT INTO `{{p}}t{number}` SELECT seq, '工業 🏭' FROM seq_1_to_{5 * number};"
            for number in range(1, 9)
        ],
        "CREATE VIEW `{p}view` AS SELECT a FROM `{p}meta`;",
        "CREATE TRIGGER `{p}trigger` BEFORE INSERT ON `{p}posts` FOR EACH ROW SET NEW.post_type = 'post';",
    ]
)
"""Beside options, posts and users: with foreign keys, a view, a trigger, and one that no snapshot covers."""


class Looks(NamedTuple):
    """What a visitor and a forensic expert would find: every file with mode and time, every table with its rows."""

    files: Tree
    tables: dict[str, tuple[str, ...]]

    def differs(self, other: Looks) -> str:
        """A few words on where two of them part; empty where they do not."""
        names = [
            f"{os.fsdecode(path)} {self.files.get(path)} / {other.files.get(path)}"
            for path in sorted({*self.files, *other.files})
            if self.files.get(path) != other.files.get(path)
        ]
        names += [
            name for name in sorted({*self.tables, *other.tables}) if self.tables.get(name) != other.tables.get(name)
        ]
        return f"{len(names)} differ: {', '.join(names[:6])}" if names else ""


class Kept(NamedTuple):
    """A copy of everything: the site's folder, the agent's, and every table that either has."""

    folder: Path
    looks: Looks


class FaultSite(Small):
    """A small site that can be kept as it is and put back."""

    def grow(self) -> FaultSite:
        self.build()
        for number in range(290):
            self.write(f"wp-content/uploads/{number % 7}/{number}.txt", b"%d\n" % number * (number % 90))
        (self.root / "wp-content/uploads/link").symlink_to("../index.php")
        self.own()
        self.age()
        self.sql(PROSE.format(p=self.prefix))
        return self

    def ruin(self) -> None:
        """What an intruder does: to files, rows, tables, views and triggers."""
        self.write("index.php", b"<?php echo 'HACKED';")
        self.write("wp-content/evil.php", b"<?php evil();")
        self.write("wp-content/uploads/3/shell/x.php", b"<?php shell();")
        (self.root / "wp-content/uploads/5/5.txt").unlink()
        self.write("wp-content/uploads/6/6.txt", b"changed")
        self.write("wp-content/cache/page.html", b"cached later")
        p = self.prefix
        self.sql(f"DROP VIEW `{p}view`; DROP TRIGGER `{p}trigger`; DELETE FROM `{p}posts` WHERE ID > 1")
        self.sql(f"DROP TABLE `{p}t1`; UPDATE `{p}t2` SET b = 'x'; CREATE TABLE `{p}evil` (a int)")

    def looks(self) -> Looks:
        return Looks(self.files(), self.tables())

    def vault(self) -> dict[str, str]:
        """Every byte of the generations and packs: file to hash."""
        return {
            str(path.relative_to(self.state)): hashlib.sha256(path.read_bytes()).hexdigest()
            for sub in ("generations", "packs")
            for path in (self.state / sub).rglob("*")
            if path.is_file() and path.name != "verified"
        }

    # ------------------------------------------------------------ kept and put back

    def keep(self, name: str) -> Kept:
        folder = self.within.home.parent / f"{self.base.name}.{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        for place in (self.base, self.state):
            subprocess.run(["cp", "-a", str(place), str(folder / place.name)], check=True)
        tables = [table for table, _ in self._ours()]
        dump = ["mariadb-dump", "--no-defaults", f"--socket={self.within.db_socket}", "-uroot", "--skip-comments"]
        with (folder / "tables.sql").open("wb") as out:
            subprocess.run([*dump, self.within.db_name, *tables], stdout=out, check=True)
        return Kept(folder, self.looks())

    def put_back(self, kept: Kept) -> None:
        for place in (self.base, self.state):
            shutil.rmtree(place)
            subprocess.run(["cp", "-a", str(kept.folder / place.name), str(place)], check=True)
        self._drop_all()
        client = ["mariadb", "--no-defaults", f"--socket={self.within.db_socket}", "-uroot", self.within.db_name]
        with (kept.folder / "tables.sql").open("rb") as dump:
            subprocess.run(client, stdin=dump, check=True)

    def remove(self) -> None:
        for folder in self.within.home.parent.glob(f"{self.base.name}.*"):
            shutil.rmtree(folder)
        self._drop_all()
        super().remove()

    def _ours(self) -> list[tuple[str, str]]:
        own = (self.prefix, "_m", "_o", "_d")
        return [(name, kind) for name, kind in self.schema("") if name.startswith(own)]

    def _drop_all(self) -> None:
        drops = [f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {quoted(name)}" for name, kind in self._ours()]
        self.sql(";\n".join(["SET foreign_key_checks=0", *drops]))
