"""The twin of the agent: the protocol of `backends.agent.client`, spoken by Python about the demo's sites.

It simulates a site; verbs, events, journals, errors and recovery are those of the PHP agent, its algorithms are not.
Holds what a server holds: the sites' locks (which live as long as their workers) and the work that runs detached.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from msgspec import to_builtins

from app.demo import access, moved, post
from app.demo.adoption import Adoption
from app.demo.archive import Archive, hash_of
from app.demo.backup import backup
from app.demo.database import NO_TARGET, database_report, rehouse
from app.demo.difference import difference
from app.demo.drill import drill
from app.demo.guarding import guard
from app.demo.inspection import inspect, moved_preview, preview
from app.demo.isolation import (
    conclude_isolation,
    conclude_release,
    isolate,
    refuse_while_isolated,
    release,
)
from app.demo.operation import Operation, Request
from app.demo.restore import conclude, only_of, restore, undo, undoable
from app.demo.runtime import Runtime
from app.demo.runtimes import found, runtimes, trial
from app.demo.site import DemoSite
from app.demo.transfer import receive, send
from app.demo.update import update
from app.demo.verify import verify
from app.demo.worker import Cancelled, Gate, Worker, leave_page
from backends.records import Finished, ModoseruError, Outcome, Progress, Started

PROTOCOL = 1
PIECE = 1024 * 1024


class Say(Protocol):
    """Sends one line of the answer, and raw bytes behind it."""

    def __call__(self, line: dict[str, Any], behind: bytes = b"") -> Awaitable[None]: ...


Reply = dict[str, Any]


async def probe(worker: Worker) -> None:
    """Lives for a moment after its connection was closed: shows whether the host lets detached work live."""
    await worker.step("wait")
    await worker.runtime.pause(1.5)
    worker.finish(Outcome.DONE, "detached work lives on")


_LAUNCHED: dict[str, tuple[str, Callable[[Worker], Awaitable[None]]]] = {
    "snapshot": ("backup", backup),
    "restore": ("restore", restore),
    "undo": ("undo", undo),
    "update": ("update", update),
    "drill": ("drill", drill),
    "verify": ("verify", verify),
    "isolate": ("isolate", isolate),
    "release": ("release", release),
    "runtime": ("runtime", trial),
    "rehouse": ("rehouse", rehouse),
    "probe": ("probe", probe),
}
_WORK = dict(_LAUNCHED.values())


class Twin:
    """One for a demo: every account's server at once."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._work: dict[str, asyncio.Task[None]] = {}
        self._gates: dict[tuple[str, str], Gate] = {}

    # ------------------------------------------------------------ what tests and game days do to a server

    def hold(self, site: str, step: str) -> Gate:
        """Holds the site's operations at a step, right after its event, until the gate is released."""
        return self._gates.setdefault((site, step), Gate())

    def let_go(self, site: str, step: str) -> None:
        """Takes the hold back."""
        if (gate := self._gates.pop((site, step), None)) is not None:
            gate.release()

    async def kill(self, site: str) -> bool:
        """Ends the site's worker as `kill -9` would; whether there was one."""
        task = self._work.get(site)
        if task is None or task.done():
            return False
        task.cancel()
        await asyncio.wait([task])
        return True

    async def close(self) -> None:
        """Ends all work; the folder is about to go."""
        for site in list(self._work):
            await self.kill(site)

    # ------------------------------------------------------------ verbs

    async def serve(self, site: DemoSite, verb: str, request: Request, say: Say) -> Reply:
        """One verb; its events go to `say`, what it returns is the reply. Raises ModoseruError."""
        if request.protocol != PROTOCOL:
            raise ModoseruError("protocol", f"the request is not of protocol {PROTOCOL}", "update Modoseru")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", request.site):
            raise ModoseruError("bad_request", "the site name is not a plain word", "rename the site")
        state = site.home / request.state.removeprefix("~/") / request.site
        if verb in _LAUNCHED:
            return await self._launch(site, state, request, verb, say)
        handlers: dict[str, Callable[[DemoSite, Path, Request, Say], Awaitable[Reply]]] = {
            "inspect": self._inspect,
            "generations": self._generations,
            "operations": self._operations,
            "preview": self._preview,
            "diff": self._diff,
            "send": self._send,
            "receive": self._receive,
            "lacking": self._lacking,
            "adopt": self._adopt,
            "posts": self._posts,
            "post": self._post,
            "answer": self._answer,
            "follow": self._follow,
            "cancel": self._cancel,
            "recover": self._recover,
            "page": self._page,
            "pages": self._pages,
            "database": self._database,
            "guard": self._guard,
            "mark": self._mark,
            "runtimes": self._runtimes,
            "found": self._found,
            "checksums": self._checksums,
        }
        if verb not in handlers:
            raise ModoseruError("bad_request", f"this agent has no verb {verb}", "update Modoseru")
        return await handlers[verb](site, state, request, say)

    async def _inspect(self, site: DemoSite, state: Path, _request: Request, _say: Say) -> Reply:
        await self.runtime.run(site.make)
        open_ones = [operation.id for operation in Operation.all(site, state) if operation.finished is None]
        archive_of = Archive(site, state)
        generations = tuple(await self.runtime.run(archive_of.listing))
        seen = await self.runtime.run(inspect, site, self.runtime.now(), generations, next(iter(open_ones), None))
        seals = await self.runtime.run(archive_of.seals)
        facts = {"summaries": seals, "let_go": await self.runtime.run(archive_of.let_go)}
        return {**to_builtins(seen, builtin_types=(dt.datetime,)), **facts}

    async def _generations(self, site: DemoSite, state: Path, _request: Request, _say: Say) -> Reply:
        await self.runtime.run(site.make)
        archive_of = Archive(site, state)
        listing = await self.runtime.run(archive_of.listing)
        seals, let_go = await self.runtime.run(archive_of.seals), await self.runtime.run(archive_of.let_go)
        return {"generations": listing, "summaries": seals, "let_go": let_go}

    async def _operations(self, site: DemoSite, state: Path, _request: Request, _say: Say) -> Reply:
        alive, records = self._held(site), []
        for operation in Operation.all(site, state):
            records.append(operation.as_record(alive=alive))
            alive = alive and operation.finished is not None
        return {"operations": records}

    async def _preview(self, site: DemoSite, state: Path, request: Request, _say: Say) -> Reply:
        await self.runtime.run(site.make)
        only, name = only_of(request.fields), request.text("generation")
        if moved.of(request.fields) is not None:
            return await self.runtime.run(moved_preview, site, name)
        return await self.runtime.run(preview, site, Archive(site, state), name, only, request)

    async def _diff(self, site: DemoSite, state: Path, request: Request, say: Say) -> Reply:
        """Compared in one go; what it tells on the way is a pace that eyes can follow."""
        await self.runtime.run(site.make)
        generations, name = Archive(site, state), request.text("generation")
        total = (await self.runtime.run(generations.summary, name)).generation.bytes or 1
        full = bool(request.fields.get("full"))
        found = await self.runtime.run(lambda: difference(site, generations, name, request.exclude, full=full))
        ticks = self.runtime.ticks(1.0)
        for tick in range(ticks):
            await self.runtime.pause(1.0 / ticks)
            done = total * (tick + 1) // ticks
            await say({"event": Progress(at=self.runtime.now(), line=tick, done=done, total=total)})
        reply: Reply = to_builtins(found, builtin_types=(dt.datetime,))
        del reply["site"]
        return reply

    async def _pages(self, site: DemoSite, _state: Path, _request: Request, _say: Say) -> Reply:
        await self.runtime.run(site.make)
        posts = (await self.runtime.run(site.tables))["posts"]
        newest = max(posts, key=lambda post: str(post["date"]), default=None)
        return {"pages": [f"?p={newest['id']}"] if newest else []}

    async def _runtimes(self, site: DemoSite, _state: Path, _request: Request, _say: Say) -> Reply:
        await self.runtime.run(site.make)
        return runtimes(site)

    async def _found(self, site: DemoSite, state: Path, request: Request, _say: Say) -> Reply:
        return await self.runtime.run(found, Operation.find(site, state, request.text("operation")))

    async def _database(self, site: DemoSite, _state: Path, request: Request, _say: Say) -> Reply:
        await self.runtime.run(site.make)
        reply: Reply = to_builtins(await self.runtime.run(database_report, site, request.fields))
        return reply

    async def _guard(self, site: DemoSite, state: Path, request: Request, _say: Say) -> Reply:
        await self.runtime.run(site.make)
        if request.text("do") != "show":
            self._refuse_if_busy(site, state)
        return await self.runtime.run(guard, site, state, request, self.runtime.now())

    async def _send(self, site: DemoSite, state: Path, request: Request, say: Say) -> Reply:
        piece, reply = await self.runtime.run(send, Archive(site, state), request)
        for at in range(0, len(piece), PIECE):
            part = piece[at : at + PIECE]
            await say({"piece": {"length": len(part)}}, part)
        return dict(reply)

    async def _receive(self, _site: DemoSite, state: Path, request: Request, _say: Say) -> Reply:
        return dict(await self.runtime.run(receive, state, request))

    async def _lacking(self, site: DemoSite, state: Path, request: Request, say: Say) -> Reply:
        adoption = await self.runtime.run(Adoption, Archive(site, state), state, request)
        found = await self.runtime.run(adoption.lacking)
        await self._tell_hashed(adoption, say)
        return {"lacking": found}

    async def _adopt(self, site: DemoSite, state: Path, request: Request, say: Say) -> Reply:
        adoption = await self.runtime.run(Adoption, Archive(site, state), state, request)
        self._refuse_if_busy(site, state)
        generation = await self.runtime.run(adoption.adopt)
        await self._tell_hashed(adoption, say)
        return {"generation": generation, "seal": adoption.seal}

    async def _tell_hashed(self, adoption: Adoption, say: Say) -> None:
        await say({"event": Progress(at=self.runtime.now(), line=0, done=adoption.bytes, total=adoption.bytes)})

    async def _posts(self, site: DemoSite, state: Path, request: Request, _say: Say) -> Reply:
        await self.runtime.run(site.make)
        name, words = request.text("generation"), request.text("words")
        return await self.runtime.run(post.posts, site, Archive(site, state), name, words)

    async def _post(self, site: DemoSite, state: Path, request: Request, _say: Say) -> Reply:
        await self.runtime.run(site.make)
        number = request.whole("id")
        return await self.runtime.run(post.post, site, Archive(site, state), request.text("generation"), number)

    async def _answer(self, site: DemoSite, state: Path, request: Request, _say: Say) -> Reply:
        """The answer is a file, so that it counts whether or not the process that asked still lives."""
        operation = Operation.find(site, state, request.text("operation"))
        number = request.whole("number")
        if operation.finished is not None or operation.asked is None or operation.asked.number != number:
            return {"state": "finished" if operation.finished is not None else "running"}
        _write_answer(operation, number, keep=bool(request.fields.get("keep")), detail=request.text("detail", ""))
        if self._held(site):
            site.stir()
        else:
            await self._start(operation, state, again=True)
        return {"state": "running"}

    async def _follow(self, site: DemoSite, state: Path, request: Request, say: Say) -> Reply:
        operation = Operation.find(site, state, request.text("operation"))
        return await self._tail(operation, request.whole("from", 0), say)

    async def _cancel(self, site: DemoSite, state: Path, request: Request, _say: Say) -> Reply:
        operation = Operation.find(site, state, request.text("operation"))
        if operation.finished is not None:
            return {"asked": False}
        (operation.folder / "cancel").touch()
        if self._held(site):
            site.stir()
        else:
            # Nobody is there to notice: a question that waits is answered, what a dead process left is recovered.
            if operation.asked is not None:
                _write_answer(operation, operation.asked.number, keep=False, detail="cancelled by an operator")
            await self._start(operation, state, again=True)
        return {"asked": True}

    async def _recover(self, site: DemoSite, state: Path, _request: Request, _say: Say) -> Reply:
        if self._held(site):
            return {"recovered": []}
        recovered = await self._recover_others(site, state, None)
        return {
            "recovered": [{"operation": one.id, "outcome": one.finished.outcome} for one in recovered if one.finished]
        }

    async def _mark(self, site: DemoSite, state: Path, request: Request, _say: Say) -> Reply:
        name, pinned, word = (request.text("generation"), *map(request.fields.get, ("pinned", "word")))
        if not isinstance(pinned, bool | None) or not isinstance(word, str | None):
            raise ModoseruError("bad_request", "a generation is pinned or not, clean or suspect", "update Modoseru")
        archive_of = Archive(site, state)
        return {"generation": await self.runtime.run(lambda: archive_of.mark(name, pinned=pinned, word=word))}

    async def _checksums(self, site: DemoSite, _state: Path, request: Request, _say: Say) -> Reply:
        """Judges nothing, and names no release: of a demo's files wordpress.org knows nothing, and is not asked."""
        await self.runtime.run(site.make)
        if not site.root.is_dir():
            raise ModoseruError("no_root", f"there is no folder {site.root}", "correct [server] root")
        wanted = request.fields.get("sha256")
        if wanted is not None and hash_of(request.behind) != wanted:
            raise ModoseruError("damaged", "the checksums changed on their way", "try again")
        plugins = request.fields.get("of") == "plugins"
        return {
            "version": None,
            "locale": None,
            "sha256": None if plugins else wanted,
            "plugins": {},
            "plugins_sha256": wanted if plugins else hash_of(b""),
        }

    async def _page(self, site: DemoSite, _state: Path, request: Request, _say: Say) -> Reply:
        await self.runtime.run(site.make)
        if not site.root.is_dir():
            raise ModoseruError("not_writable", f"the document root {site.root} cannot be written", "correct its owner")
        return {"page": leave_page(site, str(request.fields.get("token")))}

    # ------------------------------------------------------------ launching and following

    def _held(self, site: DemoSite) -> bool:
        task = self._work.get(site.name)
        return task is not None and not task.done()

    def _refuse_if_busy(self, site: DemoSite, state: Path) -> None:
        for other in Operation.all(site, state):
            if other.finished is None and self._held(site):
                raise ModoseruError("busy", f"{other.kind} is running on this site", other.id)
            if other.finished is None and other.asked is not None and other.state.get("phase") == "switched":
                raise ModoseruError("waiting", f"the {other.kind} on this site waits for somebody to look", other.id)
        if self._held(site):
            raise ModoseruError("busy", "another process works on this site", "try again in a moment")

    async def _launch(self, site: DemoSite, state: Path, request: Request, verb: str, say: Say) -> Reply:
        """Refusals come before anything is written; from its first line on, the operation lives by itself."""
        if verb in ("snapshot", "update", "rehouse"):
            refuse_while_isolated(site)
        if verb == "rehouse" and access.given(request.fields) is None:
            raise NO_TARGET
        if verb == "undo":
            undoable(site, state, request.fields.get("operation"))
        elif verb in ("restore", "drill", "verify", "runtime"):
            if (verb == "restore" and moved.of(request.fields) is not None) or (
                verb == "drill" and "transfer" in request.fields
            ):
                moved.incoming(state, request.fields)
            else:
                await self.runtime.run(Archive(site, state).summary, request.text("generation"))
            only_of(request.fields)
            access.given(request.fields)
        self._refuse_if_busy(site, state)
        kind = _LAUNCHED[verb][0]
        operation = Operation.create(site, state, request, kind, self.runtime.now())
        await self._start(operation, state, again=False)
        await say({"reply": {"operation": operation.id, "detached": not request.fields.get("attached")}})
        return await self._tail(operation, 0, say)

    async def _tail(self, operation: Operation, line: int, say: Say) -> Reply:
        """Events from `line` on; ends when the operation finished, waits, or its process is gone."""
        while True:
            pulse = operation.site.pulse()
            alive = self._held(operation.site)
            for event in operation.events_from(line):
                await say({"event": event})
                line = event.line + 1
                if isinstance(event, Finished):
                    return {"state": "finished"}
            if not alive:
                now = Operation(operation.site, operation.folder)
                return {"state": now.as_record(alive=False)["state"]}
            await pulse.wait()

    async def _start(self, operation: Operation, state: Path, *, again: bool) -> None:
        """Starts a worker and waits for the first line that it writes, or for its end."""
        worker = Worker(operation, state, self.runtime, self._gates)
        pulse = operation.site.pulse()
        task = asyncio.create_task(self._run(worker, again=again), name=f"demo {operation.id}")
        self._work[operation.site.name] = task
        # Those who follow hear that the process is gone.
        task.add_done_callback(lambda _: operation.site.stir())
        await pulse.wait()

    async def _run(self, worker: Worker, *, again: bool) -> None:
        """The worker: holds the lock from its first line to its last. Cancelling it is killing it."""
        operation = worker.operation
        try:
            await self._recover_others(worker.site, worker.state, operation.id)
            if again:
                await self._resume(worker)
                return
            now = self.runtime.now()
            operation.append(Started(at=now, operation=operation.id, site=worker.site.name, kind=operation.kind))
            await _WORK[operation.kind](worker)
        except Cancelled as stop:
            await worker.abandon()
            worker.finish(Outcome.CANCELLED, str(stop))
        except ModoseruError as error:
            await worker.abandon()
            worker.finish(Outcome.ROLLED_BACK, error.message, error=error)
        except Exception as error:
            await worker.abandon()
            told = ModoseruError("internal", f"{type(error).__name__}: {error}", "see modoseru follow, and report it")
            worker.finish(Outcome.ROLLED_BACK, told.message, error=told)

    # ------------------------------------------------------------ what a dead worker left

    async def _recover_others(self, site: DemoSite, state: Path, mine: str | None) -> list[Operation]:
        """Everything that is not finished and has no process, but for what only waits for an answer."""
        recovered = []
        for operation in Operation.all(site, state):
            if operation.finished is None and operation.id != mine:
                await self._resume(Worker(operation, state, self.runtime, self._gates))
                recovered.append(operation)
        return recovered

    async def _resume(self, worker: Worker) -> None:
        """An answered question whose process is gone goes on here; all else of a dead process is rolled back."""
        operation = worker.operation
        if operation.finished is not None:
            return
        waits = operation.asked is not None and operation.asked.subject == "look"
        if waits and operation.state.get("phase") == "switched" and operation.kind in ("restore", "undo"):
            answer = operation.answer()
            if answer is not None:
                await conclude(worker, worker.settle(answer))
            return
        phase = operation.state.get("phase")
        if phase in ("closed", "opened"):
            answer = operation.answer()
            settled = worker.settle(answer) if answer is not None and operation.asked is not None else None
            if phase == "closed":
                await conclude_isolation(worker, settled)
            else:
                conclude_release(worker, settled)
            return
        await worker.abandon()
        worker.finish(Outcome.ROLLED_BACK, "its process died; everything was taken back")


def _write_answer(operation: Operation, number: int, *, keep: bool, detail: str) -> None:
    text = json.dumps({"keep": keep, "detail": detail}, ensure_ascii=False)
    (operation.folder / f"answer-{number}").write_text(text)
