"""A private certificate authority: a root, an intermediate, and leaves that are right or wrong in a chosen way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.lab.layout import write_atomically

KINDS = ("fine", "soon", "expired", "wrong-name", "incomplete")
"""`fine` 90 days, `soon` 5 days left, `expired` two days ago, `wrong-name`, `incomplete` (no intermediate sent)."""


@dataclass(frozen=True)
class Certified:
    """What a TLS server needs: the chain that it sends, and its key."""

    chain: Path
    key: Path


class Authority:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        if not (folder / "intermediate.key").exists():
            self._create()
        self._intermediate = x509.load_pem_x509_certificate((folder / "intermediate.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "intermediate.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    def certificate(self, kind: str, names: Sequence[str]) -> Certified:
        """A new leaf for `names`, of one of KINDS."""
        now = dt.datetime.now(dt.UTC)
        end = {"soon": dt.timedelta(days=5, hours=1), "expired": dt.timedelta(days=-2)}.get(kind, dt.timedelta(days=90))
        begin = min(now, now + end) - (
            dt.timedelta(hours=1) if kind not in {"soon", "expired"} else dt.timedelta(days=85)
        )
        stated = ["other.example"] if kind == "wrong-name" else list(names)
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            _builder(stated[0], self._intermediate.subject, key.public_key(), begin, now + end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in stated]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        sent = [leaf] if kind == "incomplete" else [leaf, self._intermediate]
        base = self._folder / f"{kind}-{names[0]}"
        chain, secret = base.with_name(base.name + ".pem"), base.with_name(base.name + ".key")
        write_atomically(chain, b"".join(one.public_bytes(serialization.Encoding.PEM) for one in sent))
        write_atomically(secret, _key_pem(key), 0o600)
        return Certified(chain, secret)

    def _create(self) -> None:
        now = dt.datetime.now(dt.UTC)
        begin, end = now - dt.timedelta(days=400), now + dt.timedelta(days=3650)
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root_name = _name("Modoseru Lab Root")
        root = (
            _builder("Modoseru Lab Root", root_name, root_key.public_key(), begin, end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .sign(root_key, hashes.SHA256())
        )
        intermediate = (
            _builder("Modoseru Lab Intermediate", root_name, key.public_key(), begin, end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
            .sign(root_key, hashes.SHA256())
        )
        write_atomically(self.ca_file, root.public_bytes(serialization.Encoding.PEM))
        write_atomically(self._folder / "intermediate.pem", intermediate.public_bytes(serialization.Encoding.PEM))
        write_atomically(self._folder / "intermediate.key", _key_pem(key), 0o600)


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
