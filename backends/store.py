"""Where the vault's objects lie: one small interface, the records that it speaks, and what may be wrong with a store.

A store keeps whole objects under names and tells the truth about them. It knows neither generations nor encryption:
that is `vault.py`. Two stores exist, S3 (`store_s3`) and a folder (`store_folder`); each tries once, `store_retry`
lays patience over either of them, and `open_store` gives all of it. Objects are written once and never changed.

    async with open_store(settings) as store:
        item = await store.put("packs/7f/3c…", path, sha256=digest, lock=Lock(mode="compliance", until=until))
        async with aclosing(store.get(item.name, item.version)) as chunks:
            async for chunk in chunks: …

**Codes of StoreError** (`passing`: the same call may succeed later; only those are tried again)

    exists          an object of this name is there already
    missing         no object, or no such version, has this name
    no_bucket       the bucket, or the folder, is not there
    denied          these credentials may not make one call, which is named
    credentials     there are none, they are wrong, or they have expired
    clock_skew      this machine's clock and the store's differ too much
    no_lock         the store holds no lock, or not the one that was asked for
    no_versions     the store keeps no versions
    no_space        the disk or the quota is full
    damaged         what the store holds or sends is not what was written
    wrong_region    the bucket lies elsewhere
    not_s3          what answers does not speak S3
    certificate     the endpoint's certificate is not trusted
    bad_address     the settings name no place that could exist
    bad_name        no name of an object; a symlink where a folder of the store should be
    refused         any other refusal, in the store's own words
    throttled       too many requests            (passing)
    conflict        somebody writes the same name (passing)
    unreachable     no connection, or the store itself failed (passing)
    cut             the connection broke off, or ended early  (passing)
    timeout         no answer in time            (passing)
"""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from backends.records import ModoseruError, VaultSettings, visible

if TYPE_CHECKING:
    from backends.store_retry import Patience

SCRATCH = "scratch"
"""The folder of the objects that `probe` writes; what it had to leave there nothing refers to."""
_PASSING = frozenset({"throttled", "conflict", "unreachable", "cut", "timeout"})
# Stores and tools disagree about everything else (Sakura takes ASCII keys only); a leading dot is this program's own.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}){0,15}")


class StoreError(ModoseruError):
    """What a store did not do, in one line. The codes stand above; `passing` says whether to try again."""

    @property
    def passing(self) -> bool:
        return self.code in _PASSING


class Lock(Struct, frozen=True, kw_only=True):
    """Until when a version may not be deleted: `compliance` by nobody, `governance` by nobody without a right."""

    mode: str
    until: dt.datetime


class Item(Struct, frozen=True, kw_only=True):
    """One version of an object, as the store tells it."""

    name: str
    size: int
    written: dt.datetime
    version: str = ""
    """The store's VersionId; "" where it keeps no versions."""
    sha256: str | None = None
    """Hexadecimal; None where the store does not tell. A listing never does."""
    lock: str | None = None
    """`compliance`, `governance`; None where there is none. A listing never tells."""
    locked_until: dt.datetime | None = None
    marker: bool = False
    """A delete marker: the object is hidden, its versions are still there."""
    newest: bool = True


class Rule(Struct, frozen=True, kw_only=True):
    """A rule of the bucket that removes our objects by itself, or puts them where they cannot be read at once."""

    name: str
    does: str
    """`expires`, `drops_versions` or `archives`."""
    days: int | None = None


class Abilities(Struct, frozen=True, kw_only=True):
    """What a store really did when it was asked, on objects of no value. None: could not be found out."""

    versioning: bool
    lock: str | None
    """The mode that a locked object was read back with; None: the store holds no lock, "not immutable"."""
    default_lock: str | None = None
    default_days: int | None = None
    conditional: bool
    """A second put of the same name was refused."""
    checksums: bool
    """A put whose bytes did not fit their checksum was refused."""
    tells_checksum: bool
    """HEAD tells the SHA-256, so that an object is compared without reading it."""
    may_delete: bool | None
    """These credentials can delete a version for good: the writer's should not be able to."""
    rules: tuple[Rule, ...] | None = ()
    """None: these credentials may not read the bucket's lifecycle."""
    clock_s: float | None = None
    """The store's clock minus ours, in seconds."""
    left: tuple[Item, ...] = ()
    """What the probe could not delete again: locked for a few minutes, or these credentials may not."""


