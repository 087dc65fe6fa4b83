"""Plans the restore of one site's generation to another site of the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.operations import check, look, restore, transfer
from app.operations.intent import Intent
from backends.agent.client import Preview
from backends.records import Generation, ModoseruError, Site

if TYPE_CHECKING:
    from app.session import Session


async def plan(session: Session, source: Site, target: Site, generation: str | None = None) -> Intent:
    """`source`'s newest complete generation unless one is named, to be restored whole to `target`.

    Looks at both servers and brings nothing yet. Raises NoGeneration, BadRequest, whatever the servers raise, and the
    first blocker that `target`'s server finds.
    """
    chosen, wanted, found = await _looked(session, source, target, generation)
    if found.blockers:
        first = found.blockers[0]
        raise ModoseruError(first.code, first.message, first.hint)
    expected = await look.before(session, target)
    return Intent(
        kind="restore",
        site=target,
        verb="restore",
        request={
            "generation": chosen.id,
            "only": "all",
            "seal": wanted.seal,
            "transfer": wanted.transfer,
            "incoming": {"site": source.name, "url": source.url},
            "expect": look.travelling(expected, title=False),
        },
        question=f"Restore {source.name} of {restore.when(chosen)} to {target.name}?",
        goes=(*goes(source, target, found), *(one.message for one in found.warnings), *restore.doubts(chosen)),
        stays=(
            f"{source.name} is only read. {target.name} keeps its wp-config.php, its generations and its address.",
            f"What is overwritten is kept on {target.name}'s server: undo brings it back.",
        ),
        danger=True,
        typed=target.name,
        generation=chosen.id,
        bring=wanted,
    )


async def foreseen(session: Session, source: Site, target: Site, generation: str | None) -> Preview:
    """What `plan` would meet and lose on `target`. Raises as `plan` does, but for blockers."""
    return (await _looked(session, source, target, generation))[2]


async def _looked(
    session: Session, source: Site, target: Site, generation: str | None
) -> tuple[Generation, transfer.Bring, Preview]:
    if source.name == target.name:
        raise restore.BadRequest("bad_target", f"{source.name} is that site itself", "leave --to out")
    chosen = restore.choose(source, await check.generations(session, source), generation)
    wanted = await transfer.summary_of(session.agent(source), source, chosen.id)
    seal = await restore.seal_of(session, source, chosen.id)
    if seal is not None and seal != wanted.seal and chosen.sealed is not False:
        raise ModoseruError(
            "damaged", f"the generation {chosen.id} is not the one that was sealed", "take another generation"
        )
    incoming = {"site": source.name, "url": source.url, "summary": wanted.text.decode(errors="replace")}
    found = await session.agent(target).preview(chosen.id, "all", incoming=incoming)
    return chosen, wanted, found


def goes(source: Site, target: Site, found: Preview) -> tuple[str, ...]:
    """What `target` shows now and will not, as sentences."""
    loss = found.loss
    words = {"posts": "posts and pages", "comments": "comments", "users": "users", "orders": "orders"}
    held = [f"{getattr(loss, key)} {word}" for key, word in words.items() if getattr(loss, key)]
    return (
        f"All files and the whole database of {target.name} are replaced by those of {source.name}.",
        *([f"{target.name} holds now, and loses: {', '.join(held)}."] if held else []),
        f"The users of {source.name}, with their passwords, become those of {target.name}; nobody stays logged in.",
    )
