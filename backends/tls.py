"""The certificate that a site serves: what it says, and whether a client accepts it.

A first handshake without verification reads leaf and chain whatever their state; a second one verifies and gives the
verdict. Leaf and chain stand apart: mixing them gives expiry dates that flip (FACTS 5, FIELD 11). No revocation check:
OCSP is being retired.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import ipaddress
import socket
import ssl
import warnings
from collections.abc import Awaitable, Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from backends.endpoint import Endpoint, endpoint, place, refusal, trust
from backends.records import Certificate, State, visible

if TYPE_CHECKING:
    from cryptography import x509

NAMES_SHOWN = 100
CHAIN_READ = 10
_DER = 2
"""`_ssl.ENCODING_DER`"""
_URGENCY = [State.OK, State.UNKNOWN, State.WARNING, State.CRITICAL]

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to addresses; raises OSError where there is none."""


def lifetime_state(not_before: dt.datetime, not_after: dt.datetime, now: dt.datetime) -> State:
    """Urgency of a certificate's end, as a share of its lifetime (FACTS 5).

    Lifetimes fall from 200 days to 47 by 2029, so fixed days would cry wolf or come too late: warning under 25 % left,
    critical under 10 % or 72 h, the hours capped at half the lifetime for certificates of a few days.
    """
    lifetime, left = not_after - not_before, not_after - now
    if left <= max(lifetime * 0.10, min(dt.timedelta(hours=72), lifetime / 2)):
        return State.CRITICAL
    return State.WARNING if left < lifetime * 0.25 else State.OK


async def probe(
    url: str,
    *,
    connect: str | None = None,
    ca_file: str | None = None,
    timeout: float = 10.0,
    now: dt.datetime | None = None,
    resolve: Resolve | None = None,
) -> Certificate:
    """The certificate served for `url`.

    With `connect` (`host:port`) that one address is asked; otherwise one address of each family, because a renewal
    that reached only one of them is seen by half of the visitors. The worst answer is returned, and a problem that
    only one family has names it. `timeout` bounds each address as a whole. Never raises for what the network does.
    """
    now = now or dt.datetime.now(dt.UTC)
    try:
        target = endpoint(url, connect)
        if target.scheme == "http":
            return _unknown("no certificate: the site's URL is http://", now)
        context = await trust(ca_file)
    except ValueError as error:
        return _unknown(str(error), now)
    await asyncio.to_thread(_x509)
    if target.pin is not None:
        return await _probe_address(target, target.pin, context, timeout=timeout, now=now)
    try:
        async with asyncio.timeout(timeout):
            addresses = await (resolve or _resolve)(target.host, target.port)
    except OSError as error:
        return _unknown(f"unreachable: {refusal(error, target.where, timeout)}", now)
    firsts = [next((a for a in addresses if (":" in a) == six), None) for six in (False, True)]
    asked = [address for address in firsts if address is not None]
    if not asked:
        return _unknown(f"unreachable: no address is known for {target.host}", now)
    found = await asyncio.gather(
        *(_probe_address(target, (a, target.port), context, timeout=timeout, now=now) for a in asked)
    )
    return _worst(dict(zip(asked, found, strict=True)))


