"""What a server's PHP binaries are, and what a site is under another one. All of it is the server's word."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

BinaryPath = Annotated[str, Meta(pattern=r"^/[A-Za-z0-9_./+-]{1,300}\Z")]
"""It becomes a word of a command on the operator's machine."""
Version = Annotated[str, Meta(pattern=r"^[0-9]{1,2}\.[0-9]{1,3}(\.[!-~]{0,40})?\Z")]


class Binary(Struct, frozen=True, kw_only=True):
    """`problem`: why it could not be asked, or None. `cli`: it runs the agent."""

    path: BinaryPath
    version: Version | None = None
    sapi: str | None = None
    extensions: Annotated[tuple[str, ...], Meta(max_length=200)] = ()
    ini: str | None = None
    cli: bool = False
    problem: str | None = None


class Binaries(Struct, frozen=True, kw_only=True):
    binaries: Annotated[tuple[Binary, ...], Meta(max_length=40)]


class Reason(Struct, frozen=True, kw_only=True):
    """One thing that another PHP would change. `severity`: `error` forbids the switch, `warning` makes it risky."""

    kind: str
    """`extension`, `requires`, `parse`, `fatal`, `page`, `deprecated`, `warning` or `not_judged`."""
    slug: str
    """Of the plugin or theme; `wordpress` is core and what belongs to none, `php` the binary itself."""
    file: str | None = None
    """Below the document root; absolute elsewhere."""
    line: int | None = None
    message: str
    count: int = 1
    severity: Annotated[str, Meta(pattern=r"^(error|warning)\Z")]


class Trial(Struct, frozen=True, kw_only=True):
    """A site under another PHP, without switching. `verdict`: `safe`, `risky` or `impossible`."""

    verdict: Annotated[str, Meta(pattern=r"^(safe|risky|impossible)\Z")]
    from_: Version = field(name="from")
    """The version that the site's PHP of the command line is."""
    to: Version
    path: BinaryPath
    now: BinaryPath
    """The binary of `from_`."""
    missing: tuple[str, ...] = ()
    """Extensions that the PHP of now has and the other one lacks."""
    files: int = 0
    pages: int = 0
    generation: str | None = None
    """On whose staged copy the pages were rendered; None where none was."""
    reasons: Annotated[tuple[Reason, ...], Meta(max_length=200)] = ()
    more: int = 0
    """Reasons that are not told."""
