"""An entry of the vault's catalogue: what was written is read again, and what was not written so is refused."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.vault import PIECE, Entry, Holds, Part, Piece, VaultError

HASH = "ab" * 32
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
pieces = st.builds(
    Piece,
    st.binary(min_size=16, max_size=16).map(bytes.hex),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40).filter(lambda text: text != "-"),
    st.integers(0, 2**40),
    hashes,
)
moments = st.integers(1_577_836_800, 4_070_908_800).map(lambda at: dt.datetime.fromtimestamp(at, dt.UTC))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    ids = draw(st.lists(moments, max_size=4, unique=True))
    names = ["summary.json", "manifest", "database.sql.gz", *(f"packs/{at:%Y%m%dT%H%M%SZ}.tar" for at in ids)]
    parts = []
    for name in names:
        number = draw(st.integers(1, 3))
        size = draw(st.integers((number - 1) * PIECE + 1, number * PIECE))
        parts.append(Part(name, size, draw(hashes), tuple(draw(pieces) for _ in range(number))))
    return Entry(
        site="kogyo.example",
        generation=f"{draw(moments):%Y%m%dT%H%M%SZ}",
        created=draw(moments),
        stored=draw(moments),
        holds=Holds(*(draw(st.integers(0, 10**12)) for _ in range(4))),
        parts=tuple(parts),
    )


@given(entries())
def test_what_was_written_is_read_again(entry: Entry) -> None:
    assert Entry.parse(entry.text()) == entry


@given(entries(), st.data())
def test_an_entry_that_lost_a_line_or_a_byte_of_its_words_is_refused_or_another_whole_entry(
    entry: Entry, data: st.DataObject
) -> None:
    lines = entry.text().split("\n")
    gone = data.draw(st.integers(0, len(lines) - 2))
    with pytest.raises(VaultError, match="no entry of a vault's catalogue"):
        Entry.parse("\n".join(lines[:gone] + lines[gone + 1 :]))


@given(st.text())
def test_any_other_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(VaultError) as refusal:
        Entry.parse(text)
    assert "\n" not in str(refusal.value)


def whole(*lines: str) -> str:
    head = ["modoseru vault 1", "site kogyo.example", "generation 20261122T142544Z", "created 2026-11-22T14:25:44Z"]
    head += ["stored 2026-11-30T00:00:00Z", "holds 1 2 3 4"]
    text = [*head, *lines]
    return "\n".join([*text, f"end {len(text)}", ""])


SUMMARY = (f"part summary.json 10 {HASH}", f"piece {'0' * 32} - 10 {HASH}")


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (f"part summary.json 10 {HASH}",),
        (*SUMMARY, f"part ../../etc/passwd 10 {HASH}", f"piece {'0' * 32} - 10 {HASH}"),
        (*SUMMARY, f"part manifest -1 {HASH}", f"piece {'0' * 32} - 10 {HASH}"),
        (*SUMMARY, f"part manifest {10**15} {HASH}", f"piece {'0' * 32} - 10 {HASH}"),
        (*SUMMARY, f"part manifest 10 {HASH}", f"piece ../{'0' * 29} - 10 {HASH}"),
        (*SUMMARY, *SUMMARY),
        (*SUMMARY, f"piece {'1' * 32} - 10 {HASH}"),
        (*SUMMARY, "note hello"),
    ],
    ids=["no summary", "no piece", "outside", "negative", "too large", "a name outside", "twice", "more", "unknown"],
)  # fmt: skip
def test_what_an_attacker_could_write_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(VaultError):
        Entry.parse(whole(*lines))


def test_an_entry_of_a_newer_format_says_what_to_do() -> None:
    with pytest.raises(VaultError) as refusal:
        Entry.parse(whole(*SUMMARY).replace("vault 1", "vault 2", 1))
    assert (refusal.value.code, refusal.value.hint) == ("newer_format", "update Modoseru")


def test_the_format_of_today_is_read_for_ever() -> None:
    entry = Entry.parse(whole(*SUMMARY))
    assert entry.seal == HASH
    assert entry.parts == (Part("summary.json", 10, HASH, (Piece("0" * 32, "", 10, HASH),)),)
    assert entry.text() == whole(*SUMMARY)
