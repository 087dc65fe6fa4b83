"""`python -m tests.lab up|down|reset|status|install`: the lab by hand."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.layout import LabError
from tests.lab.packages import ensure_packages


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="Real WordPress sites on loopback.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("up", "start everything (builds it the first time)"),
        ("down", "end every process"),
        ("reset", "bring sites back to their first state"),
        ("status", "say whether it runs"),
        ("install", "install the Debian packages that are missing, start nothing"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--dir", type=Path, default=None, help="default: $MODOSERU_LAB_DIR or /tmp/modoseru-lab")
        if name == "down":
            command.add_argument("--purge", action="store_true", help="also remove the accounts and the folder")
        if name == "reset":
            command.add_argument("site", nargs="*", help="default: all")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        lab = Lab(arguments.dir)
        if arguments.command == "status":
            running = lab.running
            print("up" if running else "down")
            return 0 if running else 1
        if arguments.command == "down":
            lab.down(purge=arguments.purge)
            print(f"down after {time.monotonic() - started:.1f} s")
            return 0
        if arguments.command == "install":
            print("installed:", " ".join(ensure_packages()) or "nothing was missing")
            return 0
        lab.up()
        if arguments.command == "reset":
            for site in lab.sites:
                if not arguments.site or site.name in arguments.site:
                    lab.reset(site)
            print(f"reset after {time.monotonic() - started:.1f} s")
            return 0
        print(_usage(lab, time.monotonic() - started))
    except LabError as problem:
        print(f"lab: {problem}", file=sys.stderr)
        return 1
    return 0


def _usage(lab: Lab, seconds: float) -> str:
    lines = [f"The lab is up after {seconds:.1f} s. Its configuration:", f"  {lab.layout.config}", ""]
    lines.append(f"  modoseru --config {lab.layout.config} check")
    lines.append("")
    for site in lab.sites:
        port = site.connect.split(":")[1]
        lines.append(f"{site.name}  {site.root}")
        lines.append(f"  ssh -p {site.ssh_port} -i {site.key} {site.account}@127.0.0.1")
        lines.append(f"  curl --cacert {site.ca_file} --connect-to {site.host}:443:127.0.0.1:{port} {site.url}")
        lines.append(f"  {site.url}wp-login.php  {site.admin} {site.admin_password}")
    lines.append("")
    lines.append(f"MariaDB: mariadb --socket={lab.database.socket} -uroot")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
