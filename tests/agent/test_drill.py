"""Rehearsals of real WordPress sites: what a drill proves, what it refuses, and that nothing live notices it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from backends.agent.client import Agent, Agents, Launched
from backends.records import Finished, Outcome, Site, Step
from backends.ssh import Servers
from tests.agent.small import Story, Tree, carry_out, follow, tables_of, tree, without
from tests.lab import Lab, LabSite
from tests.lab.configuration import site_table
from tests.lab.processes import owned_by

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
STEPS = ["preflight", "stage", "verify", "boot", "drop"]


class Stage:
    """One WordPress of the lab, its agent, and all of it that a drill might disturb."""

    def __init__(self, lab: Lab, servers: Servers, site: LabSite) -> None:
        self.lab, self.site = lab, site
        self.record = msgspec.convert(site_table(site), Site)
        self.agent: Agent = Agents(servers).of(self.record)
        self.state = site.home / ".modoseru" / site.name

    async def backup(self) -> str:
        story = await carry_out(self.agent, "snapshot", reason="hand")
        assert story.outcome is Outcome.DONE, story.end
        assert story.end.generation
        return story.end.generation

    async def drill(self, generation: str) -> Story:
        return await carry_out(self.agent, "drill", generation=generation)

    async def backup_with(self, code: str) -> str:
        """A generation that holds a must-use plugin with this code; the live site is without it again."""
        plugin = self.site.root / "wp-content/mu-plugins/aaa-trouble.php"
        plugin.write_text(f"<?php\n{code}\n")
        os.chown(plugin, self.site.uid, self.site.uid)
        try:
            return await self.backup()
        finally:
            plugin.unlink()

    def live(self) -> tuple[Tree, dict[str, tuple[str, ...]]]:
        """Every file of the account but the agent's own folder, with times; every table of the database."""
        files = without(tree(self.site.home), rb"\.modoseru(/.*)?|\.ssh(/.*)?|\.cache(/.*)?")
        return files, tables_of(self.lab, self.site.db_name, "")

    def litter(self) -> list[str]:
        kept = {"request", "journal", "memory", "finished", "stderr", "cancel"}
        found = [str(path) for path in self.state.glob("ops/*drill*/*") if path.name not in kept]
        found += [row[0] for row in self.lab.sql(self.site, "SHOW TABLES") if row[0].startswith(("_m", "_o"))]
        return found + [str(path) for path in self.site.home.rglob(".modoseru-*")]

    def workers(self) -> list[int]:
        found = []
        for pid in owned_by([self.site.uid]):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"work" in words and str(self.state).encode() + b"/ops/" in b"\0".join(words):
                    found.append(pid)
        return found


@pytest.fixture
def stage(lab: Lab, servers: Servers, fresh_site: Callable[[str], LabSite]) -> Callable[[str], Stage]:
    return lambda name: Stage(lab, servers, fresh_site(name))


@pytest.fixture(scope="module")
def shared(lab: Lab, servers: Servers) -> Stage:
    """One site for all tests that leave it as they found it: its second generation costs little."""
    return Stage(lab, servers, lab.reset(lab.site("minato.example")))


@pytest.fixture
def plain(stage: Callable[[str], Stage]) -> Stage:
    return stage("kogyo.example")


class Listener:
    """A server on loopback that counts who calls."""

    def __init__(self) -> None:
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port = self._socket.getsockname()[1]

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listener]:
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    caller, _ = self._socket.accept()
                    self.calls += 1
                    caller.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield self
        finally:
            done.set()
            thread.join()
            self._socket.close()


CALLER = """
add_action('init', function () {
    $url = 'http://127.0.0.1:%d/';
    add_action('phpmailer_init', function () { throw new Error('a mail went out'); });
    wp_remote_get($url, ['timeout' => 1]);
    wp_remote_post($url, ['timeout' => 1, 'blocking' => false]);
    @file_get_contents($url);
    @fsockopen('127.0.0.1', %d);
    @stream_socket_client('tcp://127.0.0.1:%d');
    curl_exec(curl_init($url));
    $many = curl_multi_init();
    curl_multi_add_handle($many, curl_init($url));
    do { curl_multi_exec($many, $running); } while ($running);
    wp_schedule_single_event(time() - 60, 'overdue');
    add_action('overdue', function () { throw new Error('cron ran'); });
    spawn_cron();
    wp_mail('somebody@example.invalid', 'subject', 'text');
    mail('somebody@example.invalid', 'subject', 'text');
});
"""


