"""Issue 2, "Shown when done", on real servers through the console script: back up, lose, restore, undo."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable

import pytest

from tests.lab import Lab, LabSite
from tests.operations.program import Program, Visitor

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
PAGES = ("/", "/archives/5", "/company", "/wp-content/uploads/2026/09/logo.png", "/wp-login.php")


def pages(lab: Lab, site: LabSite) -> dict[str, tuple[int, str]]:
    found = {path: lab.fetch(site, path) for path in PAGES}
    # Akismet draws a number for each visitor.
    return {path: (status, re.sub(r'name="ak_js" value="\d+"', "", body)) for path, (status, body) in found.items()}


def files(site: LabSite) -> dict[str, str]:
    found = {}
    for path in sorted(site.base.rglob("*")):
        if path.is_file() and ".modoseru" not in path.relative_to(site.home).parts:
            found[str(path.relative_to(site.base))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def rows(lab: Lab, site: LabSite) -> list[tuple[str, ...]]:
    tables = ("posts", "postmeta", "users", "comments", "terms")
    return lab.sql(site, "CHECKSUM TABLE " + ", ".join(f"`{site.db_prefix}{name}`" for name in tables))


@pytest.mark.parametrize("name", ["kogyo.example", "momiji.example", "higashi.example"])
def test_what_was_deleted_by_hand_comes_back_byte_for_byte_and_undo_takes_that_back(
    lab: Lab, fresh_site: Fresh, program: Program, name: str
) -> None:
    site = fresh_site(name)
    whole_pages, whole_files, whole_rows = pages(lab, site), files(site), rows(lab, site)
    assert whole_pages["/archives/5"][0] == 200

    program("check", name, "--json", code=2)  # never backed up
    made = program("backup", name, "--json").json
    assert made["outcome"] == "done"
    (generation,) = program("generations", name, "--json").json["generations"]
    assert generation["id"] == made["generation"]
    assert generation["sealed"] is True
    assert program("check", name, "--json").json["sites"][0]["verdict"] == "unproven"

    lab.sql(site, f"DELETE FROM `{site.db_prefix}posts` WHERE post_status = 'publish'")
    shutil.rmtree(site.root / "wp-content" / "uploads")
    (site.root / "wp-login.php").unlink()
    lost_pages, lost_files, lost_rows = pages(lab, site), files(site), rows(lab, site)
    assert lost_pages["/archives/5"][0] == 404

    with Visitor(lab, site).visiting() as visitor:
        restored = program("restore", name, "--yes", "--json").json
    assert restored["outcome"] == "done"
    assert restored["generation"] == generation["id"]
    assert {one.status for one in visitor.samples} <= {200, 503}  # 503: the switch itself
    assert files(site) == whole_files
    assert rows(lab, site) == whole_rows
    assert pages(lab, site) == whole_pages

    undone = program("undo", name, "--yes", "--json").json
    assert (undone["kind"], undone["outcome"]) == ("undo", "done")
    assert files(site) == lost_files
    assert rows(lab, site) == lost_rows
    assert pages(lab, site) == lost_pages

    program("undo", name, "--yes", "--json")
    assert files(site) == whole_files
    assert rows(lab, site) == whole_rows
    kinds = [one["kind"] for one in program("operations", name, "--json").json["operations"]]
    assert kinds == ["undo", "undo", "restore", "backup"]
    # Of checksums; nobody asked for updates.
    asked = {one["path"] for one in lab.wporg.requests()}
    assert asked <= {"/core/checksums/1.0/", "/plugin-checksums/akismet/5.0.2.json"}


def test_a_dry_run_names_what_would_be_lost_and_changes_nothing(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("minato.example")
    program("backup", site.name)
    posts = f"`{site.db_prefix}posts`"
    lab.sql(
        site,
        f"INSERT INTO {posts} (post_author, post_date, post_date_gmt, post_content, post_title, post_excerpt,"
        " post_status, post_name, to_ping, pinged, post_modified, post_modified_gmt, post_content_filtered, post_type)"
        " VALUES (1, NOW(), UTC_TIMESTAMP() + INTERVAL 1 MINUTE, '', '昨日の注文 🛒', '', 'publish', 'x', '', '',"
        " NOW(), UTC_TIMESTAMP() + INTERVAL 1 MINUTE, '', 'post')",
    )
    (site.root / "new.txt").write_text("new")
    before = files(site)
    found = program("restore", site.name, "--dry-run", "--json").json
    assert found["blockers"] == []
    assert found["loss"]["posts"] == 1
    assert "昨日の注文 🛒" in found["loss"]["newest"]
    assert found["loss"]["files"] == 1
    text = program("restore", site.name, "--dry-run")
    assert "1 post or page, 1 file" in text.out
    assert f"modoseru restore {site.name} {found['generation']}" in text.err
    part = program("restore", site.name, "--only", "index.php", "--dry-run")
    assert "Replaced: index.php" in part.out
    assert "Newer than it" not in part.out
    assert part.err.rstrip().endswith(f"modoseru restore {site.name} {found['generation']} --only index.php")
    refused = program("restore", site.name, "--only", "wp-content/nope", "--dry-run", code=1)
    assert "wp-content/nope is not in the generation" in refused.out
    assert files(site) == before
    assert program("operations", site.name, "--json").json["operations"][0]["kind"] == "backup"
    program("restore", site.name, "--yes")
    again = program("restore", site.name, found["generation"], "--dry-run", "--json").json
    assert again["loss"]["files"] == 0  # what the switch itself touched is no loss


def test_one_part_comes_back_and_the_rest_stays(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site("minato.example")
    program("backup", site.name)
    title = f"UPDATE `{site.db_prefix}posts` SET post_title = 'edited since'"
    cron, index = site.root / "wp-cron.php", site.root / "index.php"
    whole = {path: path.read_bytes() for path in (cron, index)}

    lab.sql(site, title)
    cron.write_bytes(b"<?php // hacked")
    changed = rows(lab, site)
    program("restore", site.name, "--only", "files", "--yes")
    assert cron.read_bytes() == whole[cron]
    assert rows(lab, site) == changed

    cron.write_bytes(b"<?php // hacked")
    program("restore", site.name, "--only", "database", "--yes")
    assert rows(lab, site) != changed
    assert cron.read_bytes() == b"<?php // hacked"

    index.write_bytes(b"<?php // hacked too")
    refused = program("restore", site.name, "--only", "wp-cron.php", "--yes", code=1)
    assert "the front page: empty page" in refused.out  # nothing was gained, so nothing was changed
    assert cron.read_bytes() == b"<?php // hacked"
    program("restore", site.name, "--only", "wp-cron.php", "--only", "index.php", "--yes")
    assert {path: path.read_bytes() for path in whole} == whole


def test_several_sites_are_backed_up_by_one_command(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    names = ["sakura.example", "momiji.example", "minato.example"]
    for name in names:
        fresh_site(name)
    found = program("backup", *names, "--json").json
    assert [one["site"] for one in found["operations"]] == names
    assert {one["outcome"] for one in found["operations"]} == {"done"}


def test_a_hacked_file_with_the_clean_one_s_time_and_size_is_served_no_more(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    """opcache compares times alone: without a reset it would serve the hacked code for ever (FACTS 4)."""
    site = fresh_site("kogyo.example")
    program("backup", site.name)
    index = site.root / "index.php"
    seen, clean = index.stat(), index.read_bytes()
    index.write_bytes(b"<?php echo 'HACKED'; exit; //".ljust(len(clean), b"x"))
    os.utime(index, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    lab.restart_php(site)
    assert lab.fetch(site)[1] == "HACKED"
    program("restore", site.name, "--yes")
    assert index.read_bytes() == clean
    assert int(index.stat().st_mtime) == int(seen.st_mtime)
    status, body = lab.fetch(site)
    assert (status, site.title in body) == (200, True)
