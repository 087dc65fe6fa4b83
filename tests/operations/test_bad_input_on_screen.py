"""What is wrong with a site, met in the dashboard: one clear sentence, nothing changed, and the others still work."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from app import speaking
from app.screens.log import Log
from backends.journal import Journal
from tests.lab import Lab, LabSite
from tests.lab.plugins import GOOD
from tests.operations.program import Program, program_of
from tests.operations.screen_of_fleet import Screen, on_screen
from tests.operations.test_bad_input import another_host_key, another_key, tree
from tests.operations.test_main_job import rows
from widgets.job import Job
from widgets.sentences import told

pytestmark = pytest.mark.lab
NAME, NEIGHBOUR = "minato.example", "sakura.example"
JAPANESE = re.compile("[぀-ヿ一-鿿]")


class Fault(NamedTuple):
    """One thing that is wrong. `changes` of the site's file, and what is done to its server.

    `sentence` is what the keys and the pane tell; `besides` what single keys tell instead, for the server answers, and
    means another thing by it; `pane` what the pane tells of it.
    """

    name: str
    changes: Callable[[Lab, LabSite, Path], Mapping[str, Any]]
    sentence: str
    besides: Mapping[str, str] = {}
    server: Callable[[Lab, LabSite], AbstractContextManager[None]] = lambda _lab, _site: contextlib.nullcontext()
    pane: str | None = None
    keys: str = "bdRrUu"


def setting(path: str, value: object) -> Callable[[Lab, LabSite, Path], Mapping[str, Any]]:
    return lambda _lab, _site, _folder: {path: value}


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def key_file(content: str | None) -> Callable[[Lab, LabSite, Path], Mapping[str, Any]]:
    def made(_lab: Lab, _site: LabSite, folder: Path) -> Mapping[str, Any]:
        file = folder / "key"
        if content is not None:
            file.write_text(content)
        return {"ssh.key": str(file)}

    return made


@contextlib.contextmanager
def home_that_cannot_be_written(_lab: Lab, site: LabSite) -> Iterator[None]:
    mode = site.home.stat().st_mode
    site.home.chmod(0o511)
    try:
        yield
    finally:
        site.home.chmod(mode)


def disk_of(size: int) -> Callable[[Lab, LabSite], AbstractContextManager[None]]:
    """A file system of so many bytes where the site keeps its generations; those that it had come back with the end."""

    @contextlib.contextmanager
    def mounted(lab: Lab, site: LabSite) -> Iterator[None]:
        folder = site.home / ".modoseru"
        lab.small_disk(site, folder, size)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)

    return mounted


KEY = r"ssh-ed25519 SHA256:[\w+/]{43}"
NO_UPDATES = "The updates of minato.example are not known; c looks"
NEVER = "cannot be restored: it was never backed up"
NO_UNDO = "nothing was restored or updated on minato.example that could be undone"
FAULTS = (
    Fault(
        "closed port",
        lambda *_: {"ssh.port": closed_port()},
        r"127\.0\.0\.1:\d+: cannot connect \(connection refused\)",
    ),
    Fault(
        "unknown host",
        setting("ssh.host", "no-such-host.invalid"),
        r"cannot connect \(no address is known for this name\)",
    ),
    Fault(
        "not an SSH port",
        lambda _lab, site, _: {"ssh.port": int(site.connect.split(":")[1])},
        "hung up before the login|no SSH connection",
    ),
    Fault(
        "refused key",
        lambda _lab, _site, folder: {"ssh.key": str(another_key(folder))},
        "the server refused the key /",
    ),
    Fault("missing key", key_file(None), r"key /\S+: no such file"),
    Fault("not a key", key_file("ssh-ed25519 AAAA"), r"key /\S+: not a private key"),
    Fault("no key at all", setting("ssh.key", None), "no key is configured and no SSH agent runs"),
    Fault("unknown host key", setting("ssh.host_key", None), rf"unknown host key {KEY}"),
    Fault("changed host key", lambda *_: {"ssh.host_key": another_host_key()}, rf"pinned {KEY}, shown {KEY}"),
    Fault("unknown user", setting("ssh.user", "nobody-here"), "nobody-here@.*: the server refused the key /"),
    Fault(
        "jump host down",
        lambda _lab, site, _: {"ssh.jump": f"127.0.0.1:{closed_port()}", "ssh.jump_host_key": site.host_key},
        r"jump host of .*: cannot connect \(connection refused\)",
    ),
    Fault("missing PHP", setting("server.php", "/usr/bin/php9.9"), r"/usr/bin/php9\.9 does not run on 127\.0\.0\.1"),
    Fault(
        "not a PHP",
        setting("server.php", "/bin/true"),
        r"the agent gave no answer on 127\.0\.0\.1 \(exit status 0\): it printed nothing",
    ),
    Fault(
        "wrong document root",
        setting("server.root", "~/no-such-folder"),
        r"the document root /\S+/no-such-folder does not exist on the server",
        {"U": NO_UNDO, "u": NO_UPDATES},
        keys="bRrUu",
    ),
    Fault(
        "no WordPress there",
        setting("server.root", "~/.ssh"),
        r"there is no WordPress in /\S+/\.ssh",
        {"U": NO_UNDO, "u": NO_UPDATES},
        keys="bRrUu",
    ),
    Fault(
        "read-only home",
        setting("server.state", "~/elsewhere"),
        r"cannot make the folder /\S+/elsewhere: Permission denied",
        server=home_that_cannot_be_written,
    ),
    Fault(
        "full disk",
        lambda *_: {},
        r"[\d.]+ MB are needed and the server has [\d.]+ MB free",
        {"d": NEVER, "R": NEVER, "r": "minato.example has no generation yet", "U": NO_UNDO},
        disk_of(2 << 20),
        r"a generation is gone: \w+",
        keys="bdRrU",  # an update is told so by the generation that it makes first
    ),
    Fault(
        "full to the brim",
        lambda *_: {},
        r"cannot write the agent to /\S+/\.modoseru: .*free disk space",
        server=disk_of(64 << 10),
    ),
)


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A machine with two sites, each backed up and looked at; an update waits on the one that will be ill."""
    made = program_of(lab, tmp_path_factory.mktemp("machine"))
    for file in (made.config / "sites.d").glob("*.toml"):
        if file.stem not in {NAME, NEIGHBOUR}:
            file.unlink()
    for name in (NAME, NEIGHBOUR):
        lab.reset(lab.site(name))
    lab.put_plugin(lab.site(NAME), GOOD)
    lab.wporg.offer({GOOD: "1.1"})
    made("backup", NAME, NEIGHBOUR)
    made("updates")
    made("check", code=None)
    return made


