"""The commands of DESIGN 7: flags in, records out. Thin: what happens is in `operations`, how it reads in `speaking`.

Nothing heavy is imported here, so that `modoseru --version` and a shell's completion answer at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from app import cli_audit, cli_fleet, cli_guard, cli_renewals, cli_runtime, cli_updates, cli_vault
from app.cli_vault import identity_option
from app.command_line import Options, command, run

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from app.operations.intent import Intent
    from app.operations.move import Dns
    from app.operations.verify import Verified
    from app.session import Session
    from backends.journal_catalogue import Kept
    from backends.records import Credentials, Operation, Site


class _Main(click.Group):
    """Usage errors as one line; with --json as the error object too."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            super().main(*args, **kwargs)
        except click.exceptions.Abort:
            sys.exit(130)
        except click.ClickException as error:
            from app import printing
            from backends.records import ModoseruError

            usage = ModoseruError("usage", error.format_message(), "see modoseru --help")
            given = sys.argv[1:] if not args else list(args[0] or [])
            printing.error(usage, as_json="--json" in given)
            sys.exit(2)
        except click.exceptions.Exit as leave:
            sys.exit(leave.exit_code)


def _version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"modoseru {version('modoseru')}")
        context.exit()


@click.group(
    cls=_Main,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=False,
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.option("--config", metavar="DIR", help="The configuration's folder (or MODOSERU_CONFIG).")
@click.option("--read-only", is_flag=True, help="Refuse everything that changes a site.")
@click.pass_context
def main(context: click.Context, config: str | None, read_only: bool) -> None:
    """Modoseru (戻せる): can this site be restored? Without a command it opens the dashboard."""
    if context.invoked_subcommand is None:
        options = Options(as_json=False, config=config, read_only=read_only, progress="text")
        run(options, lambda: _dashboard(options))


async def _dashboard(options: Options) -> int:
    from app import opening

    _needs_terminal("every other command works without one: modoseru --help")
    return await opening.dashboard(options.config, read_only=options.read_only)


@main.command("demo")
@click.option("--sites", type=click.IntRange(1, 1000), default=24, help="How many sites the embedded fleet has.")
@click.option("--language", type=click.Choice(["ja", "en"]), help="The screen's language; absent: the locale's.")
@click.option("--read-only", is_flag=True, help="Refuse everything that changes a site.")
def demo(sites: int, language: str | None, read_only: bool) -> None:
    """The dashboard on an embedded fleet: real SSH, TLS and HTTP on loopback, nothing to install."""
    read_only = read_only or bool(click.get_current_context().find_root().params.get("read_only"))
    options = Options(as_json=False, config=None, read_only=read_only, progress="text")
    run(options, lambda: _demo(sites, language, read_only=read_only))


async def _demo(sites: int, language: str | None, *, read_only: bool) -> int:
    from app import opening

    _needs_terminal("open a terminal of at least 80 columns and start it there")
    return await opening.demo(sites=sites, language=language, read_only=read_only)


def _needs_terminal(hint: str) -> None:
    """Without one the screen would be drawn into a file, and no key could end it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        from backends.records import ModoseruError

        error = ModoseruError("no_terminal", "the dashboard needs a terminal", hint)
        error.exit_code = 2
        raise error


# ---------------------------------------------------------------- looking


@command(main)
@click.argument("sites", nargs=-1, metavar="[SITE]...")
async def status(options: Options, sites: tuple[str, ...]) -> int:
    """The last known state, at once, without a connection."""
    from app import speaking
    from app.operations import check as checks

    async with _session(options) as session:
        known = await checks.last_known(session, session.fleet.chosen(sites))
        feed = await session.holes.feed() if session.holes else None
        speaking.statuses(session.fleet, known, feed, as_json=options.as_json)
    return 0


@command(main)
@click.argument("sites", nargs=-1, metavar="[SITE]...")
async def check(options: Options, sites: tuple[str, ...]) -> int:
    """Look at sites now.

    Exit status: 0 ok, 1 warning, 2 critical, 3 unknown; 2 too where the configuration cannot be read.
    """
    from app import printing, speaking
    from app.operations import check as checks

    async with _session(options) as session:
        chosen = session.fleet.chosen(sites)
        found = {}
        async for one in checks.check(session, chosen):
            found[one.name] = one
            speaking.counted(len(found), len(chosen), one.name, options.progress)
        known = [found[site.name] for site in chosen]
        feed = await session.holes.feed() if session.holes else None
        speaking.statuses(session.fleet, known, feed, as_json=options.as_json)
        ends = await session.lifecycle()
        if ends.is_old(dt.datetime.now(dt.UTC).date()):
            hint = "update Modoseru, or let it reach endoflife.date"
            printing.aside(f"the ends of life of PHP and databases are those known on {ends.as_of}: {hint}")
    return speaking.exit_code(known)


@command(main)
@click.argument("site")
@click.option("--pin", metavar="GENERATION", help="Keep it, whatever the retention says.")
@click.option("--unpin", metavar="GENERATION", help="Let the retention decide again.")
@click.option("--mark", nargs=2, metavar="GENERATION clean|suspect", help="Your word outweighs the signs.")
@click.option("--let-go", metavar="GENERATION", help="You know why it is gone: ends the alarm.")
async def generations(
    options: Options,
    *,
    site: str,
    pin: str | None,
    unpin: str | None,
    mark: tuple[str, str] | None,
    let_go: str | None,
) -> int:
    """The generations of a site in both tiers, newest first; pin one, or mark it clean or suspect."""
    from app import speaking, vault
    from app.operations import check as checks
    from app.operations import marking

    async with _session(options) as session:
        target = session.fleet.site(site)
        await marking.mark(session, target, pin=pin, unpin=unpin, mark=mark, let_go=let_go)
        found = await checks.seen(session, target)
        both = [*found.generations, *await vault.remember(session, site)]
        both.sort(key=lambda one: (one.id, one.tier), reverse=True)
        speaking.generations(site, both, found.gone, as_json=options.as_json)
    return 0


@command(main)
@click.argument("site")
@click.argument("generation", required=False)
@click.option("--tier", type=click.Choice(["server", "vault"]), default="server", help="Where the generation lies.")
@identity_option
async def verify(options: Options, *, site: str, generation: str | None, tier: str, identity: Path | None) -> int:
    """Read every byte of a generation back against its seal; the newest unless one is named.

    On its server a damaged pack is rebuilt where its bytes are found, in the live files or in other packs; with the
    identity all that is damaged comes out of the vault. In the vault every object is asked for, and read where the
    identity is given; without it nobody knows that it can be read. Exit status 1 where it is not whole, where no seal
    of it is kept here, or where another generation was taken away.
    """
    from app import performing, speaking
    from app.operations import guard
    from app.operations import verify as verifies

    async with _session(options) as session:
        target = session.fleet.site(site)
        if tier == "vault":
            return await _verify_vault(session, target, generation, identity, options)
        guard.writable(session, target, "nothing is begun")
        plan = await verifies.plan(session, target, generation)
        result = verifies.judged(plan, await performing.watched(session, plan.intent, options))
        if result.outcome in {"damaged", "unreadable"}:
            result = await _healed(session, target, result, identity, options)
        speaking.verification(result, as_json=options.as_json)
    return 0 if result.outcome == "ok" else 1


async def _healed(session: Session, site: Site, found: Verified, identity: Path | None, options: Options) -> Verified:
    """The vault's bytes in the place of what is damaged on the server, read back again; `found` where it has none."""
    from app import performing, printing, vault
    from app.operations import vault_plan
    from app.operations import verify as verifies
    from backends.records import ModoseruError

    known = await session.journal.catalogue.entries(site.name)
    kept = next((one for one in known if one.entry.generation == found.generation), None)
    key = vault.identity(identity) if kept is not None else None
    if kept is None or key is None:
        return found
    try:
        await performing.done(session, vault_plan.bring(site, kept, key), options)
    except ModoseruError as error:
        printing.aside(f"{site.name}: it was not healed out of the vault: {error.message} → {error.hint}")
        return found
    plan = await verifies.plan(session, site, found.generation)
    return verifies.mended(found, verifies.judged(plan, await performing.watched(session, plan.intent, options)))


async def _verify_vault(
    session: Session, site: Site, generation: str | None, identity: Path | None, options: Options
) -> int:
    from app import speaking, vault
    from app.operations import vault_verify
    from app.operations.verify import Verified

    vault.settings(session)
    key = vault.identity(identity)
    kept = await vault_verify.chosen(session, site, generation)
    outcome = ""
    async for one in vault_verify.verify(session, site, kept, key):
        if isinstance(one, Verified):
            outcome = one.outcome
            speaking.verification(one, as_json=options.as_json)
        else:
            speaking.event(site.name, one, options.progress)
    return 0 if outcome == "ok" else 1


@command(main)
@click.argument("site")
@click.argument("generation", required=False)
@click.option("--full", is_flag=True, help="Read every file, also where its size and times are as they were.")
@click.option("--all", "everything", is_flag=True, help="Print every path, not only the first of each list.")
async def diff(options: Options, *, site: str, generation: str | None, full: bool, everything: bool) -> int:
    """What differs between the live site and a generation; absent, the newest complete one.

    Suspicious files first, then files by area, posts and pages by title, and tables. Works on a broken site too.
    """
    from app import speaking
    from app.operations import diff as compares
    from backends.records import Difference

    async with _session(options) as session:
        target = session.fleet.site(site)
        async for one in compares.diff(session, target, generation, full=full):
            if isinstance(one, Difference):
                speaking.difference(session.fleet, one, everything=everything, as_json=options.as_json)
            else:
                speaking.event(site, one, options.progress)
    return 0


@command(main)
@click.argument("site", required=False)
@click.option("--all", "ended", is_flag=True, help="Ended ones too.")
async def operations(options: Options, site: str | None, ended: bool) -> int:
    """Running and past operations, as this machine knows them."""
    from app import speaking

    async with _session(options) as session:
        if site is not None:
            session.fleet.site(site)
        known = await session.journal.operations(site, running=not (ended or site))
        nothing = f"Nothing was done on {site} yet." if site else "Nothing was done yet." if ended else "Nothing runs."
        speaking.operations(known, nothing=nothing, as_json=options.as_json)
    return 0


# ---------------------------------------------------------------- acting


@command(main)
@click.argument("sites", nargs=-1, required=True, metavar="SITE...")
@click.option(
    "--tier",
    type=click.Choice(["server", "vault", "both"]),
    default="server",
    help="server: make one there; vault: copy the newest clean one off-site, and make it first where it is late.",
)
@click.option(
    "--reason", type=click.Choice(["hand", "weekly"]), default="hand", help="Only weekly ones take a slot of the eight."
)
async def backup(options: Options, sites: tuple[str, ...], tier: str, reason: str) -> int:
    """Make a generation of each site, on its server, in the vault or in both."""
    from app import performing, vault
    from app.operations import backup as plans
    from app.operations import vault_plan

    async with _session(options) as session:
        if tier != "server":
            vault.recipients(session)
        chosen = session.fleet.chosen(sites)

        first = chosen if tier != "vault" else await vault_plan.late(session, chosen)
        made = await performing.performed(
            session, first, lambda one: plans.plan(session, one, reason), options, yes=True
        )
        # Where that failed, what is there from before is no stand-in: the copy would be older than it says.
        failed = {site.name for site, ended in zip(first, made, strict=True) if not performing.went_well(ended)}
        second = [one for one in chosen if tier != "server" and one.name not in failed]
        copied = await performing.performed(
            session, second, lambda one: vault_plan.copy(session, one), options, yes=True
        )
        return performing.concluded([*first, *second], [*made, *copied], options)


@command(main)
@click.argument("site")
@click.argument("generation", required=False)
@click.option("--to", metavar="OTHER", help="Another site of the fleet, which takes its address and keeps its keys.")
@click.option(
    "--only",
    multiple=True,
    metavar="files|database|post:ID|PATH",
    help="A part, one post with all that belongs to it, or paths below the document root.",
)
@click.option("--fresh", is_flag=True, help="Take nothing over from the live site: after an attack.")
@click.option("--tier", type=click.Choice(["server", "vault"]), default="server", help="Where the generation lies.")
@identity_option
@click.option("--dry-run", is_flag=True, help="Show what would be lost and what would fail; change nothing.")
@click.option(
    "--wait-dns", is_flag=True, help="Then wait until DNS leads to [web] connect and the certificate there is valid."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
async def restore(
    options: Options,
    *,
    site: str,
    generation: str | None,
    only: tuple[str, ...],
    to: str | None,
    fresh: bool,
    tier: str,
    identity: Path | None,
    dry_run: bool,
    wait_dns: bool,
    yes: bool,
) -> int:
    """Bring a site back to a generation; absent, to the newest complete one.

    One of the vault becomes one of the server's own again first, with --dry-run too; only what is lacking crosses.

    To a new server: its account in [ssh] and [server], its database in [server.database], its address in [web] connect.
    What of DNS has to change is told; mailboxes are in no backup.

    With --to, another site becomes what SITE was: its files and tables under that site's own address and table prefix,
    with that site's own wp-config.php. One post comes from the newest clean generation that holds it as published.
    """
    from app import performing, prompting, speaking
    from app.operations import move as moves
    from app.operations import post as posts
    from app.operations import restore as plans

    part = plans.part(only)
    if fresh and posts.id_of(part) is not None:
        raise plans.BadRequest(
            "bad_only",
            "--fresh is about a whole site or its files; one post never takes anything over",
            "leave --fresh out",
        )
    async with _session(options) as session:
        target = session.fleet.site(site)
        if tier == "vault":
            _, brought = await _brought(session, target, target, generation, identity, options)
            generation = brought.generation
        if to is not None:
            if part != "all":
                raise plans.BadRequest("bad_only", "--to brings a whole site", "leave --only out")
            return await _move(session, target, session.fleet.site(to), generation, options, dry_run=dry_run, yes=yes)
        if (post := posts.id_of(part)) is not None:
            if dry_run:
                seen = await posts.foreseen(session, target, post, generation)
                speaking.post(site, seen, as_json=options.as_json)
                return 1 if seen.blockers else 0
            return await performing.perform(
                session, [target], lambda one: posts.plan(session, one, post, generation), options, yes=yes
            )
        if dry_run:
            found = await plans.foreseen(session, target, generation, part, fresh=fresh)
            speaking.preview(
                site, found, part, fresh=fresh, as_json=options.as_json, dns=await moves.dns(session, target)
            )
            return 1 if found.blockers else 0

        async def planned(one: Site) -> Intent:
            def plan(given: Credentials | None) -> Awaitable[Intent]:
                return plans.plan(session, one, generation, part, fresh=fresh, given=given)

            asks = not yes and not options.as_json and prompting.interactive()
            return await (prompting.with_credentials(plan) if asks else plan(None))

        ended = await performing.performed(session, [target], planned, options, yes=yes)
        dns = await moves.dns(session, target) if performing.went_well(ended[0]) else None
        arrived = True
        if wait_dns and dns is not None:
            dns, arrived = await _waited(session, target, dns, options)
        code = performing.concluded([target], ended, options, dns)
    return code if arrived else 130


async def _waited(session: Session, site: Site, first: Dns, options: Options) -> tuple[Dns, bool]:
    """How DNS was last, and whether it is as it has to be; Ctrl-C ends the waiting, and undoes nothing."""
    from app import speaking
    from app.operations import move

    seen = first

    async def wait() -> None:
        nonlocal seen
        async with contextlib.aclosing(move.waiting(session, site, first)) as states:
            async for seen in states:
                speaking.waited(site.name, seen, options.progress)

    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(wait())
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return seen, False
    finally:
        task.cancel()
        loop.remove_signal_handler(signal.SIGINT)
    return seen, True


async def _brought(  # noqa: PLR0917 - what, where to, with which key
    session: Session, site: Site, there: Site, generation: str | None, identity: Path | None, options: Options
) -> tuple[Kept, Operation]:
    """A generation of the vault on a server again, and what brought it. Raises why it is not."""
    from app import performing, vault
    from app.operations import vault_plan, vault_verify

    vault.settings(session)
    key = vault.wanted_identity(identity)
    kept = await vault_verify.chosen(session, site, generation)
    return kept, await performing.done(session, vault_plan.bring(there, kept, key), options)


async def _move(
    session: Session, source: Any, target: Any, generation: str | None, options: Options, *, dry_run: bool, yes: bool
) -> int:
    from app import performing, speaking
    from app.operations import moving

    if dry_run:
        found = await moving.foreseen(session, source, target, generation)
        speaking.moved_preview(source, target, found, as_json=options.as_json)
        return 1 if found.blockers else 0
    return await performing.perform(
        session, [target], lambda one: moving.plan(session, source, one, generation), options, yes=yes
    )


@command(main)
@click.argument("site")
@click.argument("words", nargs=-1, required=True, metavar="WORDS...")
@click.option("--generation", metavar="GENERATION", help="Look in this one; absent, in all clean ones.")
async def posts(options: Options, *, site: str, words: tuple[str, ...], generation: str | None) -> int:
    """Find posts and pages of the generations by words of their titles, and what has become of them.

    Exit status 1 where none is found.
    """
    from app import speaking
    from app.operations import post as searches

    async with _session(options) as session:
        found = await searches.find(session, session.fleet.site(site), " ".join(words), generation)
        speaking.posts(site, found, as_json=options.as_json)
    return 0 if found else 1


@command(main)
@click.argument("site")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def undo(options: Options, site: str, yes: bool) -> int:
    """Take the last restore or update of a site back."""
    from app import performing
    from app.operations import undo as plans

    async with _session(options) as session:
        target = session.fleet.site(site)
        return await performing.perform(session, [target], lambda one: plans.plan(session, one), options, yes=yes)


@command(main)
@click.argument("site")
@click.argument("generation", required=False)
@click.option("--tier", type=click.Choice(["server", "vault"]), default="server", help="Where the generation lies.")
@identity_option
async def drill(options: Options, *, site: str, generation: str | None, tier: str, identity: Path | None) -> int:
    """Rehearse a restore beside the live site: start WordPress on it, find its content, measure the time, drop it.

    One of the vault becomes one of the server's own again first; only what the server lacks crosses. Where the policy
    names a standby it is rehearsed there, and nothing of it stays.
    """
    from app import performing
    from app.operations import drill as plans

    async with _session(options) as session:
        target = session.fleet.site(site)
        if tier == "server":
            return await performing.perform(
                session, [target], lambda one: plans.plan(session, one, generation), options, yes=True
            )
        there = plans.standby(session, target)
        kept, brought = await _brought(session, target, there, generation, identity, options)

        async def planned(_: Site) -> Intent:
            return await plans.plan_brought(session, target, kept.entry, brought.seconds or 0.0)

        ended = await performing.performed(session, [there], planned, options, yes=True)
        return performing.concluded([target], ended, options)


@command(main)
@click.argument("site")
@click.option("--allow", multiple=True, metavar="ADDRESS", help="An address or a network that it still answers.")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def isolate(options: Options, *, site: str, allow: tuple[str, ...], yes: bool) -> int:
    """Close a site to the world: 503 for everyone, before WordPress loads, until it is released.

    It is done when its front page, PHP files and static files were refused from outside; a restore keeps it closed.
    """
    from app import performing
    from app.operations import isolate as plans

    async with _session(options) as session:
        intent = plans.isolate(session, session.fleet.site(site), allow)
        return await performing.begin(session, intent, options, yes=yes)


@command(main)
@click.argument("site")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def release(options: Options, site: str, yes: bool) -> int:
    """Open an isolated site again: byte for byte as it was, or as it was restored meanwhile."""
    from app import performing
    from app.operations import isolate as plans

    async with _session(options) as session:
        return await performing.begin(session, plans.release(session.fleet.site(site)), options, yes=yes)


@command(main)
@click.argument("site")
@click.argument("operation")
async def follow(options: Options, site: str, operation: str) -> int:
    """Watch an operation that began earlier or elsewhere, from its first line to its end."""
    from app import performing

    async with _session(options) as session:
        return await performing.follow(session, session.fleet.site(site), operation, options)


@command(main)
@click.argument("site")
@click.argument("operation")
async def cancel(options: Options, site: str, operation: str) -> int:
    """Ask an operation to stop, and wait for its journal to say how it ended."""
    from app import performing

    async with _session(options) as session:
        return await performing.cancel(session, session.fleet.site(site), operation, options)


def _session(options: Options) -> Any:
    from app import session

    return session.opened(options.config, read_only=options.read_only)


main.add_command(cli_fleet.site)
main.add_command(cli_fleet.key)
main.add_command(cli_vault.vault)
main.add_command(cli_guard.guard)
main.add_command(cli_audit.audit)
for one in (cli_updates.updates, cli_updates.update, cli_updates.ledger):
    command(main)(one)
command(main)(cli_runtime.runtime)
command(main)(cli_renewals.calendar)
command(main)(cli_renewals.renew)


if __name__ == "__main__":
    main()
