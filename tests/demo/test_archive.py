"""The generations of a demo site's past, which are written when they are first asked for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from app.demo.archive import Archive
from app.demo.fleet import Demo

READERS = 8


async def test_whoever_asks_at_the_same_moment_is_told_all_of_them(demo: Demo) -> None:
    for number, site in enumerate(demo.sites.values()):
        state = demo.folder / f"state-{number}"
        together = threading.Barrier(READERS)

        def listed(site=site, state=state, together=together) -> list[str]:  # type: ignore[no-untyped-def]
            together.wait()
            return [one.id for one in Archive(site, state).listing()]

        with ThreadPoolExecutor(READERS) as threads:
            found = [one.result() for one in [threads.submit(listed) for _ in range(READERS)]]
        assert all(one == found[0] for one in found)
        assert [path.name for path in state.iterdir()] == ["generations"]
