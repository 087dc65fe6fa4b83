"""Whatever happened to a byte of what is kept: verify finds it, a restore refuses it, and none of it goes live."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from backends.agent.client import AgentError
from backends.records import Outcome
from tests.agent.small import Small, carry_out, verify
from tests.faults.desk import Desk
from tests.lab import Lab

pytestmark = pytest.mark.lab
ARTEFACTS = ("database.sql.gz", "pack", "manifest", "summary.json")
KEPT = settings(
    max_examples=40, derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


class Damage(NamedTuple):
    """`how` at `share` of the way through the file, with `bits` where a byte is flipped."""

    how: str
    share: float
    bits: int

    def done_to(self, whole: bytes) -> bytes | None:
        at = min(len(whole) - 1, int(len(whole) * self.share))
        match self.how:
            case "flip":
                return whole[:at] + bytes([whole[at] ^ self.bits]) + whole[at + 1 :]
            case "cut":
                return whole[:at]
            case "gap":
                return whole[:at] + whole[at + 1 :]
            case "zeros":
                length = min(512, len(whole) - at)
                return whole[:at] + (b"\1" if whole[at] == 0 else b"\0") + b"\0" * (length - 1) + whole[at + length :]
            case "empty":
                return b""
        return None


DAMAGES = st.builds(
    Damage,
    st.sampled_from(["flip", "cut", "gap", "zeros", "empty", "remove"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 255),
)


class Shelf(NamedTuple):
    """A generation whose seal was kept, and a site that looks otherwise since."""

    desk: Desk
    site: Small
    generation: str
    seal: str
    old: object
    new: object

    def file(self, artefact: str) -> Path:
        if artefact == "pack":
            return self.site.state / "packs" / f"{self.generation}.tar"
        return self.site.state / "generations" / self.generation / artefact

    def looks(self) -> object:
        return self.site.files(), self.site.tables()


@pytest.fixture(scope="module")
def shelf(lab: Lab) -> Iterator[Shelf]:
    site = Small(lab, lab.site("kogyo.example"), "f0.example").build()
    site.write("wp-content/large.txt", b"the same line again and again\n" * 9_000)
    desk = Desk(site)
    try:
        made = desk.of(carry_out(desk.agent, "snapshot", reason="hand"))
        assert made.end.generation
        assert made.end.summary
        good = site.files(), site.tables()
        for path in ("index.php", "wp-content/large.txt", "wp-content/uploads/2026/09/photo.jpg"):
            site.write(path, b"<?php // later: nothing of it heals a pack")
        site.sql(f"DELETE FROM `{site.prefix}posts`")
        yield Shelf(desk, site, made.end.generation, made.end.summary, (site.files(), site.tables()), good)
    finally:
        desk.close()
        site.remove()


@contextlib.contextmanager
def damaged(file: Path, damage: Damage) -> Iterator[bytes]:
    whole, owner = file.read_bytes(), file.stat()
    after = damage.done_to(whole)
    file.unlink()
    if after is not None:
        file.write_bytes(after)
        file.chmod(0o644)
    try:
        yield whole
    finally:
        file.unlink(missing_ok=True)
        file.write_bytes(whole)
        file.chmod(0o644)
        os.chown(file, owner.st_uid, owner.st_gid)


@KEPT
@given(artefact=st.sampled_from(ARTEFACTS), damage=DAMAGES)
@example(artefact="pack", damage=Damage("flip", 0.999, 1))
@example(artefact="summary.json", damage=Damage("remove", 0, 1))
def test_damage_at_any_place_is_found_by_verify_or_healed_to_the_byte(
    shelf: Shelf, artefact: str, damage: Damage
) -> None:
    with damaged(shelf.file(artefact), damage) as whole:
        found = shelf.desk.of(verify(shelf.desk.agent, shelf.generation, seal=shelf.seal))
        if found.outcome == "ok":
            assert found.problems
            assert all(one.healed for one in found.problems)
            assert shelf.file(artefact).read_bytes() == whole
        else:
            assert found.outcome == "damaged"
            assert found.problems
    assert shelf.looks() == shelf.old


async def restored(shelf: Shelf) -> str:
    try:
        story = await carry_out(shelf.desk.agent, "restore", generation=shelf.generation, only="all", seal=shelf.seal)
    except AgentError as refused:
        return refused.code
    return story.end.code or story.outcome.value


@KEPT
@given(artefact=st.sampled_from(ARTEFACTS), damage=DAMAGES)
@example(artefact="summary.json", damage=Damage("flip", 0.5, 1))
def test_no_damage_at_any_place_is_served(shelf: Shelf, artefact: str, damage: Damage) -> None:
    """A restore that did not need the damaged byte may well succeed: then it is the generation to the byte."""
    with damaged(shelf.file(artefact), damage):
        ended = shelf.desk.of(restored(shelf))
    assert ended in ("done", "damaged")
    done = ended == "done"
    assert not done or artefact == "pack"
    assert shelf.looks() == (shelf.new if done else shelf.old)
    assert shelf.site.litter() == []
    if done:
        back = shelf.desk.of(carry_out(shelf.desk.agent, "undo"))
        assert back.outcome is Outcome.DONE, back.end
        assert shelf.looks() == shelf.old
