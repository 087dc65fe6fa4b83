"""The site that is measured: a WordPress of the lab grown to 1.1 GB in 23,000 files and a dump of 110 MB.

Everything comes from a seed: two builds are the same to the byte. The shape is a company's site after ten years: core,
plugins of source text, themes, uploads by month in several sizes. Texts are cut out of WordPress's own sources,
each at a place of its own, so that they pack as source text does; photos are noise behind the head of a JPEG.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import os
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.lab import Lab, LabError, LabSite
from tests.lab.wordpress import SOURCE

FILES, BYTES = 23_000, 1_100_000_000
DENSE_SHARE = 0.7
"""Of the bytes: what looks like JPEG."""
CORE_FILES = 2_550
"""What a WordPress has before anything is added to it; not scaled."""
PLUGINS, THEMES = 40, 3
TEXT_FILES = 12_500
DUMP = 110_000_000
CHURN = 0.01
FOREIGN = 170
PLACES = ("wp-content/plugins", "wp-content/themes", "wp-content/uploads")


class Shape(NamedTuple):
    """What a built site has."""

    files: int
    bytes: int
    dense: int

    def __str__(self) -> str:
        return f"{self.files} files, {self.bytes / 1e6:.0f} MB, {self.dense / self.bytes:.0%} of them incompressible"


class BenchSite:
    """A site of the lab that is grown, changed, and brought back."""

    def __init__(self, lab: Lab, name: str, scale: float) -> None:
        self.lab, self.scale = lab, scale
        self.site: LabSite = lab.site(name)
        self.root = self.site.root
        self.shape = Shape(0, 1, 0)

    def build(self) -> Shape:
        """The files, as the account's own, aged: nothing looks as if it had just been written."""
        self.lab.reset(self.site)
        texts, photos = round(TEXT_FILES * self.scale), round((FILES - CORE_FILES - TEXT_FILES) * self.scale)
        text_bytes = BYTES * (1 - DENSE_SHARE) * self.scale - 58e6 * min(1, self.scale)
        for place in self._text_places(texts):
            self._write(place, text_of(place, self._size(place, text_bytes / max(1, texts))))
        for place in self._photo_places(photos):
            self._write(place, noise_of(place, self._size(place, BYTES * DENSE_SHARE * self.scale / max(1, photos))))
        self._own()
        self.shape = self._measured()
        return self.shape

    def _measured(self) -> Shape:
        sizes = {
            path: path.lstat().st_size for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()
        }
        dense = sum(size for path, size in sizes.items() if path.suffix == ".jpg")
        return Shape(len(sizes), sum(sizes.values()), dense)

    def change(self, round_: int) -> int:
        """Changes 1 % of the files as a week does: half of those are written anew, a quarter goes, a quarter comes."""
        chosen = self._some(f"change {round_}")
        for number, path in enumerate(chosen):
            name = str(path.relative_to(self.root))
            make = noise_of if path.suffix == ".jpg" else text_of
            if number % 4 < 2:
                self._write(name, make(f"{name} {round_}", path.stat().st_size), aged=False)
            elif number % 4 == 2:
                path.unlink()
            else:
                sibling = str(path.with_name(f"{path.stem}-{round_}{path.suffix}").relative_to(self.root))
                self._write(sibling, make(sibling, path.stat().st_size), aged=False)
        self._own()
        return len(chosen)

    def differ(self, round_: int) -> None:
        """1 % of the files hold something else under the same size and time; and files that belong to nobody."""
        for path in self._some(f"differ {round_}"):
            seen = path.stat()
            make = noise_of if path.suffix == ".jpg" else text_of
            path.write_bytes(make(f"{path.name} {round_}", seen.st_size))
            os.utime(path, (seen.st_mtime, seen.st_mtime))
        for number in range(self.foreign):
            self._write(f"wp-content/uploads/2024/{number % 12 + 1:02}/.{round_}-{number}.php", b"<?php\n", aged=False)
        self._own()

    def _some(self, seed: str) -> list[Path]:
        """1 % of all files, out of those that were added."""
        return random.Random(seed).sample(self.files(), max(4, round(self.shape.files * CHURN)))

    @property
    def foreign(self) -> int:
        return max(4, round(FOREIGN * self.scale))

    def foreign_left(self) -> int:
        return sum(1 for _ in (self.root / "wp-content/uploads/2024").glob("*/.*.php"))

    def remove_foreign(self) -> None:
        for path in (self.root / "wp-content/uploads/2024").glob("*/.*.php"):
            path.unlink()

    def files(self) -> list[Path]:
        """What was added to WordPress, sorted."""
        return sorted(path for place in PLACES for path in (self.root / place).rglob("*") if path.is_file())

    def fingerprint(self) -> str:
        """Of every path below the root, its kind, mode, time and content."""
        digest = hashlib.sha256()
        for path in sorted(self.root.rglob("*")):
            seen = path.lstat()
            digest.update(f"{path.relative_to(self.root)} {seen.st_mode:o} {seen.st_uid} ".encode())
            if path.is_file() and not path.is_symlink():
                digest.update(f"{int(seen.st_mtime)} ".encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _text_places(self, count: int) -> Iterator[str]:
        kinds = ("php", "php", "php", "js", "css", "po", "json", "html", "txt")
        for number in range(count):
            home = f"themes/theme-{number % THEMES}" if number % 12 == 0 else f"plugins/plugin-{number % PLUGINS:02}"
            part = ("includes", "assets/js", "languages", "src/Model", "templates")[number // 7 % 5]
            yield f"wp-content/{home}/{part}/file-{number:05}.{kinds[number % len(kinds)]}"

    def _photo_places(self, count: int) -> Iterator[str]:
        sizes = ("", "-1024x683", "-768x512", "-300x200", "-150x150")
        for number in range(count):
            photo, size = divmod(number, len(sizes))
            month = photo * 144 // max(1, count // len(sizes) + 1)
            yield f"wp-content/uploads/{2014 + month // 12}/{month % 12 + 1:02}/photo-{photo:05}{sizes[size]}.jpg"

    def _size(self, place: str, average: float) -> int:
        """Sizes differ as those of real files do; an original is larger than its thumbnails."""
        spread = random.Random(place).lognormvariate(-0.32, 0.8)
        return max(40, int(average * spread))

    def _write(self, name: str, content: bytes, *, aged: bool = True) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if aged:
            then = random.Random(f"time {name}").randint(1_400_000_000, 1_760_000_000)
            os.utime(path, (then, then))

    def _own(self) -> None:
        owner = f"{self.site.uid}:{self.site.uid}"
        content = str(self.root / "wp-content")
        # Only those that are not the account's yet: a change of owner is a change of ctime.
        subprocess.run(["chown", "-hR", "--from=0", owner, content], check=True)

    # ------------------------------------------------------------ database

    def fill(self) -> None:
        """Rows, so that a plain dump has 110 MB of which posts and options are under 30 %."""
        sql = subprocess.Popen(
            ["mariadb", "--no-defaults", f"--socket={self.site.db_socket}", "-uroot", "--default-character-set=utf8mb4",
             self.site.db_name],
            stdin=subprocess.PIPE,
        )  # fmt: skip
        assert sql.stdin is not None
        for statement in self._rows():
            sql.stdin.write(statement.encode() + b";\n")
        sql.stdin.close()
        if sql.wait():
            raise LabError("the bench's rows could not be written")

    def touch_rows(self, round_: int) -> None:
        """What an editor does in a day: posts and options differ, every other table is as it was."""
        p = self.site.db_prefix
        self.lab.sql(
            self.site,
            f"UPDATE {p}posts SET post_content=CONCAT(post_content, ' {round_}') WHERE ID % 97 = {round_ % 97};"
            f"UPDATE {p}options SET option_value='{round_}' WHERE option_name='bench_round'",
        )

    def _rows(self) -> Iterator[str]:
        p, budget = self.site.db_prefix, DUMP * self.scale
        yield (
            f"CREATE TABLE {p}visits (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, at datetime NOT NULL, "
            "path varchar(191) NOT NULL, agent text NOT NULL, KEY at (at), KEY path (path)) "
            "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
        )
        yield f"INSERT INTO {p}options (option_name, option_value, autoload) VALUES ('bench_round', '0', 'yes')"
        posts = round(budget * 0.24 / 5_200)
        yield from self._insert(
            f"{p}posts (ID, post_author, post_date, post_date_gmt, post_content, post_title, post_excerpt, "
            "post_status, post_name, to_ping, pinged, post_modified, post_modified_gmt, post_content_filtered, "
            "post_type)",
            posts, self._post,
        )  # fmt: skip
        options = round(budget * 0.03 / 2_100)
        yield from self._insert(f"{p}options (option_name, option_value, autoload)", options, self._option)
        metas = round(budget * 0.36 / 330)
        yield from self._insert(f"{p}postmeta (post_id, meta_key, meta_value)", metas, lambda n: self._meta(n, posts))
        comments = round(budget * 0.14 / 700)
        yield from self._insert(
            f"{p}comments (comment_post_ID, comment_author, comment_author_email, comment_date, comment_date_gmt, "
            "comment_content, comment_agent)",
            comments, lambda n: self._comment(n, posts),
        )  # fmt: skip
        yield from self._insert(f"{p}visits (at, path, agent)", round(budget * 0.21 / 260), self._visit)

    @staticmethod
    def _insert(into: str, count: int, row: object) -> Iterator[str]:
        assert callable(row)
        for start in range(0, count, 400):
            yield f"INSERT INTO {into} VALUES " + ",".join(row(n) for n in range(start, min(count, start + 400)))

    @staticmethod
    def _post(n: int) -> str:
        at = _moment(n)
        # Few pages: the theme's menu lists them all, in every page that is served.
        kind = "revision" if n % 2 else "page" if n % 500 == 0 else "post"
        status = "inherit" if n % 2 else "publish"
        return (
            f"({n + 10_000},1,'{at}','{at}','<p>{words(f'post {n}', 4_900)}</p>','{words(f'title {n}', 40)} {n} 🏭',"
            f"'','{status}','bench-{n}','','','{at}','{at}','','{kind}')"
        )

    @staticmethod
    def _option(n: int) -> str:
        return f"('bench_option_{n}','{words(f'option {n}', 2_000)}','no')"

    @staticmethod
    def _meta(n: int, posts: int) -> str:
        return f"({n % max(1, posts) + 10_000},'_bench_{n % 40}','{words(f'meta {n}', 280)}')"

    @staticmethod
    def _comment(n: int, posts: int) -> str:
        at = _moment(n)
        return (
            f"({n % max(1, posts) + 10_000},'{words(f'name {n}', 16)}','who{n}@mail.example','{at}','{at}',"
            f"'{words(f'comment {n}', 520)}','Mozilla/5.0')"
        )

    @staticmethod
    def _visit(n: int) -> str:
        return f"('{_moment(n)}','/archives/{n % 9_000}/','{words(f'visit {n}', 200)}')"


def _moment(n: int) -> str:
    at = dt.datetime(2015, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=n * 37 % 4_700_000)
    return f"{at:%Y-%m-%d %H:%M:%S}"


@functools.cache
def _pool() -> bytes:
    """WordPress's own sources, one after the other: what is cut out of them packs as source text does."""
    sources = sorted(path for kind in ("php", "js", "css") for path in SOURCE.rglob(f"*.{kind}") if path.is_file())
    return b"\n".join(path.read_bytes() for path in sources if ".min." not in path.name)


@functools.cache
def _prose() -> str:
    """Words of those sources and of a Japanese company's, in any order, without what SQL would have to escape."""
    chance = random.Random("prose")
    kana = ["会社", "製品", "お知らせ", "年末年始", "休業", "ございます", "サービス", "新商品", "採用情報", "東京都"]
    plain = re.findall(r"\b[a-z]{2,11}\b", _pool()[:2_000_000].decode("ascii", "ignore"))
    return " ".join(word if chance.random() < 0.8 else chance.choice(kana) for word in chance.choices(plain, k=120_000))


def text_of(name: str, size: int) -> bytes:
    """Source text of `size` bytes; no other name has the same."""
    head = b"<?php // " + hashlib.sha256(name.encode()).hexdigest().encode() + b"\n"
    pool = _pool()
    start = random.Random(name).randrange(len(pool))
    body = pool[start : start + size]
    while len(body) < size:
        body += pool[: size - len(body)]
    return (head + body)[:size]


def noise_of(name: str, size: int) -> bytes:
    """Bytes that no packer makes smaller, behind the head of a JPEG."""
    return (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + random.Random(name).randbytes(size))[:size]


def words(name: str, size: int) -> str:
    """Prose of about `size` bytes in UTF-8."""
    prose = _prose()
    characters = int(size * 0.86)
    start = random.Random(name).randrange(len(prose) - characters)
    return prose[start : start + characters]
