"""Addresses in serialised data, against PHP's own serialize() and unserialize()."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

AGENT = Path(__file__).parents[2] / "backends" / "agent"
OLD, NEW = "https://www.old.example/", "https://new-and-longer.example/旅館"
EXAMPLES = 300


def packed(text: bytes) -> str:
    return base64.b64encode(text).decode()


class Php:
    """A PHP that answers one line for one line."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["php", str(Path(__file__).with_name("serialized.php")), str(AGENT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, **fields: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"from": [OLD], "to": NEW, **fields}).encode() + b"\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def rewritten(self, text: bytes, **fields: Any) -> bytes:
        return base64.b64decode(self.ask(text=packed(text), **fields)["new"])


@pytest.fixture(scope="module")
def php() -> Iterator[Php]:
    made = Php()
    yield made
    assert made.process.stdin is not None
    assert made.process.stdout is not None
    made.process.stdin.close()
    made.process.stdout.close()
    assert made.process.wait(timeout=10) == 0


pieces = st.sampled_from([
    b"https://www.old.example/", b"http://old.example", b"//old.example/a?b=c", b'"https:\\/\\/www.old.example\\/x"',
    b"https%3A%2F%2Fwww.old.example%2Fy", "工業🏭".encode(), b'"', b";", b"}", b"\0", b"\xff\xfe", b's:5:"', b" ",
    b"https://old.example.com/", b"info@old.example",
])  # fmt: skip
texts = st.one_of(st.lists(pieces, max_size=6).map(b"".join), st.binary(max_size=20))
leaves = st.one_of(
    texts.map(lambda text: ["text", packed(text)]),
    st.integers(-(2**62), 2**62).map(lambda number: ["plain", number]),
    st.booleans().map(lambda truth: ["plain", truth]),
    st.none().map(lambda _: ["plain", None]),
    st.sampled_from([0.5, -1e300, 1e-7, 3.0]).map(lambda number: ["float", number]),
)
keys = st.one_of(st.integers(-5, 1000), texts.map(packed))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(st.tuples(keys, inner), max_size=4).map(lambda pairs: ["array", pairs]),
        st.lists(inner, min_size=3, max_size=3).map(lambda three: ["object", three]),
        inner.map(lambda one: ["nested", one]),
    ),
    max_leaves=12,
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(value=values)
def test_rewriting_the_text_is_rewriting_the_value(php: Php, value: list[Any]) -> None:
    answer = php.ask(value=value)
    assert base64.b64decode(answer["new"]) == base64.b64decode(answer["wanted"])


@settings(max_examples=EXAMPLES, deadline=None)
@given(value=values, at=st.integers(0, 10_000), by=st.binary(max_size=3), cut=st.integers(0, 3))
def test_what_php_cannot_read_is_left_as_it_is_and_what_it_can_read_it_still_can(
    php: Php, value: list[Any], at: int, by: bytes, cut: int
) -> None:
    text = base64.b64decode(php.ask(value=value)["text"])
    at %= len(text)
    spoiled = text[:at] + by + text[at + cut :]
    answer = php.ask(text=packed(spoiled))
    assert not answer["reads"] or answer["still_reads"]
    if answer["broken"] == 1 and not answer["reads"]:
        assert base64.b64decode(answer["new"]) == spoiled


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("see https://www.old.example/a.", "see https://n.example/b/a."),
        ("http://old.example and //www.old.example/x", "https://n.example/b and //n.example/b/x"),
        ("https://OLD.example/", "https://n.example/b/"),
        (r'{"u":"https:\/\/old.example\/x"}', r'{"u":"https:\/\/n.example\/b\/x"}'),
        (r'"{\"u\":\"https:\\\/\\\/old.example\\\/x\"}"', r'"{\"u\":\"https:\\\/\\\/n.example\\\/b\\\/x\"}"'),
        ("?to=https%3A%2F%2Fold.example%2Fx", "?to=https%3A%2F%2Fn.example%2Fb%2Fx"),
        ("https://old.example.", "https://n.example/b."),
        *((same, same) for same in (
            "https://old.example.com/", "https://old.example-shop.jp", "https://bold.example/", "https://old.example:8443/",
            "info@old.example", "old.example", "https://shop.old.example/",
        )),
    ],
)  # fmt: skip
def test_an_address_is_known_however_it_is_spelt_and_no_other_is_taken_for_it(php: Php, old: str, new: str) -> None:
    assert php.rewritten(old.encode(), to="https://n.example/b/").decode() == new


def test_the_folder_of_wordpress_follows_the_front_page(php: Php) -> None:
    both = ["https://old.example/wp", "https://old.example/"]
    assert (
        php.rewritten(b"https://old.example/wp/x", **{"from": both, "to": "https://n.example"})
        == b"https://n.example/x"
    )
    assert (
        php.rewritten(b"https://old.example/y", **{"from": both, "to": "https://n.example"}) == b"https://n.example/y"
    )


def test_data_of_any_depth_ends(php: Php) -> None:
    deep = b"a:1:{i:0;" * 100_000 + b's:20:"https://old.example/";' + b"}" * 100_000
    answer = php.ask(text=packed(deep))
    assert (answer["broken"], base64.b64decode(answer["new"])) == (1, deep)
