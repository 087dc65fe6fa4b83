"""What is wrong with a store, a key or what lies in the vault: one line, the right exit status, nothing changed."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.operations.vault_bring import FromVault, bring
from backends import vault_streams
from backends.journal_catalogue import Kept
from backends.store import Store
from backends.vault import Part, VaultError
from backends.vault_streams import Fetching
from tests.lab import LabSite
from tests.lab.stores import S3Servers
from tests.operations.program import Program
from tests.store.faults import Faulty
from tests.store.gateway import Gateway, Trick
from tests.store.grounds import InFolder, OnS3, sha
from tests.vault.hoard import MONTH, Hoard
from tests.vault.machine import Machine

pytestmark = [pytest.mark.asyncio(loop_scope="session")]
SITE = "minato.example"
PACK, OTHER = "20250101T000000Z", "20250102T000000Z"


def _hoard(place: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Hoard:
    made = Hoard(place, folder, SITE)
    monkeypatch.setenv("MODOSERU_STATE", str(made.program.state))
    made.program.environment["MODOSERU_IDENTITY"] = str(made.machine.identity)
    return made


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hoard:
    (tmp_path / "off site").mkdir()
    return _hoard(InFolder(tmp_path / "off site"), tmp_path, monkeypatch)


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(s3_servers: S3Servers) -> AsyncIterator[Gateway]:
    async with Gateway(s3_servers.weed.endpoint) as opened:
        yield opened


@pytest.fixture
def nobody_listens() -> Iterator[str]:
    """A port that is taken and refuses."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


async def run(hoard: Hoard, *words: str, code: int | None = 0) -> Any:
    return await asyncio.to_thread(hoard.program, *words, "--json", code=code)


async def known(hoard: Hoard) -> list[Kept]:
    async with hoard.program.session() as session:
        return await session.journal.catalogue.entries()


# ---------------------------------------------------------------- the store

COMMANDS = {
    "rebuild": ("vault", "rebuild"),
    "prune": ("vault", "prune", "--yes"),
    "doctor": ("vault", "doctor"),
    "verify": ("verify", SITE, "--tier", "vault"),
}
REFUSALS = {
    "no rights": ("AccessDenied", 403, "denied"),
    "clock": ("RequestTimeTooSkewed", 403, "clock_skew"),
    "expired": ("ExpiredToken", 400, "credentials"),
    "no bucket": ("NoSuchBucket", 404, "no_bucket"),
}


@pytest.mark.parametrize("command", ["rebuild", "prune"])
@pytest.mark.parametrize("case", [*REFUSALS, "web page"])
async def test_a_store_that_refuses_is_one_line_and_what_is_known_stays(  # noqa: PLR0917
    on_weed: OnS3, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, command: str
) -> None:
    on_weed.endpoint = gateway.endpoint
    hoard = _hoard(on_weed, tmp_path, monkeypatch)
    await hoard.lay(SITE, 1 * MONTH, {PACK: b"x"})
    before, objects = await known(hoard), await hoard.objects()
    if case == "web page":
        gateway.play(Trick(on="ListObjectVersions", page="<html>Sign in</html>", times=9))
        wanted = "not_s3"
    else:
        answer, status, wanted = REFUSALS[case]
        gateway.play(Trick(on="ListObjectVersions", code=answer, status=status, times=9))
    assert (await run(hoard, *COMMANDS[command], code=1)).error["code"] == wanted
    gateway.forget()
    assert (await known(hoard), await hoard.objects()) == (before, objects)


