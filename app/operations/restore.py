"""Plans a restore: which generation, what of it, what goes and what stays."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.operations import check, look, move
from app.operations.credentials import CredentialsWanted, of_site
from app.operations.intent import Intent
from backends.agent.client import AgentError, Preview
from backends.records import GENERATION_ID, Blocker, Credentials, Generation, GenerationState, ModoseruError, Site

if TYPE_CHECKING:
    from app.session import Session

PARTS = ("all", "files", "database")
POST = re.compile(r"post:([1-9][0-9]{0,17})")
KEPT = "What is overwritten is kept on the server: undo brings it back."
FILES_GONE = {"no_root", "no_wordpress", "no_config"}
"""Codes of an agent that finds no WordPress where the site should be."""
UNSEEN = {*FILES_GONE, "no_database"}
"""Codes of warnings after which a loss of nothing means that nobody could count it."""


class NoGeneration(ModoseruError):  # noqa: N818 - says what happened
    """There is nothing that could be restored, or not what was named. Code: no_generation."""


class BadRequest(ModoseruError):  # noqa: N818 - says what happened
    """What was asked for cannot be meant. Codes: bad_generation, bad_only. Exit code 2."""

    exit_code = 2


def part(only: Sequence[str]) -> str | list[str]:
    """What `--only` names: one of PARTS, `post:ID`, or paths below the document root; nothing means all.

    Raises BadRequest.
    """
    if any(one.startswith("post:") for one in only):
        if len(only) > 1 or POST.fullmatch(only[0]) is None:
            raise BadRequest("bad_only", "one post is named as post:ID, and alone", "modoseru posts finds its ID")
        return only[0]
    named = [one for one in only if one in PARTS]
    if not named:
        return list(only) or "all"
    if len(named) < len(only):
        raise BadRequest("bad_only", f"{named[0]} and a path cannot be restored in one go", "run restore once for each")
    return named[0] if len(set(named)) == 1 else "all"


async def plan(
    session: Session,
    site: Site,
    generation: str | None = None,
    only: str | Sequence[str] = "all",
    *,
    fresh: bool = False,
    given: Credentials | None = None,
) -> Intent:
    """The newest complete generation unless one is named; `only` is `all`, `files`, `database` or paths.

    `fresh`: no live file and no live table is taken over, however right it looks; for a site that was attacked.
    `given`: what opens the database where the live wp-config.php does not; without it the site's file is asked.

    Asks the server for its generations and for what would be lost. Raises NoGeneration, CredentialsWanted, and whatever
    the server raises; a blocker that the preview finds is raised as ModoseruError with its hint.
    """
    chosen = choose(site, await check.generations(session, site), generation)
    found, given = await _opened(session, site, chosen.id, only, fresh=fresh, given=given)
    if found.blockers:
        first = found.blockers[0]
        locked = found.database is not None and found.database.opens is None
        if only == "all" and found.database is not None and locked and first.code in UNSEEN:
            raise CredentialsWanted(site, first, found.database)
        raise ModoseruError(first.code, first.message, first.hint)
    expected = await look.before(session, site)
    leads = await move.dns(session, site) if only == "all" else None
    broken = expected.before is not None
    return Intent(
        kind="restore",
        site=site,
        verb="restore",
        request={
            "generation": chosen.id,
            "only": only if isinstance(only, str) else list(only),
            # Of one that was changed since, an operator was told so, and may have nothing better.
            "seal": None if chosen.sealed is False else await seal_of(session, site, chosen.id),
            "fresh": fresh,
            "expect": look.travelling(expected, title=False),
        },
        question=f"Restore {site.name} to {when(chosen)}?",
        goes=(*goes(found, only), *(warning.message for warning in found.warnings), *doubts(chosen)),
        stays=(
            KEPT,
            "Until the new state is whole and verified the site goes on serving.",
            *(move.sentences(leads) if leads is not None else ()),
        ),
        danger=True,
        typed=None if broken else site.name,
        generation=chosen.id,
        credentials=given,
    )


async def foreseen(
    session: Session, site: Site, generation: str | None, only: str | Sequence[str], *, fresh: bool = False
) -> Preview:
    """What `plan` would meet and lose, without planning it. Raises as `plan` does, but for blockers."""
    chosen = choose(site, await check.generations(session, site), generation)
    return (await _opened(session, site, chosen.id, only, fresh=fresh, given=None))[0]


async def _opened(
    session: Session,
    site: Site,
    generation: str,
    only: str | Sequence[str],
    *,
    fresh: bool,
    given: Credentials | None,
) -> tuple[Preview, Credentials | None]:
    """The preview, and the credentials with which it was made: the site's file is asked where wp-config.php is lost."""
    found = await preview(session, site, generation, only, fresh=fresh, given=given)
    lost = found.database is not None and found.database.opens != "live" and only in ("all", "files", "database")
    if given is None and lost:
        given = await of_site(site)
        if given is not None:
            found = await preview(session, site, generation, only, fresh=fresh, given=given)
    return found, given


