"""The lab's MariaDB: one server, one schema and one restricted user a site."""

from __future__ import annotations

import pwd
import shutil
import subprocess
from pathlib import Path

from tests.lab.layout import LabError, Layout, wait_until
from tests.lab.processes import BOUND, Processes
from tests.lab.sites import LabSite

_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\", "\\0": "\0"}


class Database:
    def __init__(self, layout: Layout, processes: Processes) -> None:
        self._layout, self._processes = layout, processes

    def install(self) -> None:
        """A new, empty data folder; whatever was there is removed."""
        shutil.rmtree(self._layout.datadir, ignore_errors=True)
        done = subprocess.run(
            [*BOUND, "mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={self._layout.datadir}",
             "--auth-root-authentication-method=socket", "--skip-test-db"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise LabError(f"mariadb-install-db failed: {done.stdout[-800:]}{done.stderr[-800:]}")

    def start(self, port: int) -> None:
        run = self._layout.run / "mysql"
        run.mkdir(exist_ok=True)
        owner = pwd.getpwnam("mysql")
        shutil.chown(run, owner.pw_uid, owner.pw_gid)
        self._processes.start("mariadb", [
            "/usr/sbin/mariadbd", "--no-defaults", "--user=mysql", f"--datadir={self._layout.datadir}",
            f"--socket={self.socket}", f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={run}/pid",
            "--skip-name-resolve", "--innodb-buffer-pool-size=256M", "--innodb-log-file-size=48M",
            "--innodb-flush-log-at-trx-commit=2", "--character-set-server=utf8mb4",
            # In a tmpdir that servers share, the start of one removes the files of another.
            f"--log-error={self._layout.datadir}/error.log", f"--tmpdir={run}",
        ])  # fmt: skip

    def await_ready(self) -> None:
        def answers() -> bool:
            self._processes.must_live("mariadb")
            if not self.socket.exists():
                return False
            done = subprocess.run([*self._client(), "-e", "SELECT 1"], capture_output=True, check=False)
            return done.returncode == 0

        wait_until(answers, 60, "MariaDB")

    @property
    def socket(self) -> Path:
        return self._layout.run / "mysql" / "db.sock"

    def sql(self, statement: str, schema: str = "") -> list[tuple[str, ...]]:
        """Runs statements as the server's administrator; rows of all of them as text, NULL as `NULL`."""
        done = subprocess.run(
            [*self._client(), "-N", "-B", *([schema] if schema else [])],
            input=statement.encode(), capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise LabError(f"SQL failed: {done.stderr.decode(errors='replace').strip()}")
        lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]
        return [tuple(_plain(cell) for cell in line.split("\t")) for line in lines]

    def grant(self, site: LabSite) -> None:
        """The site's user anew: its password, nothing but its own schema, not locked."""
        statements = []
        schema = site.db_name.replace("_", "\\_")
        for host in ("localhost", "127.0.0.1"):
            user = f"'{site.db_user}'@'{host}'"
            statements.append(f"CREATE OR REPLACE USER {user} IDENTIFIED BY '{site.db_password}'")
            statements.append(f"GRANT ALL ON `{schema}`.* TO {user}")
        self.sql(";\n".join(statements))

    def create(self, site: LabSite) -> None:
        """An empty schema; what a test left there may refer to each other in circles."""
        fresh = f"DATABASE `{site.db_name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci"
        self.sql(f"SET foreign_key_checks=0; CREATE OR REPLACE {fresh}")
        self.grant(site)

    def dump(self, site: LabSite, file: Path) -> None:
        with file.open("wb") as output:
            subprocess.run(
                ["mariadb-dump", "--no-defaults", f"--socket={self.socket}", "-uroot", "--hex-blob", "--triggers",
                 "--routines", "--events", "--default-character-set=utf8mb4", site.db_name],
                stdout=output, check=True,
            )  # fmt: skip

    def load(self, site: LabSite, file: Path) -> None:
        """The schema exactly as dumped: other connections of the site are ended, what else it held is gone."""
        self.grant(site)
        self.sql(f"KILL USER '{site.db_user}'")
        self.create(site)
        with file.open("rb") as dump:
            subprocess.run([*self._client(), "--default-character-set=utf8mb4", site.db_name], stdin=dump, check=True)

    def lock(self, site: LabSite) -> None:
        """The site's user is refused from now on ("error establishing a database connection")."""
        for host in ("localhost", "127.0.0.1"):
            self.sql(f"ALTER USER '{site.db_user}'@'{host}' ACCOUNT LOCK")
        self.sql(f"KILL USER '{site.db_user}'")

    def _client(self) -> list[str]:
        return ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "--default-character-set=utf8mb4"]


def _plain(cell: str) -> str:
    if "\\" not in cell:
        return cell
    plain, rest = "", cell
    while rest:
        pair = rest[:2]
        plain += _ESCAPES.get(pair, rest[0])
        rest = rest[2 if pair in _ESCAPES else 1 :]
    return plain
