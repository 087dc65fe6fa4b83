"""One site as one line of the fleet: which columns fit, what each says, in which order sites stand. Pure.

The dashboard draws these cells; `modoseru status` prints `plain` of the same row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct
from rich.cells import cell_len

from backends.records import Certainty, Certificate, Domain, GenerationState, Hole, SiteStatus, State
from widgets import language, words
from widgets.cells import Cell, Line, Tone, fit, said
from widgets.language import mark, tr, tr_n

MARKS = 8
"""Generations of the server tier that are drawn; DESIGN 4 keeps eight."""
VAULT_MARKS = 3
_STATE_RANK = {State.CRITICAL: 0, State.WARNING: 1, State.UNKNOWN: 2, State.OK: 3}
_VERDICT_RANK = {
    Certainty.FAILED: 0,
    Certainty.STALE: 1,
    Certainty.UNKNOWN: 2,
    Certainty.UNPROVEN: 3,
    Certainty.PROVEN: 4,
}
_SITE_MIN = 18
"""A name must be told from its neighbours: where it would be cut shorter, the vault's marks give way."""
_NEVER = 10**6
_WRONG = {State.CRITICAL, State.WARNING}

SortKey = tuple[int | float | str, ...]


class FleetRow(Struct, frozen=True):
    """A site's status and what only its configuration knows."""

    status: SiteStatus
    tags: tuple[str, ...] = ()
    cover: str = "included"
    slots: int = MARKS

    @property
    def name(self) -> str:
        return self.status.name


class Column(NamedTuple):
    """`from_width`: the narrowest list that shows it. `width` 0: it takes what the others leave."""

    id: str
    title: str
    width: int
    from_width: int
    draw: Callable[[FleetRow, dt.datetime], Cell]
    order: Callable[[FleetRow], SortKey]
    right: bool = False


# ---------------------------------------------------------------- what is worst


def urgency(status: SiteStatus) -> State:
    """The worst that is known of a site. What could not be learned about a domain does not hide a page that is fine."""
    states = (status.health.state, status.certificate.state, status.domain.state)
    holes = left_open(status)
    if State.CRITICAL in states or status.verdict is Certainty.FAILED or any(hole.critical for hole in holes):
        return State.CRITICAL
    waits = any(update.security for update in status.updates or ())
    if State.WARNING in states or status.verdict is Certainty.STALE or waits or holes:
        return State.WARNING
    return State.UNKNOWN if status.health.state is State.UNKNOWN else State.OK


def left_open(status: SiteStatus) -> tuple[Hole, ...]:
    """Known holes that no update closes: nothing that the month's updates bring will help. One that anybody can use
    without an account (CVSS from 9.0 on) is looked for by every robot within days, and as urgent as a page that fails.
    """
    return tuple(hole for hole in status.holes or () if hole.closed_by is None)


class Complaint(NamedTuple):
    state: State
    text: str


def complaints(status: SiteStatus) -> tuple[Complaint, ...]:
    """What is wrong with a site, in sentences, the gravest first; empty where nothing is."""
    found: list[Complaint] = []
    health, domain = status.health, status.domain
    shown_below = status.certificate.state in _WRONG and (health.problem or "").startswith("certificate refused")
    if health.state in _WRONG and not shown_below:
        found.append(Complaint(health.state, words.problem_words(health.problem or tr("does not answer as it should"))))
    if status.verdict is Certainty.FAILED:
        found.append(Complaint(State.CRITICAL, tr("cannot be restored")))
    elif status.verdict is Certainty.STALE:
        found.append(Complaint(State.WARNING, tr("the last proof of a restore is old")))
    if status.certificate.state in _WRONG:
        found.append(Complaint(status.certificate.state, _certificate_complaint(status.certificate)))
    if domain.state in _WRONG and domain.days_left is not None:
        found.append(Complaint(domain.state, tr("domain: {what}", what=words.days_words(domain.days_left))))
    if security := sum(1 for update in status.updates or () if update.security):
        found.append(Complaint(State.WARNING, tr_n("{n} security update", "{n} security updates", security)))
    if holes := left_open(status):
        grave = State.CRITICAL if any(hole.critical for hole in holes) else State.WARNING
        text = tr_n("{n} hole that no update closes", "{n} holes that no update closes", len(holes))
        if status.updates is None:
            text = tr_n("{n} known hole", "{n} known holes", len(holes))
        found.append(Complaint(grave, text))
    return tuple(sorted(found, key=lambda complaint: _STATE_RANK[complaint.state]))


