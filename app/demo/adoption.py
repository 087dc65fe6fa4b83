"""The twin's `lacking` and `adopt`: a generation that was brought becomes one of the server's own again. Blocking."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from app.demo.archive import PINNED, SUMMARY, Archive, Part, Summary, hash_of
from app.demo.operation import Request
from app.demo.transfer import part_file, transfer_folder
from backends.records import GENERATION_ID, Generation, ModoseruError


class Adoption:
    """What was brought of a generation, beside what the server has of it.

    Raises ModoseruError: bad_request, damaged where the summary is not the sealed one.
    """

    def __init__(self, archive: Archive, state: Path, request: Request) -> None:
        self.incoming = transfer_folder(state, request)
        self.text, self.seal = request.text("summary").encode(), request.text("seal")
        self._archive, self._replaced = archive, state / "replaced"
        self.name, self.parts = self._read()
        self.folder = archive.folder / self.name
        if archive.seals().get(self.name) == self.seal:
            archive.present(self.name)

    def _read(self) -> tuple[str, dict[str, Part]]:
        try:
            summary = msgspec.json.decode(self.text, type=Summary)
        except msgspec.MsgspecError:
            summary = None
        if hash_of(self.text) != self.seal or summary is None or not GENERATION_ID.match(summary.generation.id):
            hint = "take another generation"
            raise ModoseruError("damaged", "the summary is not the one that was sealed", hint)
        packs = {pack.id or "": pack for pack in summary.packs}
        parts = {"manifest": summary.manifest, "dump": summary.dump, **packs}
        return summary.generation.id, {what: part for what, part in parts.items() if part is not None}

    @property
    def bytes(self) -> int:
        return sum(part.size for part in self.parts.values())

    def lacking(self) -> list[dict[str, str | int]]:
        """What has to be brought, and how much of it was; what was brought in vain is removed."""
        found: list[dict[str, str | int]] = []
        for what, part in self.parts.items():
            have = None if _is_right(self._place(what), part) else self._brought(what, part)
            if have is not None:
                found.append({"what": what, "have": have})
        return found

    def adopt(self) -> Generation:
        """Raises ModoseruError (damaged) where a part is nowhere as it was sealed."""
        taken: dict[str, bytes] = {}
        for what, part in self.parts.items():
            brought = self._brought(what, part) is None
            path = self._path(what) if brought else self._place(what)
            if not brought and not _is_right(path, part):
                text = f"the part {what} of {self.name} is not here as it was sealed"
                raise ModoseruError("damaged", text, "bring it again")
            taken[what] = path.read_bytes()
        there = self.folder / SUMMARY
        if self.folder.exists() and (not there.exists() or hash_of(there.read_bytes()) != self.seal):
            self._put_aside()
        self.folder.mkdir(parents=True, exist_ok=True)
        for what, content in taken.items():
            self._place(what).write_bytes(content)
        (self.folder / PINNED).touch()
        there.write_bytes(self.text)
        shutil.rmtree(self.incoming, ignore_errors=True)
        return self._archive.record(self.name)

    def _put_aside(self) -> None:
        summary = self.folder / SUMMARY
        seal = hash_of(summary.read_bytes() if summary.exists() else b"")
        self._replaced.mkdir(exist_ok=True)
        same = len(list(self._replaced.glob(f"{self.name}-{seal[:8]}*")))
        self.folder.rename(self._replaced / f"{self.name}-{seal[:8]}{f'-{same + 1}' if same else ''}")

    def _brought(self, what: str, part: Part) -> int | None:
        """How many bytes; None where it is whole."""
        path = self._path(what)
        size = path.stat().st_size if path.exists() else 0
        if size < part.size:
            return size
        if _is_right(path, part):
            return None
        path.unlink()
        return 0

    def _path(self, what: str) -> Path:
        return part_file(self.incoming, what, what)

    def _place(self, what: str) -> Path:
        return part_file(self.folder, what, what)


def _is_right(path: Path, part: Part) -> bool:
    return path.exists() and hash_of(path.read_bytes()) == part.sha256
