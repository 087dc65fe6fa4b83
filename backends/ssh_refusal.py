"""What went wrong with a connection, in the operator's words: the one exception of `backends.ssh` and its hints.

The hints name the causes of FACTS 14. Tries nothing, repairs nothing.
"""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

from msgspec import Struct

from backends.records import ModoseruError, SshSettings, visible

if TYPE_CHECKING:
    import asyncssh

_REACH_HINT = (
    "likely causes: SSH is off in the host's panel, the host admits only domestic addresses, "
    "or another port (Xserver 10022, Lolipop 2222)"
)
_CHANGED_HINT = (
    "nothing was sent; ask the host whether the server was moved or renewed; only then accept the new key "
    "(modoseru site test)"
)
_NUMBER = re.compile(r"\[Errno (\d+)\]")


class HostKey(Struct, frozen=True, kw_only=True):
    """The key that a server shows. `public` is what `host_key` in a site's file holds."""

    algorithm: str
    fingerprint: str
    public: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.fingerprint}"


class Refused(ModoseruError):  # noqa: N818  says what happened, as callers read it
    """A server that could not be reached, trusted, logged in to, or that broke off.

    Codes: ssh_unreachable, ssh_timeout, ssh_auth, ssh_host_key_unknown, ssh_host_key_changed, ssh_lost, ssh_channel,
    ssh_busy, ssh_protocol, ssh_word, ssh_closed, answer_too_long, key_unreadable, host_key_unreadable, jump_failed,
    password_command_failed. `shown` is the host's key where the host key is the trouble; `cause` the code of the
    jump host's own failure under jump_failed; `reached` is False where not even a TCP connection came about.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        shown: HostKey | None = None,
        cause: str | None = None,
        reached: bool = True,
    ) -> None:
        super().__init__(code, message, hint)
        self.shown, self.cause, self.reached = shown, cause, reached

    def again(self, addition: str = "") -> Refused:
        """A copy to raise in another task, `addition` behind its message."""
        return Refused(
            self.code, self.message + addition, self.hint, shown=self.shown, cause=self.cause, reached=self.reached
        )


def label(site: SshSettings) -> str:
    """`user@host:port`: how messages name an account."""
    host = f"[{site.host}]" if ":" in site.host else site.host
    return visible(f"{site.user}@{host}:{site.port}", 200)


def described(key: asyncssh.SSHKey) -> HostKey:
    """`key` as operators compare it and as a site's file pins it."""
    text = key.export_public_key().decode("ascii", "replace").split()
    return HostKey(algorithm=text[0], fingerprint=key.get_fingerprint(), public=" ".join(text[:2]))


def _reason(error: Exception) -> str:
    """Of a failed connect the system's own words: asyncio's name the call and its arguments."""
    number = getattr(error, "errno", None)
    if isinstance(error, OSError) and number is None and (found := _NUMBER.search(str(error))):
        number = int(found[1])  # several addresses were tried: asyncio joins their errors into one text
    if isinstance(error, socket.gaierror):
        return "no address is known for this name"
    if isinstance(error, OSError) and number:
        return os.strerror(number).lower()
    return visible(str(error), 200) or type(error).__name__


def refusal_of(
    error: Exception,
    site: SshSettings,
    pinned: asyncssh.SSHKey | None,
    shown: HostKey | None,
    *,
    reached: bool,
    timeout: float,
) -> Refused:
    """What a failed try means, in the operator's words."""
    import asyncssh

    reason = _reason(error)
    hint = _REACH_HINT
    if isinstance(error, asyncssh.HostKeyNotVerifiable) and shown:
        if pinned:
            code, what = "ssh_host_key_changed", f"the host key has changed: pinned {described(pinned)}, shown {shown}"
            hint = _CHANGED_HINT
        else:
            code, what = "ssh_host_key_unknown", f"unknown host key {shown}"
            hint = "compare it with the fingerprint that the host publishes, then accept it (modoseru site test)"
    elif isinstance(error, asyncssh.PermissionDenied):
        who = f"the key {site.key}" if site.key else "the password" if site.password_command else "the agent's keys"
        code, what = "ssh_auth", f"the server refused {visible(who)}"
        hint = "is the public key registered with this account, is the user name right, is SSH enabled in the panel?"
    elif isinstance(error, asyncssh.DisconnectError) and "too many authentication" in reason.lower():
        code, what = "ssh_auth", f"the server refused ({reason})"
        hint = "the agent holds too many keys: name the right one as ssh.key in the site's file"
    elif isinstance(error, TimeoutError):
        code, what = "ssh_timeout", f"{'SSH did not answer' if reached else 'no connection'} within {timeout:g} s"
    elif isinstance(error, asyncssh.ChannelOpenError):
        code, what = "ssh_unreachable", f"the jump host cannot reach it ({reason})"
    elif not reached:
        code, what = "ssh_unreachable", f"cannot connect ({reason})"
    elif isinstance(error, asyncssh.ConnectionLost | ConnectionResetError):
        code, what = "ssh_unreachable", "the server hung up before the login"
    else:
        code, what = "ssh_protocol", f"no SSH connection ({reason})"
        hint = f"is this the SSH port? {_REACH_HINT}"
    return Refused(code, f"{label(site)}: {what}", hint, shown=shown, reached=reached)
