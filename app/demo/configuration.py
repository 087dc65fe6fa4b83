"""The configuration folder of the demo, written as a person would write it (DESIGN 6): what the program then reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w
from msgspec import Struct

from app.demo.cast import PEOPLE, Character, Condition


class Wiring(Struct, frozen=True, kw_only=True):
    """Where the demo's servers listen, and what the client needs to trust them."""

    ssh_port: int
    https_port: int
    closed_port: int
    """Nothing listens there."""
    whois_port: int
    key_file: Path
    host_key: str
    ca_file: Path
    bootstrap_file: Path
    feed_file: Path


def write(folder: Path, characters: Sequence[Character], wiring: Wiring, language: str) -> None:
    (folder / "sites.d").mkdir(parents=True)
    (folder / "hosts.d").mkdir()
    _write(folder / "fleet.toml", _fleet(wiring, language))
    _write(folder / "hosts.d" / "127.0.0.1.toml", _host(language))
    for character in characters:
        _write(folder / "sites.d" / f"{character.name}.toml", _site(character, wiring, language))


def _write(path: Path, table: dict[str, Any]) -> None:
    path.write_text(tomli_w.dumps(table), encoding="utf-8")


def _person(number: int, language: str) -> str:
    japanese, english, _ = PEOPLE[number]
    return japanese if language == "ja" else english


def _fleet(wiring: Wiring, language: str) -> dict[str, Any]:
    people = [
        {"name": _person(number, language), "phone": phone, "deputy": _person((number + 1) % len(PEOPLE), language)}
        for number, (_, _, phone) in enumerate(PEOPLE)
    ]
    return {
        "fleet": {
            "name": "デモ制作会社" if language == "ja" else "Demo Web Agency",
            "timezone": "Asia/Tokyo",
            "language": language,
        },
        "domains": {
            "rdap_bootstrap": str(wiring.bootstrap_file),
            "whois": {"jp": f"127.0.0.1:{wiring.whois_port}"},
        },
        "updates": {"feed": str(wiring.feed_file)},
        "lifecycle": {"ask": False},
        "people": people,
    }


def _host(language: str) -> dict[str, Any]:
    japanese = language == "ja"
    return {
        "panel": "https://panel.host.example/",
        "status_page": "https://status.host.example/",
        "phone": "03-5555-0199",
        "hours": "平日 10:00–18:00" if japanese else "Mon–Fri 10:00–18:00 JST",
        "contract": "DEMO-0001",
        "panel_backups": "自動バックアップ 14 日分" if japanese else "14 daily copies",
    }


def _site(character: Character, wiring: Wiring, language: str) -> dict[str, Any]:
    port = wiring.closed_port if character.condition is Condition.REFUSED else wiring.https_port
    table: dict[str, Any] = {
        "name": character.name,
        "url": f"https://{character.host}/",
        "owner": _person(character.owner, language),
        "cover": character.cover,
        "tags": list(character.tags),
        "client": {"name": character.title(language)},
        "ssh": {
            "host": "127.0.0.1",
            "port": wiring.ssh_port,
            "user": character.user,
            "key": str(wiring.key_file),
            "host_key": wiring.host_key,
        },
        "server": {"root": character.root, "php": character.php_word},
        "web": {"connect": f"127.0.0.1:{port}", "ca_file": str(wiring.ca_file)},
    }
    if character.read_only:
        table["read_only"] = True
    return table
