"""The process of its own that an operation is: steps, pace, questions, cancelling; and what a dead one left behind.

A worker is a task of the demo, not of the SSH connection that launched it. Killing the task stands for `kill -9`: no
line of cleaning runs; what it left is brought back from its journal alone, by `resume`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from app.demo.archive import Archive
from app.demo.operation import Answer, Operation
from app.demo.runtime import Runtime
from app.demo.site import DemoSite
from backends.records import Answered, Asked, ModoseruError, Note, Outcome, Progress, Step

T = TypeVar("T")
PATIENCE_S = 900.0
"""How long a worker waits for somebody to look before it ends and leaves the question open."""


class Cancelled(Exception):  # noqa: N818  says what happened
    """An operator asked to stop while nothing live was touched."""


class Gate:
    """Holds workers of a site at a step, so that a test or a game day can act in the middle of it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()

    def release(self) -> None:
        self._open.set()

    async def pass_through(self) -> None:
        self.reached.set()
        await self._open.wait()


class Worker:
    """One operation at work. `state` is the site's own state folder."""

    def __init__(self, operation: Operation, state: Path, runtime: Runtime, gates: dict[tuple[str, str], Gate]) -> None:
        self.operation, self.state, self.runtime = operation, state, runtime
        self.site: DemoSite = operation.site
        self.archive = Archive(self.site, state)
        self._gates = gates

    @property
    def aside(self) -> Path:
        """Where what was live is put: the evidence, and what `undo` takes back."""
        return self.operation.folder / "aside"

    # ------------------------------------------------------------ telling

    async def step(self, name: str) -> None:
        self.checkpoint()
        self.operation.append(Step(at=self.runtime.now(), name=name))
        gate = self._gates.get((self.site.name, name))
        if gate is not None:
            await gate.pass_through()

    def note(self, code: str, text: str, level: str = "info", item: str | None = None) -> None:
        self.operation.append(Note(at=self.runtime.now(), code=code, text=text, level=level, item=item))

    def progress(self, done: int, total: int, unit: str) -> None:
        self.operation.append(Progress(at=self.runtime.now(), done=done, total=total, unit=unit))

    def checkpoint(self) -> None:
        """Where a cancel is noticed: anywhere before the switch; after it, while a question waits."""
        if self.operation.cancel_asked and "phase" not in self.operation.state:
            raise Cancelled("cancelled by an operator")

    async def paced(
        self, items: Sequence[T], work: Callable[[Sequence[T]], int], *, total: int, unit: str, seconds: float
    ) -> None:
        """`work` on all of `items`, in as many portions as the step has ticks; `work` says how much a portion was."""
        portions, done = min(self.runtime.ticks(seconds), max(1, len(items))), 0
        for number in range(portions):
            portion = items[len(items) * number // portions : len(items) * (number + 1) // portions]
            done += await self.runtime.run(work, portion)
            self.progress(min(done, total), total, unit)
            await self.runtime.pause(seconds / portions)
            self.checkpoint()

    # ------------------------------------------------------------ asking

    async def ask(self, subject: str, item: str | None = None, *, seconds: float) -> Answer | None:
        """Asks whoever follows; None where nobody answered within `seconds`."""
        page = leave_page(self.site) if self.site.root.is_dir() and subject != "closed" else None
        self._let_pass(page)
        self.operation.remember("page", page)
        number = int(self.operation.state.get("questions", 0)) + 1
        self.operation.remember("questions", number)
        now = self.runtime.now()
        self.operation.append(Asked(at=now, number=number, subject=subject, token=page, item=item))
        try:
            async with asyncio.timeout(seconds):
                return self.settle(await self._answer())
        except TimeoutError:
            return None

    async def look(self, item: str | None = None) -> Answer | None:
        """Asks for a look from outside, as long as the request says."""
        wait = self.operation.request.get("wait_s")
        return await self.ask("look", item, seconds=PATIENCE_S if wait is None else float(wait))

    async def _answer(self) -> Answer:
        while True:
            pulse = self.site.pulse()
            if (answer := self.operation.answer()) is not None:
                return answer
            if self.operation.cancel_asked:
                return Answer(False, "cancelled by an operator")
            await pulse.wait()

    def settle(self, answer: Answer) -> Answer:
        """Writes the answer into the journal; the one-time page goes, whether anybody opened it or not."""
        number = self.operation.state["questions"]
        self.operation.append(Answered(at=self.runtime.now(), number=number, keep=answer.keep, detail=answer.detail))
        self._drop_page()
        return answer

    def _let_pass(self, page: str | None) -> None:
        """Whoever shows the page's secret passes the gate of an isolated site until the question is settled."""
        if (closed := self.site.closed) is not None:
            self.site.close(closed | {"pass": page and page.removeprefix("modoseru-").removesuffix(".php")})

    def _drop_page(self) -> None:
        self._let_pass(None)
        if page := self.operation.state.get("page"):
            (self.site.root / page).unlink(missing_ok=True)

    # ------------------------------------------------------------ exchanging and putting back

    async def exchange(self, live: Path, source: Path, name: str) -> None:
        """Puts `source` in the place of `live`, which goes aside under `name`; the journal knows before it happens."""
        swaps = [*self.operation.state.get("swaps", []), [str(live.relative_to(self.site.home)), name]]
        self.operation.remember("swaps", swaps)
        await self.runtime.run(_exchange, live, source, self.aside / name)

    async def put_back(self, names: Sequence[str] | None = None) -> None:
        """Brings what went aside back into its place: all of it, or these alone. Harmless where nothing did."""
        swaps: list[list[str]] = self.operation.state.get("swaps", [])
        for live, name in reversed(swaps):
            if names is None or name in names:
                await self.runtime.run(_put_back, self.site.home / live, self.aside / name)
        kept = [] if names is None else [swap for swap in swaps if swap[1] not in names]
        if swaps:
            self.operation.remember("swaps", kept)

    async def abandon(self) -> None:
        """The site and its state folder as they were before the operation, from the journal alone."""
        self._drop_page()
        await self.put_back()
        for staging in self.operation.state.get("staging", []):
            await self.runtime.run(remove, self.site.home / staging)
        await self.runtime.run(self.archive.sweep)

    def finish(
        self, outcome: Outcome, detail: str = "", *, error: ModoseruError | None = None, **more: str | None
    ) -> None:
        code, hint = (error.code, error.hint) if error is not None else (None, "")
        self.operation.finish(self.runtime.now(), outcome, detail, code=code, hint=hint, **more)


def leave_page(site: DemoSite, token: str = "") -> str:
    """The one-time page that resets opcache on the web side; its name is a secret."""
    token = token if re.fullmatch(r"[0-9a-f]{32}", token) else secrets.token_hex(16)
    page = f"modoseru-{token}.php"
    (site.root / page).write_bytes(b"<?php // resets opcache, answers, removes itself\n")
    return page


def _exchange(live: Path, source: Path, aside: Path) -> None:
    aside.parent.mkdir(parents=True, exist_ok=True)
    if live.exists():
        live.rename(aside)
    live.parent.mkdir(parents=True, exist_ok=True)
    source.rename(live)


def _put_back(live: Path, aside: Path) -> None:
    if aside.exists():
        remove(live)
        aside.rename(live)


def remove(path: Path) -> None:
    """A file or a tree; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
