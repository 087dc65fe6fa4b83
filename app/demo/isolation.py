"""The operations `isolate` and `release` of the twin: a word beside the site that its web server obeys."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from app.demo.operation import Answer
from app.demo.rendering import Page
from app.demo.site import DemoSite
from app.demo.worker import Worker, remove
from backends.records import ModoseruError, Outcome

ACME = ".well-known/acme-challenge/"
_CLOSED = "ただいまメンテナンス中です。 Down for maintenance; please come back later."


def refuse_while_isolated(site: DemoSite) -> None:
    """Raises ModoseruError (isolated): what the site holds is evidence."""
    if (closed := site.closed) is not None:
        since = f"{site.name} is isolated since {closed['since']}"
        text = f"{since}: what it holds is evidence, and no generation is made of it"
        raise ModoseruError("isolated", text, f"modoseru release {site.name}")


def gate(site: DemoSite, target: str, headers: Mapping[str, str], address: str) -> Page | None:
    """What a visitor gets instead of the site; None where the request passes."""
    closed = site.closed
    if closed is None or (closed["pass"] and headers.get("x-modoseru-pass") == closed["pass"]):
        return None
    let_in = closed["allow"] if "x-modoseru-outside" not in headers else ()
    if any(ipaddress.ip_address(address) in ipaddress.ip_network(one, strict=False) for one in let_in):
        return None
    path = target.partition("?")[0].lstrip("/")
    if path.startswith(ACME) and "." not in path.removeprefix(ACME):
        body = site.read(path)
        return Page(HTTPStatus.NOT_FOUND, b"") if body is None else Page(HTTPStatus.OK, body, "text/plain")
    return Page(HTTPStatus.SERVICE_UNAVAILABLE, _CLOSED.encode(), more="Retry-After: 3600\r\n")


async def isolate(worker: Worker) -> None:
    """Closed, looked at from outside, and only then done."""
    site = worker.site
    await worker.step("close")
    await worker.runtime.run(site.make)
    if not site.root.is_dir():
        raise ModoseruError("no_root", f"there is no folder {site.root}", "correct [server] root")
    if site.closed is not None:
        raise ModoseruError("isolated", f"{site.name} is isolated already", f"modoseru release {site.name}")
    name = f"modoseru-{secrets.token_hex(16)}"
    probe = site.root / ACME / name
    worker.operation.remember("probe", str(probe.relative_to(site.home)))
    await worker.runtime.run(_write, probe, name)
    now = worker.runtime.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    site.close({"since": now, "allow": list(worker.operation.request.get("allow") or ()), "pass": None})
    worker.operation.remember("phase", "closed")
    await worker.step("look")
    wait = worker.operation.request.get("wait_s")
    answer = await worker.ask("closed", f"wp-content/uploads/{name}", seconds=900.0 if wait is None else float(wait))
    await conclude_isolation(worker, answer)


async def conclude_isolation(worker: Worker, answer: Answer | None) -> None:
    await take_probe(worker)
    if answer is not None and not answer.keep and worker.operation.cancel_asked:
        worker.site.open()
        worker.finish(Outcome.CANCELLED, "cancelled; the site is open")
    elif answer is not None and answer.keep:
        worker.finish(Outcome.DONE, answer.detail)
    else:
        why = "nobody looked from outside" if answer is None else answer.detail
        hint = "ask the host to close the site, or close it in its panel"
        worker.finish(Outcome.NEEDS_HAND, f"the gate stands, but {why}", error=ModoseruError("not_closed", why, hint))


async def release(worker: Worker) -> None:
    site = worker.site
    await worker.step("open")
    if site.closed is None:
        raise ModoseruError("not_isolated", f"{site.name} is not isolated", f"modoseru check {site.name}")
    site.open()
    worker.operation.remember("phase", "opened")
    await worker.step("check")
    conclude_release(worker, await worker.look())


def conclude_release(worker: Worker, answer: Answer | None) -> None:
    if answer is not None and answer.keep:
        worker.finish(Outcome.DONE, f"open again; the site now shows: {answer.detail}")
        return
    shown = f"the site now shows: {answer.detail}" if answer else "nobody looked from outside"
    hint = f"modoseru check {worker.site.name} looks again; a restore brings a generation back"
    worker.finish(
        Outcome.NEEDS_HAND, f"the gate is away, but {shown}", error=ModoseruError("check_failed", shown, hint)
    )


async def take_probe(worker: Worker) -> None:
    if probe := worker.operation.state.get("probe"):
        path = worker.site.home / probe
        await worker.runtime.run(remove, path)
        for folder in (path.parent, path.parent.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
