"""What there is to say about one site, as lines: can it be restored, what is wrong, how old the news is. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from msgspec import Struct
from rich.cells import cell_len

from backends.records import Certainty, Generation, GenerationState, Hole, HostPage, Operation, Site, SiteStatus, State
from widgets import words
from widgets.cells import Cell, Line, Tone, labelled, said
from widgets.fleet_row import complaints, left_open, light, only_age, wrong
from widgets.language import mark, tr, tr_n
from widgets.sentences import told

STALE_S = 3600.0
"""News older than this is said to be old: a fleet that is being watched is looked at more often."""
OLD_FEED_S = 3 * 86400.0
"""A feed of known holes that is older misses what is being attacked now."""
_OFFERED = 10
_NUMBER = re.compile(r"\d[\d.]*")


class SiteNews(Struct, frozen=True):
    """A site, its status, and what the journal and `hosts.d` add."""

    site: Site
    status: SiteStatus
    operations: tuple[Operation, ...] = ()
    """The newest first."""
    host: HostPage | None = None


def brief(news: SiteNews, now: dt.datetime) -> list[Line]:
    """Three lines, for screens too narrow for the pane."""
    status = news.status
    glyph, tone = light(status)
    head = Cell(f" {glyph} {status.name}  ", Tone.STRONG if tone is Tone.DIM else tone)
    verdict = Cell(_verdict(status) + "   ", words.VERDICT_TONES[status.verdict])
    asked = Cell(" " + tr("Can it be restored?") + " ", Tone.DIM)
    back = Cell(" " + tr("site broken → {what}", what=_back(status, "server", now)) + "   ")
    gone = Cell(tr("server gone → {what}", what=_back(status, "vault", now)))
    takes = Cell(tr("takes {time}", time=words.took(status.rto_s)) if status.rto_s is not None else "", Tone.DIM)
    return [
        (head, Cell(wrong(status) or tr("nothing is wrong"))),
        (asked, verdict, Cell(f"{_who(news)}   "), takes),
        (back, gone),
    ]


def overview(news: SiteNews, now: dt.datetime, zone: dt.tzinfo) -> list[Line]:
    """The pane beside the fleet: the three questions first."""
    lines = [*_headline(news.status), (), *_questions(news, now), (), *_observed(news, now, zone, in_full=False), ()]
    lines += [*_pending(news.status, 4), ()]
    holes = left_open(news.status)
    lines += [*_holes(news.status, holes, now, 3), ()] if holes else []
    lines += [*_generations(news.status, now, 4, in_full=False), ()]
    return lines + _operations(news, now, 3)


def whole(news: SiteNews, now: dt.datetime, zone: dt.tzinfo) -> list[Line]:
    """The site's own screen: the same, nothing left out."""
    lines = [*_headline(news.status), (), *_questions(news, now), (), *_observed(news, now, zone, in_full=True), ()]
    lines += [*_pending(news.status, 1000), (), *_holes(news.status, news.status.holes, now, 1000), ()]
    lines += [*_generations(news.status, now, 1000, in_full=True), ()]
    return [*lines, *_operations(news, now, _OFFERED), (), *_where(news)]


def generation_line(generation: Generation, now: dt.datetime, *, in_full: bool = True) -> Line:
    """A generation as lists show it: id, age, and its state, green only where it was tried; `in_full` also its size and
    origin."""
    age = words.compact_age((now - generation.created).total_seconds())
    head = f"{said(generation.id, 20)} {age:>3} "
    proof = _proof(generation, now)
    if generation.state is GenerationState.COMPLETE and proof:
        state = Cell(f"▮ {proof}", Tone.GOOD)
    else:
        glyph = "▮" if generation.state is GenerationState.COMPLETE else "▯"
        word = tr(words.GENERATION_WORDS[generation.state])
        state = Cell(f"{glyph} {word}", words.GENERATION_TONES[generation.state])
    tiers = {"server": tr("server"), "vault": tr("vault")}
    if not in_full:
        elsewhere = "" if generation.tier == "server" else f" {tiers.get(generation.tier, said(generation.tier, 20))}"
        return Cell(head), state, Cell(elsewhere, Tone.DIM)
    size = words.size(generation.bytes) if generation.bytes is not None else "?"
    parts = [] if proof else [tr("never read back")]
    parts += [proof] if proof and state.tone is not Tone.GOOD else []
    parts += [tiers.get(generation.tier, said(generation.tier, 20)), words.reason_word(generation.reason)]
    parts += [tr("pinned")] if generation.pinned else []
    return Cell(f"{head}{size:>6}  "), state, Cell("  " + " · ".join(parts), Tone.DIM)


