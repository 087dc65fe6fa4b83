"""The twin's update: one item at a time, looked at from outside after each, put back alone when it spoils the page."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from app.demo import contents
from app.demo.backup import make_generation
from app.demo.cast import NEWEST_WORDPRESS, PluginPart
from app.demo.operation import Answer
from app.demo.restore import RESET_S, forget_evidence
from app.demo.site import DemoSite
from app.demo.worker import Worker
from backends.records import ModoseruError, Outcome, Update

_VERSION = re.compile(r"^Version: (\S+)", re.MULTILINE)
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_CORE = re.compile(r"wp_version = '([0-9.]+)'")


def installed(site: DemoSite, part: PluginPart) -> str | None:
    """The version that lies on the disk."""
    found = _VERSION.search((site.read(contents.slug_file(part)) or b"").decode())
    return found.group(1) if found else None


def wordpress(site: DemoSite) -> str | None:
    found = _CORE.search((site.read("wp-includes/version.php") or b"").decode())
    return found.group(1) if found else None


def pending(site: DemoSite) -> list[Update]:
    """What waits on the site as it is now."""
    found = []
    core = wordpress(site)
    if core is not None and core != NEWEST_WORDPRESS:
        found.append(Update(kind="core", slug="wordpress", from_=core, to=NEWEST_WORDPRESS, name="WordPress"))
    for part in site.character.plugins:
        version = installed(site, part)
        if part.to is not None and version is not None and version != part.to:
            found.append(Update(kind="plugin", slug=part.slug, from_=version, to=part.to, name=part.name))
    return found


async def update(worker: Worker) -> None:
    """A generation first; kept items stay, the others are put back; with none kept the site is as before."""
    wanted = _wanted(worker.operation.request)
    made = await make_generation(worker, "update")
    worker.note("generation", f"generation {made.id} was made first: {made.detail}", item=made.id)
    await worker.step("update")
    kept, back = [], []
    for number, (kind, slug) in enumerate(wanted):
        worker.checkpoint()
        why = await _one(worker, kind, slug, f"{number}-{slug}")
        if why is None:
            kept.append(f"{kind} {slug}")
        else:
            back.append(f"{kind} {slug} ({why})")
        if worker.operation.cancel_asked:
            break
    told = (f"updated: {', '.join(kept)}" if kept else "", f"put back: {', '.join(back)}" if back else "")
    detail = "; ".join(text for text in told if text)
    if not kept:
        error = ModoseruError("put_back", detail)
        worker.finish(Outcome.ROLLED_BACK, detail, error=error, generation=made.id, summary=made.seal)
        return
    worker.operation.remember("phase", "done")
    await worker.runtime.run(forget_evidence, worker)
    worker.finish(Outcome.DONE, detail, generation=made.id, summary=made.seal)


def _wanted(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Kind and slug of each item that the request names."""
    items = request.get("items")
    if not isinstance(items, list) or not items:
        raise ModoseruError("bad_request", "nothing to update was named", "see modoseru updates")
    found = []
    for item in items:
        kind, slug = (item.get("kind"), item.get("slug")) if isinstance(item, dict) else (None, None)
        if (
            kind not in ("core", "plugin", "theme", "translation")
            or not isinstance(slug, str)
            or not _SLUG.fullmatch(slug)
        ):
            text = "an item to update is not named by kind and slug"
            raise ModoseruError("bad_request", text, "see modoseru updates")
        found.append((str(kind), slug))
    return found


async def _one(worker: Worker, kind: str, slug: str, name: str) -> str | None:
    """Updates one item and has it looked at. None where it stays, or why it was put back."""
    called = f"{kind} {slug}"
    worker.note("updating", f"updating {called}", item=slug)
    offered = next((one for one in pending(worker.site) if (one.kind, one.slug) == (kind, slug)), None)
    if offered is None:
        why = "no update is offered for it now"
        worker.note("not_updated", f"{called} was not updated: {why}", "warning", slug)
        return why
    await worker.runtime.pause(1.2)
    staged = worker.site.root.with_name(f".modoseru-{secrets.token_hex(4)}")
    staging = [*worker.operation.state.get("staging", []), str(staged.relative_to(worker.site.home))]
    worker.operation.remember("staging", staging)
    live = worker.site.root / ("wp-includes" if kind == "core" else f"wp-content/plugins/{slug}")
    await worker.runtime.run(_fetch, worker.site, offered, live, staged)
    await worker.exchange(live, staged, name)
    answer = await worker.look(slug) or Answer(False, "nobody looked at the site")
    if answer.keep:
        worker.note("updated", f"{called} is now {offered.to}", item=slug)
        return None
    await worker.put_back([name])
    worker.note("put_back", f"{called} was put back: {answer.detail}", "warning", slug)
    await worker.ask("reset", slug, seconds=RESET_S)
    return answer.detail


def _fetch(site: DemoSite, offered: Update, live: Path, staged: Path) -> None:
    """The new version, beside the old one."""
    shutil.copytree(live, staged)
    if offered.kind == "core":
        (staged / "version.php").write_bytes(contents.version_source(NEWEST_WORDPRESS))
        return
    part = next(part for part in site.character.plugins if part.slug == offered.slug)
    (staged / f"{part.slug}.php").write_bytes(contents.plugin_source(part, part.to or part.version, part.fault))
