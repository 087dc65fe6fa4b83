"""The embedded fleet as a whole: quick to open, agreeing with itself, and gone without a trace."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import fleet
from app.demo import contents, known
from app.demo.cast import cast
from app.demo.fleet import Demo, embedded
from app.demo.folder import PREFIX, TemporaryFolder, sweep
from app.demo.history import past
from app.demo.site import DemoSite, read_tables
from backends import tls, web
from backends.agent.client import AgentError, Agents, Ended, Launched
from backends.domains import Registries
from backends.records import Asked, Certificate, Domain, Finished, Inspection, State
from backends.ssh import Refused, Servers
from tests.demo.speaking import left, speaking

NOW = dt.datetime(2026, 11, 23, 3, 4, 5, tzinfo=dt.UTC)
CHILD = """
import asyncio, sys
from pathlib import Path
from app.demo.fleet import embedded
async def main():
    async with embedded(3, parent=Path(sys.argv[1])) as demo:
        await demo.up()
        print(demo.folder, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("language", ["ja", "en"])
async def test_the_configuration_is_one_that_the_program_reads(tmp_path: Path, language: str) -> None:
    async with embedded(language=language, parent=tmp_path) as demo:
        loaded = fleet.load(demo.config)
    assert [site.name for site in loaded.sites] == sorted(demo.sites)
    assert len(loaded.sites) == 24
    assert loaded.site("kaigo.example").read_only
    assert {site.owner for site in loaded.sites} <= {person.name for person in loaded.settings.people}


async def test_the_fleet_can_be_painted_at_once_and_the_servers_follow(tmp_path: Path) -> None:
    start = time.perf_counter()
    async with embedded(parent=tmp_path) as demo:
        entered, lag = time.perf_counter() - start, 0.0

        async def watch() -> None:
            nonlocal lag
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                lag = max(lag, time.perf_counter() - before)

        watching = asyncio.create_task(watch())
        what = [(seen.site, seen.what) for seen in demo.journal_seed]
        assert [seen for seen in what if seen[1] != "drill"] == [
            (name, kind) for name in demo.sites for kind in ("health", "certificate", "domain", "inspection")
        ]
        assert not demo.ready.is_set()
        await demo.up()
        assert demo.ready.is_set()
        watching.cancel()
        print(f"entered in {entered:.3f} s, servers after {time.perf_counter() - start:.3f} s, lag {lag * 1000:.0f} ms")


async def test_a_thousand_sites_cost_nothing_until_somebody_looks(tmp_path: Path) -> None:
    start = time.perf_counter()
    async with embedded(1000, parent=tmp_path) as demo:
        print(f"entered with 1,000 sites in {time.perf_counter() - start:.3f} s")
        await demo.up()
        assert len([seen for seen in demo.journal_seed if seen.what != "drill"]) == 4000
        assert not (demo.folder / "home").exists()
        last = list(demo.sites)[-1]
        async with speaking(demo, last) as speaker:
            assert len((await speaker.ask("inspect"))["generations"]) == 8
        assert len(list((demo.folder / "home").iterdir())) == 1
    assert len({character.host for character in cast(1000)}) == 1000
    assert len({character.user for character in cast(1000)}) == 998


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    tasks = asyncio.all_tasks()
    async with embedded(parent=tmp_path) as demo:
        await demo.up()
        async with speaking(demo) as speaker:
            gate = demo.twin.hold("kogyo.example", "files")
            async with speaker.talk("snapshot", reason="hand") as lines:
                await anext(lines)
                await gate.reached.wait()
        port = speaker.settings["ssh"]["port"]
    assert left(tmp_path) == []
    assert asyncio.all_tasks() == tasks
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port)) != 0


