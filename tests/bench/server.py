"""Commands and the agent's verbs as the site's account on its server, with what all of their processes cost.

The agent is started here as sshd would start it, without the connection: what is compared is the work on the server.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from backends.agent.client import OPTIONS, PROTOCOL, agent_bytes, agent_name
from tests.bench.measure import Cost
from tests.lab import LabError, LabSite

COUNTED = Path(__file__).with_name("counted.py")
NICE = "10"
"""The agent nices itself by as much: whatever else the machine does weighs on the peers as it does on us."""


class Ran(NamedTuple):
    cost: Cost
    out: bytes


@dataclass
class Told:
    """What an operation told and cost."""

    cost: Cost
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def end(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def steps(self) -> dict[str, float]:
        """Seconds of each step; `start` is what lies between the command's start and the first step's."""
        marks = [
            (event["name"], dt.datetime.fromisoformat(event["at"])) for event in self.events if event["type"] == "step"
        ]
        marks.append(("", dt.datetime.fromisoformat(self.end["at"])))
        return {name: (until - at).total_seconds() for (name, at), (_, until) in pairwise(marks)}

    def without(self, *steps: str) -> Cost:
        """The cost less the time of `steps`; their processor time cannot be told apart and stays in."""
        return self.cost._replace(wall=self.cost.wall - sum(self.steps.get(step, 0.0) for step in steps))


class Server:
    """One site's account. `name` and `root` may be those of a site that the lab does not list."""

    def __init__(self, account: LabSite, *, name: str = "", root: Path | None = None) -> None:
        self.account = account
        self.name = name or account.name
        self.root = root or account.root
        self.state = account.home / ".modoseru" / self.name

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, stdin: Path | None = None
    ) -> Ran:
        """A command to its end. Raises LabError where it fails."""
        with self._started(command, environment or {}, stdin or Path(os.devnull)) as (process, cost):
            out, err = process.communicate()
            if process.returncode:
                complaint = err.decode(errors="replace")[-800:]
                raise LabError(f"{' '.join(command)}: status {process.returncode}: {complaint}")
            return Ran(cost(), out)

    def operation(self, verb: str, *, outcome: str = "done", **fields: Any) -> Told:
        """One operation, detached and followed, its questions answered at once with yes. Raises LabError where it ends
        otherwise."""
        marker, request = self._request(fields)
        told = Told(Cost(0, 0, 0))
        extra: list[Cost] = []
        identity = ""
        with tempfile.NamedTemporaryFile() as asked:
            asked.write(request)
            asked.flush()
            with self._started(self._words(verb), {}, Path(asked.name)) as (process, cost):
                assert process.stdout is not None
                complaint = _drained(process)
                for line in process.stdout:
                    if not line.startswith(marker):
                        continue
                    said = json.loads(line[len(marker) :])
                    identity = identity or said.get("reply", {}).get("operation", "")
                    if "error" in said:
                        raise LabError(f"{verb}: {said['error']}")
                    if "event" in said:
                        told.events.append(said["event"])
                        if said["event"]["type"] == "asked":
                            extra.append(self._answer(identity, said["event"]["number"]))
                process.wait()
                whole = cost()
        if not told.events or told.end["type"] != "finished" or told.end["outcome"] != outcome:
            raise LabError(f"{verb} did not end {outcome}: {told.events[-1:]} {complaint()}")
        told.cost = Cost(
            whole.wall, whole.cpu + sum(one.cpu for one in extra), max(whole.peak, *[one.peak for one in extra], 0)
        )
        return told

    def install(self) -> None:
        """The agent's file, as the loader would leave it, and an empty state."""
        folder = self.state.parent
        shutil.rmtree(self.state, ignore_errors=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        agent = folder / agent_name()
        agent.write_bytes(agent_bytes())
        for path in (folder, agent):
            os.chown(path, self.account.uid, self.account.uid)

    def forget_operations(self) -> None:
        """What restores put aside goes, so that a long bench does not fill the disk."""
        shutil.rmtree(self.state / "ops", ignore_errors=True)

    def _answer(self, operation: str, number: int) -> Cost:
        _, request = self._request({"operation": operation, "number": number, "keep": True, "detail": "bench"})
        with tempfile.NamedTemporaryFile() as asked:
            asked.write(request)
            asked.flush()
            return self.run(self._words("answer"), stdin=Path(asked.name)).cost

    def _request(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        marker = secrets.token_hex(16)
        request = {
            "protocol": PROTOCOL, "marker": marker, "site": self.name, "url": self.account.url, "root": str(self.root),
            "state": "~/.modoseru", "exclude": [], **fields,
        }  # fmt: skip
        return marker.encode() + b" ", json.dumps(request).encode()

    def _words(self, verb: str) -> list[str]:
        return [self.account.php, *OPTIONS, f".modoseru/{agent_name()}", verb]

    @contextlib.contextmanager
    def _started(self, command: Sequence[str], environment: Mapping[str, str], stdin: Path) -> Iterator[Any]:
        # What an earlier run left to be written back must not be paid for by the next one.
        os.sync()
        uid = self.account.uid
        with tempfile.NamedTemporaryFile() as figures, stdin.open("rb") as source:
            words = [
                sys.executable, "-I", "-S", str(COUNTED), figures.name,
                "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--", "nice", "-n", NICE, *command,
            ]  # fmt: skip
            home = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.account.home), "LC_ALL": "C.UTF-8"}
            with subprocess.Popen(
                words, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.account.home,
                env={**home, **environment},
            ) as process:  # fmt: skip
                yield process, lambda: _cost(Path(figures.name))


def _cost(file: Path) -> Cost:
    wall, cpu, peak = file.read_text().split()
    return Cost(float(wall), float(cpu), int(peak))


def _drained(process: subprocess.Popen[bytes]) -> Any:
    """Reads stderr meanwhile, so that a talkative process does not wait for us; returns what tells its end."""
    kept: list[bytes] = []

    def drain() -> None:
        assert process.stderr is not None
        kept.append(process.stderr.read())

    thread = threading.Thread(target=drain)
    thread.start()

    def told() -> str:
        thread.join()
        return b"".join(kept).decode(errors="replace")[-800:]

    return told
