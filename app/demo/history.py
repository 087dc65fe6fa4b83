"""What a demo site's past was: the generations that it has when the demo opens. Pure."""

from __future__ import annotations

import datetime as dt

from app.demo import contents
from app.demo.cast import Character
from backends.records import Generation, GenerationState

_WEEK = dt.timedelta(days=7)


def identity(when: dt.datetime) -> str:
    return f"{when:%Y%m%dT%H%M%SZ}"


def moment(name: str) -> dt.datetime:
    """The time that an id says."""
    return dt.datetime.strptime(name, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)


def past(character: Character, birth: dt.datetime) -> list[Generation]:
    """The weekly history that the site has when the demo opens, newest first."""
    extent = contents.Extent(character, birth)
    found = []
    for index in range(character.generations):
        when = (birth - dt.timedelta(days=character.newest_days) - index * _WEEK).replace(microsecond=0)
        files, size, rows = extent.at(when)
        found.append(
            Generation(
                id=identity(when),
                created=when,
                bytes=size,
                files=files,
                tables=len(contents.TABLES),
                rows=rows,
                state=GenerationState.SUSPECT if character.suspect == index else GenerationState.COMPLETE,
                verified_at=when + dt.timedelta(days=1) if index else None,
                stored=size if index == character.generations - 1 else size // 24,
            )
        )
    return found
