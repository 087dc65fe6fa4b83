"""Plans the closing of a site to the world, and its opening."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.operations.intent import Intent
from backends.records import ModoseruError, Note, Site

if TYPE_CHECKING:
    from app.session import Session


class BadAddress(ModoseruError):  # noqa: N818 - says what is wrong
    """Code: bad_address."""

    exit_code = 2


def isolate(session: Session, site: Site, allow: Sequence[str] = ()) -> Intent:
    """`allow`: addresses and networks that the closed site still answers. Raises BadAddress."""
    neighbours = others(session, site)
    return Intent(
        kind="isolate",
        site=site,
        verb="isolate",
        request={"allow": [_network(one) for one in allow]},
        question=f"Close {site.name} to the world?",
        goes=(
            "Every visitor gets “503, down for maintenance” until it is released"
            + (f", but for {', '.join(allow)}." if allow else "."),
            "No generation is made of it and nothing is updated meanwhile.",
        ),
        stays=(
            "Nothing is deleted: release opens it again, byte for byte as it is now or as it was restored meanwhile.",
            *((f"In the same account, and perhaps in the same hands: {', '.join(neighbours)}.",) if neighbours else ()),
        ),
        danger=True,
    )


def release(site: Site) -> Intent:
    return Intent(
        kind="release",
        site=site,
        verb="release",
        question=f"Open {site.name} to the world again?",
        goes=("Visitors get what the site now holds.",),
        stays=("Nothing else of it is changed.",),
        danger=True,
    )


def others(session: Session, site: Site) -> tuple[str, ...]:
    """The fleet's other sites in the same account: who holds one of them holds all."""
    return tuple(one.name for one in session.fleet.sites if one.name != site.name and one.account == site.account)


def suspects(session: Session, site: Site) -> list[Note]:
    """What is to be said of the other sites when one was closed; of this process alone, so without a line."""
    return [
        Note(
            at=dt.datetime.now(dt.UTC),
            code="suspect",
            level="warning",
            text=f"{name} lies in the same account and may be in the same hands: modoseru isolate {name}",
            item=name,
        )
        for name in others(session, site)
    ]


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False)) if "/" in text else str(ipaddress.ip_address(text))
    except ValueError:
        raise BadAddress(
            "bad_address", f"{text!r} is no address and no network", "name it like 203.0.113.7 or 203.0.113.0/24"
        ) from None
