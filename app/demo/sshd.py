"""The demo's SSH server: one listener in this process, accounts told apart by user name. Runs what a shell there would.

Imports asyncssh (a quarter of a second), so it is itself imported when the servers go up, in a thread.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import json
import re
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
from msgspec import Struct

from app.demo.operation import Request
from app.demo.site import DemoSite
from app.demo.twin import Twin
from backends.records import ModoseruError

REQUEST_LIMIT = 16 * 1024 * 1024
_LOADER = re.compile(rb"\$request = '([A-Za-z0-9+/=]*)';")
_AGENT = re.compile(r"(?:[A-Za-z0-9_.-]+/)+agent-[0-9a-f]{16}\.php")
_OPTIONS = ["-d", "disable_functions=", "-d", "open_basedir=", "-d", "memory_limit=256M", "-d", "display_errors=stderr"]
_MARKER = re.compile(r"[0-9a-f]{8,64}")


class Account(Struct, frozen=True):
    """What one user name reaches: a home folder with one site or several. `open`: the demo's key is let in."""

    user: str
    home: Path
    sites: tuple[DemoSite, ...]
    open: bool = True

    @property
    def programs(self) -> set[str]:
        """The PHPs that the account has."""
        return {"php"} | {site.character.php_word for site in self.sites}


class _Door(asyncssh.SSHServer):
    """Lets the demo's key in, and no password."""

    def __init__(self, sshd: Sshd) -> None:
        self._sshd = sshd

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._sshd.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sshd.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        account = self._sshd.accounts.get(username)
        return account is not None and account.open and key == self._sshd.client_key