def _proof(generation: Generation, now: dt.datetime) -> str:
    """How its bytes were tried, and when; empty where they never were."""
    for at, text in (
        (generation.drilled_at, mark("rehearsed {age}")),
        (generation.verified_at, mark("read back {age}")),
    ):
        if at is not None:
            return tr(text, age=words.compact_age((now - at).total_seconds()))
    return ""


# ---------------------------------------------------------------- the questions


def _verdict(status: SiteStatus) -> str:
    return f"{words.VERDICT_GLYPHS[status.verdict]} {tr(words.VERDICT_WORDS[status.verdict]).upper()}"


def _headline(status: SiteStatus) -> list[Line]:
    glyph, tone = light(status)
    lines: list[Line] = [
        (Cell(f"{glyph} ", tone), Cell(status.name, Tone.STRONG)),
        (Cell(f"  {said(status.url)}", Tone.DIM),),
    ]
    lines += [(Cell("  "), Cell(text, words.STATE_TONES[grave])) for grave, text in complaints(status)]
    return lines


def _questions(news: SiteNews, now: dt.datetime) -> list[Line]:
    status = news.status
    tone = words.VERDICT_TONES[status.verdict]
    asked = tr("Can it be restored?")
    lines: list[Line] = [(Cell(asked + "  ", Tone.STRONG), Cell(_verdict(status), tone))]
    labels = (tr("site broken"), tr("server gone"), tr("who?"), tr("takes"))
    width = max(cell_len(label) for label in labels)
    server_tone = Tone.PLAIN if _newest(status, "server") else Tone.BAD
    vault_tone = Tone.PLAIN if _newest(status, "vault") else Tone.WARN
    takes = _takes(status, now) or tr("never measured")
    answers = (
        Cell(f"→ {_back(status, 'server', now)}", server_tone),
        Cell(f"→ {_back(status, 'vault', now)}", vault_tone),
        Cell(f"  {_who(news)}"),
        Cell(f"  {takes}", Tone.PLAIN if status.rto_s is not None else Tone.DIM),
    )
    lines += [labelled(f"  {label}", width + 2, answer) for label, answer in zip(labels, answers, strict=True)]
    grave = tone if status.verdict is not Certainty.PROVEN else Tone.DIM
    lines += [(Cell(f"  · {told(reason)}", grave),) for reason in status.reasons]
    return lines


def _takes(status: SiteStatus, now: dt.datetime) -> str:
    """What the last drill took, and when that was; empty where none was proven."""
    if status.rto_s is None:
        return ""
    drilled = max((one.drilled_at for one in status.generations if one.drilled_at is not None), default=None)
    since = [tr("rehearsed {age}", age=words.ago(drilled, now))] if drilled is not None else []
    times = ", ".join(words.took(seconds) for seconds in status.rto_before_s[:3])
    before = [tr("before that {times}", times=times)] if times else []
    vault = [tr("from the vault {time}", time=words.took(status.rto_vault_s))] if status.rto_vault_s else []
    return ", ".join([words.took(status.rto_s) + words.trend(status), *since, *vault, *before])


def _newest(status: SiteStatus, tier: str) -> Generation | None:
    whole_ = [g for g in status.generations if g.tier == tier and g.state is GenerationState.COMPLETE]
    return max(whole_, key=lambda generation: generation.id, default=None)


def _back(status: SiteStatus, tier: str, now: dt.datetime) -> str:
    newest = _newest(status, tier)
    if newest is None:
        return tr("nothing to go back to") if tier == "server" else tr("nothing off-site")
    return tr("loses {age}", age=words.age_words((now - newest.created).total_seconds()))


def _who(news: SiteNews) -> str:
    cover = tr("included") if news.site.cover == "included" else tr("ask for a quote first")
    return f"{said(news.status.owner, 60) or tr('nobody is named')} · {cover}"


# ---------------------------------------------------------------- what was seen


def _observed(news: SiteNews, now: dt.datetime, zone: dt.tzinfo, *, in_full: bool) -> list[Line]:
    labels = (tr("page"), tr("certificate"), tr("domain"), tr("versions"), tr("looked at"))
    width = max(cell_len(label) for label in labels)
    status = news.status
    page, certificate = _page(status), _certificate(status, now, zone, in_full)
    found = (page, certificate, _domain(status, now, in_full), _versions(status, now), _looked(status, now))
    return [labelled(label, width, *line) for label, line in zip(labels, found, strict=True)]


