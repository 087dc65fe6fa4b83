"""A site that is closed and opened, and one that is restored while it is closed."""

from __future__ import annotations

import asyncio
import os

from backends.records import Outcome
from tests.agent.small import Entry, Tree, carry_out
from tests.faults.kills import Trial
from tests.faults.site import Looks

GATES = (".htaccess", ".user.ini", "wp-content/uploads/.user.ini")


class IsolationTrial(Trial):
    """A gate is compared as a gate: its secret is another one each time. The script may stay for a while."""

    async def _get_ready(self) -> None:
        await asyncio.to_thread(self._rule)
        await super()._get_ready()

    def _rule(self) -> None:
        self.site.write(".htaccess", b"# BEGIN WordPress\nRewriteEngine On\n# END WordPress\n", 0o640)
        self.site.write("wp-content/uploads/.user.ini", b"auto_prepend_file = none")
        self.site.age()

    async def _looks(self) -> Looks:
        looks = await super()._looks()
        files: Tree = {path: entry for path, entry in looks.files.items() if not path.startswith(b".modoseru-gate")}
        for name in GATES:
            path = self.site.root / name
            if path.exists() and b"BEGIN Modoseru isolation" in path.read_bytes():
                files[os.fsencode(name)] = Entry(path.lstat().st_mode, 0, "a gate")
        return Looks(files, looks.tables)

    async def _what_is_wrong(self, outcome: str, operation: str) -> str:
        # Nobody answered: it says that nobody saw it closed, and the gate stands.
        if outcome == "needs_hand" and not (await self._looks()).differs(self.new):
            outcome = "done"
        return await super()._what_is_wrong(outcome, operation)

    async def _back(self) -> None:
        story = await carry_out(self.agent, "release")
        assert story.outcome is Outcome.DONE, story.end
        differs = (await self._looks()).differs(self.old)
        assert not differs, f"after release {differs}"


class IsolatedTrial(IsolationTrial):
    """The site is closed before the operation, and at every end of it."""

    async def _get_ready(self) -> None:
        await super()._get_ready()
        closed = await carry_out(self.agent, "isolate")
        assert closed.outcome is Outcome.DONE, closed.end

    async def _make_work(self) -> None:
        """Only the first thing that is overwritten is marked to be kept."""
        for kept in self.site.state.glob("ops/*/keep"):
            kept.unlink()

    async def _what_is_wrong(self, outcome: str, operation: str) -> str:
        if open_ones := [name for name in GATES if not self._is_gate(name)]:
            return f"open ({outcome}): {open_ones}"
        return await Trial._what_is_wrong(self, outcome, operation)

    def _is_gate(self, name: str) -> bool:
        path = self.site.root / name
        return path.exists() and b"BEGIN Modoseru isolation" in path.read_bytes()

    async def _back(self) -> None:
        await Trial._back(self)
