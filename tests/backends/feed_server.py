"""A server of the feed of known holes on loopback, in a thread of its own: real HTTP, and the faults asked for."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATH = "/api/intelligence/v3/vulnerabilities/production"


class FeedServer:
    """`body`, `status` and `headers` are what it answers; `fault`: `cut` (the body stops in the middle), `endless` (it
    comes again and again behind a brace), `hang` (nothing comes after the head)."""

    def __init__(self) -> None:
        self.body, self.status, self.headers, self.fault, self.packed = b"{}", 200, {}, "", False  # type: ignore[var-annotated]
        self.asked: list[dict[str, str]] = []
        self.done = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def says(
        self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None, *, fault: str = ""
    ) -> None:
        self.body, self.status, self.headers, self.fault = body, status, dict(headers or {}), fault

    @contextlib.contextmanager
    def running(self) -> Iterator[FeedServer]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.done.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _handler(server: FeedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(dict(self.headers.items()))
            tag = server.headers.get("ETag")
            if tag and self.headers.get("If-None-Match") == tag:
                self.send_response(304)
                self.end_headers()
                return
            body = gzip.compress(server.body, 1) if server.packed else server.body
            self.send_response(server.status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            if server.packed:
                self.send_header("Content-Encoding", "gzip")
            if server.fault != "endless":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self._send(body)

        def _send(self, body: bytes) -> None:
            if server.fault == "cut":
                self.wfile.write(body[: len(body) // 2])
            elif server.fault == "hang":
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                server.done.wait()
            elif server.fault == "endless":
                self.wfile.write(b"{")
                while not server.done.is_set():
                    self.wfile.write(body)
            else:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