def _old(at: dt.datetime | None, now: dt.datetime) -> Cell:
    """The age of news that is not of today's look; nothing where it is fresh."""
    if at is not None and (now - at).total_seconds() > STALE_S:
        return Cell(f"  ({words.ago(at, now)})", Tone.WARN)
    return Cell("")


def _looked(status: SiteStatus, now: dt.datetime) -> Line:
    at = status.health.checked_at
    if at is None:
        return (Cell(tr("not looked at yet"), Tone.DIM),)
    return (Cell(words.ago(at, now), Tone.WARN if (now - at).total_seconds() > STALE_S else Tone.DIM),)


def _tone(state: State) -> Tone:
    return Tone.PLAIN if state is State.OK else words.STATE_TONES[state]


def _page(status: SiteStatus) -> Line:
    health = status.health
    parts = [words.problem_words(health.problem)] if health.problem and health.checked_at else []
    parts += [str(health.http_status)] if health.http_status is not None and not health.problem else []
    parts += [f"{health.latency_s:.1f} s"] if health.latency_s is not None else []
    return (Cell(" · ".join(parts) or tr("unknown"), _tone(health.state)),)


def _certificate(status: SiteStatus, now: dt.datetime, zone: dt.tzinfo, in_full: bool) -> Line:
    seen = status.certificate
    parts = [words.days_words(seen.days_left)] if seen.days_left is not None else []
    parts += [words.local(seen.not_after, zone, "%Y-%m-%d")] if seen.not_after is not None else []
    parts += [words.problem_words(seen.problem)] if seen.problem and seen.checked_at and not only_age(seen) else []
    parts += [said(seen.issuer, 60)] if seen.issuer and in_full else []
    return Cell(" · ".join(parts) or tr("unknown"), _tone(seen.state)), _old(seen.checked_at, now)


def _domain(status: SiteStatus, now: dt.datetime, in_full: bool) -> Line:
    seen = status.domain
    parts = (
        [words.days_words(seen.days_left)] if seen.days_left is not None else [tr("unknown: enter the date by hand")]
    )
    parts += [seen.expires.isoformat()] if seen.expires is not None else []
    parts += [said(seen.source, 20)] if seen.source != "unknown" and in_full else []
    parts += [words.problem_words(seen.problem)] if seen.problem and seen.checked_at else []
    return Cell(" · ".join(parts), _tone(seen.state)), _old(seen.checked_at, now)


def _versions(status: SiteStatus, now: dt.datetime) -> Line:
    found = status.versions
    number = _NUMBER.search(found.database or "")
    engine = "MariaDB" if "maria" in (found.database or "").lower() else tr("database")
    known = (
        ("WordPress", found.wordpress, None),
        ("PHP", found.php, found.php_eol),
        (engine, number[0] if number else "", found.database_eol),
    )
    cells: list[Cell] = []
    for name, version, ends in known:
        if version:
            ended = ends is not None and ends < now.date()
            end = f" ({tr('no more fixes since {date}', date=ends)})" if ended else ""
            cells += [Cell(" · ")] if cells else []
            cells.append(Cell(f"{name} {said(version, 40)}{end}", Tone.WARN if ended else Tone.PLAIN))
    if status.tried is not None:
        tried = tr(words.TRIED.get(status.tried.verdict, "unknown"))
        cells += [Cell(" · ")] if cells else []
        known_as = tr("under PHP {version}: {verdict}", version=said(status.tried.to, 40), verdict=tried)
        tone = Tone.PLAIN if status.tried.verdict == "safe" else Tone.WARN
        cells += [Cell(known_as, tone), Cell(f" ({words.ago(status.tried.at, now)})", Tone.DIM)]
    return tuple(cells) or (Cell(tr("unknown"), Tone.DIM),)


# ---------------------------------------------------------------- lists


def _heading(title: str, count: int | None = None) -> Line:
    return (Cell(title, Tone.STRONG), *((Cell(f"  {count}", Tone.DIM),) if count is not None else ()))


def _more(total: int, shown: int) -> list[Line]:
    return [(Cell("  " + tr_n("{n} more", "{n} more", total - shown), Tone.DIM),)] if total > shown else []


def update_line(kind: str, name: str, change: str, security: bool | None) -> Line:
    return Cell(f"{name} "), Cell(change, Tone.DIM), Cell("  ! " + tr("security") if security else "", Tone.WARN)


