"""When the demo's registrations end, and the bootstrap file that leads to its registries. Pure."""

from __future__ import annotations

import datetime as dt
import json

from app.demo.cast import Character

RDAP_PATH = "/rdap/"


def bootstrap(port: int, at: dt.datetime) -> bytes:
    """A bootstrap file in IANA's form, all five sections of which lead here; `timestamp` is whoisit's own."""
    url = f"http://127.0.0.1:{port}{RDAP_PATH}"
    stamp = at.isoformat(timespec="seconds")

    def section(*services: list[list[str]]) -> dict[str, object]:
        return {"version": "1.0", "publication": stamp, "description": "Modoseru demo", "services": services}

    return json.dumps(
        {
            "timestamp": int(at.timestamp()),
            "dns": section([["example"], [url]]),
            "asn": section([["64496-64511"], [url]]),
            "ipv4": section([["192.0.2.0/24"], [url]]),
            "ipv6": section([["2001:db8::/32"], [url]]),
            "object": {**section(), "services": [[["demo@modoseru.example"], ["DEMO"], [url]]]},
        }
    ).encode()


def expiry(character: Character, birth: dt.datetime) -> dt.date | None:
    """When the registration ends; None where the registry does not say."""
    return None if character.domain_days is None else (birth + dt.timedelta(days=character.domain_days)).date()
