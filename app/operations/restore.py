"""Plans a restore: which generation, what of it, what goes and what stays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.operations import look
from app.operations.intent import Intent
from backends.records import GENERATION_ID, Generation, GenerationState, ModoseruError, Site

if TYPE_CHECKING:
    from app.session import Session
    from backends.agent.client import Loss, Preview

PARTS = ("all", "files", "database")


class NoGeneration(ModoseruError):  # noqa: N818 - says what happened
    """There is nothing that could be restored, or not what was named. Codes: no_generation, bad_generation."""


async def plan(
    session: Session, site: Site, generation: str | None = None, only: str | Sequence[str] = "all"
) -> Intent:
    """The newest complete generation unless one is named; `only` is `all`, `files`, `database` or paths.

    Asks the server for its generations and for what would be lost. Raises NoGeneration, and whatever the server raises;
    a blocker that the preview finds is raised as ModoseruError with its hint.
    """
    chosen = choose(site, (await session.agent(site).generations()).generations, generation)
    found = await preview(session, site, chosen.id, only)
    if found.blockers:
        first = found.blockers[0]
        raise ModoseruError(first.code, first.message, first.hint)
    expected = await look.before(session, site)
    broken = expected.before is not None
    return Intent(
        kind="restore",
        site=site,
        verb="restore",
        request={
            "generation": chosen.id,
            "only": only if isinstance(only, str) else list(only),
            "expect": look.travelling(expected, title=False),
        },
        question=f"Restore {site.name} to {when(chosen)}?",
        goes=tuple(goes(found.loss, only)) + tuple(warning.message for warning in found.warnings),
        stays=(
            "What is overwritten is kept on the server: undo brings it back.",
            "Until the new state is whole and verified the site goes on serving.",
        ),
        danger=True,
        typed=None if broken else site.name,
        generation=chosen.id,
    )


async def preview(session: Session, site: Site, generation: str, only: str | Sequence[str]) -> Preview:
    return await session.agent(site).preview(generation, only if isinstance(only, str) else list(only))


def choose(site: Site, generations: Sequence[Generation], wanted: str | None) -> Generation:
    """The named one, or the newest complete one. Raises NoGeneration. Pure."""
    if wanted is not None:
        if not GENERATION_ID.match(wanted):
            raise NoGeneration("bad_generation", f"{wanted!r} is no generation id", "ids look like 20261123T021500Z")
        for one in generations:
            if one.id == wanted:
                return one
        raise NoGeneration(
            "no_generation", f"{site.name} has no generation {wanted}", f"see modoseru generations {site.name}"
        )
    complete = [one for one in generations if one.state is GenerationState.COMPLETE]
    if not complete:
        why = "every generation is damaged" if generations else "it was never backed up"
        raise NoGeneration(
            "no_generation", f"{site.name} cannot be restored: {why}", "ask the host for its own backups (hosts.d)"
        )
    return max(complete, key=lambda one: one.id)


def when(generation: Generation) -> str:
    age = dt.datetime.now(dt.UTC) - generation.created
    ago = f"{age.days} days" if age.days else f"{int(age.total_seconds() // 3600)} h"
    return f"{generation.id} ({ago} ago)"


def goes(loss: Loss, only: str | Sequence[str]) -> list[str]:
    """What is newer than the generation, as sentences."""
    if not isinstance(only, str):
        return [f"Replaced: {path}" for path in only]
    words = {"posts": "posts and pages", "comments": "comments", "users": "users", "orders": "orders", "files": "files"}
    newer = [f"{getattr(loss, key)} {word}" for key, word in words.items() if getattr(loss, key)]
    sentences = {
        "all": "All files and the whole database are replaced.",
        "files": "All files are replaced; the database stays.",
        "database": "The whole database is replaced; the files stay.",
    }
    lost = [f"Newer than it, and gone: {', '.join(newer)}."] if newer else ["Nothing is newer than it."]
    titles = [f"Newest: {', '.join(f'“{title}”' for title in loss.newest[:3])}"] if loss.newest else []
    return [sentences[only], *lost, *titles]
