"""One bounded answer of a public service: no redirect, no compression, a limit of time and bytes, over HTTPS.

Imports aiohttp where something is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from backends.endpoint import endpoint, refusal, trust


class Unanswered(Exception):  # noqa: N818 - says what happened
    """There is no answer to use: the text is a sentence without a full stop. `status` is what came instead of 200."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


async def get(url: str, *, most: int, timeout: float, ca_file: str | None = None, also: Collection[int] = ()) -> bytes:
    """The body of an answer with status 200, or one of `also`, of at most `most` bytes, within `timeout` seconds.
    Raises Unanswered.

    A redirect is followed nowhere: it may lead away from HTTPS.
    """
    import aiohttp

    where = endpoint(url).where
    try:
        context = await trust(ca_file)
        headers = {"User-Agent": "Modoseru", "Accept": "application/json", "Accept-Encoding": "identity"}
        async with (
            asyncio.timeout(timeout),
            aiohttp.ClientSession(auto_decompress=False, trust_env=False, headers=headers) as session,
            session.get(url, ssl=context, allow_redirects=False) as response,
        ):
            if response.status != 200 and response.status not in also:
                raise Unanswered(f"{where} answers status {response.status}", response.status)
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > most:
                    raise Unanswered(f"{where} answers with more than {most // 1024} KiB")
            return bytes(body)
    except aiohttp.ClientConnectorError as error:
        raise Unanswered(refusal(error.os_error, where, timeout)) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unanswered(refusal(error, where, timeout)) from None
