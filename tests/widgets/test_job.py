"""An operation as the strip and the log tell it."""

from __future__ import annotations

import datetime as dt

from backends.records import Answered, AnyEvent, Asked, Finished, Note, Outcome, Progress, Started, Step
from tests.widgets.made import JST, NOW
from widgets.cells import folded, text_of
from widgets.job import Job, event_line, job_line

ID = "20261123T050200Z-restore-00beef"


def later(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def job() -> Job:
    made = Job("a.example", "restore", began=NOW)
    made.apply(Started(at=NOW, line=0, operation=ID, site="a.example", kind="restore"))
    return made


def line(made: Job, seconds: float = 10) -> str:
    return text_of(job_line(made, later(seconds)))


def test_it_starts_without_knowing_how_far_it_is() -> None:
    assert line(Job("a.example", "restore", began=NOW), 0) == " ↻ a.example  restore  ··········       starting  0 s"


def test_progress_has_a_rate_and_what_is_left() -> None:
    made = job()
    made.apply(Step(at=NOW, line=1, name="stage"))
    made.apply(Progress(at=NOW, line=2, done=0, total=100_000_000))
    made.apply(Progress(at=later(5), line=3, done=50_000_000, total=100_000_000))
    assert line(made) == " ↻ a.example  restore  ▮▮▮▮▮·····  50%  staging  10.0 MB/s  5 s left"


def test_a_new_step_begins_its_own_rate() -> None:
    made = job()
    made.apply(Progress(at=NOW, done=0, total=10))
    made.apply(Progress(at=later(1), done=10, total=10))
    made.apply(Step(at=later(1), name="verify"))
    assert made.rate() is None
    made.apply(Progress(at=later(2), done=3, unit="files"))
    assert line(made) == " ↻ a.example  restore  ··········       verifying  3 files  10 s"


def test_progress_is_kept_once_however_often_it_comes() -> None:
    made = job()
    for done in range(10_000):
        made.apply(Progress(at=later(done), done=done, total=10_000))
    assert len(made.events) == 2


def test_a_question_is_said() -> None:
    made = job()
    made.apply(Asked(at=NOW, number=1, subject="look"))
    assert "looking from outside" in line(made)
    made.apply(Answered(at=NOW, number=1, keep=True))
    assert "looking from outside" not in line(made)


def test_an_end_says_exactly_what_it_was() -> None:
    for outcome, told in (
        (Outcome.DONE, "✔ a.example  restore  done  7 s"),
        (Outcome.ROLLED_BACK, "! a.example  restore  rolled back: the check failed  7 s"),
        (Outcome.CANCELLED, "● a.example  restore  cancelled: the check failed  7 s"),
        (Outcome.NEEDS_HAND, "✖ a.example  restore  needs a hand: the check failed  7 s"),
    ):
        made = job()
        made.apply(Finished(at=later(7), outcome=outcome, detail="the check failed"))
        assert line(made).strip() == told
        assert not made.running


def test_a_failure_to_start_is_a_sentence_with_its_hint() -> None:
    made = Job("a.example", "restore", began=NOW)
    made.fail("the host refused the key", "run modoseru site test a.example", NOW)
    assert line(made) == " ✖ a.example  restore  the host refused the key  run modoseru site test a.example"


def test_a_log_tells_every_event_with_the_fleets_clock() -> None:
    events: list[AnyEvent] = [
        Started(at=NOW, operation=ID, site="a.example", kind="restore"),
        Step(at=NOW, name="switch"),
        Note(at=NOW, code="x", text="\x1b[31mred", level="warning", item="akismet"),
        Asked(at=NOW, number=1, subject="look"),
        Answered(at=NOW, number=1, keep=False, detail="status 500"),
        Finished(at=NOW, outcome=Outcome.ROLLED_BACK, detail="the check failed", hint="see the log"),
    ]
    assert [text_of(event_line(event, JST)) for event in events] == [
        f"14:02:00  restore  a.example  {ID}",
        "14:02:00  → switching",
        "14:02:00  ! akismet: \\x1b[31mred",
        "14:02:00  the server waits for a look from outside",
        "14:02:00  the look was wrong: it goes back  status 500",
        "14:02:00  ! rolled back · the site is as before · the check failed · see the log",
    ]


def test_long_lines_are_folded_below_their_beginning() -> None:
    made = job()
    made.apply(
        Finished(at=later(7), outcome=Outcome.ROLLED_BACK, detail="the login page answered 500 after 切り替え直後")
    )
    shown = [text_of(part) for part in folded([job_line(made, later(7))], 44, hang=22)]
    assert shown[0] == " ! a.example  restore  rolled back: the "
    assert all(part.startswith(" " * 22) and len(part) <= 44 for part in shown[1:])
    assert "".join(part.strip().replace(" ", "") for part in shown).endswith("after切り替え直後7s")
