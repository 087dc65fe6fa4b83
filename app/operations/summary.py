"""What an operation came to, read off its events. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from backends.records import AnyEvent, Finished, Operation, Started, Step, StepTime


def summarise(operation: str, site: str, kind: str, events: Sequence[AnyEvent]) -> Operation:
    """The record that `--json` prints (DESIGN 7), from the operation's events."""
    started = next((event.at for event in events if isinstance(event, Started)), None)
    finished = next((event for event in events if isinstance(event, Finished)), None)
    ends = [event for event in events if isinstance(event, (Step, Finished))]
    steps = tuple(
        StepTime(name=step.name, seconds=round((after.at - step.at).total_seconds(), 3))
        for step, after in itertools.pairwise(ends)
        if isinstance(step, Step)
    )
    return Operation(
        operation=operation,
        site=site,
        kind=kind,
        outcome=finished.outcome if finished else None,
        generation=finished.generation if finished else None,
        seconds=round((finished.at - started).total_seconds(), 3) if finished and started else None,
        steps=steps,
        detail=finished.detail if finished else "",
        started=started,
    )
