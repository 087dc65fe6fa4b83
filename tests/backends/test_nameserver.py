"""What DNS says, asked of a real resolver's socket on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from backends import nameserver
from tests.backends.dns_server import Zone, served

ZONE: Zone = {
    "kogyo.example.": ["300 A 203.0.113.5"],
    "www.kogyo.example.": ["60 CNAME kogyo.example."],
    "both.example.": ["120 A 203.0.113.6", "120 A 203.0.113.7", "30 AAAA 2001:db8::6"],
    "loop.example.": ["60 CNAME loop.example."],
    "odd.example.": ["60 CNAME a\\027\\010b.elsewhere.example."],
    "a\\027\\010b.elsewhere.example.": ["60 A 203.0.113.9"],
    "many.example.": [f"60 A 203.0.113.{n}" for n in range(1, 30)],
}


@contextlib.asynccontextmanager
async def asked(spoil: Callable[[bytes], bytes] = bytes) -> AsyncIterator[str]:
    async with served(ZONE, spoil) as resolver:
        yield resolver


async def test_addresses_owner_and_ttl_are_those_of_the_answer() -> None:
    async with asked() as resolver:
        told = await nameserver.lookup("kogyo.example", resolver)
        assert (told.addresses, told.ttl_s, told.alias) == ((("A", "203.0.113.5"),), 300, None)
        told = await nameserver.lookup("WWW.kogyo.example", resolver)
        assert (told.owner, told.alias, told.ttl_s) == ("kogyo.example", "kogyo.example", 60)
        told = await nameserver.lookup("both.example", resolver)
        assert told.addresses == (("A", "203.0.113.6"), ("A", "203.0.113.7"), ("AAAA", "2001:db8::6"))
        assert told.ttl_s == 30


async def test_a_name_that_does_not_exist_has_no_address() -> None:
    async with asked() as resolver:
        told = await nameserver.lookup("nowhere.example", resolver)
        assert (told.addresses, told.ttl_s, told.owner) == ((), None, "nowhere.example")


async def test_what_a_stranger_answers_is_bounded_and_visible() -> None:
    async with asked() as resolver:
        assert len((await nameserver.lookup("many.example", resolver)).addresses) == nameserver.MOST
        told = await nameserver.lookup("odd.example", resolver)
        assert told.alias is not None
        assert told.alias.isprintable()
        with pytest.raises(nameserver.DnsFailed):
            await nameserver.lookup("loop.example", resolver)


@pytest.mark.parametrize("spoil", [lambda _: b"", lambda _: b"\xff" * 40, lambda wire: wire[:20]])
async def test_no_answer_that_can_be_read_is_one_sentence(
    spoil: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nameserver, "LIFETIME_S", 0.4)
    async with asked(spoil) as resolver, asyncio.timeout(30):
        with pytest.raises(nameserver.DnsFailed) as failed:
            await nameserver.lookup("kogyo.example", resolver)
    assert "\n" not in failed.value.message
    assert failed.value.message.isprintable()
