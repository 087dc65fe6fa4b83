"""The twin's drills: what they prove, what they find, and that the site beside them does not notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.demo.archive import Archive
from app.demo.fleet import Demo, embedded
from tests.demo.speaking import RefusedError, speaking

STEPS = ["preflight", "stage", "verify", "boot", "drop"]


def contents(home: Path) -> dict[str, bytes]:
    """Everything of the account but its operations' journals."""
    files = (path for path in home.rglob("*") if path.is_file() and "ops" not in path.relative_to(home).parts)
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


def litter(demo: Demo, site: str) -> list[str]:
    folder = demo.sites[site].home / ".modoseru" / site / "ops"
    return [str(path) for path in folder.glob("*/*") if path.name not in {"request", "journal", "cancel"}]


async def test_a_generation_is_proven_beside_the_site(demo: Demo) -> None:
    async with speaking(demo) as speaker:
        name = (await speaker.ask("generations"))["generations"][0]["id"]
        await speaker.carry_out("verify", generation=name)  # from now on its bytes lie there
        before = contents(demo.sites["kogyo.example"].home)
        story = await speaker.carry_out("drill", generation=name)
        assert (story.last["outcome"], story.last["generation"], story.steps) == ("done", name, STEPS)
        assert "サンプル工業株式会社" in story.last["detail"]
        assert contents(demo.sites["kogyo.example"].home) == before
    assert litter(demo, "kogyo.example") == []


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ("ryokan.example", "the newest post of the generation is not on its page in the restored copy"),
        ("shika.example", "the front page of the restored copy answers 500"),
    ],
)
async def test_a_generation_of_a_broken_site_fails_and_an_older_one_does_not(demo: Demo, site: str, said: str) -> None:
    async with speaking(demo, site) as speaker:
        older = (await speaker.ask("generations"))["generations"][0]["id"]
        made = await speaker.carry_out("snapshot", reason="hand")
        story = await speaker.carry_out("drill", generation=made.last["generation"])
        assert (story.last["outcome"], story.last["code"]) == ("rolled_back", "drill_failed")
        assert story.last["detail"] == said
        assert story.last["generation"] == made.last["generation"]
        assert (await speaker.carry_out("drill", generation=older)).last["outcome"] == "done"
    assert litter(demo, site) == []


async def test_a_damaged_generation_is_named_and_an_unknown_one_refused(demo: Demo) -> None:
    async with speaking(demo) as speaker:
        name = (await speaker.ask("generations"))["generations"][0]["id"]
        site = demo.sites["kogyo.example"]
        Archive(site, site.home / ".modoseru/kogyo.example").damage(name)
        story = await speaker.carry_out("drill", generation=name)
        assert (story.last["outcome"], story.last["code"]) == ("rolled_back", "damaged")
        with pytest.raises(RefusedError, match="no_generation"):
            await speaker.ask("drill", generation="20200101T000000Z")
    assert litter(demo, "kogyo.example") == []


@pytest.mark.parametrize("step", STEPS)
async def test_a_killed_drill_is_cleared_away(demo: Demo, step: str) -> None:
    async with speaking(demo) as speaker:
        name = (await speaker.ask("generations"))["generations"][0]["id"]
        gate = demo.twin.hold("kogyo.example", step)
        async with speaker.talk("drill", generation=name) as lines:
            operation = (await anext(lines))["reply"]["operation"]
            await gate.reached.wait()
            assert await demo.twin.kill("kogyo.example")
        recovered = (await speaker.ask("recover"))["recovered"]
        assert recovered == [{"operation": operation, "outcome": "rolled_back"}]
    assert litter(demo, "kogyo.example") == []


async def test_the_fleet_opens_with_drills_of_every_kind(tmp_path: Path) -> None:
    async with embedded(parent=tmp_path) as demo:
        drills = {seen.site: seen for seen in demo.journal_seed if seen.what == "drill"}
        listed = {seen.site: seen.record for seen in demo.journal_seed if seen.what == "inspection"}
        assert 3 < len(demo.sites) - len(drills) < 8
        failed = [name for name, seen in drills.items() if not seen.record.ok]  # type: ignore[union-attr]
        assert failed == ["shika.example"]
        born = demo.sites["kogyo.example"].birth
        ages = {name: (born - seen.at).days for name, seen in drills.items()}
        assert (ages["kogyo.example"], ages["zeirishi.example"]) == (2, 5)
        assert [name for name, age in ages.items() if age > 31] == ["hanaya.example", "kaigo.example"]
        for name, seen in drills.items():
            known = {one.id for one in listed[name].generations}  # type: ignore[union-attr]
            assert seen.record.generation in known  # type: ignore[union-attr]
