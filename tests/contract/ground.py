"""Where the protocol is tried: a small site behind the PHP agent on the lab, or a demo's site behind its twin."""

from __future__ import annotations

import asyncio
import json
import shutil
import tomllib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import msgspec

from app.demo.archive import TREE
from app.demo.fleet import Demo
from app.demo.worker import Gate
from backends.agent.client import OPTIONS, Agent, Agents, agent_name
from backends.records import Credentials, Site
from backends.ssh import Servers
from tests.agent import blog
from tests.agent.small import Small


class Ground(ABC):
    """One site and the levers that a test needs on its server."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def agent(self, servers: Servers) -> Agent:
        return Agents(servers).of(self.site)

    async def raw(self, servers: Servers, verb: str, *, behind: bytes = b"", **fields: Any) -> list[dict[str, Any]]:
        """What another client might say: the answer's lines behind the marker, whatever the marker is."""
        await self.agent(servers).generations()  # the agent is installed
        marker = "0123456789abcdef"
        request = {
            "protocol": 1, "marker": marker, "site": self.site.name, "url": self.site.url, "exclude": [],
            "root": self.site.server.root, "state": self.site.server.state,
        } | fields  # fmt: skip
        words = [self.site.server.php, *OPTIONS, f"{self.site.server.state.removeprefix('~/')}/{agent_name()}", verb]
        done = await servers.run(self.site.ssh, words, json.dumps(request).encode() + b"\n" + behind, timeout=60)
        lines = done.stdout.decode(errors="replace").split("\n")
        return [json.loads(line[line.index("{") :]) for line in lines if "{" in line]

    @abstractmethod
    def spoil(self) -> None:
        """Changes what a restore brings back, in files and in the database."""

    @abstractmethod
    def plant(self, path: str) -> None:
        """Puts a PHP file below the document root."""

    @abstractmethod
    def lose_a_post(self) -> str:
        """Deletes one; its title."""

    @abstractmethod
    def break_database(self) -> None:
        """Nobody can read it from now on."""

    @abstractmethod
    def lose_generation(self, generation: str, *, pack: bool = True) -> None:
        """Somebody deletes it on the server; its own pack too, or that alone stays."""

    @abstractmethod
    def separate_database(self) -> None:
        """Its database is opened by a user whom no other site has; before anything is backed up."""

    @abstractmethod
    def change_password(self, password: str) -> Credentials:
        """The host gives the database another password, and nobody tells wp-config.php; what opens it now."""

    @property
    @abstractmethod
    def config(self) -> Path:
        """Its wp-config.php."""

    @property
    @abstractmethod
    def state(self) -> Path:
        """The agent's folder of the site."""

    @abstractmethod
    def lose_post(self) -> tuple[int, str]:
        """Deletes an article that has comments, for ever; its ID and title. On the lab the site is a `blog`."""

    @abstractmethod
    def looks(self) -> tuple[dict[Any, Any], Any]:
        """Everything of the site that an operation could change; equal when the site is the same."""

    @abstractmethod
    def litter(self) -> list[str]:
        """What operations left beside the site and its generations."""

    @abstractmethod
    def hold(self, step: str) -> None:
        """Operations wait in that step from now on, until `release`."""

    @abstractmethod
    async def held(self) -> None:
        """Waits until one does."""

    @abstractmethod
    def release(self) -> None: ...

    @abstractmethod
    async def kill(self) -> bool:
        """`kill -9` of the process that works on the site; whether there was one."""