class Store(Protocol):
    """Objects under names (`check_name`). Every method may raise StoreError; every one ends within its time limit."""

    place: str
    """The store's address as people know it."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def put(self, name: str, body: Path | bytes, *, sha256: str, lock: Lock | None = None) -> Item:
        """Writes a new object and reads back that it is whole, unchanged (`sha256`, hexadecimal) and locked as asked.

        Raises exists where the name is taken, damaged where the bytes do not fit `sha256`, no_lock where the object
        was written but is not locked as asked. Cancelled, it leaves either nothing or the whole object.
        """

    def get(self, name: str, version: str | None = None, *, start: int = 0) -> AsyncIterator[bytes]:
        """The bytes from `start` on, in chunks of at most 1 MiB. What ends too early raises cut, it never just ends.

        It holds a connection: leave it by `contextlib.aclosing`.
        """

    async def head(self, name: str, version: str | None = None) -> Item | None:
        """What is known of an object's newest version, or of `version`; None where it is missing or hidden."""

    def versions(self, prefix: str = "", *, after: Item | None = None) -> AsyncIterator[Item]:
        """All versions and delete markers whose names begin with `prefix`, by name, those of one name newest first.

        `after` goes on behind an item of an earlier listing. Names that are none of ours are passed over.
        """

    async def extend(self, name: str, version: str, until: dt.datetime, *, mode: str | None = None) -> Item:
        """Locks a version until `until` at least; what is locked longer stays so. Read back.

        `mode` is for a version without any lock; absent, such a one raises no_lock.
        """

    async def restore_version(self, name: str, version: str) -> Item:
        """Makes the bytes and the lock of `version` the object's newest version: takes a delete marker back."""

    async def delete(self, name: str, version: str) -> None:
        """Deletes one version for good. For pruning, with credentials of its own. What is gone already is no error."""

    async def probe(self) -> Abilities:
        """Finds out on scratch objects what the store and these credentials can really do."""


class StoreOver:
    """What a `Store` over another one begins with: its place, opened and closed with it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.place = store.place

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._store.__aexit__(kind, error, trace)


# ---------------------------------------------------------------- names and addresses


def check_name(name: str) -> str:
    """`name`, if an object may be called so. Raises StoreError (bad_name)."""
    if len(name) > 800 or not _NAME.fullmatch(name) or ".." in name:
        hint = "letters, digits and . _ - in parts that / separates, none of which begins with a dot"
        raise StoreError("bad_name", f"not the name of an object: {visible(name, 100)}", hint)
    return name


def is_name(name: str) -> bool:
    try:
        check_name(name)
    except StoreError:
        return False
    return True


def folder_of(url: str) -> Path | None:
    """The folder that a `file:///path` names (`%20` is a blank), or None where `url` is of another kind."""
    parts = urlsplit(url.replace("#", "%23").replace("?", "%3F"))
    return Path(unquote(parts.path)) if parts.scheme == "file" and not parts.netloc else None


# ---------------------------------------------------------------- what every store checks


def written_as_asked(item: Item | None, name: str, size: int, sha256: str | None, lock: Lock | None) -> Item:
    """`item`, read back, if it is what was asked for. Raises StoreError: missing, damaged, no_lock."""
    if item is None:
        raise StoreError("missing", f"{name} was written, and is not there", "look at the store's own log and rules")
    if item.size != size or (item.sha256 and sha256 and item.sha256 != sha256):
        message = f"{name} is not what was written: {item.size} bytes instead of {size}"
        if item.size == size:
            message = f"{name} is not what was written: its SHA-256 is another one"
        raise StoreError("damaged", message, "the disk, the network or the store changes bytes; nothing refers to it")
    if lock is not None:
        locked_as_asked(item, lock)
    return item


def locked_as_asked(item: Item, lock: Lock) -> None:
    """Raises StoreError (no_lock) unless `item` is locked in this mode or a harder one, until then or longer."""
    harder = {lock.mode, "compliance"}
    if item.lock in harder and item.locked_until is not None and item.locked_until >= lock.until:
        return
    now = f"{item.lock} until {item.locked_until:%Y-%m-%d %H:%M:%S} UTC" if item.lock and item.locked_until else "none"
    message = f"{item.name} is not locked as asked: {lock.mode} until {lock.until:%Y-%m-%d %H:%M:%S} UTC, but {now}"
    raise StoreError("no_lock", message, "Object Lock may be off in this bucket: modoseru vault doctor")


# ---------------------------------------------------------------- opening


@asynccontextmanager
async def open_store(
    settings: VaultSettings, *, pruning: bool = False, patience: Patience | None = None
) -> AsyncIterator[Store]:
    """The store of `[vault]`, open. `pruning`: with the credentials of `prune_profile`, which must be set.

    Raises StoreError (bad_address, credentials, certificate, no_bucket for a folder that is not there). That a bucket
    is not there, or a key is refused, the first call tells.
    """
    retry = importlib.import_module("backends.store_retry")
    folder = folder_of(settings.url)
    if pruning and folder is None and not settings.prune_profile:
        hint = "set prune_profile in [vault] to an AWS profile whose key may delete versions"
        raise StoreError("credentials", "nothing is pruned: there are no credentials for it", hint)
    kind = "backends.store_folder" if folder is not None else "backends.store_s3"
    # In a thread: aiobotocore takes a third of a second to import.
    module = await asyncio.to_thread(importlib.import_module, kind)
    plain: Store
    if folder is not None:
        plain = module.FolderStore(folder)
    else:
        plain = module.S3Store(settings, profile=settings.prune_profile if pruning else settings.profile)
    async with plain:
        yield retry.Retrying(plain, patience or retry.Patience())
