"""Plans what concerns the vault: which generation of a site is copied into it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app import policy, vault
from app.operations import check, restore
from app.operations.intent import Intent
from app.operations.vault_bring import FromVault
from app.operations.vault_copy import Copy
from backends.records import GenerationState, ModoseruError, Site

if TYPE_CHECKING:
    from app.session import Session
    from backends.journal_catalogue import Kept
    from backends.sealing import Identity


async def copy(session: Session, site: Site, generation: str | None = None) -> Intent:
    """The newest clean generation of the server unless one is named.

    Raises NoVault, NoGeneration, and whatever the server raises.
    """
    vault.recipients(session)
    chosen = restore.choose(site, await check.generations(session, site), generation)
    return Intent(
        kind="vault",
        site=site,
        here=Copy(generation=chosen.id),
        question=f"Copy {restore.when(chosen)} of {site.name} into the vault?",
        stays=("Nothing of the site is changed.",),
        generation=chosen.id,
    )


def bring(site: Site, kept: Kept, identity: Identity) -> Intent:
    """The entry's generation becomes one of the server's own again; on another site's server it only visits.

    Nothing live is touched.
    """
    return Intent(
        kind="bring",
        site=site,
        here=FromVault(entry=kept.entry, identity=identity, visits=kept.entry.site != site.name),
        question=f"Bring {kept.entry.generation} of {kept.entry.site} back from the vault?",
        stays=("Nothing of the site is changed.",),
        generation=kept.entry.generation,
    )


async def late(session: Session, sites: Sequence[Site]) -> list[Site]:
    """Those whose newest clean generation is older than the policy promises, or that have none: one is made first.

    A site that cannot be asked is none of them: the copy itself says so.
    """

    async def is_late(site: Site) -> bool:
        try:
            known = await check.generations(session, site)
        except ModoseruError:
            return False
        clean = [one for one in known if one.state is GenerationState.COMPLETE and one.sealed is not False]
        age = dt.timedelta(seconds=policy.seconds(site.policy.server_every))
        return not clean or dt.datetime.now(dt.UTC) - max(one.created for one in clean) > age

    found = await asyncio.gather(*(is_late(site) for site in sites))
    return [site for site, old in zip(sites, found, strict=True) if old]
