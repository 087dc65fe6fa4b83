"""`modoseru restore` where little or nothing of a site is left, and where no known password opens its database."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.lab import Lab, LabSite
from tests.operations.program import Program
from tests.operations.test_main_job import files, pages, rows

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
CHANGED = "n'ew \\ $pa\"ss 秘"
"""What PHP, JSON, SQL and shells each would spoil in their own way."""


@pytest.fixture(scope="module", autouse=True)
def left_as_they_were(lab: Lab) -> Iterator[None]:
    """The passwords too: other tests make sites of their own in these accounts."""
    yield
    for name in ("kogyo.example", "minato.example", "sakura.example"):
        lab.reset(lab.site(name))


def tables(lab: Lab, site: LabSite) -> list[str]:
    """Whatever is in the schema but what operations put aside."""
    return sorted(row[0] for row in lab.sql(site, "SHOW TABLES") if not row[0].startswith("_"))


def look_of(lab: Lab, site: LabSite) -> object:
    """Everything that a restore could change, but for the times of its folders; whether the root is there too."""
    return site.root.exists(), files(site), tables(lab, site), rows(lab, site)


def empty_root(_lab: Lab, site: LabSite) -> None:
    for path in site.root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def no_root(_lab: Lab, site: LabSite) -> None:
    shutil.rmtree(site.root)


def no_config(_lab: Lab, site: LabSite) -> None:
    site.config_file.unlink()


def wrong_password(_lab: Lab, site: LabSite) -> None:
    text = site.config_file.read_text()
    assert site.db_password in text
    site.config_file.write_text(text.replace(site.db_password, "not-the-password"))


def no_tables(lab: Lab, site: LabSite) -> None:
    names = ", ".join(f"`{name}`" for name in tables(lab, site))
    lab.sql(site, f"SET foreign_key_checks = 0; DROP TABLE {names}")


def nothing_at_all(lab: Lab, site: LabSite) -> None:
    no_tables(lab, site)
    no_root(lab, site)


def change_password(lab: Lab, site: LabSite) -> None:
    """The host has given the database's user another password."""
    quoted = CHANGED.replace("\\", "\\\\").replace("'", "''")
    for host in ("localhost", "127.0.0.1"):
        lab.database.sql(f"ALTER USER '{site.db_user}'@'{host}' IDENTIFIED BY '{quoted}'")
    lab.database.sql(f"KILL USER '{site.db_user}'")


def in_the_file(program: Program, site: LabSite, folder: Path, password: str = CHANGED) -> None:
    """The site's file says what opens its database; the password comes from a command."""
    secret = folder / "secret"
    secret.write_text(f"{password}\n")
    secret.chmod(0o600)
    access = {"name": site.db_name, "user": site.db_user, "host": site.db_host}
    program.write_site(site, {"server.database": {**access, "password_command": ["cat", str(secret)]}})


def holding(secret: str, *folders: Path) -> list[str]:
    """Files in which the secret can be read, spelt plainly or as JSON or PHP spell it."""
    spelt = {secret.encode(), secret.replace("\\", "\\\\").replace('"', '\\"').encode()}
    spelt |= {secret.replace("\\", "\\\\").replace("'", "\\'").encode()}
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if any(one in path.read_bytes() for one in spelt))


def codes(told: list[dict[str, str]]) -> list[str]:
    return [one["code"] for one in told]


GONE = "wp-config.php is gone; its database opens with the generation's"
ASTRAY = "the live wp-config.php does not lead to the database; the generation's opens it"


class Loss(NamedTuple):
    site: str
    lose: Callable[[Lab, LabSite], None]
    told: str | None


LOSSES = [
    Loss("kogyo.example", empty_root, GONE),
    Loss("kogyo.example", no_root, GONE),
    Loss("minato.example", no_config, GONE),
    Loss("sakura.example", wrong_password, ASTRAY),
    Loss("kogyo.example", no_tables, None),
    Loss("minato.example", nothing_at_all, GONE),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.lose.__name__)
def test_whatever_is_left_of_a_site_it_comes_back_and_undo_leaves_what_was_there(
    lab: Lab, fresh_site: Fresh, program: Program, loss: Loss
) -> None:
    name, site = loss.site, fresh_site(loss.site)
    whole, whole_pages = look_of(lab, site), pages(lab, site)
    program("backup", name)
    loss.lose(lab, site)
    lab.restart_php(site)
    left = look_of(lab, site)
    assert left != whole

    found = program("restore", name, "--dry-run", "--json").json
    assert found["blockers"] == []
    told = [one["message"] for one in found["warnings"] if one["code"] == "credentials"]
    assert told == ([loss.told] if loss.told else [])
    assert look_of(lab, site) == left

    done = program("restore", name, "--yes", "--json", "--progress", "json")
    assert done.json["outcome"] == "done"
    assert ("credentials" in [event.get("code") for event in done.events]) == bool(told)
    assert look_of(lab, site) == whole
    assert pages(lab, site) == whole_pages

    assert program("undo", name, "--yes", "--json").json["outcome"] == "done"
    assert look_of(lab, site) == left


