"""The guard on a real WordPress behind a real web server: attackers on loopback addresses of their own."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from backends.agent.client import Agent
from backends.ssh import Servers
from tests.agent.test_wordpress import agent_of, must_use
from tests.lab import Lab, LabSite

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
Fresh = Callable[[str], LabSite]
SETTINGS: dict[str, Any] = {
    "allow": ["127.0.0.9/32"], "proxies": ["127.0.0.8/32"], "address": 4, "account": 50, "xmlrpc": 5, "window_s": 900,
    "block_s": 600, "longest_s": 86400,
}  # fmt: skip
HEAD = "<?php exit; ?>\n"
MULTICALL = "<methodCall><methodName>system.{}</methodName><params></params></methodCall>"


@pytest_asyncio.fixture(loop_scope="session")
async def site(lab: Lab, fresh_site: Fresh) -> LabSite:
    return await asyncio.to_thread(fresh_site, "kogyo.example")


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(site: LabSite, servers: Servers) -> Agent:
    agent = agent_of(servers, site)
    await agent.guard("install", settings=SETTINGS)
    return agent


def asked(
    site: LabSite, source: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """One request from the address `source`; redirects are not followed."""
    host, port = site.connect.split(":")
    context = ssl.create_default_context(cafile=str(site.ca_file))
    with (
        socket.create_connection((host, int(port)), 30, (source, 0)) as plain,
        context.wrap_socket(plain, server_hostname=site.host) as secure,
    ):
        connection = http.client.HTTPConnection(site.host)
        connection.sock = secure
        form = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        connection.request(
            "GET" if body is None else "POST", path, body, {"Connection": "close", **form, **(headers or {})}
        )
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")


def login(site: LabSite, source: str, name: str, password: str = "wrong", **headers: str) -> int:
    """200: the form again; 302: let in; 429: blocked."""
    form = urlencode({"log": name, "pwd": password, "wp-submit": "1"})
    return asked(site, source, "/wp-login.php", form, {key.replace("_", "-"): text for key, text in headers.items()})[0]


async def test_a_brute_force_loop_is_blocked_while_a_visitor_is_served(site: LabSite, guarded: Agent) -> None:
    assert [login(site, "127.0.0.1", site.admin) for _ in range(6)] == [200] * 4 + [429] * 2
    assert login(site, "127.0.0.1", site.admin, site.admin_password) == 429
    assert login(site, "127.0.0.2", site.admin, site.admin_password) == 302
    assert asked(site, "127.0.0.1", "/")[0] == 200
    assert {login(site, "127.0.0.9", site.admin) for _ in range(8)} == {200}
    report = await guarded.guard("show")
    assert [(one.kind, one.name) for one in report.blocks] == [("address", "127.0.0.1")]
    assert [one.event for one in report.attacks].count("login_failed") == 4
    assert [(one.event, one.what, one.address) for one in report.deeds] == [("login", site.admin, "127.0.0.2")]
    await guarded.guard("unblock", key="a:127.0.0.1")
    assert login(site, "127.0.0.1", site.admin, site.admin_password) == 302


async def test_a_forwarded_address_counts_from_a_trusted_proxy_alone(site: LabSite, guarded: Agent) -> None:
    spoofed = [login(site, "127.0.0.3", "x", X_Forwarded_For=f"198.51.100.{one}") for one in range(6)]
    assert spoofed == [200] * 4 + [429] * 2
    # A client writes what it likes in front; the proxy adds whom it saw at the end.
    proxied = [login(site, "127.0.0.8", "x", X_Forwarded_For=f"10.0.0.{one}, 2001:db8:1:2::{one}") for one in range(6)]
    assert proxied == [200] * 4 + [429] * 2
    assert login(site, "127.0.0.8", "x", X_Forwarded_For="203.0.113.5") == 200
    names = {one.name for one in (await guarded.guard("show")).blocks}
    assert names == {"127.0.0.3", "2001:db8:1:2::/64"}


async def test_a_block_ends_and_the_next_one_is_longer(site: LabSite, guarded: Agent, servers: Servers) -> None:
    state = site.home / ".modoseru" / site.name / "guard" / "state.php"
    lasted = []
    for _ in range(2):
        for _ in range(4):
            assert login(site, "127.0.0.4", "x") == 200
        assert login(site, "127.0.0.4", "x") == 429
        kept = json.loads(state.read_text().removeprefix(HEAD))
        row = kept["rows"]["a:127.0.0.4"]
        lasted.append(row["u"] - row["t"])
        row["u"] = row["t"] - 1  # as if that time had passed
        state.write_text(HEAD + json.dumps(kept))
    assert lasted == [600, 1200]


async def test_who_cannot_write_locks_nobody_out(site: LabSite, guarded: Agent) -> None:
    folder = site.home / ".modoseru" / site.name / "guard"
    (folder / "state.php").write_text(HEAD + '{"rows": {"a:127.0.0.5": "torn')
    assert login(site, "127.0.0.5", "x") == 200
    for place in (folder, site.root / "wp-content" / "modoseru-guard"):
        shutil.rmtree(place, ignore_errors=True)
        place.write_text("in the way")
    assert {login(site, "127.0.0.5", "x") for _ in range(7)} == {200}
    assert login(site, "127.0.0.5", site.admin, site.admin_password) == 302


async def test_users_are_not_told_and_calls_in_bulk_are_not_answered(site: LabSite, guarded: Agent) -> None:
    assert asked(site, "127.0.0.6", "/?author=1")[0] == 403
    assert asked(site, "127.0.0.6", "/?rest_route=/wp/v2/users")[0] == 401
    assert asked(site, "127.0.0.6", "/?rest_route=/wp/v2/users/1")[0] == 401
    assert asked(site, "127.0.0.6", "/?rest_route=/wp/v2/posts")[0] == 200
    assert asked(site, "127.0.0.6", "/xmlrpc.php", MULTICALL.format("multicall"))[0] == 403
    assert asked(site, "127.0.0.6", "/xmlrpc.php", MULTICALL.format("multi&#99;all"))[0] == 403
    calls = [asked(site, "127.0.0.7", "/xmlrpc.php", MULTICALL.format("listMethods")) for _ in range(6)]
    assert [status for status, _ in calls] == [200] * 4 + [429] * 2
    assert "pingback.ping" not in calls[0][1]
    assert {one.event for one in (await guarded.guard("show")).attacks} >= {"enumeration", "multicall", "blocked"}


async def test_who_did_what_is_written_down_and_what_is_hostile_is_harmless(site: LabSite, guarded: Agent) -> None:
    must_use(
        site, "deeds.php",
        "if (isset($_GET['deeds'])) { add_action('init', function () {"
        " require_once ABSPATH . 'wp-admin/includes/admin.php';"
        " $id = wp_insert_post(['post_title' => 'gone', 'post_status' => 'publish']); wp_delete_post($id, true);"
        " wp_create_user('newcomer', 'secret', 'n@example.org'); activate_plugin('hello.php'); "
        "do_action('activated_plugin', 'hello.php'); update_option('users_can_register', '1'); exit('done'); }); }",
    )  # fmt: skip
    assert asked(site, "127.0.0.2", "/?deeds")[1].endswith("done")
    hostile = "\x1b]0;owned\x07<?php evil(); ?>\u202e\n{}"
    assert login(site, "127.0.0.2", hostile) == 200
    report = await guarded.guard("show")
    deeds = {(one.event, one.what) for one in report.deeds}
    assert deeds >= {
        ("post_published", "gone"), ("post_deleted", "gone"), ("user_created", "newcomer"),
        ("plugin_activated", "hello.php"), ("option", "users_can_register"),
    }  # fmt: skip
    assert {one.address for one in report.deeds} == {"127.0.0.2"}
    (failed,) = [one for one in report.attacks if one.event == "login_failed"]
    assert failed.what
    assert failed.what.isprintable()
    log = (site.home / ".modoseru" / site.name / "guard" / "attacks.php").read_bytes()
    assert log.count(b"<?php") == 1
    assert log.isascii()


async def test_a_log_that_is_full_begins_anew_once(site: LabSite, guarded: Agent) -> None:
    folder = site.home / ".modoseru" / site.name / "guard"
    assert login(site, "127.0.0.2", "x") == 200
    log = folder / "attacks.php"
    with log.open("a") as file:
        file.write("{}\n" * 200_000)
    assert login(site, "127.0.0.2", "x") == 200
    assert log.stat().st_size < 1000
    assert log.read_text().startswith(HEAD)
    assert sorted(one.name for one in folder.glob("attacks*")) == ["attacks.1.php", "attacks.php"]


async def test_an_altered_guard_is_not_ours(site: LabSite, guarded: Agent) -> None:
    file = site.root / "wp-content/mu-plugins/modoseru-guard.php"
    assert (await guarded.guard("show")).ours is True
    text = file.read_text()
    file.write_text(text + "\nevil();\n")
    assert (await guarded.guard("show")).ours is False
    file.write_text(text.replace('"allow":[', "\"allow\":['.evil().'", 1))
    assert (await guarded.guard("show")).ours is False