def wrong(status: SiteStatus) -> str:
    """All complaints in one line."""
    return " · ".join(complaint.text for complaint in complaints(status))


def _certificate_complaint(certificate: Certificate) -> str:
    if certificate.days_left is not None and only_age(certificate):
        return tr("certificate: {what}", what=words.days_words(certificate.days_left))
    return tr("certificate: {what}", what=words.problem_words(certificate.problem or "unknown"))


def only_age(certificate: Certificate) -> bool:
    """Whether all that is wrong with it is its age."""
    return certificate.problem is None or certificate.problem.partition(":")[0] == "expired"


def soonest(status: SiteStatus) -> int:
    """Days until the first of certificate and domain ends."""
    days = [known for known in (status.certificate.days_left, status.domain.days_left) if known is not None]
    return min(days, default=_NEVER)


def worst_first(row: FleetRow) -> SortKey:
    status = row.status
    health = _STATE_RANK[status.health.state]
    verdict = _VERDICT_RANK[status.verdict]
    return _STATE_RANK[urgency(status)], health, verdict, soonest(status), -len(status.updates or ()), status.name


def light(status: SiteStatus) -> Cell:
    """The sign that stands before a site. It is green only where a restore was tried: nothing wrong is not enough."""
    state = urgency(status)
    if state is State.OK and status.verdict is not Certainty.PROVEN:
        return Cell(words.UNTRIED_GLYPH, Tone.DIM)
    return Cell(words.STATE_GLYPHS[state], words.STATE_TONES[state])


# ---------------------------------------------------------------- the cells of a row


def _glyph(row: FleetRow, _now: dt.datetime) -> Cell:
    return light(row.status)


def _site(row: FleetRow, _now: dt.datetime) -> Cell:
    tone = Tone.STRONG if urgency(row.status) is State.CRITICAL else Tone.PLAIN
    return Cell(said(row.name, 100), tone)


_UP_WORDS = (
    ("unreachable", mark("down")),
    ("fatal error", mark("fatal")),
    ("database error", mark("db")),
    ("empty page", mark("empty")),
    ("certificate refused", mark("tls")),
)


def _up(row: FleetRow, _now: dt.datetime) -> Cell:
    health = row.status.health
    tone = words.STATE_TONES[health.state]
    if health.state is State.OK:
        return Cell(tr("ok"), Tone.PLAIN)
    if health.state is State.UNKNOWN:
        return Cell("?", tone)
    for fault, word in _UP_WORDS:
        if fault in (health.problem or ""):
            return Cell(tr(word), tone)
    if health.http_status is not None and health.http_status >= 300:
        return Cell(str(health.http_status), tone)
    return Cell(tr("slow") if health.state is State.WARNING else tr("bad"), tone)


def _restorable(row: FleetRow, _now: dt.datetime) -> Cell:
    verdict = row.status.verdict
    text = f"{words.VERDICT_GLYPHS[verdict]} {tr(words.VERDICT_WORDS[verdict])}"
    age = words.compact_age(row.status.rpo_s)
    return Cell(f"{text} {age}" if age else text, words.VERDICT_TONES[verdict])


def _server(row: FleetRow, _now: dt.datetime) -> Cell:
    kept = sorted((g for g in row.status.generations if g.tier == "server"), key=lambda g: g.id, reverse=True)[:MARKS]
    marks = "".join("▮" if g.state is GenerationState.COMPLETE else "▯" for g in kept)
    slots = max(min(row.slots, MARKS), len(kept))
    good = "▮" in marks
    return Cell(marks + "·" * (slots - len(kept)), Tone.PLAIN if good else Tone.WARN if kept else Tone.DIM)


