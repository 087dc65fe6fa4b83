"""Safe updates beside `wp plugin update`, what visitors notice of them, and a wave over a fleet:
`python -m tests.bench updates`.

The plugin is one of the lab's made ones: its package is small, so that what is measured is the safety and no download.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from app import session as sessions
from app.demo.fleet import embedded
from app.operations import deciding, month, summary
from app.operations.update import pending_of
from app.session import Session
from backends.journal_updates import Verdict
from backends.records import AnyEvent, ModoseruError, Operation, Policy, Site
from tests.bench.measure import FactRow, Row, in_turns
from tests.bench.visitors import Visits, visiting
from tests.lab import Lab, LabSite, upstream
from tests.lab.plugins import GOOD
from tests.operations.program import Program, program_of

NAME, BAD = "kogyo.example", "broken-web"
RATE = 20.0
SITES, SERVERS, PER_SERVER = 24, 3, 2
HOSTS = ("127.0.0.1", "localhost", "127.1")
"""Three names of the same loopback: to the waves they are three servers."""


def rows(_: float = 1.0, runs: int = 3) -> Sequence[Row | FactRow]:
    lab = Lab()
    found_running = lab.running
    lab.up()
    site = lab.site(NAME)
    try:
        with tempfile.TemporaryDirectory() as folder:
            program = program_of(lab, Path(folder))
            found: list[Row | FactRow] = [_beside_wp_cli(lab, site, program, runs), _noticed(lab, site, program)]
        return [*found, asyncio.run(_wave())]
    finally:
        lab.reset(site)
        if not found_running:
            lab.down()


def _beside_wp_cli(lab: Lab, site: LabSite, program: Program, runs: int) -> Row:
    """Both over ssh, both as one command of an operator; each time from 1.0 with the site as its generation has it."""
    phar = site.home / "wp-cli.phar"
    shutil.copyfile(upstream.wp_cli(), phar)
    phar.chmod(0o644)

    def old() -> None:
        lab.put_plugin(site, GOOD)
        lab.wporg.offer({GOOD: "1.1"})
        time.sleep(3)
        program("backup", site.name)

    def ours() -> float:
        old()
        began = time.perf_counter()
        program("update", site.name, "--only", GOOD, "--yes")
        return time.perf_counter() - began

    def theirs() -> float:
        old()
        began = time.perf_counter()
        command = f"php ~/wp-cli.phar --path={site.root} plugin update {GOOD}"
        done = subprocess.run(lab.ssh_command(site, command), capture_output=True, check=True)
        assert b"Success: Updated 1 of 1" in done.stdout, done
        return time.perf_counter() - began

    mine, other = in_turns(ours, theirs, runs)
    what = "one plugin, safely: asked, looked at, generation, update, check"
    return Row(what, "3.0", mine, "wp plugin update", other)


def _noticed(lab: Lab, site: LabSite, program: Program) -> FactRow:
    """What visitors who come twenty times a second see of a good update and of a bad one."""
    facts = []
    for slug in (GOOD, BAD):
        lab.put_plugin(site, slug)
        lab.wporg.offer({slug: "1.1"})
        time.sleep(3)
        with visiting(site, RATE) as visits:
            answer = program("update", site.name, "--only", slug, "--yes", "--json", "--progress", "json", code=None)
        facts.append((f"{slug}: {answer.json['outcome']}", _told(visits, answer.events)))
    note = "target: of a good one nothing; of a bad one the good page at most 2 s after its check has failed."
    return FactRow(f"visitors during an update, {RATE:.0f} pages a second", facts, [note])


def _told(visits: Visits, events: Sequence[dict[str, Any]]) -> str:
    failed = visits.failed()
    text = f"{len(visits)} pages, {len(failed)} not good"
    judged = [dt.datetime.fromisoformat(one["at"]).timestamp() for one in events if one.get("keep") is False]
    if judged and failed:
        first, last = min(one.asked for one in failed), max(one.answered for one in failed)
        text += f": from {first - judged[0]:+.2f} s to {last - judged[0]:+.2f} s of the failed check"
    return text


async def _wave() -> FactRow:
    """The demo's servers: real SSH and HTTP; what its sites do is only waited for, so that no processor is full."""
    async with embedded(120) as demo:
        await demo.up()
        async with sessions.opened(demo.config, journal=demo.folder / "journal.db") as read:
            policy = Policy(update_window="mon-sun 00:00-24:00", wave_pause="0", wave_per_server=PER_SERVER)
            settings = msgspec.structs.replace(read.fleet.settings, policy=policy)
            pending = [one for one in await pending_of(read, read.fleet.sites) if one.updates]
            names = [one.name for one in pending][: SITES + 1]
            sites = [
                msgspec.structs.replace(
                    read.fleet.site(name),
                    policy=policy,
                    ssh=msgspec.structs.replace(read.fleet.site(name).ssh, host=HOSTS[number % SERVERS]),
                )
                for number, name in enumerate(names)
            ]
            read.fleet = msgspec.structs.replace(read.fleet, settings=settings, sites=tuple(sites))
            await deciding.decide(read, pending, None, Verdict.APPROVED, fleet=True)
            alone = await _took(read, sites[-1:])
            wall = await _took(read, sites[:SITES])
    ideal = alone * SITES / (SERVERS * PER_SERVER)
    facts = [
        ("one site alone", f"{alone:.2f} s"),
        (f"{SITES} sites, {SERVERS} servers, {PER_SERVER} at once on each", f"{wall:.2f} s"),
        ("ideal for that bound", f"{ideal:.2f} s"),
        ("ratio", f"{wall / ideal:.2f}   target 1.3"),
    ]
    return FactRow("a wave over the embedded fleet", facts)


async def _took(session: Session, sites: Sequence[Site]) -> float:
    """Seconds of one wave over these sites, all of them in it."""
    plan = await month.plan(session, sites)
    names = tuple(site.name for site in sites)
    waves = month.Waves(began=dt.datetime.now(dt.UTC), who="bench", waves=(names,))

    async def watch(site: Site, events: Any) -> Operation | ModoseruError:
        seen: list[AnyEvent] = []
        try:
            seen.extend([event async for event in events])
        except ModoseruError as error:
            return error
        return summary.summarise("bench", site.name, "update", seen)

    began = time.perf_counter()
    result = await month.run(session, msgspec.structs.replace(plan, progress=waves), month.Seat(watch, lambda _: None))
    assert result.stopped is month.Stopped.THROUGH
    return time.perf_counter() - began
