"""The commands about updates: `updates`, `update`, `ledger`; app.cli registers them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from app.command_line import Options
    from app.operations.month import Plan
    from app.session import Session


@click.argument("sites", nargs=-1, metavar="[SITE]...")
@click.option("--approve", multiple=True, metavar="SLUG", help="Let the pending version be applied by update --all.")
@click.option("--approve-all", is_flag=True, help="All that is pending and not held.")
@click.option("--skip", multiple=True, metavar="SLUG", help="Leave the pending version out; the next one is asked for.")
@click.option("--hold", multiple=True, metavar="SLUG", help="Keep every version from being applied.")
@click.option("--let-go", multiple=True, metavar="SLUG", help="Take back what was decided, or why it is held.")
@click.option("--why", default="", metavar="TEXT", help="Is kept with it, and told to others.")
@click.option("--by-item", is_flag=True, help="What is pending over the fleet, item by item.")
async def updates(  # noqa: PLR0917 - as the help lists them
    options: Options,
    sites: tuple[str, ...],
    approve: tuple[str, ...],
    approve_all: bool,
    skip: tuple[str, ...],
    hold: tuple[str, ...],
    let_go: tuple[str, ...],
    why: str,
    by_item: bool,
) -> int:
    """Pending updates, asked of wordpress.org now by the sites' own update code, and what is decided about them.

    Those that close a known hole come first; holes that no update closes stand behind them, and plugins that
    wordpress.org has closed or that were not updated for two years. The feed of known holes is asked for too, at most
    every half hour, and the directory of plugins, at most weekly for each.

    A decision is about the sites that are named, or about the fleet. One that broke a page when it was tried is held,
    with the reason, until it is let go. Exit status 1 where a site could not ask.
    """
    from app import session, speaking_updates
    from app.operations import deciding, guard, holding
    from app.operations import update as plans
    from backends.journal_updates import Verdict

    async with session.opened(options.config, read_only=options.read_only) as held:
        chosen, fleet = held.fleet.chosen(sites), not sites
        for site in chosen if approve or approve_all or skip or hold or let_go else ():
            guard.writable(held, site, "nothing is decided")
        for slug in let_go:
            await deciding.let_go(held, chosen, slug, fleet=fleet)
        for slug in hold:
            for site in chosen:
                await holding.hold(held, site, slug, why or "held by an operator")
        feed = await held.holes.refresh() if held.holes else None
        pending = await plans.pending_of(held, chosen)
        for slug in (*approve, *((None,) if approve_all else ())):
            await deciding.decide(held, pending, slug, Verdict.APPROVED, fleet=fleet, note=why)
        for slug in skip:
            await deciding.decide(held, pending, slug, Verdict.SKIPPED, fleet=fleet, note=why)
        decided, left = await deciding.known(held), await plans.neglected(held, chosen)
        speaking_updates.updates(
            pending, deciding.items(pending, decided), feed, left, by_item=by_item, as_json=options.as_json
        )
    return 1 if any(one.problem for one in pending) else 0


@click.argument("sites", nargs=-1, metavar="[SITE]...")
@click.option("--all", "every", is_flag=True, help="What is approved, over the fleet, in waves.")
@click.option("--only", multiple=True, metavar="SLUG", help="Only these items.")
@click.option("--back", metavar="SLUG", help="Put one plugin or theme back to what it was before its last update.")
@click.option("--dry-run", is_flag=True, help="With --all: show the waves and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def update(  # noqa: PLR0917 - as the help lists them
    options: Options,
    sites: tuple[str, ...],
    every: bool,
    only: tuple[str, ...],
    back: str | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Update what is pending, one item at a time; an item that breaks a page is put back alone.

    With --back its files come from the generation that the update made first, and it is held; the database stays.

    With --all what is approved (modoseru updates --approve) goes to the canaries, then to a tenth of the sites, then to
    the rest, within update_window and outside of freeze; an update that fails on more sites than wave_tolerated is
    halted everywhere. Begun again it goes on where it was. Exit status 1 where something is left or was taken back.
    """
    from app import performing, session
    from app.operations import back as returns
    from app.operations import holding
    from app.operations import update as plans
    from app.operations.restore import BadRequest

    if every == bool(sites) or (back is not None and every) or (dry_run and not every):
        raise BadRequest("bad_update", "name sites, or --all; --back wants sites, --dry-run --all", "")
    async with session.opened(options.config, read_only=options.read_only) as held:
        if every:
            return await _month(held, only, options, dry_run=dry_run, yes=yes)
        chosen = held.fleet.chosen(sites)
        if back is not None:
            ended = await performing.performed(
                held, chosen, lambda one: returns.plan(held, one, back), options, yes=yes
            )
            for site, one in zip(chosen, ended, strict=True):
                # One that nobody sees any more goes on there.
                if performing.went_well(one) or getattr(one, "code", "") in {"left_running", "lost_sight"}:
                    await holding.hold(held, site, back, "put back by hand")
            return performing.concluded(chosen, ended, options)
        return await performing.perform(held, chosen, lambda one: plans.plan(held, one, only or None), options, yes=yes)


async def _month(held: Session, only: tuple[str, ...], options: Options, *, dry_run: bool, yes: bool) -> int:
    from app import performing, printing, speaking_updates
    from app.operations import month
    from app.operations.guard import Refused

    sites = [site for site in held.fleet.sites if not site.read_only]
    made = await month.plan(held, sites, only)
    if dry_run:
        speaking_updates.month_plan(made, as_json=options.as_json)
        return 1 if made.unknown else 0
    if not made.left:
        if options.as_json:
            speaking_updates.month(month.Result(stopped=month.Stopped.THROUGH, progress=made.progress), as_json=True)
        else:
            speaking_updates.month_plan(made, as_json=False)
        return 1 if made.unknown else 0
    if held.read_only:
        raise Refused("read_only", "this program is read-only: nothing is updated", "start without --read-only")
    if not yes and not await _agreed(made, options):
        raise Refused("not_confirmed", "nothing was updated", "agree to it with --yes")
    stop = asyncio.Event()
    with performing.watching(held, options, stop.set) as watch:
        result = await month.run(held, made, month.Seat(watch, printing.aside), stop)
    speaking_updates.month(result, as_json=options.as_json)
    return month.exit_code(result, made)


async def _agreed(made: Plan, options: Options) -> bool:
    """Many sites are meant: their number is typed."""
    from app import prompting, speaking_updates

    if options.as_json or not prompting.interactive():
        return False
    speaking_updates.month_plan(made, as_json=False)
    number = str(len(made.left))
    return await prompting.line(f"Type {number} to update {number} sites:") == number


@click.argument("sites", nargs=-1, metavar="[SITE]...")
@click.option("--month", metavar="YYYY-MM", help="Absent: this one, in the fleet's time zone.")
async def ledger(options: Options, sites: tuple[str, ...], month: str | None) -> int:
    """What became of a month's updates, site by site: applied, put back and why, who approved, seconds away."""
    from app import session, speaking_updates
    from app.operations import ledger as book

    async with session.opened(options.config, read_only=options.read_only) as held:
        names = {site.name for site in held.fleet.chosen(sites)}
        begins, ends = book.month(month, held.fleet.settings.fleet.timezone)
        found = [one for one in await held.journal.updates.entries(begins, ends) if one.site in names or not sites]
        speaking_updates.ledger(f"{begins:%Y-%m}", found, as_json=options.as_json)
    return 0