async def test_a_demo_that_fails_inside_leaves_nothing_either(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with embedded(2, parent=tmp_path):
            raise ZeroDivisionError
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_and_the_folder_goes(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().decode().strip())
        assert folder.is_dir()
        child.send_signal(number)
        assert child.wait(20) == -number
    assert left(tmp_path) == []


def test_what_a_killed_demo_left_is_swept_and_a_living_one_is_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        left = Path(child.stdout.readline().decode().strip())
        child.kill()
        child.wait(20)
    living = TemporaryFolder(tmp_path)
    foreign = tmp_path / "something-else"
    foreign.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(foreign)
    try:
        assert sweep(tmp_path) == [left]
        assert not left.exists()
        assert living.path.is_dir()
        assert foreign.is_dir()
    finally:
        living.remove()
    torso = tmp_path / f"{PREFIX}torso"
    torso.mkdir()
    assert sweep(tmp_path) == []
    os.utime(torso, (0, 0))
    assert sweep(tmp_path) == [torso]


def test_the_extent_of_the_past_is_that_of_the_site_when_it_is_made(tmp_path: Path) -> None:
    for character in (*cast(26)[:6], cast(26)[25]):
        extent, site = contents.Extent(character, NOW), DemoSite(character, tmp_path, NOW, "ja")
        for days in (0, 3, 20, 45):
            when = NOW - dt.timedelta(days=days)
            root, tables = tmp_path / f"{character.name}-{days}", tmp_path / "tables.json"
            site.lay_out(root, tables, when)
            found = [path for path in root.rglob("*") if path.is_file()]
            rows = contents.rows(read_tables(tables))
            size = sum(path.stat().st_size for path in found) + contents.weight(rows)
            assert extent.at(when) == (len(found), size, rows)


def test_the_history_lies_in_the_past_and_differs_from_week_to_week() -> None:
    for character in cast(24):
        history = past(character, NOW)
        assert len(history) == character.generations
        assert all(generation.created < NOW for generation in history)
        assert len({generation.rows for generation in history}) == len(history)


async def test_what_the_seed_says_is_what_the_servers_say(demo: Demo) -> None:
    loaded = fleet.load(demo.config)
    seeded = {(one.site, one.what): one.record for one in demo.journal_seed}
    domains = Registries(loaded.settings.domains, whois_gap=0.0, rdap_gap=0.0)
    async with Servers() as servers:
        agents = Agents(servers)
        for name in (
            "kogyo.example",
            "shika.example",
            "byoin.example",
            "example3.co.jp",
            "example1.jp",
            "hanaya.example",
        ):
            site = loaded.site(name)
            seen, _ = await agents.of(site).inspect()
            before = seeded[name, "inspection"]
            assert isinstance(before, Inspection)
            assert (seen.generations, seen.wordpress, seen.php_cli) == (
                before.generations,
                before.wordpress,
                before.php_cli,
            )
            assert {one.slug for one in seen.plugins} == {one.slug for one in before.plugins}
            if seen.booted:  # shika broke after it was last inspected
                assert (before.booted, before.updates) == (True, seen.updates)
            certificate = await tls.probe(site.url, connect=site.web.connect, ca_file=site.web.ca_file)
            kept = seeded[name, "certificate"]
            assert isinstance(kept, Certificate)
            assert (certificate.not_after, certificate.state) == (kept.not_after, kept.state)
            domain, known_domain = await domains.expiry(demo.sites[name].character.host), seeded[name, "domain"]
            assert isinstance(known_domain, Domain)
            assert (domain.name, domain.expires, domain.source) == (
                known_domain.name,
                known_domain.expires,
                known_domain.source,
            )


async def test_the_programs_own_client_restores_a_broken_site(demo: Demo) -> None:
    site = fleet.load(demo.config).site("shika.example")
    connect, trusted = site.web.connect, site.web.ca_file

    async def state() -> State:
        return (await web.look(site.url, connect=connect, ca_file=trusted)).state

    assert await state() is State.CRITICAL
    async with Servers() as servers:
        agent, operation = Agents(servers).of(site), ""
        generation = (await agent.generations()).generations[0].id
        async for event in agent.launch("restore", {"generation": generation, "only": "all"}):
            if isinstance(event, Launched):
                operation = event.operation
            elif isinstance(event, Asked):
                opened = await web.visit(site.url, event.token or "", connect=connect, ca_file=trusted)
                assert (opened or {})["opcache"] is True
                await agent.answer(operation, event.number, keep=await state() is State.OK, detail="looked")
            elif isinstance(event, Finished):
                assert event.outcome == "done"
        assert isinstance(event, Ended)
        with pytest.raises(AgentError, match="no operation"):
            await agent.cancel("20200101T000000Z-backup-aaaaaa")
        refused = fleet.load(demo.config).site("kensetsu.example")
        with pytest.raises(Refused) as told:
            await Agents(servers).of(refused).inspect()
        assert told.value.code == "ssh_auth"
    assert await state() is State.OK


def test_the_seed_ages_plausibly() -> None:
    for one in known.seed(cast(24), NOW, "ja"):
        assert dt.timedelta(0) < NOW - one.at < dt.timedelta(days=60 if one.what == "drill" else 12)
