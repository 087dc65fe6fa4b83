"""The one door through which every operation starts. No key binding and no command goes round it.

It checks read-only mode, confirmation and what this process knows to be running, then launches the verb on the site's
server (which holds the lock that binds everybody), keeps the journal, and answers when the server asks for a look.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import msgspec

from app import policy
from app.operations import (
    check,
    core,
    here,
    holding,
    isolate,
    ledger,
    look,
    runtime_switch,
    transfer,
    update,
    vault_bring,
    vault_copy,
)
from app.operations.intent import Intent, Proof
from app.operations.patience import FIRST_PAUSE, LONGEST_PAUSE, PATIENCE, jittered, passes
from app.operations.summary import summarise
from backends import ssh
from backends.agent.client import Agent, AgentError, Ended, Launched
from backends.journal import JournalBroken, SealConflict
from backends.records import (
    GENERATION_ID,
    OPERATION_ID,
    Answered,
    AnyEvent,
    Asked,
    Drill,
    Finished,
    ModoseruError,
    Note,
    Operation,
    Outcome,
    Progress,
    Site,
    Started,
    Step,
    Update,
)

if TYPE_CHECKING:
    from app.session import Session

ALREADY_ANSWERED = 0.3
"""Seconds in which a journal that is read again shows that its question has an answer."""
RECOVERIES = 3
DRILLS_KEPT = 11
"""Earlier drills whose seconds are kept for the trend: a year of monthly ones."""
DISPROVED = {"drill_failed", "damaged"}
"""Codes of a drill that ran and found the generation wanting; any other failure is a drill that could not run."""


class Refused(ModoseruError):  # noqa: N818 - says what happened
    """The guard did not let it start. Codes: read_only, not_confirmed, not_typed."""

    exit_code = 2


class LostSight(ModoseruError):  # noqa: N818 - says what happened
    """The operation goes on, or waits, on the server; this process no longer sees it. `follow` does later.

    Exit code 3: nobody may take the site for what it was before.
    """

    exit_code = 3


def allowed(session: Session, intent: Intent, *, confirmed: bool) -> None:
    """Raises Refused unless the operation may start now."""
    writable(session, intent.site, f"no {intent.kind}")
    if intent.danger and not confirmed:
        raise Refused(
            "not_confirmed", f"{intent.kind} of {intent.site.name} was not confirmed", "confirm it with --yes"
        )


def writable(session: Session, site: Site, what: str) -> None:
    """Raises Refused in read-only mode, naming which of its three switches is on: each is turned off elsewhere."""
    if site.read_only:
        where, hint = f"{site.name} is read-only", f"read_only = true stands in sites.d/{site.name}.toml"
    elif session.fleet.settings.fleet.read_only:
        where, hint = "the fleet is read-only", "read_only = true stands in fleet.toml"
    elif session.read_only:
        where, hint = "this program is read-only", "start without --read-only"
    else:
        return
    raise Refused("read_only", f"{where}: {what}", hint)


async def start(session: Session, intent: Intent, *, confirmed: bool) -> AsyncGenerator[AnyEvent]:
    """Begins the operation and yields its events up to Finished. Closing the generator detaches.

    A Note without a line is this process's own: it is in no journal.

    Raises Refused, AgentError or backends.ssh.Refused: nothing began. Raises LostSight: it began, and goes on.
    """
    allowed(session, intent, confirmed=confirmed)
    await session.journal.audit(session.who, "guard", intent.kind, intent.site.name, "asked", intent.question)
    if intent.here is not None:
        if isinstance(intent.here, vault_copy.Copy):
            work = vault_copy.copy(session, intent.site, intent.here)
        elif isinstance(intent.here, runtime_switch.Switch):
            work = runtime_switch.switch(session, intent.site, intent.here)
        else:
            work = vault_bring.bring(session, intent.site, intent.here)
        async with contextlib.aclosing(here.carry_out(session, intent, work)) as events:
            async for event in events:
                yield event
        return
    agent = session.agent(intent.site)
    try:
        async with contextlib.aclosing(_brought(session, intent)) as brought:
            async for event in brought:
                yield event
        if intent.makes_generation:
            judged_by = await core.judged_by(session.publisher, agent, session.ignored(intent.site))
            intent = msgspec.structs.replace(intent, request={**intent.request, **judged_by})
        async with contextlib.aclosing(_Attended(session, intent.site, agent).run(intent=intent)) as events:
            async for event in events:
                yield event
    except ModoseruError as error:
        with contextlib.suppress(JournalBroken):  # it may be what went wrong
            await session.journal.audit(session.who, "guard", intent.kind, intent.site.name, error.code, error.message)
        if OPERATION_ID.match(error.hint):  # busy, waiting: the operation that is in the way
            raise AgentError(error.code, error.message, f"modoseru follow {intent.site.name} {error.hint}") from error
        raise


async def _brought(session: Session, intent: Intent) -> AsyncGenerator[AnyEvent]:
    """What the operation needs on its server, over as many connections as it takes."""
    if intent.bring is None:
        return
    clock = asyncio.get_running_loop().time
    until, pause, most = clock() + PATIENCE, FIRST_PAUSE, 0
    while True:
        try:
            async with contextlib.aclosing(transfer.bring(session, intent.bring, intent.site)) as events:
                async for event in events:
                    if isinstance(event, Progress) and event.done > most:
                        until, pause, most = clock() + PATIENCE, FIRST_PAUSE, event.done
                    yield event
                return
        except (AgentError, ssh.Refused) as error:
            if not (passes(error) or error.code == "busy") or clock() > until:
                raise
            text = f"{error.message}; it goes on from the last piece that arrived"
            yield Note(at=dt.datetime.now(dt.UTC), code="reconnecting", text=text, level="warning")
        await asyncio.sleep(jittered(pause))
        pause = min(LONGEST_PAUSE, pause * 2)


async def follow(session: Session, site: Site, operation: str) -> AsyncGenerator[AnyEvent]:
    """All events of an operation that began earlier or elsewhere, up to Finished; answers its questions.

    In read-only mode it only reads: a question is left to another client. Raises as `start` does.
    """
    if here.is_here(operation):
        async with contextlib.aclosing(here.told(session, operation)) as told:
            async for event in told:
                yield event
        return
    agent = session.agent(site)
    try:
        async with contextlib.aclosing(_Attended(session, site, agent).run(operation=operation)) as events:
            async for event in events:
                yield event
    except AgentError as error:
        if error.code == "no_operation":
            await _lose(session, site, operation)
        raise


async def _lose(session: Session, site: Site, operation: str) -> None:
    """Somebody removed it from its server: how it ended is not known, and it does not run."""
    known = await session.journal.operation(operation)
    if known is not None and known.outcome is None:
        lost = "its server no longer knows it; look at the site"
        await session.journal.operation_ended(msgspec.structs.replace(known, outcome=Outcome.NEEDS_HAND, detail=lost))


async def cancel(session: Session, site: Site, operation: str) -> bool:
    """Asks the operation to stop; True where it was still running. Its own Finished says whether it was cancelled."""
    writable(session, site, "nothing is cancelled")
    await session.journal.audit(session.who, "guard", "cancel", site.name, "asked", operation)
    if here.is_here(operation):
        return here.cancel(session, operation)
    return await session.agent(site).cancel(operation)


class _Attended:
    """One operation as this process sees it: its events, its questions, its place in the journal."""

    def __init__(self, session: Session, site: Site, agent: Agent) -> None:
        self._session, self._site, self._agent = session, site, agent
        self._operation = ""
        self._kind = ""
        self._proof: Proof | None = None
        self._updates: tuple[Update, ...] = ()
        self._next = 0
        self._launched = False
        self._events: list[AnyEvent] = []
        self._question: asyncio.Task[None] | None = None
        self._state = ""
        self._orphaned = 0
        self._clock = asyncio.get_running_loop().time
        self._until, self._pause = self._clock() + PATIENCE, FIRST_PAUSE

    async def run(self, *, intent: Intent | None = None, operation: str = "") -> AsyncGenerator[AnyEvent]:
        """Launches `intent`, or follows `operation`, over as many connections as it takes."""
        self._operation, self._kind = operation, intent.kind if intent else operation.split("-")[1]
        self._proof = intent.proof if intent else None
        self._updates = intent.updates if intent else ()
        try:
            while True:
                try:
                    async with contextlib.aclosing(self._lines(intent)) as lines:
                        async for event in lines:
                            yield event
                            if isinstance(event, Finished):
                                return
                    await self._resolve()
                except (AgentError, ssh.Refused) as error:
                    for note in self._bear(error):
                        yield note
                    await asyncio.sleep(jittered(self._pause))
                    self._pause = min(LONGEST_PAUSE, self._pause * 2)
                except JournalBroken as error:
                    if not self._begun:
                        raise
                    raise self._lost(error.message) from error
        finally:
            self._forget_question()

    async def _lines(self, intent: Intent | None) -> AsyncGenerator[AnyEvent]:
        """The events of one connection, kept in the journal; `self._state` says why they ended."""
        self._state = ""
        source = (
            self._agent.launch(intent.verb, intent.request, credentials=intent.credentials)
            if intent is not None and not self._operation
            else self._agent.follow(self._operation, self._next)
        )
        async with contextlib.aclosing(source) as lines:
            async for line in lines:
                self._until, self._pause = self._clock() + PATIENCE, FIRST_PAUSE
                if isinstance(line, Launched):
                    self._operation, self._launched = line.operation, True
                    await self._began()
                elif isinstance(line, Ended):
                    self._state = line.state
                else:
                    for problem in await self._keep(line):
                        yield problem
                    yield line

    async def _resolve(self) -> None:
        """The journal ended without Finished: somebody has to look, or to recover."""
        if self._state == "waiting" and self._question is None:
            raise self._lost("it waits for somebody to look at the site from outside")
        if self._state == "waiting" and self._question is not None and not self._question.done():
            await self._question
        elif self._state in {"waiting", "orphaned"}:
            # Orphaned, or answered and not heard: its process is gone.
            self._orphaned += 1
            if self._orphaned > RECOVERIES or self._read_only:
                raise self._lost("its process on the server is gone, and it was not recovered")
            await self._agent.recover()

    def _bear(self, error: ModoseruError) -> list[Note]:
        """A connection that was lost is made again, and that is said once; the operation does not notice.

        Raises `error` where nothing began, LostSight where it began and trying again is of no use.
        """
        if not self._begun:
            raise error
        if not passes(error) or self._clock() > self._until:
            raise self._lost(error.message) from error
        if self._pause > FIRST_PAUSE:
            return []
        text = f"{error.message}; it goes on there, and is followed again"
        return [Note(at=dt.datetime.now(dt.UTC), code="reconnecting", text=text, level="warning")]

    @property
    def _read_only(self) -> bool:
        return self._session.read_only or self._site.read_only

    def _lost(self, why: str) -> LostSight:
        return LostSight("lost_sight", why, f"it goes on there: modoseru follow {self._site.name} {self._operation}")

    @property
    def _begun(self) -> bool:
        """Whether the server has shown this process that the operation exists."""
        return self._next > 0 or self._launched

    async def _began(self) -> None:
        begun = Operation(
            operation=self._operation,
            site=self._site.name,
            kind=self._kind,
            started=dt.datetime.now(dt.UTC),
            who=self._session.who,
        )
        await self._session.journal.operation_began(begun)
        if self._updates:
            await ledger.begin(self._session, self._site, self._operation, self._updates)
        if self._proof is not None:
            await self._session.journal.remember(
                self._site.name, f"proof {self._operation}", self._proof, dt.datetime.now(dt.UTC)
            )

    async def _keep(self, event: AnyEvent) -> list[Note]:
        """Writes the event into the journal and acts on it; returns what went wrong with that, to be told before it."""
        self._next = event.line + 1
        if isinstance(event, Started) and not self._events:
            await self._began()
        self._events.append(event)
        if not isinstance(event, Progress):
            await self._session.journal.record_event(self._operation, event)
        if isinstance(event, Note) and event.code == "let_go":
            await self._remember_let_go(event)
        if isinstance(event, Asked) and not self._read_only:
            self._forget_question()
            self._question = asyncio.create_task(self._answer(event))
            self._question.add_done_callback(lambda task: task.cancelled() or task.exception())
        elif isinstance(event, Answered):
            self._forget_question()
        elif isinstance(event, Finished):
            return await self._end(event)
        return []

    def _forget_question(self) -> None:
        if self._question is not None:
            self._question.cancel()
            self._question = None

    async def _answer(self, asked: Asked) -> None:
        if not self._launched:
            await asyncio.sleep(ALREADY_ANSWERED)
        judged = await look.judge(self._session, self._site, asked)
        until, pause = self._clock() + PATIENCE, FIRST_PAUSE
        while True:
            try:
                return await self._agent.answer(self._operation, asked.number, keep=judged.keep, detail=judged.detail)
            except (AgentError, ssh.Refused):
                # The operation waits for this answer; nobody else may be there to give it.
                if self._clock() > until:
                    raise
            await asyncio.sleep(jittered(pause))
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _end(self, finished: Finished) -> list[Note]:
        journal, site = self._session.journal, self._site.name
        known = await journal.operation(self._operation)
        if self._kind == "update" and (known is None or known.outcome is None):
            # Before it counts as ended: one that is read again later would hold what was let go since.
            await holding.hold_what_broke(self._session, self._site, self._events)
            await ledger.remember(self._session, self._site, self._operation, self._events)
        await journal.operation_ended(summarise(self._operation, site, self._kind, self._events))
        await journal.audit(self._session.who, "guard", self._kind, site, finished.outcome.value, finished.detail)
        if self._kind == "drill":
            await self._remember_drill(finished)
        elif self._kind == "verify" or (finished.summary and self._kind != "update"):
            with contextlib.suppress(ModoseruError):  # the next look at the site tells it too
                await check.generations(self._session, self._site)
        if self._kind in {"isolate", "release"}:
            with contextlib.suppress(ModoseruError):
                await check.inside(self._session, self._site)
        if self._kind == "update":
            with contextlib.suppress(ModoseruError):  # WordPress forgets what is pending when it updates
                await update.pending(self._session, self._site)
        if self._kind == "isolate" and finished.outcome in {Outcome.DONE, Outcome.NEEDS_HAND}:
            return isolate.suspects(self._session, self._site)
        if not (finished.summary and finished.generation):
            return []
        try:
            await journal.seal(site, finished.generation, finished.summary, finished.at)
            if self._kind != "verify":
                await journal.note_generation_fact(site, finished.generation, "server", "watched", True)
            elif finished.outcome is Outcome.DONE:
                await journal.note_generation_fact(site, finished.generation, "server", "verified_at", finished.at)
        except SealConflict as error:
            await journal.audit(self._session.who, "guard", "seal", site, error.code, error.message)
            return [Note(at=finished.at, code=error.code, text=f"{error.message}; {error.hint}", level="error")]
        return []

    async def _proven(self) -> Proof | None:
        """What the operation proves of a generation of the vault; kept, for who follows it later does not plan it."""
        if self._proof is None:
            kept = await self._session.journal.recall(self._site.name, f"proof {self._operation}", Proof)
            self._proof = kept[0] if kept else None
        return self._proof

    async def _remember_let_go(self, note: Note) -> None:
        """So that its absence is no alarm; not where the promise forbids that it went."""
        generation, least = note.item or "", self._site.policy.server_min_age
        if GENERATION_ID.match(generation) and policy.may_be_let_go(generation, least, note.at):
            await self._session.journal.note_generation_fact(
                self._site.name, generation, "server", "let_go", self._operation
            )

    async def _remember_drill(self, finished: Finished) -> None:
        """One that could not run proves nothing, in neither direction, and is only history."""
        ok = finished.outcome is Outcome.DONE
        if not (ok or finished.code in DISPROVED):
            return
        begun = next((event.at for event in self._events if isinstance(event, Started)), finished.at)
        found = next((e.at for e in self._events if isinstance(e, Step) and e.name == "drop"), finished.at)
        journal, seconds = self._session.journal, round((found - begun).total_seconds(), 3)
        drill = Drill(generation="", at=finished.at, ok=ok, seconds=seconds, detail=finished.detail)
        if finished.generation:
            last = await journal.recall(self._site.name, "drill", Drill)
            before = ((last[0].seconds,) if last[0].ok else ()) + last[0].before if last is not None else ()
            mine = msgspec.structs.replace(drill, generation=finished.generation, before=before[:DRILLS_KEPT])
            await journal.remember(self._site.name, "drill", mine, finished.at)
        if (proof := await self._proven()) is not None:
            taken = round(seconds + proof.brought_s, 3)
            far = msgspec.structs.replace(drill, generation=proof.generation, seconds=taken, tier="vault", on=proof.on)
            await journal.remember(proof.site, "drill_vault", far, finished.at)


def exit_code(outcome: Outcome | None) -> int:
    """DESIGN 7: 0 done; 1 failed, the site is as before; 3 the site needs a hand; 130 cancelled."""
    codes = {Outcome.DONE: 0, Outcome.ROLLED_BACK: 1, Outcome.NEEDS_HAND: 3, Outcome.CANCELLED: 130}
    return codes[outcome] if outcome else 1
