"""`modoseru runtime --database` on real WordPress, and how what it found is judged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from app.lifecycle import SNAPSHOT
from app.operations.runtime_database import RULES, judged
from backends.records import DatabaseReport, TableFinding
from tests.lab import Lab, LabSite
from tests.operations.program import Program

NAME = "kogyo.example"
TODAY = dt.date(2026, 11, 26)


@pytest.mark.lab
def test_what_another_server_refuses_is_told_with_what_to_do(
    lab: Lab, fresh_site: Callable[[str], LabSite], program: Program
) -> None:
    site = fresh_site(NAME)
    ((version,),) = lab.sql(site, "SELECT VERSION()")
    plain = program("runtime", NAME, "--database", "--json").json
    assert (plain["site"], plain["engine"]) == (NAME, "mariadb")
    assert version.startswith(plain["version"])
    end = SNAPSHOT.of("mariadb", version)
    assert plain["eol"] == (end.isoformat() if end else None)
    assert not any(one["refused_by"] for one in plain["findings"])
    assert {f"{site.db_prefix}{name}" for name in ("options", "posts")} <= {one["name"] for one in plain["tables"]}

    lab.sql(site, f"CREATE TABLE `{site.db_prefix}log` (id int PRIMARY KEY) ENGINE=Aria")
    told = program("runtime", NAME, "--database", "--json", code=1).json
    (refused,) = [one for one in told["findings"] if one["refused_by"]]
    assert (refused["code"], refused["refused_by"], refused["count"]) == ("engine_mariadb", ["mysql"], 1)
    assert refused["items"] == [f"{site.db_prefix}log (Aria)"]
    assert told["findings"][0] == refused

    text = program("runtime", NAME, "--database", code=1).out
    assert f"{NAME}: MariaDB {plain['version']}" in text
    assert "✖ MySQL refuses: an engine that MySQL has not" in text
    assert f"{site.db_prefix}log (Aria)" in text
    program.write_fleet({"fleet": {"name": "x", "language": "ja"}})
    assert "✖ MySQL で拒否：MySQL にないエンジンです" in program("runtime", NAME, "--database", code=1).out


@pytest.mark.lab
def test_it_works_on_a_site_whose_wordpress_does_not_start(
    fresh_site: Callable[[str], LabSite], program: Program
) -> None:
    site = fresh_site(NAME)
    (site.root / "wp-settings.php").write_text("<?php this is no PHP")
    assert program("runtime", NAME, "--database", "--json").json["engine"] == "mariadb"


def seen(version: str, *codes: str, engine: str = "mariadb") -> DatabaseReport:
    found = tuple(TableFinding(code=code, count=1, items=("wp_x",)) for code in codes)
    return DatabaseReport(engine=engine, version=version, findings=found)


@pytest.mark.parametrize(
    ("engine", "version", "ended"),
    [("mariadb", "10.3.39", True), ("mariadb", "10.11.19", False), ("mysql", "8.0.40", True), ("mysql", "8.4.3", False),
     ("mariadb", "99.1", False)],
)  # fmt: skip
def test_whether_it_still_gets_fixes_is_a_matter_of_the_day(engine: str, version: str, ended: bool) -> None:
    assert judged("x", seen(version, engine=engine), TODAY).ended is ended


def test_what_is_refused_stands_first_and_what_is_not_known_is_left_out() -> None:
    found = judged("x", seen("10.11.19", "utf8mb3", "from_a_newer_agent", "year2", "collation_mysql"), TODAY)
    assert [one.code for one in found.findings] == ["year2", "collation_mysql", "utf8mb3"]
    assert [one.refused_by for one in found.refused] == [("mysql",), ("mariadb",)]


def test_every_kind_that_refuses_stands_before_every_kind_that_does_not() -> None:
    weights = [bool(rule.refused_by) for rule in RULES.values()]
    assert weights == sorted(weights, reverse=True)
