"""A site that is broken, in each way of FACTS 11, is listed, looked at from outside, and brought back."""

from __future__ import annotations

import pytest

from tests.lab import Lab, LabSite
from tests.lab.layout import wait_until
from tests.lab.plugins import FAULTS
from tests.operations.program import Program, program_of

pytestmark = pytest.mark.lab
NAME = "sakura.example"
SEEN = {
    "broken-init": (500, "critical", 2),
    "broken-parse": (500, "critical", 2),
    "broken-white": (200, "critical", 2),
    "broken-web": (500, "critical", 2),
    "broken-database": (500, "critical", 2),
    "broken-maintenance": (503, "warning", 1),
}
"""What `check` tells: status, state, its own exit status."""


@pytest.fixture(scope="module")
def site(lab: Lab) -> LabSite:
    found = lab.reset(lab.site(NAME))
    for slug in FAULTS:
        lab.put_plugin(found, slug)
    return found


@pytest.fixture(scope="module")
def backed_up(lab: Lab, site: LabSite, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """One generation of the good site serves all that follows."""
    program = program_of(lab, tmp_path_factory.mktemp("broken"))
    program("backup", NAME)
    program("check", NAME)
    return program


def is_back(lab: Lab, site: LabSite) -> None:
    status, body = lab.fetch(site)
    assert status == 200
    assert site.title in body
    assert lab.fetch(site, "/archives/5")[0] == 200


@pytest.mark.parametrize("slug", sorted(FAULTS))
def test_a_broken_plugin_is_seen_and_the_restore_brings_the_site_back(
    lab: Lab, site: LabSite, backed_up: Program, slug: str
) -> None:
    lab.put_plugin(site, slug, "1.1")
    lab.restart_php(site)
    wait_until(lambda: site.title not in lab.fetch(site)[1], 10, "the page to break")
    status, state, code = SEEN[slug]
    seen = backed_up("check", NAME, "--json", code=code).json["sites"][0]
    assert (seen["health"]["http_status"], seen["health"]["state"]) == (status, state)
    assert seen["verdict"] == "unproven"  # it can be restored: that is another question
    assert NAME in backed_up("status").out
    assert backed_up("restore", NAME, "--yes", "--json").json["outcome"] == "done"
    is_back(lab, site)


@pytest.mark.parametrize("broken", ["no wp-config.php", "wp-config.php does not parse", "no files at all"])
def test_a_site_without_its_files_is_seen_and_comes_back(
    lab: Lab, site: LabSite, backed_up: Program, broken: str
) -> None:
    if broken == "no wp-config.php":
        site.config_file.unlink()
    elif broken == "wp-config.php does not parse":
        site.config_file.write_text(site.config_file.read_text().replace("define( 'DB_USER'", "define( DB_USER'"))
    else:
        for path in list(site.root.iterdir()):
            path.rename(site.base / f"taken-{path.name}")
    lab.restart_php(site)
    assert backed_up("check", NAME, "--json", code=None).json["sites"][0]["health"]["state"] != "ok"
    error = backed_up("backup", NAME, "--json", code=1).json  # a broken site makes no generation
    assert error.get("error") or error["outcome"] == "rolled_back"
    assert len(backed_up("generations", NAME, "--json").json["generations"]) == 1
    assert backed_up("restore", NAME, "--yes", "--json").json["outcome"] == "done"
    is_back(lab, site)


def test_a_locked_database_account_is_named_and_nothing_is_touched(lab: Lab, site: LabSite, backed_up: Program) -> None:
    lab.lock_database(site)
    try:
        seen = backed_up("check", NAME, "--json", code=2).json["sites"][0]
        assert seen["health"]["http_status"] == 500
        for command in (["backup"], ["restore", "--yes"]):
            answer = backed_up(command[0], NAME, *command[1:], "--json", code=1).json
            told = answer.get("error", {}).get("message") or answer["detail"]
            assert "database" in told
        tested = backed_up("site", "test", NAME, code=1)
        assert "✖ database" in tested.out
        assert len(backed_up("generations", NAME, "--json").json["generations"]) == 1
    finally:
        lab.reset(site)
