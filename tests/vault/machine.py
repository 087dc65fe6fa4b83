"""A program with a vault and its key, and the hands of somebody who gets at the store."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from tests.operations.program import Program
from tests.store.grounds import Ground, InFolder


class Machine:
    """`program` with `[vault]` in its fleet.toml; `identity` is the file of the key that opens it."""

    def __init__(self, program: Program, place: Ground, folder: Path) -> None:
        self.program, self.place, self.folder = program, place, folder
        self.identity = folder / "identity.txt"
        made = program("key", "new", str(self.identity), "--json").json
        self.recipient: str = made["recipient"]
        self.write()

    def write(self, **changes: Any) -> None:
        table = tomllib.loads((self.program.config / "fleet.toml").read_text())
        settings = {
            key: value for key, value in msgspec.to_builtins(self.place.settings()).items() if value is not None
        }
        table["vault"] = settings | {"recipients": [self.recipient], "lock_days": 30} | changes
        self.program.write_fleet(table)

    def copied(self, name: str) -> str:
        """A generation of a site in both tiers; its id."""
        made = self.program("backup", name, "--tier", "both", "--json").json["operations"]
        assert [(one["kind"], one["outcome"]) for one in made] == [("backup", "done"), ("vault", "done")]
        generation: str = made[1]["generation"]
        return generation

    def in_vault(self, name: str) -> list[dict[str, Any]]:
        found = self.program("generations", name, "--json").json["generations"]
        return [one for one in found if one["tier"] == "vault"]

    def objects(self, kind: str = "") -> list[Path]:
        """The files of a vault that is a folder."""
        assert isinstance(self.place, InFolder)
        return sorted(path for path in (self.place.folder / kind).rglob("*") if path.is_file())
