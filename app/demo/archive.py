"""The generations of a demo site: a tar of its tree and a copy of its tables, each with its hashes. Blocking.

Those of the past exist by their summaries alone until one is wanted; then it is made from the same function that made
the site (`contents`), so that it holds what the site held on that day.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec import json as msgspec_json
from msgspec.structs import replace

from app.demo import contents
from app.demo.history import identity, moment, past
from app.demo.site import DemoSite, read_tables
from backends.records import GENERATION_ID, Generation, GenerationState, ModoseruError

TREE, DATABASE, SUMMARY = "site.tar", "database.json", "summary.json"
HASHES, VERIFIED = "hashes.json", "verified"
PINNED, MARK = "pinned", "mark"
LET_GO = "let-go"


class Part(Struct, frozen=True, kw_only=True):
    """A stored file. `id` is a pack's."""

    size: int
    sha256: str
    id: str | None = None


class Summary(Struct, frozen=True, kw_only=True):
    """What is known of a generation and never changes; its hash is the seal."""

    format: str = "twin-1"
    generation: Generation
    tables: dict[str, int] = {}
    index: str | None = None
    """SHA-256 of the file of hashes; None for a generation of the past, whose bytes are made when they are wanted."""
    manifest: Part | None = None
    dump: Part | None = None
    packs: tuple[Part, ...] = ()


Hashes = dict[str, str]
"""SHA-256 of each file, and of the database under its own name."""
_SUMMARY = msgspec_json.Decoder(Summary)
_MARKED = {"clean": GenerationState.COMPLETE, "suspect": GenerationState.SUSPECT}


