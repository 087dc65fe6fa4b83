"""The configuration folder: read and checked as a whole, and one site's file written or removed.

Every problem is told at once, one line each (DESIGN 6). `fleet.toml` and `hosts.d` are never written.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime as dt
import difflib
import errno
import os
import re
import secrets
import stat
import tomllib
import zoneinfo
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import platformdirs
from msgspec import Struct, inspect

from backends.records import (
    Duration,
    FleetFile,
    Host,
    HostPage,
    HttpUrl,
    ModoseruError,
    Policy,
    RemotePath,
    RemoteWord,
    ServerSettings,
    Site,
    SiteName,
    SshSettings,
    VaultSettings,
    WebSettings,
    visible,
)

_LARGEST_FILE = 1024 * 1024
_SECRETIVE = re.compile(r"urls|password|secret|token|passphrase", re.IGNORECASE)
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-")
_WINDOW = re.compile(
    r"(?P<days>(?:mon|tue|wed|thu|fri|sat|sun)(?:[-,](?:mon|tue|wed|thu|fri|sat|sun))*) "
    r"(?P<from>(?:[01]\d|2[0-3]):[0-5]\d)-(?P<to>(?:[01]\d|2[0-3]):[0-5]\d|24:00)",
    re.IGNORECASE,
)
_FREEZE = re.compile(r"(\d{4}-\d\d-\d\d)(?:/(\d{4}-\d\d-\d\d))?")
Record = TypeVar("Record", bound=Struct)


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
    settings = FleetFile()
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise BadConfig([f"{visible(str(folder))}: is not a folder"])
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BadConfig([f"{visible(str(folder))}: {_reason(error)}"]) from None
    data = _table(folder / "fleet.toml", "fleet.toml", problems) if _there(folder / "fleet.toml") else {}
    if data is not None:
        read = _record(FleetFile, data, "fleet.toml", problems)
        if read is not None:
            settings = read
            problems += [f"fleet.toml: {problem}" for problem in _fleet_problems(read)]
    sites: list[tuple[str, Site]] = []
    for path, name in _files(folder / "sites.d", problems):
        site = _site(path, name, settings.policy, problems)
        if site is not None:
            sites.append((name, site))
    hosts: dict[str, HostPage] = {}
    for path, name in _files(folder / "hosts.d", problems):
        data = _table(path, name, problems)
        page = _record(HostPage, data, name, problems) if data is not None else None
        if page is not None:
            hosts[path.stem] = page
    problems += _collisions(sites)
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
    data = _table(folder / "fleet.toml", "fleet.toml", problems) if _there(folder / "fleet.toml") else {}
    fleet = _record(FleetFile, data or {}, "fleet.toml", problems)
    written = _differing(site)
    written.pop("policy", None)
    if fleet is not None and (own := _differing(site.policy, fleet.policy)):
        written["policy"] = own
    problems += _site_problems(site, name) if _record(Site, written, name, problems) else []
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


# ---------------------------------------------------------------- from a table to a record


def _record(kind: type[Record], data: dict[str, Any], name: str, problems: list[str]) -> Record | None:
    """`data` as a `kind`; otherwise None and every problem in it. The walk costs time only where there is one."""
    try:
        return msgspec.convert(data, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        found = [f"{name}: {line}" for line in _walk(_info(kind), data, "")]
        problems += found or [f"{name}: {visible(str(error), 200)}"]
        return None


def _site(path: Path, name: str, fleet: Policy, problems: list[str]) -> Site | None:
    data = _table(path, name, problems)
    site = _record(Site, data, name, problems) if data is not None else None
    if data is None or site is None:
        return None
    found = _site_problems(site, name)
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


# ---------------------------------------------------------------- what is wrong with a table, leaf by leaf


@cache
def _info(kind: type[Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _walk(info: inspect.Type, value: Any, path: str) -> Iterator[str]:
    """Every problem of `value` against what `records` declares: one line each, without the file."""
    if isinstance(info, inspect.UnionType):
        info = next(option for option in info.types if not isinstance(option, inspect.NoneType))
    wanted = _CONTAINERS.get(type(info))
    if wanted is None:
        wrong = _leaf(info, value, path)
        if wrong:
            yield f"{path}: {wrong}"
    elif not isinstance(value, wanted[0]):
        yield f"{path}: is {_kind(value)}; {wanted[1]} is expected"
    elif isinstance(info, inspect.StructType):
        yield from _walk_table(info, value, path)
    elif isinstance(info, inspect.DictType):
        for key, item in value.items():
            yield from _walk(info.value_type, item, _below(path, key))
    elif isinstance(info, inspect.VarTupleType):
        for number, item in enumerate(value, 1):
            yield from _walk(info.item_type, item, f"{path}[{number}]")


_CONTAINERS: dict[type[inspect.Type], tuple[type[Any], str]] = {
    inspect.StructType: (dict, "a table"),
    inspect.DictType: (dict, "a table"),
    inspect.VarTupleType: (list, "a list"),
}


def _walk_table(info: inspect.StructType, value: dict[str, Any], path: str) -> Iterator[str]:
    fields = {field.encode_name: field for field in info.fields}
    for key in value:
        if key not in fields:
            yield f"{_below(path, key)}: unknown key; {_nearest(info, key)}"
    for name, field in fields.items():
        if name in value:
            yield from _walk(field.type, value[name], _below(path, name))
        elif field.required:
            yield f"{_below(path, name)}: is missing"


def _below(path: str, key: str) -> str:
    return f"{path}.{visible(key, 80)}" if path else visible(key, 80)


def _nearest(info: inspect.StructType, key: str) -> str:
    """What was meant: a key of a similar name, the table where this key belongs, or the list of what is allowed."""
    names = [field.encode_name for field in info.fields]
    near = difflib.get_close_matches(key, names, 1, 0.7)
    if near:
        return f"did you mean {near[0]}?"
    for field in info.fields:
        below = field.type
        if isinstance(below, inspect.StructType) and key in {inner.encode_name for inner in below.fields}:
            return f"it belongs in [{field.encode_name}]"
    return f"allowed: {', '.join(names)}"


def _leaf(info: inspect.Type, value: Any, path: str) -> str | None:
    """What is wrong with one value, or None."""
    check, expected = _LEAVES.get(type(info), (_any, "another value"))
    if not check(value):
        return f"is {_kind(value)}; {expected} is expected"
    if isinstance(info, inspect.IntType | inspect.FloatType):
        return _outside(info, value)
    if isinstance(info, inspect.StrType):
        if info.max_length is not None and len(value) > info.max_length:
            return f"has {len(value)} characters; at most {info.max_length} are allowed"
        if info.pattern is not None and not re.search(info.pattern, value):
            return f"{_shown(value, path)} is not allowed; {meaning(info.pattern)} is expected"
    return None


def _outside(info: inspect.IntType | inspect.FloatType, value: float) -> str | None:
    shown = visible(str(value), 40)
    if info.ge is not None and not value >= info.ge:
        return f"{shown} is below {info.ge:g}"
    if info.le is not None and not value <= info.le:
        return f"{shown} is above {info.le:g}"
    if info.gt is not None and not value > info.gt:
        return f"{shown} is not above {info.gt:g}"
    if info.lt is not None and not value < info.lt:
        return f"{shown} is not below {info.lt:g}"
    return None


def _is_date(value: Any) -> bool:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value) and dt.date.fromisoformat(value))
    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)


def _any(_value: Any) -> bool:
    return True


_LEAVES: dict[type[inspect.Type], tuple[Callable[[Any], bool], str]] = {
    inspect.StrType: (lambda value: isinstance(value, str), "text in quotes"),
    inspect.IntType: (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    inspect.FloatType: (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"),
    inspect.BoolType: (lambda value: isinstance(value, bool), "true or false"),
    inspect.DateType: (_is_date, "a date such as 2027-03-31"),
}
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "a table"),
    (dt.datetime, "a date with a time"),
    (dt.date, "a date"),
    (dt.time, "a time"),
)


def _kind(value: Any) -> str:
    return next((word for kind, word in _KINDS if isinstance(value, kind)), "something else")


def _shown(value: str, path: str) -> str:
    """`value` in quotes, unless a secret may be in it: those never stand in a message."""
    if _SECRETIVE.search(path) or "@" in value or len(value) > 60:
        return "the text"
    return f'"{visible(value, 80)}"'


def _pattern(source: Any, name: str = "") -> str:
    """The pattern of an annotated type of `records`, or of the field `name` of one of its tables."""
    info = inspect.type_info(source)
    if isinstance(info, inspect.StructType):
        info = next(field.type for field in info.fields if field.name == name)
    if isinstance(info, inspect.UnionType):
        info = next(option for option in info.types if not isinstance(option, inspect.NoneType))
    assert isinstance(info, inspect.StrType)
    assert info.pattern is not None
    return info.pattern


@cache
def _meanings() -> dict[str, str]:
    return {
        _pattern(SiteName): "a name of letters, digits, . _ - (at most 100, a letter or digit first)",
        _pattern(Duration): "a duration such as 12h, 7d, 1w or 1mo",
        _pattern(RemoteWord): "a path of letters, digits and . _ / = - without blanks",
        _pattern(RemotePath): "a path of at most 1000 characters without control characters",
        _pattern(Host): "a host name or address",
        _pattern(HttpUrl): "an address such as https://www.kogyo.example/ without user or password",
        _pattern(SshSettings, "user"): "a user name of at most 64 characters without blank, @ or :",
        _pattern(SshSettings, "jump"): "[user@]host[:port]",
        _pattern(ServerSettings, "state"): "a path of letters, digits and . _ / -, which may begin with ~/",
        _pattern(WebSettings, "connect"): "host:port",
        _pattern(VaultSettings, "url"): "s3://bucket/prefix or file:///folder",
    }


def meaning(pattern: str) -> str:
    """What a pattern of `records` allows, in the operator's words."""
    choice = re.fullmatch(r"\^\(([a-z_|]+)\)\$", pattern)
    return f"one of {choice[1].replace('|', ', ')}" if choice else _meanings().get(pattern, "another form")


