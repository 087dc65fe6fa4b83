"""A generation of another site, restored over the fault site: `modoseru restore --to`, after the bytes have arrived."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from backends.records import Outcome
from tests.agent.small import carry_out, shell
from tests.faults.kills import Trial
from tests.faults.site import FaultSite

TRANSFER = "0123456789abcdef"
SERIALIZED = 'a:2:{i:0;s:27:"https://source.example/a/b/";s:1:"k";s:8:"工🏭x";}'
OTHER = """
INSERT INTO `{p}options` (option_name, option_value) VALUES ('home', 'https://source.example'),
    ('auth_salt', 'salt of the source'), ('widget', '{serialized}');
ALTER TABLE `{p}users` ADD user_activation_key varchar(255) NOT NULL DEFAULT 'a key';
UPDATE `{p}options` SET option_value = 'https://source.example' WHERE option_name = 'siteurl';
CREATE TABLE `{p}links` (id int PRIMARY KEY, at varchar(200));
INSERT INTO `{p}links` SELECT seq, CONCAT('<a href="https://source.example/', seq, '">') FROM seq_1_to_1200;
"""


class MoveTrial(Trial):
    """What arrived is put there before each launch: an operation that keeps it uses it up."""

    async def _get_ready(self) -> None:
        await super()._get_ready()
        source = FaultSite(self.site.lab, self.site.within, f"{self.site.base.name}src.example")
        try:
            await asyncio.to_thread(self._grow, source)
            made = await carry_out(source.agent(self._servers), "snapshot", reason="hand")
            assert made.outcome is Outcome.DONE, made.end
            await asyncio.to_thread(self._fetch, source, str(made.end.generation))
        finally:
            await asyncio.to_thread(source.remove)
        self.request |= {
            "generation": made.end.generation, "transfer": TRANSFER,
            "incoming": {"site": source.name, "url": "https://source.example"},
        }  # fmt: skip

    def _grow(self, source: FaultSite) -> None:
        source.grow()
        source.write("index.php", b"<?php echo 'the source';")
        source.write(".env", b"SECRET=of the source")
        source.sql(OTHER.format(p=source.prefix, serialized=SERIALIZED))

    @property
    def _arrived(self) -> Path:
        return self.site.within.home.parent / f"{self.site.base.name}.arrived"

    def _fetch(self, source: FaultSite, generation: str) -> None:
        shutil.rmtree(self._arrived, ignore_errors=True)
        shutil.copytree(source.state / "generations" / generation, self._arrived)
        shutil.copytree(source.state / "packs", self._arrived / "packs")
        self._arrived.chmod(0o700)

    async def _make_work(self) -> None:
        await asyncio.to_thread(self._arrives)

    def _arrives(self) -> None:
        there = self.site.state / "incoming" / TRANSFER
        shutil.rmtree(there, ignore_errors=True)
        there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(there.parent, self.site.within.uid, self.site.within.uid)
        assert shell("cp", "-a", self._arrived, there)[0] == 0
        assert shell("chown", "-R", f"{self.site.within.uid}:{self.site.within.uid}", there)[0] == 0

    async def _what_is_wrong(self, outcome: str, operation: str) -> str:
        if outcome == "done" and (self.site.state / "incoming" / TRANSFER).exists():
            return "what arrived is still there"
        return await super()._what_is_wrong(outcome, operation)
