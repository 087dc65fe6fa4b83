"""Files, whatever their names, sizes and kinds: into a generation to the byte, and out of it with a shell alone."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from backends.records import Outcome
from backends.ssh import Servers
from tests.agent.small import (
    Small,
    Story,
    Tree,
    beside,
    carry_out,
    exists,
    manifest_of,
    shell,
    summary_of,
    tree,
    verify,
    without,
)
from tests.lab.layout import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
MIB = 1024 * 1024
NAMES = [
    b"plain.txt", "日本語 ファイル 🍁.txt".encode(),
    b"two\nlines\n", b"quote'\"`$(touch x)\\n", b"back\\0101slash",
    b"-dash", b"--", b"-", b"~", b" ", b"trailing ", b"\xff\xfe latin \xe9", b"\x01\x1b[31mred\x7f", b"*", b"a;b|c&d",
    b"#", b"...", b".hidden", b"0", b"n" * 255, b"\xe3\x81\x82" * 85, b"a", b"a-b", b"a.b",
]  # fmt: skip
DEEP = "/".join(["deep-" + "x" * 40] * 12)


class Museum(NamedTuple):
    small: Small
    before: Tree
    story: Story


def fill(small: Small) -> None:
    """Every kind of file that a site was ever seen with."""
    room = "wp-content/uploads/names"
    for number, odd in enumerate(NAMES):
        small.write(f"{room}/{os.fsdecode(odd)}", b"content %d\n" % number * 10)
    small.write(f"{room}/folder\n of 'lines'/in it", b"below an odd folder")
    small.write(f"{DEEP}/end.txt", b"deep")
    links = small.root / "wp-content" / "links"
    links.mkdir()
    secret = small.within.home / f"{small.prefix}secret"
    secret.mkdir(exist_ok=True)
    (secret / "passwords").write_text("never in a generation")
    for name, target in {
        "dangling": "no/such/place", "absolute": str(secret), "file": "../index.php", "loop": "loop", "up": "../..",
        "dash": "-s", "lonely dash": "-", "odd": "a\nb 'c' \\0101",
    }.items():  # fmt: skip
        (links / name).symlink_to(target)
    small.write("wp-content/empty.txt", b"")
    (small.root / "wp-content" / "empty folder").mkdir()
    for mode in (0o400, 0o444, 0o600, 0o640, 0o664, 0o755, 0o777, 0o4755):
        small.write(f"wp-content/modes/{mode:o}", b"mode", mode)
    chance = random.Random(8)
    small.write("wp-content/large.txt", b"the same line again and again\n" * 300_000)
    small.write("wp-content/large.bin", chance.randbytes(9 * MIB))
    small.write("wp-content/movie.mp4", b"dense by its name" * 600_000)
    small.write("wp-content/just.bin", chance.randbytes(8 * MIB))
    sparse = small.write("wp-content/sparse.img", b"")
    os.truncate(sparse, 200 * MIB)
    with sparse.open("r+b") as file:
        file.seek(150 * MIB)
        file.write(b"an island")
    small.write("wp-content/unreadable.txt", b"secret", 0)
    small.own()
    os.chown(secret, small.within.uid, small.within.uid)
    (small.root / "wp-content/modes/4755").chmod(0o4755)  # chown took the bit away
    os.mkfifo(small.root / "wp-content" / "pipe")
    folders = {"wp-content/empty folder": 0o700, "wp-content/links": 0o555, "wp-content/modes": 0o2775}
    for path, mode in folders.items():
        (small.root / path).chmod(mode)
    for number, place in enumerate(sorted(small.root.rglob("*"), reverse=True)):
        if not place.is_symlink():
            os.utime(place, (1_000_000_000 + number,) * 2)
    os.utime(small.root / "wp-content/empty.txt", (0, 0))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def museum(small_of_module: Callable[..., Small], servers: Servers) -> Museum:
    small = small_of_module()
    fill(small)
    before = small.files()
    story = await carry_out(small.agent(servers), "snapshot", reason="hand")
    assert story.outcome is Outcome.DONE, story.end
    return Museum(small, before, story)


def generation_of(museum: Museum) -> str:
    assert museum.story.end.generation
    return museum.story.end.generation


async def test_every_path_stands_in_the_manifest_under_its_own_bytes(museum: Museum) -> None:
    manifest = manifest_of(museum.small, generation_of(museum))
    kept = without(museum.before, rb"wp-content/(cache|pipe|unreadable\.txt)(/.*)?")
    assert {path.removeprefix(b"root/") for path in manifest} == {b"root" if path == b"." else path for path in kept}
    assert list(manifest) == sorted(manifest)
    assert b"passwords" not in b"".join(manifest)


async def test_what_cannot_be_read_is_named_and_does_not_stop_the_backup(museum: Museum) -> None:
    assert museum.story.notes("unreadable") == ["root/wp-content/unreadable.txt"]
    skipped = {one["path"]: one["why"] for one in summary_of(museum.small, generation_of(museum))["skipped"]}
    assert skipped == {
        "root/wp-content/cache": "excluded",
        "root/wp-content/pipe": "neither file, folder nor link",
        "root/wp-content/unreadable.txt": "unreadable",
    }


async def test_a_pack_is_a_tar_that_gnu_tar_lists_and_unpacks_without_a_word(museum: Museum, tmp_path: Path) -> None:
    (pack,) = (museum.small.state / "packs").iterdir()
    status, listed, complaints = shell("tar", "-tf", pack)
    assert (status, complaints) == (0, b"")
    assert len(listed.splitlines()) == summary_of(museum.small, generation_of(museum))["counts"]["files"]
    status, _, complaints = shell("tar", "-xf", pack, "-C", tmp_path)
    assert (status, complaints) == (0, b"")
    seen = 0
    for path, entry in without(museum.before, rb".*/(unreadable\.txt|page\.html|pipe)").items():
        if entry.content == "folder" or entry.content.startswith("->"):
            continue
        raw, packed = (tmp_path / "files/root" / os.fsdecode(path)), tmp_path / "gz/root" / os.fsdecode(path + b".gz")
        assert exists(raw) != exists(packed), path
        body = raw.read_bytes() if exists(raw) else gzip.decompress(packed.read_bytes())
        assert body == (museum.small.root / os.fsdecode(path)).read_bytes(), path
        seen += 1
    assert seen == summary_of(museum.small, generation_of(museum))["counts"]["files"]


async def test_what_is_dense_is_stored_as_it_is_and_what_shrinks_as_gzip(museum: Museum) -> None:
    manifest = manifest_of(museum.small, generation_of(museum))
    gzipped = {path.removeprefix(b"root/wp-content/") for path, line in manifest.items() if line[9] == b"gz"}
    assert {b"large.txt", b"sparse.img"} <= gzipped
    assert not {b"large.bin", b"movie.mp4", b"just.bin", b"empty.txt"} & gzipped


async def test_the_recipe_in_the_generation_brings_every_file_back_with_a_shell_alone(
    museum: Museum, tmp_path: Path
) -> None:
    place = museum.small.state / "generations" / generation_of(museum)
    recipe = (place / "RESTORE.txt").read_text()
    script = recipe.split("with a POSIX shell:\n\n")[1].split("\nDatabase")[0]
    state = tmp_path / "state"
    shutil.copytree(museum.small.state / "packs", state / "packs")
    shutil.copytree(place, state / "generations" / place.name)
    assert shell("sh", "-e", stdin=script.encode(), cwd=state / "generations" / place.name) == (0, b"", b"")
    restored = tree(state / "generations" / place.name / "restored" / "root")
    wanted = without(museum.before, rb"wp-content/(cache|pipe|unreadable\.txt)(/.*)?")
    assert {path: entry.content for path, entry in restored.items()} == {
        path: entry.content for path, entry in wanted.items()
    }
    for path, entry in restored.items():
        if entry.content != "folder" and not entry.content.startswith("->"):
            assert entry.mode == wanted[path].mode, path


async def test_a_restore_brings_bytes_modes_links_and_times_back_and_an_undo_the_ruin(
    museum: Museum, servers: Servers
) -> None:
    """The vandal renames, rewrites with the same size and times, changes modes, plants links and files."""
    small, root = museum.small, museum.small.root
    agent = small.agent(servers)
    shutil.rmtree(root / "wp-content" / "uploads")
    (root / "wp-content" / "uploads").symlink_to("/etc")
    (root / "wp-content/large.bin").rename(root / "wp-content/large.moved")
    text = root / "wp-content/large.txt"
    before = text.stat()
    with text.open("r+b") as file:
        file.seek(4 * MIB)
        file.write(b"THE")
    os.utime(text, ns=(before.st_atime_ns, before.st_mtime_ns))
    (root / "wp-content/modes/640").chmod(0o666)
    (root / "wp-content/empty folder").chmod(0o777)
    (root / "wp-content/links/file").unlink()
    (root / "wp-content/links/file").write_text("was a link")
    (root / "wp-content/empty.txt").unlink()
    (root / "wp-content/empty.txt").mkdir()
    small.write("evil 悪.php", b"<?php evil();")
    small.write("wp-content/cache/later.html", b"cached later")
    small.write("wp-content/.cache/shell.php", b"<?php evil();")
    small.own()
    ruined = small.files()

    story = await carry_out(agent, "restore", generation=generation_of(museum), only="files")
    assert story.outcome is Outcome.DONE, story.end
    assert story.steps == ["preflight", "stage", "verify", "switch", "check"]
    # What no generation holds is carried over, and only that.
    left = rb"wp-content/(cache(/.*)?|pipe|unreadable\.txt)"
    assert without(small.files(), left) == without(museum.before, left)
    assert (root / "wp-content/cache/later.html").read_bytes() == b"cached later"
    assert (root / "wp-content/pipe").is_fifo()
    assert small.litter() == []

    undone = await carry_out(agent, "undo")
    assert undone.outcome is Outcome.DONE, undone.end
    assert small.files() == ruined
    redone = await carry_out(agent, "undo")
    assert redone.outcome is Outcome.DONE, redone.end
    assert without(small.files(), left) == without(museum.before, left)
    assert small.litter() == []
    assert (small.within.home / f"{small.prefix}secret/passwords").exists()


# ---------------------------------------------------------------- the next generation


async def test_a_second_generation_of_an_unchanged_site_adds_no_pack(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    site.write("wp-content/large.bin", random.Random(1).randbytes(9 * MIB))
    agent = site.agent(servers)
    first = await carry_out(agent, "snapshot", reason="hand")
    second = await carry_out(agent, "snapshot", reason="hand")
    packs = [path.name for path in (site.state / "packs").iterdir()]
    assert packs == [f"{first.end.generation}.tar"]
    assert second.end.generation is not None
    assert [pack["id"] for pack in summary_of(site, second.end.generation)["packs"]] == [first.end.generation]
    assert (await verify(agent, second.end.generation)).outcome == "ok"


async def test_after_a_restore_the_files_are_known_by_their_content(
    small: Callable[..., Small], servers: Servers
) -> None:
    """A restore gives every file another inode: the next generation must not store the site again."""
    site = small()
    site.write("wp-content/large.bin", random.Random(2).randbytes(9 * MIB))
    agent = site.agent(servers)
    first = await carry_out(agent, "snapshot", reason="hand")
    assert (await carry_out(agent, "restore", generation=first.end.generation, only="files")).outcome is Outcome.DONE
    await carry_out(agent, "snapshot", reason="hand")
    assert len(list((site.state / "packs").iterdir())) == 1


async def test_a_change_within_the_same_second_and_of_the_same_size_is_caught(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    target = site.write("wp-content/counter.txt", b"1111")
    for turn in (b"2222", b"3333"):
        await carry_out(agent, "snapshot", reason="hand")
        seen = target.stat()
        with target.open("r+b") as file:
            file.write(turn)
        os.utime(target, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    last = await carry_out(agent, "snapshot", reason="hand")
    target.write_bytes(b"vandal")
    assert (await carry_out(agent, "restore", generation=last.end.generation, only="files")).outcome is Outcome.DONE
    assert target.read_bytes() == b"3333"


async def test_a_generation_of_the_middle_stays_whole_when_files_change_around_it(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    states: list[tuple[str, dict[bytes, str]]] = []
    for turn in range(4):
        site.write(f"wp-content/turn-{turn}.txt", b"turn %d\n" % turn * 50)
        site.write("wp-content/changes.txt", b"in turn %d\n" % turn * 50)
        (site.root / f"wp-content/turn-{turn - 2}.txt").unlink(missing_ok=True)
        story = await carry_out(agent, "snapshot", reason="hand")
        assert story.end.generation
        states.append((story.end.generation, {path: entry.content for path, entry in site.files().items()}))
    for generation, contents in (states[1], states[3], states[0]):
        assert (await verify(agent, generation)).outcome == "ok"
        story = await carry_out(agent, "restore", generation=generation, only="files")
        assert story.outcome is Outcome.DONE, story.end
        assert {path: entry.content for path, entry in site.files().items()} == contents


async def test_a_file_that_changes_while_it_is_copied_is_copied_again_then_noted(
    small: Callable[..., Small], servers: Servers
) -> None:
    """Somebody writes to it all the time: three tries, a note, and what was stored is stored with its own hash."""
    site = small()
    busy = site.write("wp-content/busy.log", random.Random(3).randbytes(20 * MIB))
    os.utime(busy, (1_000_000_000,) * 2)
    began = busy.stat().st_mtime
    agent = site.agent(servers)
    script = (
        "import os, sys, time\nfile = os.open(sys.argv[1], os.O_WRONLY)\n"
        "while True: os.pwrite(file, time.monotonic_ns().to_bytes(8, 'big'), 6 << 20)"
    )
    with beside(sys.executable, "-c", script, busy):
        wait_until(lambda: busy.stat().st_mtime > began, 10, "the writer")
        story = await carry_out(agent, "snapshot", reason="hand")
    assert story.outcome is Outcome.DONE
    assert story.notes("changing") == ["root/wp-content/busy.log"]
    assert story.end.generation
    assert (await verify(agent, story.end.generation)).outcome == "ok"


async def test_a_file_that_grows_all_the_time_is_stored_as_far_as_it_was_read_and_noted(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    log = site.write("wp-content/debug.log", random.Random(4).randbytes(20 * MIB))
    os.utime(log, (1_000_000_000,) * 2)
    began = log.stat().st_mtime
    agent = site.agent(servers)
    script = "import sys\nfile = open(sys.argv[1], 'ab', 0)\nwhile True: file.write(b'another line of it' * 9)"
    with beside(sys.executable, "-c", script, log):
        wait_until(lambda: log.stat().st_mtime > began, 10, "the writer")
        story = await carry_out(agent, "snapshot", reason="hand")
    assert story.outcome is Outcome.DONE
    assert story.notes("changing") == ["root/wp-content/debug.log"]
    assert story.end.generation
    line = manifest_of(site, story.end.generation)[b"root/wp-content/debug.log"]
    assert 20 * MIB <= int(line[7]) <= log.stat().st_size
    assert (await verify(agent, story.end.generation)).outcome == "ok"


async def test_a_file_that_vanishes_while_its_folder_is_copied_is_named_and_stops_nothing(
    small: Callable[..., Small], servers: Servers
) -> None:
    """It goes while the large file before it is being stored: it was listed already, and is looked for in vain."""
    site = small()
    site.write("wp-content/big.bin", random.Random(5).randbytes(64 * MIB))
    site.write("wp-content/brief.txt", b"here for a moment")
    agent = site.agent(servers, cpu=0.2)
    script = (
        "import glob, os, sys, time\n"
        "while not any(os.path.getsize(part) > 1 << 20 for part in glob.glob(sys.argv[1])): time.sleep(0.001)\n"
        "os.unlink(sys.argv[2])"
    )
    part = site.state / "packs" / ".*.tar.part"
    with beside(sys.executable, "-c", script, part, site.root / "wp-content/brief.txt"):
        story = await carry_out(agent, "snapshot", reason="hand")
    assert story.outcome is Outcome.DONE
    assert story.end.generation
    skipped = {one["path"]: one["why"] for one in summary_of(site, story.end.generation)["skipped"]}
    assert skipped["root/wp-content/brief.txt"] == "vanished"
    assert b"root/wp-content/brief.txt" not in manifest_of(site, story.end.generation)
    assert (await verify(agent, story.end.generation)).outcome == "ok"


# ---------------------------------------------------------------- what is left where it is


async def test_excluded_paths_and_other_installations_are_not_in_it_and_survive_restore_and_undo(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    for other in ("blog", "shops/osaka"):
        site.write(f"{other}/wp-config.php", b"<?php // of somebody else")
        site.write(f"{other}/wp-includes/version.php", b"<?php $wp_version = '6.0';")
        site.write(f"{other}/wp-content/uploads/1.jpg", b"theirs")
    site.write("shops/index.html", b"ours")
    site.write("wp-content/upgrade/half/x.php", b"rubbish of WordPress")
    site.write("wp-content/updraft/backup.zip", b"of another tool")
    site.write("private/customers.csv", b"left out by hand")
    site.write("logs/access_1.log", b"left out by pattern")
    site.write("logs/notes.txt", b"ours")
    agent = site.agent(servers, exclude=["private", "logs/access_*.log"])
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.end.generation
    inside = set(manifest_of(site, story.end.generation))
    assert {b"root/shops/index.html", b"root/logs/notes.txt"} < inside
    foreign = (b"root/blog", b"root/shops/osaka", b"root/private", b"root/logs/access_", b"root/wp-content/up")
    assert not [path for path in inside if path.startswith(foreign) and not path.startswith(b"root/wp-content/uploads")]

    carried = rb"(blog|shops/osaka|private|wp-content/(upgrade|updraft|cache))(/.*)?|logs/access_.*"
    before = site.files()
    site.write("blog/new-article.html", b"theirs, later")
    site.write("private/customers.csv", b"changed meanwhile")
    site.write("private/more.csv", b"new")
    shutil.rmtree(site.root / "logs")
    site.write("logs/access_2.log", b"another log")
    (site.root / "shops/index.html").unlink()
    site.write("shops/evil.php", b"<?php evil();")
    ruined = site.files()
    theirs = {path: entry for path, entry in ruined.items() if path not in without(ruined, carried)}

    restored = await carry_out(agent, "restore", generation=story.end.generation, only="all")
    assert restored.outcome is Outcome.DONE, restored.end
    after = site.files()
    assert {path: entry for path, entry in after.items() if path not in without(after, carried)} == theirs
    assert {p: e.content for p, e in without(after, carried).items()} == {
        p: e.content for p, e in without(before, carried).items()
    }

    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert site.files() == ruined
    assert site.litter() == []


async def test_restoring_one_folder_leaves_what_is_excluded_in_it(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    story = await carry_out(agent, "snapshot", reason="hand")
    site.write("wp-content/cache/later.html", b"cached later")
    site.write("wp-content/evil.php", b"<?php evil();")
    ruined = site.files()
    restored = await carry_out(agent, "restore", generation=story.end.generation, only=["wp-content"])
    assert restored.outcome is Outcome.DONE, restored.end
    assert (site.root / "wp-content/cache/later.html").read_bytes() == b"cached later"
    assert not (site.root / "wp-content/evil.php").exists()
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert site.files() == ruined


async def test_a_document_root_that_is_a_link_is_backed_up_and_restored_through_it(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    real = site.base / "releases" / "42"
    real.parent.mkdir()
    site.root.rename(real)
    site.root.symlink_to("releases/42")
    site.own()
    agent = site.agent(servers)
    before = tree(real)
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.end.generation
    assert summary_of(site, story.end.generation)["counts"]["files"] == 8
    (real / "index.php").unlink()
    site.write("evil.php", b"<?php evil();")
    ruined = tree(real)
    restored = await carry_out(agent, "restore", generation=story.end.generation, only="all")
    assert restored.outcome is Outcome.DONE, restored.end
    assert site.root.is_symlink()
    assert without(tree(real), rb"wp-content/cache/.*|index\.php") == without(
        before, rb"wp-content/cache/.*|index\.php"
    )
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert without(tree(real), rb"evil\.php") == without(ruined, rb"evil\.php")


async def test_configuration_above_the_root_and_content_outside_it_belong_to_the_site(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small(config_above=True)
    outside = site.base / "shared" / "uploads"
    outside.parent.mkdir()
    shutil.move(site.root / "wp-content/uploads", outside)
    (site.root / "wp-content/uploads").symlink_to(outside)
    site.own()
    agent = site.agent(servers)
    before = tree(site.base)
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.end.generation
    inside = set(manifest_of(site, story.end.generation))
    assert {b"config/wp-config.php", b"uploads/2026/09/photo.jpg", b"root/wp-content/uploads"} < inside
    site.config_file.write_bytes(site.config_file.read_bytes() + b"\n// changed by hand\n")
    shutil.rmtree(outside / "2026")
    (outside / "shell.php").write_text("<?php evil();")
    site.own()
    ruined = tree(site.base)
    restored = await carry_out(agent, "restore", generation=story.end.generation, only="files")
    assert restored.outcome is Outcome.DONE, restored.end
    assert {
        p: e
        for p, e in tree(site.base).items()
        if p not in (b".", b"shared", b"public_html", b"public_html/wp-content")
    } == {p: e for p, e in before.items() if p not in (b".", b"shared", b"public_html", b"public_html/wp-content")}
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert {p: (e.mode, e.content) for p, e in tree(site.base).items()} == {
        p: (e.mode, e.content) for p, e in ruined.items()
    }
