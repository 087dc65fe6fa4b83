"""Plans the return of one post: found by its title, from the newest clean generation that holds it as published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from app.operations import check, look, restore
from app.operations.intent import Intent
from backends.agent.client import AgentError, Match, Post
from backends.records import Generation, GenerationState, ModoseruError, Site

if TYPE_CHECKING:
    from app.session import Session

SHOWN = 50
"""Posts that a search answers with, as the agent's own limit."""
LOOKED_AT = ("post", "page")
"""Types whose `?p=ID` shows them to every visitor; what another type does with it, its plugin decides."""


class Found(Struct, frozen=True, kw_only=True):
    """A post whose title has the words, and the generation from which it would come back."""

    generation: str
    post: Match


def id_of(part: str | Sequence[str]) -> int | None:
    """The ID that `restore.part` gave as `post:ID`; None where it is another part."""
    named = restore.POST.fullmatch(part) if isinstance(part, str) else None
    return int(named[1]) if named else None


async def find(session: Session, site: Site, words: str, generation: str | None = None) -> tuple[Found, ...]:
    """Posts of the clean generations (or the named one) whose titles have the words, the latest first, 50 at most.

    Each is told once, of the newest generation that holds it as published, or holds it at all. Raises NoGeneration, and
    whatever the server raises.
    """
    found: dict[int, Found] = {}
    for one in await _candidates(session, site, generation):
        seal = await _seal(session, site, one)
        for match in await session.agent(site).posts(one.id, words, seal=seal):
            known = found.get(match.id)
            if known is None or (known.post.status != "publish" and match.status == "publish"):
                found[match.id] = Found(generation=one.id, post=match)
    latest = sorted(found.values(), key=lambda one: (str(one.post.modified or ""), one.post.id), reverse=True)
    return tuple(latest[:SHOWN])


async def foreseen(session: Session, site: Site, post: int, generation: str | None = None) -> Post:
    """What bringing it back would change, from the named generation or the newest clean one that has it as published.

    Raises NoGeneration where none has, and whatever the server raises.
    """
    held: list[Post] = []
    for one in await _candidates(session, site, generation):
        try:
            seen = await session.agent(site).post(one.id, post, seal=await _seal(session, site, one))
        except AgentError as error:
            if error.code != "no_post" or generation is not None:
                raise
            continue
        if seen.then.status == "publish" or generation is not None:
            return seen
        held.append(seen)
    if held:
        newest = held[0]
        raise restore.NoGeneration(
            "no_generation",
            f"no clean generation of {site.name} holds the post {post} as published",
            f"{newest.generation} holds it as {newest.then.status}: name that generation to take it",
        )
    raise restore.NoGeneration(
        "no_generation",
        f"no clean generation of {site.name} holds a post {post}",
        f"find it by its title: modoseru posts {site.name} WORDS",
    )


async def plan(session: Session, site: Site, post: int, generation: str | None = None) -> Intent:
    """Raises as `foreseen` does; a blocker is raised as ModoseruError with its hint."""
    generations = await check.generations(session, site)
    found = await foreseen(session, site, post, generation)
    if found.blockers:
        first = found.blockers[0]
        raise ModoseruError(first.code, first.message, first.hint)
    chosen = restore.choose(site, generations, found.generation)
    expected = await look.before(session, site)
    shown = found.then.status == "publish" and found.then.type in LOOKED_AT
    overwrites = found.now is not None or found.files_replaced > 0
    return Intent(
        kind="restore",
        site=site,
        verb="restore",
        request={
            "generation": chosen.id,
            "only": f"post:{post}",
            "seal": await _seal(session, site, chosen),
            "expect": look.travelling(expected, title=False, page=f"?p={post}" if shown else None),
        },
        question=f"Bring “{found.then.title}” back to {site.name} from {restore.when(chosen)}?",
        goes=(*goes(found), *(warning.message for warning in found.warnings), *restore.doubts(chosen)),
        stays=(*comes(found), "Everything else on the site stays as it is.", restore.KEPT),
        danger=True,
        typed=site.name if overwrites and expected.before is None else None,
        generation=chosen.id,
    )


def goes(found: Post) -> list[str]:
    """What is replaced, as sentences. Pure."""
    told = []
    if found.now is not None:
        told.append(f"Replaced: “{found.now.title}” ({found.now.status}), as it is now.")
    if found.files_replaced:
        told.append(f"Other bytes stand in the place of {found.files_replaced} of its files: they are put aside.")
    return told


def comes(found: Post) -> list[str]:
    """What comes back and what of the post stays, as sentences. Pure."""
    counts = {"comments": found.comments_back, "files": found.files_back + found.files_replaced}
    with_it = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    told = [f"Comes back: its text and fields, {with_it}." if with_it else "Comes back: its text and fields."]
    if found.terms_back:
        told.append(f"Made again: {', '.join(f'“{term}”' for term in found.terms_back)}")
    if found.comments_kept:
        told.append(f"Its comments that are there stay: {found.comments_kept}.")
    return told


async def _candidates(session: Session, site: Site, generation: str | None) -> list[Generation]:
    """The clean generations, newest first; or the named one."""
    generations = await check.generations(session, site)
    newest = restore.choose(site, generations, generation)
    if generation is not None:
        return [newest]
    clean = [one for one in generations if one.state is GenerationState.COMPLETE and one.sealed is not False]
    return sorted(clean, key=lambda one: one.id, reverse=True)


async def _seal(session: Session, site: Site, generation: Generation) -> str | None:
    return None if generation.sealed is False else await restore.seal_of(session, site, generation.id)
