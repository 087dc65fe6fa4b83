"""The commands without a server: usage, help, configuration, the journal's folder, pipes. Nothing here connects."""

from __future__ import annotations

import itertools
import json
import os
import pty
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from app.cli import main
from tests.operations.program import SCRIPT, Program

SITE = """name = "kogyo.example"
url = "https://www.kogyo.example/"
[ssh]
host = "sv1.host.example"
user = "kogyo"
[server]
root = "~/public_html"
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A fleet of one site whose host does not exist."""
    made = Program(tmp_path / "config", tmp_path / "state")
    (made.config / "sites.d").mkdir(parents=True)
    (made.config / "sites.d" / "kogyo.example.toml").write_text(SITE)
    return made


def paths(group: click.Group, *before: str) -> list[tuple[str, ...]]:
    """Every command, by its words."""
    found = []
    for name, command in group.commands.items():
        found += paths(command, *before, name) if isinstance(command, click.Group) else [(*before, name)]
    return found


COMMANDS = paths(main)
WITH_A_SITE = (
    "generations",
    "verify",
    "diff",
    "restore",
    "undo",
    "update",
    "backup",
    "check",
    "status",
    "updates",
    "operations",
)


# ---------------------------------------------------------------- help, version


def test_the_commands_are_those_of_the_design() -> None:
    assert {words[0] for words in COMMANDS} >= {
        *("demo", "status", "check", "backup", "generations", "verify", "diff", "restore", "undo", "updates"),
        *("update", "operations", "follow", "cancel", "isolate", "release", "site", "key", "vault"),
    }
    assert {words for words in COMMANDS if len(words) > 1} == {
        *(("guard", one) for one in ("show", "install", "remove", "block", "unblock")),
        *(("audit", one) for one in ("show", "verify")),
        *(("site", one) for one in ("add", "list", "test", "remove")),
        *(("key", one) for one in ("new", "show", "accept", "test")),
        *(("vault", one) for one in ("doctor", "rebuild", "prune")),
    }


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_that_reads_and_the_common_options(words: tuple[str, ...]) -> None:
    context = main.make_context("modoseru", [], resilient_parsing=True)
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
        context = click.Context(command, info_name=word, parent=context)
    text = command.get_help(context)
    assert max(map(len, text.splitlines())) <= 80
    assert command.help
    assert command.help.split("\n")[0].endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, (words, parameter.name)
    if words != ("demo",):
        assert {"--json", "--config", "--read-only", "--progress"} <= {one for p in command.params for one in p.opts}