async def _resolve(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    return [str(info[4][0]) for info in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _unknown(problem: str, now: dt.datetime) -> Certificate:
    return Certificate(state=State.UNKNOWN, problem=problem, checked_at=now)


def _worst(found: dict[str, Certificate]) -> Certificate:
    """One answer for both families: the worst one; what only one of them shows is named by its address."""
    certificates = list(found.values())
    if len(certificates) == 1 or all(c.problem == certificates[0].problem for c in certificates):
        return max(certificates, key=lambda c: _URGENCY.index(c.state))
    routed = [c for c in certificates if not (c.problem or "").startswith(_NO_ROUTE)]
    if len(routed) == 1:  # this machine lacks one of the families; that says nothing about the site
        return routed[0]
    seen = [c for c in certificates if c.not_after is not None]
    worst = max(seen or certificates, key=lambda c: _URGENCY.index(c.state))
    problems = [
        f"over IPv{6 if ':' in address else 4} ({visible(address, 60)}): {certificate.problem}"
        for address, certificate in found.items()
        if certificate.problem is not None
    ]
    state = max((worst.state, State.WARNING), key=_URGENCY.index) if seen else worst.state
    return replace(worst, state=state, problem="; ".join(problems))


_NO_ROUTE = "unreachable: no route to"


async def _probe_address(
    target: Endpoint, at: tuple[str, int], context: ssl.SSLContext, *, timeout: float, now: dt.datetime
) -> Certificate:
    where = place(*at)
    try:
        async with asyncio.timeout(timeout):
            chain = await _handshake(at, target.host, _reading_context())
            refused = None
            try:
                await _handshake(at, target.host, context)
            except ssl.SSLCertVerificationError as error:
                refused = error
    except (OSError, EOFError) as error:  # ssl.SSLError and TimeoutError are OSErrors
        if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
            error = OSError(errno.ENETUNREACH, "")
        return _unknown(f"unreachable: {refusal(error, where, timeout)}", now)
    if not chain:
        return _unknown(f"no certificate was sent by {where}", now)
    return _judge(chain, target.host, refused, now)


def _reading_context() -> ssl.SSLContext:
    """Accepts whatever is served: expired, foreign, weakly signed. Only for reading certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


async def _handshake(at: tuple[str, int], name: str, context: ssl.SSLContext) -> list[bytes]:
    """Shakes hands and hangs up; returns the certificates that were sent, leaf first, as DER."""
    _, writer = await asyncio.open_connection(*at, ssl=context, server_hostname=name)
    try:
        session: Any = writer.get_extra_info("ssl_object")
        if hasattr(session, "get_unverified_chain"):  # public from Python 3.13 on
            return list(session.get_unverified_chain())[:CHAIN_READ]
        return [certificate.public_bytes(_DER) for certificate in session._sslobj.get_unverified_chain() or ()][
            :CHAIN_READ
        ]
    finally:
        writer.transport.abort()


# ---------------------------------------------------------------- what the certificates say


class _Facts(Struct, frozen=True, kw_only=True):
    """The fields of one certificate that count. Everything in it was chosen by whoever made it."""

    subject: bytes
    issuer: bytes
    issuer_shown: str
    not_before: dt.datetime
    not_after: dt.datetime
    names: tuple[str, ...] = ()
    """All names, for comparing; not bounded, not made visible."""

    @property
    def self_signed(self) -> bool:
        return self.subject == self.issuer


def _x509() -> ModuleType:
    """cryptography takes a tenth of a second to import: at the first probe, in a thread."""
    from cryptography import x509

    return x509


def _facts(der: bytes) -> _Facts:
    """Raises ValueError where the certificate cannot be parsed."""
    x509 = _x509()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # negative serials and the like: OpenSSL took it, its fields are what counts
        try:
            certificate = x509.load_der_x509_certificate(der)
            return _Facts(
                subject=certificate.subject.public_bytes(),
                issuer=certificate.issuer.public_bytes(),
                issuer_shown=_shown(certificate.issuer),
                not_before=certificate.not_valid_before_utc,
                not_after=certificate.not_valid_after_utc,
                names=_names(certificate),
            )
        except ValueError:
            raise
        except Exception as error:  # its parser may raise types of its own for hostile bytes
            raise ValueError(str(error)) from error


def _shown(name: x509.Name) -> str:
    """`R11 (Let's Encrypt)`: common name and organisation, or the whole name where it has neither."""
    oids = _x509().oid.NameOID

    def first(oid: x509.ObjectIdentifier) -> str:
        return next((str(attribute.value) for attribute in name.get_attributes_for_oid(oid)), "")

    common, organisation = first(oids.COMMON_NAME), first(oids.ORGANIZATION_NAME)
    if common and organisation and organisation not in common:
        return visible(f"{visible(common, 100)} ({visible(organisation, 100)})", 200)
    return visible(common or organisation or name.rfc4514_string()[:1000], 200)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    x509 = _x509()
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    names = extension.get_values_for_type(x509.DNSName)
    return (*names, *(str(address) for address in extension.get_values_for_type(x509.IPAddress)))


def _covers(names: Sequence[str], host: str) -> bool:
    """Whether one of `names` stands for `host` (RFC 6125: `*` is one whole leftmost label)."""
    try:
        return str(ipaddress.ip_address(host)) in names
    except ValueError:
        parent = host.partition(".")[2]
        return any(name.lower().rstrip(".") in {host, f"*.{parent}"} for name in names)


def _judge(
    chain: Sequence[bytes], host: str, refused: ssl.SSLCertVerificationError | None, now: dt.datetime
) -> Certificate:
    try:
        leaf = _facts(chain[0])
    except ValueError as error:
        problem = f"unreadable certificate: {visible(str(error), 120)}"
        state = State.UNKNOWN if refused is None else State.CRITICAL
        return Certificate(state=state, problem=problem, checked_at=now)
    above = _path(leaf, chain[1:])
    chain_ends = _ends(above)
    problems = _problems(leaf, above, host, refused, now)
    state = State.CRITICAL if problems else lifetime_state(leaf.not_before, leaf.not_after, now)
    if chain_ends is not None and chain_ends <= now and refused is None:
        # This client found another way to a root; an older one may not.
        problems.append(f"expired intermediate: {chain_ends:%Y-%m-%d}")
        state = max((state, State.WARNING), key=_URGENCY.index)
    return Certificate(
        state=state,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        days_left=(leaf.not_after - now) // dt.timedelta(days=1),
        issuer=leaf.issuer_shown,
        names=tuple(visible(name, 253) for name in leaf.names[:NAMES_SHOWN]),
        chain_not_after=chain_ends,
        problem="; ".join(problems) or None,
        checked_at=now,
    )


def _ends(path: Sequence[_Facts]) -> dt.datetime | None:
    """When the first of the intermediates expires."""
    return min((facts.not_after for facts in path), default=None)


def _path(leaf: _Facts, sent: Sequence[bytes]) -> list[_Facts]:
    """The intermediates from the leaf upwards, by name, without the root; other certificates that were sent do not
    count (an expired cross-signed one beside a good path is no problem)."""
    others: list[_Facts] = []
    for der in sent:
        try:
            others.append(_facts(der))
        except ValueError:
            continue
    path: list[_Facts] = []
    current = leaf
    while not current.self_signed:
        above = next((facts for facts in others if facts.subject == current.issuer and facts not in path), None)
        if above is None or above.self_signed:
            break
        path.append(above)
        current = above
    return path


_EXPIRED, _NOT_YET_VALID, _WRONG_NAME = {10}, {9}, {62, 64}
_NO_ISSUER = {2, 18, 19, 20, 21, 27}
"""X509_V_ERR codes of OpenSSL's x509_vfy.h: no issuer, self-signed (leaf, in chain), leaf unverifiable, untrusted."""


def _problems(
    leaf: _Facts,
    above: list[_Facts],
    host: str,
    refused: ssl.SSLCertVerificationError | None,
    now: dt.datetime,
) -> list[str]:
    """Everything that keeps visitors out. OpenSSL stops at its first finding; dates and name are looked at besides."""
    code = refused.verify_code if refused is not None else 0
    problems: list[str] = []
    if leaf.not_after <= now:
        problems.append(f"expired: {leaf.not_after:%Y-%m-%d}")
    elif leaf.not_before > now:
        problems.append(f"not yet valid: from {leaf.not_before:%Y-%m-%d}")
    elif code in _EXPIRED and above:
        problems.append(f"expired intermediate: {_ends(above):%Y-%m-%d}")
    if code in _WRONG_NAME or not _covers(leaf.names, host):
        shown = ", ".join(visible(name, 80) for name in leaf.names[:3]) or "no name"
        more = " …" if len(leaf.names) > 3 else ""
        problems.append(f"wrong name: it is for {shown}{more}, not for {host}")
    if code in _NO_ISSUER:
        if leaf.self_signed:
            problems.append("self-signed")
        elif code in {2, 20, 21} and not above:
            problems.append(f"incomplete chain: its issuer {leaf.issuer_shown} is neither sent nor trusted")
        else:
            top = (above[-1] if above else leaf).issuer_shown
            problems.append(f"unknown issuer: {top}")
    if refused is not None and not problems:
        problems.append(f"refused: {visible(refused.verify_message or str(refused), 120)}")
    return problems
