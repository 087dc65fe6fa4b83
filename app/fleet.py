"""The configuration folder: read and checked as a whole, and one site's file written or removed.

Every problem is told at once, one line each (DESIGN 6). `fleet.toml` and `hosts.d` are never written.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
from msgspec import Struct

from app.fleet_rules import collisions, fleet_problems, site_problems, standby_problems, switch_problems
from app.fleet_validation import read_record
from app.fleet_vault import ground_problems
from backends.records import FleetFile, HostPage, ModoseruError, Policy, Site, visible

_LARGEST_FILE = 1024 * 1024


class Fleet(Struct, frozen=True, kw_only=True):
    """The whole configuration. `hosts` is by host name; `hint` says what to do where there is no site yet."""

    settings: FleetFile = FleetFile()
    sites: tuple[Site, ...] = ()
    hosts: dict[str, HostPage] = {}
    folder: Path
    hint: str = ""

    def site(self, name: str) -> Site:
        """The site `name`. Raises ModoseruError (site_unknown, exit code 2) naming the nearest one."""
        for site in self.sites:
            if site.name == name:
                return site
        raise _unknown_site(name, [site.name for site in self.sites])

    def chosen(self, names: Sequence[str]) -> list[Site]:
        """The sites of these names in their order, each once; all of them where none is named. Raises as `site`."""
        return [self.site(name) for name in dict.fromkeys(names)] if names else list(self.sites)


class BadConfig(ModoseruError):  # noqa: N818  says what it found, as callers read it
    """Everything that is wrong with the configuration: `problems`, one line each (file, key path, what, allowed).

    `sound` is the fleet of what could be read, so that one bad file need not hide the others.
    """

    exit_code = 2

    def __init__(self, problems: Sequence[str], sound: Fleet | None = None) -> None:
        hint = "correct the lines named; nothing was changed"
        super().__init__("bad_config", "; ".join(problems), hint)
        self.problems, self.sound = tuple(problems), sound


class CannotWrite(ModoseruError):  # noqa: N818
    """A site's file was not written or removed. Codes: site_exists, site_unknown, config_unwritable."""

    exit_code = 2


def default_folder() -> Path:
    """`MODOSERU_CONFIG`, or the platform's place for a user's configuration (DESIGN 6)."""
    return Path(os.environ.get("MODOSERU_CONFIG") or platformdirs.user_config_dir("modoseru"))


def load(folder: Path) -> Fleet:
    """Reads `fleet.toml`, `sites.d/*.toml` and `hosts.d/*.toml` below `folder`.

    What is absent has defaults; no folder is an empty fleet with a hint. Raises BadConfig with every problem.
    Blocks for about 0.15 s with 1,000 sites: in a running loop, call it in a thread.
    """
    problems: list[str] = []
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise BadConfig([f"{visible(str(folder))}: is not a folder"])
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BadConfig([f"{visible(str(folder))}: {_reason(error)}"]) from None
    settings = _settings(folder, problems)
    if settings is None:
        settings = FleetFile()
    else:
        problems += [f"fleet.toml: {problem}" for problem in fleet_problems(settings)]
    sites: list[tuple[str, Site]] = []
    for path, name in _files(folder / "sites.d", problems):
        site = _site(path, name, settings.policy, problems)
        if site is not None:
            sites.append((name, site))
    hosts: dict[str, HostPage] = {}
    for path, name in _files(folder / "hosts.d", problems):
        data = _table(path, name, problems)
        page = read_record(HostPage, data, name, problems) if data is not None else None
        if page is not None:
            hosts[path.stem] = page
            problems += [f"{name}: {problem}" for problem in switch_problems(page.runtime)]
    problems += [*collisions(sites), *standby_problems(settings, sites)]
    if settings.vault is not None:
        problems += [f"fleet.toml: {problem}" for problem in ground_problems(settings.vault, sites)]
    hint = "" if sites else "there is no site yet: modoseru site add"
    sound = [site for name, site in sites if not any(problem.startswith(f"{name}: ") for problem in problems)]
    fleet = Fleet(
        settings=settings,
        sites=tuple(sorted(sound, key=lambda site: site.name)),
        hosts=hosts,
        folder=folder,
        hint=hint,
    )
    if problems:
        raise BadConfig(problems, fleet)
    return fleet


