"""Promises of `backends.domains`, against registries on loopback that speak as the real ones do."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends import whois
from backends.domains import MemoryCache, Registries, Turns, registrable, registration_state
from backends.records import Domain, DomainsSettings, State
from backends.registry import Answer, RegistryError, date_in
from tests.backends import registry_servers as servers
from tests.backends.web_servers import Served, answer, bomb, by_path, endless, http, redirect, stalling

NOW = dt.datetime(2026, 11, 23, 2, 15, tzinfo=dt.UTC)
NOWHERE = json.dumps({"services": [[["test"], ["http://127.0.0.1:1/"]]]})


@pytest.fixture
def no_rdap(tmp_path: Path) -> str:
    """A bootstrap that knows no TLD of these tests."""
    file = tmp_path / "bootstrap.json"
    file.write_text(NOWHERE)
    return str(file)


def registries(
    rdap_bootstrap: str, at: dict[str, str] | None = None, *, timeout: float = 5.0, cache: MemoryCache | None = None
) -> Registries:
    settings = DomainsSettings(rdap_bootstrap=rdap_bootstrap, whois=at or {})
    return Registries(settings, cache=cache, timeout=timeout, whois_gap=0, rdap_gap=0)


async def by_whois(
    no_rdap: str, host: str, speech: servers.Speech, *, manual: dt.date | None = None, timeout: float = 5.0
) -> Domain:
    name = registrable(host) or ""
    question = f"{name}/e" if name.endswith(".jp") else name
    async with servers.whois({question: speech}) as server:
        known = registries(no_rdap, {name.rpartition(".")[2]: server.address}, timeout=timeout)
        return await known.expiry(host, manual=manual, now=NOW)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("www.example.co.jp", "example.co.jp"),
        ("example.co.jp", "example.co.jp"),
        ("WWW.Example.JP.", "example.jp"),
        ("a.b.tokyo.jp", "b.tokyo.jp"),
        ("www.city.kawasaki.jp", "city.kawasaki.jp"),
        ("www.日本語.jp", "日本語.jp"),
        ("www.xn--wgv71a119e.jp", "xn--wgv71a119e.jp"),
        ("blog.someone.github.io", "github.io"),  # whose registration ends is GitHub's
        ("shika.example", "shika.example"),
        ("co.jp", None),
        ("localhost", None),
        ("127.0.0.1", None),
        ("[2001:db8::1]", None),
        ("2001:db8::1", None),
        ("a..jp", None),
        ("", None),
    ],
)
def test_the_registrable_domain_is_the_one_that_is_paid_for(host: str, name: str | None) -> None:
    assert registrable(host) == name


@pytest.mark.parametrize(
    ("days", "state"),
    [(60, State.OK), (59, State.WARNING), (14, State.WARNING), (13, State.CRITICAL), (-1, State.CRITICAL)],
)
def test_urgency_grows_as_the_end_comes_near(days: int, state: State) -> None:
    assert registration_state(NOW.date() + dt.timedelta(days=days), NOW) is state


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2027/02/28", dt.date(2027, 2, 28)),
        ("2027-02-28T23:59:59Z", dt.date(2027, 2, 28)),
        ("2027.02.28 10:00:00 (UTC+8)", dt.date(2027, 2, 28)),
        ("20270228", dt.date(2027, 2, 28)),
        ("28-Feb-2027", dt.date(2027, 2, 28)),
        ("28 February 2027", dt.date(2027, 2, 28)),
        ("28.2.2027 00:00:00", dt.date(2027, 2, 28)),
        ("02/03/2027", None),
        ("2027-02-30", None),
        ("next year", None),
        ("", None),
    ],
)
def test_a_date_is_read_or_left_alone_never_guessed(text: str, date: dt.date | None) -> None:
    assert date_in(text) == date


# ---------------------------------------------------------------- WHOIS: JPRS


@pytest.mark.parametrize("english", [True, False])
async def test_a_general_jp_domain_tells_its_date_in_both_languages(no_rdap: str, english: bool) -> None:
    seen = await by_whois(no_rdap, "www.example.jp", servers.jprs_general("example.jp", "2027/02/28", english=english))
    assert seen == Domain(
        name="example.jp",
        state=State.OK,
        expires=dt.date(2027, 2, 28),
        days_left=97,
        source="whois",
        checked_at=NOW,
    )


@pytest.mark.parametrize("english", [True, False])
@pytest.mark.parametrize("name", ["example.co.jp", "example.or.jp", "example.ne.jp", "example.ac.jp"])
async def test_an_organisational_jp_domain_tells_its_date_behind_its_state(
    no_rdap: str, name: str, english: bool
) -> None:
    text = servers.jprs_organisation(name, "Connected (2026/12/31)", english=english)
    seen = await by_whois(no_rdap, f"www.{name}", text)
    assert (seen.name, seen.state, seen.expires, seen.source) == (
        name,
        State.WARNING,
        dt.date(2026, 12, 31),
        "whois",
    )
    assert seen.problem is None


async def test_jprs_is_asked_in_english_with_the_name_as_dns_spells_it(no_rdap: str) -> None:
    async with servers.whois(
        {"xn--wgv71a119e.jp/e": servers.jprs_general("xn--wgv71a119e.jp", "2027/02/28")}
    ) as server:
        known = registries(no_rdap, {"jp": server.address})
        seen = await known.expiry("www.日本語.jp", now=NOW)
    assert server.questions == ["xn--wgv71a119e.jp/e"]
    assert (seen.name, seen.source) == ("日本語.jp", "whois")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (servers.jprs_general("example.jp", "2027/02/28", state="Suspended"), "its registry says: Suspended"),
        (
            servers.jprs_general("example.jp", "2027/02/28", state="To be suspended"),
            "its registry says: To be suspended",
        ),
    ],
)
async def test_a_suspended_domain_is_critical_whatever_its_date(no_rdap: str, text: str, problem: str) -> None:
    seen = await by_whois(no_rdap, "example.jp", text)
    assert (seen.state, seen.problem, seen.expires) == (State.CRITICAL, problem, dt.date(2027, 2, 28))


async def test_the_date_of_a_deleted_organisational_domain_is_no_expiry(no_rdap: str) -> None:
    text = servers.jprs_organisation("example.co.jp", "Deleted (2027/01/31)")
    seen = await by_whois(no_rdap, "example.co.jp", text)
    assert (seen.state, seen.expires) == (State.CRITICAL, None)
    assert (seen.problem or "").startswith("its registry says: Deleted (2027/01/31)")


async def test_a_domain_that_its_registry_does_not_know_is_critical(no_rdap: str) -> None:
    seen = await by_whois(no_rdap, "example.jp", servers.JPRS_NO_MATCH, manual=dt.date(2028, 1, 1))
    assert (seen.state, seen.source, seen.expires) == (State.CRITICAL, "whois", None)
    assert seen.problem == "not registered: its registry knows no such domain"


# ---------------------------------------------------------------- WHOIS: others, and faults


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        (servers.gtld("example.com", "2027-05-01T04:00:00Z"), dt.date(2027, 5, 1)),
        ("domain.............: example.com\nstatus.............: Registered\nexpires............: 1.5.2027 00:00:00\n",
         dt.date(2027, 5, 1)),
        ("domain: EXAMPLE.COM\nstate: REGISTERED, DELEGATED\npaid-till: 2027-05-01T21:00:00Z\n", dt.date(2027, 5, 1)),
        ("Domain name: example.com\n  Expiry date:  01-May-2027\n", dt.date(2027, 5, 1)),
        (
            "Domain Name: x\nRegistrar Registration Expiration Date: 2030-01-01\nRegistry Expiry Date: 2027-05-01\n",
            dt.date(2027, 5, 1),
        ),
    ],
)  # fmt: skip
async def test_the_usual_labels_are_understood(no_rdap: str, text: str, expires: dt.date) -> None:
    seen = await by_whois(no_rdap, "example.com", text)
    assert (seen.source, seen.expires) == ("whois", expires)


async def test_a_registry_that_publishes_no_date_leaves_it_unknown_and_asks_for_one(no_rdap: str) -> None:
    text = "Domain: example.de\nNserver: ns1.host.example\nStatus: connect\nChanged: 2024-05-01T00:00:00+02:00\n"
    seen = await by_whois(no_rdap, "example.de", text)
    assert (seen.state, seen.source, seen.expires, seen.days_left) == (State.UNKNOWN, "unknown", None, None)
    assert seen.problem == "no expiry date is known: enter it in the site's file as [domain] expires"
    by_hand = await by_whois(no_rdap, "example.de", text, manual=dt.date(2027, 3, 31))
    assert (by_hand.state, by_hand.source, by_hand.days_left) == (State.OK, "manual", 128)
    assert by_hand.problem is None


async def test_a_registry_on_hold_is_critical(no_rdap: str) -> None:
    seen = await by_whois(no_rdap, "example.com", servers.gtld("example.com", "2027-05-01", status="clientHold"))
    assert (seen.state, seen.problem) == (State.CRITICAL, "its registry says: clientHold")


@pytest.mark.parametrize(
    ("speech", "problem"),
    [
        (servers.GTLD_LIMITED, "its WHOIS server refuses more questions for now (rate limit)"),
        ("検索回数の制限を超えました。\n", "its WHOIS server refuses more questions for now (rate limit)"),
        (servers.hang, "WHOIS: no complete answer within 0.2 s from 127.0.0.1:"),
        (servers.hang_up, "its WHOIS server answered nothing about example.com"),
        (servers.never_end, "its WHOIS server answered nothing about example.com"),
        ("\x1b]52;c;ZXZpbA==\x07\n", r"its WHOIS server answered nothing about example.com: \x1b]52;c;"),
        ("\x00" * 70_000, "its WHOIS server answered nothing about example.com"),
        ("%\n" * 30_000, "its WHOIS server answered nothing about example.com"),
    ],
    ids=["rate limit", "rate limit in Japanese", "hang", "hang up", "endless", "escapes", "zeros", "comments"],
)
async def test_a_registry_that_fails_leaves_the_date_unknown_and_says_why(
    no_rdap: str, speech: servers.Speech, problem: str
) -> None:
    seen = await by_whois(no_rdap, "example.com", speech, timeout=0.2)
    assert (seen.state, seen.source, seen.expires) == (State.UNKNOWN, "unknown", None)
    assert problem in (seen.problem or "")
    assert "\x1b" not in (seen.problem or "")
    by_hand = await by_whois(no_rdap, "example.com", speech, timeout=0.2, manual=dt.date(2026, 12, 1))
    assert (by_hand.state, by_hand.source) == (State.CRITICAL, "manual")
    assert problem in (by_hand.problem or "")


async def test_a_wrong_server_address_is_told_not_raised(no_rdap: str) -> None:
    for server in ("", "host:99999", "a b", "127.0.0.1:1"):
        seen = await registries(no_rdap, {"com": server}).expiry("example.com", now=NOW)
        assert seen.state is State.UNKNOWN
        assert seen.problem is not None


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("whois.jprs.jp", ("whois.jprs.jp", 43)),
        ("127.0.0.1:4343", ("127.0.0.1", 4343)),
        ("[::1]:43", ("::1", 43)),
        ("[::1]", ("::1", 43)),
    ],
)
def test_whois_servers_are_named_as_people_write_them(server: str, address: tuple[str, int]) -> None:
    assert whois.server_address(server) == address


# ---------------------------------------------------------------- RDAP


async def by_rdap(handler: Any, host: str = "www.example.com", **settings: Any) -> tuple[Domain, Served]:
    async with servers.rdap(["com"], {"example.com": handler}) as server:
        known = registries(f"http://{server.connect}/dns.json", **settings)
        return await known.expiry(host, now=NOW), server


async def test_a_gtld_is_asked_over_rdap_at_the_server_that_the_bootstrap_names() -> None:
    handler = servers.rdap_json(servers.rdap_domain("example.com", "2027-05-01T04:00:00Z"))
    seen, server = await by_rdap(handler)
    assert seen == Domain(
        name="example.com",
        state=State.OK,
        expires=dt.date(2027, 5, 1),
        days_left=159,
        source="rdap",
        checked_at=NOW,
    )
    assert [request.path for request in server.requests] == ["/dns.json", "/domain/example.com"]


async def test_a_bootstrap_may_be_a_file_and_may_hold_all_five_registries(tmp_path: Path) -> None:
    handler = servers.rdap_json(servers.rdap_domain("example.com", "2027-05-01T04:00:00Z"))
    async with servers.rdap(["com"], {"example.com": handler}) as server:
        dns = {"services": [[["com"], [f"http://{server.connect}/"]]]}
        numbers = {"services": [[["64496-64511"], ["https://rdap.invalid/"]]]}
        four = {"services": [[["192.0.2.0/24"], ["https://rdap.invalid/"]]]}
        six = {"services": [[["2001:db8::/32"], ["https://rdap.invalid/"]]]}
        file = tmp_path / "bootstrap.json"
        file.write_text(
            json.dumps({"timestamp": 1, "dns": dns, "asn": numbers, "ipv4": four, "ipv6": six, "object": numbers})
        )
        seen = await registries(str(file)).expiry("example.com", now=NOW)
    assert (seen.source, seen.expires) == ("rdap", dt.date(2027, 5, 1))


async def test_the_registrars_date_counts_only_where_the_registry_has_none() -> None:
    data = servers.rdap_domain("example.com", "2027-05-01T04:00:00Z")
    data["events"].reverse()
    assert (await by_rdap(servers.rdap_json(data)))[0].expires == dt.date(2027, 5, 1)


async def test_a_domain_in_redemption_is_critical() -> None:
    data = servers.rdap_domain("example.com", "2027-05-01T04:00:00Z", status=("redemption period", "\x1b[2J hold"))
    seen, _ = await by_rdap(servers.rdap_json(data))
    assert (seen.state, seen.problem) == (State.CRITICAL, "its registry says: redemption period")


async def test_a_name_without_registration_is_critical() -> None:
    seen, _ = await by_rdap(servers.rdap_json({"errorCode": 404}, 404))
    assert (seen.state, seen.source) == (State.CRITICAL, "rdap")
    assert seen.problem == "not registered: its registry knows no such domain"


async def test_whois_fills_in_where_rdap_tells_no_date() -> None:
    rdap = {"example.com": servers.rdap_json(servers.rdap_domain("example.com", None))}
    texts: dict[str, servers.Speech] = {"example.com": servers.gtld("example.com", "2027-05-01")}
    async with servers.rdap(["com"], rdap) as first, servers.whois(texts) as second:
        known = registries(f"http://{first.connect}/dns.json", {"com": second.address})
        seen = await known.expiry("example.com", now=NOW)
    assert (seen.source, seen.expires, seen.problem) == ("whois", dt.date(2027, 5, 1), None)


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (servers.rdap_json({}, 429), "refuses more questions for now (status 429)"),
        (servers.rdap_json({}, 500), "gave no answer: status 500"),
        (answer("<html>", content_type="text/html"), "gave no answer: "),
        (servers.rdap_json([1]), "answered with something that is no domain"),
        (servers.rdap_json("text"), "answered with something that is no domain"),
        (servers.rdap_json(servers.rdap_domain("other.com", "2027-05-01")), "about another name: OTHER.COM"),
        (answer("[" * 100_000, content_type="application/json"), "nested too deep"),
        (redirect("/domain/example.com"), "gave no answer: "),
        (stalling(b"HTTP/1.1 200 OK\r\n"), "no complete answer within 0.3 s"),
        (endless(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 10_000), "longer than 512 KiB"),
        (endless(b"HTTP/1.1 200 OK\r\n", b"X-Header: 1\r\n" * 100), "gave no answer: "),
        (bomb(1), "answers in an encoding that was not offered"),
    ],
    ids=["429", "500", "html", "list", "string", "other name", "deep", "loop", "slow", "endless", "headers", "bomb"],
)  # fmt: skip
async def test_an_rdap_server_that_fails_leaves_the_date_unknown_and_says_why(handler: Any, problem: str) -> None:
    seen, _ = await by_rdap(handler, timeout=0.3 if "0.3" in problem else 5.0)
    assert (seen.state, seen.source) == (State.UNKNOWN, "unknown")
    assert problem in (seen.problem or "")
    assert "enter it in the site's file" in (seen.problem or "")


@pytest.mark.parametrize(
    "data",
    [
        {"objectClassName": "domain", "ldhName": "example.com", "events": 7, "status": "x"},
        {"objectClassName": "domain", "ldhName": "example.com", "events": [1, {"eventAction": 3}, {"eventDate": []}]},
        {"ldhName": 5, "events": [{"eventAction": "expiration", "eventDate": "soon"}], "status": [{}, None]},
    ],
)
async def test_an_rdap_answer_of_odd_shape_tells_no_date(data: Any) -> None:
    seen, _ = await by_rdap(servers.rdap_json(data))
    assert (seen.state, seen.expires) == (State.UNKNOWN, None)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, '{"services": 1}', '{"services": []}', '{"dns": {}}', '"x"']
)
async def test_a_broken_bootstrap_is_told_and_stops_no_whois(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bootstrap.json"
    file.write_text(text)
    seen = await registries(str(file)).expiry("example.com", now=NOW)
    assert seen.state is State.UNKNOWN
    assert (seen.problem or "").startswith("the RDAP bootstrap cannot be read: ")
    seen = await by_whois(str(file), "example.jp", servers.jprs_general("example.jp", "2027/02/28"))
    assert (seen.source, seen.problem) == ("whois", None)


async def test_a_missing_bootstrap_is_told(tmp_path: Path) -> None:
    seen = await registries(str(tmp_path / "none.json")).expiry("example.com", now=NOW)
    assert "cannot be read: No such file or directory" in (seen.problem or "")
    seen = await registries("http://127.0.0.1:1/dns.json").expiry("example.com", now=NOW)
    assert "connection refused at http://127.0.0.1:1/dns.json" in (seen.problem or "")


async def test_a_host_in_no_domain_is_unknown(no_rdap: str) -> None:
    seen = await registries(no_rdap).expiry("127.0.0.1", now=NOW)
    assert (seen.state, seen.problem) == (State.UNKNOWN, "127.0.0.1 lies in no registrable domain")


# ---------------------------------------------------------------- values that do not flip


async def test_the_registry_wins_over_the_date_in_the_sites_file_and_says_so(no_rdap: str) -> None:
    text = servers.jprs_general("example.jp", "2027/02/28")
    seen = await by_whois(no_rdap, "example.jp", text, manual=dt.date(2028, 2, 28))
    assert (seen.source, seen.expires) == ("whois", dt.date(2027, 2, 28))
    assert seen.problem == "the site's file says 2028-02-28, its registry 2027-02-28"
    same = await by_whois(no_rdap, "example.jp", text, manual=dt.date(2027, 2, 28))
    assert same.problem is None


async def test_an_answer_is_kept_for_a_day_and_over_a_restart(no_rdap: str) -> None:
    cache = MemoryCache()
    async with servers.whois({"example.jp/e": servers.jprs_general("example.jp", "2027/02/28")}) as server:
        for hours in (0, 1, 23):
            known = registries(no_rdap, {"jp": server.address}, cache=cache)  # a new process each time
            seen = await known.expiry("www.example.jp", now=NOW + dt.timedelta(hours=hours))
            assert (seen.expires, seen.checked_at) == (dt.date(2027, 2, 28), NOW)
        assert len(server.questions) == 1
        seen = await known.expiry("example.jp", now=NOW + dt.timedelta(hours=24))
        assert seen.checked_at == NOW + dt.timedelta(hours=24)
        assert len(server.questions) == 2


async def test_an_older_answer_stands_in_while_the_registry_fails_and_tells_its_age(no_rdap: str) -> None:
    async with servers.whois({"example.jp/e": servers.jprs_general("example.jp", "2027/02/28")}) as server:
        known = registries(no_rdap, {"jp": server.address})
        await known.expiry("example.jp", now=NOW)
        server.answers["example.jp/e"] = servers.GTLD_LIMITED
        later = NOW + dt.timedelta(days=2)
        seen = await known.expiry("example.jp", now=later, manual=dt.date(2030, 1, 1))
    assert (seen.source, seen.expires, seen.checked_at) == ("whois", dt.date(2027, 2, 28), NOW)
    assert seen.days_left == 95
    assert "(rate limit); this is what it said on 2026-11-23" in (seen.problem or "")


async def test_a_date_that_changes_with_its_source_is_noted(no_rdap: str) -> None:
    cache = MemoryCache()
    old = Answer(source="rdap", expires=dt.date(2027, 1, 1))
    await cache.set("registration:example.jp", msgspec.json.encode(old).decode(), NOW - dt.timedelta(days=3))
    async with servers.whois({"example.jp/e": servers.jprs_general("example.jp", "2027/02/28")}) as server:
        seen = await registries(no_rdap, {"jp": server.address}, cache=cache).expiry("example.jp", now=NOW)
    assert (seen.source, seen.problem) == ("whois", "rdap said 2027-01-01 before")


async def test_a_cache_written_by_another_version_is_asked_anew(no_rdap: str) -> None:
    cache = MemoryCache()
    for key in ("registration:example.jp", "rest:127.0.0.1"):
        await cache.set(key, '{"what": 1}', NOW)
    async with servers.whois({"example.jp/e": servers.jprs_general("example.jp", "2027/02/28")}) as server:
        await cache.set(f"rest:{server.address}", "broken", NOW)
        seen = await registries(no_rdap, {"jp": server.address}, cache=cache).expiry("example.jp", now=NOW)
    assert seen.source == "whois"


# ---------------------------------------------------------------- manners


async def test_a_registry_is_asked_one_question_at_a_time_and_once_a_name(no_rdap: str) -> None:
    texts: dict[str, servers.Speech] = {
        f"site{i}.jp/e": servers.jprs_general(f"site{i}.jp", "2027/02/28") for i in range(10)
    }
    async with servers.whois(texts) as server:
        known = registries(no_rdap, {"jp": server.address})
        hosts = [f"{sub}.site{i}.jp" for i in range(10) for sub in ("www", "shop")]
        seen = await asyncio.gather(*(known.expiry(host, now=NOW) for host in hosts))
    assert {domain.source for domain in seen} == {"whois"}
    assert server.together == 1
    assert sorted(server.questions) == sorted(texts)


async def test_a_gap_lies_between_two_questions_to_one_server() -> None:
    clock, slept = [100.0], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    turns = Turns(clock=lambda: clock[0], sleep=sleep)
    for server in ("a", "a", "b", "a"):
        async with turns.turn(server, 5.0, None):
            clock[0] += 1.0
    assert slept == [5.0, 4.0]  # b's question took one of a's five seconds


async def test_impatience_is_told_and_costs_nobody_else_the_turn() -> None:
    turns = Turns(clock=lambda: 0.0)
    async with turns.turn("a", 5.0, None):
        with pytest.raises(RegistryError, match="one question at a time"):
            async with turns.turn("a", 5.0, 0.0):
                raise AssertionError("it was not its turn")
    with pytest.raises(RegistryError, match="one question at a time"):
        async with turns.turn("a", 5.0, 1.0):  # free, but its gap is longer than the patience
            raise AssertionError("it was not its turn")
    async with turns.turn("b", 5.0, 0.0):
        pass


async def test_a_registry_that_refuses_rests_for_an_hour_also_over_a_restart(no_rdap: str) -> None:
    cache = MemoryCache()
    async with servers.whois({"a.jp/e": servers.GTLD_LIMITED}) as server:
        server.answers["b.jp/e"] = servers.jprs_general("b.jp", "2027/02/28")
        at = {"jp": server.address}
        await registries(no_rdap, at, cache=cache).expiry("a.jp", now=NOW)
        resting = await registries(no_rdap, at, cache=cache).expiry("b.jp", now=NOW + dt.timedelta(minutes=59))
        assert resting.state is State.UNKNOWN
        assert "not asked again before 2026-11-23 03:15 UTC" in (resting.problem or "")
        assert server.questions == ["a.jp/e"]
        rested = await registries(no_rdap, at, cache=cache).expiry("b.jp", now=NOW + dt.timedelta(minutes=60))
        assert rested.source == "whois"


async def test_a_dead_registry_costs_one_time_out_not_one_a_site(no_rdap: str) -> None:
    async with servers.whois({f"site{i}.jp/e": servers.hang for i in range(20)}) as server:
        known = registries(no_rdap, {"jp": server.address}, timeout=0.1)
        seen = await asyncio.gather(*(known.expiry(f"site{i}.jp", now=NOW) for i in range(20)))
        assert len(server.questions) == 1
    assert all("no complete answer within 0.1 s" in (domain.problem or "") for domain in seen)


async def test_one_odd_answer_does_not_put_a_registry_to_rest(no_rdap: str) -> None:
    async with servers.whois({"a.jp/e": "???\n", "b.jp/e": servers.jprs_general("b.jp", "2027/02/28")}) as server:
        known = registries(no_rdap, {"jp": server.address})
        assert (await known.expiry("a.jp", now=NOW)).state is State.UNKNOWN
        assert (await known.expiry("b.jp", now=NOW)).source == "whois"


async def test_the_bootstrap_is_fetched_once_a_week_and_an_old_one_is_better_than_none() -> None:
    data = servers.rdap_json(servers.rdap_domain("example.com", "2027-05-01T04:00:00Z"))
    cache = MemoryCache()
    async with servers.rdap(["com"], {"example.com": data}) as server:
        source = f"http://{server.connect}/dns.json"
        for days in (0, 2, 6):
            await registries(source, cache=cache).expiry("example.com", now=NOW + dt.timedelta(days=days))
        assert [request.path for request in server.requests].count("/dns.json") == 1
    later = await registries(source, cache=cache).expiry("example.com", now=NOW + dt.timedelta(days=30))
    assert (later.source, later.expires) == ("rdap", dt.date(2027, 5, 1))
    assert "this is what it said on 2026-11-29" in (later.problem or "")


async def test_nothing_but_the_named_servers_is_asked_with_a_bootstrap_of_ones_own(no_rdap: str) -> None:
    seen = await registries(no_rdap).expiry("example.de", now=NOW)  # whoisit itself would know a server for .de
    assert seen.problem == "no expiry date is known: enter it in the site's file as [domain] expires"


async def test_two_fleets_with_different_bootstraps_do_not_mix() -> None:
    one = servers.rdap_json(servers.rdap_domain("example.com", "2027-05-01T04:00:00Z"))
    two = servers.rdap_json(servers.rdap_domain("example.com", "2028-05-01T04:00:00Z"))
    async with (
        servers.rdap(["com"], {"example.com": one}) as first,
        servers.rdap(["com"], {"example.com": two}) as second,
        http(by_path({})),
    ):
        seen = await asyncio.gather(
            *(registries(f"http://{s.connect}/dns.json").expiry("example.com", now=NOW) for s in (first, second) * 3)
        )
    assert [domain.expires for domain in seen] == [dt.date(2027, 5, 1), dt.date(2028, 5, 1)] * 3
