"""The commands about the vault as a whole: `vault doctor|rebuild|prune`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from app.command_line import Options, command


@click.group()
def vault() -> None:
    """The off-site store: what it can really do, and what is in it."""


def identity_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--identity",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The age identity, or an SSH key, that opens the vault (or MODOSERU_IDENTITY).",
    )(function)


@command(vault)
async def doctor(options: Options) -> int:
    """Try on objects of no value what the store and these credentials can really do, and look for orphans.

    Exit status 1 where it falls short of what a vault is for, or where pieces are missing.
    """
    from app import session, speaking
    from app.operations import vault_catalogue

    async with session.opened(options.config, read_only=options.read_only) as held:
        found = await vault_catalogue.doctor(held)
        speaking.doctor(found, as_json=options.as_json)
    return 1 if found.problems or found.missing else 0


@command(vault)
@identity_option
async def rebuild(options: Options, identity: Path | None) -> int:
    """Read the catalogue back from the store: with the identity and the credentials alone a new machine knows all.

    Exit status 1 where an entry could not be read.
    """
    from app import session, speaking
    from app import vault as vaults
    from app.operations import vault_catalogue

    async with session.opened(options.config, read_only=options.read_only) as held:
        vaults.settings(held)
        found = await vault_catalogue.rebuild(held, vaults.wanted_identity(identity))
        speaking.rebuilt(found, as_json=options.as_json)
    return 1 if found.problems else 0


@command(vault)
@click.option("--yes", is_flag=True, help="Delete. Without it, what would go is shown and nothing is deleted.")
async def prune(options: Options, *, yes: bool) -> int:
    """Let go of generations past the policy whose locks have run out, and of pieces that nobody names.

    A generation goes only behind a newer one that was verified (read back whole), and never by count alone. Exit status
    1 where the store refused something.
    """
    from app import session, speaking
    from app.operations import vault_prune

    async with session.opened(options.config, read_only=options.read_only) as held:
        work, code = vault_prune.Prune(held, delete=yes), 0
        try:
            async for progress in work.run():
                speaking.event("vault", progress, options.progress)
        except asyncio.CancelledError:
            code = 130
        found = work.found
        speaking.pruned(found, as_json=options.as_json)
    return code or int(bool(found.problems))
