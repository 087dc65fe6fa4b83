"""An article that WordPress itself made and deleted comes back by the commands, and WordPress shows and counts it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.agent.small import tree, without
from tests.lab import Lab, LabSite
from tests.lab.wordpress import PHP, run_php
from tests.operations.program import Program

pytestmark = pytest.mark.lab
TITLE = "花火大会のお知らせ 🎆"
POST_TABLES = (
    "posts",
    "postmeta",
    "comments",
    "commentmeta",
    "terms",
    "termmeta",
    "term_relationships",
    "term_taxonomy",
)


def wordpress(site: LabSite, do: str, **more: Any) -> Any:
    told = {"root": str(site.root), "url": site.url, "title": TITLE, "do": do, **more}
    output = run_php(site, PHP / "article.php", json.dumps(told))
    return json.loads(output[output.index("{") :])


def rows_of(lab: Lab, site: LabSite) -> dict[str, set[tuple[str, ...]]]:
    """Every row of every table; what WordPress writes by itself when somebody looks is left out."""
    found = {}
    for (table,) in lab.sql(site, "SHOW TABLES"):
        name = table.removeprefix(site.db_prefix)
        where = "WHERE option_name NOT LIKE '%transient%' AND option_name <> 'cron'" if name == "options" else ""
        if not re.match(r"_[mo][0-9a-f]{6}_", table):
            found[name] = set(lab.sql(site, f"SELECT * FROM `{table}` {where}"))
    return found


async def test_an_article_that_was_deleted_for_ever_comes_back_into_the_living_site(
    lab: Lab, fresh_site: Callable[[str], LabSite], program: Program
) -> None:
    site = await asyncio.to_thread(fresh_site, "kogyo.example")
    made = wordpress(site, "write")
    about = {"id": made["id"], "picture": made["picture"]}
    then = wordpress(site, "seen", **about)
    assert then["counted"]
    program("backup", site.name)
    wordpress(site, "delete", **about)
    assert lab.fetch(site, f"/archives/{made['id']}")[0] == 404
    files, rows = without(tree(site.root), rb".*/cache(/.*)?"), rows_of(lab, site)

    (found,) = program("posts", site.name, "花火", "--json").json["posts"]
    assert (found["id"], found["title"], found["now"]) == (made["id"], TITLE, "gone")
    assert "gone now" in program("posts", site.name, "花火").out
    program("posts", site.name, "誰も書かなかった", code=1)
    only = f"post:{made['id']}"
    foreseen = program("restore", site.name, "--only", only, "--dry-run", "--json").json
    assert (foreseen["generation"], foreseen["blockers"]) == (found["generation"], [])
    assert (foreseen["post"]["state"], foreseen["post"]["comments_back"]) == ("gone", 2)
    assert foreseen["post"]["terms_back"] == ["季節の行事"]
    assert rows_of(lab, site) == rows

    done = program("restore", site.name, "--only", only, "--yes", "--json").json
    assert (done["outcome"], done["generation"]) == ("done", found["generation"])
    now = rows_of(lab, site)
    status, page = lab.fetch(site, f"/archives/{made['id']}")
    assert status == 200
    assert all(text in page for text in (TITLE, "雨天決行 ☔", "楽しみ 👍", made["image"]))
    assert lab.fetch(site, quote(made["image"].removeprefix(site.url.rstrip("/"))))[0] == 200
    again = wordpress(site, "seen", **about)
    assert again == then
    for table, were in rows.items():
        if table not in POST_TABLES:
            assert now[table] == were, table
        elif table != "term_taxonomy":
            assert were <= now[table], table
    assert set(files) < set(tree(site.root))

    assert program("undo", site.name, "--yes", "--json").json["outcome"] == "done"
    assert lab.fetch(site, f"/archives/{made['id']}")[0] == 404
    undone = rows_of(lab, site)
    assert {table: undone[table] for table in rows} == rows
    assert set(without(tree(site.root), rb".*/cache(/.*)?")) == set(files)


async def test_what_no_generation_holds_or_what_names_no_post_is_a_sentence(
    fresh_site: Callable[[str], LabSite], program: Program
) -> None:
    site = await asyncio.to_thread(fresh_site, "kogyo.example")
    never = program("restore", site.name, "--only", "post:1", "--yes", "--json", code=1).error
    assert (never["code"], "never backed up" in never["message"]) == ("no_generation", True)
    program("backup", site.name)
    missing = program("restore", site.name, "--only", "post:999999", "--yes", "--json", code=1).error
    assert (missing["code"], f"modoseru posts {site.name}" in missing["hint"]) == ("no_generation", True)
    for only in (["post:"], ["post:x"], ["post:1", "files"], ["post:1", "post:2"]):
        words = [word for part in only for word in ("--only", part)]
        assert program("restore", site.name, *words, "--yes", "--json", code=2).error["code"] == "bad_only"
    unconfirmed = program("restore", site.name, "--only", "post:1", "--json", code=2).error
    assert unconfirmed["code"] == "not_confirmed"
    assert program("--read-only", "restore", site.name, "--only", "post:1", "--yes", "--json", code=2).error[
        "code"
    ] == ("read_only")
