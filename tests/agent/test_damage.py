"""Whatever happened to a generation on the disk: verify says so, and a restore refuses before anything is touched."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from backends.agent.client import Agent, AgentError
from backends.records import GenerationState, Outcome
from backends.ssh import Servers
from tests.agent.small import Small, carry_out, summary_of, verify

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
Damage = Callable[[bytes], bytes]


class Kept(NamedTuple):
    small: Small
    agent: Agent
    generation: str
    seal: str
    before: object

    def file(self, artefact: str) -> Path:
        if artefact == "pack":
            return self.small.state / "packs" / f"{self.generation}.tar"
        return self.small.state / "generations" / self.generation / artefact

    def looks(self) -> object:
        return self.small.files(), self.small.tables()

    @contextlib.contextmanager
    def damaged(self, artefact: str, damage: Damage | None) -> Iterator[None]:
        """None: removed."""
        file = self.file(artefact)
        whole, mode = file.read_bytes(), file.stat().st_mode
        file.unlink()
        if damage is not None:
            file.write_bytes(damage(whole))
            file.chmod(mode)
            file.chmod(0o644)  # a test's file is root's; the agent can read it as it reads its own
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            file.write_bytes(whole)
            file.chmod(0o644)

    async def refusal(self) -> str:
        """How a restore ends, as an error's code; asserts that the site was left alone."""
        try:
            story = await carry_out(self.agent, "restore", generation=self.generation, only="all")
        except AgentError as error:
            code = error.code
        else:
            assert story.outcome is Outcome.ROLLED_BACK, story.end
            assert "switch" not in story.steps
            code = story.end.code or ""
        assert self.looks() == self.before
        assert self.small.litter() == []
        return code


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kept(small_of_module: Callable[..., Small], servers: Servers) -> Kept:
    """A generation, and a site that looks otherwise since: a restore would show."""
    small = small_of_module()
    small.write("wp-content/large.txt", b"the same line again and again\n" * 300_000)
    agent = small.agent(servers)
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.end.generation
    assert story.end.summary
    for path in ("index.php", "wp-content/large.txt", "wp-content/uploads/2026/09/photo.jpg"):
        small.write(path, b"<?php // later: nothing of it heals a pack")
    small.sql(f"DELETE FROM `{small.prefix}posts`")
    return Kept(small, agent, story.end.generation, story.end.summary, (small.files(), small.tables()))


def flipped(share: float) -> Damage:
    def damage(whole: bytes) -> bytes:
        at = min(len(whole) - 1, int(len(whole) * share))
        return whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]

    return damage


def cut(share: float) -> Damage:
    return lambda whole: whole[: int(len(whole) * share)]


def grown(whole: bytes) -> bytes:
    return whole + b"\0"


def instead(other: bytes) -> Damage:
    return lambda _: other


DAMAGES: dict[str, Damage | None] = {
    "removed": None,
    "emptied": cut(0),
    "cut to a tenth": cut(0.1),
    "cut in the middle": cut(0.5),
    "without its last byte": lambda whole: whole[:-1],
    "with a byte more": grown,
    "flipped at its beginning": flipped(0),
    "flipped in the middle": flipped(0.5),
    "flipped at its end": flipped(1),
    "of other bytes": lambda whole: b"x" * len(whole),
}
FRAME = {"with a byte more", "flipped at its beginning", "flipped at its end", "without its last byte"}
"""What hits the frame of a tar alone: it is made anew, whatever the live files are."""


@pytest.mark.parametrize("artefact", ["manifest", "database.sql.gz", "pack"])
async def test_damage_is_found_by_verify_and_refused_by_restore(kept: Kept, artefact: str) -> None:
    for what, damage in DAMAGES.items():
        with kept.damaged(artefact, damage):
            verification = await verify(kept.agent, kept.generation)
            assert verification.problems, what
            if artefact == "pack" and what in FRAME:
                assert (verification.outcome, verification.problems[0].healed) == ("ok", True), what
                continue
            assert verification.outcome == "damaged", what
            assert kept.file(artefact).name in {Path(one.path).name for one in verification.problems}, what
            assert await kept.refusal() == "damaged", what
    assert (await verify(kept.agent, kept.generation)).outcome == "ok"


async def test_a_summary_that_was_cut_or_lost_is_listed_as_damaged_and_not_restored(kept: Kept) -> None:
    for what in ("removed", "emptied", "cut in the middle", "without its last byte", "of other bytes"):
        with kept.damaged("summary.json", DAMAGES[what]):
            (listed,) = (await kept.agent.generations()).generations
            assert (listed.id, listed.state) == (kept.generation, GenerationState.DAMAGED), what
            found = await verify(kept.agent, kept.generation)
            assert (found.outcome, found.summary, found.problems[0].path) == ("damaged", None, "summary.json"), what
            assert await kept.refusal() == "damaged", what


