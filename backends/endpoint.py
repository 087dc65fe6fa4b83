"""Where a URL leads: host, port, the pin that replaces DNS, the trusted CAs, and why a connection failed.

Shared by `tls` and `web`, which must agree on all four. Opens no connection itself.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from backends.records import visible


class Endpoint(Struct, frozen=True, kw_only=True):
    """Host (as the certificate and the Host header name it, in ASCII) and port of a URL, and where to connect."""

    scheme: str
    host: str
    port: int
    pin: tuple[str, int] | None = None
    """Host and port that stand in for what DNS says."""

    @property
    def where(self) -> str:
        """Where a connection goes, as sentences name it."""
        return place(*(self.pin or (self.host, self.port)))


def endpoint(url: str, connect: str | None = None) -> Endpoint:
    """The endpoint of an http(s) URL. Raises ValueError with a sentence where it has none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"not a URL: {visible(str(error), 100)}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("not an http or https URL")
    pin = None
    if connect:
        name, _, number = connect.rpartition(":")
        if not name or not number.isdecimal() or not 0 < int(number) < 65536:
            raise ValueError(f"connect is not host:port: {visible(connect, 100)}")
        pin = name.strip("[]"), int(number)
    default = 443 if parts.scheme == "https" else 80
    return Endpoint(scheme=parts.scheme, host=ascii_host(host), port=port or default, pin=pin)


def ascii_host(host: str) -> str:
    """`host` as DNS, SNI and certificates spell it: lower case, IDN as A-labels. Raises ValueError with a sentence."""
    if ":" in host:
        return host.lower()
    try:
        return host.rstrip(".").lower().encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError(f"not a valid host name: {visible(host, 100)}") from None


def place(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def refusal(error: BaseException, where: str, timeout: float) -> str:
    """Why nothing could be fetched from `where`, in one sentence without a full stop."""
    if isinstance(error, TimeoutError):
        return f"no complete answer within {timeout:g} s from {where}"
    if isinstance(error, ssl.SSLError):
        reason = str(error.reason or error.args[-1]).replace("_", " ").lower()
        return f"TLS handshake failed at {where}: {visible(reason, 120)}"
    if isinstance(error, OSError) and error.errno is not None:
        known = {
            errno.ECONNREFUSED: "connection refused at",
            errno.ECONNRESET: "connection reset by",
            errno.EPIPE: "connection reset by",
            errno.ENETUNREACH: "no route to",
            errno.EHOSTUNREACH: "host unreachable at",
            errno.ETIMEDOUT: "no answer from",
        }
        if error.errno in known:
            return f"{known[error.errno]} {where}"
        if error.errno < 0 or type(error).__name__ == "gaierror":
            return f"no address is known for {where.rpartition(':')[0]}"
    if isinstance(error, EOFError | ConnectionError):
        return f"connection closed by {where}"
    return f"no answer from {where}: {visible(str(error), 120) or type(error).__name__}"


async def trust(ca_file: str | None) -> ssl.SSLContext:
    """A verifying context: the system's CAs and those of `ca_file`. Raises ValueError with a sentence.

    Loading the system's store takes tens of milliseconds, so it happens in a thread, once a file version.
    """
    return await asyncio.to_thread(_trust, ca_file)


def _trust(ca_file: str | None) -> ssl.SSLContext:
    if ca_file is None:
        return _context(None, 0)
    path = Path(ca_file).expanduser()
    try:
        return _context(str(path), path.stat().st_mtime_ns)
    except ssl.SSLError:
        raise ValueError(f"ca_file holds no certificate: {visible(ca_file, 200)}") from None
    except OSError as error:
        raise ValueError(f"ca_file cannot be read: {visible(ca_file, 200)}: {error.strerror}") from None


@functools.lru_cache(maxsize=32)
def _context(ca_file: str | None, _version: int) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
