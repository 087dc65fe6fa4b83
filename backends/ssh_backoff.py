"""How long nobody knocks again after a failure: longer each time, at the whole host where the host is not there.

Times are the running loop's own; tries nothing by itself.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from msgspec import Struct

from backends.records import SshSettings
from backends.ssh_refusal import Refused


class _Pause(Struct):
    failures: int
    until: float
    refusal: Refused


class BackOff:
    """The pauses after failures: `first` seconds, doubled up to `longest`."""

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._pauses: dict[Any, _Pause] = {}

    def check(self, account: SshSettings) -> None:
        """Raises the last failure's Refused anew while its pause lasts."""
        now = asyncio.get_running_loop().time()
        for key in _keys(account):
            pause = self._pauses.get(key)
            if pause and pause.until > now:
                raise pause.refusal.again(f"; next try in {max(1, round(pause.until - now))} s")

    def failed(self, account: SshSettings, refusal: Refused) -> None:
        """Begins a pause: of the whole host where no TCP connection came about, of the account otherwise."""
        key = _keys(account)[1 if refusal.reached else 0]
        failures = self._pauses[key].failures + 1 if key in self._pauses else 1
        wait = min(self._longest, self._first * 2 ** min(failures - 1, 16))
        until = asyncio.get_running_loop().time() + wait * random.uniform(0.75, 1.25)  # noqa: S311
        self._pauses[key] = _Pause(failures, until, refusal)

    def forget(self, account: SshSettings) -> None:
        """After a success, or because a person wants the next try now."""
        for key in _keys(account):
            self._pauses.pop(key, None)


def _keys(account: SshSettings) -> tuple[Any, Any]:
    return (account.host, account.port, account.jump), account