class Archive:
    """The generations below one state folder."""

    def __init__(self, site: DemoSite, state: Path) -> None:
        self.site, self.folder = site, state / "generations"

    def listing(self) -> list[Generation]:
        """Newest first. What has no summary is rubbish of an interrupted run and is not listed."""
        return [self.record(name) for name in self._names()]

    def record(self, name: str) -> Generation:
        generation = self.summary(name).generation
        verified, pinned, mark = (self.folder / name / file for file in (VERIFIED, PINNED, MARK))
        if verified.exists():
            generation = replace(generation, verified_at=dt.datetime.fromisoformat(verified.read_text()))
        if pinned.exists():
            generation = replace(generation, pinned=True)
        if mark.exists() and generation.state is not GenerationState.DAMAGED:
            generation = replace(generation, state=_MARKED[mark.read_text()])
        return generation

    def mark(self, name: str, *, pinned: bool | None, word: str | None) -> Generation:
        """Keeps an operator's word beside the generation, not in it: the seal stays what it is."""
        self.summary(name)
        if word is not None and word not in _MARKED:
            hint = "see modoseru generations --help"
            raise ModoseruError("bad_request", "a generation is marked clean or suspect", hint)
        if pinned is not None:
            (self.folder / name / PINNED).touch() if pinned else (self.folder / name / PINNED).unlink(missing_ok=True)
        if word is not None:
            (self.folder / name / MARK).write_text(word)
        return self.record(name)

    def seals(self) -> dict[str, str]:
        """The hash of every summary."""
        return {name: hash_of((self.folder / name / SUMMARY).read_bytes()) for name in self._names()}

    def _names(self) -> list[str]:
        self._write_history()
        found = (path.name for path in self.folder.iterdir() if GENERATION_ID.match(path.name))
        return sorted((name for name in found if (self.folder / name / SUMMARY).exists()), reverse=True)

    def _write_history(self) -> None:
        """All of it at once: a reader of the same moment sees it whole or writes it itself."""
        if self.folder.is_dir():
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = Path(tempfile.mkdtemp(prefix=".history-", dir=self.folder.parent))
        for generation in past(self.site.character, self.site.birth):
            (written / generation.id).mkdir()
            self.write(written / generation.id, sealed(Summary(generation=generation), self._past(generation.created)))
        try:
            written.rename(self.folder)
        except OSError:
            shutil.rmtree(written)

    def summary(self, name: str) -> Summary:
        self._write_history()
        path = self.folder / name / SUMMARY
        if not GENERATION_ID.match(name) or not path.exists():
            hint = f"see modoseru generations {self.site.name}"
            raise ModoseruError("no_generation", f"there is no generation {name} on the server", hint)
        return _SUMMARY.decode(path.read_bytes())

    def write(self, folder: Path, summary: Summary) -> str:
        """Writes the summary of the generation in `folder`; returns its hash."""
        body = msgspec_json.encode(summary)
        part = folder / f".{SUMMARY}"
        part.write_bytes(body)
        part.replace(folder / SUMMARY)
        return hash_of(body)

    def fresh_id(self, now: dt.datetime) -> str:
        """The id of a generation made now: never one that was, never one that goes backwards."""
        newest = next(iter(self._names()), "")
        while (name := identity(now)) <= newest:
            now = moment(newest) + dt.timedelta(seconds=1)
        return name

    # ------------------------------------------------------------ making

    def present(self, name: str) -> Hashes:
        """The hashes of a generation whose bytes lie there: one of the past is made at this moment."""
        summary = self.summary(name)
        stored = self.folder / name / HASHES
        if not stored.exists():
            for part, body in self._past(summary.generation.created).items():
                new = self.folder / name / f".{part}"
                new.write_bytes(body)
                new.replace(self.folder / name / part)
        return msgspec_json.decode(stored.read_bytes(), type=Hashes)

    def _past(self, at: dt.datetime) -> dict[str, bytes]:
        """The parts of a generation of the past, the hashes last: the same bytes whenever they are made."""
        files = contents.files(self.site.character, self.site.birth, at)
        hashes, tree = {}, io.BytesIO()
        with tarfile.open(fileobj=tree, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path, body in sorted(files.items()):
                info = tarfile.TarInfo(path)
                info.size, info.mtime, info.mode = len(body), int(at.timestamp()), 0o644
                tar.addfile(info, io.BytesIO(body))
                hashes[path] = hash_of(body)
        tables = contents.database(self.site.character, self.site.birth, at, self.site.language)
        dump = json.dumps(tables, ensure_ascii=False).encode()
        hashes[DATABASE] = hash_of(dump)
        return {TREE: tree.getvalue(), DATABASE: dump, HASHES: msgspec_json.encode(hashes)}

    @staticmethod
    def write_hashes(folder: Path, hashes: Hashes) -> str:
        """Writes the file of hashes; returns its own hash."""
        body = msgspec_json.encode(hashes)
        (folder / HASHES).write_bytes(body)
        return hash_of(body)

    @staticmethod
    def pack(archive: Path, tree: Path, paths: Iterable[str]) -> Hashes:
        """Appends files below `tree` to a tar; their hashes."""
        hashes = {}
        with tarfile.open(archive, "a", format=tarfile.GNU_FORMAT) as tar:
            for path in paths:
                body = (tree / path).read_bytes()
                info = tar.gettarinfo(tree / path, arcname=path)
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
                hashes[path] = hash_of(body)
        return hashes

    def size(self, name: str, paths: Iterable[str]) -> int:
        """Bytes of these files together."""
        with tarfile.open(self.folder / name / TREE) as tar:
            sizes = {info.name: info.size for info in tar}
        return sum(sizes.get(path, 0) for path in paths)

    def unpack(self, name: str, target: Path, paths: Iterable[str]) -> int:
        """Writes files of a generation below `target`; how many bytes. The unreadable is left out: verify sees it."""
        written = 0
        with tarfile.open(self.folder / name / TREE) as tar:
            for path in paths:
                try:
                    info = tar.getmember(path)
                    source = tar.extractfile(info)
                except (KeyError, tarfile.TarError):
                    continue
                if source is not None:
                    (target / path).parent.mkdir(parents=True, exist_ok=True)
                    written += (target / path).write_bytes(source.read())
                    (target / path).chmod(info.mode & 0o755)
        return written

    def body(self, name: str, path: str) -> bytes:
        """One file of a generation; empty where there is none."""
        self.present(name)
        try:
            with tarfile.open(self.folder / name / TREE) as tar:
                source = tar.extractfile(path)
                return source.read() if source is not None else b""
        except (KeyError, tarfile.TarError):
            return b""

    def tables(self, name: str) -> dict[str, Any]:
        return read_tables(self.folder / name / DATABASE)

    # ------------------------------------------------------------ checking

    def problems(self, name: str, paths: Iterable[str]) -> list[dict[str, str]]:
        """Which of these files, as they lie in the tar, are not what their hashes say."""
        hashes, found = self.present(name), []
        try:
            with tarfile.open(self.folder / name / TREE) as tar:
                for path in paths:
                    try:
                        source = tar.extractfile(path)
                        body = source.read() if source is not None else b""
                    except (KeyError, tarfile.TarError):
                        found.append({"what": "missing", "path": path})
                        continue
                    if hash_of(body) != hashes[path]:
                        found.append({"what": "changed", "path": path})
        except (OSError, tarfile.TarError):
            return [{"what": "missing", "path": path} for path in paths]
        return found

    def let_go(self) -> list[str]:
        """Ids of what the retention removed."""
        path = self.folder.parent / LET_GO
        return path.read_text().split() if path.exists() else []

    def remove(self, name: str) -> None:
        """Lets a generation go, and says so first."""
        with (self.folder.parent / LET_GO).open("a") as listed:
            listed.write(f"{name}\n")
        shutil.rmtree(self.folder / name)

    def mark_verified(self, name: str, at: dt.datetime) -> None:
        """Notes that every byte was read back."""
        (self.folder / name / VERIFIED).write_text(at.isoformat())

    def damage(self, name: str) -> str:
        """Flips a byte of the front page inside the tar: a lever for tests and game days. Returns the path."""
        self.present(name)
        archive = self.folder / name / TREE
        with tarfile.open(archive) as tar:
            offset = tar.getmember("index.php").offset_data
        with archive.open("r+b") as handle:
            handle.seek(offset)
            byte = handle.read(1)[0]
            handle.seek(offset)
            handle.write(bytes((byte ^ 0x01,)))
        return "index.php"

    def sweep(self) -> None:
        """Removes what an interrupted run left."""
        if self.folder.is_dir():
            for path in self.folder.glob(".*"):
                shutil.rmtree(path, ignore_errors=True)


def sealed(summary: Summary, parts: dict[str, bytes]) -> Summary:
    """The summary with the size and hash of each part; the demo's generations have one pack each."""

    def part(name: str, pack: str | None = None) -> Part:
        return Part(size=len(parts[name]), sha256=hash_of(parts[name]), id=pack)

    pack = part(TREE, summary.generation.id)
    return replace(summary, manifest=part(HASHES), dump=part(DATABASE), packs=(pack,))


def walk(root: Path) -> Iterator[str]:
    """Files below `root`, sorted, as paths relative to it."""
    yield from sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def hash_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
