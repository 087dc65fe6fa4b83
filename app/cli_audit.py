"""The commands `audit …`: who did what from where on this machine, and whether the record is whole."""

from __future__ import annotations

import re

import click

from app.command_line import Options, command

_HEAD = re.compile(r"(\d{1,15}):([0-9a-f]{64})\Z")


def _noted(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, str] | None:
    if value is None:
        return None
    found = _HEAD.fullmatch(value)
    if found is None:
        raise click.BadParameter("it is no NUMBER:HASH: copy it from what modoseru audit verify printed")
    return int(found[1]), found[2]


@click.group()
def audit() -> None:
    """Who did what from where: only ever added to, each entry bound to the one before it."""


@command(audit)
@click.argument("site", required=False)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many of the newest.")
async def show(options: Options, *, site: str | None, limit: int) -> int:
    """The newest entries, newest first."""
    from app import session, speaking_audit

    async with session.opened(options.config, read_only=options.read_only) as held:
        speaking_audit.entries(await held.journal.audit_log.entries(limit, site), as_json=options.as_json)
    return 0


@command(audit)
@click.option("--head", metavar="NUMBER:HASH", callback=_noted, help="What an earlier verify printed, kept elsewhere.")
async def verify(options: Options, *, head: tuple[int, str] | None) -> int:
    """Reads all of it; exit status 1 where an entry was changed, taken out or put in.

    Whoever owns this machine can forge all of it anew: note the head that is printed elsewhere, and give it with
    --head.
    """
    from app import session, speaking_audit

    async with session.opened(options.config, read_only=options.read_only) as held:
        found = await held.journal.audit_log.check(head)
        speaking_audit.checked(found, as_json=options.as_json)
    return 1 if found.why else 0