@pytest.fixture
def program(machine: Program, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """`machine`, its configuration right again afterwards."""
    monkeypatch.setenv("MODOSERU_STATE", str(machine.state))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield machine
    machine.write_site(lab.site(NAME))


@pytest.fixture
def site(lab: Lab) -> Iterator[LabSite]:
    """The ill site: files, tables and generations must be afterwards what they were before."""
    found = lab.site(NAME)

    def state() -> tuple[object, ...]:
        generations = found.home / ".modoseru" / NAME / "generations"
        kept = {str(path): path.read_bytes() for path in generations.rglob("*") if path.is_file()}
        return tree(found), rows(lab, found), kept, sorted(path.name for path in found.home.iterdir())

    before = state()
    assert before[2], "it has a generation"
    yield found
    assert state() == before


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
async def test_it_is_one_clear_sentence_under_every_key_and_nothing_is_changed(
    lab: Lab, site: LabSite, program: Program, tmp_path: Path, fault: Fault
) -> None:
    program.write_site(site, fault.changes(lab, site, tmp_path))
    with fault.server(lab, site):
        async with on_screen(program, (120, 30)) as screen:
            await screen.go_to(NAME)
            for name in (NAME, NEIGHBOUR):
                assert re.search(rf" {name} +ok ", screen.painted), "looked at from outside all the same"
            assert_told(screen, fault.pane or fault.sentence)
            await screen.look_again(NAME)
            assert_told(screen, fault.pane or fault.sentence)
            for key in fault.keys:
                await assert_refused(screen, key, fault)


@pytest.mark.parametrize("name", ["changed host key", "wrong document root", "full to the brim"])
async def test_the_other_sites_are_backed_up_all_the_same(
    lab: Lab, site: LabSite, program: Program, tmp_path: Path, name: str
) -> None:
    (fault,) = (one for one in FAULTS if one.name == name)
    program.write_site(site, fault.changes(lab, site, tmp_path))
    with fault.server(lab, site):
        async with on_screen(program, (120, 30)) as screen:
            await screen.go_to(NAME)
            await screen.settled("b")
            await screen.go_to(NEIGHBOUR)
            job = await screen.settled("b")
            assert job is not None
            assert job.well
            assert re.search(rf"✔ {NEIGHBOUR} +backup +done", screen.painted)
            assert_told(screen, fault.sentence)


async def assert_refused(screen: Screen, key: str, fault: Fault) -> None:
    """The key leads to the sentence, whole."""
    sentence = fault.besides.get(key, fault.sentence)
    job = await screen.settled(key)
    assert_told(screen, sentence)
    assert "Traceback" not in screen.painted
    assert "defect" not in screen.painted
    if job is not None and not job.well:
        assert_whole(screen, job)
    if key == fault.keys[0]:
        await screen.press("l")
        await screen.until(lambda: isinstance(screen.app.screen, Log) and re.search(r"\d\d:\d\d:\d\d", screen.painted))
        assert_told(screen, sentence)
    await screen.clear()


def assert_told(screen: Screen, sentence: str) -> None:
    pattern = sentence.replace(" ", r"[\s▏│]*")
    assert re.search(pattern, screen.painted) or re.search(sentence.replace(" ", ""), squeezed(screen)), screen.painted


def squeezed(screen: Screen) -> str:
    """What is painted without the blanks and borders at which a sentence is broken: of all, the pane, and a dialog."""
    lines = screen.painted.splitlines()
    pane, dialog = (line.partition("▏")[2] for line in lines), (line.split("│")[1] for line in lines if "│" in line)
    return "\n".join("".join("".join(part).split()) for part in (lines, pane, dialog))


def assert_whole(screen: Screen, job: Job) -> None:
    """Message and hint are painted to their last letter, and both are said in Japanese too."""
    parts = job.error or (job.finished and (job.finished.detail, job.finished.hint)) or ()
    assert all(parts), "a sentence, and what to do about it"
    for part in parts:
        assert screen.shows(part), (part, screen.painted)
        speaking.speak("ja")
        said = told(part)
        speaking.speak("en")
        assert JAPANESE.search(said), f"said in English alone: {part}"


# ---------------------------------------------------------------- the operator's own machine


@contextlib.contextmanager
def held(file: Path) -> Iterator[None]:
    """Another process is writing into the journal and does not end."""
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        database.close()


@contextlib.contextmanager
def full(file: Path) -> Iterator[None]:
    """Nothing more fits on the journal's disk."""
    filling = file.parent / "filling"
    with filling.open("wb", buffering=0) as content, contextlib.suppress(OSError):
        while True:
            content.write(bytes(4096))
    try:
        yield
    finally:
        filling.unlink()


@contextlib.contextmanager
def damaged(file: Path) -> Iterator[None]:
    """Something has written over the file. (What SQLite has read of it before does not count.)"""
    log = file.with_name(file.name + "-wal")
    kept = {one: one.read_bytes() for one in (file, log)}
    for one in kept:
        one.write_bytes(b"\xff" * one.stat().st_size)
    try:
        yield
    finally:
        for one, content in kept.items():
            one.write_bytes(content)


@pytest.fixture
def small_journal(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The machine's journal on a small disk of its own; who waits for it waits 0.2 s."""
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "modoseru-test", str(state)], check=True)
    shutil.copytree(program.state, state, dirs_exist_ok=True)
    monkeypatch.setenv("MODOSERU_STATE", str(state))
    monkeypatch.setitem(Journal.open.__func__.__kwdefaults__, "busy", 0.2)  # type: ignore[attr-defined]
    (file,) = state.rglob("journal.db")
    yield file
    subprocess.run(["umount", "-l", str(state)], check=True)


