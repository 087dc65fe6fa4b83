"""What a demo site consisted of at any moment: files and database as a pure function of its character and a time.

The live tree is this function at the moment when the demo opened, plus the trouble; a generation of the past is the
same function at its own time. So history costs nothing until somebody restores it.
"""

from __future__ import annotations

import bisect
import datetime as dt
import random
import struct
import zlib
from functools import lru_cache
from typing import Any

from app.demo.cast import Character, PluginPart

FATAL = "function_that_this_php_does_not_have();"
"""Stands in a plugin's file where it throws on every page."""
WHITE = "ob_start( fn() => '' );"
"""Stands in a plugin's file where every page comes out empty."""
DEFACED = "/* d3f4c3d */"
"""Begins an `index.php` that an intruder wrote."""
SHELL = "wp-content/uploads/.cache-7f3a.php"
"""The back door of the hacked site."""
TABLES = ("options", "posts", "users", "comments", "orders")

_TITLES = (
    ("年末年始の休業について", "Closed over the New Year"),
    ("ホームページを新しくしました", "Our new website"),
    ("営業時間変更のお知らせ", "New opening hours"),
    ("スタッフ募集", "We are hiring"),
    ("春のキャンペーン", "Spring campaign"),
    ("新サービスを始めました", "A new service"),
    ("地域のお祭りに参加しました 🎆", "We joined the town festival 🎆"),
    ("お客様の声", "What our customers say"),
    ("夏季休業のお知らせ", "Summer holidays"),
    ("設備を入れ替えました", "New equipment"),
    ("台風の影響について", "About the typhoon"),
    ("メディアに掲載されました", "In the press"),
)
_SENTENCES = (
    "いつもありがとうございます。詳しくは下記をご覧ください。ご不明な点はお電話でお問い合わせください。",
    "Thank you for your continued support. Please call us if you have any questions.",
)


LARGE_PICTURES = 24
_A_DAY = dt.timedelta(days=1)
_ORDERS = 240
_LASTING_ROWS = 7
"""Options and users, at any time."""


def _commented(number: int) -> bool:
    return number % 4 == 1


def _ordered(birth: dt.datetime, index: int) -> dt.datetime:
    """Three a day: what a shop loses between two generations."""
    return birth - dt.timedelta(hours=3 + 8 * index)


def slug_file(part: PluginPart) -> str:
    return f"wp-content/plugins/{part.slug}/{part.slug}.php"


def plugin_source(part: PluginPart, version: str, fault: str | None = None) -> bytes:
    code = {"fatal": FATAL, "white": WHITE}.get(fault or "", f"add_action( 'init', '{part.slug.replace('-', '_')}' );")
    return f"<?php\n/*\nPlugin Name: {part.name}\nVersion: {version}\n*/\n{code}\n".encode()


def version_source(version: str) -> bytes:
    return f"<?php\n$wp_version = '{version}';\n$wp_local_package = 'ja';\n".encode()


@lru_cache(maxsize=512)
def picture(shade: int, side: int) -> bytes:
    """A real PNG of coloured noise, so that it weighs what a small photograph weighs; the same for the same shade."""
    noise = random.Random(shade)  # noqa: S311  a picture, no secret
    rows = b"".join(b"\x00" + noise.randbytes(side * 3) for _ in range(side))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def password(character: Character) -> str:
    """Of its database, when the demo opens. Nobody is let in with it."""
    return f"demo-{character.user}"


def core_files(character: Character) -> dict[str, bytes]:
    """Everything but the uploads, which grow with time."""
    files = {
        "index.php": b"<?php\ndefine( 'WP_USE_THEMES', true );\nrequire __DIR__ . '/wp-blog-header.php';\n",
        "wp-blog-header.php": b"<?php\nrequire_once __DIR__ . '/wp-load.php';\nwp();\n",
        "wp-load.php": b"<?php\nrequire_once __DIR__ . '/wp-config.php';\n",
        "wp-config.php": (
            f"<?php\ndefine( 'DB_NAME', '{character.user}' );\ndefine( 'DB_PASSWORD', '{password(character)}' );\n"
            "define( 'DB_CHARSET', 'utf8mb4' );\n"
            "$table_prefix = 'wp_';\nrequire_once ABSPATH . 'wp-settings.php';\n"
        ).encode(),
        "wp-settings.php": b"<?php\nrequire ABSPATH . WPINC . '/version.php';\n",
        "wp-login.php": b"<?php\nrequire __DIR__ . '/wp-load.php';\n",
        "wp-cron.php": b"<?php\nrequire __DIR__ . '/wp-load.php';\n",
        ".htaccess": b"# BEGIN WordPress\nRewriteEngine On\n# END WordPress\n",
        "wp-includes/version.php": version_source(character.wordpress),
        "wp-includes/functions.php": b"<?php\nfunction wp_die( $m ) { exit( $m ); }\n",
        "wp-admin/index.php": b"<?php\nrequire_once __DIR__ . '/admin.php';\n",
        "wp-content/index.php": b"<?php\n// Silence is golden.\n",
        "wp-content/languages/ja.l10n.php": b"<?php\nreturn ['language'=>'ja'];\n",
        "wp-content/themes/harmony/style.css": b"/*\nTheme Name: Harmony\nVersion: 1.6\n*/\nbody{color:#222}\n",
        "wp-content/themes/harmony/index.php": b"<?php\nget_header();\nthe_posts();\nget_footer();\n",
        "wp-content/themes/harmony/functions.php": b"<?php\nadd_theme_support( 'title-tag' );\n",
    }
    for part in character.plugins:
        files[slug_file(part)] = plugin_source(part, part.version)
        files[f"wp-content/plugins/{part.slug}/readme.txt"] = (
            f"=== {part.name} ===\nStable tag: {part.version}\n".encode()
        )
    return files


