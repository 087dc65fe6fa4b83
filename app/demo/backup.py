"""The twin's backup: database, files, seal, retention."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from msgspec import Struct

from app.demo import archive, contents
from app.demo.archive import Summary
from app.demo.history import moment
from app.demo.operation import matcher
from app.demo.site import write_tables
from app.demo.worker import Worker
from backends.records import Generation, GenerationState, ModoseruError, Outcome


class Made(Struct, frozen=True):
    """A generation that was just made; `seal` is the hash of its summary."""

    id: str
    seal: str
    detail: str


async def backup(worker: Worker) -> None:
    """The operation `backup`."""
    made = await make_generation(worker, str(worker.operation.request.get("reason") or "hand"))
    await worker.step("retention")
    await worker.runtime.pause(0.2)
    await _retain(worker)
    worker.finish(Outcome.DONE, made.detail, generation=made.id, summary=made.seal)


async def make_generation(worker: Worker, reason: str) -> Made:
    """It appears by one rename or not at all."""
    site, run = worker.site, worker.runtime.run
    await worker.step("prepare")
    await run(worker.archive.sweep)
    await run(_require_site, worker)
    await worker.runtime.pause(0.4)
    name = await run(worker.archive.fresh_id, worker.runtime.now())
    part = worker.archive.folder / f".{name}.part"
    await run(part.mkdir)
    worker.operation.remember("generation", name)

    await worker.step("database")
    tables = await run(site.tables)
    count = contents.rows(tables)
    await worker.paced(range(count), len, total=count, unit="rows", seconds=0.8)
    await run(write_tables, part / archive.DATABASE, tables)

    await worker.step("files")
    skip = matcher(tuple(worker.operation.request.get("exclude") or ()))
    paths = [path for path in await run(lambda: list(archive.walk(site.root))) if not skip.fullmatch(path)]
    sizes = await run(lambda: {path: (site.root / path).stat().st_size for path in paths})
    hashes: archive.Hashes = {}

    def pack(portion: Sequence[str]) -> int:
        hashes.update(worker.archive.pack(part / archive.TREE, site.root, portion))
        return sum(sizes[path] for path in portion)

    total = sum(sizes.values())
    await worker.paced(paths, pack, total=total, unit="bytes", seconds=1.8)
    hashes[archive.DATABASE] = archive.hash_of((part / archive.DATABASE).read_bytes())

    await worker.step("seal")
    await worker.runtime.pause(0.3)
    extent = total + contents.weight(count)
    generation = Generation(
        id=name,
        created=moment(name),
        bytes=extent,
        files=len(paths),
        tables=len(contents.TABLES),
        rows=count,
        stored=extent // (24 if await run(worker.archive.listing) else 1),
        reason=reason,
    )
    index = await run(worker.archive.write_hashes, part, hashes)
    rows = {table: len(tables[table]) for table in contents.TABLES}
    parts = {name: (part / name).read_bytes() for name in (archive.TREE, archive.DATABASE, archive.HASHES)}
    summary = archive.sealed(Summary(generation=generation, tables=rows, index=index), parts)
    seal = await run(worker.archive.write, part, summary)
    await run(part.rename, worker.archive.folder / name)
    detail = f"{len(paths)} files, {len(contents.TABLES)} tables, {generation.stored} new bytes stored"
    return Made(name, seal, detail)


def _require_site(worker: Worker) -> None:
    """A backup wants a whole site; a restore does not."""
    site = worker.site
    site.make()
    if not site.root.is_dir():
        raise ModoseruError("no_root", f"there is no folder {site.root}", "correct [server] root")
    if site.read("wp-config.php") is None:
        raise ModoseruError(
            "no_config", f"there is no wp-config.php for {site.root}", "restore it, or correct [server] root"
        )
    if not site.tables()["options"]["reachable"]:
        raise ModoseruError(
            "no_database", "the table wp_options is marked as crashed", "repair or restore the database"
        )


async def _retain(worker: Worker) -> None:
    """A weekly one goes when `keep` newer clean ones fill the policy, it is old, and the newest reads back."""
    request, now = worker.operation.request, worker.runtime.now()
    keep, age = max(1, int(request.get("keep") or 8)), _age(request.get("min_age_s"))
    listing = await worker.runtime.run(worker.archive.listing)
    sealed, seals = request.get("sealed"), await worker.runtime.run(worker.archive.seals)
    weekly = [
        one
        for one in listing
        if one.reason == "weekly" and one.state is GenerationState.COMPLETE
        if not sealed or one.id == listing[0].id or sealed.get(one.id) == seals[one.id]
    ]
    surplus = [one for one in weekly[keep:] if now - one.created > age and not one.pinned]
    if not surplus:
        return
    hashes = await worker.runtime.run(worker.archive.present, weekly[0].id)
    paths = [path for path in hashes if path != archive.DATABASE]
    if problems := await worker.runtime.run(worker.archive.problems, weekly[0].id, paths):
        text = f"nothing was let go: the newest generation does not read back: {problems[0]['path']}"
        worker.note("damaged", text, "error", weekly[0].id)
        return
    for generation in surplus:
        await worker.runtime.run(worker.archive.remove, generation.id)
        worker.note("let_go", f"the generation {generation.id} was let go", item=generation.id)


def _age(seconds: int | None) -> dt.timedelta:
    return dt.timedelta(days=56) if seconds is None else dt.timedelta(seconds=seconds)
