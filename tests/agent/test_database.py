"""Databases, whatever is in them: into a dump without loss, and out of it by the plain client program as well."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from backends.records import Outcome
from backends.ssh import Servers
from tests.agent.odd_tables import large, statements
from tests.agent.small import Small, Story, carry_out, is_wrong, quoted, shell, summary_of, tables_of
from tests.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
Schema = Callable[[str], str]


class Museum(NamedTuple):
    small: Small
    before: dict[str, tuple[str, ...]]
    story: Story

    @property
    def generation(self) -> str:
        assert self.story.end.generation
        return self.story.end.generation

    @property
    def dump(self) -> Path:
        return self.small.state / "generations" / self.generation / "database.sql.gz"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def museum(small_of_module: Callable[..., Small], servers: Servers) -> Museum:
    small = small_of_module(tables="")
    small.sql(statements(small.prefix) + large(small.prefix))
    story = await carry_out(small.agent(servers), "snapshot", reason="hand")
    assert story.outcome is Outcome.DONE, story.end
    return Museum(small, small.tables(), story)


@pytest.fixture
def schema(lab: Lab) -> Iterator[Schema]:
    """`schema("name")`: an empty schema."""
    made: list[str] = []

    def make(name: str) -> str:
        lab.database.sql(f"CREATE OR REPLACE DATABASE `{name}` CHARACTER SET utf8mb4")
        made.append(name)
        return name

    yield make
    for name in made:
        lab.database.sql(f"DROP DATABASE `{name}`")


def client(lab: Lab, name: str) -> list[str]:
    return [
        "mariadb",
        "--no-defaults",
        f"--socket={lab.database.socket}",
        "-uroot",
        "--default-character-set=utf8mb4",
        name,
    ]


async def test_the_dump_read_by_the_client_program_makes_the_same_tables(
    museum: Museum, lab: Lab, schema: Schema
) -> None:
    name = schema("dump_by_hand")
    recipe = (museum.dump.parent / "RESTORE.txt").read_text()
    assert "gunzip -c database.sql.gz | mysql --default-character-set=utf8mb4 NAME" in recipe
    status, out, complaints = shell(*client(lab, name), stdin=shell("gunzip", "-c", museum.dump)[1])
    assert (status, out, complaints) == (0, b"", b"")
    after = tables_of(lab, name, museum.small.prefix)
    assert set(after) == set(museum.before)
    for table, facts in museum.before.items():
        assert after[table] == facts, table


async def test_the_dump_makes_what_mariadb_s_own_dump_makes(museum: Museum, lab: Lab, schema: Schema) -> None:
    """But for FLOAT, of which it keeps six digits, and Japan's old character sets, of whose letters it changes some."""
    name = schema("dump_by_program")
    tables = [
        table
        for table, facts in museum.before.items()
        if len(facts) > 1 and not table.endswith(("kinds", "cp932", "ujis"))
    ]
    status, dump, complaints = shell(
        "mariadb-dump", "--no-defaults", f"--socket={lab.database.socket}", "-uroot", "--hex-blob",
        "--default-character-set=utf8mb4", "--max-allowed-packet=256M", "--single-transaction",
        museum.small.within.db_name, *tables,
    )  # fmt: skip
    assert (status, complaints) == (0, b"")
    before = lab.database.sql("SELECT @@max_allowed_packet")[0][0]
    lab.database.sql("SET GLOBAL max_allowed_packet=268435456")  # hex doubles what is near the limit
    try:
        assert shell(*client(lab, name), "--max-allowed-packet=256M", stdin=dump)[::2] == (0, b"")
    finally:
        lab.database.sql(f"SET GLOBAL max_allowed_packet={before}")
    theirs = tables_of(lab, name, museum.small.prefix)
    ours = {table: facts for table, facts in museum.before.items() if table in tables}
    for table, facts in ours.items():
        assert theirs[table][:2] == facts[:2], table


