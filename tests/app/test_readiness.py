"""The verdict from records and a clock: what it says, why, and that it decays by itself."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app import readiness
from app.operations import check
from app.readiness import Known
from backends.records import (
    BootError,
    Certainty,
    Certificate,
    Contact,
    Domain,
    Drill,
    Generation,
    GenerationState,
    Gone,
    Health,
    Inspection,
    ServerSettings,
    Site,
    SshSettings,
    State,
    Update,
    Verdict,
)

NOW = dt.datetime(2026, 11, 23, 2, 15, tzinfo=dt.UTC)
SITE = Site(
    name="kogyo.example",
    url="https://www.kogyo.example/",
    ssh=SshSettings(host="sv1.host.example", user="kogyo"),
    server=ServerSettings(root="~/public_html"),
    owner="duty A",
)
OWN_SERVER = "every generation lies on the site's own server"


def generation(days: float = 0, **more: Any) -> Generation:
    created = NOW - dt.timedelta(days=days)
    return Generation(id=created.strftime("%Y%m%dT%H%M%SZ"), created=created, **more)


def verdict(*generations: Generation, contact: Contact | None = None, site: Site = SITE) -> Verdict:
    return readiness.verdict(site, Known(generations=generations, contact=contact), NOW)


def test_what_nobody_has_seen_is_unknown_and_says_why() -> None:
    never = readiness.verdict(SITE, Known(), NOW)
    assert (never.verdict, never.reasons) == (Certainty.UNKNOWN, ("its server was never reached",))
    silent = readiness.verdict(SITE, Known(contact=Contact(at=NOW, code="ssh_auth", problem="key refused")), NOW)
    assert (silent.verdict, silent.reasons) == (Certainty.UNKNOWN, ("its server cannot be asked: key refused",))


def test_a_site_that_was_never_backed_up_cannot_be_restored() -> None:
    found = verdict()
    assert (found.verdict, found.reasons) == (Certainty.FAILED, ("it was never backed up",))
    assert found.rpo_s is None


@pytest.mark.parametrize("bad", [{"state": GenerationState.DAMAGED}, {"sealed": False}])
def test_generations_that_are_damaged_or_were_changed_are_none(bad: dict[str, Any]) -> None:
    found = verdict(generation(1, **bad), generation(2, **bad))
    assert found.verdict is Certainty.FAILED
    assert found.reasons == ("every generation is damaged",)


def test_untried_is_at_best_unproven() -> None:
    found = verdict(generation(0, sealed=True, verified_at=NOW))
    assert found.verdict is Certainty.UNPROVEN
    assert found.reasons[0] == "never rehearsed: no drill has restored it yet"
    assert found.rto_s is None


def drilled(days: float, *generations: Generation, of: Generation | None = None, **more: Any) -> Verdict:
    """The verdict where the last drill was so many days ago, of the first of `generations` unless `of` is another."""
    fields = {"ok": True, "seconds": 40.6} | more
    drill = Drill(generation=(of or generations[0]).id, at=NOW - dt.timedelta(days=days), **fields)
    return readiness.verdict(SITE, Known(generations=generations, drill=drill), NOW)


def test_a_drill_that_passed_is_the_only_proof_and_gives_the_recovery_time() -> None:
    found = drilled(2, generation(3))
    assert (found.verdict, found.rto_s, found.rpo_s) == (Certainty.PROVEN, 41, 3 * 86400)
    assert found.reasons == (OWN_SERVER,)
    assert drilled(2, generation(1), generation(8), of=generation(8)).verdict is Certainty.PROVEN


@pytest.mark.parametrize(("days", "word"), [(0, "proven"), (31.9, "proven"), (32.1, "stale"), (400, "stale")])
def test_a_proof_decays_a_day_after_the_next_drill_was_promised(days: float, word: str) -> None:
    found = drilled(days, generation(1), generation(401), of=generation(401))
    assert found.verdict == word
    told = f"the last drill is {int(days)} days old (promised: every 1mo)"
    assert (told in found.reasons) is (word == "stale")


def test_a_proof_is_stale_where_the_generations_stopped_coming_or_the_rehearsed_one_is_gone() -> None:
    late = drilled(2, generation(9))
    assert late.verdict is Certainty.STALE
    assert late.reasons[0] == "the newest clean generation is 9 days old (promised: every 1w)"
    gone = drilled(2, generation(1), of=generation(60))
    assert gone.verdict is Certainty.STALE
    assert gone.reasons[0] == f"the generation that was rehearsed is gone: {generation(60).id}"
    damaged = generation(8, state=GenerationState.DAMAGED)
    assert drilled(2, generation(1), damaged, of=damaged).verdict is Certainty.STALE


def test_a_drill_that_failed_says_why_whatever_its_age_and_promises_no_time() -> None:
    for days in (0, 100):
        found = drilled(days, generation(1), ok=False, detail="the front page of the restored copy is empty")
        assert (found.verdict, found.rto_s) == (Certainty.FAILED, None)
        assert found.reasons[0] == "the last drill failed: the front page of the restored copy is empty"


def test_no_drill_makes_up_for_generations_that_are_gone() -> None:
    assert drilled(1, generation(1, sealed=False)).verdict is Certainty.FAILED
    drill = Drill(generation=generation(1).id, at=NOW, ok=True, seconds=1)
    assert readiness.verdict(SITE, Known(generations=(), drill=drill), NOW).verdict is Certainty.FAILED
    assert readiness.verdict(SITE, Known(drill=drill), NOW).verdict is Certainty.UNKNOWN


def test_the_recovery_point_is_the_newest_whole_generation() -> None:
    found = verdict(generation(1, state=GenerationState.DAMAGED), generation(3), generation(9))
    assert found.rpo_s == 3 * 86400
    assert "1 of 3 generations are damaged" in found.reasons
    assert verdict(generation(2, sealed=False), generation(4)).rpo_s == 4 * 86400
    assert "a generation is not the one that was sealed" in verdict(generation(2, sealed=False), generation(4)).reasons


def test_a_suspect_generation_is_no_point_to_recover_to() -> None:
    found = verdict(generation(1, state=GenerationState.SUSPECT), generation(8.5))
    assert found.rpo_s == 8.5 * 86400
    assert "the newest clean generation is 8 days old (promised: every 1w)" in found.reasons
    assert "1 of 2 generations are suspect" in found.reasons
    alone = verdict(generation(1, state=GenerationState.SUSPECT))
    assert (alone.verdict, alone.reasons) == (Certainty.FAILED, ("no generation is clean: each is suspect",))


def test_what_earlier_drills_took_is_told_beside_the_last() -> None:
    found = drilled(2, generation(3), before=(39.4, 40.0))
    assert (found.rto_s, found.rto_before_s) == (41, (39, 40))


@pytest.mark.parametrize(("days", "late"), [(0, False), (7.9, False), (8.1, True), (40, True)])
def test_a_generation_is_late_a_day_after_it_was_promised(days: float, late: bool) -> None:
    told = f"the newest clean generation is {int(days)} days old (promised: every 1w)"
    assert (told in verdict(generation(days)).reasons) is late


@pytest.mark.parametrize(("days", "late"), [(20, False), (31.9, False), (33, True)])
def test_a_vault_that_is_late_is_a_reason(days: float, late: bool) -> None:
    told = f"the newest generation in the vault is {int(days)} days old (promised: every 1mo)"
    assert (told in verdict(generation(), generation(days, tier="vault")).reasons) is late


def test_a_lock_that_has_run_out_is_a_reason() -> None:
    told = "the lock of a generation in the vault has run out"
    kept, over = NOW + dt.timedelta(days=1), NOW - dt.timedelta(days=1)
    assert told not in verdict(generation(1, tier="vault", locked_until=kept)).reasons
    assert told in verdict(generation(1, tier="vault", locked_until=over)).reasons


def test_a_clock_that_went_back_makes_no_negative_age() -> None:
    assert verdict(generation(-1)).rpo_s == 0


def test_each_doubt_is_a_sentence_of_its_own() -> None:
    contact = Contact(at=NOW, code="ssh_unreachable", problem="cannot connect")
    found = verdict(generation(), contact=contact, site=Site(
        name=SITE.name, url=SITE.url, ssh=SITE.ssh, server=SITE.server,
    ))  # fmt: skip
    assert found.reasons[1:] == (
        OWN_SERVER,
        "nobody is named to restore it",
        "its server cannot be asked: cannot connect",
    )
    assert OWN_SERVER not in verdict(generation(), generation(1, tier="vault")).reasons


def test_a_wordpress_that_does_not_start_or_is_not_there_is_a_reason_until_its_server_cannot_even_be_asked() -> None:
    missing = BootError(message="the document root /srv/nope does not exist on the server")
    inside = Inspection(agent="1", at=NOW, php_cli="8.2.1", booted=False, boot_error=missing)
    for kept in ((), (generation(),)):
        told = readiness.verdict(SITE, Known(generations=kept, inspection=inside, contact=Contact(at=NOW)), NOW)
        assert told.reasons[-1] == f"WordPress does not start: {missing.message}"
    closed = msgspec.structs.replace(inside, database_error="Access denied")
    assert readiness.verdict(SITE, Known(generations=(), inspection=closed), NOW).reasons[-1].endswith("Access denied")
    silent = Contact(at=NOW, code="ssh_auth", problem="key refused")
    told = readiness.verdict(SITE, Known(generations=(), inspection=inside, contact=silent), NOW)
    assert told.reasons == ("it was never backed up", "its server cannot be asked: key refused")
    well = msgspec.structs.replace(inside, booted=True, boot_error=None)
    assert readiness.verdict(SITE, Known(generations=(), inspection=well), NOW).reasons == ("it was never backed up",)


def test_what_was_never_looked_at_stays_unknown_in_the_status() -> None:
    status = readiness.status(SITE, Known(), NOW)
    assert {status.health.state, status.certificate.state, status.domain.state} == {State.UNKNOWN}
    assert status.generations == ()
    assert status.updates is None
    assert status.versions.wordpress is None


def test_the_status_carries_what_is_known() -> None:
    inspection = Inspection(
        agent="1", at=NOW, php_cli="8.2.1", php_web="8.3.0", wordpress="7.1.1",
        database_engine="mariadb", database_version="10.11", updates=(Update(kind="core", slug="wordpress"),),
        updates_checked=True,
    )  # fmt: skip
    known = Known(
        health=Health(state=State.OK, http_status=200),
        certificate=Certificate(state=State.WARNING, days_left=9),
        domain=Domain(name="kogyo.example", state=State.OK),
        inspection=inspection,
        generations=(generation(),),
    )
    status = readiness.status(SITE, known, NOW)
    assert status.health == known.health
    assert status.certificate.state is State.WARNING
    assert (status.versions.wordpress, status.versions.php, status.versions.database) == (
        "7.1.1",
        "8.3.0",  # the web's: what visitors are served by
        "mariadb 10.11",
    )
    assert status.updates == inspection.updates
    assert status.owner == "duty A"


def test_updates_that_could_not_be_asked_for_are_unknown_not_none() -> None:
    unasked = Inspection(agent="1", at=NOW, php_cli="8.2.1", updates_checked=False)
    assert readiness.status(SITE, Known(inspection=unasked), NOW).updates is None
    asked = replace(unasked, updates_checked=True)
    assert readiness.status(SITE, Known(inspection=asked), NOW).updates == ()


# ---------------------------------------------------------------- generations that are gone


def with_gone(*gone: Gone, generations: tuple[Generation, ...] = (generation(1),)) -> Verdict:
    return readiness.verdict(SITE, Known(generations=generations, gone=gone), NOW)


def test_a_generation_that_was_taken_away_is_a_reason_and_one_that_was_let_go_is_not() -> None:
    assert "a generation is gone: 20261101T000000Z" in with_gone(Gone(id="20261101T000000Z")).reasons
    both = with_gone(Gone(id="20261101T000000Z"), Gone(id="20261001T000000Z"))
    assert "2 generations are gone: 20261101T000000Z and older" in both.reasons
    assert not [why for why in with_gone(Gone(id="20260101T000000Z", let_go=True)).reasons if "gone" in why]


def test_where_all_were_taken_away_the_site_was_not_never_backed_up() -> None:
    found = with_gone(Gone(id="20261101T000000Z"), generations=())
    assert (found.verdict, found.reasons) == (Certainty.FAILED, ("a generation is gone: 20261101T000000Z",))


def test_that_the_server_let_one_go_is_believed_only_where_the_promise_allows_it() -> None:
    young, old = "20261120T000000Z", "20260901T000000Z"
    found = check.missing(SITE, {young, old}, (young, old), NOW)
    assert found == (Gone(id=young), Gone(id=old, let_go=True))
    assert check.missing(SITE, {old}, (), NOW) == (Gone(id=old),)
