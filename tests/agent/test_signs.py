"""A poisoned generation is told from a normal successor, and an operator's word outweighs the signs."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable

import pytest

from app import policy
from backends.records import GenerationState, Outcome
from backends.ssh import Servers
from tests.agent.small import Small, Story, carry_out, scanned_later, summary_of

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
UPLOADS = "wp-content/uploads/2026/11"
PHOTOS = 60


def furnish(small: Small) -> None:
    for number in range(PHOTOS):
        small.write(f"{UPLOADS}/photo{number}.jpg", b"\xff\xd8\xff\xe0" + noise(number, 3000))
    for number in range(8):
        small.write(f"wp-content/themes/made/part{number}.css", b".block { color: #123456; margin: 0 }\n" * 60)
    small.write("wp-includes/load.php", b"<?php\n// core\n" * 50)
    small.age()


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


async def back_up(small: Small, servers: Servers, reason: str = "hand", keep: int = 8) -> Story:
    """Ids of generations made within one second run ahead of the clock, so the age that is asked for lies before it."""
    story = await carry_out(
        small.agent(servers), "snapshot", reason=reason, signs=policy.SIGNS, keep=keep, min_age_s=-60
    )
    assert story.outcome is Outcome.DONE
    return story


async def states(small: Small, servers: Servers) -> list[GenerationState]:
    return [one.state for one in (await small.agent(servers).generations()).generations]


async def test_an_encrypted_site_makes_a_suspect_generation_that_names_its_signs(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    furnish(site)
    await back_up(site, servers)
    for number in range(PHOTOS):
        photo = site.root / UPLOADS / f"photo{number}.jpg"
        photo.write_bytes(noise(1000 + number, 3000))
        photo.rename(f"{photo}.locked")
    for number in range(8):
        site.write(f"wp-content/themes/made/part{number}.css", noise(2000 + number, 2200))
    site.write(f"{UPLOADS}/HOW_TO_DECRYPT_FILES.txt", b"pay")
    site.own()
    story = await back_up(site, servers)
    assert {"media_gone_share", "renamed", "scrambled", "ransom_notes"} <= set(story.notes("suspect"))
    assert await states(site, servers) == [GenerationState.SUSPECT, GenerationState.COMPLETE]


@pytest.mark.parametrize(
    ("path", "content", "sign"),
    [
        (f"{UPLOADS}/cache.php", b"<?php echo 1;", "php_in_uploads"),
        (f"{UPLOADS}/logo.gif", b"GIF89a" + b"\0" * 40 + b"<?php system($_GET['c']);", "php_in_uploads"),
        ("wp-content/plugins/x/x.php", b"<?php eval(base64_decode($_POST['a']));", "obfuscated"),
        ("wp-includes/load.php", b"<?php\n// core, and something else\n", "core_changed"),
    ],
)
async def test_what_an_intruder_plants_is_a_sign(
    servers: Servers, small: Callable[..., Small], path: str, content: bytes, sign: str
) -> None:
    site = small()
    furnish(site)
    await back_up(site, servers)
    site.write(path, content)
    site.own()
    assert sign in (await back_up(site, servers)).notes("suspect")


async def test_a_thousand_uploads_a_new_plugin_a_new_core_and_a_new_theme_are_no_signs(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    furnish(site)
    await back_up(site, servers)
    for number in range(1000):
        site.write(f"{UPLOADS}/new{number}.jpg", b"\xff\xd8\xff\xe0" + noise(number, 600))
    for number in range(40):
        site.write(
            f"wp-content/plugins/shop/part{number}.php", b"<?php\nfunction shop() { return base64_encode('a'); }\n" * 9
        )
    site.write("wp-includes/load.php", b"<?php\n// newer core\n" * 50)
    version = site.root / "wp-includes/version.php"
    site.write("wp-includes/version.php", version.read_bytes().replace(b"6.", b"7.") + b"\n")
    for number in range(8):
        (site.root / f"wp-content/themes/made/part{number}.css").unlink()
        site.write(f"wp-content/themes/other/part{number}.css", b".new { color: #654321 }\n" * 90)
    site.own()
    story = await back_up(site, servers)
    assert story.notes("suspect") == []
    assert await states(site, servers) == [GenerationState.COMPLETE] * 2


async def test_lost_rows_are_a_sign(servers: Servers, small: Callable[..., Small]) -> None:
    site = small()
    furnish(site)
    site.sql(f"CREATE TABLE {site.prefix}orders (id INT PRIMARY KEY)")
    site.sql(f"INSERT INTO {site.prefix}orders VALUES " + ",".join(f"({number})" for number in range(500)))
    await back_up(site, servers)
    site.sql(f"DELETE FROM {site.prefix}orders WHERE id > 20")
    assert (await back_up(site, servers)).notes("suspect") == ["rows_lost_share"]


async def test_a_suspect_generation_stops_rotation_until_an_operator_says_that_it_is_clean(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    furnish(site)
    agent = site.agent(servers)
    for _ in range(2):
        await back_up(site, servers, "weekly", keep=1)
    assert len(site.generations()) == 1
    site.write(f"{UPLOADS}/cache.php", b"<?php echo 1;")
    site.own()
    await back_up(site, servers, "weekly", keep=1)
    newest = (await agent.generations()).generations[0]
    assert newest.state is GenerationState.SUSPECT
    assert len(site.generations()) == 2
    assert (await agent.mark(newest.id, state="clean")).state is GenerationState.COMPLETE
    await back_up(site, servers, "weekly", keep=1)
    assert len(site.generations()) == 1


async def test_published_posts_that_go_are_a_sign_and_revisions_that_go_are_not(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    furnish(site)
    rows = [f"('a {number}', '{'publish' if number < 30 else 'inherit'}')" for number in range(60)]
    site.sql(f"INSERT INTO `{site.prefix}posts` (post_title, post_status) VALUES " + ",".join(rows))
    site.sql(f"CREATE TABLE {site.prefix}orders (id INT PRIMARY KEY)")
    site.sql(f"INSERT INTO {site.prefix}orders VALUES " + ",".join(f"({number})" for number in range(500)))
    await back_up(site, servers)
    site.sql(f"DELETE FROM `{site.prefix}posts` WHERE post_status='inherit'")
    assert (await back_up(site, servers)).notes("suspect") == []
    site.sql(f"DELETE FROM `{site.prefix}posts` WHERE ID % 2 = 0")
    assert (await back_up(site, servers)).notes("suspect") == ["published_lost_share"]


@pytest.mark.parametrize(("version", "signs"), [("1.0", ["code_changed_share"]), ("1.1", [])])
async def test_code_that_changes_in_mass_is_an_update_only_where_its_version_changed(
    servers: Servers, small: Callable[..., Small], version: str, signs: list[str]
) -> None:
    site = small()
    furnish(site)
    place = "wp-content/plugins/shop"

    def shop(line: str, number: str) -> None:
        site.write(f"{place}/shop.php", f"<?php\n/*\n * Plugin Name: Shop\n * Version: {number}\n */\n{line}".encode())
        for part in range(30):
            site.write(f"{place}/part{part}.php", f"<?php\n{line}// part {part}\n".encode() * 20)
        site.own()

    shop("", "1.0")
    first = await back_up(site, servers)
    assert summary_of(site, str(first.end.generation))["versions"]["plugins/shop"] == "1.0"
    shop("/* quiet */\n", version)
    assert (await back_up(site, servers)).notes("suspect") == signs
    # What was noted of versions is carried on where nothing changed.
    third = await back_up(site, servers)
    assert summary_of(site, str(third.end.generation))["versions"]["plugins/shop"] == version
    assert third.notes("suspect") == []


@pytest.mark.parametrize(("left", "signs"), [(10, ["code_gone_share"]), (0, [])])
async def test_code_that_goes_in_mass_is_a_sign_and_a_plugin_that_goes_whole_is_not(
    servers: Servers, small: Callable[..., Small], left: int, signs: list[str]
) -> None:
    site = small()
    furnish(site)
    for part in range(30):
        site.write(f"wp-content/plugins/shop/part{part}.php", b"<?php\n// part\n" * 20)
    await back_up(site, servers)
    for part in range(left, 30):
        (site.root / f"wp-content/plugins/shop/part{part}.php").unlink()
    if not left:
        (site.root / "wp-content/plugins/shop").rmdir()
    assert (await back_up(site, servers)).notes("suspect") == signs


# ---------------------------------------------------------------- changes that hide their times


def hide(site: Small, generation: str, path: str) -> None:
    """The last generation believes that the file has the times that it has now: what a forged ctime looks like."""
    folder = site.state / "generations" / generation
    seen = (site.root / path).stat()
    lines = []
    for line in (folder / "manifest").read_bytes().split(b"\n"):
        part = line.split(b" ")
        if len(part) == 15 and part[13] == b"root/" + path.encode():
            part[4:7] = [b"%d" % int(seen.st_mtime), b"%d" % int(seen.st_ctime), b"%d" % seen.st_ino]
        lines.append(b" ".join(part))
    manifest = b"\n".join(lines)
    (folder / "manifest").unlink()
    (folder / "manifest").write_bytes(manifest)
    (folder / "manifest").chmod(0o644)
    scanned_later(site, generation, manifest={"size": len(manifest), "sha256": hashlib.sha256(manifest).hexdigest()})


async def test_a_change_that_hides_its_times_is_caught_by_the_month_s_full_scan(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    furnish(site)
    path = "wp-content/themes/made/part3.css"
    first = str((await back_up(site, servers)).end.generation)
    target = site.root / path
    seen = target.stat()
    target.write_bytes(target.read_bytes().replace(b"#123456", b"#654321"))
    os.utime(target, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    hide(site, first, path)
    agent = site.agent(servers)
    missed = await carry_out(agent, "snapshot", reason="hand", signs=policy.SIGNS, full_every_s=policy.FULL_EVERY_S)
    assert missed.notes("hidden") == []
    full = summary_of(site, str(missed.end.generation))["full"]
    assert full == summary_of(site, first)["full"]  # carried on: the month does not begin anew
    scanned_later(site, str(missed.end.generation), full=full - 60)
    caught = await carry_out(agent, "snapshot", reason="hand", signs=policy.SIGNS, full_every_s=0)
    assert caught.notes("hidden") == [f"root/{path}"]
    assert caught.notes("suspect") == ["hidden"]
    assert summary_of(site, str(caught.end.generation))["full"] >= full
    # It was stored as it is, not as the generation before believed.
    target.write_bytes(b"ruined")
    assert (await carry_out(agent, "restore", generation=caught.end.generation, only=[path])).outcome is Outcome.DONE
    assert b"#654321" in target.read_bytes()


async def test_a_full_scan_of_an_unchanged_site_stores_nothing_and_suspects_nothing(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    furnish(site)
    first = str((await back_up(site, servers)).end.generation)
    agent = site.agent(servers)
    story = await carry_out(agent, "snapshot", reason="hand", signs=policy.SIGNS, full_every_s=0)
    assert (story.notes("hidden"), story.notes("suspect")) == ([], [])
    assert [path.stem for path in (site.state / "packs").glob("*.tar")] == [first]


async def test_a_clock_that_ran_ahead_does_not_put_the_full_scan_off(
    servers: Servers, small: Callable[..., Small]
) -> None:
    site = small()
    furnish(site)
    first = str((await back_up(site, servers)).end.generation)
    scanned_later(site, first, full=4_000_000_000)
    second = str((await back_up(site, servers)).end.generation)
    assert summary_of(site, second)["full"] < 4_000_000_000