class OnTheLab(Ground):
    def __init__(self, small: Small) -> None:
        super().__init__(small.record())
        self._small = small
        self._user = ""

    def spoil(self) -> None:
        self._small.write("index.php", b"<?php echo 'HACKED';")
        self._small.write("wp-content/evil.php", b"<?php evil();")
        self._small.sql(f"DELETE FROM `{self._small.prefix}posts`")

    def plant(self, path: str) -> None:
        self._small.write(path, b"<?php echo 1;")

    def lose_a_post(self) -> str:
        ((number, title),) = self._small.sql(f"SELECT ID, post_title FROM `{self._small.prefix}posts` LIMIT 1")
        self._small.sql(f"DELETE FROM `{self._small.prefix}posts` WHERE ID = {number}")
        return title

    def break_database(self) -> None:
        self._small.config(db_password="another")

    def lose_generation(self, generation: str, *, pack: bool = True) -> None:
        shutil.rmtree(self.state / "generations" / generation)
        if pack:
            (self.state / "packs" / f"{generation}.tar").unlink()

    def separate_database(self) -> None:
        within = self._small.within
        self._user = f"{self._small.prefix}own"
        schema = within.db_name.replace("_", "\\_")
        for host in ("localhost", "127.0.0.1"):
            user = f"'{self._user}'@'{host}'"
            root = self._small.lab.database
            root.sql(f"CREATE OR REPLACE USER {user} IDENTIFIED BY 'first'; GRANT ALL ON `{schema}`.* TO {user}")
        self._small.config(db_user=self._user, db_password="first")

    def change_password(self, password: str) -> Credentials:
        within = self._small.within
        for host in ("localhost", "127.0.0.1"):
            self._small.lab.database.sql(f"ALTER USER '{self._user}'@'{host}' IDENTIFIED BY '{password}'")
        return Credentials(name=within.db_name, user=self._user, password=password, host=within.db_host)

    @property
    def config(self) -> Path:
        return self._small.config_file

    @property
    def state(self) -> Path:
        return self._small.state

    def lose_post(self) -> tuple[int, str]:
        blog.delete(self._small, files=False)
        return blog.ARTICLE, blog.TITLE

    def looks(self) -> tuple[dict[Any, Any], Any]:
        return self._small.files(), self._small.tables()

    def litter(self) -> list[str]:
        return self._small.litter()

    def hold(self, step: str) -> None:
        self._small.hold(step)

    async def held(self) -> None:
        await asyncio.to_thread(self._small.await_held)

    def release(self) -> None:
        self._small.release()

    async def kill(self) -> bool:
        return await asyncio.to_thread(self._small.kill)


class InTheDemo(Ground):
    def __init__(self, demo: Demo, name: str) -> None:
        table = tomllib.loads((demo.config / "sites.d" / f"{name}.toml").read_text())
        super().__init__(msgspec.convert(table, Site))
        self._demo, self._twin_site = demo, demo.sites[name]
        self._gate: Gate | None = None
        self._step = ""

    def spoil(self) -> None:
        self._twin_site.make()
        self._twin_site.hack()

    def plant(self, path: str) -> None:
        self._twin_site.make()
        target = self._twin_site.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"<?php echo 1;")

    def lose_a_post(self) -> str:
        (title,) = self._twin_site.delete_posts(1)
        return title

    def break_database(self) -> None:
        self._twin_site.make()
        self._twin_site.break_database()

    def lose_generation(self, generation: str, *, pack: bool = True) -> None:
        for path in (self.state / "generations" / generation).iterdir():
            if pack or path.name != TREE:
                path.unlink()

    def separate_database(self) -> None:
        self._twin_site.make()

    def change_password(self, password: str) -> Credentials:
        self._twin_site.change_password(password)
        user = self._twin_site.character.user
        return Credentials(name=user, user=user, password=password)

    @property
    def config(self) -> Path:
        return self._twin_site.root / "wp-config.php"

    @property
    def state(self) -> Path:
        return self._twin_site.home / ".modoseru" / self.site.name

    def lose_post(self) -> tuple[int, str]:
        tables = self._twin_site.tables()
        lost = next(post for post in tables["posts"] if post["id"] == tables["comments"][0]["post"])
        kept = {
            "posts": [post for post in tables["posts"] if post["id"] != lost["id"]],
            "comments": [comment for comment in tables["comments"] if comment["post"] != lost["id"]],
        }
        self._twin_site.store({**tables, **kept})
        return lost["id"], lost["title"]

    def looks(self) -> tuple[dict[Any, Any], Any]:
        root, database = self._twin_site.root, self._twin_site.database
        files = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        return files, database.read_bytes()

    def litter(self) -> list[str]:
        return [
            str(path) for path in self._twin_site.home.rglob("*") if path.name.startswith((".modoseru-", "modoseru-"))
        ]

    def hold(self, step: str) -> None:
        self._gate, self._step = self._demo.twin.hold(self.site.name, step), step

    async def held(self) -> None:
        assert self._gate is not None
        async with asyncio.timeout(20):
            await self._gate.reached.wait()

    def release(self) -> None:
        self._demo.twin.let_go(self.site.name, self._step)

    async def kill(self) -> bool:
        return await self._demo.twin.kill(self.site.name)
