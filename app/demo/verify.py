"""The twin's verify: every byte of a generation in portions, what is wrong as Notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.demo import archive
from app.demo.worker import Worker
from backends.records import ModoseruError, Outcome

_LEAST = "take another generation"


async def verify(worker: Worker) -> None:
    """Changes nothing; the twin heals nothing either: it has no second copy of anything."""
    run, generations, name = worker.runtime.run, worker.archive, worker.operation.request["generation"]
    worker.operation.remember("generation", name)
    await worker.step("summary")
    hashes = await run(generations.present, name)
    paths = [path for path in hashes if path != archive.DATABASE]
    seal = (await run(generations.seals))[name]
    problems: list[dict[str, Any]] = []
    if worker.operation.request.get("seal") not in (None, seal):
        problems.append({"what": "is not the summary that was sealed", "path": archive.SUMMARY})
    await worker.runtime.pause(0.3)

    await worker.step("packs")
    total = await run(generations.size, name, paths)

    def read(portion: Sequence[str]) -> int:
        problems.extend(generations.problems(name, portion))
        return generations.size(name, portion)

    await worker.paced(paths, read, total=total, unit="bytes", seconds=1.5)

    await worker.step("content")
    body = await run((generations.folder / name / archive.DATABASE).read_bytes)
    if archive.hash_of(body) != hashes[archive.DATABASE]:
        problems.append({"what": "has other bytes than what was sealed", "path": archive.DATABASE})
    worker.progress(len(body), len(body), "bytes")

    for problem in problems[:200]:
        worker.note("damaged", problem["what"], "error", problem["path"])
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        found = ModoseruError("damaged", f"{problems[0]['path']} {problems[0]['what']}{more}", _LEAST)
        worker.finish(Outcome.ROLLED_BACK, found.message, error=found, generation=name, summary=seal)
        return
    await run(generations.mark_verified, name, worker.runtime.now())
    worker.finish(Outcome.DONE, "whole: every byte was read back", generation=name, summary=seal)
