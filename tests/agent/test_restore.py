"""A restore of whatever is left of a site, wherever it lies: wholly back, or wholly as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

from backends.agent.client import Agent, AgentError
from backends.records import Outcome
from backends.ssh import Servers
from tests.agent.small import Small, Tree, carry_out, follow, is_wrong, shell, without
from tests.lab import disks

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
CACHED = rb"wp-content/cache(/.*)?"


async def saved(site: Small, agent: Agent) -> tuple[str, Tree, dict[str, tuple[str, ...]]]:
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.end.generation
    return story.end.generation, without(site.files(), CACHED), site.tables()


def ruin(site: Small) -> None:
    site.write("index.php", b"<?php echo 'HACKED';")
    site.write("wp-content/evil.php", b"<?php evil();")
    (site.root / "wp-admin/index.php").unlink(missing_ok=True)
    site.sql(f"UPDATE `{site.prefix}options` SET option_value='evil'; DROP TABLE `{site.prefix}users`")
    site.sql(f"CREATE TABLE `{site.prefix}evil` (a int)")


# ---------------------------------------------------------------- what is left of it


@pytest.mark.parametrize("gone", ["document root", "its folder too", "wp-config.php", "index.php", "wp-load.php"])
async def test_a_site_of_which_something_is_gone_comes_back_whole(
    small: Callable[..., Small], servers: Servers, gone: str
) -> None:
    site = small()
    agent = site.agent(servers)
    generation, files, tables = await saved(site, agent)
    site.sql(f"DELETE FROM `{site.prefix}posts`")
    match gone:
        case "document root":
            shutil.rmtree(site.root)
        case "its folder too":
            shutil.rmtree(site.base)
        case _:
            (site.root / gone).unlink()
    left = site.files()
    preview = await agent.preview(generation, "all")
    assert preview.blockers == ()
    assert (await agent.operations())[0].kind == "backup"  # the site is still listed
    story = await carry_out(agent, "restore", generation=generation, only="all")
    assert story.outcome is Outcome.DONE, story.end
    assert without(site.files(), CACHED) == files
    assert site.tables() == tables
    assert all(place.stat().st_mode & 0o111 == 0o111 for place in (site.root, site.base))
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert site.files() == left
    assert site.litter() == []


@pytest.mark.parametrize("changed", [{"db_password": "wrong"}, {"prefix": "evil_"}, {"db_name": "nowhere"}])
async def test_a_configuration_that_leads_astray_is_no_obstacle(
    small: Callable[..., Small], servers: Servers, changed: dict[str, str]
) -> None:
    """The generation's own wp-config.php knows the database; the undo brings the wrong one back all the same."""
    site = small()
    agent = site.agent(servers)
    generation, files, tables = await saved(site, agent)
    ruin(site)
    site.config(**changed)
    ruined, ruined_tables = site.files(), site.tables()
    story = await carry_out(agent, "restore", is_wrong, generation=generation, only="all")
    assert story.outcome is Outcome.ROLLED_BACK, story.end
    assert (site.files(), site.tables()) == (ruined, ruined_tables)
    story = await carry_out(agent, "restore", generation=generation, only="all")
    assert story.outcome is Outcome.DONE, story.end
    assert (without(site.files(), CACHED), site.tables()) == (files, tables)
    for wanted in ((ruined, ruined_tables), (files, tables)):
        undone = await carry_out(agent, "undo")
        assert undone.outcome is Outcome.DONE, undone.end
        assert (without(site.files(), CACHED), site.tables()) == (without(wanted[0], CACHED), wanted[1])
    assert site.litter() == []


