"""Parts on their way into a store and out of it: cut, encrypted, compared; what changed is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import random
import resource
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from backends import vault, vault_streams
from backends.records import VaultSettings
from backends.sealing import Identity, Recipients, SealingError, new_identity
from backends.store import Store, StoreError, open_store
from backends.vault import Entry, Holds, Part, Piece, VaultError
from backends.vault_streams import Fetching, Storing, catalogue

SMALL = 64 * 1024
pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "PIECE", SMALL)
    monkeypatch.setattr(vault_streams, "PIECE", SMALL)


@pytest.fixture
def key(tmp_path: Path) -> Identity:
    new_identity(tmp_path / "identity.txt")
    return Identity.read(tmp_path / "identity.txt")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    (tmp_path / "store").mkdir()
    async with open_store(VaultSettings(url=f"file://{tmp_path / 'store'}", lock="none")) as opened:
        yield opened


class Vault:
    """Both directions over one store, and what was kept of each piece."""

    def __init__(self, store: Store, key: Identity, folder: Path) -> None:
        self.folder = folder / "scratch"
        self.storing = Storing(store, Recipients(key.public), self.folder)
        self.fetching = Fetching(store, key, self.folder)
        self.kept: list[Piece] = []

    async def store_part(self, body: bytes, known: tuple[Piece, ...] = (), *, block: int = 10_000) -> Part:
        async def kept(number: int, piece: Piece) -> None:
            assert number == len(known) + len(self.kept)
            self.kept.append(piece)

        return await self.storing.part(_part(body), _blocks(body, block), known, kept)

    async def read(self, part: Part, start: int = 0) -> bytes:
        async with aclosing(self.fetching.part(part, start)) as blocks:
            return b"".join([block async for block in blocks])


@pytest.fixture
def way(store: Store, key: Identity, tmp_path: Path) -> Vault:
    return Vault(store, key, tmp_path)


def _part(body: bytes) -> Part:
    return Part("manifest", len(body), hashlib.sha256(body).hexdigest())


async def _blocks(body: bytes, block: int = 10_000) -> AsyncIterator[bytes]:
    for at in range(0, len(body), block):
        yield body[at : at + block]


def _by_hand(identity: Path, file: Path) -> bytes:
    return subprocess.run(["age", "-d", "-i", str(identity), str(file)], capture_output=True, check=True).stdout


def _bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 1, 5 * SMALL + 17])
async def test_what_went_in_comes_out(way: Vault, size: int) -> None:
    part = await way.store_part(_bytes(size))
    assert len(part.pieces) == max(1, -(-size // SMALL))
    assert list(part.pieces) == way.kept
    assert await way.read(part) == _bytes(size)
    assert await way.read(part, min(size, SMALL + 5)) == _bytes(size)[min(size, SMALL + 5) :]
    assert list(way.folder.iterdir()) == []


async def test_it_comes_out_by_age_and_cat_alone(way: Vault, store: Store, tmp_path: Path) -> None:
    body = _bytes(3 * SMALL + 5)
    part = await way.store_part(body)
    out = b""
    for piece in part.pieces:
        file = tmp_path / "store" / piece.object
        out += _by_hand(tmp_path / "identity.txt", file)
    assert out == body


async def test_an_attempt_that_ended_goes_on_after_its_last_whole_piece(way: Vault) -> None:
    body = _bytes(4 * SMALL)

    async def cut() -> AsyncIterator[bytes]:
        async for block in _blocks(body[: 2 * SMALL + 100]):
            yield block
        raise StoreError("cut", "the connection was lost")

    async def kept(_: int, piece: Piece) -> None:
        way.kept.append(piece)

    with pytest.raises(StoreError):
        await way.storing.part(_part(body), cut(), (), kept)
    assert len(way.kept) >= 1
    assert list(way.folder.iterdir()) == []
    known, way.kept = tuple(way.kept), []
    part = await way.store_part(body, known)
    assert part.pieces == (*known, *way.kept)
    assert await way.read(part) == body


async def test_bytes_that_are_not_those_of_the_summary_make_no_part(way: Vault) -> None:
    body = _bytes(2 * SMALL)
    for wrong in (body[:-1], body + b"x", body[:-1] + bytes([body[-1] ^ 1])):
        with pytest.raises(VaultError, match="not what was sealed"):
            await way.storing.part(_part(body), _blocks(wrong), (), _nobody)


async def _nobody(_: int, __: Piece) -> None:
    pass


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "swapped", "gone"])
async def test_a_piece_that_is_not_as_it_was_stored_is_refused(way: Vault, tmp_path: Path, damage: str) -> None:
    part = await way.store_part(_bytes(3 * SMALL))
    files = [tmp_path / "store" / piece.object for piece in part.pieces]
    for file in files:
        file.chmod(0o600)
    raw = files[1].read_bytes()
    if damage == "flipped":
        files[1].write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    elif damage == "cut":
        files[1].write_bytes(raw[:-1])
    elif damage == "longer":
        files[1].write_bytes(raw + b"x")
    elif damage == "swapped":
        files[1].write_bytes(files[0].read_bytes())
    else:
        files[1].unlink()
    with pytest.raises((VaultError, StoreError)) as refusal:
        await way.read(part)
    assert refusal.value.code in {"damaged", "missing"}
    assert list(way.folder.iterdir()) == []


async def test_another_identity_is_told_so_in_a_sentence(way: Vault, store: Store, tmp_path: Path) -> None:
    part = await way.store_part(b"secret")
    new_identity(tmp_path / "other.txt")
    other = Fetching(store, Identity.read(tmp_path / "other.txt"), tmp_path / "scratch")
    with pytest.raises(SealingError) as refusal:
        await other.whole(part, 100)
    assert refusal.value.code == "wrong_identity"


async def test_a_reader_that_leaves_early_leaves_nothing_behind(way: Vault) -> None:
    part = await way.store_part(_bytes(20 * SMALL))
    async with aclosing(way.fetching.part(part)) as blocks:
        await anext(blocks)
    assert list(way.folder.iterdir()) == []


async def test_a_writer_that_is_cancelled_leaves_whole_pieces_alone(way: Vault, tmp_path: Path) -> None:
    body, arrived = _bytes(8 * SMALL), asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        async for block in _blocks(body[: 5 * SMALL]):
            yield block
        arrived.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(way.storing.part(_part(body), stalling(), (), _nobody))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(way.folder.iterdir()) == []
    for file in (tmp_path / "store" / "pieces").iterdir():
        # Every object that is there is a whole age file.
        assert len(_by_hand(tmp_path / "identity.txt", file)) == SMALL


async def test_an_entry_makes_the_generation_known_and_a_stranger_s_is_told(way: Vault, store: Store) -> None:
    summary = await way.storing.part(
        Part("summary.json", 2, hashlib.sha256(b"{}").hexdigest()), _blocks(b"{}"), (), _nobody
    )
    now = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
    entry = Entry(
        site="kogyo.example", generation="20261122T142544Z", created=now, stored=now, holds=Holds(1, 2, 3, 4),
        parts=(summary,),
    )  # fmt: skip
    item = await way.storing.entry(entry)
    planted = b"age-encryption.org/v1 no"
    await store.put(f"{vault.CATALOGUE}/{'f' * 32}", planted, sha256=hashlib.sha256(planted).hexdigest())
    found = [one async for one in catalogue(store, way.fetching)]
    assert [(one.name, what) for one, what in found if isinstance(what, Entry)] == [(item.name, entry)]
    assert [what.code for _, what in found if not isinstance(what, Entry)] == ["damaged"]


async def test_memory_is_bounded_whatever_the_size(way: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of 192 MiB takes no more than its pieces' blocks; the process may have had more before."""
    monkeypatch.setattr(vault, "PIECE", 64 * 1024 * 1024)
    monkeypatch.setattr(vault_streams, "PIECE", 64 * 1024 * 1024)
    block, count = _bytes(4 * 1024 * 1024), 48
    hashed = hashlib.sha256()
    for _ in range(count):
        hashed.update(block)

    async def long() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield block

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    part = await way.storing.part(Part("manifest", count * len(block), hashed.hexdigest()), long(), (), _nobody)
    async with aclosing(way.fetching.part(part)) as blocks:
        assert sum([len(one) async for one in blocks]) == count * len(block)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024, f"{grown} KiB more"


async def test_a_part_that_nobody_reads_on_ends_its_thread(way: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for room that nobody makes any more; a fetch that is cancelled would wait for it for ever."""
    for module in (vault, vault_streams):
        monkeypatch.setattr(module, "PIECE", 16 * 1024 * 1024)
    part = await way.store_part(random.Random(8).randbytes(16 * 1024 * 1024), block=1_000_000)
    async with asyncio.timeout(60), aclosing(way.fetching.part(part)) as blocks:
        async for _ in blocks:
            await asyncio.sleep(0.2)  # the thread is ahead by all that it may be
            break
