"""Updates as words and JSON: what is pending, what is decided, the waves, the ledger. Knows no I/O but printing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app import holes
from app.neglect import Neglected
from app.operations.deciding import Item
from app.operations.month import Fate, Plan, Result, Stopped
from app.operations.update import Pending
from app.printing import error, error_object, fields_of, put, put_columns, put_json
from app.speaking import UPDATE_FIELDS, feed_object, feed_told
from backends.holes import Feed
from backends.journal_updates import Decision, Entry, Verdict

_WORDS = {
    Stopped.THROUGH: "The month's updates are through.",
    Stopped.CLOSED: "No site may be updated at this time",
    Stopped.HAND: "A site needs a hand first: nothing more was begun.",
    Stopped.LEFT: "Stopped; begun again it goes on from there.",
}
_MARKS = {Fate.DONE: "✔", Fate.FAILED: "✖"}


def updates(
    pending: Sequence[Pending],
    items: Sequence[Item],
    feed: Feed | None,
    neglected: Mapping[str, Sequence[Neglected]],
    *,
    by_item: bool,
    as_json: bool,
) -> None:
    """`updates` is null, and `error` there, where a site could not ask: that is not the same as none. So is `holes`
    where they are unknown."""
    if as_json:
        sites = [_pending(one) | {"neglected": neglected.get(one.name)} for one in pending]
        found = {"sites": sites, "items": [_item(one) for one in items]}
        put_json(found | {"feed": feed_object(feed)})
        return
    for one in pending:
        if one.problem is not None:
            error(one.problem, as_json=False, site=one.name)
        elif not by_item:
            put(f"{one.name}: {f'{len(one.updates)} pending' if one.updates else 'up to date'}")
            for update in one.updates or ():
                held = f"  held: {update.held}" if update.held else ""
                closes = f"  ! closes {update.closes}" if update.closes else ""
                put(f"  {update.kind:<11} {update.slug}  {update.from_ or '?'} → {update.to or '?'}{closes}{held}")
            _holes(one)
            _neglected(neglected.get(one.name, ()))
    if by_item and items:
        put_columns([_item_line(one) for one in items])
    elif by_item:
        put("Nothing is pending.")
    if feed is not None:
        feed_told(feed)


def _neglected(plugins: Sequence[Neglected]) -> None:
    for one in plugins:
        version = f" {one.version}" if one.version else ""
        since = f" {one.since}" if one.since else ""
        reason = f" ({one.reason})" if one.reason else ""
        tested = f"; tried with WordPress {one.tested}" if one.tested else ""
        told = f"closed by wordpress.org{since}{reason}" if one.state == "closed" else f"last updated{since}{tested}"
        put(f"  {one.state.upper():<11} {one.slug}{version}  {told}: no update will come, replace it")


def _holes(one: Pending) -> None:
    """Those that no update closes."""
    for hole in one.holes or ():
        if hole.closed_by is None:
            version = f" {hole.version}" if hole.version else ""
            patched = f"; said to be closed in {hole.patched}" if hole.patched else ""
            link = f"; {hole.link}" if hole.link else ""
            put(f"  HOLE        {hole.slug}{version}  no update closes {holes.named(hole)}{patched}{link}")


def month_plan(plan: Plan, *, as_json: bool) -> None:
    progress = plan.progress
    if as_json:
        put_json(
            {
                "began": progress.began,
                "waves": [
                    [
                        {"site": name, "updates": [fields_of(one, UPDATE_FIELDS) for one in plan.updates.get(name, ())]}
                        for name in wave
                        if name not in progress.through
                    ]
                    for wave in progress.waves
                ],
                "undecided": [_item(one) for one in plan.undecided],
                "unknown": [{"site": one.name, "error": _problem(one)} for one in plan.unknown],
            }
        )
        return
    for number, wave in enumerate(progress.waves, 1):
        left = [name for name in wave if name not in progress.through]
        if left:
            put(f"Wave {number} of {len(progress.waves)}: {len(left)} {'site' if len(left) == 1 else 'sites'}")
        for name in left:
            changes = (f"{one.slug} {one.from_ or '?'} → {one.to or '?'}" for one in plan.updates.get(name, ()))
            put(f"  {name}  {', '.join(changes) or 'what was begun'}")
    if not plan.left:
        put("Nothing that is approved is pending.")
    for one in plan.undecided:
        where = f"{len(one.sites)} {'site' if len(one.sites) == 1 else 'sites'}"
        put(f"Undecided: {one.slug} {one.to or '?'} on {where}: modoseru updates --approve {one.slug}")
    for pending in plan.unknown:
        if pending.problem is not None:
            error(pending.problem, as_json=False, site=pending.name)


def month(result: Result, *, as_json: bool) -> None:
    progress = result.progress
    if as_json:
        put_json(
            {
                "state": result.stopped,
                "began": progress.began,
                "until": result.until,
                "waves": [
                    [
                        {
                            "site": name,
                            "state": through.fate if (through := progress.through.get(name)) else None,
                            "operation": through.operation if through else None,
                            "detail": through.why if through else "",
                        }
                        for name in wave
                    ]
                    for wave in progress.waves
                ],
                "halted": [_decision(one) for one in result.halted],
            }
        )
        return
    for name, through in progress.through.items():
        put(f"{_MARKS[through.fate]} {name}  {through.why}")
    for one in result.halted:
        put(f"halted: {one.slug} {one.version}: {one.note}")
    until = f"; from {result.until:%Y-%m-%d %H:%M %Z} on" if result.until else ""
    put(f"{_WORDS[result.stopped]}{until}")


def ledger(month: str, entries: Sequence[Entry], *, as_json: bool) -> None:
    if as_json:
        put_json({"month": month, "entries": entries})
        return
    if not entries:
        put(f"Nothing was updated in {month}.")
        return
    rows = [
        [
            one.site,
            one.slug,
            f"{one.from_ or '?'} → {one.to or '?'}",
            one.outcome.replace("_", " "),
            f"{one.unavailable_s:.1f} s" if one.unavailable_s else "",
            one.approved_by or "",
            one.why or "",
        ]
        for one in entries
    ]
    put_columns(rows)


def _pending(one: Pending) -> dict[str, Any]:
    if one.problem is not None:
        return {"name": one.name, "updates": None, "holes": None, "error": _problem(one)}
    pending = [fields_of(update, UPDATE_FIELDS) for update in one.updates or ()]
    return {"name": one.name, "updates": pending, "holes": one.holes}


def _problem(one: Pending) -> dict[str, str] | None:
    return None if one.problem is None else error_object(one.problem)


def _item(one: Item) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "slug": one.slug,
        "from": one.from_,
        "to": one.to,
        "security": one.security,
        "sites": one.sites,
        "held": one.held,
        "decision": None if one.decision is None else _decision(one.decision),
    }


def _decision(one: Decision) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "slug": one.slug,
        "version": one.version,
        "verdict": one.verdict,
        "who": one.who,
        "at": one.at,
        "note": one.note,
    }


def _item_line(one: Item) -> list[str]:
    word = "undecided" if one.decision is None else one.decision.verdict.value
    who = "" if one.decision is None or one.decision.verdict is Verdict.HALTED else f" by {one.decision.who}"
    note = f": {one.decision.note}" if one.decision and one.decision.note else ""
    held = f" ({len(one.held)} held)" if one.held else ""
    sites = f"{len(one.sites)} {'site' if len(one.sites) == 1 else 'sites'}{held}"
    change = f"{', '.join(one.from_[:3]) or '?'} → {one.to or '?'}"
    return [one.kind, one.slug, change, sites, f"{word}{who}{note}"]
