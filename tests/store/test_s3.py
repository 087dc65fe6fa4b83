"""S3 as it is on a bad day: a real server behind a gateway that refuses, cuts, loses and hides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from backends.records import VaultSettings
from backends.store import Lock, Rule, Store, StoreError, open_store
from tests.lab.authority import Authority
from tests.lab.stores import S3Servers
from tests.store.gateway import Gateway, Trick
from tests.store.grounds import PATIENT, OnS3, credentials, fresh, read, sha
from tests.store.test_conformance import BODY, code_of, later, listed

ONCE = replace(PATIENT, tries=1)


@pytest_asyncio.fixture
async def gateway(s3_servers: S3Servers) -> AsyncIterator[Gateway]:
    async with Gateway(s3_servers.weed.endpoint) as opened:
        yield opened


@pytest.fixture
def behind(gateway: Gateway, on_weed: OnS3) -> OnS3:
    on_weed.endpoint = gateway.endpoint
    return on_weed


@pytest_asyncio.fixture
async def deaf_gateway(s3_servers: S3Servers) -> AsyncIterator[Gateway]:
    """Before moto, which looks at no signature: a header that is taken away is not missed."""
    async with Gateway(s3_servers.moto.endpoint) as opened:
        yield opened


@pytest.fixture
def deaf(deaf_gateway: Gateway, s3_servers: S3Servers, home: Path) -> OnS3:
    return OnS3(s3_servers.moto, s3_servers.moto.bucket(), endpoint=deaf_gateway.endpoint)


@asynccontextmanager
async def opened(ground: OnS3, patience: Any = ONCE, **more: Any) -> AsyncIterator[Store]:
    async with open_store(ground.settings(**more), patience=patience) as store:
        yield store


async def failure(call: Any) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await call
    error = caught.value
    assert "\n" not in error.message + error.hint
    assert error.hint
    assert "-secret" not in error.message + error.hint
    return error


# ---------------------------------------------------------------- what a put sends


async def test_a_put_is_conditional_and_names_its_checksum_and_nothing_else(behind: OnS3, gateway: Gateway) -> None:
    async with opened(behind) as store:
        await store.put(fresh(), BODY, sha256=sha(BODY), lock=Lock(mode="compliance", until=later()))
    sent = gateway.headers[gateway.calls.index("PutObject")]
    checksums = {key for key in sent if key.startswith("x-amz-checksum-") or key in {"content-md5", "x-amz-trailer"}}
    assert checksums == {"x-amz-checksum-sha256"}
    assert sent["if-none-match"] == "*"
    assert sent["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert sent["x-amz-object-lock-mode"] == "COMPLIANCE"
    assert sent["content-length"] == str(len(BODY))
    assert gateway.calls == ["PutObject", "HeadObject"]


# ---------------------------------------------------------------- what passes


@pytest.mark.parametrize(
    "trick",
    [
        Trick(on="PutObject", times=3, status=503, code="SlowDown"),
        Trick(on="PutObject", times=3, status=500, code="InternalError"),
        Trick(on="PutObject", times=2, status=409, code="ConditionalRequestConflict"),
        Trick(on="PutObject", status=400, code="RequestTimeout"),
        Trick(on="PutObject", lost=True),
        Trick(on="PutObject", cut=0),
        Trick(on="HeadObject", times=2, status=503, code="SlowDown"),
        Trick(on="HeadObject", lost=True),
    ],
    ids=lambda trick: f"{trick.on}-{trick.code or ('lost' if trick.lost else 'cut')}",
)
async def test_a_put_outlives_what_passes(behind: OnS3, gateway: Gateway, trick: Trick) -> None:
    gateway.play(trick)
    async with opened(behind, PATIENT) as store:
        item = await store.put(fresh(), BODY, sha256=sha(BODY), lock=Lock(mode="compliance", until=later()))
        assert await read(store, item.name) == BODY
        assert [found.version for found in await listed(store)] == [item.version]


async def test_a_read_that_is_cut_goes_on_by_range(behind: OnS3, gateway: Gateway) -> None:
    body = BODY * 4
    async with opened(behind, PATIENT) as store:
        item = await store.put(fresh(), body, sha256=sha(body))
        gateway.play(*(Trick(on="GetObject", cut=700_000) for _ in range(3)))
        assert await read(store, item.name) == body
    ranges = [
        sent.get("range") for call, sent in zip(gateway.calls, gateway.headers, strict=True) if call == "GetObject"
    ]
    assert ranges[0] is None
    assert len(ranges) == 4
    assert all(one for one in ranges[1:])


async def test_a_store_that_ignores_ranges_gives_the_right_bytes(deaf: OnS3, deaf_gateway: Gateway) -> None:
    async with opened(deaf) as store:
        item = await store.put(fresh(), BODY, sha256=sha(BODY))
        deaf_gateway.play(Trick(on="GetObject", deaf=("range",)))
        assert await read(store, item.name, start=300_001) == BODY[300_001:]


async def test_a_store_that_never_stops_cutting_is_an_error(behind: OnS3, gateway: Gateway) -> None:
    async with opened(behind, PATIENT) as store:
        item = await store.put(fresh(), BODY, sha256=sha(BODY))
        gateway.play(Trick(on="GetObject", times=99, cut=1000))
        assert await code_of(read(store, item.name)) == "cut"


async def test_a_store_that_hangs_is_given_up(behind: OnS3, gateway: Gateway) -> None:
    gateway.play(Trick(on="PutObject", times=9, hang=True), Trick(on="HeadObject", times=9, hang=True))
    impatient = replace(ONCE, call=0.2, slowest=1 << 40)
    async with opened(behind, impatient) as store:
        assert await code_of(store.put(fresh(), b"x", sha256=sha(b"x"))) == "timeout"
        assert await code_of(store.head("a")) == "timeout"


# ---------------------------------------------------------------- what lasts


@pytest.mark.parametrize(
    ("status", "word", "code", "said"),
    [
        (403, "RequestTimeTooSkewed", "clock_skew", "clock"),
        (400, "ExpiredToken", "credentials", "have expired"),
        (403, "InvalidAccessKeyId", "credentials", "does not know the access key"),
        (403, "SignatureDoesNotMatch", "credentials", "secret key"),
        (403, "AccessDenied", "denied", "may not HeadObject"),
        (404, "NoSuchBucket", "no_bucket", "no bucket"),
        (301, "PermanentRedirect", "wrong_region", "another region"),
        (507, "XMinioStorageFull", "no_space", "full"),
        (418, "Teapot", "refused", "Teapot"),
    ],
)
async def test_a_refusal_of_a_head_is_told_in_words_although_it_has_none(  # noqa: PLR0917
    behind: OnS3, gateway: Gateway, status: int, word: str, code: str, said: str
) -> None:
    gateway.play(Trick(on="HeadObject", status=status, code=word), Trick(on="GetObject", status=status, code=word))
    async with opened(behind) as store:
        error = await failure(store.head("a"))
    assert error.code == code
    assert said in error.message.replace("GetObject", "HeadObject")


@pytest.mark.parametrize(
    ("call", "right"),
    [
        ("PutObject", "s3:PutObjectRetention"),
        ("ListObjectVersions", "s3:ListBucketVersions"),
        ("DeleteObject", "s3:DeleteObjectVersion"),
        ("PutObjectRetention", "s3:PutObjectRetention"),
        ("CopyObject", "s3:GetObjectVersion"),
    ],
)
async def test_a_right_that_is_missing_for_one_call_is_named(
    behind: OnS3, gateway: Gateway, call: str, right: str
) -> None:
    async with opened(behind) as store:
        item = await store.put(fresh(), b"x", sha256=sha(b"x"), lock=Lock(mode="compliance", until=later()))
        behind.hide(item.name)
        gateway.play(Trick(on=call, status=403, code="AccessDenied"))
        doing: dict[str, Callable[[], Any]] = {
            "PutObject": lambda: store.put(fresh(), b"x", sha256=sha(b"x")),
            "ListObjectVersions": lambda: listed(store),
            "DeleteObject": lambda: store.delete(item.name, item.version),
            "PutObjectRetention": lambda: store.extend(item.name, item.version, later(9999)),
            "CopyObject": lambda: store.restore_version(item.name, item.version),
        }
        error = await failure(doing[call]())
    assert error.code == "denied"
    assert call in error.message
    assert right in error.hint


async def test_a_lock_that_may_not_be_read_is_not_called_absent(behind: OnS3, gateway: Gateway) -> None:
    hidden = ("x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date")
    gateway.play(Trick(on="HeadObject", times=9, drop=hidden))
    lock = Lock(mode="compliance", until=later())
    async with opened(behind) as store:
        assert (await store.put(fresh(), b"x", sha256=sha(b"x"), lock=lock)).locked_until == lock.until
        gateway.play(Trick(on="GetObjectRetention", status=403, code="AccessDenied"))
        error = await failure(store.put(fresh(), b"x", sha256=sha(b"x"), lock=lock))
    assert error.code == "denied"
    assert "s3:GetObjectRetention" in error.hint


async def test_a_bucket_that_drops_the_lock_is_noticed(behind: OnS3, gateway: Gateway) -> None:
    hidden = ("x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date")
    none = Trick(on="GetObjectRetention", status=404, code="NoSuchObjectLockConfiguration")
    gateway.play(Trick(on="HeadObject", drop=hidden), none)
    async with opened(behind) as store:
        error = await failure(store.put(fresh(), b"x", sha256=sha(b"x"), lock=Lock(mode="compliance", until=later())))
    assert error.code == "no_lock"


async def test_a_store_that_tells_no_checksum_is_read_back(behind: OnS3, gateway: Gateway) -> None:
    gateway.play(Trick(on="HeadObject", times=9, drop=("x-amz-checksum-sha256",)))
    async with opened(behind) as store:
        item = await store.put(fresh(), BODY, sha256=sha(BODY))
        assert item.sha256 is None
        assert "GetObject" in gateway.calls


@pytest.mark.parametrize("call", ["ListObjectVersions", "HeadObject"])
@pytest.mark.parametrize("page", ["<html><body>sign in</body></html>", "<html>hello", " "])
async def test_a_web_page_is_no_store_and_no_empty_vault(behind: OnS3, gateway: Gateway, call: str, page: str) -> None:
    gateway.play(Trick(on=call, page=page))
    async with opened(behind) as store:
        error = await failure(listed(store) if call == "ListObjectVersions" else store.head("a"))
    # botocore takes a listing that is no XML for a server's failure.
    assert error.code == ("not_s3" if call == "HeadObject" or "sign in" in page else "unreachable")


# ---------------------------------------------------------------- who asks, and where


async def test_nobody_listens(on_weed: OnS3) -> None:
    async with opened(on_weed, endpoint="http://127.0.0.1:9") as store:
        error = await failure(store.head("a"))
    assert error.code == "unreachable"
    assert "127.0.0.1:9" in error.message
    assert "refused" in error.message.lower()


@pytest.mark.parametrize(
    ("profile", "said"),
    [("nobody", "profile"), (None, "no credentials"), ("stranger", "access key"), ("mistyped", "secret key")],
)
async def test_credentials_that_do_not_fit_are_told_apart(
    on_weed: OnS3, home: Path, monkeypatch: pytest.MonkeyPatch, profile: str | None, said: str
) -> None:
    others = (
        "[stranger]\naws_access_key_id = NOBODY\naws_secret_access_key = a-secret\n"
        "[mistyped]\naws_access_key_id = LABWRITER\naws_secret_access_key = b-secret\n"
    )
    credentials(home, monkeypatch, others)

    async def asked() -> None:
        async with opened(on_weed, profile=profile) as store:
            await store.head("a")

    error = await failure(asked())
    assert error.code == "credentials"
    assert said in error.message


async def test_pruning_without_credentials_of_its_own_is_refused(on_weed: OnS3) -> None:
    async def asked() -> None:
        async with open_store(on_weed.settings(prune_profile=None), pruning=True):
            pass

    error = await failure(asked())
    assert error.code == "credentials"
    assert "prune_profile" in error.hint


async def test_the_writers_key_can_delete_nothing_for_good(on_weed: OnS3) -> None:
    async with on_weed.open() as store:
        item = await store.put(fresh(), b"x", sha256=sha(b"x"))
        assert (await failure(store.delete(item.name, item.version))).code == "denied"
        assert await read(store, item.name) == b"x"


async def test_a_bucket_that_is_not_there_is_said_so(
    on_weed: OnS3, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = "[owner]\naws_access_key_id = LABOWNER\naws_secret_access_key = owner-secret\n"
    credentials(home, monkeypatch, owner)
    on_weed.bucket = "vault-that-is-not-there"
    async with opened(on_weed, profile="owner") as store:
        for call in (store.head("a"), listed(store), store.probe()):
            assert (await failure(call)).code == "no_bucket"


@pytest.mark.parametrize("text", [None, "", "no certificate"])
async def test_a_ca_file_that_is_none_is_told_before_anything_is_sent(
    on_weed: OnS3, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)

    async def asked() -> None:
        async with opened(on_weed, ca_file=str(file)):
            pass

    error = await failure(asked())
    assert error.code == "certificate"
    assert str(file) in error.message


async def test_a_private_ca_is_trusted_when_it_is_named_and_only_then(
    s3_servers: S3Servers, home: Path, on_weed: OnS3, tmp_path: Path
) -> None:
    (tmp_path / "tls").mkdir()
    authority = Authority(tmp_path / "tls")
    certificate = authority.certificate("fine", ["localhost"])
    async with Gateway(s3_servers.weed.endpoint, certificate) as secure:
        async with opened(on_weed, endpoint=secure.endpoint, ca_file=str(tmp_path / "tls" / "ca.pem")) as store:
            item = await store.put(fresh(), BODY, sha256=sha(BODY))
            assert await read(store, item.name) == BODY
        async with opened(on_weed, endpoint=secure.endpoint) as store:
            error = await failure(store.head("a"))
    assert error.code == "certificate"
    assert "ca_file" in error.hint


@pytest.mark.parametrize(
    ("more", "host", "path"),
    [
        ({}, "{endpoint}", "/{bucket}/deep/prefix/a"),
        ({"addressing": "path"}, "{endpoint}", "/{bucket}/deep/prefix/a"),
        (
            {"addressing": "virtual", "endpoint": "http://localhost:{port}"},
            "{bucket}.localhost:{port}",
            "/deep/prefix/a",
        ),
    ],
)
async def test_a_bucket_is_addressed_as_the_settings_say(
    behind: OnS3, gateway: Gateway, more: dict[str, str], host: str, path: str
) -> None:
    port = gateway.endpoint.rpartition(":")[2]
    known = {"bucket": behind.bucket, "port": port, "endpoint": gateway.endpoint.removeprefix("http://")}
    given = {key: value.format(**known) for key, value in more.items()}
    plain: dict[str, Any] = {
        "profile": "writer",
        "url": f"s3://{behind.bucket}/deep/prefix",
        "endpoint": gateway.endpoint,
    }
    sent = await asked_of_aws(VaultSettings(**plain | given))
    assert (sent[0], sent[1]) == (host.format(**known), path.format(**known))


async def test_aws_needs_no_endpoint_but_a_region(home: Path) -> None:
    host, path = await asked_of_aws(VaultSettings(url="s3://agency-vault", region="ap-northeast-1", profile="writer"))
    assert (host, path) == ("agency-vault.s3.ap-northeast-1.amazonaws.com", "/a")


async def asked_of_aws(settings: VaultSettings) -> tuple[str, str]:
    """Host and path of the address that a HEAD of the object `a` would ask; nothing is sent."""
    from urllib.parse import urlsplit

    from backends.store_s3 import S3Store

    asked: list[str] = []

    async def instead(request: Any, **_: Any) -> None:
        asked.append(request.url)
        raise ConnectionRefusedError

    async with S3Store(settings, profile=settings.profile) as store:
        store._client.meta.events.register("before-send.s3", instead)
        with pytest.raises(StoreError):
            await store.head("a")
    parts = urlsplit(asked[0])
    return parts.netloc, parts.path


# ---------------------------------------------------------------- the probe


async def test_a_probe_sees_that_a_closed_key_can_delete_nothing(on_weed: OnS3) -> None:
    async with on_weed.open() as store, on_weed.open(pruning=True) as pruning:
        found = await store.probe()
        assert (found.checksums, found.tells_checksum, found.conditional) == (True, True, True)
        assert found.may_delete is False
        assert {item.name.rpartition("-")[2] for item in found.left} == {"plain", "locked"}
        assert {item.lock for item in found.left} == {None, "compliance"}
        opened_wide = await pruning.probe()
        assert opened_wide.may_delete is True
        assert {item.lock for item in opened_wide.left} == {"compliance"}


async def test_a_probe_sees_through_a_default_lock(on_weed: OnS3) -> None:
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    on_weed.server.client().put_object_lock_configuration(
        Bucket=on_weed.bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    async with on_weed.open() as store, on_weed.open(pruning=True) as pruning:
        assert (await store.probe()).may_delete is False
        found = await pruning.probe()
        assert found.may_delete is True
        assert (found.default_lock, found.default_days) == ("governance", 1)


async def test_a_probe_names_the_rules_that_would_delete_our_objects(on_weed: OnS3) -> None:
    rules = [
        {"ID": "ours", "Filter": {"Prefix": "deep/"}, "Expiration": {"Days": 30}, "Status": "Enabled"},
        {
            "ID": "old",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 3},
            "Status": "Enabled",
        },
        {"ID": "theirs", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 1}, "Status": "Enabled"},
        {"ID": "off", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}, "Status": "Disabled"},
    ]
    on_weed.server.client().put_bucket_lifecycle_configuration(
        Bucket=on_weed.bucket, LifecycleConfiguration={"Rules": rules}
    )
    async with on_weed.open() as store:
        found = (await store.probe()).rules
    assert found == (Rule(name="ours", does="expires", days=30), Rule(name="old", does="drops_versions", days=3))


async def test_a_probe_says_what_it_may_not_know(behind: OnS3, gateway: Gateway) -> None:
    gateway.play(Trick(on="GetBucketLifecycleConfiguration", status=403, code="AccessDenied"))
    async with opened(behind) as store:
        assert (await store.probe()).rules is None


async def test_a_probe_of_a_bucket_without_versions_says_not_immutable(on_weed: OnS3) -> None:
    on_weed.bucket = on_weed.server.bucket(lock=False, closed=False)
    async with on_weed.open() as store:
        found = await store.probe()
        assert (found.versioning, found.lock, found.may_delete, found.left) == (False, None, True, ())
        assert await listed(store) == []


async def test_a_probe_sees_a_store_that_is_deaf_to_conditions_and_checksums(deaf: OnS3, deaf_gateway: Gateway) -> None:
    deaf_gateway.play(Trick(on="PutObject", times=3, deaf=("if-none-match", "x-amz-checksum-sha256")))
    async with opened(deaf) as store:
        found = await store.probe()
        assert (found.conditional, found.checksums) == (False, False)
        assert {item.lock for item in found.left} == {"compliance"}
