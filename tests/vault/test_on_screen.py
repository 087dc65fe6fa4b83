"""The vault in the dashboard: `V` copies into it, `r` brings a generation back that only it has, and restores it."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from textual.widgets import OptionList

from app.screens.generations import Generations
from app.screens.identity import AskIdentity
from backends.records import Outcome
from tests.lab import Lab, LabSite
from tests.operations.screen_of_fleet import on_screen
from tests.operations.test_lost_config_on_screen import agreed, ended
from tests.vault.machine import Machine

pytestmark = pytest.mark.lab
NAME = "sakura.example"


async def test_what_the_server_lost_is_copied_before_and_restored_from_the_vault(
    on_folder: Machine, lab: Lab, fresh_site: Callable[[str], LabSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = fresh_site(NAME)
    monkeypatch.delenv("MODOSERU_IDENTITY", raising=False)
    on_folder.program("backup", NAME)
    async with on_screen(on_folder.program) as screen:
        await screen.go_to(NAME)
        await screen.press("V")
        assert await ended(screen, NAME, "vault") is Outcome.DONE
        (listed,) = on_folder.in_vault(NAME)
        shutil.rmtree(site.home / ".modoseru" / NAME)
        (site.root / "index.php").write_bytes(b"LOCKED")
        await screen.look_again(NAME)
        await screen.press("r")
        await screen.until(lambda: isinstance(screen.app.screen, Generations))
        assert screen.app.screen.query_one(OptionList).option_count == 1
        assert screen.shows(listed["id"])
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, AskIdentity))
        await screen.press(*"/nowhere", "enter")
        await screen.until(lambda: screen.shows("there is no age identity"))
        await screen.press("ctrl+u", *str(on_folder.identity), "enter")
        assert await ended(screen, NAME, "bring") is Outcome.DONE
        await agreed(screen, NAME)
        assert await ended(screen, NAME, "restore") is Outcome.DONE
    status, body = lab.fetch(site)
    assert (status, site.title in body) == (200, True)
