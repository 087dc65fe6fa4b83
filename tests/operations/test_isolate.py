"""A site that is closed to the world is closed for everything and everyone, through a restore, until it is released."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agent.small import Tree, tree, without
from tests.lab import Lab, LabSite
from tests.operations.program import Program

pytestmark = pytest.mark.lab
SHELL = "<?php echo 'the shell runs';\n"
ACME = ".well-known/acme-challenge/Lp7-token_x"


@pytest.fixture(params=["minato.example", "sakura.example"])
def site(request: pytest.FixtureRequest, lab: Lab) -> LabSite:
    """Apache with .htaccess; nginx, which knows none, before php-fpm."""
    return lab.reset(lab.site(request.param))


@pytest.fixture
def attacked(lab: Lab, site: LabSite, program: Program) -> LabSite:
    """Backed up; then somebody planted a shell, with a .user.ini of its own beside it."""
    program("backup", site.name)
    plant(site, "wp-content/uploads/shell.php", SHELL)
    plant(site, "wp-content/uploads/.user.ini", "auto_prepend_file = none\n")
    plant(site, "wp-content/uploads/brochure.txt", "prices")
    assert lab.fetch(site, "/wp-content/uploads/shell.php") == (200, "the shell runs")
    return site


def plant(site: LabSite, name: str, text: str) -> Path:
    path = site.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.chown(path, site.uid, site.uid)
    return path


def files(site: LabSite) -> Tree:
    """Without the script that a server may still remember."""
    return without(tree(site.root), rb"\.modoseru.*")


def refused(lab: Lab, site: LabSite) -> None:
    for path in (
        "/",
        "/wp-login.php",
        "/wp-content/uploads/shell.php",
        "/wp-content/uploads/brochure.txt",
        "/readme.html",
    ):
        status, body = lab.fetch(site, path)
        assert status >= 403, (path, status)
        assert "the shell runs" not in body
        assert "prices" not in body
    assert lab.fetch(site, "/")[0] == 503


@contextmanager
def visitors(lab: Lab, site: LabSite) -> Iterator[list[str]]:
    """What strangers got to see meanwhile, without a pause."""
    seen: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            for path in ("/", "/wp-content/uploads/shell.php", "/wp-includes/images/blank.gif"):
                status, body = lab.fetch(site, path)
                if status < 400:
                    seen.append(f"{path} {status} {body[:80]}")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_a_closed_site_is_closed_for_all_and_comes_back_byte_for_byte(
    lab: Lab, attacked: LabSite, program: Program
) -> None:
    challenges = attacked.root / ".well-known/acme-challenge"
    challenges.mkdir(parents=True)  # whoever renews certificates leaves it there, empty
    for folder in (challenges, challenges.parent):
        os.chown(folder, attacked.uid, attacked.uid)
    before = files(attacked)
    ended = program("isolate", attacked.name, "--yes", "--json").json
    assert ended["outcome"] == "done", ended
    assert "refused from outside" in ended["detail"]
    refused(lab, attacked)
    seen = program("diff", attacked.name, "--json").json["files"]
    planted = {f"wp-content/uploads/{name}" for name in (".user.ini", "brochure.txt", "shell.php")}
    assert {one["path"] for one in seen["added"]} == planted
    assert (seen["changed"], seen["removed"]) == ([], [])  # the gates are no change of the site
    plant(attacked, ACME, "key authorisation")
    assert lab.fetch(attacked, f"/{ACME}") == (200, "key authorisation")
    shown = program("status", attacked.name, "--json").json["sites"][0]
    assert shown["isolated"] is not None
    assert shown["reasons"][0].startswith("isolated since")
    seen = program("check", attacked.name, "--json", code=1).json["sites"][0]
    assert (seen["health"]["state"], seen["health"]["http_status"]) == ("warning", 503)
    assert program("backup", attacked.name, "--json", code=1).error["code"] == "isolated"
    assert program("isolate", attacked.name, "--yes", "--json", code=1).json["detail"].endswith("isolated already")
    (attacked.root / ACME).unlink()
    os.utime(challenges, (before[os.fsencode(challenges.relative_to(attacked.root))].mtime,) * 2)
    assert program("release", attacked.name, "--yes", "--json").json["outcome"] == "done"
    assert lab.fetch(attacked, "/")[0] == 200
    assert lab.fetch(attacked, "/wp-content/uploads/brochure.txt") == (200, "prices")
    assert files(attacked) == before
    assert program("status", attacked.name, "--json").json["sites"][0]["isolated"] is None


def test_a_restore_keeps_it_closed_and_what_is_released_is_what_was_restored(
    lab: Lab, attacked: LabSite, program: Program
) -> None:
    program("isolate", attacked.name, "--yes")
    with visitors(lab, attacked) as seen:
        ended = program("restore", attacked.name, "--yes", "--json").json
    assert ended["outcome"] == "done", ended
    assert attacked.title in ended["detail"]  # the look passed the gate
    assert seen == []
    refused(lab, attacked)
    assert program("release", attacked.name, "--yes", "--json").json["outcome"] == "done"
    status, body = lab.fetch(attacked, "/")
    assert (status, attacked.title in body) == (200, True)
    assert not (attacked.root / "wp-content/uploads/shell.php").exists()
    assert program("diff", attacked.name, "--json").json["files"] == {
        "added": [], "changed": [], "removed": [], "suspicious": [],
    }  # fmt: skip
    # What lies in the evidence was closed when it was put aside; the site is open by now.
    assert program("undo", attacked.name, "--yes", "--json").json["outcome"] == "done"
    assert lab.fetch(attacked, "/wp-content/uploads/shell.php") == (200, "the shell runs")
    assert lab.fetch(attacked, "/")[0] == 200


def test_who_is_let_in_gets_the_site_and_others_of_the_account_are_named(lab: Lab, program: Program) -> None:
    site = lab.reset(lab.site("sakura.example"))
    done = program("isolate", site.name, "--allow", "127.0.0.0/8", "--yes", "--progress", "json", "--json")
    assert done.json["outcome"] == "done", done
    assert [one["item"] for one in done.events if one["type"] == "note" and one["code"] == "suspect"] == [
        "momiji.example"
    ]
    assert lab.fetch(site, "/")[0] == 200
    program("release", site.name, "--yes")


def test_a_folder_of_the_host_s_own_keeps_no_site_from_being_closed(lab: Lab, program: Program) -> None:
    site = lab.reset(lab.site("minato.example"))
    (site.root / ".well-known/acme-challenge").mkdir(parents=True)  # root's
    done = program("isolate", site.name, "--yes", "--json").json
    assert done["outcome"] == "done", done
    assert "acme-challenge/ was not seen to be open" in done["detail"]
    assert lab.fetch(site)[0] == 503
    program("release", site.name, "--yes")
    assert (site.root / ".well-known/acme-challenge").is_dir()


def test_a_site_that_was_not_reached_was_not_seen_to_be_closed(lab: Lab, program: Program) -> None:
    site = lab.reset(lab.site("minato.example"))
    program.write_site(site, {"web.connect": "127.0.0.1:9"})
    ended = program("isolate", site.name, "--yes", "--json", code=3).json
    assert ended["outcome"] == "needs_hand"
    assert ended["detail"].startswith("the gate stands, but the site was not reached from outside")
    assert lab.fetch(site)[0] == 503
    program("release", site.name, "--yes", code=3)
    assert lab.fetch(site)[0] == 200


def test_bad_input(program: Program) -> None:
    assert (
        program("isolate", "kogyo.example", "--allow", "300.1.1.1", "--yes", "--json", code=2).error["code"]
        == "bad_address"
    )
    assert program("isolate", "kogyo.example", "--json", code=2).error["code"] == "not_confirmed"
    assert "not isolated" in program("release", "kogyo.example", "--yes", "--json", code=1).json["detail"]
