"""A small site with the tables of a real WordPress: articles with pictures, terms and threads of comments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.agent.small import Small

ARTICLE, PICTURE, SHARED, OTHER_PICTURE = 12, 13, 14, 15
PHOTO, THUMBNAIL = "wp-content/uploads/2026/09/祭り.jpg", "wp-content/uploads/2026/09/祭り-150x150.jpg"
SHARED_PHOTO = "wp-content/uploads/2026/08/logo.png"
TITLE = '桜まつり 🌸 "it\'s" \\ back'
CONTENT = "<p>会場：中央公園。🎆 'single' \"double\" \\\\ %s &amp;</p>\n\tline\r\nend\x1a"
SERIALIZED = 'a:2:{s:4:"名前";s:12:"髙橋🍣";s:1:"x";a:1:{i:0;O:8:"stdClass":1:{s:1:"a";N;}}}'
SIZES = (
    'a:3:{s:5:"width";i:900;s:4:"file";s:18:"2026/09/祭り.jpg";s:5:"sizes";a:'
    '1:{s:9:"thumbnail";a:1:{s:4:"file";s:18:"祭り-150x150.jpg";}}}'
)
BINARY = bytes(range(256)) * 3

BLOG = Path(__file__).with_name("blog.sql")


def text(value: str) -> str:
    for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\x1a", "\\Z"), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(plain, escaped)
    return f"'{value}'"


def tables(engine: str = "InnoDB") -> str:
    """For `small(tables=…)`, which fills in the prefix."""
    values = {
        "title": text(TITLE), "content": text(CONTENT), "serialized": text(SERIALIZED), "sizes": text(SIZES),
        "binary": BINARY.hex(), "photo": PHOTO, "shared": SHARED_PHOTO, "e": f"ENGINE={engine}",
    }  # fmt: skip
    found = BLOG.read_text()
    for name, value in values.items():
        found = found.replace(f"{{{name}}}", value.replace("{", "{{").replace("}", "}}"))
    return found


def with_pictures(site: Small) -> Small:
    site.write(PHOTO, b"photo" * 3000)
    site.write(THUMBNAIL, b"thumb" * 300)
    site.write(SHARED_PHOTO, b"logo" * 200)
    return site


def delete(site: Small, post: int = ARTICLE, *, files: bool = True) -> None:
    """As WordPress deletes for ever: rows, uploaded pictures and their files, counts."""
    p = site.prefix
    site.sql(f"""
        DELETE FROM `{p}commentmeta` WHERE comment_id IN
            (SELECT comment_ID FROM `{p}comments` WHERE comment_post_ID={post});
        DELETE FROM `{p}comments` WHERE comment_post_ID={post};
        DELETE FROM `{p}term_relationships` WHERE object_id={post};
        DELETE FROM `{p}postmeta` WHERE post_id={post} OR post_id IN
            (SELECT ID FROM `{p}posts` WHERE post_parent={post} AND post_type='attachment');
        DELETE FROM `{p}posts` WHERE ID={post} OR post_parent={post};
        UPDATE `{p}term_taxonomy` x SET count=(SELECT COUNT(*) FROM `{p}term_relationships` r WHERE
            r.term_taxonomy_id=x.term_taxonomy_id)""")
    if files:
        for path in (PHOTO, THUMBNAIL):
            (site.root / path).unlink(missing_ok=True)


def rows(site: Small, table: str, where: str = "1=1") -> list[tuple[Any, ...]]:
    """Every column in hexadecimal, so that bytes are compared."""
    name = f"{site.prefix}{table}"
    columns = [
        row[0]
        for row in site.sql(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA="
            f"'{site.within.db_name}' AND TABLE_NAME='{name}' ORDER BY ORDINAL_POSITION"
        )
    ]
    return sorted(site.sql(f"SELECT {', '.join(f'HEX({column})' for column in columns)} FROM `{name}` WHERE {where}"))
