"""A vault as the first release wrote it, kept as files: every later one reads it to the same bytes."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import shutil
import tarfile
from pathlib import Path

import pytest

from app import vault
from backends.sealing import Identity, Recipients
from backends.vault import CATALOGUE
from backends.vault_streams import Fetching
from tests.store.grounds import InFolder, sha
from tests.vault.hoard import Hoard

pytestmark = [pytest.mark.asyncio(loop_scope="session")]
KEPT = Path(__file__).parent / "format1"
SITE, FIRST, SECOND = "kogyo.example", "20251009T085320Z", "20251109T085320Z"


@pytest.fixture
def hoard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hoard:
    """A new machine of which the store and the identity are all that is left."""
    folder = tmp_path / "off site"
    for kind in ("pieces", "catalogue"):
        shutil.copytree(KEPT / kind, folder / kind)
    made = Hoard(InFolder(folder), tmp_path, SITE)
    shutil.copy(KEPT / "identity.txt", made.machine.identity)
    monkeypatch.setenv("MODOSERU_STATE", str(made.program.state))
    made.program.environment["MODOSERU_IDENTITY"] = str(made.machine.identity)
    return made


async def test_it_is_known_again_and_read_to_the_same_bytes(hoard: Hoard) -> None:
    found = (await asyncio.to_thread(hoard.program, "vault", "rebuild", "--json")).json
    assert (found["entries"], found["sites"], found["problems"]) == (2, [SITE], [])
    parts: dict[str, dict[str, bytes]] = {}
    async with hoard.program.session() as session, hoard.place.open() as store:
        fetching = Fetching(store, vault.wanted_identity(hoard.machine.identity), hoard.folder / "scratch")
        for kept in await session.journal.catalogue.entries(SITE):
            entry = kept.entry
            parts[entry.generation] = {part.name: await fetching.whole(part, part.size) for part in entry.parts}
            assert f"{entry.created:%Y%m%dT%H%M%SZ}" == entry.generation
            assert (entry.stored - entry.created).total_seconds() == 300
            assert (entry.holds.files, entry.holds.bytes, entry.holds.tables, entry.holds.rows) == (1, 13, 1, 2)
    assert list(parts) == [SECOND, FIRST]
    for number, (generation, packs) in enumerate({FIRST: [FIRST], SECOND: [FIRST, SECOND]}.items(), 1):
        read = parts[generation]
        assert read["summary.json"] == f'{{"format":1,"generation":"{generation}"}}'.encode()
        assert read["manifest"] == f"modoseru manifest 1\n{generation}\n".encode()
        assert gzip.decompress(read["database.sql.gz"]) == f"INSERT {number};\n".encode()
        assert [name for name in read if name.startswith("packs/")] == [f"packs/{pack}.tar" for pack in packs]
    assert _member(parts[SECOND][f"packs/{FIRST}.tar"]) == ("root/index.php", b"<?php // one\n")
    assert _member(parts[SECOND][f"packs/{SECOND}.tar"]) == ("root/later.txt", "後から\n".encode())
    everything = b"".join(body for read in parts.values() for body in read.values())
    assert hashlib.sha256(everything).hexdigest() == DIGEST


DIGEST = "fb95acb96ce37d20e551db7359eafabebd5ffbeed0a077738048f33dce28d1e9"


def _member(pack: bytes) -> tuple[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(pack)) as tar:
        (member,) = tar.getmembers()
        file = tar.extractfile(member)
        assert file is not None
        return member.name, file.read()


async def test_an_entry_of_a_newer_format_is_told_in_one_line_and_keeps_the_others(hoard: Hoard) -> None:
    sealed = io.BytesIO()
    Recipients(Identity.read(hoard.machine.identity).public).encrypt(io.BytesIO(b"modoseru vault 2\nmore\n"), sealed)
    async with hoard.place.open() as store:
        body = sealed.getvalue()
        await store.put(f"{CATALOGUE}/{'2' * 32}", body, sha256=sha(body))
    found = (await asyncio.to_thread(hoard.program, "vault", "rebuild", "--json", code=1)).json
    assert found["entries"] == 2
    assert found["problems"] == [
        f"{CATALOGUE}/{'2' * 32}: it was written by a newer Modoseru (modoseru vault 2)",
    ]
