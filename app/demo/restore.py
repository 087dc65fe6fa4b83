"""The twin's restore and undo: staged and verified beside the live site, exchanged, looked at, exchanged back."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.demo import access, archive, moved, post
from app.demo.operation import Answer, Operation, matcher
from app.demo.site import DemoSite, write_tables
from app.demo.worker import Worker, remove
from backends.records import ModoseruError, Outcome

Only = str | list[str]
RESET_S = 20.0
EVIDENCE_KEPT = 2
_AS_IT_WAS = "the check failed and the site is as it was: "


def only_of(request: dict[str, Any]) -> Only:
    """`all`, `files`, `database`, `post:ID`, or paths below the root."""
    only = request.get("only")
    only = "all" if only is None else only
    if isinstance(only, str) and (only in ("all", "files", "database") or post.id_of(only) is not None):
        return only
    if not isinstance(only, list) or not only or not all(isinstance(path, str) and _below(path) for path in only):
        raise ModoseruError("bad_request", 'the request\'s "only" is not a choice', "all, files, database, or paths")
    return [path.strip("/") for path in only]


def _below(path: str) -> bool:
    parts = path.rstrip("/").split("/")
    return bool(parts) and not {"", ".", ".."} & set(parts)


def chosen(only: Only, paths: Sequence[str]) -> list[str]:
    """Which of a generation's paths a restore of `only` writes."""
    if isinstance(only, list):
        wanted = matcher(tuple(only))
        return [path for path in paths if wanted.fullmatch(path)]
    return list(paths) if has_files(only) else []


def has_files(only: Only) -> bool:
    """Whether the tree is part of it; the demo's posts have no files of their own."""
    return only != "database" and post.id_of(only) is None


async def restore(worker: Worker) -> None:
    """Ends with the question whether the site is right; `conclude` is what follows the answer."""
    run = worker.runtime.run
    await worker.step("preflight")
    only = only_of(worker.operation.request)
    name = str(worker.operation.request.get("generation") or "")
    worker.operation.remember("generation", name)
    move = await _brought(worker, name)
    hashes = await run(worker.archive.present, name)
    await run(worker.site.make)
    writes = move is None and only in ("all", "files") and await run(_written, worker, name, only)
    if (wanted := post.id_of(only)) is not None:
        await run(post.held, worker.archive, name, wanted)
    paths = chosen(only, [path for path in hashes if path != archive.DATABASE])
    if isinstance(only, list) and not paths:
        raise ModoseruError("no_generation", "the generation holds none of these paths", "look at modoseru diff")
    await worker.runtime.pause(0.5)

    await worker.step("stage")
    tree, tables = _staging(worker)
    worker.operation.remember("staging", [str(path.relative_to(worker.site.home)) for path in (tree, tables)])
    if has_files(only):
        await run(_carry_over, worker, tree, only)

    def unpack(portion: Sequence[str]) -> int:
        return worker.archive.unpack(name, tree, portion)

    total = await run(worker.archive.size, name, paths)
    await worker.paced(paths, unpack, total=total, unit="bytes", seconds=1.8)
    number = post.id_of(only)
    if number is not None:
        then = worker.archive.tables(name)
        await run(lambda: write_tables(tables, post.put_back(worker.site.tables(), then, number)))
    elif only in ("all", "database"):
        await run(lambda: write_tables(tables, worker.archive.tables(name)))

    await worker.step("verify")
    whole = tables if tables.exists() and number is None else None
    bad = await run(unlike, tree, whole, paths, hashes)
    await worker.runtime.pause(0.6)
    worker.progress(total, total, "bytes")
    if bad:
        raise ModoseruError("damaged", f"what was staged does not read back: {bad[0]}", "take another generation")

    if writes:
        await run(_write_credentials, worker.site, tree)
    if move is not None:
        await worker.step("rewrite")
        changed = await run(moved.settle, worker.site, move, tree, tables)
        worker.note("rewritten", f"the address {move.url} became another in {changed} values")

    await worker.step("switch")
    worker.operation.remember("phase", "switching")
    if has_files(only):
        await worker.exchange(worker.site.root, tree, "tree")
    if tables.exists():
        await worker.exchange(worker.site.database, tables, "database.json")
    await _look(worker)


async def _brought(worker: Worker, name: str) -> moved.Move | None:
    """Where the generation is another site's: what was brought takes the place of the site's own archive."""
    move = moved.of(worker.operation.request)
    if move is not None:
        source = moved.incoming(worker.state, worker.operation.request)
        into = worker.operation.folder / "brought"
        worker.archive = await worker.runtime.run(moved.taken, worker.site, source, into, name)
    return move


def _write_credentials(site: DemoSite, tree: Path) -> None:
    config = tree / access.CONFIG
    config.write_bytes(access.let_in(site, config.read_bytes()))


def _written(worker: Worker, name: str, only: Only) -> bool:
    """Whether the restored wp-config.php needs another word than its own; what is to be known of that is a note.

    Raises ModoseruError (no_database) where the database has to open and no known word does it.
    """
    config = access.config_of(worker.archive, name)
    told = access.told(worker.site, config, access.given(worker.operation.request))
    if "blocker" in told and only == "all":
        raise ModoseruError(**told["blocker"])
    if "warning" in told:
        worker.note(told["warning"]["code"], told["warning"]["message"], "warning")
    return "blocker" not in told and access.let_in(worker.site, config) != config


