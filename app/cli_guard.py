"""The commands `guard …`: the must-use plugin that slows down who guesses passwords on a site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from app.command_line import Options, command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.session import Session
    from backends.records import GuardReport, Site

_HOURS_MOST = 24 * 365


@click.group()
def guard() -> None:
    """A guard on the site itself: it counts failed logins, blocks, and writes down who did what."""


@command(guard)
@click.argument("site")
async def show(options: Options, *, site: str) -> int:
    """Whether it stands there as Modoseru left it, whom it blocks, and what it saw last.

    Exit status 1 where there is none, or where its bytes are not Modoseru's.
    """
    from app.operations import protection

    report = await _asked(options, site, protection.show)
    return 0 if report.installed and report.ours else 1


@command(guard)
@click.argument("site")
async def install(options: Options, *, site: str) -> int:
    """Puts it there, or puts the settings of the site's file into force."""
    from app.operations import protection

    await _asked(options, site, protection.install)
    return 0


@command(guard)
@click.argument("site")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def remove(options: Options, *, site: str, yes: bool) -> int:
    """Takes it away with all that it wrote down; the site's files are as they were before."""
    from app import prompting
    from app.operations import protection
    from app.operations.guard import Refused

    if not yes:
        question = f"Remove the guard of {site}, with its blocks and all that it wrote down?"
        if not prompting.interactive() or not await prompting.agreed(question):
            raise Refused("not_confirmed", f"the guard of {site} stays", "agree to it with --yes")
    await _asked(options, site, protection.remove)
    return 0


@command(guard)
@click.argument("site")
@click.argument("address")
@click.option("--hours", type=click.IntRange(1, _HOURS_MOST), default=24, show_default=True, help="For how long.")
async def block(options: Options, *, site: str, address: str, hours: int) -> int:
    """Refuses an address every login; pages stay open to it."""
    from app.operations import protection

    await _asked(options, site, lambda held, target: protection.block(held, target, address, hours * 3600))
    return 0


@command(guard)
@click.argument("site")
@click.argument("address")
async def unblock(options: Options, *, site: str, address: str) -> int:
    """Lets an address, or an account that show names, try again at once."""
    from app.operations import protection

    await _asked(options, site, lambda held, target: protection.unblock(held, target, address))
    return 0


async def _asked(options: Options, site: str, work: Callable[[Session, Site], Awaitable[GuardReport]]) -> GuardReport:
    from app import session, speaking_guard

    async with session.opened(options.config, read_only=options.read_only) as held:
        report = await work(held, held.fleet.site(site))
        speaking_guard.told(held.fleet, site, report, as_json=options.as_json)
    return report
