"""Turns a table of TOML into a record of `backends.records`, or tells everything that is wrong with it, leaf by leaf.

Whatever the record declares is checked, in the operator's words; what it cannot declare is in fleet_rules. No I/O.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, inspect

from backends.records import (
    CredentialLine,
    DomainsSettings,
    Duration,
    Host,
    HttpUrl,
    IgnoredFiles,
    Pause,
    RemotePath,
    RemoteWord,
    Renewal,
    ServerSettings,
    SiteName,
    SshSettings,
    VaultSettings,
    WebSettings,
    visible,
)

_SECRETIVE = re.compile(r"urls|password|secret|token|passphrase", re.IGNORECASE)
Record = TypeVar("Record", bound=Struct)


def read_record(kind: type[Record], data: dict[str, Any], name: str, problems: list[str]) -> Record | None:
    """`data` as a `kind`; otherwise None and every problem in it. The walk costs time only where there is one."""
    try:
        return msgspec.convert(data, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        found = [f"{name}: {line}" for line in _walk(_info(kind), data, "")]
        problems += found or [f"{name}: {visible(str(error), 200)}"]
        return None


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
        if info.min_length is not None and len(value) < info.min_length:
            yield f"{path}: has {len(value)} entries; at least {info.min_length} is expected"
        if info.max_length is not None and len(value) > info.max_length:
            yield f"{path}: has {len(value)} entries; at most {info.max_length} are allowed"
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
        _pattern(Pause): "a pause such as 0, 15m, 2h or 1d",
        _pattern(RemoteWord): "a path of letters, digits and . _ / = - without blanks",
        _pattern(RemotePath): "a path of at most 1000 characters without control characters",
        _pattern(CredentialLine): "a line of at most 500 characters",
        _pattern(Renewal, "what"): "a line of at most 100 characters",
        _pattern(Host): "a host name or address",
        _pattern(HttpUrl): "an address such as https://www.kogyo.example/ without user or password",
        _pattern(SshSettings, "user"): "a user name of at most 64 characters without blank, @ or :",
        _pattern(SshSettings, "jump"): "[user@]host[:port]",
        _pattern(ServerSettings, "state"): "a path of letters, digits and . _ / -, which may begin with ~/",
        _pattern(WebSettings, "connect"): "host:port",
        _pattern(IgnoredFiles, "path"): "a path below the plugins' folder such as akismet or akismet/class.akismet.php",
        _pattern(DomainsSettings, "resolver"): "an address and a port such as 127.0.0.1:5353",
        _pattern(VaultSettings, "url"): "s3://bucket/prefix or file:///folder",
    }


def meaning(pattern: str) -> str:
    """What a pattern of `records` allows, in the operator's words."""
    choice = re.fullmatch(r"\^\(([a-z_|]+)\)\\Z", pattern)
    return f"one of {choice[1].replace('|', ', ')}" if choice else _meanings().get(pattern, "another form")
