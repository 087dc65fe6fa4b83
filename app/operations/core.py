"""Brings wordpress.org's checksums of a site's core and plugins to its server, so that the agent can judge by them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from backends.agent.client import AgentError
from backends.checksums import ChecksumsUnknown

if TYPE_CHECKING:
    from backends.agent.client import Agent, CoreHere
    from backends.checksums import Publisher
    from backends.records import IgnoredFiles

NO_CORE = ("no_root", "no_wordpress", "no_config")
PATIENCE_S = 30.0
"""What a backup may wait for answers about plugins; of the others it takes what is known already."""
LISTS_AT_MOST = 16_000_000
"""Bytes of the plugins' lists of a site."""


async def judged_by(publisher: Publisher, agent: Agent, ignored: Sequence[IgnoredFiles] = ()) -> dict[str, Any]:
    """The fields `core` and `plugins` of a request: which lists lie on the server now, or why there are none.

    Null where there is no WordPress to judge. What is not known keeps nobody from a backup; raises what the connection
    raises.
    """
    try:
        here = await agent.checksums()
    except AgentError as error:
        unknown = None if error.code in NO_CORE else {"sha256": None, "problem": error.message}
        return {"core": unknown, "plugins": unknown}
    rules = [msgspec.to_builtins(one) for one in reversed(ignored)]
    return {
        "core": await _core(publisher, agent, here),
        "plugins": {**await _plugins(publisher, agent, here), "ignore": rules},
    }


async def _core(publisher: Publisher, agent: Agent, here: CoreHere) -> dict[str, Any]:
    try:
        if here.version is None or here.locale is None:
            raise ChecksumsUnknown("it does not say which WordPress it is")
        release = await publisher.core(here.version, here.locale)
        if here.sha256 != release.sha256:
            await agent.checksums(release.text)
    except AgentError as error:
        return {"sha256": None, "problem": error.message}
    except ChecksumsUnknown as unknown:
        return {"sha256": None, "problem": str(unknown)}
    return {"sha256": release.sha256, "problem": None}


async def _plugins(publisher: Publisher, agent: Agent, here: CoreHere) -> dict[str, Any]:
    lists, unknown = [], {}
    begun, left = time.monotonic(), LISTS_AT_MOST
    for slug, version in sorted(here.plugins.items()):
        try:
            may_ask = time.monotonic() - begun < PATIENCE_S
            text = await publisher.plugin(slug, version, may_ask=may_ask)
            if len(text) > left:
                raise ChecksumsUnknown("the site's plugins have more files than can be compared")
        except ChecksumsUnknown as problem:
            unknown[slug] = str(problem)
            continue
        left -= len(text)
        lists.append(text)
    text = b"".join(lists)
    sha256 = hashlib.sha256(text).hexdigest()
    if here.plugins_sha256 != sha256:
        try:
            await agent.checksums(text, of="plugins")
        except AgentError as error:
            return {"sha256": None, "problem": error.message, "unknown": unknown}
    return {"sha256": sha256, "problem": None, "unknown": unknown}