def _vault(row: FleetRow, _now: dt.datetime) -> Cell:
    kept = sorted((g for g in row.status.generations if g.tier == "vault"), key=lambda g: g.id, reverse=True)[
        :VAULT_MARKS
    ]
    marks = "".join("▮" if g.state is GenerationState.COMPLETE else "▯" for g in kept)
    return Cell(marks or "—", Tone.PLAIN if marks else Tone.DIM)


def _days(observed: Certificate | Domain) -> Cell:
    tone = {State.CRITICAL: Tone.BAD, State.WARNING: Tone.WARN}.get(observed.state, Tone.PLAIN)
    mark_ = "!" if observed.state in {State.CRITICAL, State.WARNING} else ""
    if observed.days_left is None:
        return Cell("?" + mark_, Tone.DIM if not mark_ else tone)
    return Cell(f"{max(-999, min(9999, observed.days_left))}d{mark_}", tone)


def _cert(row: FleetRow, _now: dt.datetime) -> Cell:
    certificate = row.status.certificate
    if only_age(certificate) or certificate.state in {State.OK, State.UNKNOWN}:
        return _days(certificate)
    return Cell("✖" if certificate.state is State.CRITICAL else "!", words.STATE_TONES[certificate.state])


def _domain(row: FleetRow, _now: dt.datetime) -> Cell:
    return _days(row.status.domain)


def _updates(row: FleetRow, _now: dt.datetime) -> Cell:
    if row.status.updates is None:
        return Cell("?", Tone.DIM)
    count = len(row.status.updates)
    security = any(update.security for update in row.status.updates) or bool(left_open(row.status))
    tone = Tone.WARN if security else Tone.PLAIN if count else Tone.DIM
    return Cell(f"{count}!" if security else str(count), tone)


def _owner(row: FleetRow, _now: dt.datetime) -> Cell:
    return Cell(said(row.status.owner, 60) or "—", Tone.PLAIN if row.status.owner else Tone.DIM)


def _why(row: FleetRow, _now: dt.datetime) -> Cell:
    return Cell(wrong(row.status), light(row.status).tone)


def _rto(row: FleetRow, _now: dt.datetime) -> Cell:
    rto = row.status.rto_s
    if rto is None:
        return Cell("—", Tone.DIM)
    trend = words.trend(row.status)
    return Cell(words.took(rto) + trend, Tone.WARN if "↑" in trend else Tone.PLAIN)


def _wordpress(row: FleetRow, _now: dt.datetime) -> Cell:
    version = said(row.status.versions.wordpress, 12)
    return Cell(version or "?", Tone.PLAIN if version else Tone.DIM)


def _php(row: FleetRow, now: dt.datetime) -> Cell:
    version = said(row.status.versions.php, 12)
    ended = row.status.versions.php_eol is not None and row.status.versions.php_eol < now.date()
    return Cell(version + "!" * ended if version else "?", Tone.WARN if ended else Tone.PLAIN if version else Tone.DIM)


def _tags(row: FleetRow, _now: dt.datetime) -> Cell:
    return Cell(said(" ".join(row.tags), 100), Tone.DIM)


def _age_of_newest(row: FleetRow) -> SortKey:
    newest = max((g.id for g in row.status.generations if g.tier == "server"), default="")
    return newest, row.name


