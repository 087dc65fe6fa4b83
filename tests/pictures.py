"""`python -m tests.pictures` makes `screenshots/` anew: the real program on the embedded fleet, as SVG and PNG.

Needs `rsvg-convert` and the fonts DejaVu Sans Mono and Noto Sans Mono CJK JP (Debian: librsvg2-bin fonts-dejavu-core
fonts-noto-cjk). Textual's SVG counts characters where it should count cells, so wide ones are given their width here.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import html
import re
import sys
from pathlib import Path
from typing import NamedTuple

from rich.cells import cell_len

from app import session as sessions
from app import speaking
from app.dashboard import Dashboard
from app.demo.fleet import embedded
from app.desk import SessionDesk

FOLDER = Path(__file__).parent.parent / "screenshots"
MOMENT = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
"""What the looks at the sites tell is of this moment, and so are the pictures."""
CELL = 12.2
"""Width of a cell in the SVG, in its own units."""
FONTS = "DejaVu Sans Mono, Noto Sans Mono CJK JP, monospace"
TEXT = re.compile(r'(<text [^>]*?)x="([\d.]+)"([^>]*?)textLength="[\d.]+" (clip-path[^>]*)>([^<]*)</text>')


class Scene(NamedTuple):
    """`keys` are pressed on the site `site`; the picture is taken when `shows` is on the screen."""

    name: str
    site: str = ""
    keys: tuple[str, ...] = ()
    shows: str = ""
    sizes: tuple[tuple[int, int], ...] = ((120, 40),)


SCENES = (
    Scene("fleet", sizes=((80, 24), (120, 40), (200, 60))),
    Scene("restore", "shika.example", ("R",), "shika.example"),
    Scene("generations", "shika.example", ("r",)),
    Scene("updates", "kogyo.example", ("u",)),
    Scene("month", "", ("M",), sizes=((80, 24), (120, 40), (200, 60))),
    Scene("details", "kogyo.example", ("enter",)),
    Scene("help", "", ("question_mark",)),
)


def cells(svg: str) -> str:
    """`svg` with every text as wide as its cells, in fonts that have Japanese."""

    def redrawn(found: re.Match[str]) -> str:
        text = html.unescape(found[5]).replace("\xa0", " ")
        shown = text.strip()
        if not shown:
            return ""
        x = float(found[2]) + (len(text) - len(text.lstrip())) * CELL
        body = html.escape(shown).replace(" ", "&#160;")
        return f'{found[1]}x="{x:.1f}"{found[3]}textLength="{cell_len(shown) * CELL:.1f}" {found[4]}>{body}</text>'

    svg = re.sub(r"@font-face \{[^}]*\}", "", TEXT.sub(redrawn, svg))
    return re.sub(r"terminal-\d+", "terminal", svg).replace("Fira Code", FONTS)


async def take(scene: Scene, language: str, size: tuple[int, int]) -> None:
    speaking.speak(language)
    width, height = size
    async with (
        embedded(24, language=language, clock=lambda: MOMENT) as fleet,
        sessions.opened(fleet.config, journal=fleet.folder / "journal.db") as held,
    ):
        await held.journal.remember_all(fleet.journal_seed)
        if held.holes is not None:
            await held.holes.refresh()
        await fleet.up()
        app = Dashboard(await SessionDesk.of(held), now=lambda: MOMENT)
        async with app.run_test(size=size) as pilot:
            while not app.looked_at_all:
                await pilot.pause(0.1)
            await pilot.pause(1.0)  # the last site is painted
            if scene.site:
                app.fleet.list.go_to(scene.site)
            for key in scene.keys:
                await pilot.press(key)
            until = asyncio.get_running_loop().time() + 20
            while scene.keys and app.screen is app.fleet and asyncio.get_running_loop().time() < until:
                await pilot.pause(0.1)
            await pilot.pause(0.3)
            svg = cells(app.export_screenshot(title=f"modoseru · {width} × {height}"))
    path = FOLDER / f"{scene.name}-{width}-{language}.svg"
    path.write_text(svg, encoding="utf-8")
    command = ("rsvg-convert", "-o", str(path.with_suffix(".png")), "-w", str(width * 12), str(path))
    if await (await asyncio.create_subprocess_exec(*command)).wait():
        raise RuntimeError(f"{command[0]} could not draw {path}")
    print(path.with_suffix(".png"))


async def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for scene in SCENES:
        if names and scene.name not in names:
            continue
        for language in ("en", "ja"):
            for size in scene.sizes:
                await take(scene, language, size)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
