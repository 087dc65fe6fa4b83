"""`modoseru demo` in a pty, from its start to its first painted fleet, beside a minimal Textual application.

Both run from compiled files, as after `pip install`: kept in a folder of their own, for the tree that is worked in may
have none (PYTHONDONTWRITEBYTECODE), and then our modules alone would be compiled at every start.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

from tests.bench.measure import Row, in_turns

MINIMAL = """
from textual.app import App, ComposeResult
from textual.widgets import DataTable

class Minimal(App):
    def compose(self) -> ComposeResult:
        yield DataTable()

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        table.add_columns(*"abcdefgh")
        for number in range(24):
            table.add_row(*(f"cell {number}" for _ in range(8)))

Minimal().run()
"""


def until_seen(command: list[str], text: bytes, compiled: str, limit: float = 30.0) -> float:
    """Seconds from the start of `command` in a pty of 120 by 40 until `text` was written to it; it is ended then."""
    began = time.perf_counter()
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40", LANG="C.UTF-8")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        os.execv(command[0], command)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen = b""
    try:
        while text not in seen:
            left = limit - (time.perf_counter() - began)
            if left <= 0 or not select.select([master], [], [], left)[0]:
                raise RuntimeError(f"{command} did not write {text!r} within {limit:g} s: {seen[-300:]!r}")
            seen += os.read(master, 65536)
        return time.perf_counter() - began
    finally:
        os.kill(pid, signal.SIGTERM)
        while select.select([master], [], [], 5)[0]:
            try:
                if not os.read(master, 65536):
                    break
            except OSError:
                break
        os.waitpid(pid, 0)
        os.close(master)


def rows() -> list[Row]:
    demo = [str(Path(sys.executable).with_name("modoseru")), "demo", "--language", "en"]
    minimal = [sys.executable, "-c", MINIMAL]
    with tempfile.TemporaryDirectory() as compiled:
        ours, theirs = in_turns(
            lambda: until_seen(demo, b"zeirishi.example", compiled), lambda: until_seen(minimal, b"cell 23", compiled)
        )
    return [Row("demo to the first painted fleet", "under 1.5", ours, "DataTable app", theirs)]
