"""What the operator reads: English message ids, and a catalogue that says them in another language.

The catalogue is a gettext `.po` file, read as it stands: nothing has to be compiled before the program runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

LANGUAGES = ("en", "ja")
_ENTRY = re.compile(r'^(msgid_plural|msgid|msgstr(?:\[\d\])?)\s+(".*")$')
_forms: dict[str, tuple[str, ...]] = {}
_language = "en"


def mark(text: str) -> str:
    """`text` itself: says that it is translated where it is shown."""
    return text


def tr(text: str, /, **values: object) -> str:
    """`text` in the operator's language, its `{fields}` filled from `values`."""
    said = _forms[text][0] if text in _forms else text
    return said.format(**values) if values else said


def tr_n(singular: str, plural: str, n: int, /, **values: object) -> str:
    """The form for `n`, in the operator's language; `{n}` is filled with `n` grouped by thousands."""
    forms = _forms.get(singular, (singular, plural))
    return forms[0 if n == 1 or len(forms) == 1 else 1].format(n=f"{n:,}", **values)


def language() -> str:
    return _language


def use(name: str, folder: Path) -> None:
    """Speak `name` from now on, with the catalogue `folder/<name>/LC_MESSAGES/modoseru.po` (none for English)."""
    global _language, _forms  # noqa: PLW0603 - one process speaks one language
    catalogue = folder / name / "LC_MESSAGES" / "modoseru.po"
    _forms = {} if name == "en" else read_catalogue(catalogue.read_text("utf-8"))
    _language = name


def choose(setting: str | None, environ: Mapping[str, str]) -> str:
    """The language of `setting`, else that of the locale, else English."""
    wanted = setting or next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "en")
    return wanted[:2] if wanted[:2] in LANGUAGES else "en"


def read_catalogue(text: str) -> dict[str, tuple[str, ...]]:
    """Message id to its forms. ValueError with the line for what a `.po` file cannot hold; empty forms are left out."""
    found: dict[str, tuple[str, ...]] = {}
    entry: dict[str, str] = {}
    key = ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        stripped = line.strip()
        if match := _ENTRY.match(stripped):
            key = match[1]
            entry[key] = json.loads(match[2])
        elif stripped.startswith('"') and key:
            entry[key] += json.loads(stripped)
        elif not stripped:
            forms = tuple(entry[name] for name in sorted(entry) if name.startswith("msgstr") and entry[name])
            if entry.get("msgid") and forms:
                found[entry["msgid"]] = forms
            entry, key = {}, ""
        elif not stripped.startswith("#"):
            raise ValueError(f"line {number} of the catalogue is not understood: {stripped[:80]}")
    return found