@pytest.mark.parametrize(
    "name", ["kogyo.example", "sakura.example", "momiji.example", "higashi.example", "minato.example"]
)
async def test_a_healthy_generation_is_proven_and_nothing_live_changes(
    stage: Callable[[str], Stage], name: str
) -> None:
    """A plain site; wp-config.php above the root; a custom prefix with a neighbour; tcsh and a greeting; Apache."""
    one = stage(name)
    cache = one.site.root / "wp-content/cache"
    cache.mkdir()
    (cache / "page.html").write_text("cached")
    (one.site.root / "wp-content/object-cache.php").write_text("<?php throw new Error('a drop-in ran');")
    shutil.chown(cache, one.site.uid, one.site.uid)
    generation = await one.backup()
    before = one.live()
    story = await one.drill(generation)
    assert (story.outcome, story.steps, story.end.generation) == (Outcome.DONE, STEPS, generation), story.end
    assert one.site.title in story.end.detail
    assert one.live() == before
    assert one.litter() == []


async def test_a_rehearsal_calls_nobody(plain: Stage) -> None:
    listener = Listener()
    code = CALLER % ((listener.port,) * 3)
    with listener.listening():
        generation = await plain.backup_with(code)
        before = plain.live()
        story = await plain.drill(generation)
        assert story.outcome is Outcome.DONE, story.end
        assert listener.calls == 0
        assert plain.live() == before
        plugin = plain.site.root / "wp-content/mu-plugins/caller.php"
        plugin.write_text(f"<?php {code}")
        await asyncio.to_thread(plain.lab.fetch, plain.site)
        assert listener.calls > 0  # the witness would have seen it
        plugin.unlink()


LIVE_READ = """add_action('init', function () {{ global $wpdb;
    $wpdb->get_var("SELECT post_title FROM {p}posts LIMIT 1"); }});"""
