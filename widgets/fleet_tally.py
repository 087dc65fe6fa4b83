"""The fleet's counts, kept up to date one site at a time: a refresh of ten thousand sites never counts them all."""

from __future__ import annotations

from collections import Counter

from backends.records import Certainty, SiteStatus, State
from widgets.fleet_row import urgency


class Tally:
    """Counts of sites: `critical`, `unrestorable`, `expiring`, and the sum of pending `updates`."""

    def __init__(self) -> None:
        self._parts: dict[str, Counter[str]] = {}
        self._sums: Counter[str] = Counter()

    def put(self, status: SiteStatus) -> None:
        """Count `status` in place of what was known of the same site."""
        part = Counter(
            critical=int(urgency(status) is State.CRITICAL),
            unrestorable=int(status.verdict is Certainty.FAILED),
            expiring=int(_expiring(status)),
            updates=len(status.updates or ()),
        )
        self._sums.subtract(self._parts.get(status.name, Counter()))
        self._sums.update(part)
        self._parts[status.name] = part

    @property
    def sites(self) -> int:
        return len(self._parts)

    def __getitem__(self, what: str) -> int:
        return self._sums[what]


def _expiring(status: SiteStatus) -> bool:
    soon = {State.WARNING, State.CRITICAL}
    certificate, domain = status.certificate, status.domain
    return (certificate.state in soon and certificate.days_left is not None) or (
        domain.state in soon and domain.days_left is not None
    )