def write_site(folder: Path, site: Site, *, overwrite: bool = False) -> Path:
    """Writes `sites.d/<name>.toml` (0600) in one step: whoever reads meanwhile finds the old file, or the new whole.

    Only what differs from the defaults is written; of the policy what differs from the fleet's. Raises BadConfig for
    values that would be refused on reading, CannotWrite (site_exists) unless `overwrite`, (config_unwritable).
    """
    name = f"sites.d/{site.name}.toml"
    problems: list[str] = []
    fleet = _settings(folder, problems)
    written = _differing(site)
    written.pop("policy", None)
    if fleet is not None and (own := _differing(site.policy, fleet.policy)):
        written["policy"] = own
    problems += site_problems(site, name) if read_record(Site, written, name, problems) else []
    if problems:
        raise BadConfig(problems)
    import tomli_w

    target = folder / "sites.d" / f"{site.name}.toml"
    temporary = target.with_name(f".{site.name}.{secrets.token_hex(6)}.new")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(tomli_w.dumps(written).encode())
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                temporary.replace(target)
            else:
                target.hardlink_to(temporary)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except FileExistsError:
        message = f"{name} exists already"
        raise CannotWrite("site_exists", message, "choose another name, or change that file") from None
    except OSError as error:
        raise _unwritable(name, error) from None
    return target


def remove_site(folder: Path, name: str) -> None:
    """Removes `sites.d/<name>.toml`. Raises CannotWrite: site_unknown, config_unwritable."""
    known = [path.stem for path, _ in _files(folder / "sites.d", [])]
    if name not in known:
        raise _unknown_site(name, known)
    target = folder / "sites.d" / f"{name}.toml"
    try:
        target.unlink()
        _sync_folder(target.parent)
    except OSError as error:
        raise _unwritable(f"sites.d/{name}.toml", error) from None


# ---------------------------------------------------------------- files


def _there(path: Path) -> bool:
    """Whether something has this name: a link to nowhere or a closed folder is a problem to tell, not an absence."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _files(folder: Path, problems: list[str]) -> list[tuple[Path, str]]:
    """The `*.toml` in `folder` with the names that messages give them, sorted; hidden files are editors' own."""
    if not _there(folder):
        return []
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        problems.append(f"{folder.name}: {_reason(error)}")
        return []
    return [
        (folder / name, f"{folder.name}/{visible(name, 150)}")
        for name in names
        if name.endswith(".toml") and not name.startswith(".")
    ]


def _table(path: Path, name: str, problems: list[str]) -> dict[str, Any] | None:
    """The TOML in `path`, or None and one more problem."""
    try:
        # A pipe or device in its place must not hold the program up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                problems.append(f"{name}: is not a file")
                return None
            if status.st_size > _LARGEST_FILE:
                problems.append(f"{name}: is larger than 1 MiB")
                return None
            text = file.read(_LARGEST_FILE).decode("utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        problems.append(f"{name}: {'is not a file' if error.errno == errno.EISDIR else _reason(error)}")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problems.append(f"{name}: line {line}: is not UTF-8")
    except RecursionError:
        problems.append(f"{name}: is nested too deeply")
    except ValueError as error:
        problems.append(f"{name}: {_syntax(str(error))}")
    return None


def _syntax(message: str) -> str:
    """tomllib's complaint, place first: `line 3, column 8: Invalid value`. It may quote one character, no more."""
    found = re.search(r"^(.*) \(at (line \d+, column \d+|end of document)\)$", message, re.DOTALL)
    return f"{found[2]}: {visible(found[1], 150)}" if found else visible(message, 150)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _unwritable(name: str, error: OSError) -> CannotWrite:
    hint = "check the folder's permissions and the free space"
    return CannotWrite("config_unwritable", f"{name}: {_reason(error)}", hint)


def _sync_folder(folder: Path) -> None:
    """Makes a rename last. Where a file system cannot, the file itself is safe already."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unknown_site(name: str, known: Sequence[str]) -> CannotWrite:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else "modoseru site list shows them all"
    return CannotWrite("site_unknown", f"there is no site {visible(name, 100)}", hint)


# ---------------------------------------------------------------- from a file to a record, and back


def _settings(folder: Path, problems: list[str]) -> FleetFile | None:
    """What `fleet.toml` says, the defaults where there is none, None and the problems where it is wrong."""
    data = _table(folder / "fleet.toml", "fleet.toml", problems) if _there(folder / "fleet.toml") else {}
    return read_record(FleetFile, data, "fleet.toml", problems) if data is not None else None


def _site(path: Path, name: str, fleet: Policy, problems: list[str]) -> Site | None:
    data = _table(path, name, problems)
    site = read_record(Site, data, name, problems) if data is not None else None
    if data is None or site is None:
        return None
    found = site_problems(site, name)
    if site.name != path.stem:
        found.append(f'{name}: name: "{site.name}" is not the file\'s name; the file must be {site.name}.toml')
    problems += found
    own = {key: getattr(site.policy, key) for key in data.get("policy", {})}
    return msgspec.structs.replace(site, policy=msgspec.structs.replace(fleet, **own))


def _differing(record: Struct, base: Struct | None = None) -> dict[str, Any]:
    """The keys of `record` that differ from `base` (by default its own defaults), as TOML can hold them."""
    written: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(record)):
        value = getattr(record, field.name)
        plain = getattr(base, field.name) if base is not None else _default(field)
        if value is None or value == plain:
            continue
        written[field.encode_name] = _plain(value)
    return written


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return _differing(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
