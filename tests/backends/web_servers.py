"""TLS and HTTP servers on loopback that behave as told, with certificates from a private CA made on the spot."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)

# ---------------------------------------------------------------- certificates


@dataclass(frozen=True)
class Holder:
    """A certificate and its key, with the certificates above it that are sent along."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: tuple[x509.Certificate, ...] = ()


class Authority:
    """A root and an intermediate below it. `root_file` is what a client trusts."""

    def __init__(self, folder: Path, *, intermediate_ends: dt.timedelta = 700 * DAY) -> None:
        self._folder = folder
        self._now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        self.root = self._signed("Modoseru Test Root", None, self._now - 800 * DAY, self._now + 3000 * DAY, ca=True)
        start = min(self._now, self._now + intermediate_ends) - 600 * DAY
        self.intermediate = self._signed(
            "R1", self.root, start, self._now + intermediate_ends, ca=True, organisation="Modoseru Test"
        )
        self.root_file = str(folder / "root.pem")
        Path(self.root_file).write_bytes(self.root.certificate.public_bytes(Encoding.PEM))

    def leaf(
        self,
        *names: str,
        left: dt.timedelta = 89 * DAY,
        lifetime: dt.timedelta = 90 * DAY,
        subject: str | None = None,
        chain: bool = True,
        self_signed: bool = False,
        issuer: Holder | None = None,
    ) -> Holder:
        """A server certificate that ends `left` from now (negative: has ended)."""
        end = self._now + left
        above = None if self_signed else issuer or self.intermediate
        made = self._signed(subject or names[0], above, end - lifetime, end, names=names)
        return Holder(made.certificate, made.key, (above.certificate,) if above and chain else ())

    def context(self, holder: Holder) -> ssl.SSLContext:
        """What a server presents."""
        return self.context_of([c.public_bytes(Encoding.DER) for c in (holder.certificate, *holder.above)], holder.key)

    def context_of(self, chain: Sequence[bytes], key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
        """The same with certificates as bytes, so that they may be damaged."""
        file = self._folder / "served.pem"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        file.write_text(pem + "".join(ssl.DER_cert_to_PEM_cert(der) for der in chain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _signed(
        self,
        subject: str,
        issuer: Holder | None,
        start: dt.datetime,
        end: dt.datetime,
        *,
        names: Sequence[str] = (),
        ca: bool = False,
        organisation: str | None = None,
    ) -> Holder:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject)]
        if organisation:
            attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
        name = x509.Name(attributes)
        signer = issuer.key if issuer else key
        usage = x509.KeyUsage(
            digital_signature=not ca,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=ca,
            crl_sign=ca,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer.certificate.subject if issuer else name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return Holder(builder.sign(signer, hashes.SHA256()), key)


# ---------------------------------------------------------------- servers


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]


Handler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Served:
    """A running server: its port and the requests that it got."""

    port: int
    requests: list[Request] = field(default_factory=list)

    @property
    def connect(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[int]:
    """A TCP or TLS server; what still talks when it ends is cancelled."""
    talking: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
            pass  # the client has hung up, which is its right
        except asyncio.CancelledError:
            pass  # the server ends
        finally:
            talking.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(connected, host, port, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(talking):
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)


@asynccontextmanager
async def http(
    handler: Handler, *, context: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Served]:
    """One request a connection."""
    served = Served(0)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        request = Request(head[0].split(" ")[1], headers)
        served.requests.append(request)
        await handler(request, writer)
        await writer.drain()
        if context is None:
            writer.write_eof()
            await reader.read()  # until the client has hung up: an abort would throw away what it has not read yet
        else:
            writer.close()
            await writer.wait_closed()

    async with listening(talk, context=context, host=host, port=port) as number:
        served.port = number
        yield served


def answer(
    body: bytes | str,
    *,
    status: int = 200,
    content_type: str = "text/html; charset=UTF-8",
    headers: dict[str, str] | None = None,
) -> Handler:
    """Always the same answer."""
    data = body.encode() if isinstance(body, str) else body

    async def handle(_: Request, writer: asyncio.StreamWriter) -> None:
        fields = {"Content-Type": content_type, "Content-Length": str(len(data)), "Connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**fields, **(headers or {})}.items())
        writer.write(f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + data)

    return handle


def redirect(location: str, status: int = 302) -> Handler:
    return answer(b"", status=status, headers={"Location": location})


def by_path(pages: dict[str, Handler]) -> Handler:
    """The handler of the path; 404 for any other."""

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        await pages.get(request.path, answer("<p>none</p>", status=404))(request, writer)

    return handle


def bomb(mebibytes: int) -> Handler:
    """A gzip body that unpacks to `mebibytes` of spaces."""
    packed = gzip.compress(b" " * (mebibytes * 2**20))
    return answer(packed, headers={"Content-Encoding": "gzip"})


def endless(head: bytes, part: bytes) -> Handler:
    """`head`, then `part` for ever."""

    async def handle(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()

    return handle


def stalling(beginning: bytes) -> Handler:
    """`beginning`, then silence for ever: a byte a minute, as a client with less patience sees it."""

    async def handle(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        await writer.drain()
        await asyncio.Event().wait()

    return handle


def html(title: str = "てすと歯科", body: str = "<p>ようこそ</p>", charset: str = "utf-8") -> str:
    return (
        f'<!DOCTYPE html><html><head><meta charset="{charset}"><title>{title}</title></head><body>{body}</body></html>'
    )
