"""The lab keeps its own promises: what the other tests stand on is real, and goes back to what it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncssh
import msgspec
import pytest

from backends.records import FleetFile, Site
from tests.lab import Lab, LabSite
from tests.lab.fixtures import fresh_site, lab  # noqa: F401 - pytest finds fixtures by name
from tests.lab.layout import wait_until
from tests.lab.plugins import FAULTS
from tests.lab.processes import look, owned_by
from tests.lab.sites import SITES

# pytest hands fixtures over by parameter name, which shadows the import above.
# ruff: noqa: F811

pytestmark = pytest.mark.lab
NAMES = [plan.name for plan in SITES]
Fresh = Callable[[str], LabSite]


def wordpress(lab: Lab, site: LabSite, code: str) -> Any:
    """What `code` leaves in `$found`, run by the site's PHP over SSH in a booted WordPress with its admin files."""
    script = f"""<?php
        $_SERVER['HTTP_HOST'] = {json.dumps(site.host)};
        $_SERVER['HTTPS'] = 'on';
        require '{site.root}/wp-load.php';
        foreach (['file', 'misc', 'plugin', 'theme', 'update', 'class-wp-upgrader'] as $part) {{
            require_once ABSPATH . "wp-admin/includes/$part.php";
        }}
        {code}
        fwrite(fopen('php://stdout', 'w'), "\\n@@@" . json_encode($found) . "\\n");
    """
    done = lab.ssh(site, site.php, "-d", "display_errors=stderr", stdin=script.encode())
    assert b"\n@@@" in done.stdout, (done.stdout[-2000:], done.stderr[-2000:])
    return json.loads(done.stdout.split(b"\n@@@")[1].split(b"\n")[0])


