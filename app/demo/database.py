"""The twin's report on a site's database: the server of its character, and WordPress's own kind of tables."""

from __future__ import annotations

from app.demo import access
from app.demo.site import DemoSite
from backends.records import DatabaseReport, ModoseruError, TableFacts, TableFinding

_COLLATION = "utf8mb4_unicode_520_ci"
_DATED = {"posts": "post_date", "users": "user_registered", "comments": "comment_date"}
"""Where WordPress has a zero date as default."""
_ROW = 512


def database_report(site: DemoSite) -> DatabaseReport:
    """Raises ModoseruError: no_config, no_database."""
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
    )
