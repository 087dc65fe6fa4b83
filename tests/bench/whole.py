"""The restore of a whole site as an operator meets it, beside the plain import of its dump by `mysql`.

From the key, over a connection that is open, to the passed check from outside.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from app.operations import guard, restore
from app.session import Session
from backends.records import AnyEvent, Finished, Outcome, Step
from tests.bench.account import Account, database_cpu
from tests.bench.ground import SETTLED, Ground
from tests.bench.measure import Cost, CostRow, Peer
from tests.lab import LabError
from tests.operations.program import program_of, site_of

SCHEMA = "modoseru_bench"


class Seen(NamedTuple):
    cost: Cost
    steps: dict[str, float]
    events: Sequence[AnyEvent]


async def row(here: Ground, generation: str, runs: int) -> CostRow:
    dump = _plain_dump(here)
    share = _share(dump, here.site.site.db_prefix)
    seen: list[Seen] = []
    theirs: list[Cost] = []
    async with program_of(here.site.lab, here.operator()).session() as session:
        for run in range(runs + 1):
            disturb(here, run)
            ours = await restored(session, here, generation)
            other = _import(here, dump)
            if run:
                seen.append(ours)
                theirs.append(other)
    here.site.lab.database.sql(f"DROP DATABASE {SCHEMA}")
    took = sorted(seen, key=lambda one: one.cost.wall)[len(seen) // 2].steps
    return CostRow(
        "whole restore from the key to the passed check, 1 % of the files, posts and options differing (dump of "
        f"{dump.stat().st_size / 1e6:.0f} MB, posts and options {share:.0%} of it)",
        [one.cost for one in seen],
        [Peer("mysql < dump", theirs, "1.0")],
        [
            "steps of the median run: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items()),
            "cpu: the database server's, and for modoseru what /proc tells every 20 ms of the account's processes.",
            "The peer loads the database alone, into an empty schema; it checks nothing and cannot be undone.",
        ],
    )


def disturb(here: Ground, run: int) -> None:
    """What a restore finds: 1 % of the files differ, posts and options differ, all of it left alone for a moment."""
    here.server.forget_operations()
    here.site.differ(1000 + run)
    here.site.touch_rows(run + 1)
    time.sleep(SETTLED)


async def restored(session: Session, here: Ground, generation: str) -> Seen:
    """One restore. Raises LabError where it does not end done."""
    site = site_of(session, here.site.site.name)
    await session.agent(site).generations()
    with Account(here) as account:
        began = time.perf_counter()
        intent = await restore.plan(session, site, generation)
        planned = time.perf_counter()
        events = [event async for event in guard.start(session, intent, confirmed=True)]
        wall = time.perf_counter() - began
    end = events[-1]
    if not isinstance(end, Finished) or end.outcome is not Outcome.DONE:
        raise LabError(f"the restore did not end done: {end}")
    return Seen(Cost(wall, account.cpu, 0), {"plan": planned - began, **step_times(events)}, events)


def step_times(events: Sequence[AnyEvent]) -> dict[str, float]:
    marks: list[tuple[str, dt.datetime]] = [(event.name, event.at) for event in events if isinstance(event, Step)]
    marks.append(("", events[-1].at))
    return {name: (until - at).total_seconds() for (name, at), (_, until) in pairwise(marks)}


def _plain_dump(here: Ground) -> Path:
    dump, site = here.folder / "plain.sql", here.site.site
    command = ["mariadb-dump", "--no-defaults", f"--socket={site.db_socket}", "-uroot", site.db_name]
    with dump.open("wb") as out:
        subprocess.run(command, stdout=out, check=True)
    return dump


def _share(dump: Path, prefix: str) -> float:
    """Of posts and options, in the dump's bytes."""
    heads = tuple(f"INSERT INTO `{prefix}{table}` ".encode() for table in ("posts", "options"))
    with dump.open("rb") as lines:
        within = False
        size = 0
        for line in lines:
            # A statement goes on over lines that begin with a row.
            within = line.startswith(heads) or (within and line.startswith(b"("))
            size += len(line) if within else 0
    return size / dump.stat().st_size


def _import(here: Ground, dump: Path) -> Cost:
    site = here.site.site
    here.site.lab.database.sql(
        f"CREATE OR REPLACE DATABASE {SCHEMA} CHARACTER SET utf8mb4;"
        f"GRANT ALL ON {SCHEMA}.* TO '{site.db_user}'@'localhost'"
    )
    before = database_cpu(here)
    ran = here.server.run(
        ["mysql", "--no-defaults", f"--socket={site.db_socket}", f"-u{site.db_user}", SCHEMA],
        environment={"MYSQL_PWD": site.db_password}, stdin=dump,
    )  # fmt: skip
    return Cost(ran.cost.wall, ran.cost.cpu + database_cpu(here) - before, 0)
