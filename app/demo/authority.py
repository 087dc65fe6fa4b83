"""The demo's private CA: a certificate for each site, fine, nearly over, over, or made out to somebody else."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.demo.cast import CertificateKind, Character

LIFETIME = dt.timedelta(days=90)
CA_NAME = "Modoseru Demo CA"
_DAY = dt.timedelta(days=1)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


class Authority:
    """Signs on demand. One key serves every site: making keys is what costs, and nothing here is secret."""

    def __init__(self, folder: Path, birth: dt.datetime, ca_file: Path) -> None:
        self._folder, self._birth = folder, birth
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca = self._make_ca()
        part = ca_file.with_suffix(".part")
        part.write_bytes(self._ca.public_bytes(serialization.Encoding.PEM))
        part.replace(ca_file)

    def context(self, character: Character) -> ssl.SSLContext:
        """A server's TLS context for the site, with the certificate that its character has."""
        wrong = character.certificate is CertificateKind.WRONG_NAME
        names = ["sv1.host.example"] if wrong else [character.host, character.domain]
        path = self._folder / f"{character.name}.pem"
        end = self._birth + dt.timedelta(days=character.certificate_days)
        path.write_bytes(self._pem + self._leaf(names, end).public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _make_ca(self) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        public = self._ca_key.public_key()
        return (
            self._base(CA_NAME, public, self._birth - 400 * _DAY, self._birth + 3650 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._ca_key, hashes.SHA256())
        )

    def _leaf(self, names: list[str], end: dt.datetime) -> x509.Certificate:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key())
        return (
            self._base(names[0], self._key.public_key(), end - LIFETIME, end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._ca_key, hashes.SHA256())
        )

    def _base(
        self, common: str, key: ec.EllipticCurvePublicKey, start: dt.datetime, end: dt.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common))
            .issuer_name(_name(CA_NAME))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )
