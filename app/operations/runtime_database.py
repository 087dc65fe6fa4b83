"""What runs a site's database, until when it gets fixes, and what of its tables another server would refuse."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from app.lifecycle import SNAPSHOT, Lifecycle
from app.operations.credentials import of_target
from backends.records import DatabaseReport, Site, TableFinding

if TYPE_CHECKING:
    from app.session import Session


class Rule(NamedTuple):
    """`refused_by`: the servers that cannot make, or open, such a table; none: it works, and is worth knowing."""

    refused_by: tuple[str, ...]
    message: str
    hint: str


MYSQL, MARIADB = "mysql", "mariadb"
RULES = {
    "unreadable": Rule(
        (MYSQL, MARIADB), "the server itself cannot open a table", "repair it, or restore it from a generation"
    ),
    "engine_gone": Rule(
        (MYSQL, MARIADB), "an engine that newer servers have no longer", "ALTER TABLE … ENGINE=InnoDB before the move"
    ),
    "engine_mariadb": Rule((MYSQL,), "an engine that MySQL has not", "ALTER TABLE … ENGINE=InnoDB before the move"),
    "engine_mysql": Rule((MARIADB,), "an engine that MariaDB has not", "ALTER TABLE … ENGINE=InnoDB before the move"),
    "mariadb_table": Rule((MYSQL,), "a kind of table that MySQL has not", "move to a MariaDB, or drop what is special"),
    "type_mariadb": Rule(
        (MYSQL,), "a column type that MySQL has not", "move to a MariaDB, or change the column to a plain type"
    ),
    "partitions": Rule(
        (MYSQL,), "MySQL 8 partitions InnoDB alone", "ALTER TABLE … ENGINE=InnoDB, or REMOVE PARTITIONING"
    ),
    "year2": Rule((MYSQL,), "YEAR(2), which MySQL 5.7 removed", "ALTER TABLE … MODIFY the column to YEAR"),
    "collation_mysql": Rule(
        (MARIADB,), "a collation of MySQL 8 that MariaDB before 11.4 refuses", "convert to utf8mb4_unicode_520_ci"
    ),
    "collation_mariadb": Rule((MYSQL,), "a collation that MySQL has not", "convert to utf8mb4_unicode_520_ci"),
    "zero_default": Rule(
        (),
        "a zero date as default: refused where sql_mode has NO_ZERO_DATE, as MySQL's own has",
        "import with the dump's own sql_mode; WordPress sets its own",
    ),
    "old_row_format": Rule(
        (), "an old row format, whose indexes take 767 bytes a column", "ALTER TABLE … ROW_FORMAT=DYNAMIC"
    ),
    "long_index": Rule(
        (), "an index that is too long as soon as its text is utf8mb4", "ROW_FORMAT=DYNAMIC, or a shorter index, first"
    ),
    "compressed": Rule(
        (),
        "a compressed table: MariaDB 10.6.0 to 10.6.5 opens it for reading alone",
        "ALTER TABLE … ROW_FORMAT=DYNAMIC",
    ),
    "utf8mb3": Rule(
        (), "utf8mb3: it holds no emoji, and servers will drop it", "ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4"
    ),
    "old_temporal": Rule(
        (), "times in the format of before 5.6: files cannot be moved as they are", "a dump and its import renew them"
    ),
    "generated": Rule(
        (), "a generated column: its expression is of this server's dialect", "try its table on the other server first"
    ),
    "not_innodb": Rule(
        (),
        "not InnoDB: a crash harms it, a dump of the open site may not be of one moment",
        "ALTER TABLE … ENGINE=InnoDB",
    ),
    "reserved_mysql": Rule(
        (), "a name that is a reserved word of MySQL 8", "dumps quote it; look for plugins whose statements do not"
    ),
    "reserved_mariadb": Rule(
        (),
        "a name that is a reserved word of newer MariaDB",
        "dumps quote it; look for plugins whose statements do not",
    ),
}
"""Those that stand first weigh most. A kind that is not here comes from a newer agent."""
_ORDER = list(RULES)


class Finding(Struct, frozen=True, kw_only=True):
    code: str
    refused_by: tuple[str, ...]
    count: int
    items: tuple[str, ...]
    """The first of them: a table, or `table.column` or `table.index`, with what it is in brackets."""
    message: str
    hint: str


class Found(Struct, frozen=True, kw_only=True):
    site: str
    report: DatabaseReport
    eol: dt.date | None
    """The last day on which this version gets fixes from its makers."""
    ended: bool
    snapshot_old: bool
    """Whether the dates are so old that a newer release is missing in them."""
    findings: tuple[Finding, ...]
    """What is refused somewhere first."""

    @property
    def is_well(self) -> bool:
        """Where a target was asked about, whether the site could move there; otherwise, whether it has no need to."""
        target = self.report.target
        return not target.blockers if target is not None else not (self.ended or self.refused)

    @property
    def refused(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.refused_by)


async def report(session: Session, site: Site) -> Found:
    """Asks the site's server, also about the database of `[runtime.database]` where there is one.

    Changes nothing, so it is no operation of the guard's. Raises CommandFailed, and as the agent does.
    """
    seen, known = await session.agent(site).database(await of_target(site)), await session.lifecycle()
    return judged(site.name, seen, dt.datetime.now(dt.UTC).date(), known)


def judged(site: str, seen: DatabaseReport, today: dt.date, ends: Lifecycle = SNAPSHOT) -> Found:
    """Pure."""
    eol = ends.of(seen.engine, seen.version)
    known = sorted((one for one in seen.findings if one.code in RULES), key=lambda one: _ORDER.index(one.code))
    return Found(
        site=site,
        report=seen,
        eol=eol,
        ended=eol is not None and eol < today,
        snapshot_old=ends.is_old(today),
        findings=tuple(_finding(one) for one in known),
    )


def _finding(one: TableFinding) -> Finding:
    rule = RULES[one.code]
    return Finding(
        code=one.code,
        refused_by=rule.refused_by,
        count=one.count,
        items=one.items,
        message=rule.message,
        hint=rule.hint,
    )
