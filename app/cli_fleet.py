"""The commands about the fleet itself: `site add|list|test|remove` and `key new|show|accept|test`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from app.cli_vault import identity_option
from app.command_line import Options, command

if TYPE_CHECKING:
    from pathlib import Path

    from backends.records import Site


@click.group()
def site() -> None:
    """The sites of the fleet."""


@click.group()
def key() -> None:
    """Keys: the hosts' that are pinned, the operator's that logs in."""


@command(site, "list")
async def site_list(options: Options) -> int:
    """The sites of the fleet, as their files have them."""
    from app import enrolment, session, speaking

    async with session.opened(options.config, read_only=True) as held:
        rows = [enrolment.listed(one) for one in held.fleet.sites]
        speaking.table("sites", rows, ("name", "url", "account", "root", "owner"), as_json=options.as_json)
    return 0


@command(site, "add", begins=True)
@click.argument("name")
@click.option("--url", required=True, help="The front page: https://www.client.example/")
@click.option("--host", required=True, help="The SSH host.")
@click.option("--port", type=int, default=22, help="The SSH port: 22; Xserver 10022, Lolipop 2222.")
@click.option("--user", required=True, help="The account's name.")
@click.option("--key", "key_file", metavar="FILE", help="The private key; absent: the SSH agent.")
@click.option("--jump", metavar="[USER@]HOST[:PORT]", help="A host to connect through, with the same key.")
@click.option("--root", required=True, help="The document root: ~/public_html")
@click.option("--php", default="php", help="The PHP that the site uses: /usr/bin/php8.2")
@click.option("--owner", help="Who restores it.")
@click.option("--connect", metavar="HOST:PORT", help="Where the site answers, if not where DNS says.")
@click.option("--ca-file", metavar="FILE", help="A CA that is not public.")
@click.option(
    "--accept", metavar="SHA256:…", help="The fingerprint that the host must show; `yes` takes what it shows."
)
async def site_add(options: Options, **given: str | int | None) -> int:
    """Show the host's key, and write the site's file once the key is accepted. `site test` tries it."""
    from app import enrolment, speaking

    accept = given.pop("accept")
    made = enrolment.described(given)
    async with enrolment.opened(options.config, read_only=options.read_only) as held:
        shown = await held.servers.fingerprint(made.ssh)
        await _accept(shown.fingerprint, str(accept) if accept else None, options)
        path = enrolment.add(held.fleet.folder, made, shown.public)
        speaking.said({"site": made.name, "file": str(path), "host_key": shown.fingerprint}, as_json=options.as_json)
    return 0


@command(site, "test")
@click.argument("names", nargs=-1, metavar="[SITE]...")
async def site_test(options: Options, names: tuple[str, ...]) -> int:
    """Try each capability of a site: login, PHP, WordPress, database, pages, detached work. Says what is missing."""
    from app import enrolment, speaking

    async with enrolment.opened(options.config, read_only=options.read_only) as held:
        results = [await enrolment.test(held, one) for one in _sites(held.fleet.sites, held.fleet.site, names)]
    speaking.tests(results, as_json=options.as_json)
    return 0 if all(step.ok for result in results for step in result.steps) else 1


@command(site, "remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def site_remove(options: Options, name: str, yes: bool) -> int:
    """Remove a site's file and what is remembered of it here. Nothing on its server is touched."""
    from app import enrolment, prompting, speaking
    from app.operations.guard import Refused

    async with enrolment.opened(options.config, read_only=options.read_only) as held:
        held.fleet.site(name)
        if not (yes or (prompting.interactive() and await prompting.agreed(f"Remove {name} from the fleet?"))):
            raise Refused("not_confirmed", f"{name} was not removed", "agree to it with --yes")
        await enrolment.remove(held, name)
    speaking.said({"site": name, "removed": True}, as_json=options.as_json)
    return 0


@command(key, "show")
@click.argument("names", nargs=-1, metavar="[SITE]...")
async def key_show(options: Options, names: tuple[str, ...]) -> int:
    """The key that each host shows now, beside the one that is pinned."""
    from app import enrolment, speaking

    async with enrolment.opened(options.config, read_only=True) as held:
        rows = [await enrolment.host_key(held, one) for one in _sites(held.fleet.sites, held.fleet.site, names)]
    speaking.table("keys", rows, ("site", "host", "state", "shown"), as_json=options.as_json)
    return 0 if all(row["state"] == "pinned" for row in rows) else 1


@command(key, "accept")
@click.argument("name")
@click.option(
    "--accept", metavar="SHA256:…", help="The fingerprint that the host must show; `yes` takes what it shows."
)
async def key_accept(options: Options, name: str, accept: str | None) -> int:
    """Pin the key that a site's host shows now."""
    from app import enrolment, speaking

    async with enrolment.opened(options.config, read_only=options.read_only) as held:
        target = held.fleet.site(name)
        shown = await held.servers.fingerprint(target.ssh)
        await _accept(shown.fingerprint, accept, options)
        path = enrolment.pin(held, target, shown.public)
        speaking.said({"site": name, "file": str(path), "host_key": shown.fingerprint}, as_json=options.as_json)
    return 0


@command(key, "new")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--ssh", is_flag=True, help="An SSH key (ed25519) for the operators' logins instead.")
async def key_new(options: Options, file: str, *, ssh: bool) -> int:
    """Make the age identity in FILE that opens the vault, and print its recipient; refuses to overwrite."""
    from app import enrolment, printing, speaking, vault

    made = enrolment.new_key(file) if ssh else vault.new_identity(file)
    speaking.said(made, as_json=options.as_json)
    if not ssh:
        printing.aside(vault.HOW_TO_KEEP)
    return 0


@command(key, "test")
@click.argument("names", nargs=-1, metavar="[SITE]...")
@click.option("--ssh", is_flag=True, help="Log in to each account once instead, and say which of them refuse.")
@identity_option
async def key_test(options: Options, names: tuple[str, ...], *, ssh: bool, identity: Path | None) -> int:
    """Open the newest generation of each site that is in the vault, with the identity at hand."""
    from app import enrolment, speaking, vault
    from app.operations import vault_catalogue

    async with enrolment.opened(options.config, read_only=True) as held:
        sites = _sites(held.fleet.sites, held.fleet.site, names)
        if ssh:
            rows = [await enrolment.login(held, one) for one in sites]
            speaking.table("logins", rows, ("site", "account", "state", "detail"), as_json=options.as_json)
        else:
            vault.settings(held)
            key = vault.wanted_identity(identity)
            rows = [await vault_catalogue.opening(held, one.name, key) for one in sites]
            speaking.table("vault", rows, ("site", "generation", "state", "detail"), as_json=options.as_json)
    return 0 if all(row["state"] == "ok" for row in rows) else 1


def _sites(every: tuple[Site, ...], named: object, names: tuple[str, ...]) -> list[Site]:
    return [named(name) for name in names] if names and callable(named) else list(every)


async def _accept(shown: str, accept: str | None, options: Options) -> None:
    """A key is pinned only by somebody who compared its fingerprint."""
    from app import printing, prompting
    from app.operations.guard import Refused

    if accept in ("yes", shown):
        return
    if accept is None and not options.as_json and prompting.interactive():
        printing.aside(f"The host shows the key {shown}. Compare it with the one in the host's panel.")
        if await prompting.agreed("Is it the same?"):
            return
    wanted = f", not {accept}" if accept else ""
    raise Refused(
        "host_key_not_accepted", f"the host shows the key {shown}{wanted}", f"compare it, then --accept {shown}"
    )
