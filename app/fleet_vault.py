"""What makes no sense in `[vault]`: addresses that cannot be, keys that seal nothing, a vault on a site's ground.

Functions of records but for one, which looks up where this machine's sites lie.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from backends.records import Site, VaultSettings, visible
from backends.store import folder_of, is_name


def vault_problems(vault: VaultSettings) -> Iterator[str]:
    """One line each, without the file."""
    yield from _address_problems(vault)
    if not vault.recipients:
        return
    from backends.sealing import recipient_problem

    known: dict[str, int] = {}
    for number, recipient in enumerate(vault.recipients, 1):
        at = f"vault.recipients[{number}]"
        wrong = recipient_problem(recipient)
        if wrong:
            yield f"{at}: {wrong}"
            continue
        first = known.setdefault(" ".join(recipient.split()[:2]), number)
        if first != number:
            yield f"{at}: is the same as recipients[{first}]"


def _address_problems(vault: VaultSettings) -> Iterator[str]:
    folder = folder_of(vault.url)
    if folder is not None:
        if ".." in folder.parts or folder == Path("/") or "\0" in str(folder):
            yield "vault.url: must name a folder below /, without .."
        for key in ("endpoint", "region", "profile", "prune_profile", "ca_file"):
            if getattr(vault, key) is not None:
                yield f"vault.{key}: is of no use for a folder; it belongs to an s3://… url"
        return
    parts = urlsplit(vault.url)
    prefix = parts.path.strip("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*[a-z0-9]", parts.netloc) or ".." in parts.netloc:
        yield "vault.url: the bucket's name must begin and end with a letter or digit, and have no two dots together"
    if parts.query or parts.fragment or (prefix and not is_name(prefix)):
        yield "vault.url: the prefix may have letters, digits and . _ - in parts between /, none with a dot first"
    if vault.endpoint is not None and ("?" in vault.endpoint or "#" in vault.endpoint):
        yield "vault.endpoint: an address without ? and # is expected, such as https://s3.host.example"
    if vault.region is not None and not re.fullmatch(r"[a-z0-9-]{2,40}", vault.region):
        yield f'vault.region: "{visible(vault.region, 60)}" is not a region; one such as ap-northeast-1 is expected'
    if vault.prune_profile is not None and vault.prune_profile == vault.profile:
        yield "vault.prune_profile: must not be profile: the key that writes must not be able to delete"


# ---------------------------------------------------------------- whose ground


def ground_problems(vault: VaultSettings, sites: Sequence[tuple[str, Site]]) -> Iterator[str]:
    """A `file://` vault in or above what a site of this machine owns: whoever takes the site takes the vault."""
    folder = folder_of(vault.url)
    if folder is None:
        return
    vault_folder = Path(os.path.realpath(folder))
    for name, site in sites:
        for what, place in _places_here(site):
            if vault_folder.is_relative_to(place) or place.is_relative_to(vault_folder):
                lies = "lies in" if vault_folder.is_relative_to(place) else "holds"
                yield f"vault.url: {lies} the {what} of {site.name} ({name}); a place out of its reach is expected"
                break


def _places_here(site: Site) -> Iterable[tuple[str, Path]]:
    """The folders of a site whose account is on this machine."""
    if not _is_here(site.ssh.host):
        return
    try:
        home = pwd.getpwnam(site.ssh.user).pw_dir
    except KeyError:
        home = ""
    state = f"{site.server.state.rstrip('/')}/{site.name}"
    for what, path in (("document root", site.server.root), ("state folder", state)):
        if path.startswith("/") or home:
            whole = path if path.startswith("/") else f"{home}/{path.removeprefix('~/')}"
            yield what, Path(os.path.realpath(whole))


def _is_here(host: str) -> bool:
    host = host.casefold().rstrip(".")
    own = socket.gethostname().casefold()
    return host in {"localhost", "::1", own, own.partition(".")[0]} or bool(re.fullmatch(r"127(\.\d+){3}", host))
