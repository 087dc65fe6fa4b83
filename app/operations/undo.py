"""Plans an undo: what the last restore or update put aside comes back."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING

from app.operations import look, restore
from app.operations.credentials import of_site
from app.operations.intent import Intent
from backends.agent.client import AgentError
from backends.records import Credentials, ModoseruError, Outcome, Site

if TYPE_CHECKING:
    from app.session import Session
    from backends.agent.client import RemoteOperation

UNDOABLE = ("restore", "update", "rehouse", "undo")


async def plan(session: Session, site: Site) -> Intent:
    """Raises ModoseruError (nothing_to_undo), and whatever the server raises."""
    operations = await session.agent(site).operations()
    last = next((one for one in operations if one.kind in UNDOABLE and one.outcome is Outcome.DONE), None)
    if last is None:
        raise ModoseruError(
            "nothing_to_undo",
            f"nothing was restored or updated on {site.name} that could be undone",
            f"restore a generation: modoseru generations {site.name}",
        )
    expected = await look.before(session, site)
    zone = zoneinfo.ZoneInfo(session.fleet.settings.fleet.timezone)
    began = f" of {last.started.astimezone(zone):%Y-%m-%d %H:%M %Z}" if last.started else ""
    return Intent(
        kind="undo",
        site=site,
        verb="undo",
        request={"expect": look.travelling(expected, title=False)},
        question=f"Undo the {last.kind}{began} on {site.name}?",
        goes=await _goes(session, site, last),
        stays=("It is kept on the server: another undo brings it back.",),
        danger=True,
        typed=None if expected.before is not None else site.name,
        generation=last.generation,
        credentials=await _credentials(session, site, last),
    )


async def _credentials(session: Session, site: Site, last: RemoteOperation) -> Credentials | None:
    """Those of the site's file, where no live wp-config.php opens the database that is to be taken back."""
    if site.server.database is None or last.generation is None:
        return None
    try:
        found = await restore.preview(session, site, last.generation, "database")
    except AgentError:  # the undo itself says what is wrong
        return None
    return None if found.database is None or found.database.opens == "live" else await of_site(site)


async def _goes(session: Session, site: Site, last: RemoteOperation) -> tuple[str, ...]:
    """A move of the database is undone by wp-config.php alone; an update of core comes back with the whole generation,
    and what is newer than that goes."""
    if last.kind == "rehouse":
        return (
            "The site goes back to the database that it had before the move.",
            "What was written since stays in the new database, and is no longer on the site.",
        )
    if not last.whole or last.generation is None:
        return ("What the site shows now is put aside.",)
    found = await restore.preview(session, site, last.generation, "all")
    return tuple(restore.goes(found, "all"))
