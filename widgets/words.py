"""The operator's words for the constants, ages and amounts that records carry. Pure."""

from __future__ import annotations

import datetime as dt
import re

from backends.records import Certainty, GenerationState, Outcome, SiteStatus, State
from widgets.cells import Tone, said
from widgets.language import mark, tr, tr_n
from widgets.sentences import told

STATE_GLYPHS = {State.CRITICAL: "✖", State.WARNING: "!", State.UNKNOWN: "?", State.OK: "✔"}
UNTRIED_GLYPH = "●"
"""Of a site with which nothing is wrong, and whose restore nobody has tried."""
STATE_TONES = {State.CRITICAL: Tone.BAD, State.WARNING: Tone.WARN, State.UNKNOWN: Tone.DIM, State.OK: Tone.GOOD}
STATE_WORDS = {
    State.CRITICAL: mark("critical"),
    State.WARNING: mark("warning"),
    State.UNKNOWN: mark("unknown"),
    State.OK: mark("ok"),
}

VERDICT_GLYPHS = {
    Certainty.PROVEN: "✔",
    Certainty.STALE: "!",
    Certainty.UNPROVEN: "●",
    Certainty.FAILED: "✖",
    Certainty.UNKNOWN: "?",
}
VERDICT_TONES = {
    Certainty.PROVEN: Tone.GOOD,
    Certainty.STALE: Tone.WARN,
    Certainty.UNPROVEN: Tone.PLAIN,
    Certainty.FAILED: Tone.BAD,
    Certainty.UNKNOWN: Tone.DIM,
}
VERDICT_WORDS = {
    Certainty.PROVEN: mark("proven"),
    Certainty.STALE: mark("stale"),
    Certainty.UNPROVEN: mark("unproven"),
    Certainty.FAILED: mark("failed"),
    Certainty.UNKNOWN: mark("unknown"),
}

OUTCOME_GLYPHS = {Outcome.DONE: "✔", Outcome.ROLLED_BACK: "!", Outcome.CANCELLED: "●", Outcome.NEEDS_HAND: "✖"}
OUTCOME_TONES = {
    Outcome.DONE: Tone.GOOD,
    Outcome.ROLLED_BACK: Tone.WARN,
    Outcome.CANCELLED: Tone.PLAIN,
    Outcome.NEEDS_HAND: Tone.BAD,
}
OUTCOME_WORDS = {
    Outcome.DONE: mark("done"),
    Outcome.ROLLED_BACK: mark("rolled back"),
    Outcome.CANCELLED: mark("cancelled"),
    Outcome.NEEDS_HAND: mark("needs a hand"),
}

GENERATION_WORDS = {
    GenerationState.COMPLETE: mark("complete"),
    GenerationState.SUSPECT: mark("suspect"),
    GenerationState.DAMAGED: mark("damaged"),
}
GENERATION_TONES = {
    GenerationState.COMPLETE: Tone.PLAIN,
    GenerationState.SUSPECT: Tone.WARN,
    GenerationState.DAMAGED: Tone.BAD,
}

TRIED = {"safe": mark("safe"), "risky": mark("risky"), "impossible": mark("impossible")}
"""What a trial under another PHP said."""
_STATUS = re.compile(r"^status (\d+)$")
_KINDS = {
    "backup": mark("backup"),
    "restore": mark("restore"),
    "undo": mark("undo"),
    "update": mark("update"),
    "drill": mark("drill"),
    "verify": mark("verify"),
    "vault": mark("copy to the vault"),
    "bring": mark("bring back from the vault"),
    "isolate": mark("isolate"),
    "release": mark("release"),
    "runtime": mark("trial under another PHP"),
    "switch": mark("switch of PHP"),
    "rehouse": mark("move of the database"),
    "snapshot": mark("backup"),
    "check": mark("check"),
    "probe": mark("test"),
}
_STEPS = {
    "preflight": mark("preflight"),
    "close": mark("closing the site"),
    "look": mark("looking from outside"),
    "open": mark("opening the site"),
    "scan": mark("reading files"),
    "dump": mark("dumping the database"),
    "database": mark("database"),
    "pack": mark("packing"),
    "files": mark("files"),
    "manifest": mark("manifest"),
    "publish": mark("finishing"),
    "prune": mark("tidying up"),
    "stage": mark("staging"),
    "import": mark("importing the database"),
    "verify": mark("verifying"),
    "rewrite": mark("rewriting addresses"),
    "load": mark("loading the database"),
    "switch": mark("switching"),
    "check": mark("looking from outside"),
    "backup": mark("backing up first"),
    "update": mark("updating"),
    "recover": mark("recovering"),
    "boot": mark("starting WordPress"),
    "drop": mark("clearing away"),
    "summary": mark("reading the summary"),
    "packs": mark("reading the packs"),
    "content": mark("reading files and tables"),
    "retention": mark("tidying up"),
    "prepare": mark("preparing"),
    "seal": mark("sealing"),
    "store": mark("storing in the vault"),
    "bring": mark("bringing from the vault"),
    "adopt": mark("making it one of the server's"),
    "binary": mark("starting the other PHP"),
    "requires": mark("reading what is required"),
    "syntax": mark("reading PHP files"),
    "baseline": mark("looking at the pages"),
    "back": mark("switching back"),
    "done": mark("finishing"),
}
_REASONS = {
    "weekly": mark("weekly"),
    "update": mark("before an update"),
    "hand": mark("by hand"),
    "restore": mark("before a restore"),
}


