"""The live site against a generation: all that differs, the suspicious first; a broken site is no hindrance."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest

from backends.agent.client import AgentError
from backends.records import ChangedPost, Difference, Outcome, Progress
from backends.ssh import Servers
from tests.agent.small import Small, carry_out, scanned_later, shell, summary_of
from tests.lab.layout import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
NOTHING: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
UPLOADS = "wp-content/uploads/2026/11"
POSTS = """
CREATE TABLE `{p}posts` (ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, post_title text NOT NULL,
    post_content longtext NOT NULL, post_excerpt text, post_type varchar(20) NOT NULL DEFAULT 'post',
    post_status varchar(20) NOT NULL DEFAULT 'publish',
    post_modified_gmt datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
    menu_order int DEFAULT 0, packed mediumblob) ENGINE=InnoDB DEFAULT CHARSET={charset};
"""


async def back_up(small: Small, servers: Servers) -> str:
    story = await carry_out(small.agent(servers), "snapshot", reason="hand")
    assert story.outcome is Outcome.DONE
    assert story.end.generation
    return story.end.generation


async def compare(small: Small, servers: Servers, generation: str, *, full: bool = False) -> Difference:
    found: list[Difference] = []
    progress: list[Progress] = []
    async with contextlib.aclosing(small.agent(servers).diff(generation, full=full)) as told:
        async for one in told:
            if isinstance(one, Difference):
                found.append(one)
            else:
                progress.append(one)
    assert progress
    assert [one.line for one in progress] == list(range(len(progress)))
    (only,) = found
    return only


async def raw(small: Small, servers: Servers, generation: str, **fields: Any) -> dict[str, Any]:
    """With a field that the client does not send."""
    async with contextlib.aclosing(small.agent(servers)._answers("diff", {"generation": generation, **fields})) as told:
        async for one in told:
            if "event" not in one:
                reply: dict[str, Any] = one["reply"]
                return reply
    raise AssertionError


def paths(found: Difference) -> dict[str, list[str]]:
    return {kind: [one.path for one in getattr(found.files, kind)] for kind in NOTHING}


def signs(found: Difference) -> dict[str, tuple[str, ...]]:
    return {one.path: one.signs for one in found.files.suspicious}


def told(posts: tuple[ChangedPost, ...]) -> set[tuple[int, str, str]]:
    return {(post.id, post.title, post.change) for post in posts}


# ---------------------------------------------------------------- files


async def test_a_site_that_nobody_touched_does_not_differ(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    generation = await back_up(site, servers)
    for full in (False, True):
        found = await compare(site, servers, generation, full=full)
        assert paths(found) == NOTHING
        assert (found.files.suspicious, found.posts, found.identity, found.warnings) == ((), (), (), ())
        assert all(table.rows_then == table.rows_now for table in found.tables)
        assert found.full is full
    assert [table.name for table in found.tables] == [f"{site.prefix}{name}" for name in ("options", "posts", "users")]


async def test_each_difference_is_told_with_the_area_that_it_is_in(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    site.write("wp-content/themes/made/style.css", b"/* Theme Name: Made */")
    site.write("notes.txt", b"then")
    site.own()
    generation = await back_up(site, servers)
    site.write("wp-content/plugins/hello/hello.php", b"<?php // other\n")
    site.write("wp-content/plugins/new/new.php", b"<?php // new\n")
    site.write(f"{UPLOADS}/new.jpg", b"\xff\xd8\xff")
    (site.root / "wp-content/themes/made/style.css").unlink()
    (site.root / "wp-admin/index.php").unlink()
    site.write("notes.txt", b"now!")
    site.write("wp-content/cache/other.html", b"rebuilds itself")
    site.own()
    found = await compare(site, servers, generation)
    assert {(one.path, one.area) for one in found.files.added} == {
        ("wp-content/plugins/new/new.php", "plugin"),
        (f"{UPLOADS}/new.jpg", "uploads"),
    }
    assert {(one.path, one.area) for one in found.files.changed} == {
        ("wp-content/plugins/hello/hello.php", "plugin"),
        ("notes.txt", "other"),
    }
    assert {(one.path, one.area) for one in found.files.removed} == {
        ("wp-content/themes/made/style.css", "theme"),
        ("wp-admin/index.php", "core"),
    }
    assert found.areas == {
        "core": {"added": 0, "changed": 0, "removed": 1},
        "plugin": {"added": 1, "changed": 1, "removed": 0},
        "theme": {"added": 0, "changed": 0, "removed": 1},
        "uploads": {"added": 1, "changed": 0, "removed": 0},
        "other": {"added": 0, "changed": 1, "removed": 0},
    }
    assert signs(found) == {"wp-admin/index.php": ("core_changed",)}


async def test_names_of_any_bytes_are_told_and_can_be_read_back(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    names = [
        b"line\nbreak.txt",
        b"quote'\".txt",
        "写真 年賀.txt".encode(),
        b"\xff\xfe.txt",
        b"back\\slash.txt",
        b"\xe2\x80\xaergb.txt",
    ]
    generation = await back_up(site, servers)
    for name in names:
        site.write(b"wp-content/" + name, b"new")
    site.own()
    found = paths(await compare(site, servers, generation))["added"]
    assert set(found) == {
        "wp-content/line\\0012break.txt", "wp-content/quote'\".txt", "wp-content/写真 年賀.txt",
        "wp-content/\\0377\\0376.txt", "wp-content/back\\0134slash.txt", "wp-content/\\0342\\0200\\0256rgb.txt",
    }  # fmt: skip
    for path in found:
        assert (site.root / os.fsdecode(shell("printf", "%b", path)[1])).is_file()


async def test_links_are_compared_by_where_they_lead_and_never_followed(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    outside = site.base / "outside"
    outside.mkdir()
    (outside / "secret.php").write_text("<?php")
    for name, target in (("same", "index.php"), ("moved", "index.php"), ("becomes-a-file", "index.php")):
        (site.root / name).symlink_to(target)
    site.own()
    generation = await back_up(site, servers)
    (site.root / "moved").unlink()
    (site.root / "moved").symlink_to(outside)
    (site.root / "becomes-a-file").unlink()
    site.write("becomes-a-file", b"plain")
    (site.root / "new").symlink_to(outside)
    site.own()
    assert paths(await compare(site, servers, generation)) == {
        "added": ["new"],
        "changed": ["becomes-a-file", "moved"],
        "removed": [],
    }


async def test_content_decides_and_a_forged_time_hides_nothing(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    site.age()
    plugin = site.root / "wp-content/plugins/hello/hello.php"
    before = plugin.stat()
    generation = await back_up(site, servers)
    scanned_later(site, generation)
    wait_until(lambda: time.time() >= int(before.st_ctime) + 1.1, 3, "a second of its own for the change")
    plugin.write_bytes(plugin.read_bytes().replace(b"filler", b"HACKED"))
    os.utime(plugin, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(site.root / "wp-content/index.php", (1, 1))
    after = plugin.stat()
    assert (after.st_size, after.st_mtime, after.st_ino) == (before.st_size, before.st_mtime, before.st_ino)
    assert paths(await compare(site, servers, generation)) == {
        **NOTHING,
        "changed": ["wp-content/plugins/hello/hello.php"],
    }


async def test_what_kept_all_its_times_is_found_when_every_file_is_read(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    generation = await back_up(site, servers)
    plugin = site.root / "wp-content/plugins/hello/hello.php"
    forge(site, generation, plugin)
    assert paths(await compare(site, servers, generation)) == NOTHING
    found = await compare(site, servers, generation, full=True)
    assert paths(found)["changed"] == ["wp-content/plugins/hello/hello.php"]
    assert "hidden" in signs(found)["wp-content/plugins/hello/hello.php"]


def forge(site: Small, generation: str, file: Any) -> None:
    """`file` has other bytes, and the manifest says that its size and all its times are those of the generation."""
    file.write_bytes(file.read_bytes().replace(b"filler", b"HACKED"))
    folder = site.state / "generations" / generation
    lines = (folder / "manifest").read_bytes().split(b"\n")
    path = b" root/" + os.fsencode(file.relative_to(site.root)) + b" "
    (number,) = [number for number, line in enumerate(lines) if path in line]
    fields = lines[number].split(b" ")
    now = file.stat()
    fields[4:7] = [str(int(value)).encode() for value in (now.st_mtime, now.st_ctime, now.st_ino)]
    lines[number] = b" ".join(fields)
    body = b"\n".join(lines)
    (folder / "manifest").chmod(0o600)
    (folder / "manifest").write_bytes(body)
    scanned_later(site, generation, manifest={"size": len(body), "sha256": hashlib.sha256(body).hexdigest()})


async def test_the_suspicious_comes_first_and_says_why(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    site.write(".htaccess", b"# BEGIN WordPress\n")
    site.write("wp-includes/load.php", b"<?php // core\n")
    site.own()
    generation = await back_up(site, servers)
    planted = {
        f"{UPLOADS}/shell.php": (b"<?php @eval(base64_decode($_POST['x']));", ("php_in_uploads", "obfuscated")),
        f"{UPLOADS}/photo.gif": (b"GIF89a<?php echo 1;", ("php_in_uploads",)),
        "wp-content/plugins/hello/part.php": (b"<?php eval(gzinflate(base64_decode('x')));", ("obfuscated",)),
        "wp-includes/load.php": (b"<?php // CORE\n", ("core_changed",)),
        "wp-admin/new.php": (b"<?php // new\n", ("core_changed",)),
        f"{UPLOADS}/miner": (b"\x7fELF\x02\x01\x01", ("executable",)),
        f"{UPLOADS}/run.cgi": (b"#!/bin/sh\n", ("executable",)),
        "wp-content/themes/made/logo.php.png": (b"\x89PNG", ("double_extension",)),
        "wp-content/object-cache.php": (b"<?php // cache\n", ("drop_in",)),
        "wp-content/mu-plugins/own.php": (b"<?php // must use\n", ("must_use",)),
        ".htaccess": (b"RewriteRule .* http://evil.example/\n", ("server_rules",)),
        f"{UPLOADS}/.user.ini": (b"auto_prepend_file=x.jpg\n", ("server_rules",)),
        "HOW_TO_DECRYPT_FILES.txt": (b"pay", ("ransom_notes",)),
        "wp-content/themes/made/harmless.css": (b"body {}\n", None),
        f"{UPLOADS}/index.php": (b"<?php\n// Silence is golden.\n", None),
    }  # fmt: skip
    for path, (content, _) in planted.items():
        site.write(path, content)
    (site.root / "index.php").chmod(0o666)
    site.own()
    found = await compare(site, servers, generation)
    expected = {path: why for path, (_, why) in planted.items() if why} | {"index.php": ("world_writable",)}
    assert signs(found) == expected
    assert [one.path for one in found.files.suspicious][:3] == [
        f"{UPLOADS}/photo.gif", f"{UPLOADS}/shell.php", "wp-content/plugins/hello/part.php",
    ]  # fmt: skip
    assert {one.path: one.change for one in found.files.suspicious}["index.php"] == "mode"
    assert "index.php" not in paths(found)["changed"]


async def test_core_that_was_updated_is_no_sign(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    generation = await back_up(site, servers)
    site.write("wp-includes/version.php", b"<?php\n$wp_version = '6.1.10';\n")
    site.write("wp-admin/index.php", b"<?php // newer\n")
    site.own()
    found = await compare(site, servers, generation)
    assert found.areas["core"]["changed"] == 2
    assert found.files.suspicious == ()


async def test_what_is_left_out_or_cannot_be_read_is_not_called_removed(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    for path in ("big/a.bin", "big/sub/b.bin", "big-too/c.bin", "closed/d.txt", "shut.txt"):
        site.write(f"wp-content/{path}", b"kept")
    site.own()
    generation = await back_up(site, servers)
    (site.root / "wp-content/closed").chmod(0)
    (site.root / "wp-content/shut.txt").chmod(0)
    os.utime(site.root / "wp-content/shut.txt", (1, 1))
    site.write("wp-content/big/sub/wp-config.php", b"<?php")
    (site.root / "wp-content/big-too/c.bin").unlink()
    agent = site.agent(servers, exclude=["wp-content/big"])
    (found,) = [one async for one in agent.diff(generation) if isinstance(one, Difference)]
    assert paths(found) == {**NOTHING, "removed": ["wp-content/big-too/c.bin"]}
    (warning,) = found.warnings
    assert warning.code == "unreadable"
    assert "2 files" in warning.message


async def test_long_lists_are_cut_counted_and_keep_the_gravest(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    generation = await back_up(site, servers)
    for number in range(6000):
        site.write(f"wp-content/a/{number:05}.php.png", b"")
    site.write("wp-content/uploads/zzz.php", b"<?php echo 1;")
    site.own()
    found = await compare(site, servers, generation)
    assert len(found.files.added) == len(found.files.suspicious) == 5000
    assert (found.counts["added"], found.counts["suspicious"], found.counts["changed"]) == (6001, 6001, 0)
    assert found.files.suspicious[0].path == "wp-content/uploads/zzz.php"
    assert set(found.truncated) == {"added", "suspicious"}
    assert found.areas["other"]["added"] == 6000
    few = await raw(site, servers, generation, most=3)
    assert [len(few["files"][kind]) for kind in ("added", "suspicious")] == [3, 3]
    assert few["counts"] == found.counts


async def test_lists_of_the_longest_names_fit_an_answer(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    generation = await back_up(site, servers)
    folder = "/".join(["w" * 250] * 8)
    control = "\x01" * 200
    for number in range(2000):
        site.write(f"{folder}/{number:05}{control}", b"")
    site.own()
    found = await compare(site, servers, generation)
    assert found.counts["added"] == 2000
    assert 100 < len(found.files.added) < 2000
    assert found.truncated == ("added",)


# ---------------------------------------------------------------- broken sites


async def test_a_root_that_is_gone_is_everything_removed(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    generation = await back_up(site, servers)
    shutil.rmtree(site.root)
    found = await compare(site, servers, generation)
    assert found.counts["removed"] == summary_of(site, generation)["counts"]["files"]
    assert (found.files.added, found.files.changed, found.files.suspicious) == ((), (), ())
    assert [warning.code for warning in found.warnings] == ["no_root"]
    assert (found.tables, found.posts) == ((), ())


@pytest.mark.parametrize("config", [b"<?php\nthis is no php(\n", b"<?php exit;\n", None])
async def test_without_a_configuration_the_files_are_compared(
    servers: Servers, small: Callable[..., Small], config: bytes | None
) -> None:
    site = small()
    generation = await back_up(site, servers)
    if config is None:
        site.config_file.unlink()
    else:
        site.write("wp-config.php", config)
    site.write(f"{UPLOADS}/shell.php", b"<?php echo 1;")
    site.own()
    found = await compare(site, servers, generation)
    assert signs(found) == {f"{UPLOADS}/shell.php": ("php_in_uploads",), "wp-config.php": ("configuration",)}
    assert [warning.code for warning in found.warnings] == ["no_config"]
    assert found.tables == ()


async def test_without_a_database_the_files_are_compared(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    generation = await back_up(site, servers)
    site.config(db_password="wrong")
    found = await compare(site, servers, generation)
    assert paths(found) == {**NOTHING, "changed": ["wp-config.php"]}
    assert [warning.code for warning in found.warnings] == ["no_database"]


async def test_folders_elsewhere_are_found_also_when_only_the_generation_knows_them(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small(config_above=True)
    site.more = f"define('WP_CONTENT_DIR', {json.dumps(str(site.base / 'content'))});"
    shutil.move(site.root / "wp-content", site.base / "content")
    site.config()
    site.own()
    generation = await back_up(site, servers)
    content = site.base / "content"
    (content / "uploads/shell.php").write_bytes(b"<?php echo 1;")
    for broken in (False, True):
        if broken:
            site.config_file.write_text("<?php exit;")
        found = await compare(site, servers, generation)
        assert paths(found)["added"] == [str(content / "uploads/shell.php")]
        assert paths(found)["removed"] == []
        assert found.files.suspicious[0].area == "uploads"
    assert paths(found)["changed"] == [str(site.config_file)]


async def test_a_manifest_that_is_not_what_was_sealed_measures_nothing(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    generation = await back_up(site, servers)
    manifest = site.state / "generations" / generation / "manifest"
    manifest.chmod(0o600)
    manifest.write_bytes(manifest.read_bytes()[:-1] + b"x")
    with pytest.raises(AgentError) as refused:
        await compare(site, servers, generation)
    assert refused.value.code == "damaged"


async def test_a_dump_that_is_damaged_costs_the_posts_and_nothing_else(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    generation = await back_up(site, servers)
    dump = site.state / "generations" / generation / "database.sql.gz"
    dump.chmod(0o600)
    dump.write_bytes(bytes(dump.stat().st_size))
    site.write("new.txt", b"new")
    found = await compare(site, servers, generation)
    assert paths(found)["added"] == ["new.txt"]
    assert [warning.code for warning in found.warnings] == ["damaged"]
    assert {table.rows_now for table in found.tables} == {1, 2, 3}


# ---------------------------------------------------------------- rows


async def test_tables_are_told_with_their_rows_then_and_now(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    site.sql(f"CREATE TABLE {site.prefix}went (id INT PRIMARY KEY); INSERT INTO {site.prefix}went VALUES (1)")
    generation = await back_up(site, servers)
    site.sql(f"DROP TABLE {site.prefix}went; CREATE TABLE {site.prefix}came (id INT)")
    site.sql(f"INSERT INTO {site.prefix}users (user_login) VALUES ('wp_support1')")
    found = {
        table.name: (table.rows_then, table.rows_now) for table in (await compare(site, servers, generation)).tables
    }
    assert found == {
        f"{site.prefix}came": (None, 0), f"{site.prefix}options": (2, 2), f"{site.prefix}posts": (3, 3),
        f"{site.prefix}users": (1, 2), f"{site.prefix}went": (1, None),
    }  # fmt: skip


async def test_another_address_is_told(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    generation = await back_up(site, servers)
    site.sql(f"UPDATE {site.prefix}options SET option_value='https://evil.example' WHERE option_name='siteurl'")
    (found,) = (await compare(site, servers, generation)).identity
    assert (found.name, found.then, found.now) == ("siteurl", ("https://small.example",), ("https://evil.example",))


@pytest.mark.parametrize("charset", ["utf8mb4", "latin1", "utf8mb3", "sjis"])
async def test_posts_are_told_by_title_whatever_is_in_them(
    servers: Servers, small: Callable[..., Small], charset: str
) -> None:
    """Text that looks like SQL, every byte that is escaped, rows larger than a packet, in old character sets too."""
    site = small()
    table = f"`{site.prefix}posts`"
    site.drop_tables(f"{site.prefix}posts")
    site.sql(POSTS.format(p=site.prefix, charset=charset))
    plain = charset == "utf8mb4"
    nasty = "a'); DROP TABLE x; -- \\ \" \n \r \x1a ),(1,'b" + (" 工業 🏭" if plain else "")
    large = "it's \\ large " * 60000
    hexed = {name: text.encode().hex() for name, text in (("nasty", nasty), ("large", large))}
    columns = "(ID, post_title, post_content, post_type, post_status, post_modified_gmt, packed)"
    date = "'2026-11-20 05:02:00'"
    rows = [
        f"(1, 'stays', x'{hexed['nasty']}', 'post', 'publish', {date}, x'00ff5c27')",
        f"(2, x'{hexed['nasty']}', '', 'page', 'publish', {date}, '')",
        f"(3, 'large stays', x'{hexed['large']}', 'post', 'publish', {date}, REPEAT(x'00', 400000))",
        f"(4, 'large edited', x'{hexed['large']}', 'post', 'publish', {date}, NULL)",
        f"(5, 'to the bin', '', 'post', 'publish', {date}, NULL)",
        f"(6, 'edited', 'then', 'post', 'publish', {date}, NULL)",
        f"(7, 'a revision', '', 'revision', 'inherit', {date}, NULL)",
        f"(8, 'menu', '', 'nav_menu_item', 'publish', {date}, NULL)",
        f"(9, 'counted', '', 'post', 'publish', {date}, NULL)",
        f"(10, 'last one gone', '', 'page', 'publish', {date}, NULL)",
    ]
    for row in rows:
        site.sql(f"INSERT INTO {table} {columns} VALUES {row}")
    generation = await back_up(site, servers)
    same = await compare(site, servers, generation)
    assert (same.posts, same.warnings) == ((), ())
    site.sql(f"DELETE FROM {table} WHERE ID IN (2, 7, 8, 10)")
    # The last byte alone, and the time left as it was: what an intruder's own statement does.
    site.sql(
        f"UPDATE {table} SET post_content = CONCAT(LEFT(post_content, CHAR_LENGTH(post_content) - 1), 'X') WHERE ID = 4"
    )
    site.sql(f"UPDATE {table} SET post_status = 'trash' WHERE ID = 5")
    site.sql(f"UPDATE {table} SET post_content = 'now', post_title = 'renamed' WHERE ID = 6")
    site.sql(f"UPDATE {table} SET menu_order = 7 WHERE ID = 9")
    site.sql(f"INSERT INTO {table} {columns} VALUES (20, 'new', '', 'page', 'draft', '2026-11-21 00:00:00', NULL)")
    site.sql(
        f"INSERT INTO {table} {columns} VALUES (21, 'draft', '', 'post', 'auto-draft', '2026-11-21 00:00:00', NULL)"
    )
    found = await compare(site, servers, generation)
    assert found.warnings == ()
    title = "a'); DROP TABLE x; -- \\ \" \\x0a \\x0d \\x1a ),(1,'b" + (" 工業 🏭" if plain else "")
    assert told(found.posts) == {
        (2, title, "gone"), (4, "large edited", "changed"), (5, "to the bin", "trashed"), (6, "renamed", "changed"),
        (10, "last one gone", "gone"), (20, "new", "added"),
    }  # fmt: skip
    newest = found.posts[0]
    assert (newest.type, newest.status, str(newest.modified)) == ("page", "draft", "2026-11-21 00:00:00+00:00")


async def test_titles_of_any_length_are_bounded(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    site.sql(f"INSERT INTO `{site.prefix}posts` (ID, post_title) VALUES (50, REPEAT('題', 21000))")
    generation = await back_up(site, servers)
    site.sql(f"DELETE FROM `{site.prefix}posts` WHERE ID = 50")
    (post,) = (await compare(site, servers, generation)).posts
    assert (post.title, post.change) == ("題" * 200, "gone")


@pytest.mark.parametrize("side", ["then", "now"])
async def test_no_posts_on_one_side_are_all_gone_or_all_new(
    servers: Servers, small: Callable[..., Small], side: str
) -> None:
    site = small()
    if side == "then":
        site.sql(f"CREATE TABLE {site.prefix}kept AS SELECT * FROM {site.prefix}posts; DELETE FROM {site.prefix}posts")
    generation = await back_up(site, servers)
    if side == "then":
        site.sql(f"INSERT INTO {site.prefix}posts SELECT * FROM {site.prefix}kept")
    else:
        site.sql(f"DROP TABLE {site.prefix}posts")
    found = await compare(site, servers, generation)
    assert {post.change for post in found.posts} == {"added" if side == "then" else "gone"}
    assert len(found.posts) == 3
    assert found.warnings == ()


async def test_the_sites_of_a_network_are_told_apart(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    site.sql(f"CREATE TABLE {site.prefix}2_posts AS SELECT * FROM {site.prefix}posts")
    site.sql(f"ALTER TABLE {site.prefix}2_posts ADD PRIMARY KEY (ID)")
    generation = await back_up(site, servers)
    site.sql(f"DELETE FROM {site.prefix}2_posts WHERE ID = 2")
    (post,) = (await compare(site, servers, generation)).posts
    assert (post.id, post.blog, post.title) == (2, 2, "新商品 🎉")


async def test_posts_in_no_order_are_said_not_to_be_compared(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    site.sql(f"ALTER TABLE {site.prefix}posts MODIFY ID bigint unsigned NOT NULL, DROP PRIMARY KEY")
    site.sql(f"INSERT INTO {site.prefix}posts (ID, post_title) VALUES (1, 'twice')")
    generation = await back_up(site, servers)
    found = await compare(site, servers, generation)
    assert [warning.code for warning in found.warnings] == ["no_order"]
    assert found.posts == ()


async def test_a_diff_changes_nothing_and_waits_for_nobody(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    generation = await back_up(site, servers)
    before, tables, state = site.files(), site.tables(), sorted(site.state.rglob("*"))
    with site.session(f"LOCK TABLES {site.prefix}options READ"):
        await compare(site, servers, generation, full=True)
    assert (site.files(), site.tables(), sorted(site.state.rglob("*"))) == (before, tables, state)
