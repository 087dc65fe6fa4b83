"""The vault's store on S3: AWS, and what speaks like it. Tries each call once; `store_retry` has the patience.

Imports aiobotocore, so it is itself imported only where a vault is opened. One client an endpoint, none of botocore's
own retries, and a checksum that we name: with `when_required` botocore adds none, and several stores reject those it
would add otherwise.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import gc
import hashlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore import xform_name
from msgspec.structs import replace

from backends.records import VaultSettings, visible
from backends.store import Abilities, Item, Lock, StoreError, is_name, written_as_asked
from backends.store_retry import missing
from backends.store_s3_body import open_body, other_bytes, prolong
from backends.store_s3_refusal import FAILURES, refused

CHUNK = 1024 * 1024
CONNECTIONS = 32
PAGE = 1000


class _AskingOnce(AIOHTTPSession):  # type: ignore[misc]
    """aiohttp sends a PUT whose reply was lost once more by itself, with a body that is at its end by then; and the
    412 that comes of it would not tell whose object is there. All tries are counted in one place, `store_retry`."""

    async def _get_session(self, proxy_url: Any) -> Any:
        session = await super()._get_session(proxy_url)
        session._retry_connection = False
        # Of 64 KiB, reading a large object is mostly a matter of being woken.
        session._read_bufsize = CHUNK
        return session


class S3Store:
    """`Store` on one bucket, below one prefix. `connect` and `read`: seconds until a silent peer is given up."""

    def __init__(
        self, settings: VaultSettings, *, profile: str | None = None, connect: float = 15, read: float = 60
    ) -> None:
        parts = urlsplit(settings.url)
        self.bucket = parts.netloc
        self.prefix = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""
        self.place = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        if settings.endpoint:
            self.place += f" at {urlsplit(settings.endpoint).netloc}"
        self._settings, self._profile, self._read = settings, profile, read
        # Most S3 stores on an address of their own have no name for each bucket.
        style = settings.addressing if settings.addressing != "auto" or not settings.endpoint else "path"
        self._config = AioConfig(
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # Signed, botocore would hash 64 MiB on the event loop; the SHA-256 that we send covers the bytes.
            s3={"addressing_style": style, "payload_signing_enabled": False},
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=connect,
            read_timeout=read,
            max_pool_connections=CONNECTIONS,
            user_agent_extra="modoseru",
            http_session_cls=_AskingOnce,
        )
        self._open = contextlib.AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        with _left_alone():
            return await self._opened()

    async def _opened(self) -> Self:
        verify = await asyncio.to_thread(self._trusted)
        try:
            session = AioSession(profile=self._profile)
            await asyncio.to_thread(_load_models, session)
            if await session.get_credentials() is None:
                raise StoreError("credentials", f"there are no credentials for {self.place}", _NO_LOGIN)
            region = self._settings.region or session.get_config_variable("region") or "us-east-1"
            self._client = await self._open.enter_async_context(
                session.create_client(
                    "s3", region_name=region, endpoint_url=self._settings.endpoint, verify=verify, config=self._config
                )
            )
        except FAILURES as error:
            raise refused(error, "CreateSession", self.place, self._profile) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def _trusted(self) -> str | None:
        """The file of the CAs to trust, or None for the usual ones."""
        if self._settings.ca_file is None:
            return None
        file = Path(self._settings.ca_file).expanduser()
        try:
            ssl.create_default_context(cafile=str(file))
        except (OSError, ValueError) as error:
            reason = visible(getattr(error, "strerror", None) or str(error), 100)
            message = f"the file of the CA, {visible(str(file), 200)}, cannot be used: {reason}"
            raise StoreError("certificate", message, "ca_file in [vault] names a file of PEM certificates") from None
        return str(file)

    async def call(self, name: str, **parameters: Any) -> dict[str, Any]:
        """One call of the S3 API on this bucket, such as `HeadObject`. Raises StoreError."""
        try:
            answer: dict[str, Any] = await getattr(self._client, xform_name(name))(Bucket=self.bucket, **parameters)
        except FAILURES as error:
            raise refused(error, name, self.place, self._profile) from None
        return answer

    # ------------------------------------------------------------ writing

    async def put(self, name: str, body: Path | bytes, *, sha256: str, lock: Lock | None = None) -> Item:
        lock = _in_seconds(lock) if lock is not None else None
        source = await asyncio.to_thread(open_body, body, sha256)
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        try:
            async with asyncio.timeout(self._read) as limit:
                loop = asyncio.get_running_loop()
                # Told from the threads that read the file: as long as it is read, the call may go on.
                source.read_on = lambda: loop.call_soon_threadsafe(prolong, limit, self._read)
                answer = await self.call(
                    "PutObject", Key=self.prefix + name, Body=source, ContentLength=source.size, IfNoneMatch="*",
                    # With a lock the algorithm must be named too.
                    ChecksumAlgorithm="SHA256", ChecksumSHA256=checksum, **_lock_headers(lock),
                )  # fmt: skip
        except StoreError as error:
            if source.differs:
                raise other_bytes(name) from None
            if lock is not None and error.code == "refused":
                # Some stores say only that the request is invalid: a bucket without Object Lock then tells why.
                await self.call("GetObjectLockConfiguration")
            raise
        except TimeoutError:
            message = f"{self.place} took no byte of {name} for {self._read:.0f} s"
            raise StoreError("timeout", message, "the network or the store hangs; try again later") from None
        finally:
            await asyncio.to_thread(source.close)
        version = _version(answer)
        item = written_as_asked(await self._back(name, version, lock), name, source.size, sha256, lock)
        if item.sha256 is None and await self._hash(name, version) != sha256:
            raise StoreError("damaged", f"{name} was read back with other bytes", "nothing refers to it")
        return item

    async def extend(self, name: str, version: str, until: dt.datetime, *, mode: str | None = None) -> Item:
        # With a mode the lock can be set whatever is there: no store shortens one without a right that we do not use.
        item = await (self._back(name, version, _ANY) if mode is None else self.head(name, version))
        if item is None:
            raise missing(f"{name} (version {visible(version, 60)})", self.place)
        if item.lock is None and mode is None:
            raise StoreError("no_lock", f"{name} is not locked at all", "it was written without a lock")
        if item.locked_until is not None and item.locked_until >= until and mode in {None, item.lock}:
            return item
        longest = max(until, item.locked_until or until)
        wanted = _in_seconds(Lock(mode=_harder(item.lock, mode), until=longest))
        retention = {"Mode": wanted.mode.upper(), "RetainUntilDate": wanted.until}
        try:
            await self.call(
                "PutObjectRetention", Key=self.prefix + name, VersionId=version or "null", Retention=retention
            )
        except StoreError as error:
            if error.code == "refused":
                await self.call("GetObjectLockConfiguration")
            raise
        return written_as_asked(await self._back(name, version, wanted), name, item.size, item.sha256, wanted)

    async def restore_version(self, name: str, version: str) -> Item:
        old = await self._back(name, version, _ANY)
        if old is None:
            raise missing(f"{name} (version {visible(version, 60)})", self.place)
        now = await self.head(name)
        if now is None or (now.version != old.version and (now.sha256 is None or now.sha256 != old.sha256)):
            now = await self._copied(name, old)
        if old.lock and old.locked_until and old.locked_until > dt.datetime.now(dt.UTC):
            # A step of its own: SeaweedFS drops the lock of a copy silently, moto refuses it.
            return await self.extend(name, now.version, old.locked_until, mode=old.lock)
        return now

    async def _copied(self, name: str, old: Item) -> Item:
        """A new newest version with the bytes of `old`."""
        source = {"Bucket": self.bucket, "Key": self.prefix + name, "VersionId": old.version or "null"}
        answer = await self.call("CopyObject", Key=self.prefix + name, CopySource=source, ChecksumAlgorithm="SHA256")
        return written_as_asked(await self.head(name, _version(answer)), name, old.size, old.sha256, None)

    async def delete(self, name: str, version: str) -> None:
        # "null" names the version of an unversioned bucket; without any VersionId S3 would only hide the object.
        try:
            await self.call("DeleteObject", Key=self.prefix + name, VersionId=version or "null")
        except StoreError as error:
            if error.code != "missing":
                raise

    # ------------------------------------------------------------ reading

    async def head(self, name: str, version: str | None = None) -> Item | None:
        which = _which(version)
        try:
            told = await self.call("HeadObject", Key=self.prefix + name, ChecksumMode="ENABLED", **which)
        except StoreError as error:
            if error.passing:
                raise
            await self._why(name, which, error)
            return None
        if "LastModified" not in told or "ContentLength" not in told:
            raise self._no_s3()
        return _item(name, told)

    async def _why(self, name: str, which: dict[str, str], first: StoreError) -> None:
        """The answer to HEAD has no words: a GET of one byte has. Returns where the object is not there."""
        try:
            answer = await self.call("GetObject", Key=self.prefix + name, Range="bytes=0-0", **which)
            answer["Body"].close()
        except StoreError as error:
            if error.code == "missing" or "MethodNotAllowed" in error.message:
                return
            raise
        raise first

    async def _back(self, name: str, version: str, lock: Lock | None) -> Item | None:
        """The version as HEAD tells it; its lock asked for apart, which HEAD hides from who has no right to read it."""
        item = await self.head(name, version)
        if item is None or lock is None or item.lock is not None:
            return item
        try:
            told = await self.call("GetObjectRetention", Key=self.prefix + name, VersionId=version or "null")
        except StoreError as error:
            if error.code in {"no_lock", "missing", "refused"}:
                return item
            raise
        return _item_locked(item, told.get("Retention", {}))

    async def get(self, name: str, version: str | None = None, *, start: int = 0) -> AsyncIterator[bytes]:
        more = {"Range": f"bytes={start}-"} if start else {}
        answer = await self.call("GetObject", Key=self.prefix + name, **_which(version), **more)
        body, left = answer["Body"], int(answer["ContentLength"])
        # A store that ignores Range sends all of it.
        skip = 0 if answer.get("ContentRange", "").startswith(f"bytes {start}-") else start
        try:
            while chunk := await body.read(CHUNK):
                left -= len(chunk)
                rest = chunk[skip:]
                skip -= len(chunk) - len(rest)
                if rest:
                    yield rest
        except FAILURES as error:
            raise refused(error, "GetObject", self.place, self._profile) from None
        finally:
            # Without this the connection goes back into the pool with the rest of this answer in it.
            body.close()
        if left > 0:
            raise StoreError("cut", f"{name} ended {left} bytes early", "try again later")

    async def versions(self, prefix: str = "", *, after: Item | None = None) -> AsyncIterator[Item]:
        marker: dict[str, Any] = {}
        if after is not None:
            marker = {"KeyMarker": self.prefix + after.name, "VersionIdMarker": after.version or "null"}
        while True:
            page = await self.call("ListObjectVersions", Prefix=self.prefix + prefix, MaxKeys=PAGE, **marker)
            if page.get("Name") != self.bucket:
                # A web page parses as an empty listing: an empty vault must never be read out of one.
                raise self._no_s3()
            for item in _listed(page, len(self.prefix)):
                yield item
            if not page.get("IsTruncated"):
                return
            before = marker
            marker = {"KeyMarker": page.get("NextKeyMarker"), "VersionIdMarker": page.get("NextVersionIdMarker")}
            marker = {key: value for key, value in marker.items() if value}
            if not marker or marker == before:
                raise StoreError("refused", f"{self.place} lists the same page again and again")

    def _no_s3(self) -> StoreError:
        hint = "endpoint in [vault] names the S3 API, not a web page; is there a portal on the way?"
        return StoreError("not_s3", f"{self.place} answers, but not as an S3 store", hint)

    async def _hash(self, name: str, version: str) -> str:
        digest = hashlib.sha256()
        async with contextlib.aclosing(self.get(name, version)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                digest.update(chunk)
        return digest.hexdigest()

    async def probe(self) -> Abilities:
        from backends.store_s3_probe import probed

        return await probed(self)


_NO_LOGIN = "give AWS_PROFILE, AWS_ACCESS_KEY_ID or [vault] profile working credentials"
_ANY = Lock(mode="compliance", until=dt.datetime.min.replace(tzinfo=dt.UTC))


# ---------------------------------------------------------------- what S3 says, as records


def _load_models(session: AioSession) -> None:
    """Parses botocore's descriptions of S3 (a quarter of a second) where the loop does not wait for it."""
    loader = session.get_component("data_loader")
    loader.load_service_model("s3", "service-2")
    loader.load_service_model("s3", "endpoint-rule-set-1")
    for name in ("endpoints", "partitions", "_retry", "sdk-default-configuration"):
        loader.load_data(name)


