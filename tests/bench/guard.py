"""What the guard adds to a page, and to a login: `python -m tests.bench guard`."""

from __future__ import annotations

import http.client
import ssl
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from tests.bench.measure import FactRow
from tests.lab import Lab, LabSite
from tests.operations.program import program_of

NAME = "kogyo.example"
ROUNDS, ASKED = 10, 40
"""With and without it in turn, so many requests each: what the machine does meanwhile falls on both."""


def rows(_: float = 1.0, runs: int = 3) -> Sequence[FactRow]:
    lab = Lab()
    found_running = lab.running
    lab.up()
    site = lab.reset(lab.site(NAME))
    pages: dict[bool, list[float]] = {True: [], False: []}
    logins: dict[bool, list[float]] = {True: [], False: []}
    form = urlencode({"log": site.admin, "pwd": site.admin_password, "wp-submit": "1"})
    try:
        with tempfile.TemporaryDirectory() as folder:
            program = program_of(lab, Path(folder))
            for _ in range(ROUNDS * runs // 3):
                for guarded in (False, True):
                    program("guard", "install", NAME) if guarded else program(
                        "guard", "remove", NAME, "--yes", code=None
                    )
                    time.sleep(3)  # opcache has looked by then
                    pages[guarded] += _seconds(site, "/", None, ASKED)
                    logins[guarded] += _seconds(site, "/wp-login.php", form, ASKED // 4)
    finally:
        lab.reset(site)
        if not found_running:
            lab.down()
    return [
        FactRow(
            "the guard: milliseconds of a request, median, with it in turn with without it",
            [_fact("the front page", pages), _fact("a login that is let in", logins)],
            ["target: under 1 ms more for a page"],
        )
    ]


def _fact(name: str, seconds: dict[bool, list[float]]) -> tuple[str, str]:
    without, with_it = (1000 * statistics.median(seconds[guarded][3:]) for guarded in (False, True))
    return name, f"{without:.2f} without, {with_it:.2f} with: {with_it - without:+.2f} ({len(seconds[True])} of each)"


def _seconds(site: LabSite, path: str, body: str | None, count: int) -> list[float]:
    """Each over one connection that stays open."""
    host, port = site.connect.split(":")
    context = ssl.create_default_context(cafile=str(site.ca_file))
    context.check_hostname = False  # it is asked for by address
    connection = http.client.HTTPSConnection(host, int(port), timeout=30, context=context)
    headers = {"Host": site.host} | ({"Content-Type": "application/x-www-form-urlencoded"} if body else {})
    found = []
    for _ in range(count):
        began = time.perf_counter()
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        found.append(time.perf_counter() - began)
        assert answer.status == (302 if body else 200), answer.status
    connection.close()
    return found
