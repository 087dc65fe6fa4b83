"""One agent for tests that Hypothesis drives: its rules are plain functions, the agent's client is not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from backends.agent.client import Agent
from backends.ssh import Servers
from tests.agent.small import Small

T = TypeVar("T")


class Desk:
    """Speaks to one site's agent over a connection of its own, until it is closed."""

    def __init__(self, site: Small, **server: Any) -> None:
        self._runner = asyncio.Runner()
        self._servers: Servers = self.of(self._open())
        self.site, self.agent = site, site.agent(self._servers, **server)

    def of(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def recover(self) -> None:
        self.of(self._recovered())

    def close(self) -> None:
        self.of(self._servers.__aexit__(None, None, None))
        self._runner.close()

    async def _open(self) -> Servers:
        return await Servers().__aenter__()

    async def _recovered(self) -> None:
        await self.agent.recover()


__all__ = ["Agent", "Desk"]
