"""Sites come into the fleet and leave it; their hosts' keys are pinned; what each can do is tried."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from app import fleet as fleets
from app import session as sessions
from app.fleet_rules import site_problems
from app.fleet_validation import read_record
from app.operations.credentials import of_site
from backends.agent.client import Ended, Launched
from backends.records import Inspection, ModoseruError, Site

if TYPE_CHECKING:
    from app.session import Session


class Trial(Struct, frozen=True, kw_only=True):
    """One capability of a site, tried."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


PROBE_S = 30.0
"""Seconds within which work of a second and a half must have ended on a host that is not overloaded."""


class Tested(Struct, frozen=True, kw_only=True):
    site: str
    steps: tuple[Trial, ...]


class BadSite(ModoseruError):  # noqa: N818 - says what happened
    """What was given describes no site, or the fleet is read-only. Exit code 2. `problems`: one line each."""

    exit_code = 2

    def __init__(self, code: str, message: str, hint: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(code, message or "; ".join(problems), hint)
        self.problems = tuple(problems)


_FLAGS = {"name": "NAME", "ssh.key": "--key", "web.ca_file": "--ca-file"}


@contextlib.asynccontextmanager
async def opened(folder: Path, *, read_only: bool) -> AsyncIterator[Session]:
    async with sessions.opened(folder, read_only=read_only) as held:
        yield held


def described(given: Mapping[str, str | int | None]) -> Site:
    """A site from the flags of `site add`. Raises BadSite with everything that is wrong, each by its flag."""
    ssh = {name: given[name] for name in ("host", "port", "user", "jump") if given.get(name) is not None}
    if given.get("key_file"):
        ssh["key"] = str(Path(str(given["key_file"])).expanduser().absolute())
    server = {"root": given["root"], "php": given["php"]}
    web = {name: given[name] for name in ("connect", "ca_file") if given.get(name)}
    table = {"name": given["name"], "url": given["url"], "ssh": ssh, "server": server, "web": web}
    if given.get("owner"):
        table["owner"] = given["owner"]
    problems: list[str] = []
    made = read_record(Site, table, "", problems)
    problems += site_problems(made, "") if made is not None else []
    if made is None or problems:
        raise BadSite("bad_site", "", "nothing was written; correct what is named", [_flagged(one) for one in problems])
    return made


def _flagged(problem: str) -> str:
    """`: ssh.port: 70000 …` as `--port: 70000 …`."""
    path, _, what = problem.removeprefix(": ").partition(": ")
    return f"{_FLAGS.get(path, '--' + path.rpartition('.')[2])}: {what}"


def add(folder: Path, site: Site, host_key: str) -> Path:
    return fleets.write_site(folder, with_key(site, host_key))


def with_key(site: Site, host_key: str) -> Site:
    return msgspec.structs.replace(site, ssh=msgspec.structs.replace(site.ssh, host_key=host_key))


def pin(session: Session, site: Site, host_key: str) -> Path:
    """Rewrites the site's file with the key; what a person wrote beside the known keys is not kept by TOML writing."""
    _writable(session)
    return fleets.write_site(session.fleet.folder, with_key(site, host_key), overwrite=True)


async def remove(session: Session, name: str) -> None:
    _writable(session)
    fleets.remove_site(session.fleet.folder, name)
    await session.journal.forget(name)


def _writable(session: Session) -> None:
    if session.read_only:
        raise BadSite("read_only", "read-only: the fleet is not changed", "start without --read-only")


def listed(site: Site) -> dict[str, str | None]:
    return {
        "name": site.name,
        "url": site.url,
        "account": "{2}@{0}:{1}".format(*site.account),
        "root": site.server.root,
        "owner": site.owner,
    }


async def host_key(session: Session, site: Site) -> dict[str, str | None]:
    """What the host shows now beside what is pinned: `pinned`, `not pinned`, `CHANGED` or `unreachable: …`."""
    row: dict[str, str | None] = {"site": site.name, "host": f"{site.ssh.host}:{site.ssh.port}", "shown": None}
    row["pinned"] = site.ssh.host_key
    try:
        shown = await session.servers.fingerprint(site.ssh)
    except ModoseruError as error:
        return row | {"state": f"unreachable: {error.message}"}
    row["shown"] = shown.fingerprint
    if site.ssh.host_key is None:
        return row | {"state": "not pinned"}
    same = site.ssh.host_key.split()[:2] == shown.public.split()[:2]
    return row | {"state": "pinned" if same else "CHANGED"}


async def login(session: Session, site: Site) -> dict[str, str | None]:
    row: dict[str, str | None] = {"site": site.name, "account": listed(site)["account"]}
    try:
        await session.servers.run(site.ssh, ["true"], timeout=20)
    except ModoseruError as error:
        return row | {"state": error.code, "detail": f"{error.message} → {error.hint}"}
    return row | {"state": "ok", "detail": ""}


async def test(session: Session, site: Site) -> Tested:
    """Each capability in the order in which one needs the other; a failure ends what depends on it."""
    steps: list[Trial] = []

    async def attempt(name: str, work: Callable[[], Awaitable[str]]) -> bool:
        try:
            steps.append(Trial(name=name, ok=True, detail=await work()))
        except ModoseruError as error:
            steps.append(Trial(name=name, ok=False, detail=error.message, hint=error.hint))
        return steps[-1].ok

    async def log_in() -> str:
        await session.servers.run(site.ssh, ["true"], timeout=20)
        return f"{site.ssh.user}@{site.ssh.host}:{site.ssh.port}"

    inspection: list[Inspection] = []

    async def run_agent() -> str:
        found, _ = await session.agent(site).inspect()
        if found.empty and (given := await of_site(site)) is not None:
            found, _ = await session.agent(site).inspect(credentials=given)
        inspection.append(found)
        return f"PHP {found.php_cli} on the command line"

    if await attempt("login", log_in) and await attempt("agent", run_agent):
        steps.extend(_inside(inspection[0]))
        await attempt("detached work", lambda: _detached(session, site))
    await attempt("pages", lambda: _pages(session, site, inspection[0] if inspection else None))
    return Tested(site=site.name, steps=tuple(steps))


def _inside(found: Inspection) -> list[Trial]:
    if found.empty:
        return [_empty(found), *(Trial(name="host", ok=True, detail=sentence) for sentence in found.missing)]
    error = found.boot_error
    where = f" ({error.file}:{error.line})" if error and error.file else ""
    booted = (
        f"WordPress {found.wordpress}, {found.locale}" if found.booted else f"{error.message if error else '?'}{where}"
    )
    database = f"{found.database_engine} {found.database_version}, {found.tables} tables"
    return [
        Trial(
            name="WordPress",
            ok=found.booted,
            detail=booted,
            hint="" if found.booted else "correct [server] root and php",
        ),
        Trial(name="database", ok=found.database_error is None, detail=found.database_error or database),
        *(Trial(name="host", ok=True, detail=sentence) for sentence in found.missing),
    ]


def _empty(found: Inspection) -> Trial:
    """An account to which nothing was restored yet: what is there and what is lacking, in one line."""
    free = f", {found.disk_free / 1e9:,.1f} GB free" if found.disk_free is not None else ""
    held = f"{len(found.generations)} generations" if found.generations else "no generation"
    there = f"nothing is in {found.root} yet{free}, {held}"
    hint = "modoseru restore --tier vault brings a generation"
    if found.database_opens:
        database = f"{found.database_engine} {found.database_version}, {found.tables} tables"
        return Trial(name="empty account", ok=True, detail=f"{there}; {database} opens; {hint}")
    if found.database_opens is None:
        # As likely as not the root is mistyped: nothing else says that this is to be a new account.
        hint = "correct [server] root; of a new account tell [server.database]"
        return Trial(name="WordPress", ok=False, detail=f"{there}; lacking: [server.database]", hint=hint)
    hint = "correct [server.database] by the host's panel"
    refused = f"{there}; the database does not open: {found.database_refused}"
    return Trial(name="empty account", ok=False, detail=refused, hint=hint)


async def _pages(session: Session, site: Site, found: Inspection | None) -> str:
    """The front page, and through a one-time page the PHP that serves it."""
    health = await session.web.look(site.url, connect=site.web.connect, ca_file=site.web.ca_file)
    if found is not None and found.empty and health.http_status is not None:
        return f"the web server answers {health.http_status}; there is no page yet"
    if health.problem:
        raise ModoseruError("page", health.problem, "see whether the site is up")
    if found is None or session.read_only:
        return f"“{health.title}” answers {health.http_status}"
    page = await session.agent(site).page()
    told = await session.web.visit(site.url, page, connect=site.web.connect, ca_file=site.web.ca_file)
    if told is None:
        return f"“{health.title}” answers {health.http_status}; the web's PHP could not be asked"
    seen = f"“{health.title}” answers {health.http_status}"
    return f"{seen}; PHP {told.get('php')} on the web, {found.php_cli} on the command line"


async def _detached(session: Session, site: Site) -> str:
    """Begins work on one connection, closes it, and looks for the work's end over another one (DESIGN 3)."""
    if session.read_only:
        return "not tried: read-only"
    if site.server.attached:
        return "not tried: [server] attached = true"
    agent = session.agent(site)
    operation = ""
    async with contextlib.aclosing(agent.launch("probe", {})) as lines:
        async for line in lines:
            if isinstance(line, Launched):
                operation = line.operation
                break
    session.servers.drop(site.ssh)
    try:
        async with asyncio.timeout(PROBE_S), contextlib.aclosing(agent.follow(operation, 0)) as lines:
            async for line in lines:
                if isinstance(line, Ended) and line.state != "finished":
                    raise ModoseruError(
                        "no_detach", "the host ends work when its connection closes", "set [server] attached = true"
                    )
    except TimeoutError:
        hint = "try again when the host is less busy"
        raise ModoseruError("slow", f"the host did not end a second's work within {PROBE_S:.0f} s", hint) from None
    return "lives on after its connection closed"


def new_key(file: str) -> dict[str, str]:
    """An ed25519 key pair, 0600, never over an existing file. Returns its place and the line for authorized_keys."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = Path(file).expanduser()
    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(secret)
            out.flush()
            os.fsync(out.fileno())
        line = f"{public.decode()} modoseru-{dt.datetime.now(dt.UTC):%Y%m%d}"
        Path(f"{path}.pub").write_text(line + "\n", encoding="utf-8")
    except FileExistsError:
        raise BadSite("key_exists", f"{path} exists and is not overwritten", "name another file") from None
    except OSError as error:
        raise BadSite("key_unwritable", f"{path} cannot be written: {error.strerror}", "name another file") from error
    return {"key": str(path), "public": line}
