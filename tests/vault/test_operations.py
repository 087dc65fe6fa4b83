"""Copies into the vault and what is read back from it, by the program's commands, over real sshd and a real store."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.operations import guard, vault_plan, vault_verify
from app.operations.verify import Verified
from backends import vault, vault_streams
from backends.records import Finished, Outcome, Progress, Step
from backends.sealing import Identity
from tests.lab import Lab, LabSite
from tests.operations.program import Program
from tests.store.grounds import InFolder, OnS3
from tests.vault.machine import Machine

pytestmark = [pytest.mark.lab]
Fresh = Callable[[str], LabSite]
NAME = "minato.example"


@pytest.fixture
def site(fresh_site: Fresh) -> LabSite:
    return fresh_site(NAME)


def test_a_copy_is_made_without_the_identity_is_listed_and_is_proven_with_it(machine: Machine, site: LabSite) -> None:
    aside = machine.identity.rename(machine.folder / "in a safe")
    generation = machine.copied(NAME)
    aside.rename(machine.identity)
    (listed,) = machine.in_vault(NAME)
    (server,) = [one for one in machine.program("generations", NAME, "--json").json["generations"] if one != listed]
    same = ("id", "created", "bytes", "files", "tables", "rows", "state")
    assert [listed[key] for key in same] == [server[key] for key in same]
    assert (listed["id"], listed["sealed"], listed["verified_at"]) == (generation, True, None)
    status = next(one for one in machine.program("status", "--json").json["sites"] if one["name"] == NAME)
    assert [one["tier"] for one in status["generations"]] == ["server", "vault"]
    assert "every generation lies on the site's own server" not in status["reasons"]
    if machine.place.immutable:
        until = dt.datetime.fromisoformat(listed["locked_until"])
        assert dt.timedelta(days=29) < until - dt.datetime.now(dt.UTC) < dt.timedelta(days=31)
    else:
        assert listed["locked_until"] is None

    stored = machine.program("verify", NAME, "--tier", "vault", "--json", code=1).json
    assert (stored["outcome"], stored["checked_bytes"], stored["problems"]) == ("unknown", 0, [])
    words = ("verify", NAME, generation, "--tier", "vault", "--identity", str(machine.identity), "--json")
    read = machine.program(*words).json
    assert (read["outcome"], read["tier"], read["problems"]) == ("ok", "vault", [])
    assert read["checked_bytes"] > 1_000_000
    (listed,) = machine.in_vault(NAME)
    assert listed["verified_at"] is not None


def test_nothing_in_the_store_tells_of_a_client(on_folder: Machine, site: LabSite) -> None:
    on_folder.copied(NAME)
    objects = on_folder.objects()
    assert {path.parent.name for path in objects} == {"pieces", "catalogue"}
    for path in objects:
        assert path.read_bytes().startswith(b"age-encryption.org/v1\n")
        assert NAME.encode() not in path.read_bytes() + str(path.name).encode()
    assert not list((on_folder.program.state).rglob(".piece-*"))


def test_a_later_copy_stores_what_changed_and_locks_what_it_names_again(machine: Machine, site: LabSite) -> None:
    first = machine.copied(NAME)
    (site.root / "wp-content/uploads/new.txt").write_text("new\n" * 50)
    machine.write(lock_days=60)
    second = machine.copied(NAME)
    listed = machine.in_vault(NAME)
    assert [one["id"] for one in listed] == [second, first]
    events = machine.program("follow", NAME, _last(machine.program, "vault"), "--json")
    assert "1 of 2 packs were new to the vault" in events.json["detail"]
    if isinstance(machine.place, InFolder):
        # Pack, manifest, dump, summary, entry of each; the first pack is not stored twice.
        assert len(machine.objects("pieces")) == 4 + 4
        assert len(machine.objects("catalogue")) == 2
    if isinstance(machine.place, OnS3):
        ends = [dt.datetime.fromisoformat(one["locked_until"]) for one in listed]
        assert ends[0] - ends[1] > dt.timedelta(days=29)
        verified = machine.program("verify", NAME, first, "--tier", "vault", "--json", code=1).json
        assert verified["problems"] == []
    again = machine.program("backup", NAME, "--tier", "vault", "--json").json
    assert (again["outcome"], again["detail"]) == ("done", "it is in the vault already")
    assert len(machine.in_vault(NAME)) == 2


def _last(program: Program, kind: str) -> str:
    found = program("operations", NAME, "--all", "--json").json["operations"]
    return str(next(one["operation"] for one in found if one["kind"] == kind))


def test_a_generation_that_is_late_is_made_first(machine: Machine, site: LabSite) -> None:
    made = machine.program("backup", NAME, "--tier", "vault", "--json").json["operations"]
    assert [one["kind"] for one in made] == ["backup", "vault"]
    copied = machine.program("backup", NAME, "--tier", "vault", "--json").json
    assert (copied["kind"], copied["outcome"]) == ("vault", "done")


def test_a_new_machine_knows_all_from_the_identity_and_the_store(machine: Machine, site: LabSite) -> None:
    generation = machine.copied(NAME)
    (before,) = machine.in_vault(NAME)
    shutil.rmtree(machine.program.state)
    assert machine.program("verify", NAME, "--tier", "vault", "--json", code=1).error["code"] == "no_generation"
    assert machine.program("vault", "rebuild", "--json", code=2).error["code"] == "no_identity"
    machine.program.environment["MODOSERU_IDENTITY"] = str(machine.identity)
    found = machine.program("vault", "rebuild", "--json").json
    assert (found["entries"], found["sites"], found["problems"]) == (1, [NAME], [])
    (after,) = machine.in_vault(NAME)
    assert {key: after[key] for key in after if key != "locked_until"} == {
        key: before[key] for key in before if key != "locked_until"
    }
    assert machine.program("verify", NAME, generation, "--tier", "vault", "--json").json["outcome"] == "ok"
    (row,) = machine.program("key", "test", NAME, "--json").json["vault"]
    assert (row["generation"], row["state"]) == (generation, "ok")


def test_what_is_missing_changed_or_no_entry_is_named(on_folder: Machine, site: LabSite) -> None:
    generation = on_folder.copied(NAME)
    on_folder.program.environment["MODOSERU_IDENTITY"] = str(on_folder.identity)
    pieces = sorted(on_folder.objects("pieces"), key=lambda path: path.stat().st_size)
    sound = pieces[0].read_bytes()
    for left, words in (
        (None, "is missing from the vault"),
        (sound[:-1] + bytes([sound[-1] ^ 1]), "is not what was stored"),
        (sound[:-9], "is not what was stored"),
    ):
        pieces[0].unlink()
        if left is not None:
            pieces[0].write_bytes(left)
        found = on_folder.program("verify", NAME, generation, "--tier", "vault", "--json", code=1).json
        assert found["outcome"] == "damaged"
        assert any(words in problem["what"] for problem in found["problems"]), found["problems"]
        pieces[0].unlink(missing_ok=True)
        pieces[0].write_bytes(sound)
    assert on_folder.program("verify", NAME, "--tier", "vault", "--json").json["outcome"] == "ok"
    (on_folder.objects("catalogue")[0].parent / ("0" * 32)).write_bytes(b"planted")
    rebuilt = on_folder.program("vault", "rebuild", "--json", code=1).json
    assert (rebuilt["entries"], len(rebuilt["problems"])) == (1, 1)
    assert "0" * 32 in rebuilt["problems"][0]


def test_what_a_stolen_key_hid_is_found_and_shown_again(
    on_weed: OnS3, program: Program, tmp_path: Path, site: LabSite
) -> None:
    machine = Machine(program, on_weed, tmp_path)
    machine.copied(NAME)
    client, prefix = on_weed.server.client(), on_weed.prefix.strip("/")
    listed = client.list_objects_v2(Bucket=on_weed.bucket, Prefix=f"{prefix}/pieces/")["Contents"]
    hidden = listed[0]["Key"].removeprefix(f"{prefix}/")
    on_weed.hide(hidden)
    looked = machine.program("verify", NAME, "--tier", "vault", "--read-only", "--json", code=1).json
    assert looked["problems"] == [{"what": "was hidden by a delete marker", "path": hidden, "healed": False}]
    words = ("verify", NAME, "--tier", "vault", "--identity", str(machine.identity), "--json")
    found = machine.program(*words).json
    assert found["problems"] == [{"what": "was hidden by a delete marker", "path": hidden, "healed": True}]
    assert machine.program(*words).json["problems"] == []


def test_another_identity_is_one_clear_sentence(machine: Machine, site: LabSite) -> None:
    machine.copied(NAME)
    other = machine.folder / "other.txt"
    machine.program("key", "new", str(other))
    assert machine.program("key", "new", str(other), "--json", code=1).error["code"] == "identity_exists"
    (row,) = machine.program("key", "test", NAME, "--identity", str(other), "--json", code=1).json["vault"]
    assert row["state"] == "wrong_identity"
    assert "was encrypted to others" in row["detail"]
    read = machine.program("verify", NAME, "--tier", "vault", "--identity", str(other), "--json", code=1).json
    assert read["outcome"] == "damaged"
    assert {one["what"] for one in read["problems"]} == {"this identity does not open it: it was encrypted to others"}
    missing = machine.program("key", "test", "--identity", str(machine.folder / "none"), "--json", code=1).error
    assert missing["code"] == "no_identity"


def test_a_fleet_without_a_vault_or_without_a_recipient_is_told(on_folder: Machine, site: LabSite) -> None:
    on_folder.write(recipients=[])
    assert on_folder.program("backup", NAME, "--tier", "vault", "--json", code=2).error["code"] == "no_recipient"
    on_folder.program.write_fleet({"fleet": {"name": "x"}})
    for words in (("backup", NAME, "--tier", "both"), ("vault", "doctor"), ("vault", "rebuild"), ("key", "test")):
        assert on_folder.program(*words, "--json", code=2).error["code"] == "no_vault"


def test_the_doctor_says_what_the_store_can_do(machine: Machine, site: LabSite) -> None:
    machine.write(lock_days=400)
    machine.copied(NAME)
    found = machine.program("vault", "doctor", "--json", code=None).json
    assert found["missing"] == []
    assert found["orphans"] == 0
    if machine.place.immutable:
        assert found["abilities"]["lock"] == "compliance"
        assert not [one for one in found["problems"] if one.startswith(("not immutable", "these cred", "its locks"))]
        machine.write(lock_days=30)
        found = machine.program("vault", "doctor", "--json", code=1).json
        assert "its locks run out after 30 days, and generations are kept for 372" in found["problems"]
    else:
        assert any(problem.startswith("not immutable") for problem in found["problems"])
        machine.objects("pieces")[0].rename(machine.objects("pieces")[0].with_name("f" * 32))
        found = machine.program("vault", "doctor", "--json", code=1).json
        assert (found["orphans"], len(found["missing"])) == (1, 1)


def test_a_summary_that_is_not_the_sealed_one_does_not_get_in(on_folder: Machine, lab: Lab, site: LabSite) -> None:
    generation = on_folder.program("backup", NAME, "--json").json["generation"]
    summary = site.home / ".modoseru" / NAME / "generations" / generation / "summary.json"
    text = summary.read_text()
    summary.chmod(0o600)
    summary.write_text(text.replace('"reason":"hand"', '"reason":"weekly"'))
    # Nothing that is known to be good is left to be copied, and a generation made now is another one.
    refused = on_folder.program("backup", NAME, "--tier", "vault", "--json", code=None).json
    assert refused["operations"][0]["kind"] == "backup"
    assert generation not in {one["id"] for one in on_folder.in_vault(NAME)}


def test_one_that_was_killed_goes_on_and_the_journal_says_so(on_folder: Machine, site: LabSite) -> None:
    generation = on_folder.program("backup", NAME, "--json").json["generation"]
    running = on_folder.program.start("backup", NAME, "--tier", "vault", "--progress", "json")
    running.until('"name":"store"')
    running.signal(signal.SIGKILL)
    running.process.communicate()
    (left,) = [one for one in _operations(on_folder.program) if one["kind"] == "vault"]
    ended = on_folder.program("backup", NAME, "--tier", "vault", "--json").json
    assert (ended["outcome"], ended["generation"]) == ("done", generation)
    found = {one["operation"]: one["outcome"] for one in _operations(on_folder.program) if one["kind"] == "vault"}
    assert found == {left["operation"]: left["outcome"] or "cancelled", ended["operation"]: "done"}
    assert found[left["operation"]] == "cancelled"


def test_ctrl_c_ends_a_copy_and_says_so(on_folder: Machine, site: LabSite) -> None:
    on_folder.program("backup", NAME)
    running = on_folder.program.start("backup", NAME, "--tier", "vault", "--progress", "json")
    running.until('"name":"store"')
    running.signal(signal.SIGINT)
    asked = running.until("asked to cancel")
    assert "leaves it running" not in asked
    ended = running.ended(code=None)
    (copied,) = [one for one in _operations(on_folder.program) if one["kind"] == "vault"]
    assert (ended.code, copied["outcome"]) in {(130, "cancelled"), (0, "done")}


def _operations(program: Program) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = program("operations", NAME, "--all", "--json").json["operations"]
    return found


@pytest.mark.asyncio(loop_scope="session")
async def test_a_copy_that_was_cancelled_goes_on_after_the_last_piece(
    on_folder: Machine, site: LabSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "PIECE", 256 * 1024)
    monkeypatch.setattr(vault_streams, "PIECE", 256 * 1024)
    await asyncio.to_thread(on_folder.program, "backup", NAME)
    async with on_folder.program.session() as session:
        target = session.fleet.site(NAME)
        intent = await vault_plan.copy(session, target)
        operation = ""
        async with contextlib.aclosing(guard.start(session, intent, confirmed=True)) as events:
            async for event in events:
                operation = getattr(event, "operation", operation)
                if isinstance(event, Progress) and len(on_folder.objects("pieces")) > 3:
                    assert await guard.cancel(session, target, operation)
                last = event
        assert isinstance(last, Finished)
        assert last.outcome is Outcome.CANCELLED
        stored = {path.name for path in on_folder.objects("pieces")}
        assert on_folder.objects("catalogue") == []
        async with contextlib.aclosing(guard.start(session, intent, confirmed=True)) as events:
            async for event in events:
                last = event
        assert isinstance(last, Finished)
        assert last.outcome is Outcome.DONE, last
        (kept,) = await session.journal.catalogue.entries(NAME)
        named = {piece.name for piece in kept.entry.pieces()}
        # At most two were on their way when it was cancelled, and were stored without anybody hearing of it.
        assert len(stored - named) <= 2
        told = [event async for event in guard.follow(session, target, operation)]
        assert [event.name for event in told if isinstance(event, Step)] == ["prepare", "store"]
        verified = [one async for one in vault_verify.verify(session, target, kept, Identity.read(on_folder.identity))]
        assert isinstance(verified[-1], Verified)
        assert verified[-1].outcome == "ok"