def kind_word(kind: str) -> str:
    return tr(_KINDS[kind]) if kind in _KINDS else said(kind, 40)


def step_word(step: str) -> str:
    return tr(_STEPS[step]) if step in _STEPS else said(step, 40)


def reason_word(reason: str) -> str:
    """Why a generation was made."""
    return tr(_REASONS[reason]) if reason in _REASONS else said(reason, 40)


def problem_words(problem: str) -> str:
    """A check's `problem` as the operator says it."""
    faults = [
        _STATUS.sub(lambda match: tr("answers {status}", status=match[1]), fault) for fault in problem.split("; ")
    ]
    return "; ".join(told(fault, 160) for fault in faults)


def compact_age(seconds: float | None) -> str:
    """`40m`, `5h`, `12d`: at most four columns, the same in every language. Empty where the age is not known."""
    if seconds is None:
        return ""
    minutes = max(0, int(seconds // 60))
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 48 * 60:
        return f"{minutes // 60}h"
    return f"{min(minutes // 1440, 999)}d"


def age_words(seconds: float) -> str:
    """`3 days`, `40 minutes`."""
    minutes = max(0, int(seconds // 60))
    if minutes < 1:
        return tr("under a minute")
    if minutes < 60:
        return tr_n("{n} minute", "{n} minutes", minutes)
    if minutes < 48 * 60:
        return tr_n("{n} hour", "{n} hours", minutes // 60)
    return tr_n("{n} day", "{n} days", minutes // 1440)


def ago(then: dt.datetime, now: dt.datetime) -> str:
    return tr("{age} ago", age=age_words((now - then).total_seconds()))


def days_words(days: int) -> str:
    """How long until a date, or since it."""
    if days < 0:
        return tr_n("ended {n} day ago", "ended {n} days ago", -days)
    return tr("ends today") if days == 0 else tr_n("{n} day left", "{n} days left", days)


def took(seconds: float) -> str:
    """`41 s`, `3:07`, `1:02:09`."""
    whole = round(seconds)
    if whole < 60:
        return tr("{seconds} s", seconds=whole)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def trend(status: SiteStatus) -> str:
    """` ↑` where the last drill took much longer than those before it did, ` ↓` where much less, else nothing."""
    before = sorted(status.rto_before_s[:6])
    if status.rto_s is None or not before:
        return ""
    usual = before[len(before) // 2]
    if abs(status.rto_s - usual) < max(3, usual / 4):
        return ""
    return " ↑" if status.rto_s > usual else " ↓"


def size(count: float) -> str:
    """Bytes in decimal units, as hosts sell them."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit in {"B", "kB"} or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def amount(count: float, unit: str) -> str:
    """A number of bytes, files, tables or rows."""
    if unit == "bytes":
        return size(count)
    n = int(count)
    words = {
        "files": lambda: tr_n("{n} file", "{n} files", n),
        "tables": lambda: tr_n("{n} table", "{n} tables", n),
        "rows": lambda: tr_n("{n} row", "{n} rows", n),
    }
    return words[unit]() if unit in words else f"{n:,} {said(unit, 20)}"


def local(at: dt.datetime, zone: dt.tzinfo, form: str = "%Y-%m-%d %H:%M") -> str:
    try:
        return at.astimezone(zone).strftime(form)
    except OverflowError:  # a server may say the year 9999
        return at.strftime(form)
