"""A site's pages before a change and after it: what of them has to be as it was, and how one says that it is not.

Pure: fetches nothing. A page that changes by itself (a clock, a random quote) is known by two looks before.
"""

from __future__ import annotations

from backends.records import Sample
from backends.web import Measured

COLLAPSED, GROWN = 0.5, 2.0
"""Shares of what a page had, at its least and its most, past which it is another page."""
FEW, MANY, FEW_ELEMENTS = 50, 2000, 10
"""Letters and elements that a page may lose, or gain, whatever its size: a notice that closes, a day's posts."""
SLOWER, SLOW_S = 5.0, 5.0
"""How many times as long as before, and how many seconds more, until a page counts as slow."""


def sample(path: str, first: Measured, second: Measured) -> Sample:
    """What two looks at a page tell of it. Only what both show is promised."""
    looks, both = (first.look, second.look), (first.measure, second.measure)
    letters, elements = [one.letters for one in both], [one.elements for one in both]
    return Sample(
        path=path,
        status=first.look.http_status if first.look.http_status == second.look.http_status else None,
        problem=first.look.problem or second.look.problem,
        title=first.look.title if first.look.title == second.look.title else None,
        letters=(min(letters), max(letters)),
        elements=(min(elements), max(elements)),
        forms=min(one.forms for one in both),
        latency_s=max(look.latency_s or 0.0 for look in looks),
    )


def is_measure(before: Sample) -> bool:
    """Whether the page was there before, so that something can be compared with it."""
    return before.status is not None and before.status < 400


def difference(before: Sample, after: Measured) -> str | None:
    """What is wrong with a page that was `before`, in a few words; None where it is as it was."""
    if not is_measure(before):
        return None
    look, measure = after.look, after.measure
    (least, most), took = before.letters, look.latency_s or 0.0
    wrong = (
        (look.problem is not None and look.problem != before.problem, look.problem or ""),
        (look.http_status != before.status, f"status {look.http_status}, before {before.status}"),
        (before.title and not look.title, f"its title is gone, it was “{before.title}”"),
        (measure.letters < least * COLLAPSED - FEW, f"its text is gone: {measure.letters} letters, before {least}"),
        (measure.letters > most * GROWN + MANY, f"its text has grown: {measure.letters} letters, before {most}"),
        (
            measure.elements < before.elements[0] * COLLAPSED - FEW_ELEMENTS,
            f"it has {measure.elements} elements, before {before.elements[0]}",
        ),
        (measure.forms < before.forms, f"a form is gone: {measure.forms}, before {before.forms}"),
        (
            took > before.latency_s * SLOWER and took > before.latency_s + SLOW_S,
            f"it takes {took:.1f} s, before {before.latency_s:.1f} s",
        ),
    )
    return next((text for is_so, text in wrong if is_so), None)
