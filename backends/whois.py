"""WHOIS (RFC 3912) for registries without RDAP: the client, and what JPRS's and the usual answers mean.

JPRS has two kinds of answer (FACTS 5): general .jp names have `[Expires on]` or `[有効期限]`; organisational ones
(co.jp, or.jp, ne.jp, ac.jp …) have no such field, their expiry is the date in `[State] Connected (2026/03/31)` or
`[状態]`, and their lines begin with `a. `, `p. ` and the like.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re

from backends.endpoint import place, refusal
from backends.records import visible
from backends.registry import ANSWER_LIMIT, Answer, RateLimitedError, RegistryError, SilentError, date_in, is_trouble

PORT = 43
LINES = 2000


def server_address(server: str) -> tuple[str, int]:
    """`host`, `host:port` or `[v6]:port`. Raises ValueError with a sentence."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:]+)\](?::(\d{1,5}))?|([^\s:\[\]]+)(?::(\d{1,5}))?", server)
    if match is None or not 0 < (port := int(match[2] or match[4] or PORT)) < 65536:
        raise ValueError(f"not a WHOIS server (host:port): {visible(server, 100)}")
    return match[1] or match[3], port


async def ask(name: str, server: str, timeout: float) -> Answer:
    """What `server` says about `name` (A-labels). Raises RegistryError."""
    try:
        host, port = server_address(server)
    except ValueError as error:
        raise RegistryError(str(error)) from None
    # JPRS answers in Japanese unless the name ends in /e.
    query = f"{name}/e" if name.endswith(".jp") else name
    try:
        async with asyncio.timeout(timeout):
            text = await _exchange(host, port, query)
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that cannot be one
        raise SilentError(f"WHOIS: {refusal(error, place(host, port), timeout)}") from None
    return read(text, name)


async def _exchange(host: str, port: int, query: str) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"{query}\r\n".encode("ascii"))
        await writer.drain()
        answer = bytearray()
        while len(answer) < ANSWER_LIMIT and (part := await reader.read(ANSWER_LIMIT - len(answer))):
            answer += part
        return answer.decode("utf-8", errors="replace")
    finally:
        writer.transport.abort()


# ---------------------------------------------------------------- reading

_JPRS_LINE = re.compile(r"(?:[a-z]\. ?)?\[([^\[\]]{1,40})\]\s*(.*)")
_NO_MATCH = re.compile(
    r"^[^\w\n]{0,20}(?:no match|not found|no data found|no entries found|no object found|domain not found|nothing found"
    r"|the queried object does not exist|status:\s*(?:free|available)|該当するデータがありません)",
    re.IGNORECASE | re.MULTILINE,
)
_LIMITED = re.compile(
    r"limit exceeded|exceeded .{0,40}(?:limit|quota)|quota exceeded|rate limit"
    r"|too many (?:requests|queries|connections)"
    r"|excessive quer"
    r"|try again (?:later|after)|access .{0,20}(?:restricted|denied|refused)|blacklisted"
    r"|検索.{0,20}制限|アクセス.{0,20}制限|しばらく(?:時間|たって|経って|して)",
    re.IGNORECASE,
)


def read(text: str, name: str) -> Answer:
    """An answer's meaning. Raises RegistryError where it has none."""
    lines = [line.strip()[:500] for line in text.splitlines()[:LINES]]
    fields = _jprs_fields(lines)
    answer = _jprs(fields) if "domain" in fields else _labelled(lines)
    if answer is not None:
        return answer
    if _NO_MATCH.search(text):
        return Answer(source="whois", registered=False)
    if _LIMITED.search(text):
        raise RateLimitedError("its WHOIS server refuses more questions for now (rate limit)")
    shown = next((line for line in lines if line and not line.startswith(("[", "%", "#"))), "")
    said = f": {visible(shown, 80)}" if shown else ""
    raise RegistryError(f"its WHOIS server answered nothing about {name}{said}")


_JPRS_LABELS = {
    "domain name": "domain",
    "ドメイン名": "domain",
    "expires on": "expires",
    "有効期限": "expires",
    "state": "state",
    "status": "state",
    "状態": "state",
}


def _jprs_fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        if (match := _JPRS_LINE.match(line)) and (label := _JPRS_LABELS.get(match[1].strip().lower())):
            fields.setdefault(label, match[2].strip())
    return fields


def _jprs(fields: dict[str, str]) -> Answer:
    state, _, bracketed = fields.get("state", "").partition("(")
    state = state.strip()
    trouble = (visible(fields["state"], 60),) if is_trouble(state) else ()
    expires = date_in(fields.get("expires", ""))
    if expires is None and not trouble:
        # `Deleted (2013/01/31)` has a date too, but that is when others may have the name.
        expires = date_in(bracketed)
    return Answer(source="whois", expires=expires, trouble=trouble)


# By priority: the registry's own date before the registrar's.
_EXPIRY_LABELS = (
    "registry expiry date",
    "expiry date",
    "expiration date",
    "domain expiration date",
    "expires on",
    "expires",
    "expire date",
    "expire",
    "expiration time",
    "paid-till",
    "valid until",
    "validity",
    "renewal date",
    "exp date",
    "registrar registration expiration date",
)
_LABELLED = re.compile(r"\W{0,5}([A-Za-z][A-Za-z -]{1,50}?)[ .]{0,40}:[ \t]*(.*)")


def _labelled(lines: list[str]) -> Answer | None:
    """`Label: value` lines as gTLDs and most others write them; None where none of them is of use."""
    dates: dict[str, dt.date] = {}
    states: list[str] = []
    known = False
    for line in lines:
        match = _LABELLED.match(line)
        if match is None or not match[2]:
            continue
        label, value = match[1].lower(), match[2]
        known = known or label in {"domain name", "domain"}
        if label in _EXPIRY_LABELS and (date := date_in(value)):
            dates.setdefault(label, date)
        elif label in {"domain status", "status", "state"}:
            states.append(value.partition(" http")[0].strip())
    if not dates and not (known and states):
        return None
    expires = next((dates[label] for label in _EXPIRY_LABELS if label in dates), None)
    trouble = tuple(dict.fromkeys(visible(state, 60) for state in states[:50] if is_trouble(state)))
    return Answer(source="whois", expires=expires, trouble=trouble)