def contents(folder: Path) -> dict[str, tuple[int, int, int, int, str]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        found[str(path.relative_to(folder))] = (stat.st_mode, stat.st_uid, stat.st_gid, int(stat.st_mtime), digest)
    return found


def tables(lab: Lab, site: LabSite) -> list[tuple[str, ...]]:
    names = [row[0] for row in lab.sql(site, "SHOW TABLES")]
    return lab.sql(site, "CHECKSUM TABLE " + ", ".join(f"`{name}`" for name in names))


@pytest.mark.parametrize("name", NAMES)
def test_each_site_answers_over_tls_with_its_japanese_and_emoji(lab: Lab, fresh_site: Fresh, name: str) -> None:
    site = fresh_site(name)
    status, body = lab.fetch(site)
    assert status == 200
    for text in (site.title, "年末年始の休業日のお知らせ", "新商品のご案内 🎉", "👨‍👩‍👧‍👦", "𠮷野家"):
        assert text in body
    assert lab.fetch(site, "/archives/5")[0] == 200
    assert lab.fetch(site, "/wp-login.php")[0] == 200
    assert lab.fetch(site, "/no-such-page")[0] == 404
    assert lab.fetch(site, quote("/wp-content/uploads/2026/09/桜まつり.jpg"))[0] == 200


@pytest.mark.parametrize("name", NAMES)
def test_each_account_lets_its_key_in_and_its_php_is_the_web_s(lab: Lab, name: str) -> None:
    site = lab.site(name)
    done = lab.ssh(site, "id", "-un")
    assert done.returncode == 0
    assert done.stdout.split(b"\n")[-2].decode() == site.account
    found = wordpress(lab, site, "$found = ['php' => PHP_VERSION];")
    token = site.root / "who.php"
    token.write_text("<?php echo PHP_VERSION, ' ', posix_geteuid(), ' ', PHP_SAPI;")
    token.chmod(0o644)
    try:
        assert lab.fetch(site, "/who.php")[1].split() == [found["php"], str(site.uid), "fpm-fcgi"]
    finally:
        token.unlink()


def test_the_awkward_account_is_awkward(lab: Lab) -> None:
    site = lab.site("higashi.example")
    assert "ようこそ" in lab.ssh(site, "true").stdout.decode()
    assert b"PHP 7.4" in lab.ssh(site, "php", "-v").stdout
    assert lab.ssh(site, "php", stdin=b"<?php echo 1;").returncode == 255
    for tool in ("mysql", "mysqldump", "mariadb", "mariadb-dump", "setsid"):
        assert lab.ssh(site, tool, "--version").returncode != 0, tool
    assert lab.ssh(site, "echo 'a\nb'").returncode == 1  # a quoted newline is "Unmatched", told in Japanese
    assert lab.ssh(site, "X=1", "true").returncode == 1


async def test_a_password_and_a_jump_host_work(lab: Lab) -> None:
    first, second = lab.site("minato.example"), lab.site("kogyo.example")
    pinned = asyncssh.import_known_hosts(f"[127.0.0.1]:{first.ssh_port} {first.host_key}\n")
    assert first.password is not None
    assert first.password_file is not None
    assert first.password_file.read_text().strip() == first.password
    async with (
        asyncssh.connect(
            first.ssh_host, first.ssh_port, username=first.account, password=first.password, client_keys=None,
            known_hosts=pinned, config=[], agent_path=None,
        ) as jump,
        jump.connect_ssh(
            second.ssh_host, second.ssh_port, username=second.account, client_keys=[str(second.key)],
            known_hosts=pinned, config=[], agent_path=None,
        ) as beyond,
    ):  # fmt: skip
        done = await beyond.run("id -un", check=True)
        assert str(done.stdout).strip() == second.account


def test_each_database_user_sees_its_own_schema_alone(lab: Lab) -> None:
    for site in lab.sites:
        found = wordpress(
            lab, site, "global $wpdb; $found = ['all' => $wpdb->get_col('SHOW DATABASES'), 'prefix' => $wpdb->prefix];"
        )
        assert found == {"all": ["information_schema", site.db_name], "prefix": site.db_prefix}
    assert lab.site("sakura.example").config_file.parent == lab.site("sakura.example").root.parent


def test_the_configuration_is_what_the_program_reads(lab: Lab) -> None:
    folder = lab.layout.config
    msgspec.toml.decode((folder / "fleet.toml").read_bytes(), type=FleetFile)
    read = [msgspec.toml.decode(file.read_bytes(), type=Site) for file in sorted((folder / "sites.d").iterdir())]
    assert [site.name for site in read] == sorted(NAMES)
    assert len({site.account for site in read}) == 4
    assert all(Path(site.ssh.key or "").is_file() and Path(site.web.ca_file or "").is_file() for site in read)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("fine", None),
        ("soon", None),
        ("expired", "certificate has expired"),
        ("wrong-name", "Hostname mismatch"),
        ("incomplete", "unable to get local issuer certificate"),
    ],
)
def test_each_kind_of_certificate_is_served(lab: Lab, kind: str, reason: str | None) -> None:
    probe = lab.probes[kind]
    host, port = probe.connect.split(":")
    context = ssl.create_default_context(cafile=str(lab.layout.tls / "ca.pem"))
    refused = pytest.raises(ssl.SSLCertVerificationError, match=reason) if reason else contextlib.nullcontext()
    with socket.create_connection((host, int(port)), 10) as plain, refused:
        with context.wrap_socket(plain, server_hostname=probe.host) as secure:
            ends = ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"]))
        assert round((ends - time.time()) / 86400) == {"fine": 90, "soon": 5}[kind]


