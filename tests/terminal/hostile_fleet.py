"""The dashboard on a fleet whose every text comes from a hacked site. Run in a terminal by `test_escapes`."""

from __future__ import annotations

import asyncio
import sys
import typing
from collections.abc import AsyncGenerator, Iterator
from enum import Enum
from typing import Any, TypeVar

import msgspec

from app.dashboard import Dashboard
from app.operations.intent import Intent
from app.operations.month import Fate, Through, Waves
from backends.journal_updates import Decision, Verdict
from backends.records import (
    Answered,
    AnyEvent,
    Asked,
    Certainty,
    Credentials,
    Difference,
    Finished,
    Generation,
    Hole,
    HostPage,
    ModoseruError,
    Note,
    Outcome,
    Progress,
    Site,
    Started,
    State,
    Step,
)
from tests.app.dashboard_desk import FakeDesk
from tests.widgets.made import NOW, broken, generation, operation, site, status, updates
from tests.widgets.test_difference import HACKED

ESCAPES = (
    "[/bold]\x1b]52;c;ZXZpbA==\x07\x1b]0;evil\x07\x1b[2J\x1b[?1049l\x1b[6n\u202eevil\u2066\u200b\x9b31m\x9d0;evil\x9c"
)
EVILS = {
    "escapes": ESCAPES,
    "markup": "[b]evil[/x][@click=app.quit]{oops}[/]\\[[[red]]$text-error {0} %s",
    "control": "\x00evil\x00\r\n\t\x08\x7f\x85\u2028\u2029\ufeff\udcff",
    "wide": "evil 日本語" + "\U0001f468\u200d\U0001f469\u200d\U0001f467" + "e" + "\u0301" * 300 + "\U000e0041",
    "long": ESCAPES * 12_000,  # over a megabyte
    "long word": "evil" + "x" * (1 << 20),
}
SITE, RUNNING = "a.example", "b.example"
T = TypeVar("T", bound=msgspec.Struct)


def poisoned(record: T, evil: str, *spared: str) -> T:
    """`record` with `evil` in every field that may hold any text; those with a pattern, and `spared`, stay."""
    hints = typing.get_type_hints(type(record), include_extras=True)
    changes = {
        name: _poisoned(getattr(record, name), hint, evil)
        for name, hint in hints.items()
        if name in record.__struct_fields__ and name not in spared
    }
    return msgspec.structs.replace(record, **changes)


def _poisoned(value: Any, hint: Any, evil: str) -> Any:
    if isinstance(value, msgspec.Struct):
        return poisoned(value, evil)
    if isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        return tuple(poisoned(one, evil) for one in value)
    if isinstance(value, Enum) or not _is_text(hint):
        return value
    return (evil,) * max(1, len(value)) if isinstance(value, tuple) else evil


def _is_text(hint: Any) -> bool:
    if isinstance(hint, type):
        return hint is str
    if any(isinstance(one, msgspec.Meta) and one.pattern for one in getattr(hint, "__metadata__", ())):
        return False
    return any(_is_text(one) for one in typing.get_args(hint)) or _is_text(getattr(hint, "__origin__", None) or int)


class HostileDesk(FakeDesk):
    """Its server lies in every answer: what it asks before a restore, and why it refuses all else."""

    def __init__(self, evil: str) -> None:
        self.evil = evil
        super().__init__([self._ill(SITE), self._ill(RUNNING)])
        self.name = evil
        self.refusal = ModoseruError("x", evil, evil)
        past = poisoned(operation(SITE, "restore", Outcome.NEEDS_HAND), evil, "operation", "site")
        running = poisoned(operation(RUNNING, "restore", None), evil, "operation", "site", "outcome")
        self.journal = [past, running]
        self.decisions = [
            Decision(kind=evil, slug=evil, version=evil, verdict=Verdict.HALTED, who=evil, at=NOW, note=evil)
        ]
        through = {SITE: Through(fate=Fate.FAILED, operation=evil, why=evil)}
        self.progress = Waves(began=NOW, who=evil, waves=((SITE,), (RUNNING,)), through=through)
        self.past[past.operation] = list(self._told(past.operation))
        for event in self._told(running.operation):
            if not isinstance(event, Finished):
                self.feed(RUNNING).put_nowait(event)

    def _ill(self, name: str) -> tuple[Site, Any]:
        fine = status(
            name,
            health=broken(self.evil),
            verdict=Certainty.FAILED,
            pending=updates(3, security=True),
            holes=(Hole(kind="plugin", slug="akismet", title="", score=9.8),),
            generations=(generation(1), generation(9, tier="vault")),
            reasons=("",) * 3,
        )
        certificate = msgspec.structs.replace(fine.certificate, state=State.CRITICAL, problem="")
        kept = tuple(poisoned(one, self.evil, "id") for one in fine.generations)
        # A server that tells the same generation twice, and one that no server would make.
        odd = (kept[0], msgspec.structs.replace(kept[0], id=self.evil))
        found = poisoned(msgspec.structs.replace(fine, certificate=certificate), self.evil, "name", "generations")
        return poisoned(site(name), self.evil, "name", "policy"), msgspec.structs.replace(
            found, generations=(*kept, *odd)
        )

    def _told(self, operation: str) -> Iterator[AnyEvent]:
        yield Started(at=NOW, line=0, operation=operation, site=self.evil, kind=self.evil)
        yield Step(at=NOW, line=1, name=self.evil)
        yield Note(at=NOW, line=2, code=self.evil, text=self.evil, level=self.evil, item=self.evil)
        yield Asked(at=NOW, line=3, number=1, subject=self.evil, token=self.evil, item=self.evil)
        yield Answered(at=NOW, line=4, number=1, keep=False, detail=self.evil)
        yield Finished(
            at=NOW, line=5, outcome=Outcome.NEEDS_HAND, detail=self.evil, hint=self.evil, generation=self.evil
        )
        yield Progress(at=NOW, line=6, done=1, total=9, unit=self.evil)

    def host(self, site: Site) -> HostPage | None:
        return poisoned(HostPage(), self.evil)

    async def diff(self, site: Site) -> AsyncGenerator[Progress | Difference]:
        yield Progress(at=NOW, line=0, done=1, total=9, unit=self.evil)
        yield msgspec.structs.replace(
            poisoned(HACKED, self.evil, "counts", "areas"), areas={self.evil: {"added": 2, self.evil: 1}}
        )

    async def plan_restore(self, site: Site, generation: str | None, given: Credentials | None = None) -> Intent:
        return Intent(
            kind=self.evil,
            site=site,
            verb="restore",
            request={},
            question=self.evil,
            goes=(self.evil, self.evil),
            stays=(self.evil, self.evil),
            danger=True,
            typed=self.evil,
        )


__all__ = ["EVILS", "RUNNING", "SITE", "Generation", "HostileDesk", "poisoned"]

if __name__ == "__main__":
    asyncio.run(Dashboard(HostileDesk(EVILS[sys.argv[1]]), now=lambda: NOW).run_async())
    sys.exit(0)
