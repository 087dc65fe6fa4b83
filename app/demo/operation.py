"""One operation of a demo site: its folder, its append-only journal, and what follows from the lines in it.

The same folder as the PHP agent's: `request`, `journal`, `answer-N`, `cancel`. The journal is the only truth; lines
whose type begins with `_` are the worker's own memory and are never sent.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from app.demo.site import DemoSite
from backends.records import OPERATION_ID, Answered, AnyEvent, Asked, Event, Finished, ModoseruError, Outcome, Started

_EVENT = msgspec.json.Decoder(AnyEvent)
_MEMORY = '"_state"'


class Answer(Struct, frozen=True):
    """What somebody who looked from outside said."""

    keep: bool
    detail: str = ""


class Request(Struct, frozen=True, kw_only=True):
    """What every verb is given."""

    protocol: int
    marker: str
    site: str
    root: str
    state: str
    url: str = ""
    exclude: tuple[str, ...] = ()
    fields: dict[str, Any] = {}
    """All of it, as it came."""
    behind: bytes = b""
    """What followed its line."""

    def text(self, name: str, default: str | None = None) -> str:
        value = self.fields.get(name)
        value = default if value is None else value
        if not isinstance(value, str):
            raise ModoseruError("bad_request", f'the request\'s "{name}" is not a text', "update Modoseru")
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.fields.get(name)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool):
            raise ModoseruError("bad_request", f'the request\'s "{name}" is not a whole number', "update Modoseru")
        return value


class Operation:
    """Loaded from its folder, at any time, by anybody; only its worker appends."""

    def __init__(self, site: DemoSite, folder: Path) -> None:
        self.site, self.folder, self.id = site, folder, folder.name
        self.kind = self.id.split("-")[1]
        try:
            self.request: dict[str, Any] = json.loads((folder / "request").read_bytes())
            if (folder / "credentials").exists():
                self.request["credentials"] = json.loads((folder / "credentials").read_bytes())
        except (OSError, ValueError):
            raise ModoseruError("no_operation", f"the operation {self.id} has no request") from None
        self.state: dict[str, Any] = {}
        self.line = 0
        self.started: dt.datetime | None = None
        self.asked: Asked | None = None
        self.finished: Finished | None = None
        for text in self._texts():
            self._replay(text)

    @classmethod
    def create(cls, site: DemoSite, home: Path, request: Request, kind: str, now: dt.datetime) -> Operation:
        newest = max((path.name[:16] for path in (home / "ops").glob("*")), default="")
        while f"{now:%Y%m%dT%H%M%SZ}" <= newest:  # two in one second: their ids still tell which was first
            now += dt.timedelta(seconds=1)
        folder = home / "ops" / f"{now:%Y%m%dT%H%M%SZ}-{kind}-{secrets.token_hex(3)}"
        folder.mkdir(parents=True)
        if (given := request.fields.get("credentials")) is not None:
            (folder / "credentials").write_text(json.dumps(given))
        kept = {name: value for name, value in request.fields.items() if name != "credentials"}
        (folder / "request").write_text(json.dumps(kept, ensure_ascii=False))
        return cls(site, folder)

    @classmethod
    def find(cls, site: DemoSite, home: Path, name: str) -> Operation:
        folder = home / "ops" / name
        if not OPERATION_ID.match(name) or not folder.is_dir():
            hint = f"see modoseru operations {site.name}"
            raise ModoseruError("no_operation", f"there is no operation {name} on this site", hint)
        return cls(site, folder)

    @classmethod
    def all(cls, site: DemoSite, home: Path) -> list[Operation]:
        """Newest first."""
        folders = sorted((home / "ops").glob("*/request"), key=lambda path: path.parent.name, reverse=True)
        return [cls(site, path.parent) for path in folders]

    # ------------------------------------------------------------ reading

    def _texts(self) -> Iterator[str]:
        try:
            lines = (self.folder / "journal").read_text().splitlines(keepends=True)
        except FileNotFoundError:
            return
        yield from (line for line in lines if line.endswith("\n"))

    def events_from(self, line: int) -> list[AnyEvent]:
        """The events from `line` on, as the file has them now."""
        events = (_EVENT.decode(text) for text in self._texts() if _MEMORY not in text[:20])
        return [event for event in events if event.line >= line]

    def _replay(self, text: str) -> None:
        if _MEMORY in text[:20]:
            memory = json.loads(text)
            self.state[memory["key"]] = memory["value"]
            return
        event = _EVENT.decode(text)
        self.line = event.line + 1
        if isinstance(event, Started):
            self.started = event.at
        elif isinstance(event, Asked):
            self.asked = event
        elif isinstance(event, Answered):
            self.asked = None
        elif isinstance(event, Finished):
            self.finished = event

    @property
    def cancel_asked(self) -> bool:
        return (self.folder / "cancel").exists()

    def answer(self) -> Answer | None:
        """The answer to the open question; None where nobody has answered."""
        if self.asked is None:
            return None
        try:
            found = json.loads((self.folder / f"answer-{self.asked.number}").read_bytes())
        except FileNotFoundError:
            return None
        return Answer(bool(found["keep"]), str(found.get("detail", "")))

    def as_record(self, *, alive: bool) -> dict[str, Any]:
        """The operation as the verb `operations` lists it."""
        if self.finished is not None:
            state = "finished"
        elif alive:
            state = "running"
        else:
            state = "waiting" if self.asked is not None else "orphaned"
        generation = self.finished.generation if self.finished is not None else None
        return {
            "operation": self.id,
            "kind": self.kind,
            "state": state,
            "outcome": self.finished.outcome if self.finished is not None else None,
            "generation": generation or self.state.get("generation"),
            "started": self.started,
            "detail": self.finished.detail if self.finished is not None else "",
        }

    # ------------------------------------------------------------ writing

    def _append(self, text: str) -> None:
        with (self.folder / "journal").open("a") as journal:
            journal.write(text + "\n")
        self._replay(text + "\n")
        self.site.stir()

    def append(self, event: Event) -> None:
        """The next line; the event gets its number here."""
        self._append(msgspec.json.encode(replace(event, line=self.line)).decode())

    def remember(self, key: str, value: Any) -> None:
        self._append(json.dumps({"type": "_state", "key": key, "value": value}))

    def finish(
        self,
        now: dt.datetime,
        outcome: Outcome,
        detail: str = "",
        *,
        code: str | None = None,
        hint: str = "",
        generation: str | None = None,
        summary: str | None = None,
    ) -> None:
        generation = generation or self.state.get("generation")
        self.append(
            Finished(
                at=now, outcome=outcome, detail=detail, code=code, hint=hint, generation=generation, summary=summary
            )
        )
        (self.folder / "credentials").unlink(missing_ok=True)


def matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Matches paths that `exclude` names, and all below them; `*` stands within one name."""
    words = [re.escape(pattern.strip("/")).replace(r"\*", "[^/]*") for pattern in patterns if pattern.strip("/")]
    return re.compile(f"(?:{'|'.join(words)})(?:/.*)?" if words else r"(?!)")