@pytest.mark.parametrize("name", ["kogyo.example", "higashi.example"])
def test_wordpress_finds_what_the_imitation_offers(lab: Lab, fresh_site: Fresh, name: str) -> None:
    site = fresh_site(name)
    lab.put_plugin(site, "good-plugin")
    assert "name='good-plugin' content='1.0'" in lab.fetch(site)[1]
    lab.wporg.offer({"good-plugin": "1.1", "akismet": "5.7.2"}, themes={"twentytwentythree": "1.7"}, core="7.1.1")
    found = wordpress(lab, site, UPDATES)
    assert found == {
        "plugins": {"good-plugin/good-plugin.php": "1.1", "akismet/akismet.php": "5.7.2"},
        "themes": {"twentytwentythree": "1.7"},
        "core": ["upgrade", "7.1.1"],
    }
    asked = {note["path"] for note in lab.wporg.requests()}
    assert {"/plugins/update-check/1.1/", "/themes/update-check/1.1/", "/core/version-check/1.7/"} <= asked
    lab.wporg.offer()
    assert wordpress(lab, site, UPDATES) == {"plugins": [], "themes": [], "core": ["latest", debian_wordpress()]}


def debian_wordpress() -> str:
    text = Path("/usr/share/wordpress/wp-includes/version.php").read_text()
    return text.split("$wp_version = '")[1].split("'")[0]


def test_a_failing_update_check_and_checksums(lab: Lab, fresh_site: Fresh) -> None:
    site = fresh_site("sakura.example")
    lab.wporg.offer({"akismet": "5.7.2"}, fail=True)
    code = "$error = wp_remote_get('https://api.wordpress.org/core/version-check/1.7/');"
    assert wordpress(lab, site, code + "$found = [wp_remote_retrieve_response_code($error)];") == [500]
    lab.wporg.offer()
    sums = wordpress(lab, site, f"$found = get_core_checksums('{debian_wordpress()}', 'en_US');")
    for name in ("index.php", "wp-includes/version.php"):
        assert sums[name] == hashlib.md5((site.root / name).read_bytes(), usedforsecurity=False).hexdigest()


def test_a_small_disk_fills_up_and_goes_with_the_reset(lab: Lab, fresh_site: Fresh) -> None:
    site = fresh_site("momiji.example")
    lab.small_disk(site, site.home / ".modoseru", 1 << 20)
    full = lab.ssh(site, "dd", "if=/dev/zero", "of=.modoseru/x", "bs=65536", "count=100")
    assert b"No space left on device" in full.stderr
    lab.reset(site)
    assert not (site.home / ".modoseru").exists()


def test_a_cut_connection_leaves_what_runs_alive_until_reset(lab: Lab, fresh_site: Fresh) -> None:
    site = fresh_site("kogyo.example")
    with subprocess.Popen(lab.ssh_command(site, "sleep", "601"), stderr=subprocess.DEVNULL) as client:
        wait_until(lambda: bool(sleeping(601)), 10, "the command over SSH")
        lab.cut_ssh(site)
        assert client.wait(10) == 255
    assert sleeping(601)
    lab.reset(site)
    assert not sleeping(601)


def sleeping(seconds: int) -> list[str]:
    return [line for line in _command_lines() if line.startswith(f"sleep {seconds}")]


UPDATES = """
    wp_version_check([], true);
    delete_site_transient('update_plugins'); wp_update_plugins();
    delete_site_transient('update_themes'); wp_update_themes();
    $core = get_core_updates()[0];
    $found = [
        'plugins' => array_map(fn($one) => $one->update->new_version, get_plugin_updates()),
        'themes' => array_map(fn($one) => $one->update['new_version'], get_theme_updates()),
        'core' => [$core->response, $core->current ?? null],
    ];
"""

UPGRADE = """
    delete_site_transient('update_plugins'); wp_update_plugins();
    $upgrader = new Plugin_Upgrader(new Automatic_Upgrader_Skin());
    $file = '%s/%s.php';
    $result = $upgrader->bulk_upgrade([$file]);
    $now = get_plugin_data(WP_PLUGIN_DIR . "/$file");
    $found = ['done' => is_array($result[$file] ?? null), 'version' => $now['Version']];
"""


def upgrade(lab: Lab, site: LabSite, slug: str) -> None:
    assert wordpress(lab, site, UPGRADE % (slug, slug)) == {"done": True, "version": "1.1"}


