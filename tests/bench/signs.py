"""False alarms and misses of the signs of a poisoned generation, on a real WordPress: `python -m tests.bench signs`.

Each change is made on a site as it was first, between two generations. The thresholds of `policy.SIGNS` that are shares
or counts were set by looking at the fitting set alone; the reporting set says what they are worth on other changes.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from app import policy
from app.operations import core
from backends.agent.client import Agent, Agents
from backends.checksums import Publisher
from backends.domains import MemoryCache
from backends.records import Finished, Site, WordpressSettings
from backends.ssh import Servers
from tests.lab import Lab, LabSite, upstream
from tests.lab.configuration import site_table

NAME = "kogyo.example"
PLUGINS, PHOTOS = 12, 400


class Change(NamedTuple):
    what: str
    attack: bool
    make: Callable[[Lab, LabSite], None]


class Speaks(NamedTuple):
    """With whom a backup speaks."""

    agent: Agent
    publisher: Publisher


class Seen(NamedTuple):
    change: Change
    signs: tuple[str, ...]
    facts: dict[str, Any]

    @property
    def wrong(self) -> str:
        if self.change.attack:
            return "" if self.signs else "MISSED"
        return "FALSE ALARM" if self.signs else ""


class Table(NamedTuple):
    title: str
    seen: list[Seen]

    def lines(self) -> list[str]:
        lines = [f"signs, {self.title}"]
        for one in self.seen:
            kind = "attack" if one.change.attack else "work"
            shares = " ".join(f"{name} {one.facts[name]}" for name in policy.SIGNS if one.facts.get(name))
            lines.append(f"  {kind:<7} {one.change.what:<58} {one.wrong or 'ok':<12} {shares}")
        work, attacks = ([one for one in self.seen if one.change.attack is attack] for attack in (False, True))
        false, missed = sum(bool(one.wrong) for one in work), sum(bool(one.wrong) for one in attacks)
        lines.append(f"  false alarms {false} of {len(work)}, missed {missed} of {len(attacks)}")
        return lines


# ---------------------------------------------------------------- what people do


def content(site: LabSite) -> Path:
    return site.root / "wp-content"


def unpack(site: LabSite, kind: str, slug: str, version: str, into: Path) -> None:
    """What WordPress's upgrader leaves: the old tree gone, the new one in its place."""
    with zipfile.ZipFile(upstream.real_package(kind, slug, version)) as archive:
        archive.extractall(into)
    if kind == "core":
        for part in ("wp-admin", "wp-includes"):
            shutil.rmtree(site.root / part)
        subprocess.run(["cp", "-r", f"{into}/wordpress/.", str(site.root)], check=True)
        shutil.rmtree(into)


def new_core(_: Lab, site: LabSite) -> None:
    unpack(site, "core", "wordpress", upstream.CORE, site.base / "new-core")


def new_akismet(_: Lab, site: LabSite) -> None:
    shutil.rmtree(content(site) / "plugins/akismet", ignore_errors=True)
    unpack(site, "plugin", "akismet", upstream.AKISMET, content(site) / "plugins")


def new_theme(_: Lab, site: LabSite) -> None:
    shutil.rmtree(content(site) / "themes/twentytwentythree", ignore_errors=True)
    unpack(site, "theme", "twentytwentythree", upstream.THEME, content(site) / "themes")


