"""In a real terminal: nothing that a hacked site says reaches it as an escape sequence (FACTS 1.2, 8)."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = re.compile(rb"\x1b(\[[0-9;:?<>=$]*[A-Za-z~]|\][^\x07\x1b]*(\x07|\x1b\\)|[=>78MP_]|\(B)")


@pytest.mark.parametrize("size", [(24, 80), (50, 200)])
def test_no_foreign_escape_comes_out_on_any_screen(size: tuple[int, int]) -> None:
    with Terminal(size) as terminal:
        terminal.wait_for("a.example")
        for key, shown in (("\r", "site broken"), ("\x1b", ""), ("l", "needs a hand"), ("\x1b", ""), ("u", "chosen"),
                           ("\x1b", ""), ("R", "dismiss"), ("?", "/"), ("\x1b", "")):  # fmt: skip
            terminal.press(key, shown)
        terminal.press("q", "")
        assert terminal.process.wait(10) == 0
    output = terminal.output.decode("utf-8", "replace")
    for foreign in ("\x1b]52", "\x1b]0;evil", "\x1b[6n", "\x1b[2J\x1b[?1049l", "\u202e", "\u2066", "\u200b"):
        assert foreign not in output
    assert not any("\x80" <= char <= "\x9f" for char in output)
    assert output.count("\x1b[?1049l") == 1, "only our own end leaves the alternate screen"
    assert "\\x1b]52;c;" in output, "the hostile text was never shown"


class Terminal:
    """The program in a pseudo-terminal of `size` (rows, columns)."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.output = b""
        self._size = size

    def __enter__(self) -> Terminal:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.terminal.hostile_fleet"],
            cwd=ROOT,
            env=os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONWARNINGS": "default"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._read(0.2)
        os.close(self._master)

    def press(self, key: str, shown: str) -> None:
        """Press a key, and wait until `shown` is painted (or, for the empty one, until the screen is at rest)."""
        before = len(self.output)
        os.write(self._master, key.encode())
        if shown:
            self.wait_for(shown, before)
        else:
            while self._read(0.4):
                pass

    def wait_for(self, shown: str, start: int = 0) -> None:
        until = time.monotonic() + 20
        while shown not in OURS.sub(b"", self.output[start:]).decode("utf-8", "replace"):
            assert time.monotonic() < until, f"{shown!r} was not painted: {self.output[-2000:]!r}"
            self._read(0.2)

    def _read(self, seconds: float) -> bool:
        """Take what the program has written; False where it wrote nothing for so long."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return False
        try:
            self.output += os.read(self._master, 1 << 16)
        except OSError:  # the program has ended
            return False
        return True