def _staging(worker: Worker) -> tuple[Path, Path]:
    mark = secrets.token_hex(4)
    root, database = worker.site.root, worker.site.database
    return root.with_name(f".modoseru-{mark}"), database.with_name(f"{database.stem}.{mark}.staging")


def _carry_over(worker: Worker, tree: Path, only: Only) -> None:
    """What a restore leaves as it is: excluded paths, and, where paths were chosen, everything else."""
    root = worker.site.root
    tree.mkdir(mode=0o700)
    if not root.is_dir():
        return
    excluded = matcher(tuple(worker.operation.request.get("exclude") or ()))
    replaced = matcher(tuple(only)) if isinstance(only, list) else None
    for path in archive.walk(root):
        if replaced.fullmatch(path) is None if replaced is not None else excluded.fullmatch(path):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / path, tree / path)


def unlike(tree: Path, tables: Path | None, paths: Sequence[str], hashes: dict[str, str]) -> list[str]:
    """Staged things that are not what the summary says."""
    found = [
        path
        for path in paths
        if not (tree / path).exists() or archive.hash_of((tree / path).read_bytes()) != hashes[path]
    ]
    if tables is not None and archive.hash_of(tables.read_bytes()) != hashes[archive.DATABASE]:
        found.append(archive.DATABASE)
    return found


async def undo(worker: Worker) -> None:
    """What the last restore or update put aside comes back. Undone twice, it is a redo."""
    await worker.step("preflight")
    named = worker.operation.request.get("operation")
    target = undoable(worker.site, worker.state, named, worker.operation.id)
    worker.operation.remember("undoes", target.id)
    if generation := target.state.get("generation"):
        worker.operation.remember("generation", generation)
    await worker.runtime.pause(0.5)
    await worker.step("stage")
    await worker.step("switch")
    worker.operation.remember("phase", "switching")
    # Newest first: of two changes to one file, the older evidence must come to lie on top.
    for live, name in reversed(target.state["swaps"]):
        copy = worker.operation.folder / "taken" / name
        await worker.runtime.run(_copy, target.folder / "aside" / name, copy)
        await worker.exchange(worker.site.home / live, copy, name)
    target.remember("phase", "undone")
    await _look(worker)


def _copy(source: Path, copy: Path) -> None:
    remove(copy)
    copy.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, copy)
    elif source.exists():
        shutil.copy2(source, copy)


def undoable(site: DemoSite, state: Path, named: str | None, mine: str | None = None) -> Operation:
    """The operation of that name, or the newest whose evidence is still there; never `mine`."""
    for other in Operation.all(site, state):
        if other.id == mine or named not in (None, other.id):
            continue
        if other.state.get("phase") == "done" and other.state.get("swaps") and not other.state.get("forgotten"):
            return other
    text = "no restore or update of this site can be undone"
    raise ModoseruError("nothing_to_undo", text, "restore a generation instead")


async def _look(worker: Worker) -> None:
    worker.operation.remember("phase", "switched")
    await worker.step("check")
    answer = await worker.look()
    if answer is not None:
        await conclude(worker, answer)


async def conclude(worker: Worker, answer: Answer) -> None:
    """What follows the answer, in the worker that asked or in one that took its place."""
    # What an attacker left is never shown again: the closed site keeps what was restored, and the hand decides.
    stays = not answer.keep and worker.site.closed is not None and not worker.operation.cancel_asked
    if not answer.keep and worker.operation.kind == "restore" and not stays:
        cancelled = worker.operation.cancel_asked
        await worker.abandon()
        # Visitors would see the withdrawn code until opcache looked again.
        await worker.ask("reset", seconds=RESET_S)
        text = "cancelled; the site is as it was" if cancelled else _AS_IT_WAS + answer.detail
        outcome = Outcome.CANCELLED if cancelled else Outcome.ROLLED_BACK
        worker.finish(outcome, text, error=ModoseruError("check_failed", text))
        return
    worker.operation.remember("phase", "done")
    if (transfer := worker.operation.request.get("transfer")) is not None:
        for place in (worker.state / "incoming" / transfer, worker.operation.folder / "brought"):
            await worker.runtime.run(remove, place)
    await worker.runtime.run(forget_evidence, worker)
    if stays and worker.operation.kind == "restore":
        text = f"the check failed; the site stays isolated, on what was restored: {answer.detail}"
        hint = f"modoseru undo {worker.site.name} takes it back; modoseru release opens the site"
        worker.finish(Outcome.NEEDS_HAND, text, error=ModoseruError("check_failed", text, hint))
        return
    # An undo may well bring a broken state back: it says what was seen and stays.
    worker.finish(Outcome.DONE, answer.detail if answer.keep else f"taken back; the site now shows: {answer.detail}")


def forget_evidence(worker: Worker) -> None:
    """What was overwritten is kept for the two newest operations that overwrote something."""
    done = [other for other in Operation.all(worker.site, worker.state) if other.state.get("phase") == "done"]
    for other in done[EVIDENCE_KEPT:]:
        if not other.state.get("forgotten"):
            remove(other.folder / "aside")
            other.remember("forgotten", value=True)
