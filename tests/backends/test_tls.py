"""Promises of `backends.tls`, against real TLS servers with real chains."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from backends import tls
from backends.records import Certificate, State
from tests.backends.web_servers import DAY, Authority, Holder, answer, http, listening, stalling

NAME = "shika.example"
URL = f"https://{NAME}/"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


async def probe(authority: Authority, holder: Holder, url: str = URL, *, trusted: bool = True) -> Certificate:
    async with http(answer("ok"), context=authority.context(holder)) as served:
        return await tls.probe(url, connect=served.connect, ca_file=authority.root_file if trusted else None)


async def test_a_good_certificate_is_ok_and_names_its_issuer_names_and_end(authority: Authority) -> None:
    seen = await probe(authority, authority.leaf(NAME, f"www.{NAME}"))
    assert (seen.state, seen.problem) == (State.OK, None)
    assert seen.issuer == "R1 (Modoseru Test)"
    assert seen.names == (NAME, f"www.{NAME}")
    assert seen.days_left == 88  # whole days of the 89 that were left a moment ago
    assert seen.checked_at is not None
    assert seen.not_before is not None


async def test_leaf_and_chain_ends_stand_apart(authority: Authority) -> None:
    seen = await probe(authority, authority.leaf(NAME))
    assert seen.not_after is not None
    assert seen.chain_not_after == authority.intermediate.certificate.not_valid_after_utc
    assert seen.chain_not_after > seen.not_after


@pytest.mark.parametrize(("left", "state"), [(5, State.CRITICAL), (20, State.WARNING), (30, State.OK)])
async def test_urgency_is_a_share_of_the_lifetime(authority: Authority, left: int, state: State) -> None:
    seen = await probe(authority, authority.leaf(NAME, left=left * DAY))
    assert (seen.state, seen.problem) == (state, None)


@pytest.mark.parametrize(
    ("lifetime", "left", "state"),
    [
        (200, 50.5, State.OK),
        (200, 49, State.WARNING),
        (200, 20, State.CRITICAL),
        (47, 12, State.OK),
        (47, 11, State.WARNING),
        (47, 4.6, State.CRITICAL),
        (20, 3.1, State.WARNING),
        (20, 2.9, State.CRITICAL),  # 72 hours, more than a tenth
        (6, 3.1, State.OK),
        (6, 2.9, State.CRITICAL),
        (4, 2.1, State.OK),  # 72 hours are capped at half the lifetime
        (4, 1.9, State.CRITICAL),
        (90, -1, State.CRITICAL),
    ],
)
def test_thresholds_fit_lifetimes_of_days_and_of_months(lifetime: float, left: float, state: State) -> None:
    now = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    end = now + dt.timedelta(days=left)
    assert tls.lifetime_state(end - dt.timedelta(days=lifetime), end, now) is state


async def test_an_expired_certificate_is_critical(authority: Authority) -> None:
    seen = await probe(authority, authority.leaf(NAME, left=-3 * DAY))
    assert seen.state is State.CRITICAL
    assert seen.problem is not None
    assert seen.problem.startswith("expired: 20")
    assert seen.days_left == -4


async def test_a_certificate_that_is_not_yet_valid_is_critical(authority: Authority) -> None:
    seen = await probe(authority, authority.leaf(NAME, left=100 * DAY, lifetime=90 * DAY))
    assert seen.state is State.CRITICAL
    assert (seen.problem or "").startswith("not yet valid: from 20")


async def test_a_wrong_name_is_critical_and_says_whose_it_is(authority: Authority) -> None:
    seen = await probe(authority, authority.leaf("hosting.example", "www.hosting.example"))
    assert seen.state is State.CRITICAL
    assert seen.problem == f"wrong name: it is for hosting.example, www.hosting.example, not for {NAME}"


async def test_a_wildcard_covers_one_label_and_no_more(authority: Authority) -> None:
    wildcard = authority.leaf(f"*.{NAME}")
    assert (await probe(authority, wildcard, f"https://www.{NAME}/")).problem is None
    assert "wrong name" in ((await probe(authority, wildcard, f"https://a.www.{NAME}/")).problem or "")
    assert "wrong name" in ((await probe(authority, wildcard)).problem or "")


async def test_an_expired_certificate_with_a_wrong_name_has_both_problems(authority: Authority) -> None:
    seen = await probe(authority, authority.leaf("other.example", left=-DAY))
    assert seen.problem is not None
    assert "expired: " in seen.problem
    assert "wrong name: " in seen.problem


async def test_a_chain_without_its_intermediate_is_incomplete(authority: Authority) -> None:
    seen = await probe(authority, authority.leaf(NAME, chain=False))
    assert seen.state is State.CRITICAL
    assert seen.problem == "incomplete chain: its issuer R1 (Modoseru Test) is neither sent nor trusted"
    assert seen.days_left == 88  # what the leaf says is told all the same


async def test_a_self_signed_certificate_is_named_so(authority: Authority) -> None:
    seen = await probe(authority, authority.leaf(NAME, self_signed=True))
    assert (seen.state, seen.problem) == (State.CRITICAL, "self-signed")


async def test_an_issuer_that_nobody_trusts_is_unknown(authority: Authority) -> None:
    seen = await probe(authority, authority.leaf(NAME), trusted=False)
    assert (seen.state, seen.problem) == (State.CRITICAL, "unknown issuer: Modoseru Test Root")


async def test_an_expired_intermediate_is_not_taken_for_an_expired_leaf(tmp_path: Path) -> None:
    authority = Authority(tmp_path, intermediate_ends=-2 * DAY)
    seen = await probe(authority, authority.leaf(NAME))
    assert seen.state is State.CRITICAL
    assert (seen.problem or "").startswith("expired intermediate: 20")
    assert seen.days_left == 88


async def test_a_stray_expired_certificate_beside_a_good_path_is_no_problem(
    authority: Authority, tmp_path: Path
) -> None:
    stray = Authority(tmp_path, intermediate_ends=-2 * DAY)
    holder = authority.leaf(NAME)
    sent = Holder(holder.certificate, holder.key, (*holder.above, stray.intermediate.certificate))
    seen = await probe(authority, sent)
    assert (seen.state, seen.problem) == (State.OK, None)
    assert seen.chain_not_after == authority.intermediate.certificate.not_valid_after_utc


async def test_an_international_name_is_compared_as_dns_spells_it(authority: Authority) -> None:
    seen = await probe(authority, authority.leaf("xn--wgv71a119e.example"), "https://日本語.example/")
    assert (seen.state, seen.problem) == (State.OK, None)


# ---------------------------------------------------------------- hostile


async def test_escape_sequences_in_a_certificate_never_reach_the_screen(authority: Authority, tmp_path: Path) -> None:
    evil = authority._signed(
        "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202eEvil", authority.root, authority._now - DAY, authority._now + DAY, ca=True
    )
    seen = await probe(authority, authority.leaf(NAME, issuer=evil, chain=True))
    assert seen.issuer == r"\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202eEvil"
    unsent = await probe(authority, authority.leaf(NAME, issuer=evil, chain=False))
    assert "\x1b" not in repr(unsent.problem).replace(r"\\x1b", "")
    assert "\x1b" not in (unsent.problem or "")


async def test_a_huge_list_of_names_is_cut_but_compared_whole(authority: Authority) -> None:
    names = [f"site{i}.example" for i in range(1500)] + [NAME]
    seen = await probe(authority, authority.leaf(*names))
    assert (seen.state, seen.problem) == (State.OK, None)
    assert len(seen.names) == tls.NAMES_SHOWN
    wrong = await probe(authority, authority.leaf(*names[:-1]))
    assert wrong.problem == (f"wrong name: it is for site0.example, site1.example, site2.example …, not for {NAME}")


async def test_a_certificate_that_cannot_be_parsed_is_unreadable_not_fatal(authority: Authority) -> None:
    holder = authority.leaf(NAME)
    der = holder.certificate.public_bytes(Encoding.DER)
    end = holder.certificate.not_valid_after_utc.strftime("%y%m%d").encode()
    assert der.count(end) == 1
    damaged = der.replace(end, end[:2] + b"9999")  # month 99: OpenSSL serves it, no parser takes it
    async with http(answer("ok"), context=authority.context_of([damaged], holder.key)) as served:
        seen = await tls.probe(URL, connect=served.connect, ca_file=authority.root_file)
    assert seen.state is State.CRITICAL
    assert (seen.problem or "").startswith("unreadable certificate: ")
    assert seen.not_after is None


# ---------------------------------------------------------------- unreachable


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_a_refused_connection_is_unknown_and_says_where() -> None:
    port = _closed_port()
    seen = await tls.probe(URL, connect=f"127.0.0.1:{port}")
    assert seen.state is State.UNKNOWN
    assert seen.problem == f"unreachable: connection refused at 127.0.0.1:{port}"


async def test_a_server_that_never_shakes_hands_ends_at_the_time_out() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(100_000)
        await asyncio.Event().wait()

    async with listening(silent) as port:
        seen = await tls.probe(URL, connect=f"127.0.0.1:{port}", timeout=0.2)
    assert (seen.state, seen.problem) == (
        State.UNKNOWN,
        f"unreachable: no complete answer within 0.2 s from 127.0.0.1:{port}",
    )


async def test_a_server_that_speaks_no_tls_is_named_so() -> None:
    async with http(stalling(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as served:
        async with listening(_plain) as port:
            seen = await tls.probe(URL, connect=f"127.0.0.1:{port}")
        assert served.requests == []
    assert seen.state is State.UNKNOWN
    assert (seen.problem or "").startswith(f"unreachable: TLS handshake failed at 127.0.0.1:{port}: ")


async def _plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.write_eof()
    await reader.read()


async def test_a_server_that_hangs_up_is_unreachable() -> None:
    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with listening(hang_up) as port:
        seen = await tls.probe(URL, connect=f"127.0.0.1:{port}")
    assert seen.state is State.UNKNOWN
    assert (seen.problem or "").startswith("unreachable: connection ")


@pytest.mark.parametrize(
    ("url", "ca_file", "problem"),
    [
        ("http://shika.example/", None, "no certificate: the site's URL is http://"),
        ("https://a..b/", None, "not a valid host name: a..b"),
        (URL, "/nonexistent/ca.pem", "ca_file cannot be read: /nonexistent/ca.pem: No such file or directory"),
        (URL, "/etc/hostname", "ca_file holds no certificate: /etc/hostname"),
    ],
)
async def test_what_cannot_be_probed_is_unknown_with_the_reason(url: str, ca_file: str | None, problem: str) -> None:
    seen = await tls.probe(url, connect="127.0.0.1:1", ca_file=ca_file)
    assert (seen.state, seen.problem) == (State.UNKNOWN, problem)


async def test_a_name_without_an_address_is_unreachable() -> None:
    async def none(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    seen = await tls.probe(URL, resolve=none)
    assert (seen.state, seen.problem) == (State.UNKNOWN, f"unreachable: no address is known for {NAME}")


# ---------------------------------------------------------------- both address families


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as six:
            six.bind(("::1", 0))
            return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")


async def _both(_host: str, _port: int) -> Sequence[str]:
    return ["127.0.0.1", "::1"]


@ipv6
async def test_a_failure_of_ipv6_alone_is_a_warning_that_names_it(authority: Authority) -> None:
    async with http(answer("ok"), context=authority.context(authority.leaf(NAME))) as served:
        url = f"https://{NAME}:{served.port}/"
        seen = await tls.probe(url, ca_file=authority.root_file, resolve=_both)
    assert seen.state is State.WARNING
    assert seen.problem == f"over IPv6 (::1): unreachable: connection refused at [::1]:{served.port}"
    assert seen.days_left == 88


@ipv6
async def test_the_worse_of_both_families_wins(authority: Authority) -> None:
    good, old = authority.context(authority.leaf(NAME)), authority.context(authority.leaf(NAME, left=-DAY))
    async with http(answer("ok"), context=good) as four, http(answer("ok"), context=old, host="::1", port=four.port):
        seen = await tls.probe(f"https://{NAME}:{four.port}/", ca_file=authority.root_file, resolve=_both)
    assert seen.state is State.CRITICAL
    assert seen.days_left == -2
    assert (seen.problem or "").startswith("over IPv6 (::1): expired: ")


@ipv6
async def test_a_problem_of_both_families_is_told_once(authority: Authority) -> None:
    old = authority.context(authority.leaf(NAME, left=-DAY))
    async with http(answer("ok"), context=old) as four, http(answer("ok"), context=old, host="::1", port=four.port):
        seen = await tls.probe(f"https://{NAME}:{four.port}/", ca_file=authority.root_file, resolve=_both)
    assert (seen.problem or "").startswith("expired: ")


@ipv6
async def test_a_site_that_neither_family_reaches_is_unknown() -> None:
    port = _closed_port()
    seen = await tls.probe(f"https://{NAME}:{port}/", resolve=_both)
    assert seen.state is State.UNKNOWN
    assert seen.problem == (
        f"over IPv4 (127.0.0.1): unreachable: connection refused at 127.0.0.1:{port}; "
        f"over IPv6 (::1): unreachable: connection refused at [::1]:{port}"
    )


def test_a_machine_without_ipv6_says_nothing_about_the_site() -> None:
    good = Certificate(state=State.OK, days_left=80, not_after=dt.datetime(2027, 1, 1, tzinfo=dt.UTC))
    no_route = Certificate(state=State.UNKNOWN, problem="unreachable: no route to [2001:db8::1]:443")
    assert tls._worst({"192.0.2.1": good, "2001:db8::1": no_route}) is good


# ---------------------------------------------------------------- cost


def test_importing_the_backends_loads_no_heavy_library() -> None:
    heavy = "{'aiohttp', 'httpx', 'whoisit', 'requests', 'cryptography', 'publicsuffixlist', 'textual'}"
    code = f"import sys; import backends.tls, backends.domains, backends.web; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