def plugin(site: LabSite, number: int, version: str) -> None:
    """A plugin as large as an ordinary one: its main file, classes, scripts, styles, a readme, a translation."""
    chance = random.Random(f"{number} {version}")
    folder = content(site) / f"plugins/module-{number}"
    for name in ("includes", "assets/js", "assets/css", "languages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    head = f"<?php\n/**\n * Plugin Name: Module {number}\n * Version: {version}\n */\n"
    (folder / f"module-{number}.php").write_text(head + "require __DIR__ . '/includes/part0.php';\n" * 5)
    for part in range(25):
        words = "".join(f"function m{number}_{part}_{chance.randrange(10**6)}() {{ return 1; }}\n" for _ in range(12))
        (folder / f"includes/part{part}.php").write_text(f"<?php\n{words}")
    for part in range(8):
        (folder / f"assets/js/view{part}.js").write_text(f"var a{chance.randrange(10**6)} = 1;\n" * 40)
        (folder / f"assets/css/view{part}.css").write_text(f".v{chance.randrange(10**6)} {{ margin: 0 }}\n" * 40)
    (folder / "readme.txt").write_text(f"Stable tag: {version}\n")
    (folder / f"languages/module-{number}-ja.mo").write_bytes(chance.randbytes(3000))


def bulk_plugins(_: Lab, site: LabSite) -> None:
    for number in range(PLUGINS):
        shutil.rmtree(content(site) / f"plugins/module-{number}")
        plugin(site, number, "2.0")


def uploads(count: int) -> Callable[[Lab, LabSite], None]:
    def make(_: Lab, site: LabSite) -> None:
        folder = content(site) / "uploads/2026/12"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / f"new{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + random.Random(number).randbytes(3000))

    return make


def switch_theme(lab: Lab, site: LabSite) -> None:
    folder = content(site) / "themes/bought"
    shutil.copytree(next(content(site).glob("themes/twenty*")), folder)
    lab.sql(site, f"UPDATE {prefix(lab, site)}options SET option_value='bought' WHERE option_name='stylesheet'")


def translations(_: Lab, site: LabSite) -> None:
    folder = content(site) / "languages"
    folder.mkdir(exist_ok=True)
    for number in range(60):
        (folder / f"module-{number}-ja.po").write_text(f'msgid "a{number}"\nmsgstr "あ"\n' * 90)
        (folder / f"module-{number}-ja.mo").write_bytes(random.Random(number).randbytes(2000))


def edits(lab: Lab, site: LabSite) -> None:
    table = prefix(lab, site)
    lab.sql(site, f"UPDATE {table}posts SET post_content=CONCAT(post_content, ' 追記')")
    rows = ",".join(f"('お知らせ {number}', '', '', '', '', '')" for number in range(300))
    lab.sql(
        site,
        f"INSERT INTO {table}posts (post_title, post_content, post_excerpt, to_ping, pinged, post_content_filtered) "
        f"VALUES {rows}",
    )


def child_theme(_: Lab, site: LabSite) -> None:
    for file in list(next(content(site).glob("themes/twenty*")).rglob("*.css"))[:5]:
        file.write_text(file.read_text() + "\n.added { color: red }\n")


def remove_plugins(_: Lab, site: LabSite) -> None:
    for number in range(4):
        shutil.rmtree(content(site) / f"plugins/module-{number}")


def tidy_media(_: Lab, site: LabSite) -> None:
    for file in sorted((content(site) / "uploads/2026/11").iterdir())[: PHOTOS // 5]:
        file.unlink()


def deployed_without_a_version(_: Lab, site: LabSite) -> None:
    """An agency's own plugin, deployed by hand; nobody changes the number in its header."""
    plugin(site, 3, "1.0")
    for file in (content(site) / "plugins/module-3").rglob("*.php"):
        file.write_text(file.read_text() + "// deployed\n")


def optimised(_: Lab, site: LabSite) -> None:
    """An image optimiser goes over some old pictures."""
    for file in sorted((content(site) / "uploads/2026/11").iterdir())[: PHOTOS // 20]:
        file.write_bytes(file.read_bytes()[:-100])


def emptied_bin(lab: Lab, site: LabSite) -> None:
    lab.sql(
        site,
        f"DELETE FROM {prefix(lab, site)}posts WHERE post_status IN ('trash', 'auto-draft') OR post_type='revision'",
    )


# ---------------------------------------------------------------- what attackers do


def encrypted(share: float, suffix: str) -> Callable[[Lab, LabSite], None]:
    def make(_: Lab, site: LabSite) -> None:
        files = [path for path in sorted(content(site).rglob("*")) if path.is_file()]
        for number, file in enumerate(files[:: round(1 / share)]):
            file.write_bytes(random.Random(number).randbytes(max(600, file.stat().st_size)))
            file.rename(f"{file}{suffix}")

    return make


def encrypted_media(_: Lab, site: LabSite) -> None:
    for number, file in enumerate(sorted((content(site) / "uploads/2026/11").iterdir())[: PHOTOS // 3]):
        file.write_bytes(random.Random(-number).randbytes(3000))


def note(_: Lab, site: LabSite) -> None:
    (site.root / "HOW_TO_RESTORE_YOUR_FILES.txt").write_text("pay")


def shell(path: str, body: str) -> Callable[[Lab, LabSite], None]:
    def make(_: Lab, site: LabSite) -> None:
        (content(site) / path).parent.mkdir(parents=True, exist_ok=True)
        (content(site) / path).write_text(body)

    return make


def injected(line: str, places: str) -> Callable[[Lab, LabSite], None]:
    """A line before every PHP or JavaScript file of plugins and themes."""

    def make(_: Lab, site: LabSite) -> None:
        for file in content(site).glob(places):
            file.write_text(line + file.read_text(errors="replace"))

    return make


def deleted(places: str) -> Callable[[Lab, LabSite], None]:
    def make(_: Lab, site: LabSite) -> None:
        for file in [path for path in sorted(content(site).glob(places)) if path.is_file()][::2]:
            file.unlink()

    return make


def core_door(_: Lab, site: LabSite) -> None:
    file = site.root / "wp-includes/load.php"
    file.write_text(file.read_text() + "\n// and a door\n")


def core_shell(_: Lab, site: LabSite) -> None:
    """A name as core has them, and nothing in it that a pattern knows."""
    (site.root / "wp-includes/class-wp-cache-layer.php").write_text("<?php include $_SERVER['HTTP_X_CACHE'];\n")


def core_over_core(_: Lab, site: LabSite) -> None:
    """The new core unpacked over the old one, as people do over FTP: what it no longer has stays."""
    package = site.base / "package"
    with zipfile.ZipFile(upstream.real_package("core", "wordpress", upstream.CORE)) as archive:
        archive.extractall(package)
    subprocess.run(["cp", "-r", f"{package}/wordpress/.", str(site.root)], check=True)
    shutil.rmtree(package)


def new_core_with_a_door(lab: Lab, site: LabSite) -> None:
    new_core(lab, site)
    core_door(lab, site)


def tidied_core(_: Lab, site: LabSite) -> None:
    """What hardening guides tell people to do."""
    for path in ("readme.html", "license.txt", "xmlrpc.php", "wp-admin/install.php"):
        (site.root / path).unlink(missing_ok=True)
    (site.root / "wp-config-sample.php").write_text("<?php // ours\n")
    (site.root / "wp-admin/.htaccess").write_text("Require ip 192.0.2.0/24\n")


def administrator(lab: Lab, site: LabSite) -> None:
    table = prefix(lab, site)
    lab.sql(
        site,
        f"INSERT INTO {table}users (user_login, user_pass, user_email) VALUES ('wp_support1', 'x', 'x@x.invalid')",
    )
    lab.sql(
        site,
        f"INSERT INTO {table}usermeta (user_id, meta_key, meta_value) SELECT ID, '{table}capabilities', "
        f"'a:1:{{s:13:\"administrator\";b:1;}}' FROM {table}users WHERE user_login='wp_support1'",
    )


def redirected(lab: Lab, site: LabSite) -> None:
    lab.sql(
        site, f"UPDATE {prefix(lab, site)}options SET option_value='https://evil.invalid' WHERE option_name='siteurl'"
    )


def wiped(lab: Lab, site: LabSite) -> None:
    lab.sql(site, f"DELETE FROM {prefix(lab, site)}posts WHERE ID % 3 > 0")
    lab.sql(site, f"DELETE FROM {prefix(lab, site)}postmeta")


def dropped(lab: Lab, site: LabSite) -> None:
    lab.sql(site, f"DROP TABLE {prefix(lab, site)}links")


DOOR = "<?php @eval(base64_decode($_POST['x'])); ?>"
FIT = (
    Change("core major update, 6.1.9 to 7.1.1", False, new_core),
    Change(f"bulk update of {PLUGINS} plugins", False, bulk_plugins),
    Change("a thousand uploads", False, uploads(1000)),
    Change("another theme, bought and switched to", False, switch_theme),
    Change("300 new posts, all others edited", False, edits),
    Change("a plugin of 43 files deployed without a new version", False, deployed_without_a_version),
    Change("a fifth of the media tidied up", False, tidy_media),
    Change("the new core unpacked over the old one", False, core_over_core),
    Change("all of wp-content encrypted and renamed", True, encrypted(1, ".locked")),
    Change("a ransom note alone", True, note),
    Change("a shell in uploads", True, shell("uploads/2026/11/x.php", DOOR)),
    Change(
        "a quiet line before every PHP file of plugins and themes", True, injected("<?php /* */ ?>", "[pt]*/**/*.php")
    ),
    Change("a line in core", True, core_door),
    Change("a new file among core's", True, core_shell),
    Change("another administrator", True, administrator),
    Change("two thirds of the posts deleted", True, wiped),
)
REPORT = (
    Change("Akismet updated to 5.7.2", False, new_akismet),
    Change("Twenty Twenty-Three updated to 1.7", False, new_theme),
    Change("60 translations updated", False, translations),
    Change("four plugins removed", False, remove_plugins),
    Change("five stylesheets edited by hand", False, child_theme),
    Change("60 uploads", False, uploads(60)),
    Change("one picture in twenty optimised", False, optimised),
    Change("the bin and the revisions emptied", False, emptied_bin),
    Change("core's readme, licence, xmlrpc.php and installer removed", False, tidied_core),
    Change("every eighth file of wp-content encrypted and renamed", True, encrypted(0.125, ".crypt")),
    Change("a third of the media encrypted under their own names", True, encrypted_media),
    Change("a shell in an image", True, shell("uploads/2026/11/logo.gif", "GIF89a<?php system($_GET['c']);")),
    Change("a packed shell as a plugin", True, shell("plugins/wp-cache-x/x.php", DOOR)),
    Change("a quiet line before every script of plugins and themes", True, injected("var s=1;", "[pt]*/**/*.js")),
    Change("half of the plugins' files deleted", True, deleted("plugins/**/*")),
    Change("the site's address changed", True, redirected),
    Change("a table dropped", True, dropped),
    Change("core updated, and a line in the new one", True, new_core_with_a_door),
)


# ---------------------------------------------------------------- measured


def rows() -> list[Table]:
    lab = Lab()
    found_running = lab.running
    lab.up()
    try:
        return asyncio.run(_tables(lab))
    finally:
        if not found_running:
            lab.down()


async def _tables(lab: Lab) -> list[Table]:
    site = lab.reset(lab.site(NAME))
    publisher = Publisher(WordpressSettings(api=lab.wporg.url, downloads=lab.wporg.url), cache=MemoryCache())
    async with Servers() as servers:
        speaks = Speaks(Agents(servers).of(msgspec.convert(site_table(site), Site)), publisher)
        _furnish(site)
        first = site.base.with_name(f"{site.base.name}.first")
        await asyncio.to_thread(_copy, site.base, first)
        try:
            return [
                Table(title, [await _seen(lab, site, speaks, first, change) for change in changes])
                for title, changes in (("fitting set", FIT), ("reporting set", REPORT))
            ]
        finally:
            shutil.rmtree(first)
            lab.reset(site)


def _furnish(site: LabSite) -> None:
    for number in range(PLUGINS):
        plugin(site, number, "1.0")
    folder = content(site) / "uploads/2026/11"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(PHOTOS):
        (folder / f"photo{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + random.Random(-number).randbytes(3000))
    _own(site)


def _own(site: LabSite) -> None:
    subprocess.run(["chown", "-hR", f"{site.uid}:{site.uid}", str(site.base)], check=True)


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["rsync", "-a", "--delete", f"{source}/", f"{target}/"], check=True)


async def _seen(lab: Lab, site: LabSite, speaks: Speaks, first: Path, change: Change) -> Seen:
    """The site as it was first (its database too), a generation, the change, another generation."""
    lab.reset(site)
    shutil.rmtree(site.home / ".modoseru" / site.name, ignore_errors=True)
    _copy(first, site.base)
    await _snapshot(speaks)
    change.make(lab, site)
    _own(site)
    generation = await _snapshot(speaks)
    file = site.home / ".modoseru" / site.name / "generations" / generation / "summary.json"
    summary = json.loads(file.read_bytes())
    return Seen(change, tuple(sign["sign"] for sign in summary["suspect"]), summary["facts"])


async def _snapshot(speaks: Speaks) -> str:
    request = {
        "reason": "hand",
        "signs": policy.SIGNS,
        "full_every_s": policy.FULL_EVERY_S,
        **await core.judged_by(speaks.publisher, speaks.agent),
    }
    async for line in speaks.agent.launch("snapshot", request):
        if isinstance(line, Finished) and line.generation:
            return line.generation
    raise RuntimeError("the backup did not end well")


def prefix(lab: Lab, site: LabSite) -> str:
    (name,) = lab.sql(site, "SHOW TABLES LIKE '%options'")[0]
    return name.removesuffix("options")
