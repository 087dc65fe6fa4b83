"""What every command has in common: its options, and how a failure becomes one line and an exit code."""

from __future__ import annotations

import asyncio
import functools
import io
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Options:
    """What every command takes."""

    def __init__(
        self, *, as_json: bool, config: str | None, read_only: bool, progress: str, begins: bool = False
    ) -> None:
        self.as_json, self.read_only, self.progress = as_json, read_only, progress
        self._config, self._begins = config, begins

    @property
    def config(self) -> Path:
        """The folder. Raises ModoseruError where one was named and is not there, but for what begins a fleet."""
        from app.fleet import default_folder
        from backends.records import ModoseruError

        folder = Path(self._config).expanduser() if self._config else default_folder()
        if not self._begins and (self._config or os.environ.get("MODOSERU_CONFIG")) and not folder.exists():
            error = ModoseruError(
                "no_config_folder",
                f"there is no folder {folder}",
                "correct --config or MODOSERU_CONFIG, or begin the fleet with modoseru site add",
            )
            error.exit_code = 2
            raise error
        return folder


def command(group: click.Group, name: str | None = None, *, begins: bool = False) -> Callable[[F], F]:
    """A command with the common options; its coroutine is handed an `Options` first. `begins`: it may be the first one
    of a fleet, whose folder it makes."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def called(as_json: bool, config: str | None, read_only: bool, progress: str, **more: Any) -> None:
            # Before the command's name they mean the same: a fleet or a lock that is overlooked is worse than an error.
            before = click.get_current_context().find_root().params
            options = Options(
                as_json=as_json,
                config=config or before.get("config"),
                read_only=read_only or bool(before.get("read_only")),
                progress=progress,
                begins=begins,
            )
            run(options, lambda: function(options, **more))

        wrapped = called
        for option in (
            click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
            click.option("--config", metavar="DIR", help="The configuration's folder (or MODOSERU_CONFIG)."),
            click.option("--read-only", is_flag=True, help="Refuse everything that changes a site."),
            click.option(
                "--progress", type=click.Choice(["text", "json", "none"]), default="text", help="Progress on stderr."
            ),
        ):
            wrapped = option(wrapped)
        group.command(name or function.__name__.strip("_").replace("_", "-"))(wrapped)
        return function

    return decorate


def run(options: Options, work: Callable[[], Awaitable[int]]) -> None:
    """Runs the command; every failure becomes one line, or one JSON object, and an exit code.

    A defect has exit code 3: what it left behind is not known.
    """
    from app import printing
    from backends.records import ModoseruError, visible

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no ✖ must not stop a restore

    try:
        code = asyncio.run(_coroutine(work))
    except ModoseruError as error:
        printing.error(error, as_json=options.as_json)
        code = error.exit_code
    except KeyboardInterrupt:
        printing.error(ModoseruError("interrupted", "interrupted; nothing was begun"), as_json=options.as_json)
        code = 130
    except click.Abort:
        printing.error(ModoseruError("interrupted", "interrupted; nothing was begun"), as_json=options.as_json)
        code = 130
    except Exception as defect:
        if os.environ.get("MODOSERU_DEBUG"):
            raise
        what = visible(f"{type(defect).__name__}: {defect}")
        found = ModoseruError("internal", f"this is a defect of Modoseru: {what}", "MODOSERU_DEBUG=1 shows where")
        printing.error(found, as_json=options.as_json)
        code = 3
    sys.exit(code)


async def _coroutine(work: Callable[[], Awaitable[int]]) -> int:
    return await work()
