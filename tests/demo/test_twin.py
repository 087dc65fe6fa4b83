"""Every verb of the protocol, spoken to the twin over SSH by a raw client."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.demo.fleet import Demo
from tests.demo.speaking import NAME, RefusedError, left, speaking


async def test_the_agent_is_compared_then_installed_and_a_missing_one_is_told_as_php_tells_it(demo: Demo) -> None:
    async with speaking(demo, installed=False) as speaker:
        done = await speaker.run(f"{speaker.php} .modoseru/{NAME} inspect", b"{}")
        assert (done.exit_status, b"Could not open input file" in done.stdout) == (1, True)
        assert not await speaker.load(body=False)
        assert await speaker.load(body=True)
        assert await speaker.load(body=False)
    assert (demo.sites["kogyo.example"].home / ".modoseru" / NAME).stat().st_mode & 0o777 == 0o600


async def test_inspect_tells_what_lies_on_the_disk(demo: Demo) -> None:
    async with speaking(demo) as speaker:
        seen = await speaker.ask("inspect", refresh=False)
        assert (seen["booted"], seen["wordpress"], seen["title"]) == (True, "7.1.1", "サンプル工業株式会社")
        assert {update["slug"] for update in seen["updates"]} == {"akismet", "contact-form-7", "wordpress-seo"}
        assert len(seen["generations"]) == len(seen["summaries"]) == 8
        demo.sites["kogyo.example"].delete_file("wp-config.php")
        broken = await speaker.ask("inspect")
        assert (broken["booted"], broken["config_file"]) == (False, None)
        assert "wp-config.php" in broken["boot_error"]["message"]


async def test_generations_come_newest_first_and_agree_with_the_inspection(demo: Demo) -> None:
    async with speaking(demo) as speaker:
        listed = await speaker.ask("generations")
        ids = [generation["id"] for generation in listed["generations"]]
        assert ids == sorted(ids, reverse=True)
        assert listed["generations"] == (await speaker.ask("inspect"))["generations"]
        before = listed["summaries"]
        await speaker.carry_out("verify", generation=ids[0])
        assert (await speaker.ask("generations"))["summaries"] == before


async def test_a_past_generation_holds_what_its_listing_says(demo: Demo) -> None:
    async with speaking(demo, "sakaya.example") as speaker:
        generation = (await speaker.ask("generations"))["generations"][3]
        preview = await speaker.ask("preview", generation=generation["id"], only="all")
        assert preview["loss"]["orders"] > 60
        checked = await speaker.carry_out("verify", generation=generation["id"])
        assert checked.last["outcome"] == "done"
        await speaker.carry_out("restore", generation=generation["id"], only="all")
        made = await speaker.carry_out("snapshot", reason="hand")
        newest = (await speaker.ask("generations"))["generations"][0]
        assert newest["id"] == made.last["generation"]
        for field in ("bytes", "files", "tables", "rows"):
            assert newest[field] == generation[field]


async def test_a_backup_appears_with_its_seal_and_lets_old_ones_go_only_when_the_newest_reads_back(demo: Demo) -> None:
    async with speaking(demo) as speaker:
        story = await speaker.carry_out("snapshot", reason="weekly", keep=8, min_age_s=0)
        assert story.steps == ["prepare", "database", "files", "seal", "retention"]
        assert (story.last["outcome"], story.state) == ("done", "finished")
        listed = await speaker.ask("generations")
        assert listed["generations"][0]["id"] == story.last["generation"]
        assert listed["summaries"][story.last["generation"]] == story.last["summary"]
        assert len(story.notes("let_go")) == 1
        assert len(listed["generations"]) == 8
        young = await speaker.carry_out("snapshot", reason="weekly", keep=1, min_age_s=400 * 86400)
        assert young.notes("let_go") == []


async def test_lines_count_from_nought_without_gaps_and_the_journal_holds_them(demo: Demo) -> None:
    async with speaking(demo) as speaker:
        story = await speaker.carry_out("snapshot", reason="hand")
        assert [event["line"] for event in story.events] == list(range(len(story.events)))
        ops = demo.sites["kogyo.example"].home / ".modoseru/kogyo.example/ops" / story.operation
        journal = [json.loads(line) for line in (ops / "journal").read_text().splitlines()]
        assert [line for line in journal if not line["type"].startswith("_")] == story.events
        async with speaker.talk("follow", operation=story.operation, **{"from": 3}) as lines:
            told = [line async for line in lines]
        assert [line["event"] for line in told[:-1]] == story.events[3:]
        assert told[-1] == {"reply": {"state": "finished"}}


async def test_verify_names_the_damaged_file_and_a_restore_of_it_touches_nothing(demo: Demo) -> None:
    from app.demo.archive import Archive

    async with speaking(demo) as speaker:
        name = (await speaker.ask("generations"))["generations"][0]["id"]
        site = demo.sites["kogyo.example"]
        Archive(site, site.home / ".modoseru/kogyo.example").damage(name)
        checked = await speaker.carry_out("verify", generation=name)
        assert (checked.last["outcome"], checked.last["code"]) == ("rolled_back", "damaged")
        assert checked.last["detail"] == "index.php changed"
        before = site.read("index.php")
        story = await speaker.carry_out("restore", generation=name, only="all")
        assert (story.last["outcome"], story.last["code"]) == ("rolled_back", "damaged")
        assert site.read("index.php") == before
        assert [path.name for path in site.home.iterdir() if path.name.startswith(".modoseru-")] == []


async def test_the_page_answers_once_and_removes_itself(demo: Demo) -> None:
    from tests.demo.speaking import fetch

    async with speaking(demo) as speaker:
        token = "0123456789abcdef" * 2
        page = (await speaker.ask("page", token=token))["page"]
        status, body = await fetch(demo, path=f"/{page}")
        assert (status, json.loads(body)["modoseru"]) == (200, token)
        assert (await fetch(demo, path=f"/{page}"))[0] == 404


@pytest.mark.parametrize(
    ("verb", "fields", "code"),
    [
        ("inspect", {"protocol": 2}, "protocol"),
        ("inspect", {"root": 7}, "bad_request"),
        ("inspect", {"root": "~/nowhere"}, "no_root"),
        ("inspect", {"root": "../../etc"}, "no_root"),
        ("dance", {}, "bad_request"),
        ("verify", {"generation": "20200101T000000Z"}, "no_generation"),
        ("verify", {"generation": "../../x"}, "no_generation"),
        ("restore", {"generation": "20200101T000000Z"}, "no_generation"),
        ("preview", {}, "bad_request"),
        ("undo", {}, "nothing_to_undo"),
        ("follow", {"operation": "20200101T000000Z-backup-aaaaaa"}, "no_operation"),
        ("follow", {"operation": "../../../etc"}, "no_operation"),
        ("cancel", {"operation": 3}, "bad_request"),
    ],
)
async def test_a_wrong_request_is_an_error_of_the_protocol(
    demo: Demo, verb: str, fields: dict[str, object], code: str
) -> None:
    async with speaking(demo) as speaker:
        with pytest.raises(RefusedError) as told:
            await speaker.ask(verb, **fields)
        assert told.value.code == code
        assert (await speaker.ask("operations"))["operations"] == []


async def test_a_path_that_leads_out_of_the_site_is_not_restored(demo: Demo) -> None:
    async with speaking(demo) as speaker:
        name = (await speaker.ask("generations"))["generations"][0]["id"]
        for only in (["../../x"], ["/etc/passwd"], [], "everything", [3]):
            with pytest.raises(RefusedError, match="bad_request"):
                await speaker.ask("restore", generation=name, only=only)


async def test_what_is_no_php_is_not_found_and_a_shell_gets_a_sentence(demo: Demo) -> None:
    async with speaking(demo) as speaker:
        assert (await speaker.run("/usr/bin/php9.9 -v")).exit_status == 127
        assert (await speaker.run("true")).exit_status == 0
        done = await speaker.run(f"{speaker.php} .modoseru/{NAME} inspect", b"not json")
        assert (done.exit_status, done.stderr) == (2, b"the request is not a JSON object\n")


async def test_one_account_installs_the_agent_for_several_sites_at_once(demo: Demo) -> None:
    async with speaking(demo, "gakuin.example", installed=False) as speaker:
        assert await asyncio.gather(*(speaker.load(body=True) for _ in range(6))) == [True] * 6
        assert left(demo.sites["gakuin.example"].home / ".modoseru") == [NAME]


async def test_sites_of_one_account_share_a_connection_and_nothing_else(demo: Demo) -> None:
    async with speaking(demo, "gakuin.example") as speaker:
        assert (await speaker.ask("inspect"))["title"] == "青空学院"
        await speaker.carry_out("snapshot", reason="hand")
        other = {"site": "juku.example", "root": "~/juku/public_html"}
        assert (await speaker.ask("inspect", **other))["title"] == "進学塾ステップ"
        assert (await speaker.ask("operations", **other))["operations"] == []


async def test_a_site_that_is_broken_is_not_backed_up_and_says_why(demo: Demo) -> None:
    async with speaking(demo, "fudosan.example") as speaker:
        story = await speaker.carry_out("snapshot", reason="hand")
        assert (story.last["outcome"], story.last["code"]) == ("rolled_back", "no_database")
        assert len((await speaker.ask("generations"))["generations"]) == 8
