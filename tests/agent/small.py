"""Small sites in an account of the lab: real sshd, PHP and MariaDB, a few dozen files and tables, made in milliseconds.

The agent needs of WordPress no more than its places and its configuration; what needs a WordPress that boots is in
`test_wordpress.py`. Everything is built as root and handed to the account.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from app.operations import verify as verifies
from backends.agent.client import Agent, Agents, Ended, Launched
from backends.records import AnyEvent, Asked, Finished, Note, Outcome, Progress, Site, Step
from backends.ssh import Servers
from tests.lab import Lab, LabSite, disks
from tests.lab.configuration import site_table
from tests.lab.database import Database
from tests.lab.layout import wait_until
from tests.lab.processes import owned_by

CONFIG = """<?php
// A lever of the tests: an operation whose last step is the one named in `hold` waits here until that file is gone.
$hold = {hold};
$asks = explode("\\0", (string) @file_get_contents("/proc/" . posix_getppid() . "/cmdline"));
if (is_file($hold) && in_array("work", $asks, true)) {{
    $journals = glob({state} . '/ops/*/journal');
    preg_match_all('/"type":"step".*"name":"([a-z]+)"/', (string) @file_get_contents((string) end($journals)), $steps);
    if (end($steps[1]) === file_get_contents($hold)) {{
        touch("$hold.reached");
        while (is_file($hold)) {{
            usleep(1000);
            clearstatcache();
        }}
    }}
}}
define('DB_NAME', {db_name});
define('DB_USER', {db_user});
define('DB_PASSWORD', {db_password});
define('DB_HOST', {db_host});
$table_prefix = {prefix};
{more}
if (!defined('ABSPATH')) {{
    define('ABSPATH', {abspath});
}}
require_once ABSPATH . 'wp-settings.php';
"""
TABLES = """
CREATE TABLE `{p}options` (option_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, option_name varchar(191),
    option_value longtext NOT NULL, UNIQUE KEY option_name (option_name)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO `{p}options` (option_name, option_value) VALUES ('siteurl', 'https://small.example'), ('title', '工業 🏭');
CREATE TABLE `{p}posts` (ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, post_title text NOT NULL,
    post_type varchar(20) NOT NULL DEFAULT 'post', post_status varchar(20) NOT NULL DEFAULT 'publish',
    post_modified_gmt datetime NOT NULL DEFAULT '0000-00-00 00:00:00') ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO `{p}posts` (post_title) VALUES ('年末年始の休業日'), ('新商品 🎉'), ('It''s a "test" \\\\ back');
CREATE TABLE `{p}users` (ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, user_login varchar(60) NOT NULL,
    user_registered datetime NOT NULL DEFAULT '0000-00-00 00:00:00') ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO `{p}users` (user_login) VALUES ('kanri');
"""


class Entry(NamedTuple):
    """What a path is, as far as a restore brings it back."""

    mode: int
    mtime: int
    content: str


Tree = dict[bytes, Entry]


@dataclass
class Story:
    """What an operation told."""

    operation: str = ""
    detached: bool = True
    events: list[AnyEvent] = field(default_factory=list)
    state: str = ""

    @property
    def steps(self) -> list[str]:
        return [event.name for event in self.events if isinstance(event, Step)]

    @property
    def end(self) -> Finished:
        last = self.events[-1]
        assert isinstance(last, Finished), self.events[-3:]
        return last

    @property
    def outcome(self) -> Outcome:
        return self.end.outcome

    def notes(self, code: str) -> list[str | None]:
        return [event.item for event in self.events if isinstance(event, Note) and event.code == code]

    @property
    def last_progress(self) -> Progress:
        return [event for event in self.events if isinstance(event, Progress)][-1]


class Verification(NamedTuple):
    outcome: str
    checked_bytes: int
    problems: tuple[verifies.Problem, ...]
    summary: str | None
    story: Story


Look = Callable[[Asked], tuple[bool, str] | None]


def is_right(_: Asked) -> tuple[bool, str]:
    return True, "the page is right"


def is_wrong(_: Asked) -> tuple[bool, str]:
    return False, "status 500"


async def listen(agent: Agent, lines: AsyncIterator[Launched | AnyEvent | Ended], look: Look = is_right) -> Story:
    """Follows to the end; answers every question as `look` says (None: leaves it open)."""
    story = Story()
    async for line in lines:
        match line:
            case Launched():
                story.operation, story.detached = line.operation, line.detached
            case Ended():
                story.state = line.state
            case _:
                story.events.append(line)
                if isinstance(line, Asked) and (answer := look(line)) is not None:
                    await agent.answer(story.operation, line.number, keep=answer[0], detail=answer[1])
    return story


async def carry_out(agent: Agent, verb: str, look: Look = is_right, **request: Any) -> Story:
    async with contextlib.aclosing(agent.launch(verb, request)) as lines:
        return await listen(agent, lines, look)


async def follow(agent: Agent, operation: str, start: int = 0, look: Look = is_right) -> Story:
    async with contextlib.aclosing(agent.follow(operation, start)) as lines:
        story = Story(operation=operation)
        told = await listen(_Answering(agent, operation), lines, look)  # type: ignore[arg-type]
        story.events, story.state = told.events, told.state
        return story


@contextlib.contextmanager
def lacking(site: Small, grant: str) -> Iterator[None]:
    """The database user of the site's account may do everything but that, for a while."""
    root = site.lab.database
    rows = root.sql(f"SELECT Db, User, Host FROM mysql.db WHERE User='{site.within.db_user}'")
    on = [f"ON `{schema}`.* {{}} '{user}'@'{host}'" for schema, user, host in rows]
    root.sql(";".join(f"REVOKE {grant} {where.format('FROM')}" for where in on))
    try:
        yield
    finally:
        root.sql(";".join(f"GRANT {grant} {where.format('TO')}" for where in on))


async def verify(agent: Agent, generation: str, seal: str | None = None) -> Verification:
    """A verify to its end."""
    story = await carry_out(agent, "verify", generation=generation, seal=seal)
    found = tuple(verifies.problems_of(story.events))
    outcome = "ok" if story.outcome is Outcome.DONE else story.end.code or story.outcome.value
    return Verification(outcome, verifies.checked_bytes(story.events), found, story.end.summary, story)


class _Answering:
    """`listen` learns an operation's id from Launched, which `follow` does not send."""

    def __init__(self, agent: Agent, operation: str) -> None:
        self._agent, self._operation = agent, operation

    async def answer(self, _: str, number: int, *, keep: bool, detail: str) -> None:
        await self._agent.answer(self._operation, number, keep=keep, detail=detail)


class Small:
    """One small site: its places, its levers, its agent."""

    def __init__(self, lab: Lab, within: LabSite, name: str, *, config_above: bool = False, more: str = "") -> None:
        self.lab, self.within = lab, within
        word = name.partition(".")[0]
        self.name, self.prefix = name, f"{word}_"
        self.base = within.home / word
        self.root = self.base / "public_html"
        self.state = within.home / ".modoseru" / name
        self.hold_file = within.home / f"{word}.hold"
        self.config_file = (self.base if config_above else self.root) / "wp-config.php"
        self.more = more

    # ------------------------------------------------------------ built

    def build(self, tables: str = TABLES) -> Small:
        self.write("wp-load.php", b"<?php\nrequire __DIR__ . '/wp-config.php';\n")
        self.write("index.php", b"<?php\nrequire __DIR__ . '/wp-load.php';\n")
        self.write("wp-includes/version.php", b"<?php\n$wp_version = '6.1.9';\n")
        self.write("wp-admin/index.php", b"<?php\n")
        self.write("wp-content/index.php", b"<?php\n// Silence is golden.\n")
        self.write("wp-content/plugins/hello/hello.php", b"<?php\n/* Plugin Name: Hello */\n" + b"// filler\n" * 400)
        self.write("wp-content/uploads/2026/09/photo.jpg", bytes(range(256)) * 40)
        self.write("wp-content/cache/page.html", b"cached")
        self.config()
        self.own()
        self.sql(tables.format(p=self.prefix))
        return self

    def config(self, **changed: str) -> None:
        values = {
            "hold": str(self.hold_file), "state": str(self.state), "db_name": self.within.db_name,
            "db_user": self.within.db_user, "db_password": self.within.db_password, "db_host": self.within.db_host,
            "prefix": self.prefix,
        } | changed  # fmt: skip
        quoted = {key: json.dumps(value).replace("$", "\\$") for key, value in values.items()}
        self.config_file.write_text(CONFIG.format(**quoted, more=self.more, abspath=json.dumps(f"{self.root}/")))
        self.config_file.chmod(0o640)
        os.chown(self.config_file, self.within.uid, self.within.uid)

    def write(self, path: str | bytes, content: bytes, mode: int = 0o644) -> Path:
        """A file below the root, of the account; its folders too."""
        target = self.root / os.fsdecode(path)
        for folder in reversed(target.relative_to(self.within.home).parents):
            place = self.within.home / folder
            if not place.exists():
                place.mkdir()
                place.chmod(0o755)
                os.chown(place, self.within.uid, self.within.uid)
        target.write_bytes(content)
        target.chmod(mode)
        os.chown(target, self.within.uid, self.within.uid)
        return target

    def own(self) -> None:
        subprocess.run(["chown", "-hR", f"{self.within.uid}:{self.within.uid}", str(self.base)], check=True)

    def age(self, seconds: int = 3600) -> None:
        """Every file and folder looks as if it had been left alone for a while (ctime cannot be set)."""
        for path in [self.root, *self.root.rglob("*")]:
            with contextlib.suppress(FileNotFoundError, NotImplementedError):
                then = int(path.lstat().st_mtime) - seconds
                os.utime(path, (then, then), follow_symlinks=False)

    def remove(self) -> None:
        self.release()
        if self.state.is_dir():
            for pid in self.workers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        tags = [entry.name[-6:] for entry in self.state.glob("ops/*")]
        for place in (self.base, self.state):
            disks.unmount_below(place)
            shutil.rmtree(place, ignore_errors=True)
        self.drop_tables(self.prefix, *(f"_{kind}{tag}_" for tag in tags for kind in "mo"))

    def drop_tables(self, *prefixes: str) -> None:
        """Of the site, or whatever begins with one of `prefixes`."""
        found = [(name, kind) for name, kind in self.schema("") if name.startswith(prefixes or (self.prefix,))]
        drops = [f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {quoted(name)}" for name, kind in found]
        self.sql(";\n".join(["SET foreign_key_checks=0", *drops]))

    # ------------------------------------------------------------ reached

    def record(self, **server: Any) -> Site:
        table = site_table(self.within)
        table |= {"name": self.name, "url": f"https://{self.name}/"}
        table["server"] = {"root": f"~/{self.root.relative_to(self.within.home)}", **server}
        return msgspec.convert(table, Site)

    def agent(self, servers: Servers, **server: Any) -> Agent:
        return Agents(servers).of(self.record(**server))

    # ------------------------------------------------------------ database

    def sql(self, statement: str) -> list[tuple[str, ...]]:
        return self.lab.sql(self.within, statement)

    def schema(self, prefix: str | None = None) -> list[tuple[str, str]]:
        """Tables and views of this site (or with another prefix), with their kind."""
        wanted = f"TABLE_SCHEMA='{self.within.db_name}'"
        rows = self.sql(f"SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE {wanted}")
        return [(name, kind) for name, kind in rows if name.startswith(self.prefix if prefix is None else prefix)]

    def staging(self) -> list[str]:
        """Tables that operations made under names of their own."""
        return [row[0] for row in self.sql("SHOW TABLES") if re.match(r"_m[0-9a-f]{6}_", row[0])]

    def evidence(self) -> list[str]:
        return [row[0] for row in self.sql("SHOW TABLES") if re.match(r"_o[0-9a-f]{6}_", row[0])]

    def tables(self, schema: str = "", prefix: str | None = None) -> dict[str, tuple[str, ...]]:
        """Every table and view of the site: what it was created by, its checksum, its triggers."""
        return tables_of(self.lab, schema or self.within.db_name, self.prefix if prefix is None else prefix)

    # ------------------------------------------------------------ files

    def files(self) -> Tree:
        return tree(self.root)

    def generations(self) -> list[str]:
        return sorted(entry.name for entry in (self.state / "generations").glob("2*"))

    def litter(self) -> list[str]:
        """What no ended operation may leave: half-made parts, staged trees, one-time pages, staging tables."""
        found = [str(path) for sub in ("generations", "packs") for path in (self.state / sub).glob(".*")]
        found += [str(path) for path in self.state.glob("ops/*/stage/*/*")]
        found += [str(path) for path in self.state.glob("ops/*/*.part")]
        found += [str(path) for place in (self.root, self.base) for path in place.glob(".modoseru-*/stage/*/*")]
        found += [str(path) for path in self.root.glob("modoseru-*.php")]
        found += [str(path) for path in self.root.glob(".maintenance")]
        return found + self.staging()

    # ------------------------------------------------------------ levers

    def disk(self, folder: Path, size: int, inodes: int | None = None) -> None:
        """An empty file system of its own on `folder`, until the site goes."""
        for place in reversed([folder, *folder.relative_to(self.within.home).parents][:-1]):
            there = self.within.home / place
            if not there.exists():
                there.mkdir(mode=0o755)
                os.chown(there, self.within.uid, self.within.uid)
        disks.mount(folder, size, self.within.uid)
        if inodes is not None:
            assert shell("mount", "-o", f"remount,nr_inodes={inodes}", folder)[0] == 0
        folder.chmod(0o755)

    @contextlib.contextmanager
    def locked_out(self) -> Iterator[None]:
        """The database refuses the account's user."""
        root = self.lab.database
        rows = root.sql(f"SELECT User, Host FROM mysql.user WHERE User='{self.within.db_user}'")
        users = ", ".join(f"'{user}'@'{host}'" for user, host in rows)
        root.sql(f"ALTER USER {users} ACCOUNT LOCK")
        try:
            yield
        finally:
            root.sql(f"ALTER USER {users} ACCOUNT UNLOCK")

    def hold(self, step: str) -> None:
        """From now on, the operation waits where it next reads wp-config.php in that step."""
        self.hold_file.write_text(step)
        self.hold_file.chmod(0o644)

    def held(self) -> bool:
        return self.hold_file.with_name(f"{self.hold_file.name}.reached").exists()

    def await_held(self) -> None:
        wait_until(self.held, 20, "the operation to reach the step")

    def release(self) -> None:
        self.hold_file.unlink(missing_ok=True)
        self.hold_file.with_name(f"{self.hold_file.name}.reached").unlink(missing_ok=True)

    def waits_for_tables(self) -> bool:
        """Whether a RENAME TABLE of the account waits for somebody who uses a table."""
        waiting = f"USER='{self.within.db_user}' AND INFO LIKE 'RENAME TABLE%' AND STATE LIKE 'Waiting%'"
        return bool(self.sql(f"SELECT ID FROM information_schema.PROCESSLIST WHERE {waiting}"))

    def workers(self) -> list[int]:
        """Processes that carry out operations of this site."""
        found = []
        for pid in owned_by([self.within.uid]):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"work" in words and str(self.state).encode() + b"/ops/" in b"\0".join(words):
                    found.append(pid)
        return found

    def kill(self) -> bool:
        """`kill -9` of the process that works on this site; whether there was one."""
        pids = self.workers()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.workers(), 10, "the worker's end")
        return bool(pids)

    @contextlib.contextmanager
    def session(self, statements: str) -> Iterator[None]:
        """Another connection to the database, in which `statements` were run and which stays open."""
        command = [
            "mariadb", "--no-defaults", f"--socket={self.within.db_socket}", "-uroot", "-N", "-B", "--unbuffered",
            self.within.db_name,
        ]  # fmt: skip
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(f"{statements}; SELECT 'ready';\n".encode())
            client.stdin.flush()
            while client.stdout.readline().strip() != b"ready":
                assert client.poll() is None
            try:
                yield
            finally:
                client.stdin.close()
                client.wait(10)


def shell(*command: str | Path, stdin: bytes = b"", cwd: Path | None = None) -> tuple[int, bytes, bytes]:
    """A command to its end: status, output, complaints."""
    done = subprocess.run(command, input=stdin, cwd=cwd, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


@contextlib.contextmanager
def beside(*command: str | Path) -> Iterator[None]:
    """A command that runs meanwhile."""
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()


def exists(path: Path) -> bool:
    """Also where the name is longer than a file system takes."""
    try:
        return path.exists()
    except OSError:
        return False


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def tree(root: Path) -> Tree:
    """Every path below `root` and `root` itself, by its bytes; links as links."""
    found: Tree = {}
    for path in [root, *root.rglob("*")] if root.is_dir() else []:
        seen = path.lstat()
        if stat.S_ISLNK(seen.st_mode):
            content, mtime = f"-> {path.readlink()}", 0
        elif stat.S_ISREG(seen.st_mode):
            with path.open("rb") as file:
                content, mtime = hashlib.file_digest(file, "sha256").hexdigest(), int(seen.st_mtime)
        else:
            content, mtime = "folder", int(seen.st_mtime)
        found[os.fsencode(path.relative_to(root))] = Entry(seen.st_mode, mtime, content)
    return found


def without(found: Tree, *patterns: bytes) -> Tree:
    """`found` without the paths that match; the times of folders right above them are not compared either."""
    gone = [path for path in found if any(re.fullmatch(pattern, path) for pattern in patterns)]
    above = {path.rpartition(b"/")[0] or b"." for path in gone}
    for pattern in patterns:
        plain = re.match(rb"[\w/-]*", pattern)
        above.add((plain[0].rpartition(b"/")[0] if plain else b"") or b".")
    return {
        path: entry._replace(mtime=0) if path in above else entry for path, entry in found.items() if path not in gone
    }


def tables_of(lab: Lab, schema: str, prefix: str) -> dict[str, tuple[str, ...]]:
    return tables_in(lab.database, schema, prefix)


def tables_in(database: Database, schema: str, prefix: str) -> dict[str, tuple[str, ...]]:
    wanted = f"TABLE_SCHEMA='{schema}'"
    rows = database.sql(f"SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE {wanted}")
    kinds = {name: kind for name, kind in rows if name.startswith(prefix)}
    tables = [name for name, kind in kinds.items() if kind != "VIEW"]
    views = [name for name, kind in kinds.items() if kind == "VIEW"]
    statements = [f"CHECKSUM TABLE {', '.join(quoted(name) for name in tables)} EXTENDED"] if tables else []
    statements += [f"SHOW CREATE TABLE {quoted(name)}" for name in tables]
    statements += [f"SHOW CREATE VIEW {quoted(name)}" for name in views]
    statements.append(
        "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT, SQL_MODE "
        f"FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA='{schema}' ORDER BY TRIGGER_NAME"
    )
    answers = iter(database.sql(";\n".join(statements), schema))
    sums = [next(answers)[1] for _ in tables]
    found: dict[str, tuple[str, ...]] = {}
    for name, checksum in zip(tables, sums, strict=True):
        # The counter of InnoDB is a hint in memory.
        found[name] = (re.sub(r" AUTO_INCREMENT=\d+", "", next(answers)[1]), checksum)
    for name in views:
        found[name] = (re.sub(r"(DEFINER=`.*?`@`.*?` )?SQL SECURITY \w+ ", "", next(answers)[1]),)
    for table, *trigger in answers:
        if table in found:
            found[table] += tuple(trigger)
    return found


def scanned_later(small: Small, generation: str, **more: Any) -> None:
    """As if minutes had passed between the last write and the scan: what is younger than two seconds at its scan is
    always read again. `more` replaces parts of the summary."""
    summary = summary_of(small, generation)
    file = small.state / "generations" / generation / "summary.json"
    file.unlink()
    file.write_text(json.dumps(summary | {"scanned": summary["scanned"] + 600} | more))
    file.chmod(0o644)


def summary_of(small: Small, generation: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((small.state / "generations" / generation / "summary.json").read_bytes())
    return found


def manifest_of(small: Small, generation: str) -> Mapping[bytes, list[bytes]]:
    """Path to the fields of its line, paths as they are on the disk."""
    lines = (small.state / "generations" / generation / "manifest").read_bytes().split(b"\n")[1:-1]
    return {unescaped(line.split(b" ")[13]): line.split(b" ") for line in lines}


def unescaped(text: bytes) -> bytes:
    return re.sub(rb"\\0([0-7]{3})", lambda found: bytes([int(found[1], 8)]), text)