async def seal_of(session: Session, site: Site, generation: str) -> str | None:
    """What the server must find its summary to be; None where no seal is kept here."""
    return (await session.journal.seals(site.name)).get(generation)


async def preview(
    session: Session,
    site: Site,
    generation: str,
    only: str | Sequence[str],
    *,
    fresh: bool = False,
    given: Credentials | None = None,
) -> Preview:
    """What the server says would be lost. A site whose files are gone cannot, and must be restorable all the same."""
    part = only if isinstance(only, str) else list(only)
    try:
        return await session.agent(site).preview(generation, part, fresh=fresh, credentials=given)
    except AgentError as error:
        if error.code not in FILES_GONE:
            raise
        unknown = Blocker(code=error.code, message=f"What would be lost is not known: {error.message}.")
        return Preview(generation=generation, warnings=(unknown,))


def choose(site: Site, generations: Sequence[Generation], wanted: str | None) -> Generation:
    """The named one, or the newest complete one that is not known to be changed since it was made. Pure.

    Raises NoGeneration and BadRequest.
    """
    if wanted is not None:
        if not GENERATION_ID.match(wanted):
            raise BadRequest("bad_generation", f"{wanted!r} is no generation id", "ids look like 20261123T021500Z")
        for one in generations:
            if one.id == wanted:
                return one
        raise NoGeneration(
            "no_generation", f"{site.name} has no generation {wanted}", f"see modoseru generations {site.name}"
        )
    complete = [one for one in generations if one.state is GenerationState.COMPLETE and one.sealed is not False]
    if not complete:
        why = "no generation is known to be good" if generations else "it was never backed up"
        raise NoGeneration(
            "no_generation", f"{site.name} cannot be restored: {why}", "ask the host for its own backups (hosts.d)"
        )
    return max(complete, key=lambda one: one.id)


def doubts(generation: Generation) -> list[str]:
    """Why a generation that was named may not be what its name says."""
    found = []
    if generation.sealed is False:
        found.append("This generation is NOT the one that was sealed: somebody changed it after it was made.")
    if generation.state is GenerationState.SUSPECT:
        found.append("This generation is suspect: it does not look like a normal successor of the one before.")
    if generation.state is GenerationState.DAMAGED:
        found.append("Part of this generation is damaged: the restore stops before the switch if it needs that part.")
    return found


def when(generation: Generation) -> str:
    age = dt.datetime.now(dt.UTC) - generation.created
    minutes = max(0, int(age.total_seconds() // 60))
    ago = f"{age.days} days" if age.days > 1 else f"{minutes // 60} h" if minutes >= 60 else f"{minutes} min"
    return f"{generation.id} ({ago} ago)"


def goes(found: Preview, only: str | Sequence[str]) -> list[str]:
    """What is newer than the generation, as sentences; that nothing is, only where all of it could be seen."""
    loss = found.loss
    if not isinstance(only, str):
        return [f"Replaced: {path}" for path in only]
    words = {
        "posts": ("post or page", "posts and pages"),
        "comments": ("comment", "comments"),
        "users": ("user", "users"),
        "orders": ("order", "orders"),
        "entries": ("form entry", "form entries"),
        "files": ("file", "files"),
    }
    counts = ((getattr(loss, key), one, many) for key, (one, many) in words.items())
    newer = [f"{n} {one if n == 1 else many}" for n, one, many in counts if n]
    sentences = {
        "all": "All files and the whole database are replaced.",
        "files": "All files are replaced; the database stays.",
        "database": "The whole database is replaced; the files stay.",
    }
    unseen = any(warning.code in UNSEEN for warning in found.warnings)
    nothing = [] if unseen else ["Nothing is newer than it."]
    lost = [f"Newer than it, and gone: {', '.join(newer)}."] if newer else nothing
    better = ["The database looks clean: restoring the files alone keeps all that."] if found.recommended else []
    titles = [f"Newest: {', '.join(f'“{title}”' for title in loss.newest[:3])}"] if loss.newest else []
    return [sentences[only], *lost, *titles, *better]
