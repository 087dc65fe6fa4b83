"""The tables that plugins, hosts and years leave in a database: what a dump has to carry without loss."""

from __future__ import annotations

from pathlib import Path

from tests.agent.small import TABLES, quoted

HOSTILE = (
    "\\! touch /tmp/pwned\n-- @ 5 insert x\nDROP TABLE x;\r\n/*!50000 SELECT 1 */ DELIMITER ;;\n;; "
    "\x00 \x1a \\ \\' ' \" ` %s $(x) \t\b 👨‍👩‍👧‍👦 𠮷 ｱ é"
)
NAMES = (
    "plain", "with space", "with`tick", "with-dash", "with.dot", "日本語の表", "with%percent", "with'quote",
    'with"double', "with\\slash", "with$dollar", "with;semicolon", "two\nlines", "select", "-- comment", "1234",
)  # fmt: skip
LITERAL = HOSTILE.replace("\\", "\\\\").replace("'", "''").replace("\x00", "\\0").replace("\x1a", "\\Z")


def statements(prefix: str) -> str:
    """What makes them, for a site's prefix."""
    made = TABLES.format(p=prefix)
    for number, name in enumerate(NAMES):
        columns = f"{quoted('a ' + name)} int PRIMARY KEY, `key` text COMMENT 'it''s\n`odd`'"
        made += f"CREATE TABLE {quoted(prefix + name)} ({columns});\n"
        made += f"INSERT INTO {quoted(prefix + name)} VALUES ({number}, '{LITERAL}');\n"
    return made + _read("odd_tables.sql", prefix)


def large(prefix: str) -> str:
    return _read("large_rows.sql", prefix)


def _read(name: str, prefix: str) -> str:
    text = Path(__file__).with_name(name).read_text().replace("HOSTILE", LITERAL)
    text = text.replace("pfx_LONGEST", prefix.ljust(64, "x")).replace("pfx_LONG_NAME", prefix.ljust(55, "l"))
    return text.replace("pfx_", prefix)
