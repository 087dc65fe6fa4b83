"""A second MariaDB beside the lab's, to which a site's database may move; it listens on its socket alone."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from backends.records import Credentials
from tests.lab import Lab
from tests.lab.database import Database
from tests.lab.layout import wait_until

PASSWORD = "of the new one's"
QUOTED = PASSWORD.replace("'", "''")


class Second(Database):
    def __init__(self, socket: Path) -> None:
        self._socket = socket

    @property
    def socket(self) -> Path:
        return self._socket

    def make_new(self, name: str = "moved") -> None:
        """An empty database of that name, and who may do everything in it."""
        self.sql(
            f"DROP DATABASE IF EXISTS `{name}`; CREATE DATABASE `{name}`; DROP USER IF EXISTS mover@localhost;"
            f"CREATE USER mover@localhost IDENTIFIED BY '{QUOTED}';"
            f"GRANT ALL ON `{name}`.* TO mover@localhost"
        )

    def holds(self, name: str = "moved") -> list[str]:
        return [row[0] for row in self.sql(f"SHOW TABLES FROM `{name}`")]

    @property
    def host(self) -> str:
        """As DB_HOST."""
        return f"localhost:{self.socket}"

    def credentials(self, **other: str) -> Credentials:
        known = {"name": "moved", "user": "mover", "password": PASSWORD, "host": self.host}
        return Credentials(**{**known, **other})


@contextlib.contextmanager
def second_server(lab: Lab) -> Iterator[Second]:
    folder = lab.layout.run / "second"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    folder.chmod(0o755)
    shutil.chown(folder, "mysql", "mysql")
    data, socket = folder / "data", folder / "db.sock"
    made = ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}", "--skip-test-db",
            "--auth-root-authentication-method=socket"]  # fmt: skip
    subprocess.run(made, check=True, capture_output=True, timeout=120)
    server = subprocess.Popen(
        ["/usr/sbin/mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}", f"--socket={socket}",
         "--skip-networking", f"--pid-file={folder}/pid", f"--log-error={folder}/log", f"--tmpdir={folder}",
         "--innodb-buffer-pool-size=32M"],
    )  # fmt: skip
    try:
        ping = ["mariadb", f"--socket={socket}", "-uroot", "-e", "SELECT 1"]
        wait_until(lambda: subprocess.run(ping, check=False, capture_output=True).returncode == 0, 60, "MariaDB")
        yield Second(socket)
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)
