"""An operator's word on a generation: pinned, clean, suspect, known to be gone. Recorded with who said it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.operations.guard import Refused
from backends.records import ModoseruError, Site

if TYPE_CHECKING:
    from app.session import Session


async def mark(
    session: Session,
    site: Site,
    *,
    pin: str | None,
    unpin: str | None,
    mark: tuple[str, str] | None,
    let_go: str | None = None,
) -> None:
    """Each may be absent. Raises Refused in read-only mode, and what the server raises.

    Pins and marks are kept here too: a server that was broken into may forget its own.
    """
    if mark is not None and mark[1] not in ("clean", "suspect"):
        error = ModoseruError("usage", f"{mark[1]!r} is no mark", "a generation is marked clean or suspect")
        error.exit_code = 2
        raise error
    words = [(pin, True, None), (unpin, False, None), (mark[0] if mark else None, None, mark[1] if mark else None)]
    for generation, pinned, state in words:
        if generation is None:
            continue
        if session.read_only or site.read_only:
            raise Refused("read_only", "read-only: nothing is marked", "start without --read-only")
        await session.agent(site).mark(generation, pinned=pinned, state=state)
        fact = ("pinned", pinned or None) if pinned is not None else ("mark", state)
        await session.journal.note_generation_fact(site.name, generation, "server", *fact)
        said = state or ("pinned" if pinned else "unpinned")
        await session.journal.audit(session.who, "guard", "mark", site.name, said, generation)
    if let_go is not None:
        if let_go not in await session.journal.seals(site.name):
            raise ModoseruError(
                "no_generation", f"no seal of {let_go} is kept here", f"see modoseru generations {site.name}"
            )
        await session.journal.note_generation_fact(site.name, let_go, "server", "let_go", session.who)
        await session.journal.audit(session.who, "guard", "mark", site.name, "let go", let_go)
