"""What would make a restore fail is said before anything is touched; what would be lost is counted, named and kept."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from backends.agent.client import Agent, Preview
from backends.records import Outcome
from backends.ssh import Servers
from tests.agent.small import TABLES, Small, carry_out, lacking, shell

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
MORE = (
    TABLES
    + """
ALTER TABLE `{p}posts` ADD post_password varchar(20) NOT NULL DEFAULT '';
CREATE TABLE `{p}comments` (comment_ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, comment_content text,
    comment_type varchar(20) NOT NULL DEFAULT 'comment', comment_date_gmt datetime NOT NULL);
CREATE TABLE `{p}wc_orders` (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, date_updated_gmt datetime);
CREATE TABLE `{p}db7_forms` (form_id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, form_value longtext,
    form_date datetime);
CREATE TABLE `{p}usermeta` (umeta_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id bigint unsigned,
    meta_key varchar(255), meta_value longtext);
INSERT INTO `{p}usermeta` (user_id, meta_key, meta_value) VALUES
    (1, '{p}capabilities', 'a:1:{{s:13:"administrator";b:1;}}');
"""
)


async def saved(agent: Agent) -> str:
    story = await carry_out(agent, "snapshot", reason="hand")
    assert story.end.generation
    return story.end.generation


def everything(site: Small) -> object:
    return site.files(), site.tables()


async def refused(agent: Agent, site: Small, generation: str, code: str, only: Any = "all") -> Preview:
    """The preview names it, the restore refuses with it, and nothing was touched."""
    before = everything(site)
    preview = await agent.preview(generation, only)
    assert code in [one.code for one in preview.blockers], preview
    assert all(one.message and one.hint for one in preview.blockers)
    story = await carry_out(agent, "restore", generation=generation, only=only)
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, preview.blockers[0].code), story.end
    assert story.steps == ["preflight"]
    assert everything(site) == before
    assert site.litter() == []
    return preview


async def test_a_server_without_its_folder_of_operations_foresees_a_restore_too(
    small: Callable[..., Small], servers: Servers
) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(agent)
    shutil.rmtree(site.state / "ops")
    preview = await agent.preview(generation, "all")
    assert preview.database is not None
    assert (preview.blockers, preview.database.opens) == ((), "live")


# ---------------------------------------------------------------- what stands in the way


@pytest.mark.parametrize("grant", ["CREATE", "DROP", "ALTER", "INSERT", "CREATE VIEW", "TRIGGER"])
async def test_a_right_that_the_database_user_lacks_is_named(
    small: Callable[..., Small], servers: Servers, grant: str
) -> None:
    site = small()
    site.sql(f"CREATE VIEW `{site.prefix}view` AS SELECT ID FROM `{site.prefix}posts`")
    site.sql(
        f"CREATE TRIGGER `{site.prefix}t` BEFORE INSERT ON `{site.prefix}posts` FOR EACH ROW SET NEW.post_type='x'"
    )
    agent = site.agent(servers)
    generation = await saved(agent)
    with lacking(site, grant):
        preview = await refused(agent, site, generation, "no_grant")
        assert f"may not {grant} in" in preview.blockers[0].message
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE


async def test_a_stranger_s_foreign_key_is_named(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(agent)
    stranger = f"x{site.prefix}stranger"
    reference = f"CONSTRAINT `{stranger}_fk` FOREIGN KEY (a) REFERENCES `{site.prefix}posts` (ID)"
    site.sql(f"CREATE TABLE `{stranger}` (a bigint unsigned, {reference})")
    try:
        preview = await refused(agent, site, generation, "foreign_key")
        assert stranger in preview.blockers[0].message
        assert (await carry_out(agent, "restore", generation=generation, only="files")).outcome is Outcome.DONE
    finally:
        site.sql(f"DROP TABLE `{stranger}`")


async def test_a_value_that_no_longer_fits_a_packet_is_named(small: Callable[..., Small], servers: Servers) -> None:
    """A value beyond the packet would silently become NULL (CONCAT) or break off in the middle (FACTS 3)."""
    site = small()
    site.sql(f"CREATE TABLE `{site.prefix}large` (a int, b longblob)")
    site.sql(f"INSERT INTO `{site.prefix}large` VALUES (1, REPEAT('x', 3000000))")
    agent = site.agent(servers)
    generation = await saved(agent)
    before = site.sql("SELECT @@global.max_allowed_packet")[0][0]
    site.sql("SET GLOBAL max_allowed_packet=2097152")
    try:
        await refused(agent, site, generation, "small_packet")
    finally:
        site.sql(f"SET GLOBAL max_allowed_packet={before}")
    assert (await carry_out(agent, "restore", generation=generation, only="all")).outcome is Outcome.DONE


async def test_a_document_root_that_cannot_be_written_is_named(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(agent)
    site.root.chmod(0o555)
    try:
        await refused(agent, site, generation, "not_writable")
    finally:
        site.root.chmod(0o755)


async def test_a_quota_of_files_is_kept(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(agent)
    entries = len(site.files())
    for number in range(6):
        site.write(f"wp-content/plugins/hello/{number}.php", b"later")
    site.write("wp-content/plugins/hello/hello.php", b"later")
    tight = site.agent(servers, files_max=entries)
    await refused(tight, site, generation, "no_space")
    wide = site.agent(servers, files_max=2 * entries)
    assert (await carry_out(wide, "restore", generation=generation, only="all")).outcome is Outcome.DONE


async def test_a_root_that_is_a_disk_of_its_own_is_warned_of(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(agent)
    aside = site.base / "aside"
    site.root.rename(aside)
    site.disk(site.root, 32 << 20)
    assert shell("cp", "-a", f"{aside}/.", site.root)[0] == 0
    preview = await agent.preview(generation, "all")
    assert preview.blockers == ()
    assert [one.code for one in preview.warnings] == ["entry_by_entry"]


async def test_what_runs_is_in_the_way(small: Callable[..., Small], servers: Servers) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(agent)
    story = await carry_out(agent, "restore", lambda _: None, generation=generation, only="all", wait_s=0)
    assert story.state == "waiting"
    preview = await agent.preview(generation, "all")
    assert [one.code for one in preview.blockers] == ["waiting"]
    assert story.operation in preview.blockers[0].hint
    await agent.answer(story.operation, 1, keep=True, detail="right")


async def test_a_collation_of_another_server_is_mapped_and_told(small: Callable[..., Small], servers: Servers) -> None:
    """A generation of MySQL 8 in MariaDB: the dump is rewritten here as that server would have written it."""
    site = small()
    agent = site.agent(servers)
    generation = await saved(agent)
    rewrite_dump(site, generation, "utf8mb4_general_ci", "utf8mb4_0900_ai_ci")
    preview = await agent.preview(generation, "all")
    assert preview.blockers == ()
    assert [one.code for one in preview.warnings] == ["collation"]
    story = await carry_out(agent, "restore", generation=generation, only="all")
    assert story.outcome is Outcome.DONE, story.end
    assert len(story.notes("collation")) == 1
    assert "unicode_520_ci" in site.tables()[f"{site.prefix}posts"][0]
    assert site.sql(f"SELECT post_title FROM `{site.prefix}posts` WHERE ID=2") == [("新商品 🎉",)]


@pytest.mark.parametrize(("there", "unknown"), [("utf8mb4_general_ci", "utf8mb4_klingon_ci"), ("=InnoDB", "=Ariadne")])
async def test_what_the_database_cannot_know_is_named(
    small: Callable[..., Small], servers: Servers, there: str, unknown: str
) -> None:
    site = small()
    agent = site.agent(servers)
    generation = await saved(agent)
    rewrite_dump(site, generation, there, unknown)
    preview = await refused(agent, site, generation, "dialect")
    assert unknown.strip("=") in preview.blockers[0].message


def rewrite_dump(site: Small, generation: str, there: str, instead: str) -> None:
    """`there` in each CREATE TABLE becomes `instead`; summary and offsets follow, and no seal is given."""
    folder = site.state / "generations" / generation
    summary = json.loads((folder / "summary.json").read_bytes())
    dump = (folder / "database.sql.gz").read_bytes()
    made = gzip.compress(gzip.decompress(dump[: summary["tables"][0]["offset"]]), 1, mtime=0)
    plain = len(gzip.decompress(made))
    for part in summary["tables"]:
        text = gzip.decompress(dump[part["offset"] : part["offset"] + part["stored"]])
        lines = []
        for statement in text.split(b"\n-- @ "):
            head, _, body = statement.partition(b"\n")
            words = head.split(b" ")
            if len(words) == 3 and words[1] == b"create":
                body = body.replace(there.encode(), instead.encode())
                head = b" ".join([str(len(body.rstrip(b"\n").removesuffix(b";"))).encode(), *words[1:]])
            lines.append(head + b"\n" + body if _ else head)
        text = b"\n-- @ ".join(lines)
        packed = gzip.compress(text, 1, mtime=0)
        part |= {
            "offset": len(made),
            "stored": len(packed),
            "size": len(text),
            "sha256": hashlib.sha256(text).hexdigest(),
        }
        made += packed
        plain += len(text)
    summary["dump"] = {"size": len(made), "sha256": hashlib.sha256(made).hexdigest(), "plain": plain}
    for name, content in (("database.sql.gz", made), ("summary.json", json.dumps(summary).encode())):
        (folder / name).chmod(0o600)
        (folder / name).write_bytes(content)


# ---------------------------------------------------------------- what would be lost


async def test_what_is_newer_is_counted_named_and_kept(small: Callable[..., Small], servers: Servers) -> None:
    site = small(tables=MORE)
    agent = site.agent(servers)
    generation = await saved(agent)
    later = "UTC_TIMESTAMP() + INTERVAL 1 MINUTE"
    prefix = site.prefix
    for title, kind in (("号外 🎌", "post"), ("", "shop_order"), ("", "revision"), ("", "flamingo_inbound")):
        columns = f"`{prefix}posts` (post_title, post_type, post_modified_gmt)"
        site.sql(f"INSERT INTO {columns} VALUES ('{title}', '{kind}', {later})")
    site.sql(f"INSERT INTO `{prefix}comments` (comment_content, comment_date_gmt) VALUES ('it''s \\\\ 🎉', {later})")
    site.sql(f"INSERT INTO `{prefix}wc_orders` (date_updated_gmt) VALUES ({later}), ({later})")
    site.sql(f"INSERT INTO `{prefix}db7_forms` (form_value, form_date) VALUES ('a:0:{{}}', {later})")
    preview = await agent.preview(generation, "all")
    loss = preview.loss
    assert (loss.posts, loss.comments, loss.users, loss.orders, loss.entries) == (1, 1, 0, 3, 2)
    assert loss.newest == ("号外 🎌",)
    assert preview.recommended == "files"
    assert (await agent.preview(generation, "files")).loss.posts == 0
    story = await carry_out(agent, "restore", generation=generation, only="all")
    assert story.outcome is Outcome.DONE
    (lost,) = site.state.glob("ops/*/lost.sql.gz")
    assert story.operation in str(lost)
    site.sql(f"CREATE TABLE `{prefix}kept` LIKE `{prefix}comments`")
    statements = gzip.decompress(lost.read_bytes()).decode()
    (comment,) = [line for line in statements.split("\n") if line.startswith(f"INSERT INTO `{prefix}comments`")]
    site.sql("SET NAMES utf8mb4; " + comment.replace(f"`{prefix}comments`", f"`{prefix}kept`"))
    assert site.sql(f"SELECT comment_content FROM `{prefix}kept`") == [("it's \\ 🎉",)]


@pytest.mark.parametrize("sign", ["another administrator", "another address", "a password", "nothing is newer"])
async def test_files_alone_are_not_recommended_where_the_database_may_be_touched(
    small: Callable[..., Small], servers: Servers, sign: str
) -> None:
    site = small(tables=MORE)
    agent = site.agent(servers)
    generation = await saved(agent)
    prefix = site.prefix
    if sign != "nothing is newer":
        site.sql(f"INSERT INTO `{prefix}wc_orders` (date_updated_gmt) VALUES (UTC_TIMESTAMP() + INTERVAL 1 MINUTE)")
        assert (await agent.preview(generation, "all")).recommended == "files"
    match sign:
        case "another administrator":
            site.sql(f"INSERT INTO `{prefix}users` (user_login) VALUES ('evil')")
            site.sql(f"UPDATE `{prefix}usermeta` SET user_id=2")
            site.sql(f"UPDATE `{prefix}users` SET user_login='evil2' WHERE user_login='evil'")
        case "another address":
            site.sql(f"UPDATE `{prefix}options` SET option_value='https://evil.example' WHERE option_name='siteurl'")
        case "a password":
            site.sql(f"UPDATE `{prefix}users` SET user_registered='2020-01-01'")
    assert (await agent.preview(generation, "all")).recommended is None
