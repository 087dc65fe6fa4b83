"""Which records have to change so that a name leads to a new address alone."""

from __future__ import annotations

import pytest

from app.operations.move import MAILBOXES, Dns, Record, changes_of, sentences
from backends.nameserver import Told

NEW = "203.0.113.9"


def told(*addresses: str, alias: str | None = None) -> Told:
    kinds = tuple(("AAAA" if ":" in one else "A", one) for one in addresses)
    return Told(name="www.kogyo.example", addresses=kinds, owner=alias or "www.kogyo.example", alias=alias)


def record(kind: str, from_: str | None, to: str | None, name: str = "www.kogyo.example") -> Record:
    return Record(name=name, type=kind, from_=from_, to=to)


@pytest.mark.parametrize(
    ("now", "wanted", "changes"),
    [
        (told(NEW), NEW, []),
        (told(), NEW, [record("A", None, NEW)]),
        (told("203.0.113.5"), NEW, [record("A", "203.0.113.5", NEW)]),
        (told("203.0.113.5", NEW), NEW, [record("A", "203.0.113.5", None)]),
        (
            told("203.0.113.5", "203.0.113.6", "2001:db8::5"),
            NEW,
            [
                record("A", "203.0.113.5", NEW),
                record("A", "203.0.113.6", None),
                record("AAAA", "2001:db8::5", None),
            ],
        ),
        (told("2001:db8::5"), NEW, [record("AAAA", "2001:db8::5", None), record("A", None, NEW)]),
        (
            told("203.0.113.5", alias="kogyo.example"),
            NEW,
            [record("A", "203.0.113.5", NEW, "kogyo.example")],
        ),
        (
            told("203.0.113.5", alias="sv1.host.example"),
            NEW,
            [record("CNAME", "sv1.host.example", None), record("A", None, NEW)],
        ),
    ],
)
def test_the_name_leads_to_the_new_address_alone(now: Told, wanted: str, changes: list[Record]) -> None:
    assert changes_of(now, wanted, "kogyo.example") == changes


def test_a_prompt_says_what_of_dns_changes_and_what_of_mail_does_not() -> None:
    records = (
        Record(name="x.example", type="A", from_="203.0.113.5", to="198.51.100.7"),
        Record(name="x.example", type="AAAA", from_="2001:db8::5", to=None),
    )
    found = Dns(host="x.example", now=("203.0.113.5",), ttl_s=60, wanted="198.51.100.7", records=records)
    assert sentences(found) == (
        "DNS stays as it is, and has to change afterwards: x.example A 203.0.113.5 → 198.51.100.7.",
        "DNS stays as it is, and has to change afterwards: x.example AAAA 2001:db8::5 → —.",
        MAILBOXES,
    )