class Sshd:
    """The listener and its connections. Ending a connection ends no operation."""

    def __init__(self, accounts: Mapping[str, Account], twin: Twin, host_key: bytes, client_key: bytes) -> None:
        self.accounts, self._twin = accounts, twin
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._host_key = asyncssh.import_private_key(host_key)
        self.client_key = asyncssh.import_public_key(client_key)
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._busy: set[asyncio.Task[None]] = set()

    async def start(self, sock: socket.socket) -> None:
        self._acceptor = await asyncssh.listen(
            sock=sock,
            server_factory=lambda: _Door(self),
            server_host_keys=[self._host_key],
            process_factory=self._process,
            encoding=None,
            compression_algs=None,
            allow_scp=False,
            x11_forwarding=False,
            agent_forwarding=False,
            gss_host=None,
            server_version="ModoseruDemo",
        )

    async def close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        for connection in list(self.connections):
            connection.abort()
            await connection.wait_closed()

    async def _process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """One command of one account."""
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            account = self.accounts[str(process.get_extra_info("username"))]
            status = await self._until_gone(process, account)
        except (OSError, asyncssh.Error) as error:
            process.stderr.write(f"demo: {error}\n".encode())
            status = 255
        finally:
            self._busy.discard(task)
        with contextlib.suppress(OSError):
            process.exit(status)

    async def _until_gone(self, process: asyncssh.SSHServerProcess[bytes], account: Account) -> int:
        """Runs the command; stops speaking, and nothing else, when the client is gone."""
        work = asyncio.create_task(self._command(process, account))
        gone = asyncio.create_task(process.wait_closed())
        try:
            await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else 1
        finally:
            for one in (work, gone):
                one.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _command(self, process: asyncssh.SSHServerProcess[bytes], account: Account) -> int:
        words = (process.command or "").split()
        if not words:
            process.stderr.write(b"The demo has no login shell.\n")
            return 1
        if words[0] == "true":
            return 0
        if words[0] not in account.programs:
            kind = "No such file or directory" if "/" in words[0] else "command not found"
            process.stderr.write(f"sh: 1: {words[0]}: {kind}\n".encode())
            return 127
        body = await _everything(process)
        rest = words[1:]
        rest = rest[len(_OPTIONS) :] if rest[: len(_OPTIONS)] == _OPTIONS else rest
        if not rest:
            return await self._load(process, account, body)
        return await self._speak(process, account, rest, body)

    # ------------------------------------------------------------ php < loader

    async def _load(self, process: asyncssh.SSHServerProcess[bytes], account: Account, script: bytes) -> int:
        """The loader: compares the installed agent's bytes, and writes them where they came along."""
        found = _LOADER.search(script)
        try:
            request = json.loads(base64.b64decode(found.group(1), validate=True)) if found else {}
            target = account.home / _below(request["state"]) / request["name"]
            fits = target.parent.name and _AGENT.fullmatch(f"x/{request['name']}") is not None
            marker, wanted, body = str(request["marker"]), str(request["sha256"]), request.get("body")
        except (binascii.Error, ValueError, KeyError, TypeError):
            process.stderr.write(b"PHP Parse error: this is not the loader\n")
            return 255
        if body is not None and fits:
            await self._twin.runtime.run(_install, target, base64.b64decode(body))
        installed = fits and await self._twin.runtime.run(_has, target, wanted)
        await _write(process, marker, {"reply": {"installed": bool(installed)}})
        return 0

    # ------------------------------------------------------------ php agent-HASH.php VERB

    async def _speak(
        self, process: asyncssh.SSHServerProcess[bytes], account: Account, words: list[str], body: bytes
    ) -> int:
        agent, verb = words[0], words[1] if len(words) > 1 else ""
        if not _AGENT.fullmatch(agent) or ".." in agent or not (account.home / agent).is_file():
            process.stdout.write(f"Could not open input file: {agent}\n".encode())
            return 1
        try:
            line, _, behind = body.partition(b"\n")
            fields = json.loads(line)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            process.stderr.write(b"the request is not a JSON object\n")
            return 2
        marker = str(fields.get("marker", ""))

        async def say(line: dict[str, Any], behind: bytes = b"") -> None:
            await _write(process, marker, line, behind)

        try:
            request = _request(fields, behind)
            reply = await self._twin.serve(_site_of(account, request), verb, request, say)
        except ModoseruError as error:
            await say({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
            return 1
        await say({"reply": reply})
        return 0


def _request(fields: dict[str, Any], behind: bytes) -> Request:
    marker = fields.get("marker")
    if not isinstance(marker, str) or not _MARKER.fullmatch(marker):
        raise ModoseruError("bad_request", "the request has no marker", "update Modoseru")
    try:
        return msgspec.convert({**fields, "fields": fields, "behind": behind}, Request)
    except msgspec.ValidationError as error:
        raise ModoseruError("bad_request", f"the request does not fit: {error}", "update Modoseru") from None


def _site_of(account: Account, request: Request) -> DemoSite:
    """The site at the request's root; the account's only one where its root was deleted or renamed."""
    root = account.home / _below(request.root)
    for site in account.sites:
        if site.root == root:
            return site
    raise ModoseruError("no_root", f"there is no folder {root}", "correct [server] root")


def _below(path: str) -> str:
    """A path of a request below the home folder; what leads out of it becomes a name that does not exist."""
    inner = path.removeprefix("~/").strip("/")
    return inner if ".." not in inner.split("/") and not path.startswith("/") else "nowhere"


def _has(target: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(target.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


def _install(target: Path, body: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}")  # sites of one account may install at once
    part.write_bytes(body)
    part.chmod(0o600)
    part.replace(target)


async def _everything(process: asyncssh.SSHServerProcess[bytes]) -> bytes:
    parts, size = [], 0
    while part := await process.stdin.read(65536):
        parts.append(part)
        size += len(part)
        if size > REQUEST_LIMIT:
            break
    return b"".join(parts)


async def _write(
    process: asyncssh.SSHServerProcess[bytes], marker: str, line: dict[str, Any], behind: bytes = b""
) -> None:
    process.stdout.write(b"\n" + marker.encode() + b" " + msgspec.json.encode(line) + b"\n" + behind)
    await process.stdout.drain()