async def test_no_statement_of_a_dump_is_large_and_none_has_a_definer(museum: Museum) -> None:
    text = gzip.decompress(museum.dump.read_bytes())
    assert b"DEFINER" not in text.upper().replace(b"SQL SECURITY DEFINER", b"")
    assert (
        max(
            int(line.split(b" ")[2])
            for line in text.split(b"\n")
            if line.startswith(b"-- @ ") and line.count(b" ") == 4
        )
        < 1 << 20
    )
    assert text.endswith(b"-- Dump completed\n")


async def test_the_summary_counts_tables_rows_and_names_what_is_outside_the_snapshot(museum: Museum) -> None:
    summary = summary_of(museum.small, museum.generation)
    tables = {part["name"]: part["rows"] for part in summary["tables"] if part["kind"] == "table"}
    assert set(tables) == {name for name, facts in museum.before.items() if len(facts) > 1}
    assert tables[f"{museum.small.prefix}kinds"] == 4
    assert summary["counts"]["rows"] == sum(tables.values())
    (note,) = [event for event in museum.story.events if getattr(event, "code", "") == "not_transactional"]
    assert f"{museum.small.prefix}myisam" in getattr(note, "text", "")


def ruin(small: Small) -> None:
    """Rows changed, tables gone, emptied and altered, foreign ones planted; views and triggers exchanged."""
    p = small.prefix
    small.sql(f"""SET foreign_key_checks=0;
        UPDATE `{p}options` SET option_value='https://evil.example'; DELETE FROM `{p}posts` WHERE ID=1;
        DROP TABLE `{p}kinds`, `{p}empty`; TRUNCATE `{p}myisam`; ALTER TABLE `{p}no_key` ADD COLUMN evil int DEFAULT 1;
        CREATE TABLE `{p}evil` (a int, CONSTRAINT `{p}evil_fk` FOREIGN KEY (a) REFERENCES `{p}aa_child` (id));
        CREATE TABLE `{p}aa_child` (id int PRIMARY KEY); INSERT INTO `{p}aa_child` VALUES (4);
        INSERT INTO `{p}evil` VALUES (4);
        DROP VIEW `{p}a_on_top`; CREATE VIEW `{p}evil_view` AS SELECT 1 AS one; DROP TRIGGER `{p}before`;
        CREATE TRIGGER `{p}evil_trigger` AFTER DELETE ON `{p}posts` FOR EACH ROW DELETE FROM `{p}users`;
        CREATE OR REPLACE VIEW `{p}z_base` AS SELECT 2 AS two, 'x' AS post_title""")


async def test_a_restore_brings_every_table_back_exactly_and_an_undo_the_ruin(
    museum: Museum, lab: Lab, servers: Servers
) -> None:
    small = museum.small
    agent = small.agent(servers)
    ruin(small)
    ruined = small.tables()
    story = await carry_out(agent, "restore", generation=museum.generation, only="database")
    assert story.outcome is Outcome.DONE, story.end
    after = small.tables()
    assert set(after) == set(museum.before)
    for table, facts in museum.before.items():
        assert after[table] == facts, table
    assert small.staging() == []
    with pytest.raises(Exception, match="foreign key constraint fails"):
        small.sql(f"INSERT INTO `{small.prefix}a_child` VALUES (20, 999, NULL)")

    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert small.tables() == ruined
    assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    assert small.tables() == museum.before
    again = await carry_out(agent, "snapshot", reason="hand")
    assert again.end.generation
    dumps = [
        gzip.decompress((small.state / "generations" / one / "database.sql.gz").read_bytes())
        for one in (museum.generation, again.end.generation)
    ]
    keys = [[line for line in dump.split(b"\n") if b"CONSTRAINT" in line] for dump in dumps]
    assert keys[0] == keys[1] != []


