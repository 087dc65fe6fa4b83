"""Visitors who ask for a site's front page at a steady rate: a process of its own, so that nothing else delays them.

`python -m tests.bench.visitors` reads one line of JSON {host, connect, ca, rate} (rate 0: as fast as four visitors
can), runs until its stdin is closed, and writes [[asked, answered, status, whole], …] with wall clock times.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

from tests.lab import LabSite

PATIENCE = 10.0
AT_ONCE = 40


class Visit(NamedTuple):
    asked: float
    answered: float
    status: int
    whole: bool
    """200, and a page with its end."""


class Visits(list[Visit]):
    def failed(self) -> list[Visit]:
        return [one for one in self if not one.whole]

    def gap(self) -> tuple[float, float]:
        """The longest time between two good pages that arrived one after the other, and when it began."""
        good = sorted(one.answered for one in self if one.whole)
        return max(((after - before, before) for before, after in pairwise(good)), default=(float("inf"), 0.0))

    def slowest(self) -> float:
        return max(one.answered - one.asked for one in self)


@contextmanager
def visiting(site: LabSite, rate: float) -> Iterator[Visits]:
    """Visitors come at `rate` a second within `with`; what they saw is in the list afterwards."""
    seen = Visits()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.visitors"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked = {"host": site.host, "connect": site.connect, "ca": str(site.ca_file), "rate": rate}
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()  # the first page was served
        try:
            yield seen
        finally:
            process.stdin.close()
            seen.extend(Visit(*one) for one in json.loads(process.stdout.read()))


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    context = ssl.create_default_context(cafile=asked["ca"])
    visit(asked, context)
    print("ready", flush=True)
    done = threading.Event()

    def until_closed() -> None:
        sys.stdin.read()
        done.set()

    threading.Thread(target=until_closed, daemon=True).start()
    seen: list[Visit] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        if asked["rate"]:
            began = time.monotonic()
            number = 0
            # At its moment, whether or not the one before was answered: visitors do not wait for each other.
            while not done.wait(max(0.0, began + number / asked["rate"] - time.monotonic())):
                pool.submit(lambda: seen.append(visit(asked, context)))
                number += 1
        else:

            def again() -> None:
                while not done.is_set():
                    seen.append(visit(asked, context))

            for _ in range(4):
                pool.submit(again)
    print(json.dumps(seen))


def visit(asked: dict[str, Any], context: ssl.SSLContext) -> Visit:
    began = time.time()
    status, body = 0, b""
    try:
        host, port = asked["connect"].split(":")
        with (
            socket.create_connection((host, int(port)), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=asked["host"]) as secure,
        ):
            connection = http.client.HTTPConnection(asked["host"])
            connection.sock = secure
            connection.request("GET", "/", headers={"Connection": "close"})
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        pass
    return Visit(began, time.time(), status, status == 200 and b"</html>" in body)


if __name__ == "__main__":
    main()