# ---------------------------------------------------------------- values that fit alone and make no sense


def _fleet_problems(settings: FleetFile) -> Iterator[str]:
    zone = settings.fleet.timezone
    if zone != "UTC":
        try:
            zoneinfo.ZoneInfo(zone)
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            yield f'fleet.timezone: "{visible(zone, 60)}" is not a time zone; a name such as Asia/Tokyo is expected'
    yield from _policy_problems(settings.policy)
    for number, recipient in enumerate(settings.vault.recipients if settings.vault else (), 1):
        if not re.match(r"age1[0-9a-z]{20,}$", recipient) and _public_key_problem(recipient):
            yield f"vault.recipients[{number}]: is neither an age1… nor an ssh-ed25519 public key"


def _policy_problems(policy: Policy) -> Iterator[str]:
    window = _WINDOW.fullmatch(policy.update_window)
    if not window or window["from"] == window["to"]:
        shown = visible(policy.update_window, 60)
        yield f'policy.update_window: "{shown}" is not a window; one such as "Mon-Thu 10:00-16:00" is expected'
    for number, freeze in enumerate(policy.freeze, 1):
        at, shown = f"policy.freeze[{number}]", visible(freeze, 60)
        days = _period(freeze)
        if days is None:
            yield f'{at}: "{shown}" is not a period; one such as "2026-12-28/2027-01-05" is expected'
        elif days[0] > days[1]:
            yield f'{at}: "{shown}" ends before it begins'


