"""Registries on loopback that speak as the real ones do: JPRS's WHOIS in both languages, gTLD WHOIS, RDAP.

JPRS's layout after real answers (headers, prefixes, order of the fields); names and dates are made up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.backends.web_servers import Handler, Request, Served, answer, http, listening

# ---------------------------------------------------------------- WHOIS texts

JPRS_HEADER = """\
[ JPRS database provides information on network administration. Its use is    ]
[ restricted to network administration purposes. For further information,     ]
[ use 'whois -h whois.jprs.jp help'. To suppress Japanese output, add'/e'     ]
[ at the end of command, e.g. 'whois -h whois.jprs.jp xxx/e'.                 ]

"""
JPRS_NO_MATCH = (
    JPRS_HEADER
    + """\
No match!!

With JPRS WHOIS, you can query the following domain name information
sponsored by JPRS.
    - All of registered JP domain name
    - gTLD domain name of which sponsoring registrar is JPRS
Detail: http://jprs.jp/about/dom-search/jprs-whois/ (only in Japanese)

"""
)
GTLD_LIMITED = "WHOIS LIMIT EXCEEDED - SEE WWW.PIR.ORG/WHOIS FOR DETAILS\r\n"


def jprs_general(name: str, expires: str, *, state: str = "Active", english: bool = True) -> str:
    """A general .jp name (example.jp)."""
    if english:
        return (
            JPRS_HEADER
            + f"""\
Domain Information:
[Domain Name]                   {name.upper()}

[Registrant]                    Test Dental Clinic

[Name Server]                   ns1.host.example
[Name Server]                   ns2.host.example
[Signing Key]

[Created on]                    2009/05/11
[Expires on]                    {expires}
[Status]                        {state}
[Last Updated]                  2026/03/01 01:05:09 (JST)

Contact Information:
[Name]                          Test Registrar
[Email]                         contact@registrar.example
[Phone]                         03-0000-0000

"""
        )
    return (
        JPRS_HEADER
        + f"""\
Domain Information: [ドメイン情報]
[Domain Name]                   {name.upper()}

[登録者名]                      てすと歯科
[Registrant]                    Test Dental Clinic

[Name Server]                   ns1.host.example
[Name Server]                   ns2.host.example
[Signing Key]

[登録年月日]                    2009/05/11
[有効期限]                      {expires}
[状態]                          {state}
[最終更新]                      2026/03/01 01:05:09 (JST)

Contact Information: [公開連絡窓口]
[名前]                          テストレジストラ
[Name]                          Test Registrar
[郵便番号]                      150-0002

"""
    )


def jprs_organisation(name: str, state: str, *, english: bool = True) -> str:
    """An organisational name (example.co.jp): no expiry field, the date stands behind the state."""
    if english:
        return (
            JPRS_HEADER
            + f"""\
Domain Information:
a. [Domain Name]                {name.upper()}
g. [Organization]               Test Works Corporation
l. [Organization Type]          Corporation
m. [Administrative Contact]     XX0000JP
n. [Technical Contact]          XX0000JP
p. [Name Server]                ns1.host.example
p. [Name Server]                ns2.host.example
s. [Signing Key]
[State]                         {state}
[Registered Date]               2000/11/17
[Connected Date]                2000/11/17
[Last Update]                   2026/02/27 10:26:20 (JST)

"""
        )
    return (
        JPRS_HEADER
        + f"""\
Domain Information: [ドメイン情報]
a. [ドメイン名]                 {name.upper()}
e. [そしきめい]                 てすとこうぎょう かぶしきがいしゃ
f. [組織名]                     てすと工業株式会社
g. [Organization]               Test Works Corporation
k. [組織種別]                   株式会社
l. [Organization Type]          Corporation
m. [登録担当者]                 XX0000JP
n. [技術連絡担当者]             XX0000JP
p. [ネームサーバ]               ns1.host.example
p. [ネームサーバ]               ns2.host.example
s. [署名鍵]
[状態]                          {state}
[登録年月日]                    2000/11/17
[接続年月日]                    2000/11/17
[最終更新]                      2026/02/27 10:26:20 (JST)

