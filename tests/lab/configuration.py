"""Writes the lab's Modoseru configuration: `fleet.toml` and `sites.d/`, in the shape of DESIGN 6."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import tomli_w

from tests.lab.layout import Layout, write_atomically
from tests.lab.sites import LabSite


def write_configuration(layout: Layout, sites: Sequence[LabSite], wporg: str) -> None:
    folder = layout.config / "sites.d"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fleet = {
        "fleet": {"name": "研究所 (lab)", "timezone": "Asia/Tokyo"},
        "wordpress": {"api": wporg, "downloads": wporg},
        "lifecycle": {"ask": False},
        "people": [{"name": "duty A"}],
    }
    write_atomically(layout.config / "fleet.toml", tomli_w.dumps(fleet).encode())
    for site in sites:
        write_atomically(folder / f"{site.name}.toml", tomli_w.dumps(site_table(site)).encode())


def site_table(site: LabSite) -> dict[str, object]:
    """One site's TOML as a dictionary; tests change a copy of it."""
    server = {"root": site.root_in_home}
    if site.php != "php":
        server["php"] = site.php
    return {
        "name": site.name,
        "url": site.url,
        "owner": "duty A",
        "ssh": {
            "host": site.ssh_host,
            "port": site.ssh_port,
            "user": site.account,
            "key": str(site.key),
            "host_key": site.host_key,
        },
        "server": server,
        "web": {"connect": site.connect, "ca_file": str(site.ca_file)},
    }
