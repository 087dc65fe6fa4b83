"""The operations that this dashboard started or follows. They belong to the program, not to a screen (FACTS 9)."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from app.desk import Desk
from app.operations.intent import Intent
from app.operations.summary import summarise
from backends.records import AnyEvent, ModoseruError, Operation, Site
from widgets.job import Job
from widgets.language import tr

_TURN = 100
"""Events taken in one go before others get the loop: a long journal is followed in one burst."""


class Jobs:
    """Consumes each operation's events in a task of its own. `changed` is told of every event, `ended` of each end."""

    def __init__(
        self,
        desk: Desk,
        now: Callable[[], dt.datetime],
        changed: Callable[[], None],
        ended: Callable[[Job], None],
    ) -> None:
        self._desk, self._now, self._changed, self._ended = desk, now, changed, ended
        self._jobs: list[Job] = []
        self._tasks: dict[Job, asyncio.Task[None]] = {}

    @property
    def all(self) -> tuple[Job, ...]:
        """The newest last; ended ones stay until they are dismissed."""
        return tuple(self._jobs)

    @property
    def running(self) -> tuple[Job, ...]:
        return tuple(job for job in self._jobs if job.running)

    def of(self, site: str) -> Job | None:
        """The newest job of a site; one that runs comes before any that has ended."""
        found = [job for job in self._jobs if job.site == site]
        return max(found, key=lambda job: (job.running, job.began), default=None)

    def start(self, intent: Intent, *, confirmed: bool) -> Job:
        job = Job(intent.site.name, intent.kind, began=self._now())
        self._take(job, self._desk.start(intent, confirmed=confirmed))
        return job

    async def done(self, job: Job) -> bool:
        """Whether it ended well, when it has ended."""
        if (task := self._tasks.get(job)) is not None:
            await asyncio.wait([task])
        return job.well

    async def watch(self, site: Site, events: AsyncGenerator[AnyEvent]) -> Operation | ModoseruError:
        """An update's record when it has ended, or why it did not begin."""
        job = Job(site.name, "update", began=self._now())
        self._take(job, events)
        await self.done(job)
        if job.finished is not None and job.operation is not None:
            return summarise(job.operation, site.name, job.kind, job.events)
        return ModoseruError(job.code or "lost_sight", *(job.error or ("", "")))

    def follow(self, site: Site, operation: Operation) -> None:
        """Follow what the journal says is running, unless it is followed already."""
        if any(
            job.running and job.operation in {operation.operation, None} for job in self._jobs if job.site == site.name
        ):
            return
        self._jobs = [job for job in self._jobs if job.operation != operation.operation]
        self._take(Job.of(operation, self._now()), self._desk.follow(site, operation.operation))

    def notice(self, site: str, kind: str, error: ModoseruError) -> None:
        """Keep the sentence of a failure where the operator reads it."""
        job = Job(site, kind, began=self._now())
        job.fail(error.message, error.hint, self._now())
        self._jobs = [known for known in self._jobs if (known.site, known.error) != (job.site, job.error)]
        self._jobs.append(job)
        self._changed()

    def dismiss(self) -> None:
        """Forget the operations that have ended; the journal keeps them."""
        self._jobs = [job for job in self._jobs if job.running]
        self._changed()

    async def detach(self) -> None:
        """Stop looking. What runs on the servers goes on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, job: Job, events: AsyncGenerator[AnyEvent]) -> None:
        self._jobs.append(job)
        task = asyncio.create_task(self._consume(job, events), name=f"{job.kind} {job.site}")
        self._tasks[job] = task
        task.add_done_callback(lambda _: self._tasks.pop(job, None))
        self._changed()

    async def _consume(self, job: Job, events: AsyncGenerator[AnyEvent]) -> None:
        try:
            async with aclosing(events) as stream:
                taken = 0
                async for event in stream:
                    job.apply(event)
                    self._changed()
                    if not job.running:
                        break
                    taken += 1
                    if taken % _TURN == 0:
                        await asyncio.sleep(0)
            if job.running:
                job.fail(
                    tr("lost sight of it; it goes on on the server"), tr("it is followed again by itself"), self._now()
                )
        except ModoseruError as error:
            job.fail(error.message, error.hint, self._now(), error.code)
        except Exception as error:
            # One operation's defect must not take the screen from the others.
            job.fail(defect(error).message, "", self._now())
        self._ended(job)
        self._changed()


def defect(error: Exception) -> ModoseruError:
    """The sentence for what should not have happened."""
    return ModoseruError(
        "internal", tr("this is a defect of Modoseru: {error}", error=f"{type(error).__name__}: {error}")
    )
