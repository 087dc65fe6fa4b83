"""`calendar` and `renew` on a machine of its own: what is kept, what is refused, what confirms."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import icalendar
import pytest

from tests.backends import registry_servers
from tests.backends.test_domains import NOWHERE
from tests.backends.web_servers import DAY, Authority, answer, http
from tests.operations.program import Program

SITE = """
name = "kogyo.example"
url = "https://www.kogyo.example/"
owner = "duty A"
[ssh]
host = "sv1.example"
user = "kogyo"
[server]
root = "~/www"
[[renewals]]
what = "server plan"
due = {due}
"""


@pytest.fixture
def machine(tmp_path: Path) -> Program:
    made = Program(tmp_path / "config", tmp_path / "state")
    (made.config / "sites.d").mkdir(parents=True)
    made.write_fleet({"fleet": {"timezone": "Asia/Tokyo", "name": "Agency"}})
    write(made, dt.datetime.now(dt.UTC).date() + dt.timedelta(days=40))
    return made


def write(machine: Program, due: dt.date, more: str = "") -> None:
    (machine.config / "sites.d" / "kogyo.example.toml").write_text(SITE.format(due=due) + more)


def test_a_person_confirms_with_evidence_and_only_so(machine: Program) -> None:
    refused = machine("renew", "kogyo.example", "server plan", "--state", "confirmed", "--json", code=2)
    assert refused.error["code"] == "no_evidence"
    assert machine("calendar", "--json").json["expiries"][0]["state"] == "open"
    machine("renew", "kogyo.example", "server plan", "--state", "ordered")
    words = ("renew", "kogyo.example", "server plan", "--state", "confirmed", "--evidence", "invoice \x1b[31m12")
    assert "\x1b" not in machine(*words).out
    (one,) = machine("calendar", "--json").json["expiries"]
    assert (one["state"], one["evidence"], one["owner"], one["reminder"]) == (
        "confirmed", "invoice \\x1b[31m12", "duty A", None,
    )  # fmt: skip
    assert "@" in one["who"]
    write(machine, dt.datetime.now(dt.UTC).date() + dt.timedelta(days=80))  # the next period is another one
    assert machine("calendar", "--json").json["expiries"][0]["state"] == "open"


def test_what_is_not_there_and_who_may_not_write_are_told(machine: Program) -> None:
    unknown = machine("renew", "kogyo.example", "licence", "--json", code=2)
    assert unknown.error["code"] == "renewal_unknown"
    assert "server plan" in unknown.error["message"]
    words = ("renew", "kogyo.example", "server plan", "--state", "paid", "--read-only", "--json")
    assert machine(*words, code=2).error["code"] == "read_only"
    assert machine("renew", "kogyo.example", "server plan", "--json").json["expiry"]["state"] == "open"


def test_a_date_that_nobody_knows_is_asked_for_and_the_file_is_written_whole(machine: Program, tmp_path: Path) -> None:
    target = tmp_path / "out.ics"
    told = machine("calendar", "--ics", str(target))
    assert "? kogyo.example: its domain was not looked at yet" in told.out
    read = icalendar.Calendar.from_ical(target.read_bytes())
    assert [str(event["SUMMARY"]) for event in read.walk("VEVENT")] == ["kogyo.example: server plan"]
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".new")] == []
    nowhere = machine("calendar", "--ics", str(tmp_path / "none" / "out.ics"), "--json", code=1)
    assert nowhere.error["code"] == "ics_unwritable"


def test_a_file_that_confirms_without_evidence_or_names_one_twice_is_refused(machine: Program) -> None:
    again = '[[renewals]]\nwhat = "server plan"\ndue = 2027-01-01\nstate = "confirmed"\n'
    write(machine, dt.date(2027, 4, 30), again)
    told = machine("calendar", code=2).err
    assert "renewals[2].what" in told
    assert "renewals[2].state: confirmed wants evidence" in told


async def test_a_later_date_of_the_registry_confirms_what_was_ordered(machine: Program, tmp_path: Path) -> None:
    ends = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=40)
    renewed = ends + dt.timedelta(days=365)
    write(machine, ends, f"[domain]\nexpires = {ends}\n")
    (tmp_path / "rdap.json").write_text(NOWHERE)
    text = f"Domain Name: KOGYO.EXAMPLE\r\nRegistry Expiry Date: {renewed}T00:00:00Z\r\n"
    async with registry_servers.whois({"kogyo.example": text}) as server:
        domains = {"rdap_bootstrap": str(tmp_path / "rdap.json"), "whois": {"example": server.address}}
        machine.write_fleet({"domains": domains})
        words = ("renew", "kogyo.example", "domain", "--json")
        await asyncio.to_thread(machine, *words, "--state", "ordered")
        told = (await asyncio.to_thread(machine, *words)).json
        assert told["confirmed"]["who"] == "whois"
        assert told["confirmed"]["expires"] == ends.isoformat()
        assert (told["expiry"]["expires"], told["expiry"]["state"]) == (renewed.isoformat(), "open")
        again = (await asyncio.to_thread(machine, *words)).json
        assert again["confirmed"] is None


async def test_only_a_certificate_that_browsers_take_confirms_and_a_silent_server_hides_no_date(
    machine: Program, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    ends = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=40)
    words = ("renew", "kogyo.example", "certificate", "--json")

    async def served(name: str, days: int) -> dict[str, Any]:
        async with http(answer("ok"), context=authority.context(authority.leaf(name, left=days * DAY))) as server:
            write(machine, ends, f'[web]\nconnect = "{server.connect}"\nca_file = "{authority.root_file}"\n')
            told: dict[str, Any] = (await asyncio.to_thread(machine, *words)).json
            return told

    first = await served("www.kogyo.example", 5)
    assert first["confirmed"] is None
    await asyncio.to_thread(machine, *words, "--state", "ordered")
    assert (await served("other.example", 60))["confirmed"] is None
    sound = await served("www.kogyo.example", 80)
    assert sound["confirmed"]["who"] == "certificate"
    assert sound["confirmed"]["expires"] == first["expiry"]["expires"]
    silent = (await asyncio.to_thread(machine, *words)).json  # nobody listens there any more
    assert silent["confirmed"] is None
    assert silent["expiry"]["expires"] == sound["expiry"]["expires"]
