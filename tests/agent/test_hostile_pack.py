"""Packs and dumps by somebody who can seal everything anew: whatever lies in them, nothing leaves the site's root."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from backends.agent.client import Agent, AgentError
from backends.records import Outcome
from backends.ssh import Servers
from tests.agent.copies import adopt, bring, copy_of
from tests.agent.small import Small, carry_out, summary_of, verify

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
EVIL = b"<?php echo 'evil';"


class Member(NamedTuple):
    """Of a tar."""

    name: str
    type: bytes = tarfile.REGTYPE
    target: str = ""
    body: bytes = EVIL


def members(outside: Path) -> dict[str, list[Member]]:
    """What tar itself would write outside, or make of the account's rights, one case each."""
    return {
        "climbing": [Member("root/../../../outside/evil.php")],
        "absolute": [Member(str(outside / "evil.php"))],
        "device": [Member("root/null", tarfile.CHRTYPE, body=b"")],
        "pipe": [Member("root/pipe", tarfile.FIFOTYPE, body=b"")],
        "hard link": [
            Member("root/hard.php", tarfile.LNKTYPE, str(outside / "theirs.php"), b""), Member("root/hard.php"),
        ],
        "through a link": [
            Member("root/way", tarfile.SYMTYPE, str(outside), b""), Member("root/way/evil.php"),
        ],
    }  # fmt: skip


CASES = ["climbing", "absolute", "device", "pipe", "hard link", "through a link"]


def tar_of(chosen: list[Member]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for member in chosen:
            info = tarfile.TarInfo(member.name)
            info.type, info.linkname, info.size = member.type, member.target, len(member.body)
            if member.type == tarfile.CHRTYPE:
                info.devmajor, info.devminor = 1, 3
            tar.addfile(info, io.BytesIO(member.body))
    return out.getvalue()


def sealed(content: bytes) -> dict[str, object]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@contextlib.contextmanager
def outside_of(site: Small) -> Iterator[Path]:
    """A folder beside the root that the account may write, and that no restore may."""
    folder = site.write("../outside/theirs.php", b"<?php // theirs").parent
    yield folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"theirs.php": b"<?php // theirs"}


async def snapshot(site: Small, agent: Agent) -> str:
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.outcome is Outcome.DONE, story.end
    assert story.end.generation
    return story.end.generation


def replace(site: Small, path: str, content: bytes) -> None:
    file = site.state / path
    file.unlink()
    file.write_bytes(content)
    os.chown(file, site.within.uid, site.within.uid)


@pytest.mark.parametrize("where", ["before", "behind"])
@pytest.mark.parametrize("case", CASES)
async def test_members_of_a_pack_that_the_manifest_does_not_name_are_never_made(
    small: Callable[..., Small], servers: Servers, case: str, where: str
) -> None:
    """Pack, manifest and summary agree, and come by the way that the vault's copies come."""
    site = small()
    agent = site.agent(servers)
    generation = await snapshot(site, agent)
    before = site.files()
    with outside_of(site) as outside:
        copy = await copy_of(agent, generation)
        planted, pack = tar_of(members(outside)[case]).rstrip(b"\0"), copy.parts[generation]
        planted += bytes(-len(planted) % 512)
        manifest = copy.parts["manifest"]
        if where == "before":
            pack = planted + pack
            manifest = moved(manifest, len(planted))
        else:
            pack = pack.rstrip(b"\0") + bytes(-len(pack.rstrip(b"\0")) % 512) + planted + bytes(1024)
        summary = json.loads(copy.summary)
        summary["packs"] = [one | sealed(pack) for one in summary["packs"]]
        summary["manifest"] = sealed(manifest)
        copy = copy.sealed_as(generation, json.dumps(summary).encode())
        copy.parts.update({generation: pack, "manifest": manifest})
        for path in ("packs", "generations"):
            for old in (site.state / path).iterdir():
                remove(old)
        (site.root / "index.php").write_bytes(b"<?php // changed since")
        await bring(agent, copy)
        await adopt(agent, copy)
        story = await carry_out(agent, "restore", generation=generation, only="all", seal=copy.seal, fresh=True)
        assert story.outcome is Outcome.DONE, story.end
        assert site.files() == before
    assert site.litter() == []


def moved(manifest: bytes, by: int) -> bytes:
    """The manifest of a pack before which `by` bytes were put."""
    lines = manifest.split(b"\n")
    for number, line in enumerate(lines):
        fields = line.split(b" ")
        if fields[0] == b"f" and len(fields) == 15 and fields[10] != b"-":
            fields[11] = str(int(fields[11]) + by).encode()
            lines[number] = b" ".join(fields)
    return b"\n".join(lines)


def remove(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            inner.unlink()
        path.rmdir()
    else:
        path.unlink()


@pytest.mark.parametrize("told", [1000, None], ids=["a small size", "the old size"])
async def test_a_dump_that_inflates_to_more_than_the_summary_says_is_refused_without_inflating_it(
    small: Callable[..., Small], servers: Servers, told: int | None
) -> None:
    """300 MB out of 300 KB: neither the disk nor the memory of the account is filled with it."""
    site = small()
    agent = site.agent(servers)
    generation = await snapshot(site, agent)
    looks = site.files(), site.tables()
    summary = summary_of(site, generation)
    path = f"generations/{generation}"
    whole = (site.state / path / "database.sql.gz").read_bytes()
    bomb = gzip.compress(b"-- @ 100 insert x\n" + bytes(300_000_000), 9)
    part = next(one for one in summary["tables"] if one["name"] == f"{site.prefix}users")
    forged = part | {"offset": len(whole), "stored": len(bomb), "size": told or part["size"], "sha256": "0" * 64}
    dump = whole + bomb
    summary["tables"] = [forged if one is part else one for one in summary["tables"]]
    summary["dump"] |= sealed(dump)
    replace(site, f"{path}/database.sql.gz", dump)
    replace(site, f"{path}/summary.json", json.dumps(summary).encode())
    assert (await verify(agent, generation)).outcome == "damaged"
    with contextlib.suppress(AgentError):
        story = await carry_out(agent, "restore", generation=generation, only="all")
        assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "damaged"), story.end
    assert (site.files(), site.tables()) == looks
    assert site.litter() == []


@pytest.mark.parametrize("what", ["summary", "manifest"])
async def test_a_newer_format_becomes_no_generation_here(
    small: Callable[..., Small], servers: Servers, what: str
) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await snapshot(site, agent)
    copy = await copy_of(agent, generation)
    summary = json.loads(copy.summary)
    if what == "summary":
        summary["format"] = 2
    else:
        copy.parts["manifest"] = copy.parts["manifest"].replace(b"# modoseru manifest 1\n", b"# modoseru manifest 2\n")
        summary["manifest"] = sealed(copy.parts["manifest"])
    copy = copy.sealed_as(generation, json.dumps(summary).encode())
    for place in ("packs", "generations"):
        for old in (site.state / place).iterdir():
            remove(old)
    before = site.files(), site.tables()

    async def taken() -> None:
        await bring(agent, copy)
        await adopt(agent, copy)

    with pytest.raises(AgentError) as refused:
        await taken()
    assert refused.value.code == "damaged"
    assert "\n" not in refused.value.message + refused.value.hint
    assert (site.files(), site.tables()) == before
    assert site.generations() == []
