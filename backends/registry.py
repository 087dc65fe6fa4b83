"""What a domain registry answers, whichever protocol carried it, and how it fails. Speaks to nobody."""

from __future__ import annotations

import datetime as dt
import re

from msgspec import Struct

ANSWER_LIMIT = 65_536


class Answer(Struct, frozen=True, kw_only=True):
    """One registry's word about one registration. Its texts are a stranger's: visible and bounded."""

    source: str
    """`rdap` or `whois`."""
    registered: bool = True
    """False: the registry knows no such name."""
    expires: dt.date | None = None
    """None: the registry does not say (.de and others never do)."""
    trouble: tuple[str, ...] = ()
    """States in which a site stops or will soon stop working: suspended, on hold, in redemption, deleted."""
    note: str | None = None
    """That the date changed together with the source that told it."""


class RegistryError(Exception):
    """Nothing that could be used was answered. The text is a sentence without a full stop.

    RegistryError
    ├── SilentError        nothing was answered at all
    ├── RateLimitedError   the server wants to be left alone for a while
    └── RestingError       it was not asked, because of one of the two before
    """


class SilentError(RegistryError):
    """The server could not be reached, took too long or broke off."""


class RateLimitedError(RegistryError):
    """The server wants to be left alone for a while."""


class RestingError(RegistryError):
    """The server is being left alone."""


_TROUBLE = re.compile(
    r"suspend|\bdeleted\b|pending ?delete|redemption|(?:client|server) ?hold|\binactive\b", re.IGNORECASE
)


def is_trouble(state: str) -> bool:
    """Whether a registry's state (EPP's, RDAP's or JPRS's word for it) means that the name stops working."""
    return _TROUBLE.search(state) is not None


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR_FIRST = re.compile(r"\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_COMPACT = re.compile(r"\b(\d{4})(\d{2})(\d{2})\b")
_MONTH_NAMED = re.compile(r"\b(\d{1,2})[-. ]([A-Za-z]{3})[a-z]{0,6}[-. ](\d{4})\b")
_DAY_FIRST = re.compile(r"\b(\d{1,2})\.(\d{1,2})\.(\d{4})\b")


def date_in(text: str) -> dt.date | None:
    """The first date in `text`, in the forms that registries use; None where it would be a guess (03/04/2027)."""
    text = text[:200]
    try:
        if match := _YEAR_FIRST.search(text) or _COMPACT.search(text):
            return dt.date(int(match[1]), int(match[2]), int(match[3]))
        if (match := _MONTH_NAMED.search(text)) and match[2].lower() in _MONTHS:
            return dt.date(int(match[3]), _MONTHS.index(match[2].lower()) + 1, int(match[1]))
        if match := _DAY_FIRST.search(text):
            return dt.date(int(match[3]), int(match[2]), int(match[1]))
    except ValueError:
        pass
    return None
