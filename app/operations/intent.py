"""What an operator is about to do, said so that a person can agree to it. No I/O."""

from __future__ import annotations

import unicodedata
from typing import Any

from msgspec import Struct

from app.operations.runtime_switch import Switch
from app.operations.transfer import Bring
from app.operations.vault_bring import FromVault
from app.operations.vault_copy import Copy
from backends.records import Credentials, Site, Update


class Proof(Struct, frozen=True, kw_only=True):
    """What a drill of a generation that came out of the vault proves."""

    site: str
    generation: str
    brought_s: float
    """What it took to bring it."""
    on: str | None = None
    """The standby, where it is rehearsed on another server than the site's."""


class Intent(Struct, frozen=True, kw_only=True):
    """One operation on one site, planned and not yet begun. `guard.start` is the only way to begin it."""

    kind: str
    """`backup`, `restore`, `undo`, `update`, `drill`, `verify`, `runtime`; `vault`: a copy into it; `bring`: one out of
    it; `switch`: of the PHP that runs the site; `rehouse`: its database moves."""
    site: Site
    verb: str = ""
    """The agent's verb that launches it; none where this process does it."""
    request: dict[str, Any] = {}
    """The verb's own fields."""
    here: Copy | FromVault | Switch | None = None
    """What this process does itself instead of launching a verb."""
    question: str = ""
    """What the prompt asks, one sentence."""
    goes: tuple[str, ...] = ()
    """What will be overwritten or lost, one sentence each."""
    stays: tuple[str, ...] = ()
    """What is kept, and how to take it back."""
    danger: bool = False
    """It overwrites something: it wants a confirmation, and read-only mode refuses it."""
    typed: str | None = None
    """The word that must be typed (NFKC-normalised) before it starts: the site is not broken, or many are meant."""
    generation: str | None = None
    makes_generation: bool = False
    """It is told, when it starts, by which checksums core is to be judged."""
    bring: Bring | None = None
    """Another site's generation that has to be on this site's server first."""
    updates: tuple[Update, ...] = ()
    """What an update is to apply, for the ledger."""
    proof: Proof | None = None
    """Of a drill that began in the vault."""
    credentials: Credentials | None = None
    """What opens the site's database where its wp-config.php is lost; it joins the request when that is sent."""


def same_word(wanted: str, typed: str) -> bool:
    """A name typed with an input method on may be full-width: compared as NFKC."""
    return unicodedata.normalize("NFKC", typed).strip().casefold() == unicodedata.normalize("NFKC", wanted).casefold()