def keyed(small: Small) -> set[tuple[str, str]]:
    """Gives the site two tables and keys with the longest names there are; returns each table with each name."""
    p = small.prefix
    names = [f"{p}{word}_".ljust(64, "x") for word in ("order", "self", "back", "check")]
    order, own, back, check = names
    small.sql(f"""SET foreign_key_checks=0;
        CREATE TABLE `{p}orders` (id int PRIMARY KEY, item int, above int,
            CONSTRAINT `{order}` FOREIGN KEY (item) REFERENCES `{p}items` (id) ON DELETE CASCADE,
            CONSTRAINT `{own}` FOREIGN KEY (above) REFERENCES `{p}orders` (id), CONSTRAINT `{check}` CHECK (id > 0));
        CREATE TABLE `{p}items` (id int PRIMARY KEY, last int, other int,
            FOREIGN KEY (other) REFERENCES `{p}items` (id),
            CONSTRAINT `{back}` FOREIGN KEY (last) REFERENCES `{p}orders` (id) ON UPDATE CASCADE);
        INSERT INTO `{p}items` VALUES (1, 7, NULL), (2, NULL, 1);
        INSERT INTO `{p}orders` VALUES (7, 1, NULL), (8, 1, 7)""")
    orders, items = f"{p}orders", f"{p}items"
    return {(orders, order), (orders, own), (orders, check), (items, back), (items, f"{p}items_ibfk_1")}


def constraints(small: Small) -> set[tuple[str, str]]:
    wanted = f"CONSTRAINT_SCHEMA='{small.within.db_name}' AND CONSTRAINT_TYPE IN ('FOREIGN KEY', 'CHECK')"
    rows = small.sql(f"SELECT TABLE_NAME, CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS WHERE {wanted}")
    return {(table, name) for table, name in rows if table.startswith(small.prefix)}


async def test_every_constraint_has_its_own_name_after_a_restore_an_undo_and_a_redo(
    small: Callable[..., Small], servers: Servers
) -> None:
    """A plugin that looks for its key by name, and adds it where it is missing, must find it."""
    site = small()
    p = site.prefix
    names = keyed(site)
    before, agent = site.tables(), site.agent(servers)
    assert constraints(site) == names
    generation = (await carry_out(agent, "snapshot", reason="hand")).end.generation
    # What goes has keys too: one of the same name, one of its own, on tables that the generation does not have.
    taken = next(name for table, name in names if "_back_" in name)
    site.sql(f"""ALTER TABLE `{p}items` DROP FOREIGN KEY `{taken}`; DELETE FROM `{p}orders` WHERE id=8;
        CREATE TABLE `{p}evil` (a int, b int, KEY (a), KEY (b),
            CONSTRAINT `{taken}` FOREIGN KEY (a) REFERENCES `{p}items` (id),
            FOREIGN KEY (b) REFERENCES `{p}orders` (id)); INSERT INTO `{p}evil` VALUES (1, 7)""")
    ruined, theirs = site.tables(), constraints(site)
    failed = await carry_out(agent, "restore", is_wrong, generation=generation, only="database")
    assert failed.outcome is Outcome.ROLLED_BACK
    assert constraints(site) == theirs
    for table, facts in ruined.items():
        assert site.tables()[table] == facts, table
    for verb, tables, keys in (("restore", before, names), ("undo", ruined, theirs), ("undo", before, names)):
        story = await carry_out(agent, verb, generation=generation, only="database")
        assert story.outcome is Outcome.DONE, story.end
        assert story.notes("constraint") == []
        assert (site.tables(), constraints(site)) == (tables, keys)
    with pytest.raises(Exception, match="foreign key constraint fails"):
        site.sql(f"INSERT INTO `{p}orders` VALUES (9, 999, NULL)")
    site.sql(f"DELETE FROM `{p}items` WHERE id=2")


