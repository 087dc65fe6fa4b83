"""The conversations before an operation begins: which generation, which updates, and whether really."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Coroutine
from typing import TYPE_CHECKING, Any

from app.desk import Desk
from app.jobs import Jobs
from app.operations.credentials import CredentialsWanted
from app.operations.intent import Intent
from app.screens.confirm import Confirm, Prompt
from app.screens.credentials import AskCredentials
from app.screens.dialog import Dialog
from app.screens.generations import Generations
from app.screens.identity import AskIdentity
from app.screens.note import AskNote
from app.screens.posts import Posts
from app.screens.targets import Targets
from app.screens.updates import Updates
from backends.records import Credentials, ModoseruError, Site
from widgets import words
from widgets.job import Job
from widgets.language import tr, tr_n
from widgets.sentences import told

if TYPE_CHECKING:
    from app.dashboard import Dashboard
    from app.monthly import Monthly
    from app.operations.month import Plan


class Asking:
    """Each method is one conversation. What comes out of it goes to `Jobs.start`, and so through the guard."""

    def __init__(self, app: Dashboard, desk: Desk, jobs: Jobs) -> None:
        self._app, self._desk, self._jobs = app, desk, jobs

    async def backup(self, site: Site) -> None:
        """Nothing is overwritten, so nothing is asked."""
        self._jobs.start(await self._desk.plan_backup(site), confirmed=False)

    async def drill(self, site: Site) -> None:
        """Nothing live is touched, so nothing is asked."""
        self._jobs.start(await self._desk.plan_drill(site), confirmed=False)

    async def drill_off_site(self, site: Site) -> None:
        """The vault's newest, where the policy has it rehearsed; ends with the drill."""
        if (brought := await self._brought(site, None, to_drill=True)) is not None:
            intent, job = brought
            drill = await self._desk.plan_off_site_drill(site, intent.generation, job.seconds or 0.0)
            await self._jobs.done(self._jobs.start(drill, confirmed=False))

    async def verify(self, site: Site) -> None:
        """Nothing but a damaged pack is touched, so nothing is asked."""
        self._jobs.start(await self._desk.plan_verify(site), confirmed=False)

    async def restore(self, site: Site, generation: str | None = None) -> None:
        """Where no known credentials open the database, they are asked for until they do or nobody gives any."""
        given: Credentials | None = None
        while True:
            planning = self._desk.plan_restore(site, generation, given)
            try:
                await self._confirmed(tr("Restore {site}", site=site.name), tr("Restore"), planning)
                return
            except CredentialsWanted as wanted:
                given = await self._answer(AskCredentials(wanted, given))
                if given is None:
                    raise

    async def move(self, source: Site, dialog: Generations) -> None:
        """Of one site's generation to another site: first which, then where to."""
        if (generation := await self._answer(dialog)) is None:
            return
        target = await self._answer(Targets(source, self._desk.sites))
        if target is not None:
            title = tr("{site} becomes {source}", site=target.name, source=source.name)
            await self._confirmed(title, tr("Overwrite"), self._desk.plan_move(source, target, generation))

    async def undo(self, site: Site) -> None:
        await self._confirmed(tr("Undo on {site}", site=site.name), tr("Undo"), self._desk.plan_undo(site))

    async def isolate(self, site: Site, *, isolated: bool) -> None:
        if isolated:
            await self._confirmed(tr("Release {site}", site=site.name), tr("Open it"), self._desk.plan_release(site))
        else:
            await self._confirmed(tr("Isolate {site}", site=site.name), tr("Close it"), self._desk.plan_isolate(site))

    async def vault(self, site: Site) -> None:
        """Nothing of the site is changed, so nothing is asked."""
        self._jobs.start(await self._desk.plan_vault(site), confirmed=False)

    async def chosen_restore(
        self, site: Site, dialog: Generations, on_server: Collection[str], in_vault: Collection[str]
    ) -> None:
        """One that the server has not, or no longer has, becomes one of its own again first."""
        if (generation := await self._answer(dialog)) is None:
            return
        if generation in on_server:
            try:
                await self.restore(site, generation)
                return
            except ModoseruError as error:
                if error.code != "no_generation" or generation not in in_vault:
                    raise
        if await self._brought(site, generation) is not None:
            await self.restore(site, generation)

    async def _brought(
        self, site: Site, generation: str | None, *, to_drill: bool = False
    ) -> tuple[Intent, Job] | None:
        """Out of the vault, with the file that opens it; asked for until it does or nobody names one. None where it was
        not brought."""
        why, path = "", None
        while (path := await self._answer(AskIdentity(site.name, why, path))) is not None:
            try:
                intent = await self._desk.plan_bring(site, generation, path, to_drill=to_drill)
            except ModoseruError as error:
                why = told(f"{error.message} → {error.hint}" if error.hint else error.message)
                continue
            job = self._jobs.start(intent, confirmed=False)
            return (intent, job) if await self._jobs.done(job) else None
        self._app.tell(tr("Nothing was changed"), alarm=False)
        return None

    async def post(self, site: Site) -> None:
        dialog = Posts(site.name, lambda words: self._desk.find_posts(site, words))
        if (found := await self._answer(dialog)) is not None:
            planning = self._desk.plan_post(site, found)
            await self._confirmed(tr("Bring a post back to {site}", site=site.name), tr("Bring it back"), planning)

    async def chosen_update(self, site: Site, dialog: Updates) -> None:
        if (slugs := await self._answer(dialog)) is not None:
            planning = self._desk.plan_update(site, slugs)
            await self._confirmed(tr("Update {site}", site=site.name), tr("Update"), planning)

    async def note(self, title: str, where: str) -> str | None:
        """What is kept with a decision; None where nothing is decided."""
        answer: str | None = await self._answer(AskNote(title, where))
        return answer

    async def waves(self, monthly: Monthly) -> None:
        """Many sites are meant: their number is typed."""
        dialog = Confirm(tr("The month's updates"), tr("Send out"))
        answer = asyncio.ensure_future(self._answer(dialog))
        planning = asyncio.ensure_future(self._desk.plan_month())
        try:
            await asyncio.wait({answer, planning}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                plan = planning.result()
                if not plan.left:
                    dialog.dismiss(None)
                    self._app.tell(tr("Nothing that is approved is pending"))
                    return
                dialog.ask(_prompt_of(plan))
            if await answer:
                await monthly.run(planning.result())
            else:
                self._app.tell(tr("Nothing was changed"), alarm=False)
        except ModoseruError:
            if not answer.done():
                dialog.dismiss(None)
            raise
        finally:
            planning.cancel()
            answer.cancel()

    async def cancel(self, site: Site, job: Job, operation: str) -> str | None:
        """The sentence that says what came of it; None where the operator let it run."""
        question = tr("Cancel the {kind} of {site}?", kind=words.kind_word(job.kind), site=site.name)
        prompt = Prompt(question, (tr("what it has done so far"),), (tr("the site, as it was before"),))
        if not await self._answer(Confirm(tr("Cancel"), tr("Cancel it"), prompt, stay=tr("Let it run"))):
            return None
        asked = await self._desk.cancel(site, operation)
        return tr("Asked it to cancel") if asked else tr("It can no longer be cancelled")

    async def leave(self) -> bool:
        """Whether to quit while operations run."""
        running = self._jobs.running
        if not running:
            return True
        if isinstance(self._app.screen, Confirm):
            return False
        named = tuple(tr("{kind} of {site}", kind=words.kind_word(job.kind), site=job.site) for job in running)
        question = tr_n("{n} operation goes on on its server.", "{n} operations go on on their servers.", len(running))
        if self._desk.embedded:
            prompt = Prompt(tr("The demo's servers end with it."), goes=named)
        else:
            prompt = Prompt(question, goes_on=(*named, tr("opening Modoseru again shows them")))
        return bool(await self._answer(Confirm(tr("Quit?"), tr("Quit"), prompt, stay=tr("Stay"))))

    async def _confirmed(self, title: str, verb: str, planning: Coroutine[Any, Any, Intent]) -> None:
        """The prompt opens with the key; the plan fills it when it is made. Closing it ends the planning."""
        dialog = Confirm(title, verb)
        answer = asyncio.ensure_future(self._answer(dialog))
        plan = asyncio.ensure_future(planning)
        try:
            await asyncio.wait({answer, plan}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                self._app.tell(tr("Nothing was changed"), alarm=False)
                return
            try:
                intent = plan.result()
            except ModoseruError:
                dialog.dismiss(None)
                raise
            dialog.ask(Prompt.of(intent))
            if await answer:
                self._jobs.start(intent, confirmed=True)
            else:
                self._app.tell(tr("Nothing was changed"), alarm=False)
        finally:
            plan.cancel()
            answer.cancel()

    async def _answer(self, dialog: Dialog[Any]) -> Any:
        """Open a dialog and wait for its answer."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._app.push_screen(dialog, lambda given: None if answer.done() else answer.set_result(given))
        return await answer


def _prompt_of(plan: Plan) -> Prompt:
    counted = Counter((one.slug, one.to) for of in plan.updates.values() for one in of)
    goes = tuple(
        tr_n("{item} on {n} site", "{item} on {n} sites", n, item=f"{slug} → {to or '?'}")
        for (slug, to), n in counted.most_common()
    )
    left = len(plan.left)
    question = tr_n("Update {n} site?", "Update {n} sites in waves, the canaries first?", left)
    stays = (
        tr("Each site makes a generation first."),
        tr("What breaks a page is put back alone, and halted everywhere where the policy says so."),
    )
    return Prompt(question, goes, stays, str(left))
