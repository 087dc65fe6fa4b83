"""Starts servers in sessions of their own, remembers them in a ledger on disk, ends them and nothing else.

A process is known by pid, start time and boot: a reused number is never signalled. The ledger outlives a killed
run, so that the next one can clean up after it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tests.lab.layout import LabError, wait_until, write_atomically

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

BOUND = ("setpriv", "--pdeathsig", "KILL", "--")
"""Before a command that writes to the lab: it must not go on writing after the run that wanted it was killed."""


class Entry(msgspec.Struct, frozen=True):
    """A started process: the leader of its session."""

    pid: int
    start: int
    boot: str


class Seen(msgspec.Struct, frozen=True):
    """A line of the process table."""

    pid: int
    parent: int
    session: int
    start: int
    zombie: bool


def process_table() -> dict[int, Seen]:
    found: dict[int, Seen] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - several thousand entries, read often
        if name.isdigit() and (seen := look(int(name))) is not None:
            found[seen.pid] = seen
    return found


def look(pid: int) -> Seen | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b") ", 1)[1].split()
    except (OSError, IndexError):
        return None
    return Seen(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0] in {b"Z", b"X"})


def owned_by(uids: Iterable[int]) -> list[int]:
    """Living processes whose real uid is one of `uids`."""
    wanted = set(uids)
    pids = []
    for pid, seen in process_table().items():
        if seen.zombie:
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            status = Path(f"/proc/{pid}/status").read_text(errors="replace")
            if int(status.split("\nUid:", 1)[1].split()[0]) in wanted:
                pids.append(pid)
    return pids


def end_owned_by(uids: Iterable[int], spare: Callable[[int], bool] = lambda _: False) -> None:
    """Kills what the accounts run (only the lab makes those accounts), but for what `spare` names."""
    wanted = list(uids)

    def none_left() -> bool:
        left = [pid for pid in owned_by(wanted) if not spare(pid)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(none_left, 10, f"end of the processes of uids {wanted}")


class Processes:
    """The ledger of one lab's servers."""

    def __init__(self, ledger: Path, logs: Path) -> None:
        self._ledger, self._logs = ledger, logs
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def entries(self) -> dict[str, Entry]:
        try:
            known = msgspec.json.decode(self._ledger.read_bytes(), type=dict[str, Entry])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}
        return {name: entry for name, entry in known.items() if entry.boot == self._boot}

    def start(self, name: str, argv: list[str], environment: dict[str, str] | None = None) -> None:
        """Runs `argv` (absolute path first) detached from this process; its output goes to `log/<name>.out`."""
        output = self._logs / f"{name}.out"
        pid = os.posix_spawn(
            argv[0],
            argv,
            {**ENVIRONMENT, **(environment or {})},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        seen = look(pid)
        if seen is None:
            raise LabError(f"{name} ended at once: see {output}")
        self._write({**self.entries(), name: Entry(pid, seen.start, self._boot)})

    def alive(self, name: str) -> bool:
        entry = self.entries().get(name)
        if entry is None:
            return False
        _reap(entry.pid)
        seen = look(entry.pid)
        return seen is not None and seen.start == entry.start and not seen.zombie

    def leader(self, name: str) -> int:
        """Pid (and session) of a server; LabError where it does not run."""
        if not self.alive(name):
            raise LabError(f"{name} does not run")
        return self.entries()[name].pid

    def must_live(self, name: str) -> None:
        if not self.alive(name):
            output = self._logs / f"{name}.out"
            tail = output.read_text(errors="replace")[-1500:] if output.exists() else ""
            raise LabError(f"{name} ended while starting ({output}):\n{tail}")

    def stop(self, *names: str, seconds: float = 20) -> None:
        """Ends the named servers (all, without names) and what they started: SIGTERM, at the deadline SIGKILL."""
        entries = {name: entry for name, entry in self.entries().items() if not names or name in names}
        family = {pid: seen.start for entry in entries.values() for pid, seen in self.family(entry).items()}
        for entry in entries.values():
            if (seen := look(entry.pid)) is not None and seen.start == entry.start:
                os.kill(entry.pid, signal.SIGTERM)
            else:
                _signal(self.family(entry), signal.SIGTERM)

        def ended() -> bool:
            for pid in family:
                _reap(pid)
            return not _living(family)

        try:
            # The leaders first: they end their own children in order (MariaDB writes its pages).
            leaders = {entry.pid: entry.start for entry in entries.values()}
            wait_until(lambda: not _living(_reaped(leaders)), seconds, "orderly end")
        except LabError:
            pass
        if not ended():
            _signal(_living(family), signal.SIGKILL)
        wait_until(ended, 10, f"end of {sorted(entries)}")
        self._write({name: entry for name, entry in self.entries().items() if name not in entries})

    def kill(self, name: str) -> None:
        """SIGKILL to a server's leader, and its end."""
        pid = self.leader(name)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.alive(name), 10, f"the end of {name}")

    def family(self, entry: Entry) -> dict[int, Seen]:
        """The session of a server and its descendants; empty where the number now means another process."""
        table = process_table()
        leader = table.get(entry.pid)
        if leader is not None and leader.start != entry.start:
            return {}
        # While a session has members its number is not given away: members of a dead leader's session are ours.
        found = {pid: seen for pid, seen in table.items() if seen.session == entry.pid}
        grown = True
        while grown:
            more = {pid: seen for pid, seen in table.items() if seen.parent in found and pid not in found}
            found.update(more)
            grown = bool(more)
        return found

    def _write(self, entries: dict[str, Entry]) -> None:
        write_atomically(self._ledger, msgspec.json.encode(entries))


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _reaped(starts: dict[int, int]) -> dict[int, int]:
    for pid in starts:
        _reap(pid)
    return starts


def _living(starts: dict[int, int]) -> dict[int, Seen]:
    seen = {pid: look(pid) for pid in starts}
    return {pid: one for pid, one in seen.items() if one is not None and not one.zombie and one.start == starts[pid]}


def _signal(targets: Iterable[int], number: signal.Signals) -> None:
    for pid in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
