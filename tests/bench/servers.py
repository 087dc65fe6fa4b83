"""`inspect` beside a bare boot of WordPress, and `check` of 24 sites beside one `ssh` process a site, on the lab."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from backends.agent.client import OPTIONS, PROTOCOL, Agents, agent_name
from backends.records import Site
from backends.ssh import Servers
from tests.bench.measure import RUNS, Row, in_turns, timed
from tests.lab import Lab, LabSite
from tests.lab.configuration import site_table

SITES = 24
AT_ONCE = 4
"""Processes of the peer at once: with more, a stock sshd drops connections (MaxStartups 10:30:100)."""


def rows() -> list[Row]:
    lab = Lab()
    found_running = lab.running
    lab.up()
    try:
        return [_inspect(lab, lab.site("kogyo.example")), _check(lab)]
    finally:
        if not found_running:
            lab.down()


def _inspect(lab: Lab, site: LabSite) -> Row:
    boot = [
        "setpriv",
        f"--reuid={site.uid}",
        f"--regid={site.uid}",
        "--clear-groups",
        "php",
        "-r",
        'require "wp-load.php";',
    ]

    async def ours() -> tuple[list[float], list[float]]:
        async with Servers() as servers:
            agent = Agents(servers).of(msgspec.convert(site_table(site), Site))
            times: tuple[list[float], list[float]] = ([], [])
            for run in range(RUNS + 1):
                began = time.perf_counter()
                await agent.inspect()
                between = time.perf_counter()
                await asyncio.to_thread(subprocess.run, boot, cwd=site.root, check=True, capture_output=True)
                if run:
                    times[0].append(between - began)
                    times[1].append(time.perf_counter() - between)
            return times

    mine, theirs = asyncio.run(ours())
    return Row("inspect over a warm connection", "under 2", mine, "php wp-load", theirs)


def _check(lab: Lab) -> Row:
    """The same sites, some under several names: each is looked at, its certificate read, its agent asked."""
    with tempfile.TemporaryDirectory() as folder:
        sites = [lab.sites[number % len(lab.sites)] for number in range(SITES)]
        config = Path(folder)
        (config / "sites.d").mkdir()
        bootstrap = config / "rdap.json"
        bootstrap.write_text(json.dumps({"services": [[["invalid"], ["https://rdap.invalid/"]]]}))
        (config / "fleet.toml").write_text(tomli_w.dumps({"domains": {"rdap_bootstrap": str(bootstrap)}}))
        for number, site in enumerate(sites):
            name = f"bench{number:02}.example"
            # A document root may belong to one site only: each has a link of its own to the lab's.
            table: dict[str, Any] = {**site_table(site), "name": name}
            link = Path(site.home) / f".bench{number:02}"
            link.unlink(missing_ok=True)
            link.symlink_to(site.root)
            table["server"] = {**table["server"], "root": f"~/{link.name}"}
            (config / "sites.d" / f"{name}.toml").write_text(tomli_w.dumps(table))
        command = [sys.executable, "-m", "app.cli", "check", "--json", "--progress", "none", "--config", str(config)]

        def look() -> None:
            done = subprocess.run(command, capture_output=True, check=False, env=_environment(folder))
            if b'"wordpress":"6' not in done.stdout or done.stdout.count(b"unreachable"):
                raise RuntimeError(f"the sites were not looked at: {done.stdout[:500]!r}")

        def ours() -> float:
            return timed(look)

        prepared = [(site, lab.ssh_command(site, *_words(site))) for site in sites]

        def theirs() -> float:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                return timed(lambda: list(pool.map(lambda made: _by_processes(*made), prepared)))

        mine, others = in_turns(ours, theirs, 3)
    return Row(f"check of {SITES} sites", "printed", mine, f"ssh+curl+openssl, {AT_ONCE} at once", others)


def _environment(folder: str) -> dict[str, str]:
    return {**os.environ, "MODOSERU_STATE": folder}


def _words(site: LabSite) -> list[str]:
    return [site.php, *OPTIONS, f".modoseru/{agent_name()}", "inspect"]


def _by_processes(site: LabSite, ssh: list[str]) -> None:
    marker = secrets.token_hex(16)
    request = {"protocol": PROTOCOL, "marker": marker, "site": site.name, "url": site.url, "root": site.root_in_home,
               "state": "~/.modoseru", "exclude": []}  # fmt: skip
    asked = subprocess.run(ssh, input=json.dumps(request).encode(), capture_output=True, check=False)
    if marker.encode() not in asked.stdout:
        raise RuntimeError(f"the agent gave no answer: {asked.stdout[-200:]!r} {asked.stderr[-200:]!r}")
    port = f"{site.host}:443:{site.connect}"
    subprocess.run(
        ["curl", "-s", "--cacert", site.ca_file, "--connect-to", port, site.url], capture_output=True, check=True
    )
    subprocess.run(
        ["openssl", "s_client", "-connect", site.connect, "-servername", site.host, "-CAfile", site.ca_file],
        input=b"", capture_output=True, check=True,
    )  # fmt: skip