def _period(text: str) -> tuple[dt.date, dt.date] | None:
    found = _FREEZE.fullmatch(text)
    try:
        return (dt.date.fromisoformat(found[1]), dt.date.fromisoformat(found[2] or found[1])) if found else None
    except ValueError:
        return None


def _site_problems(site: Site, name: str) -> list[str]:
    return [f"{name}: {problem}" for problem in (*_ssh_problems(site.ssh), *_server_problems(site))]


def _ssh_problems(ssh: SshSettings) -> Iterator[str]:
    for at, key in (("ssh.host_key", ssh.host_key), ("ssh.jump_host_key", ssh.jump_host_key)):
        if key is not None and _public_key_problem(key):
            yield f"{at}: is not a public key; one such as ssh-ed25519 AAAA… is expected"
    if ssh.key is not None and ("PRIVATE KEY" in ssh.key or "\n" in ssh.key):
        yield "ssh.key: holds a key; the name of a key file is expected"
    if ssh.jump and not ssh.jump_host_key:
        yield "ssh.jump_host_key: is missing; a jump host needs its pinned public key"
    if ssh.jump_host_key and not ssh.jump:
        yield "ssh.jump: is missing; jump_host_key is of no use without it"
    port = ssh.jump.rpartition(":")[2] if ssh.jump and ":" in ssh.jump else "22"
    if not 1 <= int(port) <= 65535:
        yield f"ssh.jump: the port {port} is not between 1 and 65535"


def _server_problems(site: Site) -> Iterator[str]:
    root = site.server.root
    if not root.startswith(("/", "~/")) or not root.strip("/~"):
        yield f'server.root: "{visible(root, 80)}" is not a document root; /path or ~/path is expected'
    if ".." in root.split("/"):
        yield "server.root: must not contain .."
    if ".." in site.server.state.split("/") or not site.server.state.strip("/~."):
        yield "server.state: must name a folder without .."
    if site.web.connect and not 1 <= int(site.web.connect.rpartition(":")[2]) <= 65535:
        yield f"web.connect: the port {site.web.connect.rpartition(':')[2]} is not between 1 and 65535"
    yield from _policy_problems(site.policy)


def _public_key_problem(text: str) -> bool:
    kind, _, rest = text.strip().partition(" ")
    try:
        blob = base64.b64decode(rest.split()[0], validate=True) if rest.strip() else b""
    except (binascii.Error, ValueError):
        return True
    return not kind.startswith(_KEY_TYPES) or kind.encode() not in blob[:64]


def _collisions(sites: Sequence[tuple[str, Site]]) -> Iterator[str]:
    """Sites that would stand in each other's way: one name, or one document root of one account, used twice."""
    names: dict[str, str] = {}
    roots: dict[tuple[tuple[str, int, str], str], str] = {}
    for name, site in sites:
        first = names.setdefault(site.name.casefold(), name)
        if first != name:
            yield f'{name}: name: "{site.name}" is also the name in {first}'
        root = re.sub(r"/+", "/", site.server.root).rstrip("/")
        first = roots.setdefault((site.account, root), name)
        if first != name:
            yield f'{name}: server.root: "{visible(root, 80)}" of this account is also the root in {first}'
