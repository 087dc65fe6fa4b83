"""Opens the dashboard: on the fleet of a folder, or on the embedded one.

The way to the first frame: what it needs is imported below, with the garbage collector off.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.session import Session


async def dashboard(folder: Path, *, read_only: bool) -> int:
    """Until the operator leaves; what runs on servers goes on there. Raises BadConfig, JournalBroken."""
    with _hurried():
        from app import session as sessions

        async with sessions.opened(folder, read_only=read_only) as held:
            return await _shown(held, held.fleet.settings.fleet.language)


async def demo(*, sites: int, language: str | None, read_only: bool) -> int:
    """The embedded fleet; its servers come up behind the painted screen, its folder goes when the operator leaves."""
    with _hurried():
        import os

        from app import session as sessions
        from app.demo.fleet import embedded
        from widgets.language import choose

        spoken = choose(language, os.environ)
        async with (
            embedded(sites, language=spoken, start=False) as fleet,
            sessions.opened(fleet.config, read_only=read_only, journal=fleet.folder / "journal.db") as held,
        ):
            await held.journal.remember_all(fleet.journal_seed)
            if held.holes is not None:
                await held.holes.refresh()
            return await _shown(held, spoken, fleet.start, embedded=True)


@contextlib.contextmanager
def _hurried() -> Iterator[None]:
    """Without the garbage collector until `SessionDesk.warm`: imports make next to no garbage, and looking for it took
    27 of their 197 ms."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _shown(
    held: Session,
    language: str | None,
    after_first_frame: Callable[[], None] | None = None,
    *,
    embedded: bool = False,
) -> int:
    from app import speaking
    from app.dashboard import Dashboard
    from app.desk import SessionDesk

    speaking.speak(language)
    app = Dashboard(await SessionDesk.of(held, after_first_frame, embedded=embedded))
    await app.run_async()
    if app.failure is not None:
        raise app.failure
    return 0
