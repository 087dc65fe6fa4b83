"""Plans a drill: a generation restored beside the live site, started, looked at, and dropped again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.operations import check, credentials, restore
from app.operations.intent import Intent, Proof
from app.operations.vault_bring import transfer_of
from backends.records import Site

if TYPE_CHECKING:
    from app.session import Session
    from backends.vault import Entry


def standby(session: Session, site: Site) -> Site:
    """On whose server a generation out of the vault is rehearsed: the site's own where the policy names none."""
    named = site.policy.standby
    return site if named is None else session.fleet.site(named)


async def plan_brought(session: Session, site: Site, entry: Entry, brought_s: float) -> Intent:
    """Of a generation that came out of the vault to the standby of `site` in so many seconds. Raises as `plan` does."""
    generation, there = entry.generation, standby(session, site)
    proof = Proof(
        site=site.name,
        generation=generation,
        brought_s=brought_s,
        on=None if there.name == site.name else there.name,
    )
    if proof.on is None:
        return msgspec.structs.replace(await plan(session, site, generation), proof=proof)
    transfer = transfer_of(entry)
    return Intent(
        kind="drill",
        site=there,
        verb="drill",
        request={"generation": generation, "seal": entry.seal, "transfer": transfer, "url": site.url},
        question=f"Rehearse the restore of {site.name} from {generation} on {there.name}?",
        stays=(f"Nothing of {there.name} is touched, and nothing of {site.name} stays there.",),
        generation=generation,
        proof=proof,
        credentials=await credentials.of_site(there),
    )


async def plan(session: Session, site: Site, generation: str | None = None) -> Intent:
    """The newest complete generation unless one is named. Raises NoGeneration, and whatever the server raises."""
    chosen = restore.choose(site, await check.generations(session, site), generation)
    return Intent(
        kind="drill",
        site=site,
        verb="drill",
        request={"generation": chosen.id, "seal": await restore.seal_of(session, site, chosen.id)},
        question=f"Rehearse the restore of {site.name} from {restore.when(chosen)}?",
        stays=("Nothing live is touched: other files, other tables, no mail.",),
        generation=chosen.id,
    )
