"""Drives a program in a real terminal by keys: tmux, with a server of its own. Waits for what is painted."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

PATIENCE_S = 60.0
_POLL_S = 0.02
_CONFIGURATION = (
    "set -g status off\nset -g remain-on-exit on\nset -sg escape-time 0\nset -g default-terminal tmux-256color\n"
)


class Terminal:
    """One program in a terminal of `width` by `height`; it ends with the context at the latest."""

    def __init__(
        self, folder: Path, words: Sequence[str], environment: Mapping[str, str], width: int = 120, height: int = 40
    ) -> None:
        self._socket = f"modoseru-{secrets.token_hex(6)}"
        configuration, self._status = folder / f"{self._socket}.conf", folder / f"{self._socket}.status"
        configuration.write_text(_CONFIGURATION)
        self._start = [
            "-f", str(configuration), "new-session", "-d", "-x", str(width), "-y", str(height), "-s", "t",
            *(part for name, value in environment.items() for part in ("-e", f"{name}={value}")),
            # tmux 3.3 does not always reap what it started, and then knows no status.
            "sh", "-c", 'trap : INT; "$@"; echo $? >"$0.part"; mv "$0.part" "$0"', str(self._status), *words,
        ]  # fmt: skip

    def __enter__(self) -> Self:
        self._tmux(*self._start)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], check=False, capture_output=True)

    def _tmux(self, *words: str) -> str:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"TMUX", "COLUMNS", "LINES"} and not name.startswith("SSH_")
        }
        done = subprocess.run(
            ["tmux", "-u", "-L", self._socket, *words], check=False, capture_output=True, env=environment
        )
        assert done.returncode == 0, (words, done.stderr.decode())
        return done.stdout.decode()

    # ------------------------------------------------------------ the hand

    def press(self, *keys: str) -> None:
        """Keys as tmux names them: `n`, `R`, `Enter`, `Escape`, `C-p`, `Right`."""
        self._tmux("send-keys", "-t", "t", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-t", "t", "-l", text)

    # ------------------------------------------------------------ the eye

    @property
    def screen(self) -> str:
        """What is painted now, line by line, without blanks at the ends of lines."""
        return self._tmux("capture-pane", "-p", "-t", "t")

    @property
    def scroll(self) -> str:
        """All that was printed, with what has left the screen at the top; a line that tmux broke is whole."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-", "-t", "t")

    @property
    def lines(self) -> list[str]:
        return self.screen.splitlines()

    def until(self, shown: str | Callable[[str], object], seconds: float = PATIENCE_S) -> str:
        """Wait until the screen matches (a regular expression, or a function of it), and return it."""
        true = shown if callable(shown) else re.compile(shown, re.MULTILINE).search
        deadline = time.monotonic() + seconds
        while not true(screen := self.screen):
            if time.monotonic() > deadline:
                raise AssertionError(f"{shown!r} was not seen within {seconds:g} s:\n{screen}")
            time.sleep(_POLL_S)
        return screen

    # ------------------------------------------------------------ the program

    @property
    def process(self) -> int:
        shell = self._asked("#{pane_pid}")
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text())

    @property
    def alternate(self) -> bool:
        """Whether the program holds the alternate screen."""
        return self._asked("#{alternate_on}") == "1"

    def ended(self, seconds: float = PATIENCE_S) -> int:
        """Wait until the program has ended; its exit status, as a shell tells it."""
        deadline = time.monotonic() + seconds
        while not self._status.exists():
            assert time.monotonic() < deadline, f"it has not ended within {seconds:g} s:\n{self.screen}"
            time.sleep(_POLL_S)
        return int(self._status.read_text())

    def _asked(self, form: str) -> str:
        return self._tmux("display-message", "-p", "-t", "t", form).rstrip("\n")
