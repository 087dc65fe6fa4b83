"""How the commands print: lines, columns, JSON, and what a person reads beside the answer. Knows no record."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.cells import cell_len, set_cell_size

from backends.records import ModoseruError, encode


def put(text: str = "") -> None:
    """A line of the answer."""
    _out(text)


def put_json(value: Any) -> None:
    """The answer as one object."""
    _out(encode(value))  # bytes: JSON is UTF-8 whatever the terminal speaks


def put_columns(rows: Sequence[Sequence[str]]) -> None:
    """Lines whose fields stand below each other, as wide as their cells."""
    widths = [max(cell_len(text) for text in column) for column in zip(*rows, strict=True)]
    for row in rows:
        put("  ".join(set_cell_size(text, width) for text, width in zip(row, widths, strict=True)).rstrip())


def aside(text: str, *, end: str = "\n") -> None:
    """A line for a person on stderr, beside the answer."""
    _out(text + end, err=True, nl=False)


def fields_of(record: Any, fields: Sequence[str]) -> dict[str, Any]:
    """These fields of a record, by the names that JSON has for them."""
    return {name.rstrip("_"): getattr(record, name) for name in fields}


def error_object(problem: ModoseruError) -> dict[str, str]:
    return {"code": problem.code, "message": problem.message, "hint": problem.hint}


def error(problem: ModoseruError, *, as_json: bool, site: str = "modoseru") -> None:
    """One line on stderr and what to do about it, or the error object on stdout; several problems, one line each."""
    if as_json:
        put_json({"error": error_object(problem)})
        return
    for one in getattr(problem, "problems", None) or (problem.message,):
        aside(f"{site}: {one}")
    if problem.hint:
        aside(f"  → {problem.hint}")


def _out(text: str | bytes, *, err: bool = False, nl: bool = True) -> None:
    """Prints; a reader that has gone away (`| head`) ends the printing, not the work."""
    try:
        click.echo(text, err=err, nl=nl)
    except BrokenPipeError:
        stream = sys.stderr if err else sys.stdout
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