def test_version_imports_nothing_that_takes_time() -> None:
    code = "import sys; from app.cli import main; sys.argv[1:] = ['--version']\ntry: main()\nexcept SystemExit: pass\n"
    code += "print([n for n in ('asyncssh', 'textual', 'msgspec', 'aiohttp', 'cryptography') if n in sys.modules])"
    done = subprocess.run([SCRIPT.with_name("python"), "-c", code], capture_output=True, text=True, check=True)
    version, heavy = done.stdout.splitlines()
    assert version.startswith("modoseru ")
    assert heavy == "[]"


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["backup"], "Missing argument 'SITE...'"),
        (["restore", "kogyo.example", "--everything"], "No such option '--everything'"),
        (["check", "--progress", "xml"], "'xml' is not one of"),
        (["backup", "kogyo.example", "--tier", "moon"], "'moon'"),
        (["site", "add", "x"], "Missing option"),
        (["demo", "--sites", "many"], "'many' is not a valid integer"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(program: Program, words: list[str], said: str) -> None:
    answer = program(*words, code=2)
    first, *rest = answer.err.splitlines()
    assert first.startswith("modoseru: ")
    assert said in first
    assert len(rest) == 1
    assert answer.out == ""
    as_json = program(*words, "--json", code=2)
    assert as_json.error["code"] == "usage"
    assert as_json.err == ""


@pytest.mark.parametrize("words", [[], ["demo"]])
def test_the_dashboard_without_a_terminal_says_so(program: Program, words: list[str]) -> None:
    answer = program(*words, code=2)
    assert answer.err.startswith("modoseru: the dashboard needs a terminal\n")
    assert answer.out == ""


@pytest.mark.parametrize("command", WITH_A_SITE)
def test_an_unknown_site_is_named_with_the_nearest_known_one(program: Program, command: str) -> None:
    error = program(command, "kogyo.exampl", "--json", code=2).error
    assert error["code"] == "site_unknown"
    assert "kogyo.exampl" in error["message"]
    assert error["hint"] == "did you mean kogyo.example?"
    assert "\x1b" not in program(command, "\x1b[31mevil", code=2).err


@pytest.mark.parametrize("command", ["follow", "cancel"])
@pytest.mark.parametrize("operation", ["", "restore", "20261123T021500Z-restore-1a2b3c/..", "20261123T021500Z"])
def test_what_is_no_operation_id_is_refused_without_a_connection(
    program: Program, command: str, operation: str
) -> None:
    assert program(command, "kogyo.example", operation, "--json", code=2).error["code"] == "bad_operation"


def test_a_part_and_a_path_are_not_restored_in_one_go(program: Program) -> None:
    words = ["restore", "kogyo.example", "--only", "files", "--only", "wp-login.php", "--json"]
    assert program(*words, code=2).error["code"] == "bad_only"


# ---------------------------------------------------------------- configuration and journal


def test_without_a_configuration_it_says_how_to_begin(tmp_path: Path) -> None:
    program = Program(tmp_path / "nothing", tmp_path / "state")
    assert "modoseru site add" in program("status", code=2).err  # a folder that was named
    del program.environment["MODOSERU_CONFIG"]
    program.environment["XDG_CONFIG_HOME"] = str(tmp_path / "nothing")
    assert "modoseru site add" in program("status").out
    assert program("status", "--json").json == {"sites": [], "feed": None}
    assert program("check", "--json").json == {"sites": [], "feed": None}
    assert not program.config.exists()


def test_everything_that_is_wrong_with_the_configuration_is_told_at_once(program: Program) -> None:
    (program.config / "fleet.toml").write_text('[fleet]\nlanguage = "fr"\n[policy]\nserver_keep = 0\ncolour = 1\n')
    (program.config / "sites.d" / "broken.toml").write_text("name = \n")
    (program.config / "sites.d" / "kogyo.example.toml").write_text(SITE.replace('kogyo"', 'kogyo"\nport = 70000'))
    (program.config / "sites.d" / "bare.toml").write_text('name = "bare"\n')
    answer = program("check", code=2)
    told = [line.removeprefix("modoseru: ") for line in answer.err.splitlines()[:-1]]
    for start in (
        "fleet.toml: fleet.language:",
        "fleet.toml: policy.server_keep:",
        "fleet.toml: policy.colour: unknown key",
        "sites.d/broken.toml: line 1, column ",
        "sites.d/kogyo.example.toml: ssh.port:",
        "sites.d/bare.toml: url: is missing",
        "sites.d/bare.toml: ssh: is missing",
        "sites.d/bare.toml: server: is missing",
    ):
        assert [line for line in told if line.startswith(start)], (start, told)
    assert answer.err.splitlines()[-1] == "  → correct the lines named; nothing was changed"
    error = program("check", "--json", code=2).error
    assert error["code"] == "bad_config"
    assert all(line in error["message"] for line in told)


@pytest.mark.parametrize("command", ["status", "check", "site list", "key show", "operations"])
def test_a_configuration_that_is_no_folder_is_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("x")
    program = Program(tmp_path / "file", tmp_path / "state")
    assert "is not a folder" in program(*command.split(), code=2).err


def test_a_folder_named_on_the_command_line_counts_before_the_environment(program: Program, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert program("status", "--config", str(tmp_path / "other"), "--json").json == {"sites": [], "feed": None}
    assert len(program("status", "--json").json["sites"]) == 1


def test_a_journal_that_cannot_be_used_is_one_line(program: Program) -> None:
    program.state.write_text("a file where a folder should be")
    error = program("status", "--json", code=1).error
    assert error["code"].startswith("journal_")
    program.state.unlink()
    program("status")
    (journal,) = program.state.rglob("journal.db")
    for extra in journal.parent.glob("journal.db-*"):
        extra.unlink()
    journal.write_bytes(b"this is not a database" * 100)
    assert program("status", "--json", code=1).error["code"] == "journal_corrupt"


def test_what_was_never_looked_at_is_unknown_not_ok(program: Program) -> None:
    (site,) = program("status", "--json").json["sites"]
    assert site["verdict"] == "unknown"
    assert {site[part]["state"] for part in ("health", "certificate", "domain")} == {"unknown"}


# ---------------------------------------------------------------- pipes and terminals


@pytest.mark.parametrize("command", ["status", "site list", "--help", "restore --help", "status --json"])
@pytest.mark.parametrize("reader", ["head -c 1", "true"])
def test_a_reader_that_goes_away_sees_no_trace(program: Program, command: str, reader: str) -> None:
    for number in range(200):
        text = SITE.replace("kogyo.example", f"s{number}.example").replace("public_html", f"s{number}")
        (program.config / "sites.d" / f"s{number}.example.toml").write_text(text)
    line = f"{shlex.quote(str(SCRIPT))} {command} | {reader}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, env=program.environment)
    assert done.stderr == ""


def test_a_terminal_that_has_no_such_letters_still_gets_its_answer(program: Program) -> None:
    program.environment |= {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert "kogyo.example" in program("status").out
    (site,) = program("status", "--json").json["sites"]
    assert site["name"] == "kogyo.example"


def test_a_defect_is_one_line_and_claims_nothing_about_the_site(
    program: Program, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from app.operations import check

    async def defective(*_: object) -> None:
        raise ZeroDivisionError("division by zero\nof the second line")

    monkeypatch.setattr(check, "last_known", defective)
    monkeypatch.setenv("MODOSERU_STATE", str(program.state))
    for words in (["status"], ["status", "--json"]):
        with pytest.raises(SystemExit) as left:
            main([*words, "--config", str(program.config)])
        assert left.value.code == 3
    told = capfd.readouterr()
    assert "Traceback" not in told.err
    assert "a defect of Modoseru: ZeroDivisionError" in told.err.splitlines()[0]
    assert json.loads(told.out)["error"]["code"] == "internal"


def test_a_question_that_is_answered_with_no_changes_nothing(program: Program) -> None:
    """On a terminal: `site remove` asks, and no answer but yes removes."""
    for typed, gone in ((b"n\n", False), (b"\n", False), (b"y\n", True)):
        ours, theirs = pty.openpty()
        os.write(ours, typed)
        done = subprocess.run(
            [SCRIPT, "site", "remove", "kogyo.example"], stdin=theirs, capture_output=True, text=True, check=False,
            env=program.environment,
        )  # fmt: skip
        os.close(ours)
        os.close(theirs)
        assert "Remove kogyo.example from the fleet?" in done.stderr
        assert (done.returncode == 0) is gone
        assert (program.config / "sites.d" / "kogyo.example.toml").exists() is not gone


# ---------------------------------------------------------------- the fleet's own commands, offline


def test_a_new_key_is_private_and_overwrites_nothing(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "key"
    made = program("key", "new", str(file), "--ssh", "--json").json
    assert made["key"] == str(file)
    assert made["public"].split()[0] == "ssh-ed25519"
    assert file.stat().st_mode & 0o777 == 0o600
    assert Path(f"{file}.pub").read_text().strip() == made["public"]
    before = file.read_bytes()
    assert program("key", "new", str(file), "--ssh", "--json", code=2).error["code"] == "key_exists"
    assert file.read_bytes() == before
    assert (
        program("key", "new", str(tmp_path / "no" / "key"), "--ssh", "--json", code=2).error["code"] == "key_unwritable"
    )


def test_site_list_tells_what_the_files_say(program: Program) -> None:
    (row,) = program("site", "list", "--json").json["sites"]
    assert row == {
        "name": "kogyo.example",
        "url": "https://www.kogyo.example/",
        "account": "kogyo@sv1.host.example:22",
        "root": "~/public_html",
        "owner": None,
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--url", "kogyo.example"),
        ("--host", "sv1 host"),
        ("--user", "a b"),
        ("--root", ""),
        ("--php", "php; rm -rf /"),
        ("--connect", "nowhere"),
        ("--jump", "a b"),
        ("--port", "70000"),
    ],
)
def test_site_add_refuses_what_describes_no_site_before_it_connects(program: Program, option: str, value: str) -> None:
    given = {"--url": "https://new.example/", "--host": "127.0.0.1", "--user": "new", "--root": "~/new"} | {
        option: value
    }
    words = ["site", "add", "new.example", *itertools.chain(*given.items()), "--json"]
    error = program(*words, code=2).error
    assert error["code"] == "bad_site"
    assert option.strip("-") in error["message"]
    assert not (program.config / "sites.d" / "new.example.toml").exists()


def test_read_only_leaves_the_fleet_as_it_is(program: Program) -> None:
    words = ["site", "remove", "kogyo.example", "--yes", "--read-only", "--json"]
    assert program(*words, code=2).error["code"] == "read_only"
    assert (program.config / "sites.d" / "kogyo.example.toml").exists()


def test_the_fleet_is_the_one_that_was_named_before_or_after_the_command(program: Program, tmp_path: Path) -> None:
    named = str(program.config)
    del program.environment["MODOSERU_CONFIG"]
    program.environment["XDG_CONFIG_HOME"] = str(tmp_path / "none")
    for words in (["--config", named, "status", "--json"], ["status", "--json", "--config", named]):
        assert [one["name"] for one in program(*words).json["sites"]] == ["kogyo.example"]
    assert program("status", "--json").json == {"sites": [], "feed": None}


@pytest.mark.parametrize("how", ["flag before", "flag after", "environment"])
def test_a_fleet_s_folder_that_is_not_there_is_no_empty_fleet(program: Program, how: str) -> None:
    """A check that looks at nothing because of a typing error must not report that all is well."""
    nowhere = str(program.config / "nowhere")
    words = ["check", "--json"]
    match how:
        case "flag before":
            words = ["--config", nowhere, *words]
        case "flag after":
            words += ["--config", nowhere]
        case _:
            program.environment["MODOSERU_CONFIG"] = nowhere
    error = program(*words, code=2).error
    assert (error["code"], nowhere in error["message"]) == ("no_config_folder", True)