def lost(lab: Lab, site: LabSite, program: Program) -> tuple[bytes, list[tuple[str, ...]], object]:
    """Backed up; then the password was changed and the files are gone. Its wp-config.php, its rows, what is left."""
    config, whole = site.config_file.read_bytes(), rows(lab, site)
    program("backup", site.name)
    lab.sql(site, f"DELETE FROM `{site.db_prefix}posts`")
    change_password(lab, site)
    no_root(lab, site)
    return config, whole, look_of(lab, site)


def test_without_a_password_that_opens_the_database_nothing_is_touched_and_the_hint_says_where_to_give_it(
    lab: Lab, fresh_site: Fresh, program: Program, tmp_path: Path
) -> None:
    site = fresh_site("kogyo.example")
    _, _, left = lost(lab, site, program)
    found = program("restore", site.name, "--dry-run", "--json", code=1).json
    assert codes(found["blockers"]) == ["no_database"]
    assert found["blockers"][0]["message"].startswith("wp-config.php is gone, and the generation's no longer opens")
    refused = program("restore", site.name, "--yes", "--json", code=1).error
    assert refused["code"] == "no_database"
    assert "[server.database]" in refused["hint"]
    in_the_file(program, site, tmp_path, "another wrong one")
    refused = program("restore", site.name, "--yes", "--json", code=1).error
    assert (refused["code"], "does not let us in" in refused["message"]) == ("no_database", True)
    assert look_of(lab, site) == left
    assert not list((site.home / ".modoseru" / site.name / "ops").glob("*-restore-*"))


def test_what_the_site_s_file_says_opens_the_database_and_only_the_password_of_wp_config_changes(
    lab: Lab, fresh_site: Fresh, program: Program, tmp_path: Path
) -> None:
    site = fresh_site("kogyo.example")
    config, whole, left = lost(lab, site, program)
    in_the_file(program, site, tmp_path)
    found = program("restore", site.name, "--dry-run", "--json").json
    assert found["blockers"] == []
    assert any(
        one["message"].startswith("wp-config.php is gone; its database opens with the") for one in found["warnings"]
    )

    assert program("restore", site.name, "--yes", "--json").json["outcome"] == "done"
    written = CHANGED.replace("\\", "\\\\").replace("'", "\\'")
    before, after = config.splitlines(), site.config_file.read_bytes().splitlines()
    assert [(old, new) for old, new in zip(before, after, strict=True) if old != new] == [
        (line, line.replace(f"'{site.db_password}'".encode(), f"'{written}'".encode()))
        for line in before
        if b"DB_PASSWORD" in line
    ]
    assert rows(lab, site) == whole
    assert site.title in lab.fetch(site)[1]
    assert lab.fetch(site, "/wp-login.php")[0] == 200

    state = site.home / ".modoseru" / site.name
    assert holding(CHANGED, state, program.state) == []
    restored = look_of(lab, site)
    assert program("undo", site.name, "--yes", "--json").json["outcome"] == "done"
    assert look_of(lab, site) == left
    # What the restore made is evidence now, wp-config.php with the rest of it, for nobody but the account.
    for path in map(Path, holding(CHANGED, state, program.state)):
        assert path.name == "wp-config.php"
        assert not stat.S_IMODE(state.stat().st_mode) & 0o077
    assert program("undo", site.name, "--yes", "--json").json["outcome"] == "done"
    assert look_of(lab, site) == restored
    assert site.title in lab.fetch(site)[1]


@pytest.mark.parametrize("only", [[], ["--only", "files"]])
def test_a_password_that_was_changed_since_stays_what_it_is(
    lab: Lab, fresh_site: Fresh, program: Program, only: list[str]
) -> None:
    """The site works; a generation from before the change would bring its old password back."""
    site = fresh_site("minato.example")
    program("backup", site.name)
    change_password(lab, site)
    written = CHANGED.replace("\\", "\\\\").replace("'", "\\'")
    site.config_file.write_text(site.config_file.read_text().replace(f"'{site.db_password}'", f"'{written}'"))
    lab.restart_php(site)
    assert site.title in lab.fetch(site)[1]
    (site.root / "wp-login.php").unlink()
    now, left = site.config_file.read_bytes(), look_of(lab, site)
    found = program("restore", site.name, *only, "--dry-run", "--json").json
    assert "credentials" in codes(found["warnings"])
    assert program("restore", site.name, *only, "--yes", "--json").json["outcome"] == "done"
    assert site.config_file.read_bytes() == now
    assert lab.fetch(site, "/wp-login.php")[0] == 200
    assert program("undo", site.name, "--yes", "--json").json["outcome"] == "done"
    assert look_of(lab, site) == left


def test_a_password_command_that_fails_ends_before_anything_begins(
    lab: Lab, fresh_site: Fresh, program: Program, tmp_path: Path
) -> None:
    site = fresh_site("kogyo.example")
    _, _, left = lost(lab, site, program)
    access: Mapping[str, Any] = {"name": site.db_name, "user": site.db_user, "password_command": ["false"]}
    program.write_site(site, {"server.database": access})
    refused = program("restore", site.name, "--yes", "--json", code=1).error
    assert refused["code"] == "password_command_failed"
    assert look_of(lab, site) == left


def test_fresh_and_one_post_is_refused(program: Program) -> None:
    refused = program("restore", "kogyo.example", "--only", "post:5", "--fresh", "--yes", "--json", code=2).error
    assert refused["code"] == "bad_only"
    assert "--fresh" in refused["message"]
