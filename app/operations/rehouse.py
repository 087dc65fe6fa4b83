"""Plans the move of a site's database to the new one of `[runtime.database]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.operations import look, runtime_switch
from app.operations.backup import retention
from app.operations.credentials import of_target
from app.operations.intent import Intent
from backends.records import ModoseruError, Site

if TYPE_CHECKING:
    from app.session import Session


async def plan(session: Session, site: Site) -> Intent:
    """Raises ModoseruError: no_target, what is in the way of the move (as a TargetReport has it), already_failing, and
    as the agent and the `password_command` do."""
    target = await of_target(site)
    if target is None:
        raise ModoseruError(
            "no_target",
            f"{site.name} has no database to move to",
            f"name a new, empty one in [runtime.database] of sites.d/{site.name}.toml",
        )
    report = await session.agent(site).database(target)
    if report.target is None:
        raise ModoseruError("no_target", f"{target.name} was not looked at", "update Modoseru")
    for one in report.target.blockers:
        raise ModoseruError(
            one.code, f"{site.name} cannot move to {target.name} ({target.host}): {one.message}", one.hint
        )
    expected = await runtime_switch.baseline(session, site)
    runs = f"{report.target.engine} {report.target.version}"
    return Intent(
        kind="rehouse",
        site=site,
        verb="rehouse",
        makes_generation=True,
        credentials=target,
        request=await retention(session, site)
        | {"front": expected.title, "expect": look.travelling(expected, title=True)},
        question=f"Move the database of {site.name} to {target.name} on {target.host} ({runs})?",
        goes=(
            "The site is closed for a moment, while what changed since the dump follows.",
            *(f"{old} becomes {new}." for old, new in report.target.mapped.items()),
        ),
        stays=(
            "A generation is made first; the old database stays as it is.",
            "Its pages are compared before and after; where one differs it moves back by itself.",
        ),
        danger=True,
    )
