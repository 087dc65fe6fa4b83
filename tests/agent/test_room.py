"""A disk that is full, or cannot be written: one clear error, nothing left behind, the site as before."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.agent.client import AgentError
from backends.records import Outcome
from backends.ssh import Servers
from tests.agent.small import Small, carry_out, shell

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
MIB = 1 << 20


def dense(site: Small, megabytes: int) -> None:
    """A table that is larger than the server says: its statistics are those of an empty one."""
    table = f"`{site.prefix}dense`"
    site.sql(f"CREATE TABLE {table} (a int, b longblob) STATS_PERSISTENT=1 STATS_AUTO_RECALC=0")
    part = ",".join(["RANDOM_BYTES(1024)"] * 64)
    site.sql(f"INSERT INTO {table} SELECT seq, CONCAT({part}) FROM seq_1_to_{megabytes * 16}")


def everything(site: Small) -> object:
    """The site, and what operations keep of it but for their own journals."""
    kept = {
        path: path.read_bytes()
        for sub in ("generations", "packs")
        for path in (site.state / sub).rglob("*")
        if path.is_file()
    }
    return site.files(), site.tables(), kept


def cannot_be_backed_up(story_code: str | None, site: Small, before: object) -> None:
    assert story_code == "no_space"
    assert everything(site) == before
    assert site.litter() == []


async def test_a_backup_that_cannot_fit_is_refused_before_it_begins_to_write(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    site.disk(site.state, 20 * MIB)
    agent = site.agent(servers)
    assert (await carry_out(agent, "snapshot", reason="hand")).outcome is Outcome.DONE
    site.write("wp-content/large.bin", random.Random(1).randbytes(8 * MIB))
    before = everything(site)
    story = await carry_out(agent, "snapshot", reason="hand")
    cannot_be_backed_up(story.end.code, site, before)
    assert story.steps == ["prepare"]
    assert "MB are needed" in story.end.detail
    assert "keep fewer generations" in story.end.hint
    (site.root / "wp-content/large.bin").unlink()
    assert (await carry_out(agent, "snapshot", reason="hand")).outcome is Outcome.DONE


@pytest.mark.parametrize(("step", "megabytes", "disk"), [("database", 26, 20), ("files", 18, 30)])
async def test_a_disk_that_fills_in_the_middle_of_a_backup_leaves_nothing_of_it(
    small: Callable[..., Small], servers: Servers, step: str, megabytes: int, disk: int
) -> None:
    site = small()
    site.disk(site.state, disk * MIB)
    agent = site.agent(servers)
    assert (await carry_out(agent, "snapshot", reason="hand")).outcome is Outcome.DONE
    dense(site, megabytes)
    site.write("wp-content/large.bin", random.Random(1).randbytes(11 * MIB) if step == "files" else b"")
    before = everything(site)
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.steps[-1] == step, story.end
    cannot_be_backed_up(story.end.code, site, before)
    assert "No space left on device" in story.end.detail
    site.sql(f"DROP TABLE `{site.prefix}dense`")
    (site.root / "wp-content/large.bin").unlink()
    assert (await carry_out(agent, "snapshot", reason="hand")).outcome is Outcome.DONE


async def test_a_site_that_outgrew_every_expectation_leaves_some_of_the_disk_free(
    small: Callable[..., Small], servers: Servers
) -> None:
    """With a gibibyte free nobody counts beforehand: a look at the disk, time and again, ends it."""
    site = small()
    site.disk(site.state, 1100 * MIB)
    agent = site.agent(servers)
    assert (await carry_out(agent, "snapshot", reason="hand")).outcome is Outcome.DONE
    site.write("wp-content/large.jpg", b"")
    os.truncate(site.root / "wp-content/large.jpg", 1400 * MIB)  # zeros, which a .jpg's pack keeps as they are
    before = everything(site)
    story = await carry_out(agent, "snapshot", reason="hand")
    cannot_be_backed_up(story.end.code, site, before)
    assert story.steps[-1] == "files"
    assert "changed more than the server has room for" in story.end.detail


async def test_quotas_of_the_configuration_count_as_the_disk_does(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    for limits, words in (({"bytes_max": 9000}, "the quota of 9.0 kB"), ({"files_max": 5}, "may hold 5 files")):
        story = await carry_out(site.agent(servers, **limits), "snapshot", reason="hand")
        assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "no_space")
        assert words in story.end.detail
    assert site.generations() == []
    assert site.litter() == []


async def test_inodes_that_run_out_while_a_restore_is_staged_leave_the_site_as_it_was(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    aside = site.base / "aside"
    site.root.rename(aside)
    site.disk(site.root, 64 * MIB, inodes=30)
    assert shell("cp", "-a", f"{aside}/.", f"{site.root}/")[0] == 0
    agent = site.agent(servers)
    generation = (await carry_out(agent, "snapshot", reason="hand")).end.generation
    site.write("index.php", b"<?php // later")
    before = everything(site)
    story = await carry_out(agent, "restore", generation=generation, only="all")
    assert story.steps[-1] == "stage"
    cannot_be_backed_up(story.end.code, site, before)
    assert not list(site.root.glob(".modoseru-*"))
    assert shell("mount", "-o", "remount,nr_inodes=200", site.root)[0] == 0
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE


async def test_a_restore_that_cannot_fit_is_refused_before_it_begins(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    site.write("wp-content/large.bin", b"x" * 12 * MIB)
    aside = site.base.with_name(f"{site.base.name}-aside")
    site.base.rename(aside)
    site.disk(site.base, 20 * MIB)
    assert shell("cp", "-a", f"{aside}/.", site.base)[0] == 0
    shutil.rmtree(aside)
    agent = site.agent(servers)
    generation = (await carry_out(agent, "snapshot", reason="hand")).end
    site.write("wp-content/large.bin", b"later")  # as it was, it would be linked and need no room
    before = everything(site)
    preview = await agent.preview(str(generation.generation), "all")
    assert [one.code for one in preview.blockers] == ["no_space"]
    story = await carry_out(agent, "restore", generation=generation.generation, only="all")
    assert story.steps == ["preflight"]
    cannot_be_backed_up(story.end.code, site, before)


async def test_a_disk_without_a_byte_left_is_told_at_the_launch(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    site.disk(site.state, 2 * MIB)
    agent = site.agent(servers)
    await agent.generations()
    assert shell("dd", "if=/dev/zero", f"of={site.state}/full", "bs=65536", "count=100")[0] != 0
    with pytest.raises(AgentError) as told:
        await carry_out(agent, "snapshot", reason="hand")
    assert told.value.code == "no_space"
    assert list((site.state / "ops").glob("*")) == []
    assert (await agent.generations()).generations == ()


@pytest.fixture
def sealed(small: Callable[..., Small]) -> tuple[Small, Path]:
    """A site whose state folder is to lie in a folder that the account cannot write."""
    site = small()
    folder = site.base / "sealed"
    folder.mkdir()
    folder.chmod(0o555)
    return site, folder


async def test_a_home_that_cannot_be_written_is_one_clear_error(sealed: tuple[Small, Path], servers: Servers) -> None:
    site, folder = sealed
    state = f"~/{folder.relative_to(site.within.home)}/.modoseru"
    agent = site.agent(servers, state=state)
    before = site.files()
    for ask in (agent.inspect(), agent.generations()):
        with pytest.raises(AgentError) as told:
            await ask
        assert told.value.code == "no_state"
        assert "Permission denied" in str(told.value)
        assert told.value.hint
    with pytest.raises(AgentError) as told:
        await carry_out(agent, "snapshot", reason="hand")
    assert told.value.code == "no_state"
    assert site.files() == before
    assert list(folder.iterdir()) == []


async def test_a_state_folder_that_became_read_only_is_one_clear_error(
    sealed: tuple[Small, Path], servers: Servers
) -> None:
    site, folder = sealed
    folder.chmod(0o755)
    shell("chown", f"{site.within.uid}:{site.within.uid}", folder)
    agent = site.agent(servers, state=f"~/{folder.relative_to(site.within.home)}/.modoseru")
    generation = (await carry_out(agent, "snapshot", reason="hand")).end.generation
    before = site.files()
    inner = folder / ".modoseru" / site.name
    assert shell("chmod", "-R", "a-w", inner)[0] == 0
    assert len((await agent.generations()).generations) == 1
    requests: dict[str, dict[str, Any]] = {"snapshot": {}, "restore": {"generation": generation, "only": "all"}}
    for verb, request in requests.items():
        with pytest.raises(AgentError) as told:
            await carry_out(agent, verb, **request)
        assert told.value.code == "no_state", told.value
    assert site.files() == before