def _pictures(character: Character, birth: dt.datetime) -> list[tuple[dt.datetime, str, bytes]]:
    """When, where and what: a picture every nineteen days; small ones where the fleet is large."""
    found, side = [], 96 if character.number < LARGE_PICTURES else 24
    for step in range(8):
        taken = birth - dt.timedelta(days=4 + 19 * step + character.number % 7)
        name = f"wp-content/uploads/{taken:%Y/%m}/photo-{8 - step:02}.png"
        found.append((taken, name, picture((character.number * 31 + step * 17) & 63, side)))
    return found


def files(character: Character, birth: dt.datetime, at: dt.datetime) -> dict[str, bytes]:
    """Path below the document root to bytes, about 30 of them."""
    return core_files(character) | {name: body for taken, name, body in _pictures(character, birth) if taken <= at}


def published(character: Character, birth: dt.datetime, index: int) -> dt.datetime:
    """When post `index`, counted from the newest, went out: every four days, the newest half a day before the trouble.

    So every weekly generation lacks a post or two, and a restore has something to lose and to say.
    """
    return birth - dt.timedelta(days=1.5 + 4.1 * index, minutes=17 * character.number)


def database(character: Character, birth: dt.datetime, at: dt.datetime, language: str = "ja") -> dict[str, Any]:
    """The tables, each a list of rows."""
    posts, comments = [], []
    for index in reversed(range(character.posts)):
        when = published(character, birth, index)
        if when > at:
            continue
        number = character.posts - index
        pair = _TITLES[(number + character.number) % len(_TITLES)]
        posts.append(
            {
                "id": number,
                "title": pair[number % 3 == 2],
                "content": _SENTENCES[number % 3 == 2],
                "date": when.isoformat(timespec="seconds"),
                "status": "publish",
            }
        )
        if _commented(number) and when + _A_DAY <= at:
            since = (when + _A_DAY).isoformat(timespec="seconds")
            comments.append({"id": number, "post": number, "author": "山田", "content": "ありがとう!", "date": since})
    start = (birth - dt.timedelta(days=800)).isoformat(timespec="seconds")
    return {
        "options": {
            "blogname": character.title(language),
            "siteurl": f"https://{character.host}",
            "home": f"https://{character.host}",
            "active_plugins": [part.slug for part in character.plugins],
            "reachable": True,
        },
        "posts": posts,
        "users": [
            {"id": 1, "login": f"{character.user}-admin", "role": "administrator", "registered": start},
            {"id": 2, "login": "editor", "role": "editor", "registered": start},
        ],
        "comments": comments,
        "orders": _orders(birth, at) if character.shop else [],
    }


def _orders(birth: dt.datetime, at: dt.datetime) -> list[dict[str, Any]]:
    return [
        {"id": 240 - index, "total": 1800 + index * 130 % 9000, "date": when.isoformat(timespec="seconds")}
        for index in reversed(range(_ORDERS))
        if (when := _ordered(birth, index)) <= at
    ]


def rows(tables: dict[str, Any]) -> int:
    return sum(len(tables[name]) for name in TABLES)


class Extent:
    """How much a site was at a time, without making it: what listings of the past show. Agrees with the above."""

    def __init__(self, character: Character, birth: dt.datetime) -> None:
        core = core_files(character)
        self._files, self._bytes = len(core), sum(map(len, core.values()))
        self._pictures = [(taken, len(body)) for taken, _, body in _pictures(character, birth)]
        self._moments = [published(character, birth, index) for index in range(character.posts)]
        numbered = zip(range(character.posts, 0, -1), self._moments, strict=True)
        self._moments += [when + _A_DAY for number, when in numbered if _commented(number)]
        if character.shop:
            self._moments += [_ordered(birth, index) for index in range(_ORDERS)]
        self._moments.sort()

    def at(self, when: dt.datetime) -> tuple[int, int, int]:
        """Files, bytes and rows."""
        sizes = [size for taken, size in self._pictures if taken <= when]
        count = _LASTING_ROWS + bisect.bisect_right(self._moments, when)
        return self._files + len(sizes), self._bytes + sum(sizes) + weight(count), count


def weight(count: int) -> int:
    """What a dump of so many rows is said to weigh: a figure that is the same for the past and the present."""
    return 160 * count