def see(lab: Lab, site: LabSite, what: Callable[[int, str], bool]) -> None:
    wait_until(lambda: what(*lab.fetch(site)), 10, "the page to change (opcache looks every 2 s)")


def test_the_good_update_and_the_slow_one_pass(lab: Lab, fresh_site: Fresh) -> None:
    site = fresh_site("minato.example")
    for slug in ("good-plugin", "slow-plugin"):
        lab.put_plugin(site, slug)
    lab.wporg.offer({"good-plugin": "1.1", "slow-plugin": "1.1"}, seconds={"slow-plugin": 1.5})
    for slug, least in (("good-plugin", 0.0), ("slow-plugin", 1.5)):
        started = time.monotonic()
        upgrade(lab, site, slug)
        assert time.monotonic() - started > least
        see(lab, site, lambda status, body, slug=slug: status == 200 and f"name='{slug}' content='1.1'" in body)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("slug", "status", "text"),
    [
        ("broken-init", 500, "critical error"),
        ("broken-parse", 500, "critical error"),
        ("broken-white", 200, ""),
        ("broken-web", 500, "critical error"),
        ("broken-database", 500, "Error establishing a database connection"),
        ("broken-maintenance", 503, "Briefly unavailable"),
    ],
)
def test_each_broken_update_breaks_the_site_in_its_way(
    lab: Lab, fresh_site: Fresh, slug: str, status: int, text: str
) -> None:
    assert slug in FAULTS
    site = fresh_site("momiji.example")
    lab.put_plugin(site, slug)
    lab.wporg.offer({slug: "1.1"})
    assert lab.fetch(site)[0] == 200
    upgrade(lab, site, slug)
    see(lab, site, lambda code, body: code == status and (text in body if text else body == ""))
    assert fresh_site("momiji.example") == site
    assert lab.fetch(site)[0] == 200


def test_real_releases_install_through_wordpress_s_own_upgraders(lab: Lab, fresh_site: Fresh) -> None:
    site = fresh_site("kogyo.example")
    lab.wporg.offer({"akismet": "5.7.2"}, themes={"twentytwentythree": "1.7"}, core="7.1.1")
    found = wordpress(lab, site, """
        require_once ABSPATH . 'wp-admin/includes/upgrade.php';
        wp_update_plugins(); wp_update_themes(); wp_version_check([], true);
        $skin = new Automatic_Upgrader_Skin();
        (new Plugin_Upgrader($skin))->bulk_upgrade(['akismet/akismet.php']);
        (new Theme_Upgrader($skin))->bulk_upgrade(['twentytwentythree']);
        $core = (new Core_Upgrader($skin))->upgrade(get_core_updates()[0]);
        $found = ['akismet' => get_plugin_data(WP_PLUGIN_DIR . '/akismet/akismet.php')['Version'], 'core' => $core,
                  'theme' => get_file_data(get_theme_root() . '/twentytwentythree/style.css', ['v' => 'Version'])['v']];
    """)  # fmt: skip
    assert found == {"akismet": "5.7.2", "core": "7.1.1", "theme": "1.7"}
    after = wordpress(
        lab,
        site,
        """
        require_once ABSPATH . 'wp-admin/includes/upgrade.php';
        wp_upgrade();
        $found = ['version' => $GLOBALS['wp_version']];
    """,
    )
    assert after == {"version": "7.1.1"}
    lab.restart_php(site)
    status, body = lab.fetch(site)
    assert status == 200
    assert site.title in body


def test_wordpress_cannot_leave_loopback(lab: Lab) -> None:
    found = wordpress(lab, lab.site("kogyo.example"), """
        $error = wp_remote_get('https://example.com/');
        $found = ['error' => is_wp_error($error) ? $error->get_error_message() : 'answered'];
    """)  # fmt: skip
    assert found == {"error": "modoseru-lab: example.com is not reachable from here"}


