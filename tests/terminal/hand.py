"""An operator's hand at the dashboard: what takes several keys, each waiting for what the one before has painted."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.terminal.tmux import Terminal
from widgets.language import tr

PROGRAM = Path(sys.executable).with_name("modoseru")
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "COLORTERM": "truecolor"}


class Hand(Terminal):
    """`modoseru WORDS…` in a terminal. Sites must be in the fleet that it shows."""

    def __init__(
        self, folder: Path, *words: str, environment: Mapping[str, str] | None = None, size: tuple[int, int] = (120, 40)
    ) -> None:
        super().__init__(folder, [str(PROGRAM), *words], ENVIRONMENT | dict(environment or {}), *size)

    # ------------------------------------------------------------ where the cursor is

    @property
    def cursor(self) -> str:
        """The row under the cursor."""
        return next((line[1:] for line in self.lines if line.startswith("▌")), "")

    @property
    def cursor_site(self) -> str:
        """The name in that row: what else stands there changes by itself while sites are looked at."""
        found = re.match(r".? ?([\w.-]+\.\w+) ", self.cursor)
        return found[1] if found else ""

    def row(self, site: str) -> str:
        return next((line[1:] for line in self.lines if re.match(rf"[ ▌]. ?{re.escape(site)} ", line)), "")

    def until_row(self, site: str, shown: str) -> str:
        self.until(lambda _: re.search(shown, self.row(site)))
        return self.row(site)

    def find_problem(self, site: str) -> None:
        """Press `n` until the cursor stands on `site`."""
        self.until(lambda _: self.cursor_site)
        for _ in range(50):
            before = self.cursor_site
            if before == site:
                return
            self.press("n")
            self.until(lambda _, before=before: self.cursor_site not in {"", before})  # type: ignore[misc]
        raise AssertionError(f"n never comes to {site}:\n{self.screen}")

    @property
    def sites(self) -> list[str]:
        """The sites whose rows are painted, from the top."""
        return [found[1] for line in self.lines if (found := re.match(r"[ ▌][✖!?✔●] ?([\w.-]+\.\w+) ", line))]

    def go_to(self, site: str) -> None:
        """Let the filter find it, and take the filter away again: the cursor stays."""
        self.press("/")
        self.type(site)
        self.until(lambda screen: self.filtering(screen) == (site, 1) and f" {site} " in self.cursor)
        self.press("Escape")
        self.until(lambda screen: self.filtering(screen) is None and f" {site} " in self.cursor)

    @staticmethod
    def filtering(screen: str) -> tuple[str, int] | None:
        """What the filter holds, and how many sites it leaves."""
        found = re.search(r"^ /\s?(.*?) +(\d+)/\d+$", screen, re.MULTILINE)
        return (found[1], int(found[2])) if found else None

    # ------------------------------------------------------------ operations

    def ask(self, key: str, title: str) -> str:
        """Press the key of an operation, and wait until its prompt says what goes and what stays."""
        self.press(key)
        return self.until(lambda screen: title in screen and tr("Stays") in screen and tr("Cancel") in screen)

    def agree(self, site: str) -> None:
        """Answer the prompt: the name where it is wanted, then the other button than Cancel."""
        wanted = tr("Type {word} to go on:", word=site)
        if wanted in self.screen:
            self.type(site)
            self.until(re.escape(wanted) + r"\s+" + re.escape(site))
            self.press("Tab")
        self.press("Right", "Enter")
        self.until(lambda screen: tr("Stays") not in screen)

    def job(self, site: str, kind: str) -> str:
        """The line of the jobs strip about the newest operation of this kind on the site."""
        return next(
            (line for line in reversed(self.lines) if re.match(rf" [↻✔!✖●] +{re.escape(site)} +{kind} ", line)), ""
        )

    def outcome(self, site: str, kind: str) -> str:
        """Wait until the operation has ended, and return its line."""
        self.until(lambda _: re.match(r" [✔!✖●]", self.job(site, kind)), 120)
        return self.job(site, kind)

    def dismiss(self) -> None:
        self.press("D")
        self.until(lambda screen: tr("{key} dismiss", key="D") not in screen)

    def quit(self) -> None:
        """Nothing must run."""
        self.press("q")
        assert self.ended() == 0
        assert not self.alternate
        assert "Traceback" not in self.screen
