"""What of PHP's error log counts as new, and where it is looked for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import backends.agent

AGENT = Path(backends.agent.__file__).parent
pytestmark = pytest.mark.lab
ASKED = """
foreach (['core', 'wordpress', 'error_log'] as $name) { require getenv('AGENT') . "/$name.php"; }
$site = new Installation();
$site->root = $site->abspath = getenv('ROOT');
$site->settings = json_decode(getenv('SETTINGS'), true);
$ends = log_ends($site, getenv('TOLD'));
file_exists(getenv('ROOT') . '/step') && require getenv('ROOT') . '/step';
echo json([array_keys($ends), logged_since(json_decode(json($ends), true))]);
"""
FATAL = "[26-Nov-2026 03:00:00 UTC] PHP Fatal error:  Uncaught Error: gone in /a.php:{}"


def asked(root: Path, told: str, step: str = "", **settings: Any) -> Any:
    """Which logs are watched, and what is new after `step` (PHP) was run."""
    (root / "step").write_text(f"<?php {step}")
    environment = {"AGENT": str(AGENT), "ROOT": str(root), "TOLD": told, "SETTINGS": json.dumps(settings)}
    done = subprocess.run(
        ["php", "-d", "display_errors=stderr", "-r", ASKED],
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""
    return json.loads(done.stdout)


def test_the_setting_of_wordpress_goes_before_that_of_php(tmp_path: Path) -> None:
    assert asked(tmp_path, "/var/php.log")[0] == ["/var/php.log"]
    assert asked(tmp_path, "error_log")[0] == [f"{tmp_path}/error_log", f"{tmp_path}/wp-admin/error_log"]
    debug = f"{tmp_path}/wp-content/debug.log"
    assert asked(tmp_path, "/var/php.log", WP_DEBUG=True, WP_DEBUG_LOG=True)[0] == [debug]
    assert asked(tmp_path, "/var/php.log", WP_DEBUG=True, WP_DEBUG_LOG="/var/wp.log")[0] == ["/var/wp.log"]
    assert asked(tmp_path, "/var/php.log", WP_DEBUG=False, WP_DEBUG_LOG=True)[0] == ["/var/php.log"]
    for nothing in ("", "syslog", "/dev/zero", str(tmp_path)):
        assert asked(tmp_path, nothing)[0] == []


def test_only_what_was_never_said_before_is_new(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(FATAL.format(3) + "\n")
    write = f"file_put_contents('{log}', '%s' . PHP_EOL, FILE_APPEND);"
    assert asked(tmp_path, str(log))[1] == [None, 0, None]
    assert asked(tmp_path, str(log), write % FATAL.format(33))[1] == [None, 0, None]
    warned = write % "PHP Warning:  one" + write % "PHP Notice:  two" + write % "#0 /a.php(3): Fatal()"
    assert asked(tmp_path, str(log), warned)[1] == [None, 2, "warning: one"]
    other = write % FATAL.format(3).replace("gone", "lost")
    assert asked(tmp_path, str(log), other)[1] == ["fatal error: Uncaught Error: lost in /a.php:3", 0, None]
    database = write % "WordPress database error Table x does not exist for query SELECT 1"
    assert asked(tmp_path, str(log), database)[1][2].startswith("WordPress database error: Table x")


def test_a_log_that_was_put_aside_meanwhile_is_read_from_its_begin(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x" * 5000)
    anew = f"rename('{log}', '{log}.1'); file_put_contents('{log}', '{FATAL.format(1)}');"
    assert asked(tmp_path, str(log), anew)[1][0].startswith("fatal error: Uncaught Error: gone")


def test_of_a_flood_a_bounded_part_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    lines = 'str_repeat("PHP Warning:  \\xff\\n", 100000)'
    flood = f"for ($i = 0; $i < 30; $i++) {{ file_put_contents('{log}', {lines}, FILE_APPEND); }}"
    assert asked(tmp_path, str(log), flood)[1][1] == 1
