"""Runs operations for the command line: asks, follows, prints, and keeps Ctrl-C from breaking anything.

The first Ctrl-C asks the operation to cancel; the second leaves it running on its server and says how to follow it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from app import printing, prompting, speaking
from app.operations import guard, here
from app.operations.intent import Intent, same_word
from app.operations.summary import summarise
from backends.records import AnyEvent, Finished, ModoseruError, Operation, Outcome, Site, Started

if TYPE_CHECKING:
    from app.command_line import Options
    from app.operations.month import Watch
    from app.operations.move import Dns
    from app.session import Session

AT_ONCE = 4
"""Operations at once from one command: each is a process on a server that sites share."""


async def perform(
    session: Session, sites: Sequence[Site], plan: Callable[[Site], Awaitable[Intent]], options: Options, *, yes: bool
) -> int:
    """`performed`, printed; returns the exit status of the worst."""
    return concluded(sites, await performed(session, sites, plan, options, yes=yes), options)


async def begin(session: Session, intent: Intent, options: Options, *, yes: bool) -> int:
    """`perform` of one operation that needs no look at the site to be planned."""

    async def planned(_: Site) -> Intent:
        return intent

    return await perform(session, [intent.site], planned, options, yes=yes)


def concluded(
    sites: Sequence[Site], results: Sequence[Operation | ModoseruError], options: Options, dns: Dns | None = None
) -> int:
    """Prints how operations ended, one a site; returns the exit status of the worst. Raises a lone one's error.

    `dns`: what of DNS still leads to where a site was before it was restored.
    """
    if len(results) == 1 and isinstance(results[0], ModoseruError):
        raise results[0]
    speaking.results([site.name for site in sites], results, as_json=options.as_json, dns=dns)
    return max((_code(one) for one in results), key=_severity, default=0)


async def performed(
    session: Session, sites: Sequence[Site], plan: Callable[[Site], Awaitable[Intent]], options: Options, *, yes: bool
) -> list[Operation | ModoseruError]:
    """Plans all, asks once for each, begins those that were agreed to.

    A site that cannot be planned or begun does not keep the others from it. Read-only: not even planned.
    """
    turns = asyncio.Semaphore(AT_ONCE)

    async def planned(site: Site) -> Intent | ModoseruError:
        async with turns:
            try:
                guard.writable(session, site, "nothing is begun")
                return await plan(site)
            except ModoseruError as error:
                return error

    async def ended(intent: Intent | ModoseruError) -> Operation | ModoseruError:
        if isinstance(intent, ModoseruError):
            return intent
        async with turns:
            watched = _Watched(session, intent.site, options)
            interrupts.watched.append(watched)
            return await watched.run(guard.start(session, intent, confirmed=True), intent.kind)

    intents: list[Intent | ModoseruError] = []
    for intent in await asyncio.gather(*(planned(site) for site in sites)):
        asked = isinstance(intent, Intent) and intent.danger and not yes
        intents.append(await _asked(intent, options) if isinstance(intent, Intent) and asked else intent)
    with _Interrupts() as interrupts:
        return await asyncio.gather(*(ended(intent) for intent in intents))


@contextlib.contextmanager
def watching(session: Session, options: Options, interrupted: Callable[[], None]) -> Iterator[Watch]:
    """Follows any number of updates on the terminal. Ctrl-C calls `interrupted` too, and cancels those that run."""

    async def watch(site: Site, events: AsyncGenerator[AnyEvent]) -> Operation | ModoseruError:
        one = _Watched(session, site, options)
        interrupts.watched.append(one)
        try:
            return await one.run(events, "update")
        finally:
            interrupts.watched.remove(one)

    with _Interrupts(interrupted) as interrupts:
        yield watch


async def watched(session: Session, intent: Intent, options: Options) -> list[AnyEvent]:
    """Begins one operation that needs no confirmation and returns its events. Raises what kept it from beginning, and
    `left_running` where the operator left it."""
    one = _Watched(session, intent.site, options)
    with _Interrupts() as interrupts:
        interrupts.watched.append(one)
        ended = await one.run(guard.start(session, intent, confirmed=False), intent.kind)
    if isinstance(ended, ModoseruError):
        raise ended
    return one.seen


async def done(session: Session, intent: Intent, options: Options) -> Operation:
    """`watched`, to its end. Raises why it was not done."""
    seen = await watched(session, intent, options)
    ended = next((event for event in reversed(seen) if isinstance(event, Finished)), None)
    if ended is None or ended.outcome is not Outcome.DONE:
        code, why = (ended.code, ended.detail) if ended else (None, "how it ended is not known")
        error = ModoseruError(code or "cancelled", f"{intent.site.name}: {why}", ended.hint if ended else "")
        error.exit_code = guard.exit_code(ended.outcome if ended else None)
        raise error
    begun = next(event for event in seen if isinstance(event, Started))
    return summarise(begun.operation, intent.site.name, intent.kind, seen)


def _cancelled(name: str) -> ModoseruError:
    error = ModoseruError("cancelled", f"cancelled; nothing was begun on {name}", "begun again, it goes on from there")
    error.exit_code = 130
    return error


def went_well(ended: Operation | ModoseruError) -> bool:
    return isinstance(ended, Operation) and ended.outcome is Outcome.DONE


def _code(ended: Operation | ModoseruError) -> int:
    return guard.exit_code(ended.outcome) if isinstance(ended, Operation) else ended.exit_code


def _severity(code: int) -> int:
    return {0: 0, 130: 1, 2: 2, 1: 3, 3: 4}.get(code, 3)


async def follow(session: Session, site: Site, operation: str, options: Options) -> int:
    """Exit status of the operation's outcome."""
    watched = _Watched(session, site, options, _checked(operation))
    with _Interrupts() as interrupts:
        interrupts.watched.append(watched)
        ended = await watched.run(guard.follow(session, site, operation), operation.split("-")[1])
    if isinstance(ended, ModoseruError):
        raise ended
    speaking.results([site.name], [ended], as_json=options.as_json)
    return guard.exit_code(ended.outcome)