class Trouble(NamedTuple):
    """A way in which the journal breaks, what is told of it, and the keys that meet it."""

    begins: Callable[[Path], AbstractContextManager[None]]
    sentence: str
    keys: str


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(held, "another process holds it", "bdu"),
        Trouble(full, "the disk is full", "bdu"),
        Trouble(damaged, "is damaged|is not a journal", "bd"),
    ],
    ids=["held", "full", "damaged"],
)
async def test_a_journal_that_breaks_while_the_dashboard_is_open_starts_nothing(
    site: LabSite,
    program: Program,
    small_journal: Path,
    trouble: Trouble,
) -> None:
    operations = site.home / ".modoseru" / NAME / "ops"
    before = sorted(operations.iterdir())
    async with on_screen(program, (120, 30)) as screen:
        await screen.go_to(NAME)
        with trouble.begins(small_journal):
            for key in trouble.keys:
                job = await screen.settled(key)
                assert job is not None, screen.painted
                assert_told(screen, f"journal .*: ({trouble.sentence})")
                assert_whole(screen, job)
                await screen.clear()
            assert sorted(operations.iterdir()) == before, "nothing was begun"
        if trouble.begins is not damaged:
            await screen.go_to(NEIGHBOUR)
            await screen.settled("b")
            assert re.search(rf"✔ {NEIGHBOUR} +backup +done", screen.painted)
