"""The twin's report on a site's database: the server of its character, and WordPress's own kind of tables."""

from __future__ import annotations

from typing import Any

from app.demo import access
from app.demo.site import DemoSite
from app.demo.worker import Worker
from backends.records import Blocker, DatabaseReport, ModoseruError, TableFacts, TableFinding, TargetReport

_COLLATION = "utf8mb4_unicode_520_ci"
_DATED = {"posts": "post_date", "users": "user_registered", "comments": "comment_date"}
"""Where WordPress has a zero date as default."""
_NAME_ONE = "name a new, empty database in [runtime.database]"
NO_TARGET = ModoseruError("bad_request", "no database to move to was named", _NAME_ONE)
_ROW = 512


def database_report(site: DemoSite, fields: dict[str, Any]) -> DatabaseReport:
    """Raises ModoseruError: bad_request, no_config, no_database."""
    target = fields.get("target")
    access.given({"credentials": target})
    if site.read(access.CONFIG) is None:
        raise ModoseruError("no_config", access.GONE, "restore the files of a generation")
    tables = site.tables()
    if access.opens(site, b"", None) is None or not tables.get("options", {}).get("reachable"):
        hint = "compare wp-config.php with the host's panel"
        raise ModoseruError("no_database", "the database does not let us in", hint)
    seen = tuple(
        TableFacts(
            name=f"wp_{name}", engine="InnoDB", collation=_COLLATION, row_format="Dynamic",
            rows=len(rows), bytes=len(rows) * _ROW,
        )
        for name, rows in sorted(tables.items())
    )  # fmt: skip
    zero = tuple(f"wp_{name}.{column}" for name, column in sorted(_DATED.items()) if name in tables)
    version = site.character.database_version
    return DatabaseReport(
        engine="mariadb" if "mariadb" in version.lower() else "mysql",
        version=version.partition("-")[0],
        sql_mode="STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION",
        collation=_COLLATION,
        tables=seen,
        counts={
            "tables": len(seen),
            "rows": sum(table.rows for table in seen),
            "bytes": sum(table.bytes for table in seen),
        },
        findings=(TableFinding(code="zero_default", count=len(zero), items=zero),) if zero else (),
        target=None if target is None else _target(site, target),
    )


async def rehouse(worker: Worker) -> None:
    """Ends where it is found that there is no other database to move to."""
    await worker.step("preflight")
    found = await worker.runtime.run(_target, worker.site, worker.operation.request["credentials"])
    (why,) = found.blockers
    raise ModoseruError(why.code, why.message, why.hint)


def _target(site: DemoSite, given: dict[str, str]) -> TargetReport:
    """The demo has one database a site, and no other server."""
    if given["name"] == site.character.user and given["password"] == site.password:
        hint = "name another one in [runtime.database]"
        why = Blocker(code="same_database", message="it is the database that the site uses already", hint=hint)
    else:
        hint = "compare [runtime.database] with the host's panel"
        message = "it does not let us in: the database does not let us in: Access denied"
        why = Blocker(code="target_refuses", message=message, hint=hint)
    return TargetReport(name=given["name"], host=given["host"], blockers=(why,))
