"""The one-time page, opened as the client opens it: what visitors get from then on is what the files say."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.ssh import Servers
from tests.agent.test_wordpress import agent_of
from tests.lab import Lab, LabSite

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
Fresh = Callable[[str], LabSite]
CACHE = "<?php $s = opcache_get_status(false); echo json_encode($s['opcache_statistics'] + $s);"


def put(site: LabSite, name: str, code: str, mtime: float | None = None) -> Path:
    """A script of the site; opcache does not keep what is younger than two seconds, so it is older than that."""
    path = site.root / name
    path.write_text(code)
    os.chown(path, site.uid, site.uid)
    os.utime(path, (path.stat().st_mtime - 60,) * 2 if mtime is None else (mtime, mtime))
    return path


def cache(lab: Lab, site: LabSite) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.fetch(site, "/cache.php")[1])
    return found


async def opened(lab: Lab, site: LabSite, servers: Servers) -> dict[str, Any]:
    page = await agent_of(servers, site).page()
    status, body = await asyncio.to_thread(lab.fetch, site, f"/{page}")
    assert status == 200
    assert not (site.root / page).exists()
    answer: dict[str, Any] = json.loads(body)
    return answer


@pytest.fixture
async def site(lab: Lab, fresh_site: Fresh) -> LabSite:
    site = await asyncio.to_thread(fresh_site, "kogyo.example")
    put(site, "cache.php", CACHE)
    assert site.title in lab.fetch(site)[1]
    return site


async def test_every_script_is_compiled_anew_while_the_cache_stays_warm(
    lab: Lab, site: LabSite, servers: Servers
) -> None:
    forged = put(site, "forged.php", "<?php echo 'hacked';")
    assert lab.fetch(site, "/forged.php")[1] == "hacked"
    put(site, "forged.php", "<?php echo 'clean!';", forged.stat().st_mtime)
    assert lab.fetch(site, "/forged.php")[1] == "hacked"
    before = cache(lab, site)
    assert (await opened(lab, site, servers))["opcache"] is True
    after = cache(lab, site)
    assert lab.fetch(site, "/forged.php")[1] == "clean!"
    assert after["num_cached_scripts"] >= before["num_cached_scripts"] > 100
    assert [after[key] for key in ("manual_restarts", "restart_pending")] == [before["manual_restarts"], False]


async def test_a_script_that_is_gone_and_was_served_a_moment_ago_is_served_no_more(
    lab: Lab, site: LabSite, servers: Servers
) -> None:
    shell = put(site, "shell.php", "<?php echo 'owned';")
    put(site, "door.php", "<?php include __DIR__ . '/shell.php';")
    assert lab.fetch(site, "/door.php")[1] == "owned"
    shell.unlink()
    assert (await opened(lab, site, servers))["opcache"] is True
    assert "owned" not in lab.fetch(site, "/door.php")[1]


async def test_a_script_that_does_not_compile_keeps_the_others_from_nothing(
    lab: Lab, site: LabSite, servers: Servers
) -> None:
    """A fatal error of the compiler ends the page where it stands: the reset comes in its place."""
    forged, broken = put(site, "forged.php", "<?php echo 'hacked';"), put(site, "broken.php", "<?php echo 1;")
    for path in (broken, forged):
        lab.fetch(site, f"/{path.name}")
    put(site, "forged.php", "<?php echo 'clean!';", forged.stat().st_mtime)
    put(site, "broken.php", "<?php function a() {} function a() {}", broken.stat().st_mtime)
    answer = await opened(lab, site, servers)
    assert answer["opcache"] is True
    assert lab.fetch(site, "/forged.php")[1] == "clean!"
    assert lab.fetch(site, "/broken.php")[0] == 500
    assert lab.fetch(site)[0] == 200
