"""What makes no sense in `[vault]`: addresses that cannot be, keys that seal nothing, a vault on a site's ground.

Functions of records but for one, which looks up where this machine's sites lie.
"""

from __future__ import annotations

import base64
import binascii
import os
import pwd
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from urllib.parse import urlsplit

from backends.records import Site, VaultSettings, visible
from backends.store import folder_of, is_name

_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_SHORTEST_RSA = 2048
"""age refuses shorter ones."""


def vault_problems(vault: VaultSettings) -> Iterator[str]:
    """One line each, without the file."""
    yield from _address_problems(vault)
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


# ---------------------------------------------------------------- recipients


def recipient_problem(text: str) -> str | None:
    """What is wrong with a public key that generations are to be sealed to, or None. A secret is never repeated."""
    if "AGE-SECRET-KEY-" in text.upper() or "PRIVATE KEY" in text:
        return "holds a secret key: take it out of here, keep it offline, and name its public key"
    if text.startswith("age1"):
        return None if _is_age_key(text) else "is not a whole age public key: compare it with what key show prints"
    kind, _, rest = text.strip().partition(" ")
    if kind not in {"ssh-ed25519", "ssh-rsa"}:
        return "is neither an age1… nor an ssh-ed25519 or ssh-rsa public key"
    return _ssh_problem(kind, _ssh_fields(rest.split()[0]) if rest.strip() else [])


def _ssh_problem(kind: str, fields: list[bytes]) -> str | None:
    whole = {"ssh-ed25519": 2, "ssh-rsa": 3}[kind]
    if len(fields) != whole or fields[0] != kind.encode() or (kind == "ssh-ed25519" and len(fields[1]) != 32):
        return f"is not a whole {kind} public key"
    if kind == "ssh-rsa" and int.from_bytes(fields[2]).bit_length() < _SHORTEST_RSA:
        return f"is an ssh-rsa key of less than {_SHORTEST_RSA} bits"
    return None


def _is_age_key(text: str) -> bool:
    """Bech32 (BIP 173) of 32 bytes with the prefix `age`: one letter more, less or other is seen."""
    data = [_BECH32.find(letter) for letter in text[len("age1") :]]
    if len(data) != 58 or -1 in data:
        return False
    prefix = [ord(letter) >> 5 for letter in "age"] + [0] + [ord(letter) & 31 for letter in "age"]
    padding = int(data[-7]) & 0b1111  # 32 bytes are 51 letters of five bits and one bit more
    return reduce(_polymod, prefix + data, 1) == 1 and padding == 0


def _polymod(value: int, symbol: int) -> int:
    top = value >> 25
    value = (value & 0x1FFFFFF) << 5 ^ symbol
    return reduce(lambda mixed, bit: mixed ^ (_GENERATOR[bit] if top >> bit & 1 else 0), range(5), value)


def _ssh_fields(text: str) -> list[bytes]:
    """The fields of a public key in the SSH wire format; none where it is not whole."""
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return []
    fields = []
    while blob:
        length = int.from_bytes(blob[:4])
        if len(blob) < 4 + length:
            return []
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields


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
