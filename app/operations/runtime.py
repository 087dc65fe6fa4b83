"""Plans a trial of a site under another PHP and its switch; what is known about a server's PHPs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from msgspec import Struct

from app.lifecycle import SNAPSHOT, Lifecycle
from app.operations import check, look, restore, runtime_switch
from app.operations.intent import Intent
from app.operations.runtime_switch import Baseline, Switch, minor
from backends.records import ModoseruError, Site, TriedPhp
from backends.runtimes import Binary, Trial

if TYPE_CHECKING:
    from app.operations.look import Judgement
    from app.session import Session


class Known(Struct, frozen=True, kw_only=True):
    """A server's PHP binaries, and the version that answers visitors; None where it was not seen."""

    binaries: tuple[Binary, ...]
    web: str | None = None
    lifecycle: Lifecycle = SNAPSHOT

    @property
    def cli(self) -> Binary | None:
        return next((one for one in self.binaries if one.cli), None)


async def known(session: Session, site: Site) -> Known:
    """Asks the server. Read-only, no one-time page is left for the web. Raises whatever the server raises."""
    binaries = await session.agent(site).runtimes()
    silent = session.read_only or site.read_only
    web = None if silent else await look.web_version(session, site)
    return Known(binaries=binaries, web=web, lifecycle=await session.lifecycle())


async def plan(session: Session, site: Site, php: str) -> Intent:
    """A trial under `php`, on the newest good generation. Raises NoGeneration, and whatever the server raises."""
    try:
        chosen = restore.choose(site, await check.generations(session, site), None)
    except restore.NoGeneration as error:
        hint = f"make one first: modoseru backup {site.name}"
        raise restore.NoGeneration(error.code, f"{site.name} has no good generation to try", hint) from None
    seal = await restore.seal_of(session, site, chosen.id)
    return Intent(
        kind="runtime",
        site=site,
        verb="runtime",
        request={"php": php, "generation": chosen.id, "seal": seal, "pages": list(site.web.pages)},
        question=f"Try {site.name} under {php}?",
        stays=("Nothing live is touched: pages are rendered on a staged copy.",),
        generation=chosen.id,
    )


async def tried(session: Session, site: Site, operation: str) -> Trial:
    """What the trial found; kept for the site's page."""
    found = await session.agent(site).found(operation)
    now = dt.datetime.now(dt.UTC)
    kept = TriedPhp(to=found.to, verdict=found.verdict, at=now)
    await session.journal.remember(site.name, "tried", kept, now)
    return found


def wanted(site: Site, trial: Trial, known: Known) -> Switch:
    """The switch that a trial was for. Raises ModoseruError: impossible, nothing_to_switch.

    What runs the web now is what `back` leads to, where the server has a binary of it.
    """
    if trial.verdict == "impossible":
        first = next((one for one in trial.reasons if one.severity == "error"), None)
        why = f": {first.slug}: {first.message}" if first else ""
        hint = f"see modoseru runtime {site.name} --php {trial.path}"
        raise ModoseruError("impossible", f"{site.name} does not run under PHP {trial.to}{why}", hint)
    version = known.web
    if version is None:
        hint = "let /modoseru-….php in its document root answer visitors"
        raise ModoseruError("php_unseen", f"which PHP answers visitors of {site.name} was not seen", hint)
    same = [one for one in known.binaries if one.version and minor(one.version) == minor(version)]
    now = next((one.path for one in same if one.path == trial.now), same[0].path if same else trial.now)
    if now == trial.path:
        raise ModoseruError("nothing_to_switch", f"{site.name} runs under PHP {version} already")
    return Switch(now=now, from_=version, to=trial.to, path=trial.path)


def planned(site: Site, trial: Trial, switch: Switch) -> Intent:
    """A risky one wants the site's name typed. Pure."""
    risks = tuple(f"{one.slug}: {one.message}" for one in trial.reasons[:10])
    return Intent(
        kind="switch",
        site=site,
        here=switch,
        question=f"Switch {site.name} from PHP {switch.from_} to {switch.to}?",
        goes=risks,
        stays=("Its pages are compared before and after; where one differs it is switched back by itself.",),
        danger=True,
        typed=site.name if trial.verdict == "risky" else None,
    )


async def by_hand(session: Session, site: Site, switch: Switch) -> tuple[str, ...]:
    """Keeps how the pages are now, and returns the steps for the operator."""
    expected = await runtime_switch.baseline(session, site)
    kept = Baseline(switch=switch, expected=expected)
    await session.journal.remember(site.name, runtime_switch.BASELINE, kept, dt.datetime.now(dt.UTC))
    host = session.fleet.hosts.get(site.ssh.host)
    panel = f"Open the panel of {site.ssh.host}: {host.panel}" if host and host.panel else None
    return (
        panel or f"Open the panel of {site.ssh.host} (hosts.d/{site.ssh.host}.toml names none).",
        f"Choose PHP {minor(switch.to)} for {site.url} (it is {minor(switch.from_)} now).",
        f"Then look: modoseru runtime {site.name} --check",
        f"Where that fails, choose PHP {minor(switch.from_)} again.",
    )


async def checked(session: Session, site: Site) -> tuple[Switch, Judgement]:
    """The look after a switch by hand. Raises ModoseruError (no_baseline)."""
    kept = await session.journal.recall(site.name, runtime_switch.BASELINE, Baseline)
    if kept is None:
        hint = f"modoseru runtime {site.name} --php PHP --switch begins one"
        raise ModoseruError("no_baseline", f"no switch of {site.name} was begun on this machine", hint)
    begun = kept[0]
    return begun.switch, await runtime_switch.judged(session, site, begun.expected, begun.switch.to)
