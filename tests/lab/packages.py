"""Installs the Debian packages that the lab runs on, without letting their daemons start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab.layout import LabError

PACKAGES = (
    "age", "apache2", "libapache2-mod-fcgid", "mariadb-server", "nginx", "openssh-client", "openssh-server", "php-cli",
    "php-curl", "php-fpm", "php-gd", "php-mbstring", "php-mysql", "php-xml", "php-zip", "rsync", "strace", "tcsh",
    "tmux", "unzip", "wordpress", "wordpress-theme-twentytwentythree", "zip",
)  # fmt: skip
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# tests/lab: daemons stay down while packages are installed\nexit 101\n"


def php_version() -> str:
    """The system's PHP as its files are named: `8.2`."""
    found = sorted(place.name.removeprefix("php-fpm") for place in Path("/usr/sbin").glob("php-fpm[0-9]*"))
    if not found:
        raise LabError("php-fpm is not installed")
    return found[-1]


def missing() -> list[str]:
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    installed = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in PACKAGES if name not in installed]


def ensure_packages() -> list[str]:
    """Installs what is missing and says what it was; 20 ms where nothing is."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes accounts and starts servers that change user")
    # One that a killed run left behind is ours as well.
    ours = not POLICY.exists() or POLICY.read_text(errors="replace") == POLICY_TEXT
    wanted = missing()
    if not wanted:
        if ours:
            POLICY.unlink(missing_ok=True)
        return []
    install(wanted, keep_daemons_down=ours)
    return wanted


def install(wanted: Sequence[str], *, keep_daemons_down: bool = True) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        if keep_daemons_down:
            POLICY.write_text(POLICY_TEXT)
            POLICY.chmod(0o755)
        for command in (
            ["apt-get", "update", "-q"],
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted],
        ):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise LabError(f"{' '.join(command)} failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    finally:
        if keep_daemons_down:
            POLICY.unlink(missing_ok=True)
