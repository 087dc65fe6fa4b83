"""The command `runtime`: which PHP a site could run under, whether it would, the switch; and its database server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from app.command_line import Options

if TYPE_CHECKING:
    from app.operations.intent import Intent
    from app.operations.runtime import Known
    from app.session import Session
    from backends.records import ModoseruError, Operation, Site
    from backends.runtimes import Trial


@click.argument("site")
@click.option("--php", metavar="PHP", help="Try the site under it: php8.3, 8.3 or a path on the server.")
@click.option(
    "--switch",
    "switches",
    is_flag=True,
    help="With --php: and switch, by [runtime.php] or by hand. With --database: move to [runtime.database].",
)
@click.option("--check", "checks", is_flag=True, help="Look after a switch by hand.")
@click.option("--database", "of_database", is_flag=True, help="The database server, and what another would refuse.")
@click.option("--yes", is_flag=True, help="Agree to the switch beforehand.")
async def runtime(
    options: Options, *, site: str, php: str | None, switches: bool, checks: bool, of_database: bool, yes: bool
) -> int:
    """Which PHPs the server has; with --php, what of the site would break under one, without switching.

    Exit status 1 where it is impossible, or where a switch was taken back; 3 where that failed too.

    With --database: what runs the site's database, until when it gets fixes, and which tables another server would
    refuse; where [runtime.database] names a new database, whether the site could move there too. Exit status 1 where
    something is in the way of that; without one, where MySQL or MariaDB would refuse a table, or where this version
    gets no fixes any more.

    With --database --switch: the database moves there (an operation of the kind `rehouse`). A generation is made,
    loaded and verified; what changed meanwhile follows while the site is closed for a moment; wp-config.php changes.
    Where a page is not as it was, it changes back and the new database is emptied. The old one stays as it is, and
    undo leads back to it.
    """
    from app import session, speaking_runtime
    from app.operations import guard
    from app.operations import runtime as runtimes

    if (switches and php is None and not of_database) or (checks + of_database + (php is not None) > 1):
        raise _usage()
    if switches and checks:
        raise _usage()
    if of_database and switches:
        return await _moved(options, site, yes=yes)
    if of_database:
        return await _database(options, site)
    async with session.opened(options.config, read_only=options.read_only) as held:
        target = held.fleet.site(site)
        if checks:
            guard.writable(held, target, "nothing is looked at: a look leaves a page on the site for a moment")
            switch, judged = await runtimes.checked(held, target)
            speaking_runtime.checked(site, switch, judged, as_json=options.as_json)
            return 0 if judged.keep else 1
        known = await runtimes.known(held, target)
        if php is None:
            speaking_runtime.told(site, known, None, as_json=options.as_json)
            return 0
        trial = await _tried(held, target, php, options)
        if not switches:
            speaking_runtime.told(site, known, trial, as_json=options.as_json)
            return 1 if trial.verdict == "impossible" else 0
        return await _switched(held, target, known, trial, options, yes=yes)


async def _database(options: Options, site: str) -> int:
    from app import session, speaking_database
    from app.operations import runtime_database

    async with session.opened(options.config, read_only=options.read_only) as held:
        found = await runtime_database.report(held, held.fleet.site(site))
        speaking_database.report(held.fleet, found, as_json=options.as_json)
    return int(not found.is_well)


async def _moved(options: Options, site: str, *, yes: bool) -> int:
    from app import performing, session
    from app.operations import rehouse

    async with session.opened(options.config, read_only=options.read_only) as held:

        async def planned(one: Site) -> Intent:
            return await rehouse.plan(held, one)

        return await performing.perform(held, [held.fleet.site(site)], planned, options, yes=yes)


def _usage() -> ModoseruError:
    from backends.records import ModoseruError

    error = ModoseruError(
        "usage",
        "--switch needs --php or --database, and --check and --database go with neither --php",
        "see modoseru runtime --help",
    )
    error.exit_code = 2
    return error


async def _tried(held: Session, site: Site, php: str, options: Options) -> Trial:
    from app import performing
    from app.operations import guard
    from app.operations import runtime as runtimes

    guard.writable(held, site, "nothing is begun")
    done = await performing.done(held, await runtimes.plan(held, site, php), options)
    return await runtimes.tried(held, site, done.operation)


async def _switched(held: Session, site: Site, known: Known, trial: Trial, options: Options, *, yes: bool) -> int:
    from app import performing, prompting, speaking_runtime
    from app.operations import guard, runtime_switch
    from app.operations import runtime as runtimes

    switch = runtimes.wanted(site, trial, known)
    if runtime_switch.commands(held, site) is None:
        steps = await runtimes.by_hand(held, site, switch)
        speaking_runtime.told(site.name, known, trial, steps=steps, as_json=options.as_json)
        if options.as_json or not prompting.interactive() or not await prompting.agreed("Is it done?"):
            return 0
        _, judged = await runtimes.checked(held, site)
        speaking_runtime.checked(site.name, switch, judged, as_json=False)
        return 0 if judged.keep else 1

    async def planned(_: Site) -> Intent:
        return runtimes.planned(site, trial, switch)

    (ended,) = await performing.performed(held, [site], planned, options, yes=yes)
    if isinstance(ended, Exception):
        raise ended
    operation: Operation = ended
    speaking_runtime.told(site.name, known, trial, switched=operation, as_json=options.as_json)
    return guard.exit_code(operation.outcome)
