"""The dashboard on a fleet whose every text comes from a hacked site. Run in a terminal by `test_escapes`."""

from __future__ import annotations

import asyncio
import sys

from app.dashboard import Dashboard
from backends.records import Finished, ModoseruError, Note, Outcome, Update, Versions
from tests.app.dashboard_desk import FakeDesk
from tests.widgets.made import NOW, broken, operation, site, status

EVIL = (
    "[/bold]\x1b]52;c;ZXZpbA==\x07\x1b]0;evil\x07\x1b[2J\x1b[?1049l\x1b[6n\u202eevil\u2066\u200b\x9b31m\x9d0;evil\x9c"
)


def hostile_desk() -> FakeDesk:
    update = Update(kind="plugin", slug=EVIL, name=EVIL, from_=EVIL, to=EVIL)
    found = status(
        "a.example",
        health=broken(EVIL),
        owner=EVIL,
        pending=(update,),
        reasons=(EVIL,),
        versions=Versions(wordpress=EVIL, php=EVIL, database=EVIL),
    )
    desk = FakeDesk([(site("a.example", tags=(EVIL,), owner=EVIL), found)])
    past = operation("a.example", "restore", Outcome.NEEDS_HAND, detail=EVIL)
    desk.journal = [past]
    desk.past[past.operation] = [
        Note(at=NOW, code="x", text=EVIL, item=EVIL),
        Finished(at=NOW, outcome=Outcome.NEEDS_HAND, detail=EVIL, hint=EVIL),
    ]
    desk.refusal = ModoseruError("x", EVIL, EVIL)
    desk.name = EVIL
    return desk


if __name__ == "__main__":
    asyncio.run(Dashboard(hostile_desk(), now=lambda: NOW).run_async())
    sys.exit(0)