@pytest.mark.parametrize("command", ["rebuild", "prune", "doctor", "verify"])
async def test_a_bucket_that_is_not_there_is_said_so(
    on_weed: OnS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    hoard = _hoard(on_weed, tmp_path, monkeypatch)
    await hoard.lay(SITE, 1 * MONTH, {PACK: b"x"})
    hoard.machine.write(url="s3://vault-that-never-was/prefix")
    before = await known(hoard)
    assert (await run(hoard, *COMMANDS[command], code=1)).error["code"] == "no_bucket"
    assert await known(hoard) == before


async def test_nobody_listens(
    on_weed: OnS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nobody_listens: str
) -> None:
    hoard = _hoard(on_weed, tmp_path, monkeypatch)
    await hoard.lay(SITE, 1 * MONTH, {PACK: b"x"})
    hoard.machine.write(endpoint=nobody_listens)
    before = await known(hoard)
    refused = (await run(hoard, "vault", "rebuild", code=1)).error
    assert refused["code"] == "unreachable"
    assert nobody_listens.removeprefix("http://") in refused["message"]
    assert await known(hoard) == before


async def test_a_bucket_without_locks_is_told_by_the_doctor(
    on_weed: OnS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_weed.bucket = on_weed.server.bucket(lock=False)
    found = (await run(_hoard(on_weed, tmp_path, monkeypatch), "vault", "doctor", code=1)).json
    assert found["abilities"]["lock"] is None
    assert "not immutable: the store holds no lock, and [vault] asks for compliance" in found["problems"]


# ---------------------------------------------------------------- the key


@pytest.mark.parametrize("case", ["another", "missing", "none", "no identity"])
async def test_an_identity_that_does_not_open_it_changes_nothing(in_folder: Hoard, case: str) -> None:
    await in_folder.lay(SITE, 1 * MONTH, {PACK: b"x"})
    before = await known(in_folder)
    other = in_folder.folder / "other.txt"
    if case == "another":
        await run(in_folder, "key", "new", str(other))
    elif case == "no identity":
        other.write_text("AGE-SECRET-KEY-1NOTONE\n")
    elif case == "none":
        del in_folder.program.environment["MODOSERU_IDENTITY"]
    words = () if case == "none" else ("--identity", str(other))
    codes = {
        "another": "wrong_identity",
        "missing": "no_identity",
        "none": "no_identity",
        "no identity": "bad_identity",
    }
    refused = (await run(in_folder, "vault", "rebuild", *words, code=2 if case == "none" else 1)).error
    assert refused["code"] == codes[case]
    assert "SECRET" not in refused["message"]
    assert await known(in_folder) == before


async def test_an_entry_that_is_spoilt_stays_known(in_folder: Hoard) -> None:
    """It is named, and what this machine knows of it still tells which pieces are whose."""
    first, second = [await in_folder.lay(SITE, age * MONTH, {PACK: b"x"}) for age in (2, 1)]
    file = in_folder.folder / "off site" / first.object
    raw = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    found = (await run(in_folder, "vault", "rebuild", code=1)).json
    assert (found["entries"], len(found["problems"])) == (2, 1)
    assert first.object in found["problems"][0]
    assert {one.object for one in await known(in_folder)} == {first.object, second.object}


# ---------------------------------------------------------------- what lies in it


async def test_swapped_pieces_of_two_packs_are_told_apart(in_folder: Hoard) -> None:
    kept = await in_folder.lay(SITE, 1 * MONTH, {PACK: b"one", OTHER: b"two"})
    files = [in_folder.folder / "off site" / in_folder.packs[body][0].object for body in (b"one", b"two")]
    bodies = [file.read_bytes() for file in files]
    for file, body in zip(files, reversed(bodies), strict=True):
        file.chmod(0o600)
        file.write_bytes(body)
    found = (await run(in_folder, "verify", SITE, "--tier", "vault", code=1)).json
    assert (found["generation"], found["outcome"]) == (kept.entry.generation, "damaged")
    assert {f"packs/{name}.tar" for name in (PACK, OTHER)} <= {one["path"] for one in found["problems"]}


def summary(generation: str, site: str = SITE, **parts: bytes) -> bytes:
    sealed = {name: {"size": len(body), "sha256": sha(body)} for name, body in parts.items()}
    return json.dumps({"format": 1, "generation": generation, "site": site, **sealed, "packs": []}).encode()


@pytest.mark.parametrize("case", ["another generation's", "another site's", "other parts", "no summary", "sound"])
async def test_an_entry_whose_summary_is_of_something_else_is_never_called_whole(in_folder: Hoard, case: str) -> None:
    """Every hash fits, and on a new machine nothing else is known: the summary itself says what it is of."""
    manifest, dump = b"# modoseru manifest 1\n", b"dump"
    generation = "20260101T000000Z"
    text = {
        "another generation's": summary("20250101T000000Z", manifest=manifest, dump=dump),
        "another site's": summary(generation, "hikari.example", manifest=manifest, dump=dump),
        "other parts": summary(generation, manifest=manifest, dump=b"another"),
        "no summary": b"{}",
        "sound": summary(generation, manifest=manifest, dump=dump),
    }[case]
    await in_folder.entry(SITE, generation, {"summary.json": text, "manifest": manifest, "database.sql.gz": dump})
    await run(in_folder, "vault", "rebuild")
    if case != "sound":
        (kept,) = await known(in_folder)
        async with in_folder.program.session() as session:
            wanted = FromVault(entry=kept.entry, identity=in_folder.key)
            with pytest.raises(VaultError, match="is not that of"):
                _ = [event async for event in bring(session, session.fleet.site(SITE), wanted)]
    found = (await run(in_folder, "verify", SITE, "--tier", "vault", code=0 if case == "sound" else 1)).json
    assert found["outcome"] == ("ok" if case == "sound" else "damaged")
    if case != "sound":
        assert [(one["what"], one["path"]) for one in found["problems"]] == [
            ("is not the summary of this generation", "summary.json")
        ]


async def test_what_decrypts_to_more_than_it_says_is_left_at_its_end(in_folder: Hoard) -> None:
    """Whole, and as long as its entry says it is; only the bytes in clear are too many."""
    await in_folder.lay(SITE, 1 * MONTH, {PACK: bytes(40_000_000)})
    (piece,) = in_folder.packs[bytes(40_000_000)]
    part = Part(f"packs/{PACK}.tar", 10, "0" * 64, (piece,))
    came: list[int] = []

    async def read(store: Store) -> None:
        fetching = Fetching(store, in_folder.key, in_folder.folder / "scratch")
        async with aclosing(fetching.part(part)) as blocks:
            came.extend([len(block) async for block in blocks])

    async with in_folder.place.open() as store:
        with pytest.raises(VaultError, match="is not what was stored"):
            await read(store)
    assert came == []


async def test_a_piece_that_is_longer_than_any_is_not_fetched(
    in_folder: Hoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entry says so itself: this machine's disk is not filled with it."""
    await in_folder.lay(SITE, 1 * MONTH, {PACK: bytes(9_000_000)})
    (piece,) = in_folder.packs[bytes(9_000_000)]
    monkeypatch.setattr(vault_streams, "PIECE", 64 * 1024)
    async with in_folder.place.open() as opened:
        store = Faulty(opened)
        fetching = Fetching(store, in_folder.key, in_folder.folder / "scratch")
        with pytest.raises(VaultError, match="is not what was stored"):
            await fetching.whole(Part("manifest", 64 * 1024, "0" * 64, (piece,)), 64 * 1024)
        assert store.count["get"] == 0


# ---------------------------------------------------------------- copies


@pytest_asyncio.fixture(loop_scope="session")
async def deaf(s3_servers: S3Servers, home: Path) -> AsyncIterator[tuple[OnS3, Gateway]]:
    """Before moto, which looks at no signature: a header that is taken away is not missed."""
    async with Gateway(s3_servers.moto.endpoint) as opened:
        yield OnS3(s3_servers.moto, s3_servers.moto.bucket(), endpoint=opened.endpoint), opened


@pytest.mark.lab
@pytest.mark.parametrize("case", ["no lock in the bucket", "a bucket that lost it"])
async def test_a_copy_that_would_not_be_locked_makes_no_entry(  # noqa: PLR0917
    on_weed: OnS3, deaf: tuple[OnS3, Gateway], program: Program, fresh_site: Callable[[str], LabSite], tmp_path: Path,
    case: str,
) -> None:  # fmt: skip
    fresh_site(SITE)
    place, gateway = deaf
    if case == "no lock in the bucket":
        place = on_weed
        place.bucket = place.server.bucket(lock=False)
    else:
        headers = ("x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date")
        gateway.play(Trick(on="PutObject", times=99, deaf=headers))
    machine = Machine(program, place, tmp_path)
    await asyncio.to_thread(program, "backup", SITE, "--json")
    ended = (await asyncio.to_thread(program, "backup", SITE, "--tier", "vault", "--json", code=1)).json
    assert (ended["kind"], ended["outcome"]) == ("vault", "rolled_back")
    assert "lock" in ended["detail"].lower()
    assert "\n" not in ended["detail"]
    assert await asyncio.to_thread(machine.in_vault, SITE) == []
    async with place.open() as store:
        assert [item.name async for item in store.versions("catalogue/")] == []
