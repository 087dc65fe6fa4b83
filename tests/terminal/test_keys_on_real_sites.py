"""The dashboard by keys on real servers: back up, lose, restore, undo, update; leave while work goes on; refusals."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import Lab, LabSite
from tests.lab.layout import choose_port
from tests.lab.plugins import GOOD
from tests.operations.program import Program, program_of
from tests.operations.test_main_job import files, pages, rows
from tests.operations.test_update import marks
from tests.terminal.hand import Hand

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
SITE = "kogyo.example"
BAD = "broken-web"


@pytest.fixture
def program(lab: Lab, tmp_path: Path) -> Program:
    return program_of(lab, tmp_path)


def dashboard(program: Program, *words: str) -> Hand:
    names = ("MODOSERU_CONFIG", "MODOSERU_STATE")
    environment = {name: program.environment[name] for name in names}
    return Hand(program.config.parent, *words, environment=environment)


def test_what_was_deleted_comes_back_byte_for_byte_and_undo_takes_that_back(
    lab: Lab, fresh_site: Fresh, program: Program
) -> None:
    site = fresh_site(SITE)
    whole_pages, whole_files, whole_rows = pages(lab, site), files(site), rows(lab, site)
    with dashboard(program) as hand:
        hand.go_to(SITE)
        hand.press("b")
        assert "done" in hand.outcome(SITE, "backup")
        hand.until_row(SITE, "● unproven")

        lab.sql(site, f"DELETE FROM `{site.db_prefix}posts` WHERE post_status = 'publish'")
        shutil.rmtree(site.root / "wp-content" / "uploads")
        lost_pages, lost_files, lost_rows = pages(lab, site), files(site), rows(lab, site)
        assert lost_pages["/archives/5"][0] == 404

        assert "Goes" in hand.ask("R", f"Restore {SITE}")
        hand.press("Enter")
        hand.until(lambda screen: "Stays" not in screen)
        assert files(site) == lost_files
        hand.ask("R", f"Restore {SITE}")
        hand.agree(SITE)
        assert "done" in hand.outcome(SITE, "restore")
        assert (files(site), rows(lab, site), pages(lab, site)) == (whole_files, whole_rows, whole_pages)

        hand.ask("U", f"Undo on {SITE}")
        hand.agree(SITE)
        assert "done" in hand.outcome(SITE, "undo")
        assert (files(site), rows(lab, site), pages(lab, site)) == (lost_files, lost_rows, lost_pages)
        hand.quit()
    kinds = [one["kind"] for one in program("operations", SITE, "--json").json["operations"]]
    assert kinds == ["undo", "restore", "backup"], "the prompt that was left began nothing"


def test_a_good_update_stays_and_a_breaking_one_is_put_back(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site(SITE)
    for slug in (GOOD, BAD):
        lab.put_plugin(site, slug)
    lab.wporg.offer({GOOD: "1.1", BAD: "1.1"})
    program("updates", SITE)
    with dashboard(program) as hand:
        hand.go_to(SITE)
        hand.until_row(SITE, r"\b2$|\b2 ")
        hand.press("u")
        hand.until("2 chosen")
        hand.press("Enter")
        hand.until("Stays")
        hand.agree(SITE)
        assert "done" in hand.outcome(SITE, "update")
        hand.press("l")
        hand.until(rf"{BAD}.*put back|put back.*{BAD}")
        hand.press("Escape")
        hand.until(lambda screen: "put back" not in screen)
        hand.quit()
    assert marks(lab.fetch(site)[1]) == {f"{GOOD} 1.1", f"{BAD} 1.0"}


@pytest.mark.parametrize("kind", ["backup", "restore"])
@pytest.mark.parametrize("leaves", ["q", "kill -9"])
def test_work_goes_on_when_the_dashboard_is_left_and_opening_it_again_shows_its_end(
    lab: Lab, fresh_site: Fresh, program: Program, kind: str, leaves: str
) -> None:
    site = fresh_site(SITE)
    big = site.root / "wp-content" / "uploads" / "big.bin"
    big.write_bytes(os.urandom(1 << 20) * 200)
    os.chown(big, site.uid, site.uid)
    if kind == "restore":
        program("backup", SITE)
        big.unlink()
    program.write_site(site, {"server.cpu": 0.1})
    with dashboard(program) as hand:
        hand.go_to(SITE)
        if kind == "backup":
            hand.press("b")
        else:
            hand.ask("R", f"Restore {SITE}")
            hand.agree(SITE)
        hand.until(lambda _: re.search(r"files|verifying|staging", hand.job(SITE, kind)))
        if leaves == "q":
            hand.press("q")
            hand.until("goes on on its server")
            hand.press("Enter")  # Stay has the focus
            hand.until(lambda screen: "goes on on its server" not in screen)
            hand.press("q")
            hand.until("goes on on its server")
            hand.press("Right", "Enter")
            assert hand.ended() == 0
        else:
            os.kill(hand.process, signal.SIGKILL)
            assert hand.ended() == 128 + signal.SIGKILL
    (running,) = program("operations", "--json").json["operations"]
    assert (running["kind"], running["outcome"]) == (kind, None)
    with dashboard(program) as hand:
        hand.until(lambda _: hand.job(SITE, kind).startswith(" ↻"))
        assert "done" in hand.outcome(SITE, kind)
        hand.quit()
    assert program("operations", SITE, "--json").json["operations"][0]["outcome"] == "done"
    assert lab.fetch(site)[0] == 200
    assert big.stat().st_size == 200 << 20


def test_read_only_binds_no_dangerous_key_and_says_so(lab: Lab, fresh_site: Fresh, program: Program) -> None:
    site = fresh_site(SITE)
    program("backup", SITE)
    before = files(site)
    with dashboard(program, "--read-only") as hand:
        hand.until("READ-ONLY")
        hand.go_to(SITE)
        keys = hand.lines[-1]
        for word in ("restore", "undo", "update", "back up", "choose"):
            assert word not in keys
        hand.press("R", "r", "U", "u", "b", "C")
        hand.press("?")
        hand.until("Read-only: what changes a site is not bound.")
        assert "asks first" not in hand.screen
        assert "Stays" not in hand.screen
        hand.press("Escape")
        hand.until(lambda screen: "Read-only: what" not in screen)
        hand.quit()
    assert files(site) == before
    assert [one["kind"] for one in program("operations", SITE, "--json").json["operations"]] == ["backup"]


def test_what_cannot_be_reached_says_so_in_a_sentence(lab: Lab, program: Program, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    refused, closed = lab.site("sakura.example"), lab.site("momiji.example")
    program.write_site(refused, {"ssh.key": str(stranger)})
    program.write_site(closed, {"ssh.port": choose_port(None, set())})
    with dashboard(program) as hand:
        for site, sentence in ((refused, "the server refused the key"), (closed, "cannot connect")):
            hand.go_to(site.name)
            hand.press("b")
            line = hand.outcome(site.name, "backup")
            assert line.startswith(" ✖")
            hand.press("Enter")
            hand.until("Where it lives")
            hand.until(sentence)
            assert "Traceback" not in hand.screen
            hand.press("Escape")
            hand.until(lambda screen: "Where it lives" not in screen)
        hand.quit()
