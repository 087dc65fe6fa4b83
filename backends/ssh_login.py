"""One try to connect and log in: the pinned host key, and what this machine has to show (agent, key file, password).

Trusts nothing that is not pinned and keeps no secret. When to try, and how often, is the pool's business.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.password_command import CommandFailed, first_line
from backends.records import SshSettings, visible
from backends.ssh_refusal import Refused, described, label, refusal_of

if TYPE_CHECKING:
    import asyncssh

_KEY_FILE_MOST = 64 * 1024
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
_HOST_KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


async def connect(
    site: SshSettings,
    pinned: asyncssh.SSHKey | None,
    tunnel: asyncssh.SSHClientConnection | None,
    credentials: dict[str, Any],
    *,
    timeout: float,
    keepalive: float,
    ended: Callable[[], None],
) -> asyncssh.SSHClientConnection:
    """One try to connect and log in, `timeout` seconds for all of it; `ended` is called when the connection is gone.

    No host key but `pinned` is trusted: without it every server is refused, and the refusal shows its key.
    """
    import asyncssh

    types = [name.decode() for name in pinned.sig_algorithms] if pinned else []
    seen: dict[str, Any] = {"reached": False, "shown": None}

    class Client(asyncssh.SSHClient):
        def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
            seen["reached"] = True

        def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
            seen["shown"] = described(key)
            return False

        def connection_lost(self, exc: Exception | None) -> None:
            ended()

    try:
        async with asyncio.timeout(timeout):
            return await asyncssh.connect(
                site.host,
                site.port,
                username=site.user,
                tunnel=tunnel,
                config=[],
                client_factory=Client,
                known_hosts=([pinned] if pinned else [], [], []),
                server_host_key_algs=list(dict.fromkeys([*types, *_HOST_KEY_TYPES])),
                encryption_algs=list(_CIPHERS),
                compression_algs=["none"],
                agent_forwarding=False,
                agent_path=None,
                gss_host=None,
                x509_trusted_certs=None,
                keepalive_interval=keepalive,
                login_timeout=0,
                **credentials,
            )
    except (asyncssh.Error, OSError, ValueError) as error:
        raise refusal_of(error, site, pinned, seen["shown"], reached=seen["reached"], timeout=timeout) from None


def pinned_key(site: SshSettings) -> asyncssh.SSHKey | None:
    """The host key in the site's settings, None where there is none. Raises Refused(host_key_unreadable)."""
    import asyncssh

    if not site.host_key:
        return None
    try:
        return asyncssh.import_public_key(site.host_key)
    except ValueError:
        message = f"{label(site)}: host_key is not a public key"
        raise Refused("host_key_unreadable", message, "it looks like: ssh-ed25519 AAAA… (modoseru site test)") from None


async def credentials_of(site: SshSettings) -> dict[str, Any]:
    """Options of asyncssh.connect that log in, and `agent` to be closed afterwards.

    Raises Refused: key_unreadable, password_command_failed, ssh_auth where there is nothing to log in with.
    """
    secret = await _password(site) if site.password_command else None
    options: dict[str, Any] = {"client_keys": None, "password": None}
    methods = []
    if site.key:
        key = await asyncio.to_thread(_key, site.key, secret)
        if isinstance(key, bytes):
            options |= await _agent_keys(site, only=key)
        else:
            options["client_keys"] = [key]
        methods.append("publickey")
    elif secret is None:
        options |= await _agent_keys(site)
        methods.append("publickey")
    if secret is not None:
        options["password"] = secret
        methods += ["password", "keyboard-interactive"]
    return {**options, "preferred_auth": methods}


async def _password(site: SshSettings) -> str:
    try:
        return await first_line(site.password_command)
    except CommandFailed as error:
        raise Refused(error.code, f"{label(site)}: {error.message}", error.hint) from None


def _key(name: str, passphrase: str | None) -> asyncssh.SSHKey | bytes:
    """The private key in the file `name`, or its public half where only the agent can open it."""
    import asyncssh

    shown = visible(name, 200)
    try:
        path = Path(name).expanduser()
        if not path.is_file():
            raise Refused("key_unreadable", f"key {shown}: no such file", "ssh.key in the site's file")
        with path.open("rb") as file:
            data = file.read(_KEY_FILE_MOST)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "no such home folder"
        raise Refused("key_unreadable", f"key {shown}: {reason}", "ssh.key in the site's file") from None
    try:
        return asyncssh.import_private_key(data, passphrase)
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        locked = isinstance(error, asyncssh.KeyEncryptionError) or "assphrase" in str(error) or b"ENCRYPTED" in data
        # OpenSSH's own encrypted format wants the package bcrypt; the agent opens it without.
        tried = passphrase is not None and "bcrypt" not in str(error)
    if not locked:
        raise Refused("key_unreadable", f"key {shown}: not a private key", "the file without .pub is the private one")
    try:
        return asyncssh.read_public_key(path.with_name(path.name + ".pub")).public_data
    except (OSError, ValueError):
        what = "the passphrase does not open it" if tried else "it is protected by a passphrase"
        raise Refused("key_unreadable", f"key {shown}: {what}", f"load it in the SSH agent: ssh-add {shown}") from None


async def _agent_keys(site: SshSettings, only: bytes | None = None) -> dict[str, Any]:
    """The SSH agent's keys (or the one with the public half `only`), and the agent itself, which must stay open."""
    import asyncssh

    path = os.environ.get("SSH_AUTH_SOCK", "")
    add = f"ssh-add {visible(site.key, 200)}" if site.key else "ssh-add, or name a key file as ssh.key"
    if not path:
        code = "key_unreadable" if only else "ssh_auth"
        what = f"key {visible(site.key or '')} has a passphrase and" if only else "no key is configured and"
        raise Refused(code, f"{label(site)}: {what} no SSH agent runs", add)
    try:
        async with asyncio.timeout(5):
            agent = await asyncssh.connect_agent(path)
            keys = [key for key in await agent.get_keys() if only in (None, key.public_data)]
    except (OSError, ValueError, asyncssh.Error) as error:
        reason = visible(str(error), 100)
        raise Refused("ssh_auth", f"{label(site)}: the SSH agent does not answer ({reason})", add) from None
    if not keys:
        agent.close()
        raise Refused("ssh_auth", f"{label(site)}: the SSH agent does not hold the key", add)
    return {"client_keys": keys, "agent": agent}