async def test_files_and_database_come_back_apart(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation, files, tables = await saved(site, agent)
    ruin(site)
    ruined, ruined_tables = without(site.files(), CACHED), site.tables()
    assert (await carry_out(agent, "restore", generation=generation, only="files")).outcome is Outcome.DONE
    assert (without(site.files(), CACHED), site.tables()) == (files, ruined_tables)
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert (await carry_out(agent, "restore", generation=generation, only="database")).outcome is Outcome.DONE
    assert (without(site.files(), CACHED), site.tables()) == (ruined, tables)
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert (without(site.files(), CACHED), site.tables()) == (ruined, ruined_tables)


async def test_paths_come_back_alone_and_nothing_else_is_touched(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    odd = "wp-content/uploads/日本語\n'odd' $(name)"
    site.write(f"{odd}/a.txt", b"odd")
    agent = site.agent(servers)
    generation, files, _ = await saved(site, agent)
    ruin(site)
    site.write(f"{odd}/evil.txt", b"evil")
    shutil.rmtree(site.root / "wp-content/plugins")
    ruined, tables = site.files(), site.tables()
    only = ["index.php", odd, "wp-content/plugins/hello/hello.php", "wp-content/plugins", f"{odd}/a.txt"]
    story = await carry_out(agent, "restore", generation=generation, only=only)
    assert story.outcome is Outcome.DONE, story.end
    after = site.files()
    wanted = [b"index.php", os.fsencode(odd), b"wp-content/plugins"]
    for path in files.keys() | after.keys():
        here = any(path == one or path.startswith(one + b"/") for one in wanted)
        source = files if here else ruined
        assert after.get(path) == source.get(path), path
    assert site.tables() == tables
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert site.files() == ruined
    assert site.litter() == []


async def test_a_path_that_the_generation_lacks_changes_nothing(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation, _, _ = await saved(site, agent)
    before = site.files()
    for only in (["index.php", "no/such/file"], ["wp-content/cache"], ["wp-content/cache/page.html"]):
        story = await carry_out(agent, "restore", generation=generation, only=only)
        assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "no_generation"), story.end
    assert site.files() == before
    assert site.litter() == []


async def test_a_maintenance_page_of_somebody_else_is_not_taken_away(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    generation, _, _ = await saved(site, agent)
    theirs = b"<?php $upgrading = 1234567890; // a plugin that stopped half-way"
    site.write(".maintenance", theirs)
    story = await carry_out(agent, "restore", is_wrong, generation=generation, only="all")
    assert story.outcome is Outcome.ROLLED_BACK
    assert (site.root / ".maintenance").read_bytes() == theirs
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
    assert not (site.root / ".maintenance").exists()
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert (site.root / ".maintenance").read_bytes() == theirs


# ---------------------------------------------------------------- where it lies


@pytest.mark.parametrize(
    "place", ["parent not writable", "file system of its own", "bound from the same disk", "a link"]
)
async def test_a_document_root_that_cannot_be_renamed_is_restored_entry_by_entry(
    small: Callable[..., Small], servers: Servers, place: str
) -> None:
    site = small()
    match place:
        case "parent not writable":
            os.chown(site.base, 0, 0)
        case "file system of its own":
            aside = site.base / "aside"
            site.root.rename(aside)
            site.disk(site.root, 64 << 20)
            assert shell("cp", "-a", f"{aside}/.", f"{site.root}/")[0] == 0
            shutil.rmtree(aside)
        case "bound from the same disk":
            aside = site.base / "aside"
            site.root.rename(aside)
            site.root.mkdir()
            assert shell("mount", "--bind", aside, site.root)[0] == 0
        case "a link":
            site.root.rename(site.base / "release")
            site.root.symlink_to("release")
    agent = site.agent(servers)
    generation, files, tables = await saved(site, agent)
    ruin(site)
    site.root.chmod(0o777)
    site.write("evil folder/evil.php", b"<?php evil();")
    shutil.rmtree(site.root / "wp-includes")
    ruined, ruined_tables = site.files(), site.tables()
    story = await carry_out(agent, "restore", is_wrong, generation=generation, only="all")
    assert story.outcome is Outcome.ROLLED_BACK, story.end
    assert (site.files(), site.tables()) == (ruined, ruined_tables)
    story = await carry_out(agent, "restore", generation=generation, only="all")
    assert story.outcome is Outcome.DONE, story.end
    evidence = rb"\.modoseru-.*"
    assert without(site.files(), CACHED, evidence) == without(files, CACHED, evidence)
    assert site.tables() == tables
    # What was overwritten may lie inside the root: the next generation has none of it.
    again = await carry_out(agent, "snapshot", reason="hand")
    assert again.end.detail.startswith("8 files"), again.end
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert without(site.files(), evidence, CACHED) == without(ruined, evidence, CACHED)
    assert site.tables() == ruined_tables
    assert site.litter() == []
    disks.unmount_below(site.base)


async def test_uploads_on_another_disk_come_back_on_that_disk(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    uploads = site.root / "wp-content/uploads"
    shutil.rmtree(uploads)
    site.disk(site.base / "big disk", 64 << 20)
    real = site.base / "big disk/uploads"
    real.mkdir()
    (real / "photo.jpg").write_bytes(b"photo" * 1000)
    uploads.symlink_to(real)
    site.own()
    agent = site.agent(servers)
    generation, files, _ = await saved(site, agent)
    device = real.stat().st_dev
    (real / "photo.jpg").unlink()
    (real / "shell.php").write_text("<?php evil();")
    story = await carry_out(agent, "restore", generation=generation, only="files")
    assert story.outcome is Outcome.DONE, story.end
    assert [path.name for path in real.iterdir()] == ["photo.jpg"]
    assert (real / "photo.jpg").read_bytes() == b"photo" * 1000
    assert real.stat().st_dev == device
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert [path.name for path in real.iterdir()] == ["shell.php"]
    assert without(site.files(), CACHED) == files


async def test_two_restores_and_two_undos_go_back_step_by_step(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    states = []
    for turn in range(3):
        site.write("index.php", b"<?php // %d\n" % turn)
        site.sql(f"UPDATE `{site.prefix}options` SET option_value='{turn}'")
        story = await carry_out(agent, "snapshot", reason="hand")
        states.append((story.end.generation, site.files()[b"index.php"].content, site.tables()))

    def now() -> tuple[str, dict[str, tuple[str, ...]]]:
        return site.files()[b"index.php"].content, site.tables()

    for generation, content, tables in (states[0], states[1]):
        assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE
        assert now() == (content, tables)
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert now() == states[0][1:]
    operations = await agent.operations()
    first = [one.operation for one in operations if one.kind == "restore"][-1]
    assert (await carry_out(agent, "undo", operation=first)).outcome is Outcome.DONE
    assert now() == states[2][1:]
    assert site.litter() == []


async def test_what_was_overwritten_is_kept_for_the_two_newest_operations(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    generation, _, _ = await saved(site, agent)
    stories = []
    for _ in range(4):
        site.sql(f"UPDATE `{site.prefix}options` SET option_value='later'")
        stories.append(await carry_out(agent, "restore", generation=generation, only="all"))
    kept = {name[2:8] for name in site.evidence()}
    assert kept == {story.operation[-6:] for story in stories[2:]}
    assert len(list(site.state.glob("ops/*/old"))) == 2
    with pytest.raises(AgentError) as told:
        await carry_out(agent, "undo", operation=stories[0].operation)
    assert told.value.code == "nothing_to_undo"
    assert (await follow(agent, stories[0].operation)).outcome is Outcome.DONE