def _pending(status: SiteStatus, limit: int) -> list[Line]:
    if status.updates is None:
        return [(*_heading(tr("Updates")), Cell("  " + tr("unknown"), Tone.DIM))]
    lines = [_heading(tr("Updates"), len(status.updates))]
    for update in sorted(status.updates, key=lambda update: not update.security)[:limit]:
        change = f"{said(update.from_, 20) or '?'} → {said(update.to, 20) or '?'}"
        held = Cell("  " + tr("held: {why}", why=said(update.held, 80)) if update.held else "", Tone.DIM)
        line = update_line(update.kind, said(update.name or update.slug, 60), change, update.security)
        closes = Cell("  " + said(update.closes, 120) if update.closes else "", Tone.DIM)
        lines.append((Cell("  "), *line, closes, held))
    return lines + _more(len(status.updates), limit)


def _holes(status: SiteStatus, holes: Sequence[Hole] | None, now: dt.datetime, limit: int) -> list[Line]:
    """Those that no update closes first."""
    if holes is None:
        return [(*_heading(tr("Known holes")), Cell("  " + tr("unknown"), Tone.DIM))]
    as_of = status.holes_as_of
    old = as_of is not None and (now - as_of).total_seconds() > OLD_FEED_S
    age = f"  ({words.ago(as_of, now)})" if as_of is not None else ""
    lines: list[Line] = [(*_heading(tr("Known holes"), len(holes)), Cell(age, Tone.WARN if old else Tone.DIM))]
    for hole in holes[:limit]:
        tone = Tone.DIM if hole.closed_by else Tone.BAD if hole.critical else Tone.WARN
        ends = tr("no update closes it") if status.updates is not None else tr("updates are unknown")
        if hole.closed_by:
            ends = tr("{version} closes it", version=said(hole.closed_by, 20))
        what = [said(hole.cve, 20)] if hole.cve else []
        what += [f"{hole.score:g}"] if hole.score is not None else [said(hole.rating, 10)] if hole.rating else []
        head = f"{said(hole.slug, 40)} {said(hole.version, 20) or '?'}  "
        title = Cell(f"  {' '.join([*what, said(hole.title, 120)])}", Tone.DIM)
        lines.append((Cell("  "), Cell(head), Cell(ends, tone), title))
    return lines + _more(len(holes), limit)


def _generations(status: SiteStatus, now: dt.datetime, limit: int, *, in_full: bool) -> list[Line]:
    newest_first = sorted(status.generations, key=lambda generation: generation.id, reverse=True)
    lines = [_heading(tr("Generations"), len(newest_first))]
    lines += [(Cell("  "), *generation_line(generation, now, in_full=in_full)) for generation in newest_first[:limit]]
    return lines + _more(len(newest_first), limit)


def _operations(news: SiteNews, now: dt.datetime, limit: int) -> list[Line]:
    lines = [_heading(tr("Last operations"))]
    for operation in news.operations[:limit]:
        when = f"  {words.ago(operation.started, now)}" if operation.started is not None else ""
        if operation.outcome is None:
            lines.append((Cell("  ↻ ", Tone.GOOD), Cell(words.kind_word(operation.kind)), Cell(when, Tone.DIM)))
            continue
        tone = words.OUTCOME_TONES[operation.outcome]
        outcome = f" {tr(words.OUTCOME_WORDS[operation.outcome])}"
        detail = f": {told(operation.detail)}" if operation.detail and tone is not Tone.GOOD else ""
        head = Cell(f"  {words.OUTCOME_GLYPHS[operation.outcome]} {words.kind_word(operation.kind)}", tone)
        lines.append((head, Cell(outcome + detail), Cell(when, Tone.DIM)))
    return lines if len(lines) > 1 else [*lines, (Cell("  " + tr("none yet"), Tone.DIM),)]


def _where(news: SiteNews) -> list[Line]:
    ssh, server, host = news.site.ssh, news.site.server, news.host or HostPage()
    found: Sequence[tuple[str, str | None]] = (
        ("SSH", f"{ssh.user}@{ssh.host}:{ssh.port}"),
        (tr("document root"), server.root),
        ("PHP", server.php),
        (tr("panel"), host.panel),
        (tr("status page"), host.status_page),
        (tr("phone"), " ".join(part for part in (host.phone, host.hours) if part)),
        (tr("contract"), host.contract),
        (tr("the host's own backups"), host.panel_backups),
    )
    given = [(label, value) for label, value in found if value]
    width = max(cell_len(label) for label, _ in given) + 2
    return [_heading(tr("Where it lives"))] + [
        labelled(f"  {label}", width, Cell(said(value))) for label, value in given
    ]
