"""What `--json` prints, key by key, as DESIGN 7 has it: programs read this."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.plugins import GOOD
from tests.operations.program import Answer, Program, program_of

pytestmark = pytest.mark.lab
NAME = "minato.example"


class Or:
    """One of several shapes."""

    def __init__(self, *shapes: Any) -> None:
        self.shapes = shapes


def time(value: Any) -> bool:
    """ISO 8601 in UTC."""
    return isinstance(value, str) and value.endswith("Z") and dt.datetime.fromisoformat(value).tzinfo is dt.UTC


def date(value: Any) -> bool:
    return isinstance(value, str) and str(dt.date.fromisoformat(value)) == value


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def one_of(*words: str) -> Callable[[Any], bool]:
    return lambda value: value in words


STATE = one_of("ok", "warning", "critical", "unknown")
UPDATE = {
    "kind": one_of("core", "plugin", "theme", "translation"),
    "slug": str,
    "from": Or(str, None),
    "to": Or(str, None),
    "security": Or(bool, None),
    "closes": Or(str, None),
    "held": Or(str, None),
}
HOLE = {
    "kind": one_of("core", "plugin", "theme"),
    "slug": str,
    "version": Or(str, None),
    "title": str,
    "cve": Or(str, None),
    "score": Or(number, None),
    "rating": Or(one_of("none", "low", "medium", "high", "critical"), None),
    "patched": Or(str, None),
    "link": Or(str, None),
    "closed_by": Or(str, None),
}
NEGLECTED = {
    "slug": str,
    "name": str,
    "version": Or(str, None),
    "state": one_of("closed", "abandoned"),
    "since": Or(str, None),
    "reason": Or(str, None),
    "tested": Or(str, None),
}
FEED = {
    "source": str,
    "as_of": Or(time, None),
    "age_s": Or(number, None),
    "entries": number,
    "problem": Or(str, None),
}
GENERATION = {
    "id": str,
    "tier": one_of("server", "vault"),
    "created": time,
    "bytes": Or(number, None),
    "files": Or(number, None),
    "tables": Or(number, None),
    "rows": Or(number, None),
    "state": one_of("complete", "suspect", "damaged"),
    "pinned": bool,
    "sealed": Or(bool, None),
    "verified_at": Or(time, None),
    "drilled_at": Or(time, None),
    "locked_until": Or(time, None),
}
SITES = {
    "sites": [
        {
            "name": str,
            "url": str,
            "verdict": one_of("proven", "stale", "unproven", "failed", "unknown"),
            "reasons": [str],
            "rpo_s": Or(number, None),
            "rto_s": Or(number, None),
            "rto_before_s": [number],
            "rto_vault_s": Or(number, None),
            "owner": Or(str, None),
            "isolated": Or(time, None),
            "health": {
                "state": STATE,
                "http_status": Or(number, None),
                "latency_s": Or(number, None),
                "checked_at": Or(time, None),
            },
            "generations": [GENERATION],
            "certificate": {
                "not_after": Or(time, None),
                "days_left": Or(int, None),
                "issuer": Or(str, None),
                "state": STATE,
            },
            "domain": {
                "name": str,
                "expires": Or(date, None),
                "days_left": Or(int, None),
                "source": one_of("rdap", "whois", "manual", "unknown"),
                "state": STATE,
            },
            "versions": {
                "wordpress": Or(str, None),
                "php": Or(str, None),
                "database": Or(str, None),
                "php_eol": Or(date, None),
                "database_eol": Or(date, None),
            },
            "updates": Or([UPDATE], None),
            "holes": Or([HOLE], None),
        }
    ],
    "feed": Or(FEED, None),
}
DECISION = {
    "kind": str,
    "slug": str,
    "version": str,
    "verdict": one_of("approved", "skipped", "halted"),
    "who": str,
    "at": time,
    "note": str,
}
ITEM = {
    "kind": one_of("core", "plugin", "theme", "translation"),
    "slug": str,
    "from": [str],
    "to": Or(str, None),
    "security": Or(bool, None),
    "sites": [str],
    "held": [str],
    "decision": Or(DECISION, None),
}
ENTRY = {
    "site": str,
    "operation": str,
    "kind": str,
    "slug": str,
    "name": Or(str, None),
    "from": Or(str, None),
    "to": Or(str, None),
    "outcome": one_of("applied", "put_back", "not_updated", "not_judged", "not_begun"),
    "why": Or(str, None),
    "at": time,
    "unavailable_s": Or(number, None),
    "approved_by": Or(str, None),
    "note": str,
}
OPERATION = {
    "operation": str,
    "site": str,
    "kind": one_of("backup", "restore", "undo", "update", "verify"),
    "outcome": Or(one_of("done", "rolled_back", "needs_hand", "cancelled"), None),
    "generation": Or(str, None),
    "seconds": Or(number, None),
    "steps": [{"name": str, "seconds": number}],
    "detail": str,
}
AREA = one_of("core", "plugin", "theme", "uploads", "other")
CHANGED_FILE = {"path": str, "area": AREA}
BLOCKER = {"code": str, "message": str, "hint": str}
SHAPES: dict[str, Any] = {
    "status": SITES,
    "check": SITES,
    "backup": OPERATION,
    "backup of several": {"operations": [OPERATION]},
    "generations": {"site": str, "generations": [GENERATION], "gone": [{"id": str, "let_go": bool}]},
    "verify": {
        "site": str,
        "generation": str,
        "tier": one_of("server", "vault"),
        "outcome": one_of("ok", "damaged", "unreadable", "unknown"),
        "checked_bytes": number,
        "problems": [{"what": str, "path": str, "healed": bool}],
    },
    "diff": {
        "site": str,
        "generation": str,
        "files": {
            "added": [CHANGED_FILE],
            "changed": [CHANGED_FILE],
            "removed": [CHANGED_FILE],
            "suspicious": [
                {
                    "path": str,
                    "signs": [str],
                    "area": AREA,
                    "change": one_of("added", "changed", "removed", "mode"),
                    "modified": Or(time, None),
                }
            ],
        },
        "tables": [{"name": str, "rows_then": Or(number, None), "rows_now": Or(number, None)}],
        "posts": [
            {
                "id": int,
                "title": str,
                "type": str,
                "change": one_of("added", "changed", "trashed", "gone"),
                "modified": Or(time, None),
                "status": str,
                "blog": Or(int, None),
            }
        ],
        "counts": dict.fromkeys(("added", "changed", "removed", "suspicious", "tables", "posts"), int),
        "areas": {
            area: {"added": int, "changed": int, "removed": int}
            for area in ("core", "plugin", "theme", "uploads", "other")
        },
        "identity": [{"name": str, "then": [str], "now": [str]}],
        "truncated": [str],
        "warnings": [BLOCKER],
        "plugins": [
            {
                "slug": str,
                "version": str,
                "state": one_of("published", "altered", "unknown"),
                "why": str,
                "altered": int,
                "added": int,
            }
        ],
        "ignored": [{"path": str, "why": str, "files": int}],
        "full": bool,
    },
    "restore --dry-run": {
        "site": str,
        "generation": str,
        "blockers": [BLOCKER],
        "warnings": [BLOCKER],
        "loss": {
            **dict.fromkeys(("posts", "comments", "users", "orders", "entries", "files"), int),
            "newest": [str],
        },
        "recommended": Or(one_of("files"), None),
    },
    "restore": OPERATION,
    "undo": OPERATION,
    "updates": {
        "sites": [{"name": str, "updates": [UPDATE], "holes": Or([HOLE], None), "neglected": [NEGLECTED]}],
        "items": [ITEM],
        "feed": Or(FEED, None),
    },
    "update": OPERATION,
    "update --all --dry-run": {
        "began": time,
        "waves": [[{"site": str, "updates": [UPDATE]}]],
        "undecided": [ITEM],
        "unknown": [{"site": str, "error": {"code": str, "message": str, "hint": str}}],
    },
    "ledger": {"month": str, "entries": [ENTRY]},
    "operations": {"operations": [OPERATION]},
    "follow": OPERATION,
    "error": {"error": {"code": str, "message": str, "hint": str}},
}


def problems(  # noqa: PLR0911 - one answer for each kind of shape
    value: Any, shape: Any, path: str = ""
) -> list[str]:
    """Where `value` is not of `shape`; keys must be the same and in the same order."""
    if isinstance(shape, Or):
        tried = [problems(value, one, path) for one in shape.shapes]
        return [] if [] in tried else tried[0]
    if isinstance(shape, dict):
        if not isinstance(value, dict) or list(value) != list(shape):
            return [f"{path}: {value!r} has not the keys {list(shape)}"]
        return [one for key in shape for one in problems(value[key], shape[key], f"{path}.{key}")]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{path}: {value!r} is no list"]
        return [one for place, item in enumerate(value) for one in problems(item, shape[0], f"{path}[{place}]")]
    if shape is None:
        return [] if value is None else [f"{path}: {value!r} is not null"]
    right = type(value) is shape if isinstance(shape, type) else shape(value)
    return [] if right else [f"{path}: {value!r}"]


@pytest.fixture(scope="module")
def printed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Each command run once, in the order of a day's work."""
    program = program_of(lab, tmp_path_factory.mktemp("json"))
    lab.wporg.offer()
    for name in (NAME, "sakura.example"):
        lab.reset(lab.site(name))
    site = lab.site(NAME)
    lab.put_plugin(site, GOOD)

    def run(*words: str, code: int | None = 0) -> Answer:
        return program(*words, "--json", code=code)

    answers = {"backup": run("backup", NAME), "backup of several": run("backup", NAME, "sakura.example")}
    answers["generations"] = run("generations", NAME)
    answers["verify"] = run("verify", NAME)
    Path(site.root / "new.txt").write_text("new")
    answers["diff"] = run("diff", NAME)
    answers["restore --dry-run"] = run("restore", NAME, "--dry-run")
    answers["restore"] = run("restore", NAME, "--yes")
    answers["undo"] = run("undo", NAME, "--yes")
    lab.wporg.offer({GOOD: "1.1"})
    answers["updates"] = run("updates", NAME, "--approve", GOOD)
    answers["update --all --dry-run"] = run("update", "--all", "--dry-run", code=None)
    answers["check"] = run("check", NAME)
    answers["update"] = run("update", NAME, "--yes")
    answers["ledger"] = run("ledger", NAME)
    answers["status"] = run("status")
    answers["operations"] = run("operations", NAME)
    answers["follow"] = run("follow", NAME, answers["backup"].json["operation"])
    answers["error"] = run("backup", "no-such-site", code=2)
    return answers


