"""`modoseru diff` on real WordPress: what an operator looks at first when a site was hacked, or an article is gone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable

import pytest

from tests.lab import Lab, LabSite
from tests.operations.program import Program

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
NAME = "kogyo.example"
DOOR = "wp-content/uploads/2026/09/logo.php"
EDITED = "新しい営業時間 🕙"
WRITTEN = "臨時休業"


def put(site: LabSite, path: str, content: str) -> None:
    target = site.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)
    os.chown(target, site.uid, site.uid)


def in_wordpress(lab: Lab, site: LabSite, code: str) -> None:
    """What an editor does in wp-admin."""
    boot = f"<?php $_SERVER['HTTP_HOST'] = 'x'; require '{site.root}/wp-load.php'; {code} echo 'all of it';"
    assert lab.ssh(site, site.php, stdin=boot.encode()).stdout.endswith(b"all of it")


def published(lab: Lab, site: LabSite) -> list[tuple[int, str]]:
    """Posts that the world sees, the oldest first."""
    where = "post_status = 'publish' AND post_type = 'post' ORDER BY ID"
    found = lab.sql(site, f"SELECT ID, post_title FROM `{site.db_prefix}posts` WHERE {where}")
    return [(int(number), title) for number, title in found]


@pytest.mark.parametrize("name", [NAME, "momiji.example", "higashi.example"])
def test_each_lost_article_is_told_by_its_title_and_what_was_planted_comes_first(
    lab: Lab, fresh_site: Fresh, program: Program, name: str
) -> None:
    site = fresh_site(name)
    generation = program("backup", name, "--json").json["generation"]
    same = program("diff", name, "--json").json
    assert (same["site"], same["generation"]) == (name, generation)
    assert (same["files"], same["posts"]) == ({"added": [], "changed": [], "removed": [], "suspicious": []}, [])

    (edited, _), (trashed, bin_title), (deleted, lost_title), (forged, forged_title), *_ = published(lab, site)
    in_wordpress(
        lab,
        site,
        f"wp_update_post(['ID' => {edited}, 'post_title' => '{EDITED}']); wp_trash_post({trashed});"
        f"wp_delete_post({deleted}, true);"
        f"wp_insert_post(['post_title' => '{WRITTEN}', 'post_type' => 'page', 'post_status' => 'publish']);",
    )
    # What an intruder's own statement does: the content, and no time.
    where = f"WHERE ID = {forged}"
    lab.sql(site, f"UPDATE `{site.db_prefix}posts` SET post_content = CONCAT(post_content, '<a href=x>') {where}")
    put(site, DOOR, "<?php echo 'here';\n")
    put(site, "wp-content/themes/aaa/first.css", "body {}\n")

    found = program("diff", name, "--json").json
    told = {(post["id"], post["title"], post["change"], post["type"]) for post in found["posts"]}
    (written,) = [post["id"] for post in found["posts"] if post["change"] == "added"]
    assert told == {
        (edited, EDITED, "changed", "post"),
        (trashed, bin_title, "trashed", "post"),
        (deleted, lost_title, "gone", "post"),
        (forged, forged_title, "changed", "post"),
        (written, WRITTEN, "added", "page"),
    }
    assert found["files"]["suspicious"][0] | {"modified": ""} == {
        "path": DOOR, "signs": ["php_in_uploads"], "area": "uploads", "change": "added", "modified": "",
    }  # fmt: skip
    assert {"path": DOOR, "area": "uploads"} in found["files"]["added"]
    rows = {table["name"]: (table["rows_then"], table["rows_now"]) for table in found["tables"]}
    assert rows[f"{site.db_prefix}users"][0] == rows[f"{site.db_prefix}users"][1]
    (count,) = lab.sql(site, f"SELECT COUNT(*) FROM `{site.db_prefix}posts`")
    assert rows[f"{site.db_prefix}posts"][1] == int(count[0])
    assert program("diff", name, generation, "--full", "--json").json == found | {"full": True}


def test_people_read_the_suspicious_first_and_every_path_when_they_ask(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site(NAME)
    program("backup", NAME)
    assert "✔ Nothing differs." in program("diff", NAME).out
    for number in range(30):
        put(site, f"wp-content/themes/aaa/{number:02}.css", "body {}\n")
    put(site, DOOR, "<?php echo 'here';\n")
    lab.sql(site, f"INSERT INTO `{site.db_prefix}posts` (post_title, post_content, post_excerpt, to_ping, pinged,"
                  " post_content_filtered) VALUES ('買います', '', '', '', '', '')")  # fmt: skip
    short = program("diff", NAME)
    lines = short.out.splitlines()
    order = [
        next(n for n, line in enumerate(lines) if word in line) for word in ("Suspicious", DOOR, "Files", "買います")
    ]
    assert order == sorted(order)
    assert short.out.count(".css") == 20
    assert "--all" in short.err
    long = program("diff", NAME, "--all")
    assert long.out.count(".css") == 30
    assert "--all" not in long.err
    program.write_fleet({"fleet": {"name": "研究所", "timezone": "Asia/Tokyo", "language": "ja"}})
    assert "不審なファイル  1" in program("diff", NAME).out


@pytest.mark.parametrize("broken", ["fatal", "no configuration", "no root"])
def test_a_site_that_starts_no_wordpress_is_compared_all_the_same(
    lab: Lab, fresh_site: Fresh, program: Program, broken: str
) -> None:
    site = fresh_site(NAME)
    program("backup", NAME)
    if broken == "fatal":
        put(site, "wp-content/mu-plugins/aaa.php", "<?php nobody_wrote_this();\n")
    elif broken == "no configuration":
        text = site.config_file.read_text()
        site.config_file.write_text(text.replace("define( 'DB_USER'", "define( DB_USER'"))
    else:
        shutil.rmtree(site.root)
    found = program("diff", NAME, "--json").json
    codes = [warning["code"] for warning in found["warnings"]]
    if broken == "fatal":
        assert [one["signs"] for one in found["files"]["suspicious"]] == [["must_use"]]
        assert codes == []
        assert found["tables"]
    elif broken == "no configuration":
        assert [one["signs"] for one in found["files"]["suspicious"]] == [["configuration"]]
        assert codes == ["no_config"]
    else:
        (made,) = program("generations", NAME, "--json").json["generations"]
        assert found["counts"]["removed"] >= made["files"]
        assert found["truncated"] == []
        assert codes == ["no_root"]


def test_a_generation_that_cannot_be_believed_is_said_to_be_so(fresh_site: Fresh, program: Program) -> None:
    site = fresh_site(NAME)
    first = program("backup", NAME, "--json").json["generation"]
    second = program("backup", NAME, "--json").json["generation"]
    program("generations", NAME, "--mark", second, "suspect")
    assert program("diff", NAME, "--json").json["generation"] == first
    named = program("diff", NAME, second, "--json").json
    assert [warning["code"] for warning in named["warnings"]] == ["suspect"]
    summary = site.home / ".modoseru" / NAME / "generations" / first / "summary.json"
    body = json.loads(summary.read_text())
    summary.unlink()
    summary.write_text(json.dumps(body | {"reason": "weekly"}))
    summary.chmod(0o644)
    forged = program("diff", NAME, first, "--json").json
    assert [warning["code"] for warning in forged["warnings"]] == ["seal_broken"]
    assert program("diff", NAME, "--json", code=1).error["code"] == "no_generation"
    assert program("diff", NAME, "yesterday", "--json", code=2).error["code"] == "bad_generation"


def test_it_may_be_asked_read_only_and_tells_how_far_it_is(fresh_site: Fresh, program: Program) -> None:
    fresh_site(NAME)
    program("backup", NAME)
    answer = program("diff", NAME, "--read-only", "--progress", "json", "--json")
    assert answer.json["counts"]["added"] == 0
    assert {event["type"] for event in answer.events} == {"progress"}
    assert answer.events[-1]["done"] <= answer.events[-1]["total"]
