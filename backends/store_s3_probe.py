"""Finds out what an S3 store and the credentials at hand really do, on scratch objects of a few bytes.

What a store's documentation says is not asked: an ability counts when it was seen.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from backends.records import visible
from backends.store import SCRATCH, Abilities, Item, Lock, Rule, StoreError
from backends.store_s3_refusal import clock_difference

if TYPE_CHECKING:
    from backends.store_s3 import S3Store

LOCKED_FOR = dt.timedelta(minutes=2)
_ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}
_BODY = b"Modoseru looks what this store can do. This object may be deleted.\n"


async def probed(store: S3Store) -> Abilities:
    """`Store.probe` on S3. Raises StoreError where not even a small object can be written, read and listed."""
    word = secrets.token_hex(8)
    plain, wrong, locked = (f"{SCRATCH}/{word}-{kind}" for kind in ("plain", "wrong", "locked"))
    answer = await _put(store, plain, {})
    versioning = answer.get("VersionId") not in {None, "", "null"}
    conditional = await _refuses(_put(store, plain, {"IfNoneMatch": "*"}), "exists")
    checksums = await _refuses(_put(store, wrong, {}, hashlib.sha256(b"other bytes").digest()), "damaged")
    told = await store.head(plain)
    lock = await _lock(store, locked)
    may_delete, left = await _clean(store, f"{SCRATCH}/{word}", versioning)
    mode, days = await _default_lock(store)
    return Abilities(
        versioning=versioning,
        lock=lock,
        default_lock=mode,
        default_days=days,
        conditional=conditional,
        checksums=checksums,
        tells_checksum=told is not None and told.sha256 == hashlib.sha256(_BODY).hexdigest(),
        may_delete=may_delete,
        rules=await _rules(store),
        clock_s=clock_difference(answer.get("ResponseMetadata", {})),
        left=left,
    )


async def _put(store: S3Store, name: str, more: dict[str, Any], digest: bytes | None = None) -> dict[str, Any]:
    checksum = base64.b64encode(digest or hashlib.sha256(_BODY).digest()).decode()
    return await store.call("PutObject", Key=store.prefix + name, Body=_BODY, ChecksumSHA256=checksum, **more)


async def _refuses(call: Any, code: str) -> bool:
    """Whether the store refuses `call` for this reason. Another refusal is the store's trouble, and raised."""
    try:
        await call
    except StoreError as error:
        if error.passing or error.code in {"credentials", "denied", "clock_skew"}:
            raise
        return error.code == code
    return False


async def _lock(store: S3Store, name: str) -> str | None:
    """The mode of a lock of two minutes as it is read back; None where there is none."""
    until = (dt.datetime.now(dt.UTC) + LOCKED_FOR).replace(microsecond=0)
    try:
        item = await store.put(
            name, _BODY, sha256=hashlib.sha256(_BODY).hexdigest(), lock=Lock(mode="compliance", until=until)
        )
    except StoreError as error:
        if error.code not in {"no_lock", "refused", "damaged"}:
            raise
        return None
    return item.lock


async def _clean(store: S3Store, prefix: str, versioning: bool) -> tuple[bool | None, tuple[Item, ...]]:
    """Deletes what can be deleted again: whether a version could, and what is left.

    A lock forbids it as a missing right does. A delete marker is never locked, so where everything else was refused
    one is made and deleted: that only the right forbids.
    """
    items = [item async for item in store.versions(prefix)]
    gone = [item.version for item in items if await _deleted(store, item)]
    may: bool | None = bool(gone)
    if not gone and versioning and items:
        may = await _marker_goes(store, items[0].name)
    left = [item async for item in store.versions(prefix) if not item.marker]
    known = [await store.head(item.name, item.version) for item in left]
    return may, tuple(item for item in known if item is not None)


async def _deleted(store: S3Store, item: Item) -> bool:
    with contextlib.suppress(StoreError):
        await store.delete(item.name, item.version)
        return await store.head(item.name, item.version) is None
    return False


async def _marker_goes(store: S3Store, name: str) -> bool | None:
    try:
        answer = await store.call("DeleteObject", Key=store.prefix + name)
    except StoreError as error:
        # Who may not even hide an object may still delete a version, but nobody writes such a policy.
        return False if error.code == "denied" else None
    marker = answer.get("VersionId")
    if not answer.get("DeleteMarker") or not marker:
        return None
    try:
        await store.call("DeleteObject", Key=store.prefix + name, VersionId=marker)
    except StoreError as error:
        return False if error.code == "denied" else None
    return True


async def _default_lock(store: S3Store) -> tuple[str | None, int | None]:
    try:
        answer = await store.call("GetObjectLockConfiguration")
    except StoreError as error:
        if error.passing:
            raise
        return None, None
    rule = answer.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
    mode = str(rule.get("Mode") or "").lower()
    days = int(rule.get("Days") or 0) or int(rule.get("Years") or 0) * 365
    return (mode, days or None) if mode in {"compliance", "governance"} else (None, None)


async def _rules(store: S3Store) -> tuple[Rule, ...] | None:
    """The bucket's rules that would delete or archive what lies below our prefix; None where they may not be read."""
    try:
        answer = await store.call("GetBucketLifecycleConfiguration")
    except StoreError as error:
        if error.passing:
            raise
        # "There is none" comes as a refusal too.
        return () if "NoSuchLifecycleConfiguration" in error.message or error.code == "missing" else None
    return tuple(found for rule in answer.get("Rules", []) if _touches(rule, store.prefix) for found in _does(rule))


def _touches(rule: dict[str, Any], prefix: str) -> bool:
    """Whether an enabled rule may apply to objects below `prefix`. Rules by tag do not: ours have no tags."""
    both = rule.get("Filter", {}).get("And", {})
    if rule.get("Status") != "Enabled" or rule.get("Filter", {}).get("Tag") or both.get("Tags"):
        return False
    theirs = str(rule.get("Filter", {}).get("Prefix") or both.get("Prefix") or rule.get("Prefix") or "")
    return theirs.startswith(prefix) or prefix.startswith(theirs)


def _does(rule: dict[str, Any]) -> Iterable[Rule]:
    name = visible(str(rule.get("ID") or ""), 100)
    expiration, noncurrent = rule.get("Expiration", {}), rule.get("NoncurrentVersionExpiration", {})
    if expiration.get("Days") or expiration.get("Date"):
        yield Rule(name=name, does="expires", days=expiration.get("Days"))
    if noncurrent:
        yield Rule(name=name, does="drops_versions", days=noncurrent.get("NoncurrentDays"))
    for move in (*rule.get("Transitions", ()), *rule.get("NoncurrentVersionTransitions", ())):
        if move.get("StorageClass") in _ARCHIVES:
            yield Rule(name=name, does="archives", days=move.get("Days", move.get("NoncurrentDays")))
