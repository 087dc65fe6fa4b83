"""The commands about the vault as a whole: `vault doctor|rebuild|prune`."""

from __future__ import annotations

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
@click.option("--yes", is_flag=True, help="Delete it; without this it is only said what would go.")
async def prune(options: Options, yes: bool) -> int:
    """Let go of generations that the promise no longer covers, and of pieces that nobody names.

    With the credentials of prune_profile alone. Exit status 1 where the store refused something.
    """
    from app import session, speaking
    from app.operations import guard, vault_prune

    async with session.opened(options.config, read_only=options.read_only) as held:
        if yes:
            guard.writable_fleet(held, "nothing is deleted")
        refused = False
        async for one in vault_prune.prune(held, agreed=yes):
            if isinstance(one, vault_prune.Pruned):
                speaking.pruned(one, as_json=options.as_json)
                refused = bool(one.problems)
            else:
                speaking.event("vault", one, options.progress)
    return 1 if refused else 0
