"""The twin's drill: a generation laid out beside the live site, its pages rendered, all of it dropped again."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from app.demo import archive, moved
from app.demo.rendering import Page, render
from app.demo.restore import unlike
from app.demo.site import DemoSite, write_tables
from app.demo.worker import Worker, remove
from backends.records import ModoseruError, Outcome

_LOOK = "see modoseru diff"


async def drill(worker: Worker) -> None:
    """Touches nothing live: the staged copy lies in the operation's own folder and is never exchanged."""
    run = worker.runtime.run
    await worker.step("preflight")
    request = worker.operation.request
    name, visits = request["generation"], "transfer" in request
    stage = worker.operation.folder / "stage"
    places = [stage, worker.state / "incoming" / request["transfer"]] if visits else [stage]
    worker.operation.remember("staging", [str(place.relative_to(worker.site.home)) for place in places])
    source = worker.archive
    if visits and not request.get("credentials"):
        text = "a rehearsal of another site needs an empty database of its own"
        raise ModoseruError("no_database", text, "name one in [server.database]")
    if visits:
        source = await run(moved.taken, worker.site, moved.incoming(worker.state, request), stage / "brought", name)
    else:
        worker.operation.remember("generation", name)
    hashes = await run(source.present, name)
    paths = [path for path in hashes if path != archive.DATABASE]
    await worker.runtime.pause(0.4)

    await worker.step("stage")
    tree, tables = stage / "tree", stage / archive.DATABASE
    await run(tree.mkdir, parents=True)

    def unpack(portion: Sequence[str]) -> int:
        return source.unpack(name, tree, portion)

    total = await run(source.size, name, paths)
    await worker.paced(paths, unpack, total=total, unit="bytes", seconds=1.8)
    await run(lambda: write_tables(tables, source.tables(name)))

    await worker.step("verify")
    bad = await run(unlike, tree, tables, paths, hashes)
    await worker.runtime.pause(0.5)
    if bad:
        raise ModoseruError("damaged", f"what was staged does not read back: {bad[0]}", "take another generation")

    await worker.step("boot")
    found = await run(_rehearse, worker.site.copy_at(tree, tables), "on a standby" if visits else "beside the site")
    await worker.runtime.pause(0.9)

    await worker.step("drop")
    for place in places:
        await run(remove, place)
    await worker.runtime.pause(0.2)
    worker.finish(Outcome.DONE, found, generation=None if visits else name)


def _rehearse(copy: DemoSite, where: str) -> str:
    """Looks for what the generation holds; a sentence, or `drill_failed`."""
    _whole(render(copy, "/"), "the front page")
    tables = copy.tables()
    title = tables["options"]["blogname"]
    if not tables["posts"]:
        return f"restored {where}; “{title}” starts"
    newest = max(tables["posts"], key=lambda post: str(post["date"]))
    if newest["title"] not in _whole(render(copy, f"/?p={newest['id']}"), "the newest post"):
        text = "the newest post of the generation is not on its page in the restored copy"
        raise ModoseruError("drill_failed", text, _LOOK)
    return f"restored {where}; “{title}” starts and shows “{newest['title']}”"


def _whole(page: Page, what: str) -> str:
    body = page.body.decode()
    if page.status is not HTTPStatus.OK:
        text = f"{what} of the restored copy answers {int(page.status)}"
        raise ModoseruError("drill_failed", text, _LOOK)
    if "<title" not in body or "</html>" not in body:
        text = f"{what} of the restored copy {'is not whole' if body.strip() else 'is empty'}"
        raise ModoseruError("drill_failed", text, _LOOK)
    return body
