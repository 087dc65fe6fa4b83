"""What a visitor sees: trouble shows on the page, a restore brings the page back, an undo brings the trouble back."""

from __future__ import annotations

import ssl

import pytest

from app.demo.fleet import Demo
from tests.demo.speaking import fetch, speaking


async def newest(demo: Demo, site: str = "kogyo.example") -> str:
    async with speaking(demo, site) as speaker:
        return str((await speaker.ask("generations"))["generations"][0]["id"])


async def test_a_restore_brings_deleted_posts_and_files_back_to_the_byte_and_undo_takes_them_away(demo: Demo) -> None:
    site = demo.sites["kogyo.example"]
    async with speaking(demo) as speaker:
        made = (await speaker.carry_out("snapshot", reason="hand")).last["generation"]
        status, before = await fetch(demo)
        titles = site.delete_posts(3)
        site.delete_file("wp-content/uploads")
        _, deleted = await fetch(demo)
        assert status == 200
        assert all(title in before for title in titles)
        assert "<img" in before
        assert "<img" not in deleted
        assert len(deleted) < len(before)

        story = await speaker.carry_out("restore", generation=made, only="all")
        assert story.steps == ["preflight", "stage", "verify", "switch", "check"]
        assert (story.last["outcome"], story.last["generation"]) == ("done", made)
        assert await fetch(demo) == (200, before)

        story = await speaker.carry_out("undo")
        assert (story.steps, story.last["outcome"]) == (["preflight", "stage", "switch", "check"], "done")
        assert await fetch(demo) == (200, deleted)

        await speaker.carry_out("undo")
        assert await fetch(demo) == (200, before), "undone twice, it is a redo"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [("index.php", 403, "Forbidden"), ("wp-config.php", 500, "wp-config.php"), ("wp-includes", 500, "critical error")],
)
async def test_a_missing_file_shows_and_a_restore_of_that_path_alone_brings_it_back(
    demo: Demo, path: str, status: int, text: str
) -> None:
    before = await fetch(demo)
    generation = await newest(demo)
    demo.sites["kogyo.example"].delete_file(path)
    seen = await fetch(demo)
    assert seen[0] == status
    assert text in seen[1]
    async with speaking(demo) as speaker:
        story = await speaker.carry_out("restore", generation=generation, only=[path])
    assert story.last["outcome"] == "done"
    assert await fetch(demo) == before, "posts that are newer than the generation are still there"


async def test_the_hacked_site_is_defaced_until_it_is_restored(demo: Demo) -> None:
    name = "ryokan.example"
    assert "HACKED" in (await fetch(demo, name))[1]
    generation = await newest(demo, name)
    async with speaking(demo, name) as speaker:
        logins = [user["login"] for user in (await speaker.ask("inspect"))["administrators"]]
        assert "wp_support1" in logins
        await speaker.carry_out("restore", generation=generation, only="all")
        assert len((await speaker.ask("inspect"))["administrators"]) == 1
    status, body = await fetch(demo, name)
    assert (status, "湯の里旅館" in body) == (200, True)
    assert demo.sites[name].read("wp-content/uploads/.cache-7f3a.php") is None


async def test_broken_sites_answer_as_wordpress_does(demo: Demo) -> None:
    assert (await fetch(demo, "shika.example"))[0] == 500
    assert "critical error" in (await fetch(demo, "shika.example"))[1]
    assert "Error establishing a database connection" in (await fetch(demo, "fudosan.example"))[1]
    with pytest.raises(ConnectionRefusedError):
        await fetch(demo, "wagashi.example")
    for name in ("bengoshi.example", "kissa.example"):
        with pytest.raises(ssl.SSLCertVerificationError):
            await fetch(demo, name)


async def test_a_restore_whose_look_fails_is_taken_back(demo: Demo) -> None:
    site = demo.sites["kogyo.example"]
    site.make()
    site.delete_posts(2)
    before = await fetch(demo)
    generation = await newest(demo)
    async with speaking(demo) as speaker:
        story = await speaker.carry_out("restore", generation=generation, only="all", kept={None: False})
        assert (story.last["outcome"], story.last["code"]) == ("rolled_back", "check_failed")
        assert [event["subject"] for event in story.events if event["type"] == "asked"] == ["look", "reset"]
        with pytest.raises(Exception, match="nothing_to_undo"):
            await speaker.ask("undo")
    assert await fetch(demo) == before


async def test_an_update_that_breaks_the_page_is_put_back_alone_and_undo_takes_the_other_back(demo: Demo) -> None:
    name = "nouen.example"
    items = [{"kind": "plugin", "slug": slug} for slug in ("akismet", "reservation-calendar", "contact-form-7")]
    async with speaking(demo, name) as speaker:
        story = await speaker.carry_out("update", items=items, kept={"reservation-calendar": False})
        assert story.steps == ["prepare", "database", "files", "seal", "update"]
        assert story.notes("updated") == ["akismet", "contact-form-7"]
        assert story.notes("put_back") == ["reservation-calendar"]
        assert (story.last["outcome"], story.last["generation"] is not None) == ("done", True)
        assert (await fetch(demo, name))[0] == 200
        waiting = {update["slug"] for update in (await speaker.ask("inspect"))["updates"]}
        assert waiting == {"reservation-calendar"}
        assert (await speaker.ask("generations"))["generations"][0]["reason"] == "update"
        await speaker.carry_out("undo")
        waiting = {update["slug"] for update in (await speaker.ask("inspect"))["updates"]}
        assert waiting == {"akismet", "reservation-calendar", "contact-form-7"}


async def test_the_bad_update_really_breaks_the_page_while_it_is_looked_at(demo: Demo) -> None:
    name, seen = "nouen.example", []
    async with speaking(demo, name) as speaker:
        items = [{"kind": "plugin", "slug": "reservation-calendar"}]
        async with speaker.talk("update", items=items) as lines:
            operation = (await anext(lines))["reply"]["operation"]
            async for line in lines:
                event = line.get("event", {})
                if event.get("type") == "asked":
                    seen.append((event["subject"], (await fetch(demo, name))[0]))
                    await speaker.ask("answer", operation=operation, number=event["number"], keep=False, detail="500")
                elif event.get("type") == "finished":
                    seen.append((event["outcome"], (await fetch(demo, name))[0]))
    assert seen == [("look", 500), ("reset", 200), ("rolled_back", 200)]
