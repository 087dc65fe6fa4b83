"""Which of two versions is the newer one, as PHP's `version_compare` has it: WordPress and its plugins go by that."""

from __future__ import annotations

_RANKS = (
    ("dev", 0),
    ("alpha", 1),
    ("a", 1),
    ("beta", 2),
    ("b", 2),
    ("RC", 3),
    ("rc", 3),
    ("#", 4),
    ("pl", 5),
    ("p", 5),
)
"""By how a word begins, the first that fits; PHP's own list, in its order. Other words come before all of them."""
_NUMBER = "#N#"
"""What a number counts for beside a word, and what stands where the shorter version has ended."""
_DIGITS = frozenset("0123456789")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LARGEST = 2**63 - 1


def compare(one: str, other: str) -> int:
    """-1, 0 or 1: `one` is older than, the same as, or newer than `other`. Both may be anybody's word."""
    if not one or not other:
        return bool(one) - bool(other)
    left: str | None = _spelt(one)
    right: str | None = _spelt(other)
    # As PHP's own loop: what is left is None once a version has no more parts, and empty behind a last dot.
    while left and right:
        ours, dot, rest = left.partition(".")
        left = rest if dot else None
        theirs, dot, rest = right.partition(".")
        right = rest if dot else None
        if found := _compare_parts(ours, theirs):
            return found
    if left is not None:
        return 1 if left[:1] in _DIGITS else compare(left, _NUMBER)
    if right is not None:
        return -1 if right[:1] in _DIGITS else compare(_NUMBER, right)
    return 0


def _spelt(version: str) -> str:
    """With one dot for what is no letter and no digit, and one between digits and what is none. The first character
    stays what it is; so does all behind a `#`. PHP knows bytes alone."""
    if version[0] == "#":
        return version
    version = version.encode(errors="surrogatepass").decode("latin-1")
    spelt, last = [version[0]], version[0]
    for sign in version[1:]:
        digit, was_digit = sign in _DIGITS, last in _DIGITS
        border = (digit and not was_digit and last != ".") or (was_digit and not digit and sign != ".")
        if sign in "-_+":
            new = "."
        elif border:
            new = f".{sign}"
        else:
            new = sign if digit or sign in _LETTERS else "."
        if spelt[-1][-1] == ".":
            new = new.removeprefix(".")
        if new:
            spelt.append(new)
        last = sign
    return "".join(spelt)


def _compare_parts(one: str, other: str) -> int:
    if one[:1] in _DIGITS and other[:1] in _DIGITS:
        first, second = _number(one), _number(other)
    else:
        first, second = (_rank(_NUMBER if part[:1] in _DIGITS else part) for part in (one, other))
    return (first > second) - (first < second)


def _number(part: str) -> int:
    """Of the digits that it begins with; PHP's integers end."""
    digits = part[: next((at for at, sign in enumerate(part) if sign not in _DIGITS), len(part))]
    return min(int(digits[:4000]), _LARGEST)


def _rank(word: str) -> int:
    return next((rank for begins, rank in _RANKS if word.startswith(begins)), -1)
