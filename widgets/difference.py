"""What differs between a site and a generation, as lines: what is suspicious first, the long lists last. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from rich.cells import cell_len

from backends.records import ChangedFile, ChangedPost, Difference, SuspiciousFile, TableRows
from widgets import words
from widgets.cells import Cell, Line, Tone, fit, labelled, said
from widgets.language import mark, tr, tr_n
from widgets.sentences import told

SIGN_WORDS = {
    "php_in_uploads": mark("PHP among the uploads"),
    "obfuscated": mark("runs packed code or what a visitor sends"),
    "hidden": mark("changed under its old size and times"),
    "core_checksums": mark("not as wordpress.org publishes it"),
    "plugin_checksums": mark("a plugin's file that is not as wordpress.org publishes it"),
    "core_changed": mark("core differs, its version does not"),
    "plugin_added": mark("no release of the plugin has it"),
    "executable": mark("a program"),
    "double_extension": mark("two extensions"),
    "drop_in": mark("a drop-in, loaded by its name"),
    "must_use": mark("a must-use plugin, always loaded"),
    "server_rules": mark("rules of the web server or of PHP"),
    "configuration": mark("wp-config.php"),
    "scrambled": mark("scrambled: no text has such bytes"),
    "ransom_notes": mark("named like a ransom note"),
    "world_writable": mark("anybody on the server may write it"),
}
AREA_WORDS = {
    "core": mark("core"),
    "plugin": mark("plugins"),
    "theme": mark("themes"),
    "uploads": mark("uploads"),
    "other": mark("other files"),
}
_CHANGES = {
    "added": ("+", Tone.GOOD, mark("added")),
    "changed": ("~", Tone.WARN, mark("changed")),
    "removed": ("-", Tone.BAD, mark("removed")),
    "trashed": ("!", Tone.WARN, mark("in the bin")),
    "gone": ("-", Tone.BAD, mark("gone")),
    "mode": ("~", Tone.WARN, mark("permissions")),
    "same": ("=", Tone.WARN, mark("the same in the generation")),
}
_POST_WORDS = {"post": mark("post"), "page": mark("page")}
_IDENTITY_WORDS = {
    "siteurl": mark("address of WordPress"),
    "home": mark("address of the site"),
    "administrators": mark("administrators"),
}
_KINDS = ("added", "changed", "removed")
_PATH_MAX = 4000


def difference(found: Difference, now: dt.datetime, zone: dt.tzinfo, *, most: int | None) -> list[Line]:
    """At most `most` of each list; None: all that is here."""
    lines = [_headline(found, now), *_warnings(found), *_plugins(found)]
    if _is_same(found):
        return [*lines, (), (Cell("✔ " + tr("Nothing differs."), Tone.GOOD),)]
    parts = (
        _suspicious(found, zone, most),
        _identity(found),
        _areas(found),
        _posts(found, zone, most),
        _tables(found, most),
        _files(found, most),
    )
    for part in parts:
        if part:
            lines += [(), *part]
    return lines


def _is_same(found: Difference) -> bool:
    lists = ("added", "changed", "removed", "suspicious", "posts")
    differs = any(found.counts.get(name) for name in lists) or found.identity or _differing(found.tables)
    return not differs and not found.warnings


def _headline(found: Difference, now: dt.datetime) -> Line:
    generation = said(found.generation, 20)
    against = tr("{site} against {generation}", site=said(found.site, 100), generation=generation)
    try:
        made = dt.datetime.strptime(generation, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:  # a server may tell ids of days that there never were
        return (Cell(against, Tone.STRONG),)
    return Cell(against, Tone.STRONG), Cell(f"  {words.ago(made, now)}", Tone.DIM)


def _warnings(found: Difference) -> list[Line]:
    lines: list[Line] = []
    for one in found.warnings:
        hint = f" → {told(one.hint)}" if one.hint else ""
        lines.append((Cell("! ", Tone.WARN), Cell(told(one.message) + hint, Tone.WARN)))
    return lines


def _plugins(found: Difference) -> list[Line]:
    """Which plugins wordpress.org vouches for, and what was left out of it: the unknown is no pass."""
    lines: list[Line] = []
    published = sum(one.state == "published" for one in found.plugins)
    if found.plugins:
        text = tr("{n} of {all} plugins are as wordpress.org publishes them", n=published, all=len(found.plugins))
        lines.append((Cell(text, Tone.DIM),))
    if unknown := [one for one in found.plugins if one.state == "unknown"]:
        names = ", ".join(f"{said(one.slug, 100)} {said(one.version, 40)}" for one in unknown[:10])
        rest = f" … (+{len(unknown) - 10})" if len(unknown) > 10 else ""
        lines.append((Cell(f"? {tr('unknown to wordpress.org')}: ", Tone.DIM), Cell(names + rest, Tone.DIM)))
    if added := [one for one in found.plugins if one.added]:
        names = ", ".join(f"{said(one.slug, 100)} {one.added:,}" for one in added[:10])
        lines.append((Cell(f"? {tr('PHP files that no release has')}: {names}", Tone.DIM),))
    for rule in found.ignored:
        text = tr("ignored by rule: {path} ({why})", path=said(rule.path, 300), why=said(rule.why, 300))
        lines.append((Cell(f"- {text}", Tone.WARN),))
    return lines


def _heading(title: str, count: int) -> Line:
    return Cell(title, Tone.STRONG), Cell(f"  {count:,}", Tone.DIM)


def _rest(count: int, shown: int) -> list[Line]:
    return [(Cell("  " + tr_n("{n} more", "{n} more", count - shown), Tone.DIM),)] if count > shown else []


# ---------------------------------------------------------------- what to look at first


def _suspicious(found: Difference, zone: dt.tzinfo, most: int | None) -> list[Line]:
    count = found.counts.get("suspicious", len(found.files.suspicious))
    if not count:
        return [(Cell("✔ " + tr("Nothing that differs looks suspicious."), Tone.GOOD),)]
    shown = found.files.suspicious[:most]
    lines = [_heading(tr("Suspicious"), count)]
    for one in shown:
        lines += _suspect(one, zone)
    return lines + _rest(count, len(shown))


def _suspect(one: SuspiciousFile, zone: dt.tzinfo) -> list[Line]:
    glyph = _CHANGES.get(one.change, ("?", Tone.WARN, ""))[0]
    why = " · ".join(tr(SIGN_WORDS[sign]) if sign in SIGN_WORDS else said(sign, 40) for sign in one.signs)
    when = f"  {words.local(one.modified, zone)}" if one.modified is not None else ""
    return [
        (Cell(f"✖ {glyph} ", Tone.BAD), Cell(said(one.path, _PATH_MAX), Tone.BAD)),
        (Cell("    "), Cell(why), Cell(when, Tone.DIM)),
    ]


def _identity(found: Difference) -> list[Line]:
    if not found.identity:
        return []
    labels = [
        tr(_IDENTITY_WORDS[one.name]) if one.name in _IDENTITY_WORDS else said(one.name, 40) for one in found.identity
    ]
    width = max(cell_len(label) for label in labels) + 2
    lines: list[Line] = [(Cell(tr("What the site says it is"), Tone.STRONG),)]
    for label, one in zip(labels, found.identity, strict=True):
        then, now = ((", ".join(said(name, 200) for name in names) or "–") for names in (one.then, one.now))
        lines.append(labelled(f"  {label}", width, Cell(f"{then} → {now}", Tone.BAD)))
    return lines


# ---------------------------------------------------------------- how much


def _areas(found: Difference) -> list[Line]:
    """Files by area and change; areas in which nothing differs are left out."""
    areas = {area: counts for area, counts in found.areas.items() if any(counts.values())}
    if not areas:
        return []
    names = {area: tr(AREA_WORDS[area]) if area in AREA_WORDS else said(area, 40) for area in areas}
    heads = [tr(_CHANGES[kind][2]) for kind in _KINDS]
    left = max(cell_len(text) for text in (*names.values(), tr("Files"))) + 4
    widths = [max(cell_len(head), 9) for head in heads]
    titles = "".join("  " + fit(head, width, right=True) for head, width in zip(heads, widths, strict=True))
    lines: list[Line] = [(Cell(fit(tr("Files"), left), Tone.STRONG), Cell(titles, Tone.DIM))]
    for area, counts in areas.items():
        numbers = [counts.get(kind, 0) for kind in _KINDS]
        texts = [
            "  " + fit(f"{number:,}" if number else "·", width, right=True)
            for number, width in zip(numbers, widths, strict=True)
        ]
        lines.append((Cell(fit(f"  {names[area]}", left)), Cell("".join(texts))))
    return lines


# ---------------------------------------------------------------- the database


def _posts(found: Difference, zone: dt.tzinfo, most: int | None) -> list[Line]:
    count = found.counts.get("posts", len(found.posts))
    shown = found.posts[:most]
    return (
        [_heading(tr("Posts and pages"), count), *(_post(one, zone) for one in shown), *_rest(count, len(shown))]
        if count
        else []
    )


def _post(one: ChangedPost, zone: dt.tzinfo) -> Line:
    glyph, tone, word = _CHANGES.get(one.change, ("?", Tone.WARN, mark("changed")))
    kind = tr(_POST_WORDS[one.type]) if one.type in _POST_WORDS else said(one.type, 40)
    number = f"{one.blog}:{one.id}" if one.blog is not None else str(one.id)
    when = f"  {words.local(one.modified, zone)}" if one.modified is not None else ""
    title = said(one.title, 200) or tr("(no title)")
    return Cell(f"  {glyph} {tr(word)} ", tone), Cell(title), Cell(f"  {kind} {number}{when}", Tone.DIM)


def _differing(tables: Sequence[TableRows]) -> list[TableRows]:
    return [one for one in tables if one.rows_then != one.rows_now]


def _tables(found: Difference, most: int | None) -> list[Line]:
    differing = _differing(found.tables)
    if not differing:
        return []
    lines = [_heading(tr("Tables with more or fewer rows"), len(differing))]
    for one in differing[:most]:
        then, now = (f"{rows:,}" if rows is not None else "–" for rows in (one.rows_then, one.rows_now))
        more = (one.rows_now or 0) - (one.rows_then or 0)
        came = (
            tr("new table")
            if one.rows_then is None
            else tr("no longer there")
            if one.rows_now is None
            else f"{more:+,}"
        )
        lines.append((Cell("  "), Cell(said(one.name, 80)), Cell(f"  {then} → {now}"), Cell(f"  {came}", Tone.DIM)))
    return lines + _rest(len(differing), len(differing[:most]))


# ---------------------------------------------------------------- files


def _files(found: Difference, most: int | None) -> list[Line]:
    lines: list[Line] = []
    lists: dict[str, tuple[ChangedFile, ...]] = {kind: getattr(found.files, kind) for kind in _KINDS}
    for area in found.areas:
        for kind in _KINDS:
            count = found.areas[area].get(kind, 0)
            if not count:
                continue
            glyph, tone, word = _CHANGES[kind]
            here = [one for one in lists[kind] if one.area == area][:most]
            title = f"{tr(AREA_WORDS[area]) if area in AREA_WORDS else said(area, 40)}: {tr(word)}"
            lines += [(), _heading(title, count)] if lines else [_heading(title, count)]
            lines += [(Cell(f"  {glyph} ", tone), Cell(said(one.path, _PATH_MAX))) for one in here]
            lines += _rest(count, len(here))
    return lines
