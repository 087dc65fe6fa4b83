"""`modoseru restore SITE --to OTHER` on real servers: a site becomes another, under that one's address and prefix."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from app.operations import guard, moving
from backends.agent.client import Agent
from backends.records import GENERATION_ID, Finished, Note, Outcome, Progress
from tests.lab import Lab, LabSite
from tests.operations.program import Program
from tests.operations.test_main_job import files, rows

pytestmark = pytest.mark.lab
Fresh = Callable[[str], LabSite]
GUARDED = "https://www.kogyo.example"


def option(lab: Lab, site: LabSite, name: str) -> str:
    ((value,),) = lab.sql(site, f"SELECT option_value FROM `{site.db_prefix}options` WHERE option_name = '{name}'")
    return value


def eval_in_wordpress(site: LabSite, code: str) -> object:
    """What a line of PHP gives inside the site's real WordPress, as its own account."""
    script = (
        f"$_SERVER['HTTP_HOST']='{site.host}';$_SERVER['HTTPS']='on';define('DISABLE_WP_CRON',true);"
        f"require '{site.root}/wp-load.php';echo \"\\n@@\".json_encode((function(){{{code}}})());"
    )
    done = subprocess.run(
        ["setpriv", f"--reuid={site.uid}", f"--regid={site.uid}", "--clear-groups", "php", "-r", script],
        capture_output=True, text=True, check=True, env={"HOME": str(site.home), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return json.loads(done.stdout.split("@@", 1)[1])


@pytest.fixture
def source(lab: Lab, fresh_site: Fresh, program: Program) -> LabSite:
    """A site with a widget, a theme's settings, secrets and broken data, all of which know its address; backed up."""
    site = fresh_site("kogyo.example")
    options, meta = f"`{site.db_prefix}options`", f"`{site.db_prefix}usermeta`"
    widget = {"2": {"text": f'<a href="{GUARDED}/company">会社🏭</a>', "n": 1}}
    eval_in_wordpress(
        site,
        f"update_option('widget_lab', json_decode('{json.dumps(widget)}', true));"
        f"update_option('lab_nested', ['inner' => serialize(['u' => '{GUARDED}/x🏭'])]);"
        f"update_option('lab_json', json_encode(['u' => '{GUARDED}/x']));"
        "update_option('lab_api_key', 'sk-of-the-source'); return 1;",
    )
    broken = f'a:1:{{i:0;s:9:"{GUARDED}/";}}'
    lab.sql(site, f"INSERT INTO {options} (option_name, option_value) VALUES ('lab_broken', '{broken}')")
    lab.sql(site, f"INSERT INTO {options} (option_name, option_value) VALUES ('auth_salt', 'salt of the source')")
    for key in ("session_tokens", "_application_passwords"):
        lab.sql(site, f"INSERT INTO {meta} (user_id, meta_key, meta_value) VALUES (1, '{key}', 'a:0:{{}}')")
    (site.root / ".env").write_text("SECRET=of the source")
    program("backup", site.name)
    return site


@pytest.mark.parametrize("name", ["momiji.example", "sakura.example"])
def test_another_site_shows_it_under_its_own_address_with_its_own_keys_and_undo_takes_that_back(
    lab: Lab, fresh_site: Fresh, program: Program, source: LabSite, name: str
) -> None:
    target = fresh_site(name)
    program("backup", name)
    kept = program("generations", name, "--json").json["generations"]
    config = target.config_file.read_bytes()
    source_before = files(source), rows(lab, source)
    target_before = files(target), rows(lab, target)

    done = program("restore", source.name, "--to", name, "--yes", "--json", "--progress", "json")
    assert (done.json["site"], done.json["kind"], done.json["outcome"]) == (name, "restore", "done")
    assert [step["name"] for step in done.json["steps"]] == [
        "preflight",
        "stage",
        "verify",
        "rewrite",
        "switch",
        "check",
    ]
    notes = {event["code"]: event["text"] for event in done.events if event["type"] == "note"}
    assert "lab_api_key" in notes["keys"]
    assert notes["not_rewritten"].startswith("1 values")

    status, page = lab.fetch(target)
    assert (status, source.title in page) == (200, True)
    assert source.host not in page
    links = re.findall(r'href="(https?://[^"/]+)', page)
    assert f"https://{target.host}" in links
    assert lab.fetch(target, "/archives/5")[0] == 200
    assert lab.fetch(target, "/wp-login.php")[0] == 200

    home = target.url.rstrip("/")
    assert [option(lab, target, one) for one in ("home", "siteurl")] == [home, home]
    assert eval_in_wordpress(target, "return get_option('widget_lab');") == {
        "2": {"text": f'<a href="{home}/company">会社🏭</a>', "n": 1}
    }
    assert eval_in_wordpress(target, "return unserialize(get_option('lab_nested')['inner']);") == {"u": f"{home}/x🏭"}
    assert eval_in_wordpress(target, "return json_decode(get_option('lab_json'));") == {"u": f"{home}/x"}
    assert eval_in_wordpress(target, "return wp_get_current_user() && user_can(1, 'manage_options');") is True
    assert GUARDED in option(lab, target, "lab_broken")
    guids = lab.sql(target, f"SELECT COUNT(*) FROM `{target.db_prefix}posts` WHERE guid LIKE '{GUARDED}%'")
    assert int(guids[0][0]) > 0

    assert target.config_file.read_bytes() == config
    assert not (target.root / ".env").exists()
    everything = "".join(str(row) for row in lab.sql(target, f"SELECT meta_key FROM `{target.db_prefix}usermeta`"))
    assert "session_tokens" not in everything
    assert "_application_passwords" not in everything
    assert lab.sql(target, f"SELECT 1 FROM `{target.db_prefix}options` WHERE option_name = 'auth_salt'") == []
    assert source.db_password not in "".join(
        path.read_text(errors="replace") for path in target.base.rglob("*.php") if ".modoseru" not in path.parts
    )
    assert not list((target.home / ".modoseru" / name / "incoming").iterdir())

    assert (files(source), rows(lab, source)) == source_before
    assert program("generations", name, "--json").json["generations"] == kept
    program("undo", name, "--yes")
    assert (files(target), rows(lab, target)) == target_before
    assert target.title in lab.fetch(target)[1]


def test_a_dry_run_names_both_sites_and_what_cannot_be_meant_is_refused(
    lab: Lab, fresh_site: Fresh, program: Program, source: LabSite
) -> None:
    target = fresh_site("momiji.example")
    before = files(target), rows(lab, target)
    found = program("restore", source.name, "--to", target.name, "--dry-run", "--json").json
    assert (found["site"], found["to"], found["blockers"]) == (source.name, target.name, [])
    assert found["loss"]["posts"] > 0
    text = program("restore", source.name, "--to", target.name, "--dry-run")
    assert f"All files and the whole database of {target.name} are replaced by those of {source.name}." in text.out
    assert text.err.rstrip().endswith(f"--to {target.name}")
    refused = program("restore", source.name, "--to", target.name, "--json", code=2).error
    assert refused["code"] == "not_confirmed"
    for words, code in (
        (("--to", source.name), "bad_target"),
        (("--to", target.name, "--only", "files"), "bad_only"),
        (("--to", "nowhere.example"), "site_unknown"),
    ):
        assert program("restore", source.name, *words, "--yes", "--json", code=2).error["code"] == code
    assert (files(target), rows(lab, target)) == before
    assert not (target.home / ".modoseru" / target.name / "incoming").exists()


def pack_of(site: LabSite) -> Path:
    (pack,) = (site.home / ".modoseru" / site.name / "packs").glob("*.tar")
    return pack


def test_a_pack_that_was_damaged_on_its_server_is_refused_before_anything_begins(
    lab: Lab, fresh_site: Fresh, program: Program, source: LabSite
) -> None:
    target = fresh_site("momiji.example")
    before = files(target), rows(lab, target)
    pack = pack_of(source)
    whole = pack.read_bytes()
    spoiled = bytearray(whole)
    spoiled[len(whole) // 2] ^= 1
    pack.write_bytes(spoiled)
    refused = program("restore", source.name, "--to", target.name, "--yes", "--json", code=1).error
    assert refused["code"] == "damaged"
    assert (files(target), rows(lab, target)) == before
    assert program("operations", target.name, "--json").json["operations"] == []
    pack.write_bytes(whole)
    program("restore", source.name, "--to", target.name, "--yes")


async def test_a_cut_connection_and_a_runner_that_leaves_cost_only_what_was_on_its_way(
    lab: Lab, fresh_site: Fresh, program: Program, source: LabSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = fresh_site("momiji.example")
    before = files(target), rows(lab, target)
    async with program.session() as session:
        one, other = session.fleet.site(source.name), session.fleet.site(target.name)
        intent = await moving.plan(session, one, other)
        reached = 0
        async with contextlib.aclosing(guard.start(session, intent, confirmed=True)) as events:
            async for event in events:
                if isinstance(event, Progress) and 0 < event.done < (event.total or 0):
                    reached = event.done
                    break
        assert reached
        assert (files(target), rows(lab, target)) == before
        assert await session.agent(other).operations() == ()

        # The connection to the target is cut under way, then that to the source.
        read, cuts, begun = Agent.send, [target, source], list[int]()

        async def cut_under_way(
            self: Agent, generation: str, what: str, offset: int = 0, *, size: int | None = None
        ) -> AsyncGenerator[memoryview]:
            cut = None
            if GENERATION_ID.match(what):
                begun.append(offset)
                cut = cuts.pop(0) if cuts else None
            async with contextlib.aclosing(read(self, generation, what, offset, size=size)) as blocks:
                async for block in blocks:
                    yield block
                    if cut is not None:
                        lab.cut_ssh(cut)
                        cut = None

        monkeypatch.setattr(Agent, "send", cut_under_way)
        seen = [event async for event in guard.start(session, intent, confirmed=True)]
        assert cuts == []
        assert [event.code for event in seen if isinstance(event, Note) and event.line < 0].count("reconnecting") == 2
        assert len(begun) == 3
        assert begun == sorted(begun)
        (end,) = [event for event in seen if isinstance(event, Finished)]
        assert end.outcome is Outcome.DONE
    assert source.title in lab.fetch(target)[1]
