"""Runs what blocks in a thread of its own, which neither the loop nor the program's end waits for when a disk hangs.

`asyncio.to_thread` would: its pool has few threads, and Python waits for each of them when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_thread(work: Callable[[], Result], *, stop: threading.Event | None = None, grace: float = 5) -> Result:
    """What `work` returns or raises. Cancelled, it sets `stop` and waits for `work` to end, `grace` seconds at most."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Result] = loop.create_future()
    ended.add_done_callback(lambda future: future.cancelled() or future.exception())

    def tell(result: Any, error: BaseException | None) -> None:
        if error is not None:
            ended.set_exception(error)
        else:
            ended.set_result(result)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        # A loop that was closed meanwhile waits for nothing.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, name="modoseru-disk", daemon=True).start()
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        if stop is not None:
            stop.set()
        await asyncio.wait([ended], timeout=grace)
        raise
