"""Whether a site's database could move to another one: a second real server, and each thing that is in the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.agent.client import Agents
from backends.records import Credentials, TargetReport
from backends.ssh import Servers
from tests.agent.small import Small
from tests.lab import Lab
from tests.lab.other_database import Second

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]


async def asked(one: Small, servers: Servers, target: Credentials) -> TargetReport:
    before = one.files(), one.tables()
    report = await Agents(servers).of(one.record()).database(target)
    assert (one.files(), one.tables()) == before
    assert report.target is not None
    return report.target


def codes(target: TargetReport) -> list[str]:
    return [one.code for one in target.blockers]


async def test_nothing_is_in_the_way_of_an_empty_one(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    found = await asked(small(), servers, empty.credentials())
    assert (found.name, found.engine, codes(found)) == ("moved", "mariadb", [])


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE moved.x (id int)", "CREATE VIEW moved.x AS SELECT 1", "CREATE PROCEDURE moved.x() DO 1"]
)
async def test_one_that_holds_anything_is_refused_by_its_name(
    small: Callable[..., Small], servers: Servers, empty: Second, statement: str
) -> None:
    empty.sql(statement)
    (blocker,) = (await asked(small(), servers, empty.credentials())).blockers
    assert (blocker.code, blocker.message) == ("not_empty", "it is not empty: x")


async def test_a_wrong_password_and_lacking_grants_are_told(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    one = small()
    refused = await asked(one, servers, empty.credentials(password="x"))
    assert codes(refused) == ["target_refuses"]
    empty.sql("REVOKE ALL ON moved.* FROM mover@localhost; GRANT SELECT ON moved.* TO mover@localhost")
    assert codes(await asked(one, servers, empty.credentials())) == ["no_grant"]


async def test_the_live_one_is_known_under_another_address(
    small: Callable[..., Small], servers: Servers, lab: Lab
) -> None:
    one = small()
    settings = one.within
    for host in (settings.db_host, f"localhost:{lab.database.socket}"):
        live = Credentials(name=settings.db_name, user=settings.db_user, password=settings.db_password, host=host)
        assert codes(await asked(one, servers, live)) == ["same_database"]


async def test_a_database_of_the_same_name_on_another_server_is_another(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    one = small()
    name = one.within.db_name
    empty.sql(f"CREATE DATABASE IF NOT EXISTS `{name}`; GRANT ALL ON `{name}`.* TO mover@localhost")
    assert codes(await asked(one, servers, empty.credentials(name=name))) == []


async def test_what_wp_config_takes_from_elsewhere_is_named(
    small: Callable[..., Small], servers: Servers, empty: Second
) -> None:
    one = small()
    text = one.config_file.read_text()
    one.config_file.write_text(text.replace("define('DB_HOST',", "define('DB_' . 'HOST',"))
    (blocker,) = (await asked(one, servers, empty.credentials())).blockers
    assert blocker.code == "config"
    assert blocker.message == "wp-config.php takes DB_HOST from elsewhere: it cannot be rewritten"
