"""Which of a site's plugins nobody looks after any more: no update will ever be offered for them. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from msgspec import Struct

from backends.plugin_directory import Listing
from backends.records import Inspection

ABANDONED = dt.timedelta(days=2 * 365)
"""Age of a plugin's last update from which wordpress.org itself warns of it."""


class Neglected(Struct, frozen=True, kw_only=True):
    slug: str
    name: str
    version: str | None
    state: str
    """`closed`: taken out of wordpress.org's directory. `abandoned`: not updated for two years."""
    since: dt.date | None
    reason: str | None = None
    """Why it was closed."""
    tested: str | None = None
    """The newest WordPress with which its makers tried it."""


def slugs(inspection: Inspection) -> set[str]:
    return {one.slug for one in inspection.plugins if one.kind == "plugin"}


def neglected(inspection: Inspection, listings: Mapping[str, Listing], today: dt.date) -> tuple[Neglected, ...]:
    """The closed ones first. What the directory does not have is sold elsewhere, and says nothing."""
    found = []
    for one in inspection.plugins:
        listing = listings.get(one.slug) if one.kind == "plugin" else None
        if listing is None:
            continue
        is_old = listing.updated is not None and today - listing.updated > ABANDONED
        if listing.is_closed or is_old:
            state, since = ("closed", listing.closed) if listing.is_closed else ("abandoned", listing.updated)
            told = {"reason": listing.reason, "tested": listing.tested}
            found.append(Neglected(slug=one.slug, name=one.name, version=one.version, state=state, since=since, **told))
    return tuple(sorted(found, key=lambda one: (one.state != "closed", one.slug)))
