"""The commands `calendar` and `renew`; app.cli registers them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from app.command_line import Options


@click.argument("sites", nargs=-1, metavar="[SITE]...")
@click.option("--days", type=click.IntRange(0, 3650), default=90, show_default=True, help="How far ahead.")
@click.option("--ics", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write iCalendar there.")
async def calendar(options: Options, sites: tuple[str, ...], days: int, ics: Path | None) -> int:
    """What ends soon: certificates, domains and contracts, the first to be done first; nobody is asked.

    Each is due on its last day, or on the business day before where that is a weekend or a holiday in Japan. What is
    past and was never confirmed stays.
    """
    from app import session, speaking_renewals
    from app.operations import renewal

    async with session.opened(options.config, read_only=options.read_only) as held:
        found = await renewal.calendar(held, held.fleet.chosen(sites), days)
        if ics is not None:
            await asyncio.to_thread(renewal.export, found, held.fleet.settings.fleet.name, ics)
        speaking_renewals.calendar(found, days, as_json=options.as_json)
    return 0


@click.argument("site")
@click.argument("what")
@click.option("--state", type=click.Choice(["open", "ordered", "paid", "confirmed"]), help="How it stands.")
@click.option("--evidence", default="", metavar="TEXT", help="What that rests on; confirmed wants it.")
async def renew(options: Options, *, site: str, what: str, state: str | None, evidence: str) -> int:
    """How a renewal stands: WHAT is certificate, domain, or a contract of [[renewals]].

    With --state it is noted, with who said so and when. Without, the registry or the certificate is asked again; a
    later date than before confirms the renewal.
    """
    from app import session, speaking_renewals
    from app.operations import renewal

    if evidence and state is None:
        raise renewal.BadRenewal("no_state", "--evidence stands with --state", "see modoseru renew --help")
    async with session.opened(options.config, read_only=options.read_only) as held:
        target = held.fleet.site(site)
        if state is not None:
            one, confirmed = await renewal.say(held, target, what, state, evidence), None
        else:
            one, confirmed = await renewal.look_again(held, target, what)
        speaking_renewals.renewal(one, confirmed, as_json=options.as_json)
    return 0