@pytest.mark.parametrize("command", SHAPES)
def test_each_command_prints_exactly_the_keys_of_the_design(printed: dict[str, Answer], command: str) -> None:
    assert problems(printed[command].json, SHAPES[command]) == []


def test_the_values_are_those_of_the_site(printed: dict[str, Answer]) -> None:
    backup, (site,) = printed["backup"].json, printed["check"].json["sites"]
    assert [step["name"] for step in backup["steps"]] == ["prepare", "database", "files", "seal", "retention"]
    # What comes before the first step (the agent's start) is in the whole alone, and each figure is rounded.
    assert 0 < sum(step["seconds"] for step in backup["steps"]) <= backup["seconds"] + 0.001 * len(backup["steps"])
    assert printed["follow"].json == backup
    assert printed["generations"].json["generations"][-1]["id"] == backup["generation"]
    assert site["health"]["http_status"] == 200
    assert site["versions"]["wordpress"] == "6.1.9"
    assert site["domain"] == {
        "name": "minato.example",
        "expires": "2035-01-01",
        "days_left": site["domain"]["days_left"],
        "source": "manual",
        "state": "ok",
    }
    assert [one["slug"] for one in site["updates"]] == [GOOD]
    assert printed["restore --dry-run"].json["loss"]["files"] == 1
    status = {one["name"]: one for one in printed["status"].json["sites"]}
    assert len(status) == len(printed["status"].json["sites"]) == 5
    assert status[NAME]["verdict"] == "unproven"


def test_progress_as_events_numbers_every_line_once(printed: dict[str, Answer], lab: Lab, program: Program) -> None:
    answer = program("follow", NAME, printed["backup"].json["operation"], "--progress", "json")
    events = answer.events
    assert [event["line"] for event in events] == list(range(len(events)))
    assert (events[0]["type"], events[-1]["type"]) == ("started", "finished")
    assert program("follow", NAME, printed["backup"].json["operation"], "--progress", "none").err == ""
