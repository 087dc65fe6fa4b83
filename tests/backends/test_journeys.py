"""A visitor's path through a site, on servers that do whatever they like: `backends.journeys`."""

from __future__ import annotations

import asyncio

import pytest

from backends import journeys
from backends.records import Journey, JourneyStep
from backends.web import travelled
from tests.backends.web_servers import Handler, Request, answer, bomb, by_path, endless, html, http, redirect, stalling

NAME = "shika.example"
URL = f"http://{NAME}/"
FORM = """<form action="/search"><input name="s"><input type="hidden" name="of" value="search"></form>
<form method="post"><input type='hidden' name='_wpnonce' value='a&amp;b'><textarea name=mail></textarea>
<input value=7 name=id type=HIDDEN></form><form><input name="mail"><input type="hidden" name="x" value="y"></form>"""


async def ends(handler: Handler, *steps: JourneyStep, timeout: float = 10.0) -> str | None:
    async with http(handler) as served:
        (end,) = await travelled(URL, [Journey(name="j", step=steps)], connect=served.connect, timeout=timeout)
    return end


async def test_cookies_and_expected_text_stay_through_a_journey() -> None:
    seen: list[Request] = []

    async def shop(request: Request, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        pages = {
            "/cart": answer("", status=302, headers={"Location": "/checkout", "Set-Cookie": "cart=12; Path=/"}),
            "/checkout": answer(html("Checkout", "<p>ご注文<b>手続き</b></p><script>kept = 'secret';</script>")),
        }
        await pages.get(request.path, answer(html()))(request, writer)

    path = [JourneyStep(get="/shop/"), JourneyStep(post="/cart", form={"add": "12"}, expect="ご注文手続き")]
    assert await ends(shop, *path) is None
    assert [one.path for one in seen] == ["/shop/", "/cart", "/checkout"]
    assert seen[1].headers["content-type"] == "application/x-www-form-urlencoded"
    assert "cookie" not in seen[1].headers
    assert seen[2].headers["cookie"] == "cart=12"
    assert "content-type" not in seen[2].headers
    told = await ends(shop, JourneyStep(get="/checkout", expect="secret"))
    assert told == "step 1 (GET /checkout): “secret” is not on the page, which is titled “Checkout”"


async def test_a_status_that_is_expected_is_no_fault_and_another_is() -> None:
    pages = by_path({"/": answer(html())})
    assert await ends(pages, JourneyStep(get="/gone", status=404)) is None
    assert await ends(pages, JourneyStep(get="/gone")) == "step 1 (GET /gone): status 404"
    assert await ends(pages, JourneyStep(get="/", status=404)) == "step 1 (GET /): status 200, not 404"


def test_hidden_fields_are_those_of_the_form_that_is_filled_in() -> None:
    assert journeys.hidden_fields(FORM, {"mail": ""}) == {"_wpnonce": "a&b", "id": "7"}
    assert journeys.hidden_fields(FORM, {"s": ""}) == {"of": "search"}
    assert journeys.hidden_fields(FORM, {"none": ""}) is None
    assert journeys.hidden_fields("<form" * 200_000 + "<input name=mail" * 100_000, {"mail": ""}) is None


async def test_a_form_that_is_gone_ends_the_journey() -> None:
    steps = JourneyStep(get="/"), JourneyStep(post="/", form={"mail": "a"}, hidden=True)
    assert await ends(answer(html()), *steps) == "step 2 (POST /): the page before has no form with mail"
    assert await ends(answer(html(body=FORM)), *steps) is None


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (by_path({"/": redirect("/a"), "/a": redirect("/")}), f"redirect loop: http://{NAME}/a"),
        (redirect("http://127.0.0.1:1/"), "redirects to another host: http://127.0.0.1:1/"),
        (redirect("//elsewhere.example/"), "redirects to another host: http://elsewhere.example/"),
        (bomb(64), "empty page"),
        (stalling(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>"), "unreachable: "),
    ],
    ids=["loop", "other host", "other host without scheme", "bomb", "stalls"],
)
async def test_whatever_a_server_does_the_journey_ends(handler: Handler, why: str) -> None:
    told = await ends(handler, JourneyStep(get="/"), JourneyStep(get="/b"), timeout=2.0)
    assert told is not None
    assert told.startswith(f"step 1 (GET /): {why}")


async def test_an_answer_without_end_is_judged_by_its_beginning() -> None:
    handler = endless(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>yes</p>", b"<p>more</p>" * 5000)
    assert await ends(handler, JourneyStep(get="/", expect="yes")) is None


async def test_cookies_without_end_are_given_up() -> None:
    async def bombs(request: Request, writer: asyncio.StreamWriter) -> None:
        await answer(html(), headers={"Set-Cookie": f"c{len(request.path)}={'x' * 4000}"})(request, writer)

    told = await ends(bombs, *(JourneyStep(get="/" + "a" * number) for number in range(12)))
    assert told is not None
    assert told.startswith("step 5 (GET /aaaa): sets 20")


async def test_no_path_leads_off_the_site() -> None:
    for path in ("//elsewhere.example/", "http://elsewhere.example/", "/../../"):
        async with http(answer(html())) as served:
            (end,) = await travelled(
                URL, [Journey(name="j", step=(JourneyStep(get=path),))], connect=served.connect, timeout=5
            )
            assert (end, len(served.requests), served.requests[0].headers["host"]) == (None, 1, NAME)
