"""In a real terminal, over every screen: nothing that a hacked site says reaches it as an escape (FACTS 1.2, 8)."""

from __future__ import annotations

import base64
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

from tests.terminal.hostile_fleet import EVILS, SITE

ROOT = Path(__file__).parents[2]
OURS = re.compile(rb"\x1b(\[[0-9;:?<>=$]*[A-Za-z~]|\][^\x07\x1b]*(\x07|\x1b\\)|[=>78MP_]|\(B)")
ESCAPE = re.compile(r"\x1b(?:\[[^@-~]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)", re.DOTALL)
COPIED = re.compile(r"\x1b\]52;c;([^\x07]*)\x07")

FOREIGN = (
    *("\x1b]52;c;ZXZpbA==", "\x1b]0;evil", "\x1b[6n", "\x1b[2J\x1b[?1049l"),
    *("\u202e", "\u2066", "\u200b", "\u2028", "\ufeff", "\x00", "\x08", "\U000e0041"),
)
SCREENS = (
    ("\r", "evil", "the site's own screen"),
    ("l", "esc back", "the log"),
    ("w", "against", "what changed"),
    ("r", "which generation", "the generations"),
    ("u", "which ones", "the updates"),
    ("M", "esc back", "the month's updates"),
    ("R", "Cancel", "the prompt"),
    ("?", "esc back", "the help"),
    (":", "An action or a site", "the palette"),
)


@pytest.mark.parametrize(("size", "evil"), [((50, 200), "escapes"), *(((24, 80), evil) for evil in EVILS)], ids=str)
def test_no_foreign_escape_comes_out_on_any_screen(size: tuple[int, int], evil: str) -> None:
    with Terminal(size, evil) as terminal:
        terminal.wait_for(SITE)
        terminal.wait_for("dismiss|looking|9%|11%")
        for key, shown, _ in SCREENS:
            terminal.open(key, shown)
        terminal.open("U", "dismiss")
        terminal.open("/a.ex", "1/2")
        terminal.open("s", "Order")
        terminal.open("y", "Copied")
        terminal.open("q", "goes on")
        terminal.press("\x1b[C", "Quit")
        os.write(terminal.master, b"\r")
        assert terminal.ended() == 0
    output = terminal.output.decode("utf-8", "replace")
    for foreign in FOREIGN:
        assert foreign not in output
    assert not any("\x80" <= char <= "\x9f" for char in output)
    assert [one for one in ESCAPE.findall(output) if not OURS.fullmatch(one.encode())] == []
    (copied,) = COPIED.findall(output)
    assert not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", base64.b64decode(copied).decode()
    )
    assert output.count("\x1b[?1049l") == 1, "only our own end leaves the alternate screen"
    assert "evil" in output or "[/x]" in output, "the hostile text was never shown"


class Terminal:
    """The program in a pseudo-terminal of `size` (rows, columns)."""

    def __init__(self, size: tuple[int, int], evil: str) -> None:
        self.output = b""
        self._size, self._evil = size, evil

    def __enter__(self) -> Terminal:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.terminal.hostile_fleet", self._evil],
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
        os.close(self.master)

    def open(self, key: str, shown: str) -> None:
        """Back to the fleet, and press a key there; again where the way back took longer. `esc` never quits."""
        for _ in range(6):
            os.write(self.master, b"\x1b")
            while self._read(0.15):  # a lone escape is known as such by what does not follow it
                pass
            if self._pressed(key, shown, 4):
                return
        raise AssertionError(f"{shown!r} was not painted after {key!r}: {self.output[-2000:]!r}")

    def press(self, key: str, shown: str) -> None:
        assert self._pressed(key, shown, 20), f"{shown!r} was not painted after {key!r}: {self.output[-2000:]!r}"

    def ended(self) -> int:
        """Wait for the program's end; what it writes is taken, or it would wait for us."""
        until = time.monotonic() + 20
        while self.process.poll() is None:
            assert time.monotonic() < until, f"it has not ended: {self.output[-2000:]!r}"
            self._read(0.2)
        return self.process.returncode

    def wait_for(self, shown: str) -> None:
        assert self._painted(shown, 0, 20), f"{shown!r} was not painted: {self.output[-2000:]!r}"

    def _pressed(self, key: str, shown: str, seconds: float) -> bool:
        """Whether `shown`, a regular expression, is painted after the key."""
        while self._read(0):
            pass
        before = len(self.output)
        os.write(self.master, key.encode())
        return self._painted(shown, before, seconds)

    def _painted(self, shown: str, start: int, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not re.search(shown, OURS.sub(b"", self.output[start:]).decode("utf-8", "replace")):
            if time.monotonic() > until:
                return False
            self._read(0.2)
        return True

    def _read(self, seconds: float) -> bool:
        """Take what the program has written; False where it wrote nothing for so long."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return False
        try:
            self.output += os.read(self.master, 1 << 16)
        except OSError:  # the program has ended
            return False
        return True