async def cancel(session: Session, site: Site, operation: str, options: Options) -> int:
    """0 where it was cancelled; otherwise as the operation ended. Raises ModoseruError (ended) where it had before."""
    asked = await guard.cancel(session, site, _checked(operation))
    if not asked:
        raise ModoseruError("ended", f"{operation} has ended already", f"see modoseru follow {site.name} {operation}")
    code = await follow(session, site, operation, options)
    return 0 if code == guard.exit_code(Outcome.CANCELLED) else code


def _checked(operation: str) -> str:
    from backends.records import OPERATION_ID

    if not OPERATION_ID.match(operation):
        error = ModoseruError(
            "bad_operation", f"{operation!r} is no operation id", "they look like 20261123T021500Z-restore-1a2b3c"
        )
        error.exit_code = 2
        raise error
    return operation


async def _asked(intent: Intent, options: Options) -> Intent | ModoseruError:
    """The intent where it was agreed to, or the refusal. The prompt names what goes and what stays; without a terminal
    `--yes` is the only way to agree."""
    if options.as_json or not prompting.interactive():
        return guard.Refused(
            "not_confirmed", f"{intent.kind} of {intent.site.name} was not confirmed", "agree to it with --yes"
        )
    lines = [intent.question, *(f"  - {sentence}" for sentence in intent.goes)]
    printing.aside("\n".join([*lines, *(f"  + {sentence}" for sentence in intent.stays)]))
    if intent.typed is None:
        agreed = await prompting.agreed("Go on?")
    else:
        typed = await prompting.line(f"The site is not broken. Type {intent.typed} to go on:")
        agreed = same_word(intent.typed, typed)
        if typed and not agreed:
            return guard.Refused("not_typed", f"that is another name; {intent.site.name} was not changed", "")
    return intent if agreed else guard.Refused("not_confirmed", f"{intent.site.name} was not changed", "")


class _Interrupts:
    """Ctrl-C while operations run: one handler for all of them."""

    def __init__(self, also: Callable[[], None] = lambda: None) -> None:
        self.watched: list[_Watched] = []
        self._also = also
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> _Interrupts:
        self._loop.add_signal_handler(signal.SIGINT, self._interrupted)
        return self

    def _interrupted(self) -> None:
        self._also()
        for one in self.watched:
            one.interrupted()

    def __exit__(self, *_: object) -> None:
        self._loop.remove_signal_handler(signal.SIGINT)


class _Watched:
    """One operation on the terminal."""

    def __init__(self, session: Session, site: Site, options: Options, operation: str = "") -> None:
        self._session, self._site, self._options = session, site, options
        self._operation = operation
        self.seen: list[AnyEvent] = []
        self._asked = self._left = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling: asyncio.Task[None] | None = None

    async def run(self, events: AsyncGenerator[AnyEvent], kind: str) -> Operation | ModoseruError:
        """The operation's record when it ended, or why it could not begin, or that it was left running."""
        self._task = asyncio.current_task()
        try:
            if self._left:
                raise asyncio.CancelledError
            async for event in events:
                if isinstance(event, Started):
                    self._operation = event.operation
                    self._cancel_if_asked()
                elif self._asked and event.line < 0 and not self._operation:
                    # Bytes are brought: nothing has begun that would have to be cancelled.
                    raise _cancelled(self._site.name)
                self.seen.append(event)
                speaking.event(self._site.name, event, self._options.progress)
        except ModoseruError as error:
            return error
        except asyncio.CancelledError:
            if not self._left:
                raise
            return self._left_running(kind)
        finally:
            await events.aclose()
            if self._cancelling is not None:
                self._cancelling.cancel()
        return summarise(self._operation, self._site.name, kind, self.seen)

    def _left_running(self, kind: str) -> ModoseruError:
        """Exit code 3: it may yet change the site, so nobody may take that for what it was before."""
        name = self._site.name
        if self._operation and here.is_here(self._operation):
            return _cancelled(name)
        if self._operation:
            left = ModoseruError(
                "left_running", f"{kind} of {name} goes on there", f"modoseru follow {name} {self._operation}"
            )
        else:
            left = ModoseruError(
                "left_running",
                f"{kind} of {name} may have begun there; it was left before its server said so",
                "begin it again: a server that is at it says so, and names the operation",
            )
        left.exit_code = 3
        return left

    def interrupted(self) -> None:
        if not self._asked and not self._session.read_only:
            self._asked = True
            lives_on = not (self._operation and here.is_here(self._operation))
            again = "; Ctrl-C again leaves it running" if lives_on else ""
            printing.aside(f"{self._site.name}: asked to cancel{again}")
            self._cancel_if_asked()
        elif self._task is not None:
            self._left = True
            self._task.cancel()

    def _cancel_if_asked(self) -> None:
        """Before its server has named the operation there is nothing to cancel yet."""
        if self._asked and self._operation and self._cancelling is None:
            self._cancelling = asyncio.ensure_future(self._cancel())

    async def _cancel(self) -> None:
        try:
            await guard.cancel(self._session, self._site, self._operation)
        except ModoseruError as error:
            printing.aside(f"{self._site.name}: it could not be cancelled: {error.message}")
