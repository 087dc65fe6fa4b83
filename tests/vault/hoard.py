"""A vault with a past, laid into a store as copies lay it, for a fleet whose servers nobody asks."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import tomli_w

from backends.journal_catalogue import Kept
from backends.sealing import Identity, Recipients
from backends.store import Lock
from backends.vault import Entry, Holds, Part, Piece
from backends.vault_streams import Fetching, Storing
from tests.operations.program import Program
from tests.store.grounds import Ground
from tests.vault.machine import Machine

MONTH = dt.timedelta(days=31)


def empty_program(folder: Path, *names: str) -> Program:
    """An operator's machine whose sites lie on no server."""
    config = folder / "config"
    (config / "sites.d").mkdir(parents=True)
    made = Program(config, folder / "state")
    made.write_fleet({"fleet": {"name": "x"}})
    for name in names:
        ssh = {"host": "127.0.0.1", "port": 9, "user": "x"}
        table = {
            "name": name,
            "url": f"https://{name}/",
            "ssh": ssh,
            "server": {"root": f"~/{name}", "php": "/usr/bin/php"},
        }
        (config / "sites.d" / f"{name}.toml").write_text(tomli_w.dumps(table))
    return made


class Hoard:
    """`machine`'s vault; parts of the same bytes are stored once, as packs are."""

    def __init__(self, place: Ground, folder: Path, *names: str) -> None:
        self.machine = Machine(empty_program(folder, *names), place, folder)
        self.program, self.place, self.folder = self.machine.program, place, folder
        self.key = Identity.read(self.machine.identity)
        self.packs: dict[bytes, tuple[Piece, ...]] = {}

    async def lay(
        self, site: str, age: dt.timedelta, packs: Mapping[str, bytes], *, verified: bool = True, known: bool = True,
        locked: dt.timedelta | None = None,
    ) -> Kept:  # fmt: skip
        """A generation that was copied `age` ago."""
        now = dt.datetime.now(dt.UTC)
        at = (now - age).replace(microsecond=0)
        lock = Lock(mode="compliance", until=now + locked) if locked else None
        texts = {"summary.json": f"{site} {at}".encode(), "manifest": f"manifest {site} {at}".encode()}
        texts |= {f"packs/{name}.tar": body for name, body in packs.items()}
        kept = await self.entry(site, f"{at:%Y%m%dT%H%M%SZ}", texts, lock)
        async with self.program.session() as session:
            if known:
                await session.journal.catalogue.keep(kept)
            if known and verified:
                await session.journal.note_generation_fact(site, kept.entry.generation, "vault", "verified_at", now)
        return kept

    async def entry(self, site: str, generation: str, texts: Mapping[str, bytes], lock: Lock | None = None) -> Kept:
        """Its parts and its entry, which this machine does not know."""
        at = dt.datetime.strptime(generation, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        async with self.place.open() as store:
            storing = Storing(store, Recipients([self.machine.recipient]), self.folder / "scratch", lock)
            parts = tuple([await self._part(storing, name, body) for name, body in texts.items()])
            entry = Entry(site=site, generation=generation, created=at, stored=at, holds=Holds(1, 2, 3, 4), parts=parts)
            item = await storing.entry(entry)
        return Kept(entry=entry, object=item.name, version=item.version)

    async def _part(self, storing: Storing, name: str, body: bytes) -> Part:
        async def blocks() -> AsyncIterator[bytes]:
            yield body

        async def stored(_: int, __: Piece) -> None:
            pass

        wanted = Part(name, len(body), hashlib.sha256(body).hexdigest())
        if body not in self.packs:
            self.packs[body] = (await storing.part(wanted, blocks(), (), stored)).pieces
        return Part(wanted.name, wanted.size, wanted.sha256, self.packs[body])

    async def whole(self, kept: Kept) -> bool:
        """Every part of a generation, and its entry, read back."""
        async with self.place.open() as store:
            fetching = Fetching(store, self.key, self.folder / "scratch")
            item = await store.head(kept.object)
            assert item is not None
            assert await fetching.entry(item) == kept.entry
            for part in kept.entry.parts:
                await fetching.whole(part, part.size)
        return True

    async def objects(self) -> set[str]:
        """Whatever has a version."""
        async with self.place.open() as store:
            return {item.name async for item in store.versions()}


def names(*entries: Kept) -> set[str]:
    """The objects of these generations."""
    return {one.object for one in entries} | {piece.object for one in entries for piece in one.entry.pieces()}
