"""`modoseru` as an operator meets it: a process of its own, a configuration and a journal of its own."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from app import session as sessions
from app.session import Session
from backends.records import Site
from tests.lab import Lab, LabSite
from tests.lab.configuration import site_table

SCRIPT = Path(sys.executable).with_name("modoseru")
PATIENCE = 120.0
NOBODY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        lines = self.out.splitlines()
        assert len(lines) == 1, (self.out, self.err)
        return json.loads(lines[0])

    @property
    def error(self) -> dict[str, str]:
        found = self.json
        assert list(found) == ["error"], found
        assert list(found["error"]) == ["code", "message", "hint"]
        error: dict[str, str] = found["error"]
        assert error["message"].strip()
        assert "\n" not in error["message"] + error["hint"]
        return error

    @property
    def events(self) -> list[dict[str, Any]]:
        """What `--progress json` wrote on stderr."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]


class Program:
    """One operator's machine: `config` and `state` are its folders, `wordpress` what it takes for wordpress.org."""

    def __init__(self, config: Path, state: Path, wordpress: str = NOBODY) -> None:
        self.config, self.state, self.wordpress = config, state, wordpress
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SSH_")},
            "MODOSERU_CONFIG": str(config),
            "MODOSERU_STATE": str(state),
            "LC_ALL": "C.UTF-8",
        }

    def __call__(self, *words: str, code: int | None = 0) -> Answer:
        """Runs a command to its end. `code`: the exit status that it must have."""
        done = subprocess.run(
            [SCRIPT, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False,
            env=self.environment,
        )  # fmt: skip
        return _answer(words, done.returncode, done.stdout, done.stderr, code)

    def start(self, *words: str) -> Running:
        return Running(self, *words)

    # ------------------------------------------------------------ its configuration

    def write_fleet(self, table: Mapping[str, Any]) -> None:
        unasked = {"wordpress": {"api": self.wordpress, "downloads": self.wordpress}, "lifecycle": {"ask": False}}
        (self.config / "fleet.toml").write_text(tomli_w.dumps({**unasked, **table}))

    def write_site(self, site: LabSite, changes: Mapping[str, Any] | None = None) -> None:
        """The site's file; `changes` by key path (`ssh.port`), None takes a key out."""
        table: dict[str, Any] = copy.deepcopy(site_table(site))
        table["domain"] = {"expires": dt.date(2035, 1, 1)}
        for path, value in (changes or {}).items():
            *tables, key = path.split(".")
            inner = table
            for name in tables:
                inner = inner.setdefault(name, {})
            if value is None:
                inner.pop(key, None)
            else:
                inner[key] = value
        (self.config / "sites.d" / f"{table['name']}.toml").write_text(tomli_w.dumps(table))

    # ------------------------------------------------------------ the same machine, in this process

    @contextlib.asynccontextmanager
    async def session(self, *, read_only: bool = False) -> AsyncIterator[Session]:
        async with sessions.opened(self.config, read_only=read_only) as held:
            yield held


class Running:
    """A command that has not ended yet; its stderr is read as it comes."""

    def __init__(self, program: Program, *words: str) -> None:
        self._words = words
        self.process = subprocess.Popen(
            [SCRIPT, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=program.environment,
        )  # fmt: skip
        self._seen = b""

    def until(self, text: str) -> str:
        """Reads stderr up to the first line that holds `text`, and returns that line."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._seen += line
            if text in line.decode():
                return line.decode()
        raise AssertionError(f"ended without {text!r}: {self._seen.decode()}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, code: int | None = 0) -> Answer:
        out, err = self.process.communicate(timeout=PATIENCE)
        return _answer(self._words, self.process.returncode, out, self._seen + err, code)


def _answer(words: tuple[str, ...], status: int, out: bytes, err: bytes, code: int | None) -> Answer:
    answer = Answer(status, out.decode(), err.decode())
    for bad in ("Traceback", "Exception ignored", "never retrieved", "Warning:"):
        assert bad not in answer.out + answer.err, (words, answer)
    assert code is None or answer.code == code, (words, answer)
    return answer


def program_of(lab: Lab, folder: Path) -> Program:
    """A machine whose fleet is the lab's; nothing that it asks leaves loopback."""
    config = folder / "config"
    (config / "sites.d").mkdir(parents=True)
    bootstrap = folder / "rdap.json"
    bootstrap.write_text('{"version": "1.0", "publication": "2026-01-01T00:00:00Z", "services": []}')
    made = Program(config, folder / "state", lab.wporg.url)
    made.write_fleet({
        "fleet": {"name": "研究所", "timezone": "Asia/Tokyo", "language": "en"},
        "domains": {"rdap_bootstrap": str(bootstrap)},
        "people": [{"name": "duty A"}],
    })  # fmt: skip
    for site in lab.sites:
        made.write_site(site)
    return made


def site_of(session: Session, name: str) -> Site:
    return session.fleet.site(name)


@dataclass(frozen=True)
class Sample:
    at: dt.datetime
    status: int
    body: str


class Visitor:
    """Somebody who loads the front page again and again."""

    def __init__(self, lab: Lab, site: LabSite, path: str = "/") -> None:
        self._lab, self._site, self._path = lab, site, path
        self.samples: list[Sample] = []

    @contextlib.contextmanager
    def visiting(self) -> Iterator[Visitor]:
        done = threading.Event()

        def visit() -> None:
            while not done.is_set():
                at = dt.datetime.now(dt.UTC)
                try:
                    status, body = self._lab.fetch(self._site, self._path)
                except OSError as error:
                    status, body = 0, str(error)
                self.samples.append(Sample(at, status, body))
                done.wait(0.02)

        thread = threading.Thread(target=visit)
        thread.start()
        try:
            yield self
        finally:
            done.set()
            thread.join()

    def bad(self) -> list[Sample]:
        """What was not the page: another status, or a page without its end."""
        return [one for one in self.samples if one.status != 200 or "</html>" not in one.body]
