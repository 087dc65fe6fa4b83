"""Opens the dashboard: on the fleet of a folder, or on the embedded one."""

from __future__ import annotations

import os
from pathlib import Path

from app import session as sessions
from app import speaking
from app.session import Session


async def dashboard(folder: Path, *, read_only: bool) -> int:
    """Until the operator leaves; what runs on servers goes on there. Raises BadConfig, JournalBroken."""
    async with sessions.opened(folder, read_only=read_only) as held:
        speaking.speak(held.fleet.settings.fleet.language)
        return await _shown(held)


async def demo(*, sites: int, language: str | None, read_only: bool) -> int:
    """The embedded fleet; its servers come up behind the painted screen, its folder goes when the operator leaves."""
    from app.demo.fleet import embedded
    from widgets.language import choose

    spoken = choose(language, os.environ)
    speaking.speak(spoken)
    async with (
        embedded(sites, language=spoken) as fleet,
        sessions.opened(fleet.config, read_only=read_only, journal=fleet.folder / "journal.db") as held,
    ):
        await held.journal.remember_all(fleet.journal_seed)
        return await _shown(held)


async def _shown(held: Session) -> int:
    from app.dashboard import Dashboard
    from app.desk import SessionDesk

    await Dashboard(SessionDesk(held)).run_async()
    return 0
