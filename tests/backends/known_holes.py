"""A feed of known holes in the true form: entries as Wordfence Intelligence writes them, odd ones among them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

COPYRIGHTS = {
    "message": "This record contains material that is subject to copyright",
    "defiant": {
        "notice": "Copyright 2012-2026 Defiant Inc.",
        "license": "Defiant hereby grants you a perpetual, worldwide, non-exclusive licence … " * 8,
        "license_url": "https://www.wordfence.com/wordfence-intelligence-terms-and-conditions/",
    },
    "mitre": {"notice": "Copyright 1999-2026 The MITRE Corporation", "license": "CVE Usage: … " * 30},
}


def versions(low: str | None, high: str | None, *, low_too: bool = True, high_too: bool = True) -> dict[str, Any]:
    return {"from_version": low, "from_inclusive": low_too, "to_version": high, "to_inclusive": high_too}


def software(
    slug: str, *ranges: Mapping[str, Any], kind: str = "plugin", patched: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    named = {f"{one['from_version']} - {one['to_version']}": one for one in ranges}
    return {
        "type": kind,
        "name": slug.replace("-", " ").title(),
        "slug": slug,
        "affected_versions": named or [],
        "patched": bool(patched),
        "patched_versions": list(patched),
        "remediation": f"Update to version {patched[0]}, or a newer patched version" if patched else "No known patch",
        **more,
    }


def entry(
    number: int, title: str | None, *of: Mapping[str, Any], score: float | None = 6.4, **more: Any
) -> dict[str, Any]:
    id_ = str(uuid.UUID(int=0x41C4 << 112 | number))
    rating = None if score is None else "Critical" if score >= 9 else "High" if score >= 7 else "Medium"
    return {
        "id": id_,
        "title": title,
        "software": list(of),
        "informational": False,
        "description": f'{title}. The "{{plugin}}" for WordPress is vulnerable due to insufficient \\ escaping.',
        "references": [
            "https://plugins.trac.wordpress.org/changeset?old_path=%2Fx",
            f"https://www.wordfence.com/threat-intel/vulnerabilities/id/{id_}?source=api-prod",
        ],
        "cwe": {"id": 79, "name": "Cross-site Scripting", "description": "Improper Neutralization of Input"},
        "cvss": None if score is None else {"vector": "CVSS:3.1/AV:N/AC:L", "score": score, "rating": rating},
        "cve": f"CVE-2026-{10000 + number}",
        "cve_link": f"https://www.cve.org/CVERecord?id=CVE-2026-{10000 + number}",
        "researchers": ["山田 太郎", "Zoë Ångström"],
        "published": "2026-10-02 00:00:00",
        "updated": None,
        "copyrights": COPYRIGHTS,
        **more,
    }


ENTRIES = (
    entry(1, "Akismet Anti-spam 5.0 – 5.0.2 – Stored Cross-Site Scripting “コメント” 🧪",
          software("akismet", versions("5.0", "5.0.2"), patched=("5.0.3",)), score=7.2),
    entry(2, "Akismet <= 3.1.4 - Unauthenticated Stored Cross-Site Scripting",
          software("akismet", versions("*", "3.1.4"), patched=("3.1.5",))),
    entry(3, "Contact Form 7 <= 5.3.1 - Unrestricted File Upload",
          software("contact-form-7", versions("*", "5.3.1"), patched=("5.3.2",)), score=10.0),
    entry(4, "Good Plugin (All Versions) - Unauthenticated Remote Code Execution",
          software("good-plugin", versions("*", "*")), score=9.8),
    entry(5, "WordPress Core 5.9 - 7.1 - Directory Traversal",
          software("wordpress", versions("5.9", "6.1.9"), versions("6.2", "6.2.6"),
                   versions("7.1", "7.1.1", high_too=False), kind="core", patched=("6.1.10", "6.2.7", "7.1.1")),
          score=5.4),
    entry(6, "Twenty Twenty-Three < 1.5 - Reflected Cross-Site Scripting",
          software("twentytwentythree", versions("*", "1.5", high_too=False), kind="theme", patched=("1.5",)),
          cve=None),
    entry(7, "No score, no reference, no range", software("akismet"), score=None, references=[], cve=None),
    entry(8, "Informational: Akismet can be told by its files", software("akismet", versions("*", "*")),
          informational=True, score=None),
    entry(9, None, software("nulls", versions(None, None), patched_versions=None), score=None, references=None,
          cve="none yet"),
    entry(10, "Another kind of software", software("akismet", versions("*", "*"), kind="drop-in")),
)  # fmt: skip
HOSTILE = entry(
    11, "\x1b]0;owned\x07\x1b[2J[bold red]<script>alert(1)</script>\u202e\n" + "long " * 200,
    software("form-plugin", versions("*", "*"), patched=("\x1b[31m9",)),
    score=8.8, references=["javascript:alert(1)", "https://x.example/\x1b[0m"], cve="CVE-2026-1\x1b[1m",
)  # fmt: skip


def feed(*entries: Mapping[str, Any]) -> bytes:
    """As the server sends it; without names all of `ENTRIES`."""
    return json.dumps({one["id"]: one for one in entries or ENTRIES}, ensure_ascii=False).encode(errors="surrogatepass")


def large(size: int) -> Iterator[bytes]:
    """A feed of about `size` bytes, an entry at a time: as many entries and bytes of each as the real one has."""
    sent, number = 1, 100
    yield b"{"
    while sent < size:
        one = entry(number, f"Plugin {number} <= 1.{number % 9} - Stored XSS “{number}” 脆弱性",
                    software(f"plugin-{number}", versions("*", f"1.{number % 9}"), patched=("2.0",)))  # fmt: skip
        piece = b"%s%s: %s" % (
            b", " if sent > 1 else b"", json.dumps(one["id"]).encode(), json.dumps(one, ensure_ascii=False).encode(),
        )  # fmt: skip
        yield piece
        sent, number = sent + len(piece), number + 1
    yield b"}"
