"""What the twin tells of one post: found by its title, compared with the site, and put back among its rows."""

from __future__ import annotations

import re
from typing import Any

from app.demo.archive import Archive
from app.demo.site import DemoSite
from backends.records import ModoseruError

FOUND_AT_MOST = 50
Row = dict[str, Any]
_ONLY = re.compile(r"post:([1-9][0-9]{0,17})")


def id_of(only: object) -> int | None:
    """The ID in `post:ID`; None where something else is asked for. Raises ModoseruError for what names no post."""
    if not isinstance(only, str) or not only.startswith("post:"):
        return None
    if (named := _ONLY.fullmatch(only)) is None:
        raise ModoseruError("bad_request", f'"{only}" names no post', "name it as post:ID")
    return int(named[1])


def posts(site: DemoSite, generations: Archive, name: str, words: str) -> dict[str, Any]:
    """The reply of the verb `posts`."""
    generations.present(name)
    wanted = words.casefold().split()
    if not wanted:
        raise ModoseruError("bad_request", "no word of the title was given", "give a word of its title")
    live = site.tables()
    found = [
        {**_line(post), "id": post["id"], "now": _state(post, live)}
        for post in generations.tables(name)["posts"]
        if all(word in post["title"].casefold() or word == str(post["id"]) for word in wanted)
    ]
    found.sort(key=lambda post: (post["modified"], post["id"]), reverse=True)
    return {"generation": name, "posts": found[:FOUND_AT_MOST]}


def post(site: DemoSite, generations: Archive, name: str, number: int) -> dict[str, Any]:
    """The reply of the verb `post`."""
    then, live = held(generations, name, number), site.tables()
    tables = generations.tables(name)
    now = _row(live, number)
    comments = _comments(tables, number)
    there = {comment["id"] for comment in _comments(live, number)}
    return {
        "generation": name,
        "id": number,
        "state": _state(then, live),
        "then": _shown(then, len(comments)),
        "now": _shown(now, len(there)) if now is not None else None,
        "comments_back": sum(comment["id"] not in there for comment in comments),
        "comments_kept": len(there),
    }


def held(generations: Archive, name: str, number: int) -> Row:
    """The post as the generation has it. Raises ModoseruError (no_post)."""
    generations.present(name)
    if (found := _row(generations.tables(name), number)) is None:
        hint = "modoseru posts finds it in another one"
        raise ModoseruError("no_post", f"the generation {name} holds no post {number}", hint)
    return found


def put_back(live: dict[str, Any], then: dict[str, Any], number: int) -> dict[str, Any]:
    """The living tables with the post, and those of its comments that are missing, as they were."""
    there = {comment["id"] for comment in _comments(live, number)}
    rows = [row for row in live["posts"] if row["id"] != number] + [row for row in then["posts"] if row["id"] == number]
    missing = [comment for comment in _comments(then, number) if comment["id"] not in there]
    comments = [*live["comments"], *missing]
    return {**live, "posts": sorted(rows, key=_number), "comments": sorted(comments, key=_number)}


def _number(row: Row) -> int:
    return int(row["id"])


def _row(tables: dict[str, Any], number: int) -> Row | None:
    return next((row for row in tables["posts"] if row["id"] == number), None)


def _comments(tables: dict[str, Any], number: int) -> list[Row]:
    return [comment for comment in tables["comments"] if comment["post"] == number]


def _state(then: Row, live: dict[str, Any]) -> str:
    now = _row(live, then["id"])
    if now is None:
        return "gone"
    return "trashed" if now["status"] == "trash" else "same" if now == then else "changed"


def _line(row: Row) -> Row:
    return {"type": "post", "title": row["title"], "status": row["status"], "modified": row["date"]}


def _shown(row: Row, comments: int) -> Row:
    return {**_line(row), "excerpt": row["content"][:200], "comments": comments}
