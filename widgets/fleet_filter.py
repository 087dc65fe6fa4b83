"""Which sites a filter means. Pure.

Words stand for sites that contain all of them, `!word` for those that do not contain it; full-width input counts as its
half-width form, so that a filter typed with an IME on still finds.
"""

from __future__ import annotations

import unicodedata

from backends.records import Certainty
from widgets import words
from widgets.fleet_row import FleetRow, urgency, wrong
from widgets.language import tr


def folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def searched(row: FleetRow) -> str:
    """The text of a row that a filter looks through."""
    status = row.status
    verdict = status.verdict
    parts = [
        row.name,
        status.url,
        status.owner or "",
        *row.tags,
        urgency(status),
        tr(words.STATE_WORDS[urgency(status)]),
    ]
    parts += [verdict, tr(words.VERDICT_WORDS[verdict]), wrong(status)]
    parts += [update.slug for update in status.updates or ()]
    if verdict is Certainty.FAILED:
        parts.append("unrestorable")
    return folded("\n".join(parts))


def matches(text: str, query: str) -> bool:
    """Whether `searched` text is meant by `query`, which is already `folded`."""
    for word in query.split():
        if word.startswith("!"):
            if len(word) > 1 and word[1:] in text:
                return False
        elif word not in text:
            return False
    return True
