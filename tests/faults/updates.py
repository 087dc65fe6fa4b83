"""A small WordPress that boots; a plugin, a theme and a translation of it are updated by WordPress's own upgraders."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from backends.records import Outcome
from tests.agent.small import Tree, carry_out, follow, quoted
from tests.faults.kills import Trial
from tests.faults.site import FaultSite, Looks
from tests.lab import plugins
from tests.lab.wordpress import SOURCE

WORDS = f"plugin-{plugins.GOOD}-ja"
ITEMS = [
    {"kind": "plugin", "slug": plugins.GOOD},
    {"kind": "theme", "slug": plugins.THEME},
    {"kind": "translation", "slug": WORDS},
]
PLACES = {
    plugins.GOOD: f"wp-content/plugins/{plugins.GOOD}",
    plugins.THEME: f"wp-content/themes/{plugins.THEME}",
    WORDS: "wp-content/languages",
}
REVISED = "2026-10-01 00:00:00"
UNPACKED = b"wp-content/upgrade"
"""Where WordPress unpacks; it makes the folder anew for itself."""
ACTIVE = {
    "active_plugins": f'a:1:{{i:0;s:{2 * len(plugins.GOOD) + 5}:"{plugins.GOOD}/{plugins.GOOD}.php";}}',
    "template": plugins.THEME, "stylesheet": plugins.THEME,
}  # fmt: skip
KEPT_MOST = 12


class WordPressSite(FaultSite):
    """Core is not its own: two links lead to the one that the lab has, so that a generation costs a moment."""

    def grow(self) -> WordPressSite:
        self.more = "define('FS_METHOD', 'direct');\ndefine('DISABLE_WP_CRON', true);"
        for file in SOURCE.glob("*.php"):
            if file.name != "wp-config.php":
                self.write(file.name, file.read_bytes())
        for name in ("wp-admin", "wp-includes"):
            (self.root / name).symlink_to(SOURCE / name)
        lab = Path("wp-content/mu-plugins/modoseru-lab.php")
        self.write(str(lab), (self.within.root / lab).read_bytes())
        self.write("wp-content/uploads/2026/photo.jpg", bytes(range(256)) * 40)
        self.write("wp-content/upgrade/index.html", b"")
        self._put("plugin", plugins.GOOD)
        self._put("theme", plugins.THEME)
        self.config()
        self.own()
        self.age()
        self._take_tables_over()
        self.write("wp-content/languages/de.po", b"")
        self.lab.wporg.offer(
            {plugins.GOOD: "1.1"}, themes={plugins.THEME: "1.1"}, words={f"plugin/{plugins.GOOD}/ja": REVISED}
        )
        return self

    def _put(self, kind: str, slug: str) -> None:
        with zipfile.ZipFile(self.lab.wporg.package(kind, slug, "1.0")) as package:
            for name in package.namelist():
                self.write(f"wp-content/{kind}s/{name}", package.read(name))

    def _take_tables_over(self) -> None:
        """Those of the lab's own WordPress, under this site's prefix."""
        old, new = self.within.db_prefix, self.prefix
        statements = [
            f"CREATE TABLE {quoted(new + name)} LIKE {quoted(old + name)}; "
            f"INSERT INTO {quoted(new + name)} SELECT * FROM {quoted(old + name)}"
            for name in ("commentmeta", "comments", "links", "options", "postmeta", "posts", "term_relationships",
                         "term_taxonomy", "termmeta", "terms", "usermeta", "users")
        ]  # fmt: skip
        options = quoted(f"{new}options")
        statements.append(f"DELETE FROM {options} WHERE option_name LIKE '%\\_transient\\_%'")
        renamed = f"UPDATE {options} SET option_name = '{new}user_roles' WHERE option_name = '{old}user_roles'"
        statements.append(renamed)
        statements += [
            f"UPDATE {options} SET option_value = '{value}' WHERE option_name = '{name}'"
            for name, value in ACTIVE.items()
        ]
        self.sql(";\n".join(statements))

    def looks(self) -> Looks:
        """Without what WordPress remembers for a while: an update asks what is new."""
        files, tables = super().looks()
        files.pop(UNPACKED + b"/index.html", None)
        if UNPACKED in files:
            files[UNPACKED] = files[UNPACKED]._replace(mtime=0)
        for place in PLACES.values():
            # A new version has the times of its unpacking, another one each time.
            signs = ("*1.1/tools.php", "*/tools-1.1.php", "plugins/*-ja.po")
            if any(list((self.root / place).glob(sign)) for sign in signs):
                inside = [
                    path for path in files if os.fsdecode(path) == place or os.fsdecode(path).startswith(f"{place}/")
                ]
                files |= {path: files[path]._replace(mtime=0) for path in inside}
        options = f"{self.prefix}options"
        rows = self.sql(
            f"SELECT option_name, MD5(option_value) FROM {quoted(options)} "
            "WHERE option_name NOT LIKE '%\\_transient\\_%' ORDER BY option_name"
        )
        tables[options] = tuple(f"{name}={value}" for name, value in rows)
        return Looks(files, tables)

    def litter(self) -> list[str]:
        upgrade = self.root / os.fsdecode(UNPACKED)
        found = [str(path) for path in upgrade.glob("*") if path.name != "index.html"]
        # WordPress downloads there where nothing else is said.
        found += [str(path) for path in Path("/tmp").glob("good-*") if path.stat().st_uid == self.within.uid]
        return super().litter() + found


class UpdateTrial(Trial):
    """Each item is wholly old or wholly new, and the journal says which."""

    async def _get_ready(self) -> None:
        """WordPress writes salts when it first boots, and remembers what it asked: first updates are different."""
        await self.agent.inspect()
        for verb in ("update", "undo"):
            done = await carry_out(self.agent, verb, **(self.request if verb == "update" else {}))
            assert done.outcome is Outcome.DONE, done.end

    async def _make_work(self) -> None:
        """Each of them makes a generation: with a hundred, looking at all takes longer than the update."""
        if self._kept is not None and len(self.site.generations()) > KEPT_MOST:
            await self.begin_again()

    async def _wanted(self, outcome: str, operation: str) -> Looks:
        if outcome != "done":
            return self.old
        kept = (await follow(self.agent, operation)).notes("updated")
        assert kept, "done without an item that was updated"
        files = self.old.files
        for slug in kept:
            assert slug is not None
            files = exchanged(files, self.new.files, PLACES[slug].encode())
        return Looks(files, self.old.tables)


def exchanged(old: Tree, new: Tree, folder: bytes) -> Tree:
    """`old` with what `new` has in `folder`."""
    found = {path: entry for path, entry in old.items() if not is_inside(path, folder)}
    return found | {path: entry for path, entry in new.items() if is_inside(path, folder)}


def is_inside(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")