"""
    )


def gtld(name: str, expires: str, *, status: str = "clientTransferProhibited") -> str:
    return f"""\
   Domain Name: {name.upper()}\r
   Registry Domain ID: 1775445745_DOMAIN_COM-VRSN\r
   Registrar WHOIS Server: whois.registrar.example\r
   Updated Date: 2025-06-13T18:08:24Z\r
   Creation Date: 2013-01-22T23:01:00Z\r
   Registry Expiry Date: {expires}\r
   Registrar: Test Registrar\r
   Domain Status: {status} https://icann.org/epp#{status}\r
   Name Server: NS1.HOST.EXAMPLE\r
>>> Last update of whois database: 2026-11-06T10:10:03Z <<<\r
\r
NOTICE: The expiration date displayed in this record is the date the\r
registrar's sponsorship of the domain name registration in the registry is\r
currently set to expire.\r
"""


# ---------------------------------------------------------------- WHOIS server

Speech = str | Callable[[asyncio.StreamWriter], Awaitable[None]]


async def hang(_: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.Event().wait()


async def never_end(writer: asyncio.StreamWriter) -> None:
    """Answers for ever."""
    while True:
        writer.write(b"% terms of use, continued on the next line\r\n" * 100)
        await writer.drain()


async def hang_up(_: asyncio.StreamWriter) -> None:
    """Closes without a word."""


@dataclass
class Whois:
    """What each question is answered with; `questions` as they came, `together` the most that were open at once."""

    port: int = 0
    answers: dict[str, Speech] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)
    together: int = 0
    no_match: str = JPRS_NO_MATCH

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def whois(answers: dict[str, Speech]) -> AsyncIterator[Whois]:
    state = Whois(answers=answers)
    open_now = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        state.together = max(state.together, open_now)
        try:
            question = (await reader.readuntil(b"\r\n")).decode().strip()
            state.questions.append(question)
            speech = state.answers.get(question, state.no_match)
            if isinstance(speech, str):
                writer.write(speech.encode())
                await writer.drain()
                writer.write_eof()
                await reader.read()
            else:
                await speech(writer)
        finally:
            open_now -= 1

    async with listening(talk) as state.port:
        yield state


# ---------------------------------------------------------------- RDAP


def rdap_domain(name: str, expires: str | None, *, status: tuple[str, ...] = ("active",)) -> dict[str, Any]:
    """A domain as RFC 9083 has it, with the registrar's own date and related link as gTLDs send them."""
    events = [
        {"eventAction": "registration", "eventDate": "2013-01-22T23:01:00Z"},
        {"eventAction": "last update of RDAP database", "eventDate": "2026-11-06T10:10:03Z"},
        {"eventAction": "registrar expiration", "eventDate": "2031-01-01T00:00:00Z"},
    ]
    if expires is not None:
        events.insert(1, {"eventAction": "expiration", "eventDate": expires})
    else:
        events = events[:2]
    return {
        "objectClassName": "domain",
        "handle": "1775445745_DOMAIN_COM-VRSN",
        "ldhName": name.upper(),
        "status": list(status),
        "events": events,
        "links": [{"rel": "related", "href": "https://rdap.registrar.invalid/", "type": "application/rdap+json"}],
        "rdapConformance": ["rdap_level_0"],
    }


def rdap_json(data: Any, status: int = 200) -> Handler:
    return answer(json.dumps(data), status=status, content_type="application/rdap+json")


@asynccontextmanager
async def rdap(tlds: list[str], domains: dict[str, Handler]) -> AsyncIterator[Served]:
    """`/dns.json` is a bootstrap (RFC 9224) that names this server for `tlds`; `/domain/NAME` as `domains` say."""

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path == "/dns.json":
            services = [[tlds, [f"http://127.0.0.1:{served.port}/"]]]
            reply = rdap_json({"version": "1.0", "publication": "2026-11-01T00:00:00Z", "services": services})
        else:
            missing = rdap_json({"errorCode": 404, "title": "Not Found"}, 404)
            reply = domains.get(request.path.removeprefix("/domain/"), missing)
        await reply(request, writer)

    async with http(handle) as served:
        yield served
