"""Plans a verify, and reads what it told: every byte of a generation, and its summary against the seal kept here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from app.operations import check, restore
from app.operations.intent import Intent
from backends.records import AnyEvent, Finished, Gone, ModoseruError, Note, Outcome, Progress, Site, Step

if TYPE_CHECKING:
    from app.session import Session


class Problem(Struct, frozen=True, kw_only=True):
    what: str
    path: str
    healed: bool = False


class Verified(Struct, frozen=True, kw_only=True):
    """What `verify --json` prints. `unknown`: it is whole by the server's word, and no seal is kept here; `unreadable`:
    its summary cannot be read, so that nobody can say what should be there."""

    site: str
    generation: str
    tier: str = "server"
    outcome: str
    checked_bytes: int
    problems: tuple[Problem, ...] = ()


class Plan(Struct, frozen=True, kw_only=True):
    """What is about to be verified, with what was known before the server was asked."""

    intent: Intent
    seal: str | None
    gone: tuple[Gone, ...] = ()


async def plan(session: Session, site: Site, generation: str | None = None) -> Plan:
    """The newest generation unless one is named. Raises NoGeneration, BadRequest, and whatever the server raises."""
    # Before the generations are asked for: a seal taken at this very contact would prove nothing.
    seals = await session.journal.seals(site.name)
    seen = await check.seen(session, site)
    if generation is None and seen.generations:
        generation = max(one.id for one in seen.generations)
    lost = {one.id for one in seen.gone}
    if generation in lost or (generation is None and lost):
        raise ModoseruError(
            "gone",
            f"{generation or 'every generation'} of {site.name} is gone from its server; it was sealed here",
            "find out who took it away",
        )
    chosen = restore.choose(site, seen.generations, generation)
    seal = seals.get(chosen.id)
    intent = Intent(
        kind="verify",
        site=site,
        verb="verify",
        request={"generation": chosen.id, "seal": seal},
        question=f"Read {restore.when(chosen)} of {site.name} back?",
        stays=("Nothing live is touched; what is damaged is healed where its bytes are found.",),
        generation=chosen.id,
    )
    return Plan(intent=intent, seal=seal, gone=seen.gone)


def judged(plan: Plan, events: Sequence[AnyEvent]) -> Verified:
    """What the events of a verify say, measured by the seal. Pure.

    Raises ModoseruError where it did not come to an end: then nothing was found out.
    """
    finished = next((event for event in reversed(events) if isinstance(event, Finished)), None)
    if finished is None or not (finished.outcome is Outcome.DONE or finished.code == "damaged"):
        raise _not_found_out(plan, finished)
    problems = [*problems_of(events), *_gone(plan.gone)]
    if finished.outcome is not Outcome.DONE:
        outcome = "damaged" if finished.summary else "unreadable"
    elif plan.seal is not None and finished.summary != plan.seal:
        problems.insert(0, Problem(what="is not the summary that was sealed", path="summary.json"))
        outcome = "damaged"
    elif any(not one.healed for one in problems):
        outcome = "damaged"
    else:
        outcome = "ok" if plan.seal is not None else "unknown"
    return Verified(
        site=plan.intent.site.name,
        generation=plan.intent.generation or "",
        outcome=outcome,
        checked_bytes=checked_bytes(events),
        problems=tuple(problems),
    )


def mended(first: Verified, second: Verified) -> Verified:
    """A verify that found damage, and the one after the vault's bytes had taken its place. Pure."""
    left = {one.path for one in second.problems}
    healed = tuple(msgspec.structs.replace(one, healed=True) for one in first.problems if one.path not in left)
    return msgspec.structs.replace(second, problems=(*healed, *second.problems))


def problems_of(events: Iterable[AnyEvent]) -> list[Problem]:
    """Each path once, with whether it was healed."""
    notes = [event for event in events if isinstance(event, Note)]
    healed = {note.item for note in notes if note.code == "healed"}
    return [
        Problem(what=note.text, path=note.item or "", healed=note.item in healed)
        for note in notes
        if note.code in {"damaged", "more"}
    ]


def checked_bytes(events: Iterable[AnyEvent]) -> int:
    """What was read, all steps together."""
    read: dict[str, int] = {}
    step = ""
    for event in events:
        if isinstance(event, Step):
            step = event.name
        elif isinstance(event, Progress):
            read[step] = event.done
    return sum(read.values())


def _gone(gone: Sequence[Gone]) -> list[Problem]:
    """A generation that somebody took away is damage to the site's safety, whichever one was asked about."""
    return [Problem(what="is gone from the server", path=f"generations/{one.id}") for one in gone if not one.let_go]


def _not_found_out(plan: Plan, finished: Finished | None) -> ModoseruError:
    site = plan.intent.site.name
    if finished is None:
        return ModoseruError("cut", f"how the verify of {site} ended is not known", f"see modoseru operations {site}")
    error = ModoseruError(finished.code or finished.outcome.value, finished.detail or "it was cancelled", finished.hint)
    if finished.outcome is Outcome.CANCELLED:
        error.exit_code = 130
    return error
