"""Walks a visitor's path through a site, such as into the cart and on to the checkout, and says where it ended badly.

One journey is one browser: cookies stay for its steps and are forgotten with it. Only the site's own host is asked,
and everything is bounded: steps, bytes, cookies and time. Decides nothing about an update.
"""

from __future__ import annotations

import asyncio
import html
import itertools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from backends import page as pages
from backends.records import Journey, JourneyStep, State, visible

if TYPE_CHECKING:
    from backends.fetch import Client, Got

BODY_LIMIT = 2 * 1024 * 1024
SECONDS = 45.0
"""For all steps of one journey together."""
COOKIES = 16 * 1024
"""Bytes of cookies past which a web server would refuse the request that carries them."""
FIELDS = 100

_FORM = re.compile(r"<form\b", re.IGNORECASE)
_CLOSED = re.compile(r"</form\b", re.IGNORECASE)
_FIELD = re.compile(r"<(input|textarea|select|button)\b([^<>]{0,4000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"""(?:^|\s)(name|value|type)\s{0,5}=\s{0,5}(?:"([^"]{0,4000})"|'([^']{0,4000})'|([^\s"'>]{1,4000}))""",
    re.IGNORECASE,
)


async def travel(client: Client, below: Callable[[str], str], journey: Journey, timeout: float) -> str | None:
    """None where every step showed what it should; otherwise the step and what was seen instead, in one sentence.

    `below` makes an address of the site out of a step's path; `timeout` bounds each step. Never raises for what the
    network does.
    """
    until = asyncio.get_running_loop().time() + SECONDS
    page: pages.Page | None = None
    for number, step in enumerate(journey.step, 1):
        told = f"step {number} ({'POST' if step.post is not None else 'GET'} {visible(step.path, 100)})"
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            return f"{told}: not reached within {SECONDS:.0f} s"
        form = dict(step.form) if step.post is not None else None
        if step.hidden and form is not None:
            taken = await asyncio.to_thread(hidden_fields, page.text if page else "", step.form)
            if taken is None:
                return f"{told}: the page before has no form with {visible(', '.join(step.form), 100)}"
            form = taken | form
        got = await client.fetch(
            below(step.path), BODY_LIMIT, min(timeout, left), form=form, within=True, cookies=COOKIES
        )
        page, wrong = await asyncio.to_thread(_judged, got, step)
        if wrong is not None:
            return f"{told}: {wrong}"
    return None


def _judged(got: Got, step: JourneyStep) -> tuple[pages.Page, str | None]:
    page = pages.read(got.body, got.content_type)
    return page, _wrong(got, step, page)


def _wrong(got: Got, step: JourneyStep, page: pages.Page) -> str | None:
    if got.broken is not None:
        return got.broken
    status = got.status or 0
    if step.status is not None and status != step.status:
        return f"status {status}, not {step.status}"
    for fault in pages.faults(page, status):
        if fault.state is not State.OK and not (status == step.status and fault.problem == f"status {status}"):
            return fault.problem
    if step.expect is not None and not pages.says(pages.words(page), step.expect):
        title = pages.shown_title(page) or ""
        return f"“{visible(step.expect, 100)}” is not on the page, which is titled “{visible(title, 100)}”"
    return None


def hidden_fields(text: str, names: dict[str, str]) -> dict[str, str] | None:
    """The hidden fields of the first form that has a field named in `names`; None where there is none."""
    starts = [match.end() for match in _FORM.finditer(text)][:FIELDS]
    for at, after in itertools.pairwise([*starts, len(text)]):
        closed = _CLOSED.search(text, at, after)
        hidden, found = {}, False
        for number, match in enumerate(_FIELD.finditer(text, at, closed.start() if closed else after)):
            if number == FIELDS:
                break
            own = {one[0].lower(): html.unescape(one[1] or one[2] or one[3]) for one in _ATTRIBUTE.findall(match[2])}
            found = found or own.get("name") in names
            if match[1].lower() == "input" and own.get("type", "").lower() == "hidden" and own.get("name"):
                hidden[own["name"]] = own.get("value", "")
        if found:
            return hidden
    return None
