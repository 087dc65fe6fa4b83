"""Brings wordpress.org's checksums of a site's core to its server, so that the agent can judge core by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backends.agent.client import AgentError
from backends.checksums import ChecksumsUnknown

if TYPE_CHECKING:
    from backends.agent.client import Agent
    from backends.checksums import Publisher

NO_CORE = ("no_root", "no_wordpress", "no_config")


async def judged_by(publisher: Publisher, agent: Agent) -> dict[str, Any] | None:
    """The field `core` of a request: the hash of the list that lies on the server now, or why there is none.

    None where there is no WordPress to judge. What is not known keeps nobody from a backup; raises what the connection
    raises.
    """
    try:
        here = await agent.checksums()
        if here.version is None or here.locale is None:
            raise ChecksumsUnknown("it does not say which WordPress it is")
        release = await publisher.core(here.version, here.locale)
        if here.sha256 != release.sha256:
            await agent.checksums(release.text)
    except AgentError as error:
        return None if error.code in NO_CORE else {"sha256": None, "problem": error.message}
    except ChecksumsUnknown as unknown:
        return {"sha256": None, "problem": str(unknown)}
    return {"sha256": release.sha256, "problem": None}