async def test_a_summary_that_lacks_or_bends_a_part_is_damaged_and_no_internal_error(kept: Kept) -> None:
    summary = summary_of(kept.small, kept.generation)
    bent: list[dict[str, Any]] = [{key: value for key, value in summary.items() if key != gone} for gone in NEEDED]
    bent += [summary | {key: "nonsense"} for key in NEEDED if not isinstance(summary[key], str)]
    bent += [summary | {"packs": [{"id": "../../etc/passwd", "size": 1, "sha256": "x"}]}, summary | {"tables": [1]}]
    bent += [summary | {"areas": {"root": 5}}, summary | {"format": 2}, summary | {"generation": "20200101T000000Z"}]
    bent += [summary | {"dump": {}}, summary | {"manifest": {"size": "x", "sha256": 1}}, summary | {"created": "never"}]
    for other in bent:
        with kept.damaged("summary.json", instead(json.dumps(other).encode())):
            found = await verify(kept.agent, kept.generation)
            assert (found.outcome, found.summary) == ("damaged", None), other
            assert (await kept.agent.generations()).generations[0].state is GenerationState.DAMAGED


NEEDED = (
    "format", "generation", "created", "reason", "scanned", "abspath", "areas", "database", "counts", "tables", "packs",
    "manifest", "dump", "stored",
)  # fmt: skip


async def test_whatever_was_changed_in_a_summary_its_seal_tells(kept: Kept) -> None:
    """The server cannot know; whoever kept the seal does (DESIGN 3)."""
    changed = [flipped(share / 40) for share in range(41)]
    for number, damage in enumerate(changed):
        with kept.damaged("summary.json", damage):
            assert (await verify(kept.agent, kept.generation)).summary != kept.seal, number
    assert (await verify(kept.agent, kept.generation)).summary == kept.seal


async def test_a_manifest_that_leads_out_of_the_site_is_refused(kept: Kept) -> None:
    """Whoever holds the account can write a manifest and a summary that agree; no path of theirs leads out."""
    manifest = kept.file("manifest").read_bytes().split(b"\n")
    at = next(number for number, line in enumerate(manifest) if b"root/index.php" in line)
    for path in (
        b"root/../../evil",
        b"/etc/evil",
        b"root//evil",
        b"root/./evil",
        b"other/evil",
        b"root/\\0000evil",
        b"root/..",
    ):
        lines = [
            line.replace(b"root/index.php", path) if number == at else line for number, line in enumerate(manifest)
        ]
        with forged(kept, b"\n".join(lines)):
            assert await kept.refusal() == "damaged", path


async def test_a_link_in_a_manifest_leads_no_file_out_of_the_site(kept: Kept) -> None:
    outside = kept.small.write("../outside/of-another-site.txt", b"").parent
    manifest = kept.file("manifest").read_bytes().split(b"\n")
    at = next(number for number, line in enumerate(manifest) if b"root/index.php" in line)
    file = manifest[at].replace(b"root/index.php", b"root/aaa/evil.php")
    link = b"l 0777 0 0 0 0 0 0 - - - 0 0 root/aaa " + os.fsencode(outside)
    with forged(kept, b"\n".join([*manifest[:at], link, file, *manifest[at:]])):
        assert await kept.refusal() == "damaged"
    assert [path.name for path in outside.iterdir()] == ["of-another-site.txt"]


@contextlib.contextmanager
def forged(kept: Kept, manifest: bytes) -> Iterator[None]:
    """A manifest and a summary that vouches for it."""
    summary = summary_of(kept.small, kept.generation)
    summary["manifest"] = {"size": len(manifest), "sha256": hashlib.sha256(manifest).hexdigest()}
    with (
        kept.damaged("manifest", instead(manifest)),
        kept.damaged("summary.json", instead(json.dumps(summary).encode())),
    ):
        yield


async def test_a_forged_dump_runs_nothing_of_its_own(kept: Kept) -> None:
    """Statements that are not of their kind or table are refused before any of them reaches the server."""
    summary = summary_of(kept.small, kept.generation)
    p = kept.small.prefix
    part = next(one for one in summary["tables"] if one["name"] == f"{p}users")
    whole = kept.file("database.sql.gz").read_bytes()
    for kind, sql in (
        ("insert", f"DROP TABLE `{p}posts`"), ("create", f"CREATE TABLE `{p}other` (a int)"), ("set", "SET GLOBAL x=1"),
        ("set", "SET @m1='a'; DROP TABLE x"), ("set", "SET @m1=(SELECT 1)"), ("trigger", f"DROP TABLE `{p}posts`"),
        ("view", "CREATE TABLE x (a int)"), ("mode", "SET GLOBAL sql_mode=''"),
    ):  # fmt: skip
        text = f"-- @ {len(sql)} {kind} {p}users\n{sql};\n".encode()
        packed = gzip.compress(text)
        forged_part = part | {
            "offset": len(whole), "stored": len(packed), "size": len(text), "sha256": hashlib.sha256(text).hexdigest(),
        }  # fmt: skip
        dump = whole + packed
        other = summary | {
            "tables": [forged_part if one is part else one for one in summary["tables"]],
            "dump": summary["dump"] | {"size": len(dump), "sha256": hashlib.sha256(dump).hexdigest()},
        }
        with (
            kept.damaged("database.sql.gz", instead(dump)),
            kept.damaged("summary.json", instead(json.dumps(other).encode())),
        ):
            assert await kept.refusal() == "damaged", sql