COLUMNS = (
    Column("worst", "", 1, 0, _glyph, worst_first),
    Column("site", mark("site"), 0, 0, _site, lambda row: (row.name,)),
    Column("up", mark("up"), 5, 0, _up, lambda row: (_STATE_RANK[row.status.health.state], row.name)),
    Column(
        "restorable", mark("restorable"), 14, 0, _restorable,
        lambda row: (_VERDICT_RANK[row.status.verdict], -(row.status.rpo_s or _NEVER * 86400), row.name),
    ),
    Column("server", mark("server"), MARKS, 64, _server, _age_of_newest),
    Column("vault", mark("vault"), 3, 76, _vault,
           lambda row: (sum(g.tier == "vault" for g in row.status.generations), row.name)),
    Column("cert", mark("cert"), 5, 0, _cert, lambda row: (_known(row.status.certificate.days_left), row.name), True),
    Column("domain", mark("dom"), 5, 64, _domain, lambda row: (_known(row.status.domain.days_left), row.name), True),
    Column("updates", mark("upd"), 3, 0, _updates, lambda row: (-len(row.status.updates or ()), row.name), True),
    Column("owner", mark("owner"), 12, 94, _owner, lambda row: (row.status.owner or "\uffff", row.name)),
    Column("rto", mark("RTO"), 7, 150, _rto, lambda row: (-(row.status.rto_s or _NEVER), row.name), True),
    Column("wordpress", mark("WP"), 6, 160, _wordpress, lambda row: (row.status.versions.wordpress or "", row.name)),
    Column("php", mark("PHP"), 7, 160, _php, lambda row: (row.status.versions.php or "", row.name)),
    Column("tags", mark("tags"), 14, 170, _tags, lambda row: (" ".join(row.tags) or "\uffff", row.name)),
    Column("why", mark("what is wrong"), 0, 114, _why, worst_first),
)  # fmt: skip
BY_ID = {column.id: column for column in COLUMNS}
SORTS = tuple(column.id for column in COLUMNS if column.id not in {"why", "wordpress", "php"})


def _known(days: int | None) -> int:
    return _NEVER if days is None else days


# ---------------------------------------------------------------- laying out


def layout(width: int) -> tuple[tuple[Column, int], ...]:
    """The columns that a list of `width` columns shows, each with its own width."""
    return _layout(width, language.language())


@lru_cache(64)
def _layout(width: int, _language: str) -> tuple[tuple[Column, int], ...]:
    shown = [column for column in COLUMNS if column.from_width <= width]
    widths = {column.id: _needed(column) for column in shown if column.width}
    flexible = [column.id for column in shown if not column.width]
    left = width - sum(widths.values()) - gap(width) * (len(shown) - 1) - 2
    if flexible == ["site"] and left < _SITE_MIN and "vault" in widths:
        left += widths.pop("vault") + gap(width)
        shown = [column for column in shown if column.id != "vault"]
    if flexible == ["site"]:
        widths["site"] = max(8, left)
    else:
        widths["site"] = min(36, max(22, left // 3))
        widths["why"] = max(0, left - widths["site"])
    return tuple((column, widths[column.id]) for column in shown)


def gap(width: int) -> int:
    return 2 if width >= 150 else 1


def _needed(column: Column) -> int:
    """A column's width in the operator's language: its title's or its widest word's."""
    if column.id == "restorable":
        longest = max(cell_len(tr(word)) for word in words.VERDICT_WORDS.values())
        return 2 + longest + 1 + 4
    return max(column.width, cell_len(tr(column.title)) if column.title else 0)


def titles(width: int) -> Line:
    """The head of the columns, laid out as `cells` are."""
    return tuple(
        Cell(fit(tr(column.title) if column.title else "", size, right=column.right), Tone.DIM)
        for column, size in layout(width)
    )


def cells(row: FleetRow, width: int, now: dt.datetime) -> Line:
    """The row's cells, each padded or cut to its column. Joined by `gap(width)` blanks they fill `width - 2`."""
    drawn = []
    for column, size in layout(width):
        text, tone = column.draw(row, now)
        drawn.append(Cell(fit(text, size, right=column.right), tone))
    return tuple(drawn)


def head(width: int) -> str:
    """The titles as text, above what `plain` says."""
    return (" " * gap(width)).join(cell.text for cell in titles(width)).rstrip()


def plain(row: FleetRow, width: int, now: dt.datetime) -> str:
    """The row's line as text: what the dashboard shows without its colours."""
    return (" " * gap(width)).join(cell.text for cell in cells(row, width, now)).rstrip()
