"""Puts one updated plugin or theme back, days or weeks later: its files as the update found them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from app.operations import diff, restore
from app.operations.intent import Intent
from backends.records import Difference, Inspection, ModoseruError, Note, Outcome, Site

if TYPE_CHECKING:
    from app.session import Session
    from backends.agent.client import Agent

FOLDERS = {"plugin": "plugins", "theme": "themes"}


class Updated(Struct, frozen=True):
    """An update of an item, by the word of its server's own journal."""

    kind: str
    generation: str
    """Made before it."""


async def plan(session: Session, site: Site, slug: str) -> Intent:
    """Raises ModoseruError: never_updated, whole_only, and as `restore.plan` does."""
    agent = session.agent(site)
    updated = await _last(agent, site, slug)
    inspection, _ = await agent.inspect()
    path = _path(site, inspection, updated.kind, slug)
    try:
        intent = await restore.plan(session, site, updated.generation, [path])
    except ModoseruError as error:
        if error.code != "no_generation" or updated.kind != "plugin":
            raise
        # A plugin of one file has no folder.
        intent = await restore.plan(session, site, updated.generation, [f"{path}.php"])
    return msgspec.structs.replace(
        intent,
        question=f"Put {updated.kind} {slug} of {site.name} back to what it was before {updated.generation}?",
        goes=(f"The files of {slug} as they are now.", *intent.goes),
        stays=(*await _left(session, site, updated.generation), *intent.stays),
        typed=None,
    )


async def _last(agent: Agent, site: Site, slug: str) -> Updated:
    for one in await agent.operations():
        if one.kind != "update" or one.outcome is not Outcome.DONE or one.generation is None:
            continue
        async with contextlib.aclosing(agent.follow(one.operation, 0)) as events:
            notes = [event async for event in events if isinstance(event, Note) and event.code == "updated"]
        for note in notes:
            if note.item == slug:
                return Updated(note.text.partition(" ")[0], one.generation)
    raise ModoseruError(
        "never_updated",
        f"no update of {slug} is known on {site.name}",
        f"modoseru restore {site.name} --only PATH brings back any folder of a generation",
    )


def _path(site: Site, inspection: Inspection, kind: str, slug: str) -> str:
    """Below the document root."""
    if kind == "translation":
        hint = f"modoseru restore {site.name} GENERATION --only wp-content/languages brings all of them back"
        raise ModoseruError("whole_only", f"{kind} {slug} lies among all other translations", hint)
    if kind not in FOLDERS:
        hint = f"modoseru restore {site.name} GENERATION brings both back"
        raise ModoseruError("whole_only", f"{kind} {slug} comes back with its database or not at all", hint)
    root, content = inspection.root, inspection.content
    if root is None or content is None or not content.startswith(f"{root}/"):
        hint = f"restore the generation's files: modoseru restore {site.name} --only files"
        raise ModoseruError("whole_only", f"wp-content of {site.name} lies outside its document root", hint)
    return f"{content[len(root) + 1 :]}/{FOLDERS[kind]}/{slug}"


async def _left(session: Session, site: Site, generation: str) -> list[str]:
    """What the database got meanwhile, as sentences: nothing of it is rewound."""
    found = None
    async with contextlib.aclosing(diff.diff(session, site, generation)) as told:
        async for one in told:
            found = one if isinstance(one, Difference) else found
    made = [table.name for table in found.tables if table.rows_then is None] if found else []
    sentence = "The database stays as it is: settings that the newer version wrote may not suit the older one."
    return [sentence, *([f"Tables made since then stay: {', '.join(made[:10])}."] if made else [])]
