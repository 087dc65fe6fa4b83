"""Versions are compared as PHP compares them: by a table that PHP made, and by PHP itself."""

from __future__ import annotations

import json
import random
import shutil
import subprocess

import pytest

from backends.php_version import compare

# Each line was said by version_compare of PHP 8.2.
TOLD = [
    ("5.0.2", "5.0.2", 0), ("5.0.2", "5.0.10", -1), ("5.0", "5.0.0", -1), ("5", "5.0", -1), ("01.2", "1.2", 0),
    ("1.0-beta2", "1.0", -1), ("1.0b2", "1.0-beta2", 0), ("1.0RC1", "1.0rc1", 0), ("1.0-Beta1", "1.0-alpha", -1),
    ("1.0pl1", "1.0", 1), ("1.0-patch", "1.0", 1), ("1.0-dev", "1.0-alpha", -1), ("1.0-stable", "1.0", -1),
    ("2024.01.05", "2024.1.5", 0), ("v1.2", "1.2", -1), ("1.2_3+4", "1.2.3.4", 0), ("1..2", "1.2", 0),
    ("1.2.", "1.2", -1), ("", "0", -1), ("", "", 0), ("6.1.9", "6.1.10", -1), ("3.4.0.1", "3.4", 1),
    ("1.0é", "1.0", -1),
    ("9223372036854775807", "99999999999999999999", 0),
]  # fmt: skip
WORDS = ("0", "1", "10", "01", "2.3.4", "alpha", "b", "RC", "rc", "pl", "p", "dev", "-", "_", "+", ".", "..", "#",
         "#N#", "final", "Alpha", "é", "99999999999999999999", "v", " ", "1e3", "-beta2", "*")  # fmt: skip


@pytest.mark.parametrize(("one", "other", "told"), TOLD)
def test_a_version_is_older_the_same_or_newer_as_php_says(one: str, other: str, told: int) -> None:
    assert compare(one, other) == told
    assert compare(other, one) == -told


def test_php_itself_says_the_same_of_anything() -> None:
    if shutil.which("php") is None:
        pytest.skip("no php here")
    chance = random.Random("versions")
    made = ["".join(chance.choice(WORDS) + chance.choice(("", ".")) for _ in range(chance.randint(0, 6)))
            for _ in range(20_000)]  # fmt: skip
    pairs = [*zip(made[::2], made[1::2], strict=True), *((one, one + chance.choice(WORDS)) for one in made[:3000])]
    pairs += [(one, other) for one, other, _ in TOLD]
    script = "foreach (json_decode(stream_get_contents(STDIN)) as [$a, $b]) echo version_compare($a, $b), ' ';"
    done = subprocess.run(["php", "-r", script], input=json.dumps(pairs).encode(), capture_output=True, check=True)
    assert [compare(*pair) for pair in pairs] == [int(one) for one in done.stdout.split()]


def test_a_version_of_any_length_costs_next_to_nothing() -> None:
    assert compare("#." * 200, "1" * 100_000) in (-1, 0, 1)
