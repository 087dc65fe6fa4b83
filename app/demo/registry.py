"""The demo's registries: RDAP over HTTP for `.example`, WHOIS in JPRS's format for `.jp` and `co.jp` (FACTS 5)."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Mapping
from http import HTTPStatus

from app.demo.cast import Character
from app.demo.domain import RDAP_PATH, expiry
from app.demo.listener import Listener
from app.demo.rendering import Page
from app.demo.web import HttpServer

_PATIENCE_S = 10.0


class Rdap(HttpServer):
    """Answers for the characters' `.example` domains; one whose registry publishes no date has no expiration event."""

    def __init__(self, characters: Mapping[str, Character], birth: dt.datetime) -> None:
        super().__init__(self._domain)
        self._characters, self._birth = characters, birth

    async def _domain(self, _host: str, target: str, _headers: Mapping[str, str], _address: str) -> Page:
        name = target.partition("?")[0].removeprefix(f"{RDAP_PATH}domain/").lower()
        character = self._characters.get(name)
        if character is None or not name.endswith(".example"):
            error = {"errorCode": 404, "title": "Not Found", "rdapConformance": ["rdap_level_0"]}
            return Page(HTTPStatus.NOT_FOUND, json.dumps(error).encode(), "application/rdap+json")
        events = [{"eventAction": "registration", "eventDate": "2016-04-01T00:00:00Z"}]
        if (end := expiry(character, self._birth)) is not None:
            events.append({"eventAction": "expiration", "eventDate": f"{end.isoformat()}T00:00:00Z"})
        answer = {
            "rdapConformance": ["rdap_level_0"],
            "objectClassName": "domain",
            "handle": f"DEMO-{character.number}",
            "ldhName": name,
            "status": ["active"],
            "events": events,
            "entities": [],
            "links": [],
        }
        return Page(HTTPStatus.OK, json.dumps(answer).encode(), "application/rdap+json")


class Whois(Listener):
    """Answers for the characters' `.jp` domains: `NAME/e` in English, `NAME` in Japanese."""

    def __init__(self, characters: Mapping[str, Character], birth: dt.datetime) -> None:
        super().__init__()
        self._characters, self._birth = characters, birth

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            line = (await reader.readuntil(b"\r\n")).decode("ascii", "replace").strip().lower()
            writer.write(self._whois_text(line.removesuffix("/e"), english=line.endswith("/e")).encode())
            await writer.drain()

    def _whois_text(self, name: str, *, english: bool) -> str:
        character = self._characters.get(name)
        if character is None or not name.endswith(".jp"):
            return "No match!!\r\n" if english else "該当するデータが見つかりません。\r\n"
        end = expiry(character, self._birth)
        date = f"{end:%Y/%m/%d}" if end else ""
        form = _organisation if name.endswith(".co.jp") else _general
        return "\r\n".join(
            [
                "[ JPRS database provides information on network administration. ]",
                "",
                *form(character, date, english),
                "",
            ]
        )


def _organisation(character: Character, date: str, english: bool) -> list[str]:
    """`co.jp` and the like have no expiry field: the date in brackets after the state is it."""
    if english:
        return [
            "Domain Information:",
            f"a. [Domain Name]                {character.domain.upper()}",
            f"g. [Organization]               {character.title_en}",
            "p. [Name Server]                ns1.host.example",
            f"[State]                         Connected ({date})",
            "[Registered Date]               2009/04/01",
            "[Connected Date]                2009/04/07",
            "[Last Update]                   2026/04/01 01:03:11 (JST)",
        ]
    return [
        "Domain Information: [ドメイン情報]",
        f"a. [ドメイン名]                 {character.domain.upper()}",
        f"f. [組織名]                     {character.title_ja}",
        "p. [ネームサーバ]               ns1.host.example",
        f"[状態]                          Connected ({date})",
        "[登録年月日]                    2009/04/01",
        "[接続年月日]                    2009/04/07",
        "[最終更新]                      2026/04/01 01:03:11 (JST)",
    ]


def _general(character: Character, date: str, english: bool) -> list[str]:
    if english:
        return [
            "Domain Information:",
            f"[Domain Name]                   {character.domain.upper()}",
            f"[Registrant]                    {character.title_en}",
            "[Name Server]                   ns1.host.example",
            "[Created on]                    2012/02/28",
            f"[Expires on]                    {date}",
            "[Status]                        Active",
            "[Last Updated]                  2026/03/01 01:05:08 (JST)",
        ]
    return [
        "Domain Information: [ドメイン情報]",
        f"[ドメイン名]                    {character.domain.upper()}",
        f"[登録者名]                      {character.title_ja}",
        "[ネームサーバ]                  ns1.host.example",
        "[登録年月日]                    2012/02/28",
        f"[有効期限]                      {date}",
        "[状態]                          Active",
        "[最終更新]                      2026/03/01 01:05:08 (JST)",
    ]