async def test_a_name_that_somebody_else_s_key_has_by_now_is_told_and_does_not_end_the_restore(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    names = keyed(site)
    agent = site.agent(servers)
    generation = (await carry_out(agent, "snapshot", reason="hand")).end.generation
    taken = next(name for table, name in names if "_back_" in name)
    site.sql(f"ALTER TABLE `{site.prefix}items` DROP FOREIGN KEY `{taken}`")
    other = f"zz_{site.prefix}"
    site.sql(
        f"CREATE TABLE `{other}` (id int PRIMARY KEY, up int, "
        f"CONSTRAINT `{taken}` FOREIGN KEY (up) REFERENCES `{other}` (id))"
    )
    try:
        story = await carry_out(agent, "restore", generation=generation, only="database")
        assert (story.outcome, story.notes("constraint")) == (Outcome.DONE, [f"{site.prefix}items"]), story.end
        assert len(constraints(site)) == len(names)
        assert (await carry_out(agent, "undo")).outcome is Outcome.DONE
    finally:
        site.sql(f"DROP TABLE `{other}`")


async def test_a_site_takes_no_table_of_its_neighbours_in_the_same_database(
    small: Callable[..., Small], servers: Servers
) -> None:
    """`_` is a wildcard in LIKE, and another site's prefix may begin with ours."""
    site = small()
    p = site.prefix
    other = f"{p}2nd_"
    site.sql(f"CREATE TABLE `{p[:-1]}xforum` (a int); CREATE TABLE `{p.upper()}x` (a int)")
    for table in ("options", "posts", "users", "links"):
        site.sql(f"CREATE TABLE `{other}{table}` (a int); INSERT INTO `{other}{table}` VALUES (7)")
    for table in ("2_options", "2_posts"):  # a blog of a multisite is ours
        site.sql(f"CREATE TABLE `{p}{table}` (a int)")
    theirs = {
        name: facts for name, facts in site.tables(prefix="").items() if name.startswith(other) or "xforum" in name
    }
    agent = site.agent(servers)
    try:
        story = await carry_out(agent, "snapshot", reason="hand")
        assert story.end.generation
        names = {
            part["name"].removeprefix(p)
            for part in summary_of(site, story.end.generation)["tables"]
            if part["kind"] == "table"
        }
        assert names == {"options", "posts", "users", "2_options", "2_posts"}
        site.sql(f"DELETE FROM `{p}options`")
        restored = await carry_out(agent, "restore", generation=story.end.generation, only="database")
        assert restored.outcome is Outcome.DONE, restored.end
        assert {name: facts for name, facts in site.tables(prefix="").items() if name in theirs} == theirs
    finally:
        site.sql(f"DROP TABLE `{p[:-1]}xforum`, `{p.upper()}x`")


async def test_a_row_that_was_read_is_not_lost_when_the_query_is_killed(
    small: Callable[..., Small], servers: Servers
) -> None:
    """A host that limits the time of a statement must not get a shorter backup."""
    site = small()
    table = f"`{site.prefix}slow`"
    rows = f"INSERT INTO {table} SELECT seq, REPEAT('x', 200000) FROM seq_1_to_300"
    site.sql(f"CREATE TABLE {table} (a int, b longblob); {rows}")
    before = site.lab.database.sql("SELECT @@max_statement_time")[0][0]
    site.lab.database.sql("SET GLOBAL max_statement_time=0.02")
    try:
        story = await carry_out(site.agent(servers), "snapshot", reason="hand")
    finally:
        site.lab.database.sql(f"SET GLOBAL max_statement_time={before}")
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "no_database")
    assert "max_statement_time" in story.end.detail
    assert site.generations() == []
    assert site.litter() == []


async def test_a_table_that_somebody_locks_ends_a_backup_with_one_sentence(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    with site.session(f"LOCK TABLES {quoted(site.prefix + 'posts')} WRITE"):
        story = await carry_out(site.agent(servers), "snapshot", reason="hand")
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "no_database")
    assert site.litter() == []
    assert (await carry_out(site.agent(servers), "snapshot", reason="hand")).outcome is Outcome.DONE


async def test_an_open_transaction_delays_the_switch_or_ends_it_with_the_site_as_it_was(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small(tables="")
    p = site.prefix
    site.sql(statements(p))
    agent = site.agent(servers)
    story = await carry_out(agent, "snapshot", reason="hand")
    ruin(site)
    ruined = site.tables()
    site.write("wp-content/evil.php", b"<?php evil();")
    files = site.files()
    with site.session(f"BEGIN; SELECT * FROM `{p}users` FOR UPDATE"):
        restored = await carry_out(agent, "restore", generation=story.end.generation, only="all")
    assert (restored.outcome, restored.end.code) == (Outcome.ROLLED_BACK, "no_switch"), restored.end
    assert site.tables() == ruined
    assert site.files() == files
    assert site.litter() == []
    assert (await carry_out(agent, "restore", generation=story.end.generation, only="all")).outcome is Outcome.DONE
    assert not (site.root / "wp-content/evil.php").exists()
