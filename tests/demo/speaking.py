"""A raw client of the protocol, and of the demo's pages: what any client could do, without Modoseru's own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import ssl
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncssh

from app.demo.fleet import Demo

AGENT = b"<?php // an agent's bytes\n"
NAME = f"agent-{hashlib.sha256(AGENT).hexdigest()[:16]}.php"
OPTIONS = "-d disable_functions= -d open_basedir= -d memory_limit=256M -d display_errors=stderr"


class RefusedError(Exception):
    """The answer was an error; its code is `code`."""

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code, self.hint = error["code"], error["hint"]


class Done(NamedTuple):
    exit_status: int | None
    stdout: bytes
    stderr: bytes


class Speaker:
    """Speaks about one site over one SSH connection."""

    def __init__(self, demo: Demo, site: str, connection: asyncssh.SSHClientConnection) -> None:
        self.site, self.connection = site, connection
        self.settings = tomllib.loads((demo.config / "sites.d" / f"{site}.toml").read_text())
        self.php = f"{self.settings['server']['php']} {OPTIONS}"

    async def run(self, command: str, stdin: bytes = b"") -> Done:
        done = await self.connection.run(command, input=stdin, encoding=None)
        assert isinstance(done.stdout, bytes)
        assert isinstance(done.stderr, bytes)
        return Done(done.exit_status, done.stdout, done.stderr)

    async def load(self, *, body: bool) -> bool:
        """What the loader does; whether the agent is installed now."""
        marker = secrets.token_hex(8)
        request = {
            "marker": marker,
            "state": "~/.modoseru",
            "name": NAME,
            "sha256": hashlib.sha256(AGENT).hexdigest(),
        }
        if body:
            request["body"] = base64.b64encode(AGENT).decode()
        script = f"<?php\n$request = '{base64.b64encode(json.dumps(request).encode()).decode()}';\n"
        done = await self.run(self.php, script.encode())
        (line,) = _lines(marker, done.stdout)
        return bool(line["reply"]["installed"])

    def request(self, **fields: Any) -> dict[str, Any]:
        return {
            "protocol": 1,
            "marker": secrets.token_hex(8),
            "site": self.site,
            "url": self.settings["url"],
            "root": self.settings["server"]["root"],
            "state": "~/.modoseru",
            "exclude": [],
            **fields,
        }

    async def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """The verb's last line; events go unseen."""
        request = self.request(**fields)
        done = await self.run(f"{self.php} .modoseru/{NAME} {verb}", json.dumps(request).encode())
        lines = _lines(request["marker"], done.stdout)
        assert lines, done.stderr
        if "error" in lines[-1]:
            raise RefusedError(lines[-1]["error"])
        reply: dict[str, Any] = lines[-1]["reply"]
        return reply

    @asynccontextmanager
    async def talk(self, verb: str, **fields: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The verb's lines as they come; leaving closes the channel."""
        request = self.request(**fields)
        command = f"{self.php} .modoseru/{NAME} {verb}"
        async with self.connection.create_process(command, encoding=None) as process:
            process.stdin.write(json.dumps(request).encode())
            process.stdin.write_eof()

            async def lines() -> AsyncIterator[dict[str, Any]]:
                async for text in process.stdout:
                    for line in _lines(request["marker"], text):
                        if "error" in line:
                            raise RefusedError(line["error"])
                        yield line

            yield lines()
            process.close()

    async def carry_out(self, verb: str, *, kept: dict[str | None, bool] | None = None, **fields: Any) -> Story:
        """Launches and follows to the end, answering every question; `kept` says what is right, by item."""
        story = Story()
        async with self.talk(verb, **fields) as lines:
            async for line in lines:
                if "event" in line:
                    story.events.append(line["event"])
                    if line["event"]["type"] == "asked":
                        right = (kept or {}).get(line["event"]["item"], True)
                        number = line["event"]["number"]
                        detail = "" if right else "status 500"
                        await self.ask("answer", operation=story.operation, number=number, keep=right, detail=detail)
                elif "operation" in line["reply"]:
                    story.operation = line["reply"]["operation"]
                else:
                    story.state = line["reply"]["state"]
        return story


class Story:
    """What an operation told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.operation, self.state = "", ""

    @property
    def steps(self) -> list[str]:
        return [event["name"] for event in self.events if event["type"] == "step"]

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]

    def notes(self, code: str) -> list[str]:
        return [event["item"] for event in self.events if event["type"] == "note" and event["code"] == code]


def _lines(marker: str, output: bytes) -> list[dict[str, Any]]:
    start = marker.encode() + b" "
    return [json.loads(line[len(start) :]) for line in output.split(b"\n") if line.startswith(start)]


@asynccontextmanager
async def speaking(demo: Demo, site: str = "kogyo.example", *, installed: bool = True) -> AsyncIterator[Speaker]:
    """A connection of its own to the site's account, host key checked, the agent installed."""
    settings = tomllib.loads((demo.config / "sites.d" / f"{site}.toml").read_text())["ssh"]
    known = asyncssh.import_known_hosts(f"[127.0.0.1]:{settings['port']} {settings['host_key']}\n")
    async with asyncssh.connect(
        settings["host"],
        settings["port"],
        username=settings["user"],
        client_keys=[settings["key"]],
        known_hosts=known,
        config=[],
        agent_path=None,
    ) as connection:
        speaker = Speaker(demo, site, connection)
        if installed:
            assert await speaker.load(body=True)
        yield speaker


async def fetch(demo: Demo, site: str = "kogyo.example", path: str = "/") -> tuple[int, str]:
    """Status and body of a page, over verified TLS."""
    settings = tomllib.loads((demo.config / "sites.d" / f"{site}.toml").read_text())
    host, port = settings["web"]["connect"].split(":")
    name = settings["url"].split("/")[2]
    context = ssl.create_default_context(cafile=settings["web"]["ca_file"])
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body.decode()


def left(folder: Path) -> list[str]:
    """What lies in a folder."""
    return [path.name for path in folder.iterdir()]
