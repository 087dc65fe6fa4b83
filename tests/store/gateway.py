"""A reverse proxy before a real S3 server that does to single requests what networks, stores and owners do."""

from __future__ import annotations

import asyncio
import io
import ssl
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from msgspec import Struct

from tests.lab.authority import Certified

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-encoding", "expect"}


class Trick(Struct, frozen=True, kw_only=True):
    """What is done to the next request of the API call `on`; `times` of them.

    `code` with `status`: refused so, without asking the server. `lost`: the server does it, the reply never comes.
    `cut`: the reply breaks off after so many bytes. `hang`: no reply. `drop`: these headers are taken from the reply;
    `deaf`: these from the request. `page`: the reply is this HTML.
    """

    on: str
    times: int = 1
    status: int = 0
    code: str = ""
    message: str = "made by a test"
    lost: bool = False
    cut: int | None = None
    hang: bool = False
    drop: tuple[str, ...] = ()
    deaf: tuple[str, ...] = ()
    page: str = ""


class Gateway:
    """`async with Gateway(endpoint) as gateway`: its `endpoint`, and the calls that it saw."""

    def __init__(self, upstream: str, certified: Certified | None = None) -> None:
        self._upstream, self._certified = upstream, certified
        self.calls: list[str] = []
        self.headers: list[dict[str, str]] = []
        self._tricks: list[list[object]] = []
        self.endpoint = ""

    def play(self, *tricks: Trick) -> None:
        self._tricks += [[trick, trick.times] for trick in tricks]

    def forget(self) -> None:
        """What was to be played is not."""
        self._tricks.clear()

    async def __aenter__(self) -> Self:
        # The Host header is signed: the server must see the one that the client sent.
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=512 * 1024 * 1024)
        app.router.add_route("*", "/{rest:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        context = None
        if self._certified is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self._certified.chain, self._certified.key)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        port = self._runner.addresses[0][1]
        self.endpoint = f"https://localhost:{port}" if context else f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        call = _call(request)
        self.calls.append(call)
        self.headers.append({key.lower(): value for key, value in request.headers.items()})
        trick = self._next(call)
        if trick.hang:
            await asyncio.Event().wait()
        if trick.page:
            return web.Response(text=trick.page, content_type="text/html")
        if trick.code:
            return _refusal(trick, request)
        headers = [(key, value) for key, value in request.headers.items() if key.lower() not in {*_HOP, *trick.deaf}]
        sent = io.BytesIO(await request.read())
        async with self._session.request(
            request.method, f"{self._upstream}{request.raw_path}", headers=headers, data=sent,
            allow_redirects=False,
        ) as reply:  # fmt: skip
            body = await reply.read()
            if trick.lost:
                _sever(request)
            dropped = {*_HOP, *trick.drop}
            kept = [(key, value) for key, value in reply.headers.items() if key.lower() not in dropped]
            answer = web.StreamResponse(status=reply.status, headers=kept)
            answer.content_length = int(reply.headers.get("Content-Length", len(body)))
            await answer.prepare(request)
            await answer.write(body if trick.cut is None else body[: trick.cut])
            if trick.cut is not None:
                _sever(request)
            await answer.write_eof()
            return answer

    def _next(self, call: str) -> Trick:
        for entry in self._tricks:
            trick, left = entry
            assert isinstance(trick, Trick)
            assert isinstance(left, int)
            if trick.on == call and left:
                entry[1] = left - 1
                return trick
        return Trick(on=call)


def _sever(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()
    raise asyncio.CancelledError


def _refusal(trick: Trick, request: web.Request) -> web.Response:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{trick.code}</Code><Message>{trick.message}</Message>'
        "<RequestId>1</RequestId></Error>"
    )
    # HTTP gives no body to HEAD.
    return web.Response(
        status=trick.status, text="" if request.method == "HEAD" else body, content_type="application/xml"
    )


def _call(request: web.Request) -> str:
    """The name of the S3 call that a request makes."""
    query, method = request.query, request.method
    for word, name in (
        ("retention", "ObjectRetention"), ("lifecycle", "BucketLifecycleConfiguration"),
        ("object-lock", "ObjectLockConfiguration"),
    ):  # fmt: skip
        if word in query:
            return f"{method.capitalize()}{name}"
    if "versions" in query:
        return "ListObjectVersions"
    if "x-amz-copy-source" in request.headers:
        return "CopyObject"
    return f"{method.capitalize()}Object"