TROUBLE = {
    "fatal": (
        "add_action('init', function () { throw new Error('nobody caught it'); });",
        "drill_failed",
        "WordPress does not start on the restored copy: nobody caught it (wp-content/mu-plugins/aaa-trouble.php:2)",
    ),
    "no function": ("add_action('init', 'x'); function x() { gone(); }", "drill_failed", "undefined function gone()"),
    "parse error": ("this is not php;", "drill_failed", "syntax error"),
    "exit": ("add_action('init', function () { exit; });", "drill_failed", "restored copy is empty"),
    "white page": (
        "add_action('template_redirect', function () { ob_start(function () { return ''; }); }, 0);",
        "drill_failed",
        "the front page of the restored copy is empty",
    ),
    "wp_die": ("add_action('init', function () { wp_die('go away'); });", "drill_failed", "answers 500: "),
    "half a page": (
        "add_action('wp_footer', function () { exit; });",
        "drill_failed",
        "the front page of the restored copy is not whole",
    ),
    "post gone": (
        "function gone() { return 'x'; } add_filter('the_title', 'gone'); add_filter('single_post_title', 'gone');",
        "drill_failed",
        "the newest post of the generation is not on its page",
    ),
    "redirect elsewhere": (
        "add_action('template_redirect', function () { wp_redirect('https://elsewhere.example/'); exit; });",
        "not_judged",
        "the front page of the restored copy sends its visitors elsewhere: https://elsewhere.example/",
    ),
    "login wanted": (
        "add_action('template_redirect', function () { auth_redirect(); });",
        "not_judged",
        "sends its visitors elsewhere",
    ),
    "live table": (LIVE_READ.format(p="wp_"), "not_judged", "the site names wp_posts by itself"),
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_a_generation_that_does_not_come_up_says_why(shared: Stage, trouble: str) -> None:
    code, word, said = TROUBLE[trouble]
    generation = await shared.backup_with(code)
    before = shared.live()
    story = await shared.drill(generation)
    assert (story.outcome, story.end.code, story.end.generation) == (Outcome.ROLLED_BACK, word, generation), story.end
    assert said in story.end.detail
    assert shared.live() == before
    assert shared.litter() == []


async def test_a_redirect_within_the_site_is_gone_after(shared: Stage) -> None:
    generation = await shared.backup_with(
        "add_action('template_redirect', function () {"
        " if (!isset($_GET['lang'])) {"
        " wp_redirect(add_query_arg('lang', 'ja', home_url($_SERVER['REQUEST_URI']))); exit; } });"
    )
    story = await shared.drill(generation)
    assert story.outcome is Outcome.DONE, story.end


WRITES = {
    "wpdb": "$wpdb->query(\"UPDATE wp_options SET option_value='owned' WHERE option_name='blogname'\");",
    "quotes": "$wpdb->query(\"UPDATE wp_options SET option_value=\\\"'\\\" WHERE option_name != '' AND '' = ''\");",
    "comment": "$wpdb->query(\"UPDATE /*! wp_options */ SET option_value='owned'\");",
    "backticks": "$wpdb->query('DELETE FROM `wp_posts`');",
    "with its schema": "$wpdb->query('DELETE FROM ' . DB_NAME . '.wp_posts');",
    "ddl": "$wpdb->query('DROP TABLE wp_comments');",
    "link": "mysqli_query($wpdb->dbh, \"UPDATE wp_options SET option_value='owned'\");",
    "many": "mysqli_multi_query($wpdb->dbh, 'SELECT 1; DELETE FROM wp_posts');",
    "prepared": "mysqli_prepare($wpdb->dbh, 'DELETE FROM wp_posts')->execute();",
}


async def test_live_tables_are_refused_by_whatever_way_they_are_named(shared: Stage) -> None:
    lines = "\n".join(f"try {{ {one} }} catch (Throwable $e) {{ $refused++; }}" for one in WRITES.values())
    code = (
        f"add_action('init', function () {{ global $wpdb; $refused = 0; {lines}\n"
        f'if ($refused !== {len(WRITES)}) {{ throw new Error("only $refused were refused"); }} }});'
    )
    generation = await shared.backup_with(code)
    before = shared.live()
    story = await shared.drill(generation)
    assert story.outcome is Outcome.DONE, story.end
    assert shared.live() == before


async def test_what_looks_like_a_live_table_and_is_none_goes_through(shared: Stage) -> None:
    generation = await shared.backup_with(
        "add_action('init', function () { global $wpdb;"
        " $text = $wpdb->get_var(\"SELECT 'it\\\\'s wp_posts' AS wp_posts_count\");"
        " if ($text !== \"it's wp_posts\") { throw new Error('text'); }"
        " update_option('mine', 'FROM wp_options'); add_option('noted', \"';wp_users\");"
        " if (get_option('mine') !== 'FROM wp_options') { throw new Error('staged tables take writes'); } });"
    )
    story = await shared.drill(generation)
    assert story.outcome is Outcome.DONE, story.end


async def test_the_child_cannot_leave_the_staged_copy(shared: Stage) -> None:
    root, outside = shared.site.root, shared.site.home / "owned"
    generation = await shared.backup_with(
        f"""add_action('init', function () {{
        $reached = [];
        foreach (['{root}/owned.txt', '{outside}', '/tmp/owned-by-drill', '{shared.state}/owned'] as $path) {{
            if (@file_put_contents($path, 'owned') !== false) {{ $reached[] = $path; }}
        }}
        if (@unlink('{root}/index.php') || @rename('{root}/wp-admin', '{root}/gone')) {{ $reached[] = 'root'; }}
        if (@touch('{root}/wp-login.php')) {{ $reached[] = 'login'; }}
        if (@file_get_contents('{root}/wp-config.php') !== false) {{ $reached[] = 'configuration'; }}
        foreach (['agent.lock', '../x', 'lock'] as $name) {{
            if (@file_get_contents("{shared.state}/$name") !== false) {{ $reached[] = $name; }}
        }}
        if (glob('{shared.state}/ops/*/journal')) {{ $reached[] = 'journals'; }}
        @symlink('{root}', WP_CONTENT_DIR . '/way');
        if (@file_put_contents(WP_CONTENT_DIR . '/way/owned.txt', 'owned') !== false) {{ $reached[] = 'link'; }}
        @exec('touch {root}/owned-by-exec'); @shell_exec('touch {root}/owned-by-shell');
        if (@proc_open(['touch', '{root}/owned-by-process'], [], $pipes)) {{ $reached[] = 'process'; }}
        if ($reached) {{ throw new Error('reached ' . implode(', ', $reached)); }}
        }});"""
    )
    before = shared.live()
    story = await shared.drill(generation)
    assert story.outcome is Outcome.DONE, story.end
    assert shared.live() == before


async def test_a_content_folder_that_is_a_link_out_of_the_root_stays_untouched(plain: Stage) -> None:
    content = plain.site.root / "wp-content"
    outside = plain.site.home / "shared-content"
    shutil.move(content, outside)
    content.symlink_to(outside)
    os.chown(content, plain.site.uid, plain.site.uid, follow_symlinks=False)
    generation = await plain.backup()
    before = plain.live()
    story = await plain.drill(generation)
    assert story.outcome is Outcome.DONE, story.end
    assert plain.live() == before
    content.unlink()
    shutil.move(outside, content)


async def test_what_the_configuration_of_the_site_defines_is_there(plain: Stage) -> None:
    source = plain.site.config_file.read_text()
    marked = source.replace("$table_prefix", "define('OF_THE_SITE', __DIR__);\n$table_prefix")
    plain.site.config_file.write_text(marked.replace("define( 'DISABLE_WP_CRON', true );", ""))
    generation = await plain.backup_with("if (!is_dir(OF_THE_SITE . '/wp-admin') || !DISABLE_WP_CRON) { exit; }")
    story = await plain.drill(generation)
    assert story.outcome is Outcome.DONE, story.end


@pytest.mark.parametrize("part", ["pack", "dump"])
async def test_a_damaged_generation_is_found_before_anything_starts(plain: Stage, part: str) -> None:
    generation = await plain.backup()
    folder = plain.state / "generations" / generation
    (pack,) = (plain.state / "packs").glob("*.tar")
    target = pack if part == "pack" else folder / "database.sql.gz"
    target.chmod(0o600)
    with target.open("r+b") as file:
        file.seek(target.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes((byte[0] ^ 0xFF,)))
    before = plain.live()
    story = await plain.drill(generation)
    assert (story.outcome, story.end.code) == (Outcome.ROLLED_BACK, "damaged"), story.end
    assert "boot" not in story.steps
    assert plain.live() == before
    assert plain.litter() == []


async def test_what_is_written_to_the_site_meanwhile_is_not_lost(plain: Stage) -> None:
    generation = await plain.backup_with("add_action('init', function () { sleep(1); });")

    async def write() -> None:
        for number in range(10):
            await asyncio.to_thread(
                plain.lab.sql,
                plain.site,
                f"INSERT INTO wp_options (option_name, option_value) VALUES ('meanwhile{number}', '1')",
            )
            (plain.site.root / "wp-content/uploads" / f"meanwhile{number}.txt").write_text("1")
            await asyncio.sleep(0.2)

    story, _ = await asyncio.gather(plain.drill(generation), write())
    assert story.outcome is Outcome.DONE, story.end
    (count,) = plain.lab.sql(plain.site, "SELECT COUNT(*) FROM wp_options WHERE option_name LIKE 'meanwhile%'")
    assert count == ("10",)
    assert len(list((plain.site.root / "wp-content/uploads").glob("meanwhile*"))) == 10


@pytest.mark.parametrize("step", STEPS)
async def test_a_killed_rehearsal_is_cleared_away_by_the_next_contact(shared: Stage, step: str) -> None:
    generation = await shared.backup_with("add_action('init', function () { sleep(1); });")
    before = shared.live()
    operation = ""
    async with contextlib.aclosing(shared.agent.launch("drill", {"generation": generation})) as lines:
        async for line in lines:
            if isinstance(line, Launched):
                operation = line.operation
            elif isinstance(line, Step) and line.name == step:
                for pid in shared.workers():
                    os.kill(pid, signal.SIGKILL)
    for _ in range(20):  # a child of the dead worker holds the lock until it has ended
        await shared.agent.recover()
        told = (await follow(shared.agent, operation)).events[-1]
        if isinstance(told, Finished):
            break
        await asyncio.sleep(0.2)
    assert isinstance(told, Finished)
    assert told.outcome in ({Outcome.ROLLED_BACK} if step != "drop" else {Outcome.ROLLED_BACK, Outcome.DONE})
    assert shared.live() == before
    assert shared.litter() == []
    assert shared.workers() == []


async def test_a_cancelled_rehearsal_leaves_nothing(shared: Stage) -> None:
    generation = await shared.backup()
    story = Story()
    async with contextlib.aclosing(shared.agent.launch("drill", {"generation": generation})) as lines:
        async for line in lines:
            if isinstance(line, Launched):
                story.operation = line.operation
            elif isinstance(line, Step) and line.name == "stage":
                assert await shared.agent.cancel(story.operation)
            elif isinstance(line, Finished):
                story.events.append(line)
    assert story.outcome is Outcome.CANCELLED
    assert shared.litter() == []
