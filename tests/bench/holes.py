"""Memory and time of reading a feed of known holes as large as the real one: `python -m tests.bench holes`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.backends.known_holes import large
from tests.bench.measure import FactRow

BYTES = 160_000_000
SCRIPT = """
import asyncio, datetime as dt, json, resource, sys, time
from pathlib import Path
from backends.holes import Holes
from backends.journal import Journal

async def main(folder, url):
    journal = await Journal.open(folder / "journal.db")
    holes = Holes(url, folder, cache=journal.cache, token="")
    before, wall, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), time.process_time()
    told = await holes.refresh()
    spent = time.perf_counter() - wall, time.process_time() - cpu
    assert told.problem is None, told
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    known = await holes.weaknesses([("plugin", f"plugin-{number}") for number in range(100, 600)])
    asked = time.perf_counter() - began
    assert all(known.of.values())
    await journal.close()
    print(json.dumps([before, peak, *spent, told.entries, asked, (folder / "holes.db").stat().st_size]))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""
SERVER = """
import sys
from pathlib import Path
from tests.backends.feed_server import FeedServer
server = FeedServer()
server.packed = sys.argv[2] == "gzip"
server.says(Path(sys.argv[1]).read_bytes())
with server.running():
    print(server.url, flush=True)
    sys.stdin.read()
"""


def rows(scale: float = 1.0, runs: int = 1) -> list[FactRow]:
    """Memory does not differ from run to run: each is done once, whatever `runs` says. Server and client are processes
    of their own."""
    facts = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "feed.json"
        with path.open("wb") as file:
            file.writelines(large(int(BYTES * scale)))
        for packed in ("", "gzip"):
            place = Path(folder) / f"state{packed}"
            place.mkdir()
            serving = [sys.executable, "-c", SERVER, str(path), packed]
            with subprocess.Popen(serving, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdout is not None
                url = server.stdout.readline().strip()
                reading = [sys.executable, "-c", SCRIPT, str(place), url]
                done = subprocess.run(reading, capture_output=True, check=True, text=True)
                server.communicate()
            before, peak, wall, cpu, entries, asked, size = json.loads(done.stdout)
            facts += [
                (f"{entries:,} entries{', packed' if packed else ''}",
                 f"peak {peak / 1024:.1f} MiB ({before / 1024:.1f} before it)   wall {wall:.2f} s   cpu {cpu:.2f} s"),
                ("500 plugins looked up", f"{asked * 1000:.1f} ms   index {size / 1e6:.1f} MB"),
            ]  # fmt: skip
        megabytes = path.stat().st_size / 1e6
    note = "target: under 100 MiB; the largest that the reading process was, as the kernel counted it."
    return [FactRow(f"reading a feed of known holes of {megabytes:.0f} MB from a server", facts, [note])]