@pytest.mark.parametrize("name", NAMES)
def test_reset_brings_a_vandalised_site_back_to_the_byte(lab: Lab, fresh_site: Fresh, name: str) -> None:
    site = fresh_site(name)
    files, rows = contents(site.base), tables(lab, site)
    index = site.root / "index.php"
    times = index.stat()
    index.write_text(index.read_text().replace("WordPress", "Wordpress"))  # same size
    os.utime(index, ns=(times.st_atime_ns, times.st_mtime_ns))
    (site.root / "wp-login.php").unlink()
    (site.root / "wp-content/uploads/2026").rename(site.root / "wp-content/uploads/2025")
    (site.root / "evil 悪.php").write_text("<?php echo 'hacked';")
    (site.root / "wp-content").chmod(0o777)
    (site.home / ".modoseru" / site.name / "packs").mkdir(parents=True)
    (site.root.parent / "public_html.modoseru-staged").mkdir()
    lab.sql(site, f"DROP TABLE {site.db_prefix}posts; DELETE FROM {site.db_prefix}options; CREATE TABLE s_1 (a INT)")
    lab.lock_database(site)
    assert lab.fetch(site)[0] != 200
    with subprocess.Popen(
        ["setpriv", f"--reuid={site.uid}", f"--regid={site.uid}", "--clear-groups", "sleep", "600"]
    ) as left:
        started = time.monotonic()
        lab.reset(site)
        assert left.wait(10) == -signal.SIGKILL
    print(f"reset of {name}: {time.monotonic() - started:.2f} s")
    assert contents(site.base) == files
    assert tables(lab, site) == rows
    assert not (site.home / ".modoseru" / site.name).exists()
    status, body = lab.fetch(site)
    assert status == 200
    assert site.title in body


def test_a_killed_run_is_cleaned_up_and_down_leaves_nothing() -> None:
    """In a folder of its own: killed in the middle of building, then built; some servers killed; then up, down."""
    root = Path(f"/tmp/modoseru-lab-{os.getpid()}")
    command = [sys.executable, "-m", "tests.lab"]
    own = Lab(root)
    try:
        with subprocess.Popen([*command, "up", "--dir", str(root)], stdout=subprocess.DEVNULL) as building:
            wait_until(lambda: own.processes.alive("mariadb"), 60, "the database of a lab that is being built")
            building.kill()
        assert own.processes.alive("mariadb")
        assert not own.running
        done = subprocess.run([*command, "up", "--dir", str(root)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert len([line for line in _command_lines() if "mariadbd " in line and str(root) in line]) == 1
        print(done.stdout.splitlines()[0])
        before = own.processes.entries()
        ended = ("nginx", "mariadb", "sshd", "fpm-kogyo.example")
        for name in ended:
            os.kill(before[name].pid, signal.SIGKILL)
        wait_until(lambda: not any(own.processes.alive(name) for name in ended), 20, "the end of what was killed")
        assert not own.running
        own.up()
        assert own.running
        assert own.up().fetch(own.site("kogyo.example"))[0] == 200
        family = {pid for entry in own.processes.entries().values() for pid in own.processes.family(entry)}
        uids = {site.uid for site in own.sites}
        site = own.site("kogyo.example")
        busy = subprocess.Popen(own.ssh_command(site, "sleep", "602"), stderr=subprocess.DEVNULL)
        wait_until(lambda: bool(sleeping(602)), 10, "the command over SSH")
        own.down()
        assert busy.wait(10) != 0
        assert not owned_by(uids)
        assert not [pid for pid in family if (seen := look(pid)) is not None and not seen.zombie]
        assert not any(str(root) in command for command in _command_lines())
    finally:
        own.down(purge=True)
    assert not root.exists()
    assert "mdsr-kogyo" + own.layout.suffix not in Path("/etc/passwd").read_text()


def _command_lines() -> list[str]:
    lines = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(place.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return lines
