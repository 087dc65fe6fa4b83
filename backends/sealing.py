"""age encryption (age-encryption.org/v1): what leaves for the vault, and who can open it.

Encrypting needs recipients alone: an identity may lie on another machine. Work on streams runs in the caller's thread
and lets other threads run meanwhile (FACTS 7), so callers give it a thread of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pyrage

from backends.records import ModoseruError, visible

IDENTITY_MOST = 65536
"""Bytes: an identity file has a line or a page, never more."""
SECRET = "AGE-SECRET-KEY-1"  # noqa: S105 - how such a line begins, no secret
_SSH_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----"
_SSH_KINDS = ("ssh-ed25519", "ssh-rsa")


class SealingError(ModoseruError):
    """Codes: bad_recipient, no_recipient, no_identity, bad_identity, identity_exists, wrong_identity, damaged."""


class Readable(Protocol):
    """What is read as a file is: b"" at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Writable(Protocol):
    """What is written as a file is."""

    def write(self, data: bytes, /) -> int | None: ...
    def flush(self) -> None: ...


class Recipients:
    """Those who will be able to open what is encrypted to them. Raises SealingError: no_recipient, bad_recipient."""

    def __init__(self, texts: Sequence[str]) -> None:
        if not texts:
            raise SealingError(
                "no_recipient", "no recipient is named: nobody could open it", "modoseru key new makes one"
            )
        for number, text in enumerate(texts, 1):
            if wrong := recipient_problem(text):
                raise SealingError("bad_recipient", f"recipient {number} {wrong}", "see [vault] in fleet.toml")
        self._parsed = [_recipient(text) for text in texts]

    def encrypt(self, clear: Readable, sealed: Writable) -> None:
        """All of `clear`, as one age file. Raises what either stream raises."""
        pyrage.encrypt_io(clear, sealed, self._parsed)


class Identity:
    """Secret keys that open what was encrypted to their recipients."""

    def __init__(self, parsed: Sequence[object], public: Sequence[str]) -> None:
        self._parsed = parsed
        self.public = tuple(public)
        """The recipients that belong to it; those of SSH keys are not told by the key alone."""

    @classmethod
    def read(cls, path: Path) -> Identity:
        """An age identity file or an SSH private key (ed25519 or RSA, without a passphrase).

        Raises SealingError: no_identity, bad_identity.
        """
        try:
            with path.open("rb") as file:
                raw = file.read(IDENTITY_MOST + 1)
        except FileNotFoundError:
            raise SealingError(
                "no_identity", f"there is no age identity at {path}", "copy it there, or name its file with --identity"
            ) from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SealingError("no_identity", f"{path} cannot be read: {reason}", "check its permissions") from None
        try:
            return cls.parse(raw.decode("ascii"))
        except (UnicodeDecodeError, ValueError) as error:
            why = str(error) if type(error) is ValueError else "is no text"
            raise SealingError(
                "bad_identity", f"{path} {why}", "an age identity has a line that begins with AGE-SECRET-KEY-1"
            ) from None

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Raises ValueError with what is wrong."""
        if len(text) > IDENTITY_MOST:
            raise ValueError("is too long for an identity")
        if text.lstrip().startswith(_SSH_KEY):
            try:
                return cls([pyrage.ssh.Identity.from_buffer(text.encode())], ())
            except pyrage.IdentityError:
                raise ValueError("is an SSH key with a passphrase, or of a kind that age does not know") from None
        if text.startswith("age-encryption.org/v1"):
            raise ValueError("is itself encrypted: open it first, with age -d")
        lines = [line.strip() for line in text.splitlines()]
        parsed = []
        for number, line in enumerate(lines, 1):
            if line and not line.startswith("#"):
                try:
                    parsed.append(pyrage.x25519.Identity.from_str(line))
                except pyrage.IdentityError:
                    # The line itself may be a secret with one wrong letter.
                    raise ValueError(f"holds no age identity in line {number}") from None
        if not parsed:
            raise ValueError("holds no identity")
        return cls(parsed, [str(one.to_public()) for one in parsed])

    def decrypt(self, sealed: Readable, clear: Writable) -> None:
        """What one age file holds. What was written before an error is not to be believed (FACTS 7).

        Raises SealingError: wrong_identity, damaged.
        """
        try:
            pyrage.decrypt_io(sealed, clear, list(self._parsed))
        except pyrage.DecryptError as error:
            if "matching keys" in str(error):
                raise SealingError(
                    "wrong_identity",
                    "this identity does not open it: it was encrypted to others",
                    "use the identity whose recipient stood in fleet.toml then, or the escrow one",
                ) from None
            raise SealingError("damaged", "it is no whole age file", "take another generation") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise SealingError("damaged", f"it does not decrypt: {visible(str(error), 100)}") from None


def new_identity(path: Path) -> str:
    """Makes an X25519 identity at `path` (0600, never over another file) and returns its recipient.

    Raises SealingError: identity_exists; OSError where it cannot be written.
    """
    made = pyrage.x25519.Identity.generate()
    public = str(made.to_public())
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise SealingError(
            "identity_exists", f"{path} is there already", "it may be the only key to the vault: name another file"
        ) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(f"# public key: {public}\n{made}\n")
        file.flush()
        os.fsync(file.fileno())
    return public


def recipient_problem(text: str) -> str | None:
    """What is wrong with a public key that generations are to be sealed to, or None. A secret is never repeated."""
    if "AGE-SECRET-KEY-" in text.upper() or "PRIVATE KEY" in text:
        return "holds a secret key: take it out of here, keep it offline, and name its public key"
    kind = text.strip().partition(" ")[0]
    if not text.startswith("age1") and kind not in _SSH_KINDS:
        return "is neither an age1… nor an ssh-ed25519 or ssh-rsa public key"
    try:
        _recipient(text)
    except pyrage.RecipientError as error:
        if "RsaModulusTooSmall" in str(error):
            return "is an ssh-rsa key of less than 2048 bits"
        known = f"{kind} public key" if kind in _SSH_KINDS else "age public key: compare it with what key show prints"
        return f"is not a whole {known}"
    return None


def _recipient(text: str) -> object:
    return (pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient).from_str(text)
