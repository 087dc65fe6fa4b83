"""`python -m tests.lab up|down|reset|status|install`: the lab by hand."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.layout import LabError
from tests.lab.packages import ensure_packages
from tests.lab.plugins import MADE


def main() -> int:
    arguments = _arguments()
    started = time.monotonic()
    try:
        said = _done(Lab(arguments.dir), arguments)
    except LabError as problem:
        print(f"lab: {problem}", file=sys.stderr)
        return 1
    print(f"{said} ({time.monotonic() - started:.1f} s)")
    return 1 if said == "down" and arguments.command == "status" else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="Real WordPress sites on loopback.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("up", "start everything (builds it the first time)"),
        ("down", "end every process"),
        ("reset", "bring sites back to their first state"),
        ("offer", "install made plugins in 1.0 on a site and offer 1.1: good-plugin, broken-init, broken-web …"),
        ("status", "say whether it runs"),
        ("install", "install the Debian packages that are missing, start nothing"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--dir", type=Path, default=None, help="default: $MODOSERU_LAB_DIR or /tmp/modoseru-lab")
        if name == "down":
            command.add_argument("--purge", action="store_true", help="also remove the accounts and the folder")
        if name == "offer":
            command.add_argument("site")
            command.add_argument("plugin", nargs="*", help=f"default: good-plugin broken-web; of {', '.join(MADE)}")
        if name == "reset":
            command.add_argument("site", nargs="*", help="default: all")
    return parser.parse_args()


def _done(lab: Lab, arguments: argparse.Namespace) -> str:
    """Does what was asked, and says so."""
    match arguments.command:
        case "status":
            return "up" if lab.running else "down"
        case "down":
            lab.down(purge=arguments.purge)
            return "down"
        case "install":
            return "installed: " + (" ".join(ensure_packages()) or "nothing was missing")
    lab.up()
    if arguments.command == "up":
        return _usage(lab)
    if arguments.command == "offer":
        slugs = arguments.plugin or ["good-plugin", "broken-web"]
        for slug in slugs:
            lab.put_plugin(lab.site(arguments.site), slug)
        lab.wporg.offer(dict.fromkeys(slugs, "1.1"))
        return f"{arguments.site} has {', '.join(slugs)} in 1.0, and 1.1 is offered: modoseru updates"
    for site in lab.sites:
        if not arguments.site or site.name in arguments.site:
            lab.reset(site)
    return "reset"


def _usage(lab: Lab) -> str:
    lines = ["The lab is up. Its configuration:", f"  {lab.layout.config}", ""]
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