@contextlib.contextmanager
def _left_alone() -> Iterator[None]:
    """botocore's descriptions stay as long as the program: to go over all of them for garbage holds up the loop."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _in_seconds(lock: Lock) -> Lock:
    """S3 counts whole seconds: up, never down."""
    until = lock.until.astimezone(dt.UTC)
    return Lock(mode=lock.mode, until=until.replace(microsecond=0) + dt.timedelta(seconds=bool(until.microsecond)))


def _harder(one: str | None, other: str | None) -> str:
    return "governance" if {one, other} <= {"governance", None} else "compliance"


def _lock_headers(lock: Lock | None) -> dict[str, Any]:
    return {"ObjectLockMode": lock.mode.upper(), "ObjectLockRetainUntilDate": lock.until} if lock else {}


def _which(version: str | None) -> dict[str, str]:
    return {"VersionId": version} if version else {}


def _version(answer: dict[str, Any]) -> str:
    version = visible(str(answer.get("VersionId") or ""), 1024)
    return "" if version == "null" else version


def _item(name: str, told: dict[str, Any]) -> Item:
    item = Item(
        name=name,
        size=int(told["ContentLength"]),
        written=told["LastModified"].astimezone(dt.UTC),
        version=_version(told),
        sha256=_hexadecimal(told.get("ChecksumSHA256")),
    )
    retention = {"Mode": told.get("ObjectLockMode"), "RetainUntilDate": told.get("ObjectLockRetainUntilDate")}
    return _item_locked(item, retention)


def _item_locked(item: Item, retention: dict[str, Any]) -> Item:
    mode, until = str(retention.get("Mode") or "").lower(), retention.get("RetainUntilDate")
    if mode not in {"compliance", "governance"} or until is None:
        return item
    return replace(item, lock=mode, locked_until=until.astimezone(dt.UTC))


def _hexadecimal(checksum: Any) -> str | None:
    """`-3` at the end marks a checksum of checksums, of an upload in parts: none of ours."""
    try:
        blob = base64.b64decode(str(checksum or ""), validate=True)
    except ValueError:
        return None
    return blob.hex() if len(blob) == 32 else None


def _listed(page: dict[str, Any], skip: int) -> list[Item]:
    """One page's versions and markers, which S3 tells apart, in the order of names, newest first."""
    found = [(entry, False) for entry in page.get("Versions") or []]
    found += [(entry, True) for entry in page.get("DeleteMarkers") or []]
    items = [
        Item(
            name=entry["Key"][skip:],
            size=int(entry.get("Size") or 0),
            written=entry["LastModified"].astimezone(dt.UTC),
            version=_version(entry),
            marker=marker,
            newest=bool(entry.get("IsLatest")),
        )
        for entry, marker in found
        if is_name(entry["Key"][skip:])
    ]
    # Stable: within a second the store's own order holds.
    return sorted(items, key=lambda item: (item.name, not item.newest, -item.written.timestamp()))
