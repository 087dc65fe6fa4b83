"""What the agent says of tables that another database server would refuse: each kind is made, and told by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.agent.client import Agents
from backends.records import DatabaseReport
from backends.ssh import Servers
from tests.agent.small import TABLES, Small
from tests.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
PLAIN = "id int NOT NULL PRIMARY KEY"
ODD = f"""
CREATE TABLE `{{p}}aria` ({PLAIN}) ENGINE=Aria DEFAULT CHARSET=utf8mb4;
CREATE TABLE `{{p}}myisam` ({PLAIN}, a varchar(200), b varchar(100), KEY both_of_them (a, b))
    ENGINE=MyISAM DEFAULT CHARSET=utf8mb3;
CREATE TABLE `{{p}}parts` ({PLAIN}) ENGINE=MyISAM PARTITION BY HASH (id) PARTITIONS 2;
CREATE TABLE `{{p}}compact` ({PLAIN}, name varchar(255), short varchar(191), KEY name (name), KEY short (short))
    ENGINE=InnoDB ROW_FORMAT=COMPACT DEFAULT CHARSET=utf8mb3;
CREATE TABLE `{{p}}packed` ({PLAIN}) ENGINE=InnoDB ROW_FORMAT=COMPRESSED DEFAULT CHARSET=utf8mb4;
CREATE TABLE `{{p}}history` ({PLAIN}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 WITH SYSTEM VERSIONING;
CREATE TABLE `{{p}}columns` ({PLAIN}, short year(2), address inet6, `rank` int, `offset` int,
    twice int AS (id * 2) STORED,
    slug varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_ai_ci) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE VIEW `{{p}}seen` AS SELECT id, `rank` FROM `{{p}}columns`;
"""


async def reported(one: Small, servers: Servers) -> DatabaseReport:
    return await Agents(servers).of(one.record()).database()


def found(report: DatabaseReport, one: Small) -> dict[str, set[str]]:
    """By kind, without the site's prefix."""
    return {finding.code: {item.removeprefix(one.prefix) for item in finding.items} for finding in report.findings}


async def test_each_kind_of_table_is_told_once(small: Callable[..., Small], servers: Servers) -> None:
    one = small(tables=TABLES + ODD)
    report = await reported(one, servers)
    assert found(report, one) == {
        "zero_default": {"posts.post_modified_gmt", "users.user_registered"},
        "engine_mariadb": {"aria (Aria)"},
        "not_innodb": {"myisam (MyISAM)", "parts (MyISAM)"},
        "partitions": {"parts (MyISAM)"},
        "old_row_format": {"compact (COMPACT)"},
        "compressed": {"packed (COMPRESSED)"},
        # 191 characters of four bytes are 764: they fit.
        "long_index": {"compact.name (1020)", "myisam.both_of_them (1200)"},
        "utf8mb3": {"compact (utf8mb3_general_ci)", "myisam (utf8mb3_general_ci)"},
        "mariadb_table": {"history (system versioned)"},
        "year2": {"columns.short"},
        "type_mariadb": {"columns.address (inet6)"},
        "generated": {"columns.twice"},
        "collation_mariadb": {"columns.slug (utf8mb4_uca1400_ai_ci)"},
        "reserved_mysql": {"columns.rank"},
        "reserved_mariadb": {"columns.offset"},
    }
    tables = {table.name.removeprefix(one.prefix): table for table in report.tables}
    assert set(tables) == {
        "options", "posts", "users", "aria", "myisam", "parts", "compact", "packed", "history", "columns", "seen",
    }  # fmt: skip
    assert (tables["seen"].view, tables["seen"].engine, tables["aria"].engine) == (True, None, "Aria")
    assert report.counts["tables"] == len(tables)
    assert not report.truncated


async def test_what_another_site_of_the_same_database_has_is_not_told(
    small: Callable[..., Small], servers: Servers
) -> None:
    small(tables=TABLES + ODD)
    one = small()
    report = await reported(one, servers)
    assert set(found(report, one)) == {"zero_default"}
    assert {table.name for table in report.tables} == {f"{one.prefix}{name}" for name in ("options", "posts", "users")}


async def test_of_many_the_first_are_named_and_all_are_counted(small: Callable[..., Small], servers: Servers) -> None:
    columns = ", ".join(f"d{number:02} datetime NOT NULL DEFAULT '0000-00-00 00:00:00'" for number in range(60))
    one = small(
        tables=TABLES + f"CREATE TABLE `{{p}}dates` ({PLAIN}, {columns}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;"
    )
    (zero,) = (await reported(one, servers)).findings
    assert (zero.code, zero.count, len(zero.items)) == ("zero_default", 62, 20)


async def test_the_server_and_its_version_are_its_own(small: Callable[..., Small], servers: Servers, lab: Lab) -> None:
    report = await reported(small(), servers)
    ((version, mode),) = lab.database.sql("SELECT VERSION(), @@GLOBAL.sql_mode")
    assert report.engine == "mariadb"
    assert version.startswith(report.version + "-")
    assert report.sql_mode == mode


async def test_a_table_that_the_server_cannot_open_is_told(
    small: Callable[..., Small], servers: Servers, lab: Lab
) -> None:
    one = small(tables=TABLES + f"CREATE TABLE `{{p}}lost` ({PLAIN}) ENGINE=MyISAM DEFAULT CHARSET=utf8mb4;")
    lab.sql(one.within, f"FLUSH TABLE `{one.prefix}lost`")
    folder = lab.layout.datadir / one.within.db_name
    for path in folder.glob(f"{one.prefix}lost.MY*"):
        path.unlink()
    assert found(await reported(one, servers), one)["unreadable"] == {"lost"}
