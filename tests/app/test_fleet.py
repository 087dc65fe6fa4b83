"""What the configuration promises: everything wrong is told at once, nothing is half written."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from app.fleet import BadConfig, CannotWrite, Fleet, default_folder, load, remove_site, write_site
from app.fleet_validation import meaning, read_record
from backends.records import (
    ClientInfo,
    DatabaseSettings,
    DomainSettings,
    FleetFile,
    HostPage,
    ModoseruError,
    Policy,
    Renewal,
    ServerSettings,
    Site,
    SshSettings,
    WebSettings,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Ef2mLZ0q5n8gV1W3E7v3Jg1b8j4v9l6r0b1q2c3d4"
FLEET = """
[fleet]
name = "Web agency"
timezone = "Asia/Tokyo"
[policy]
server_keep = 10
update_window = "Mon-Thu 10:00-16:00"
freeze = ["2026-12-28/2027-01-05"]
[vault]
url = "s3://bucket/prefix"
recipients = ["age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"]
[domains]
whois = { jp = "whois.registry.example:43" }
[[people]]
name = "duty A"
"""
SITE = f"""
name = "kogyo.example"
url = "https://www.kogyo.example/"
tags = ["shop"]
[ssh]
host = "sv1.host.example"
user = "kogyo"
host_key = "{KEY}"
[server]
root = "~/public_html"
[policy]
vault_every = "1w"
[domain]
expires = 2027-03-31
[[renewals]]
what = "server plan"
due = 2027-04-30
"""


def put(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def problems(folder: Path) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        load(folder)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    assert all(problem in caught.value.message for problem in caught.value.problems)
    assert not any("\n" in problem or "\x1b" in problem for problem in caught.value.problems)
    return list(caught.value.problems)


def site(name: str = "kogyo.example", **changes: Any) -> Site:
    known: dict[str, Any] = {
        "name": name,
        "url": f"https://{name}/",
        "ssh": SshSettings(host="sv1.host.example", user="kogyo"),
        "server": ServerSettings(root=f"~/{name}"),
    }
    return Site(**(known | changes))


# ---------------------------------------------------------------- reading


def test_a_whole_configuration_is_read_into_records(tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", FLEET)
    put(tmp_path, "sites.d/kogyo.example.toml", SITE)
    put(tmp_path, "sites.d/abc.example.toml", SITE.replace("kogyo.example", "abc.example").replace("~/p", "~/other/p"))
    put(tmp_path, "hosts.d/sv1.host.example.toml", 'panel = "https://panel.host.example/"')
    fleet = load(tmp_path)
    assert [found.name for found in fleet.sites] == ["abc.example", "kogyo.example"]
    assert fleet.settings.fleet.timezone == "Asia/Tokyo"
    assert fleet.settings.domains.whois == {"jp": "whois.registry.example:43"}
    assert fleet.hosts == {"sv1.host.example": HostPage(panel="https://panel.host.example/")}
    kogyo = fleet.site("kogyo.example")
    assert kogyo.domain.expires == dt.date(2027, 3, 31)
    assert kogyo.renewals == (Renewal(what="server plan", due=dt.date(2027, 4, 30)),)
    assert fleet.hint == ""


def test_a_sites_policy_lies_over_the_fleets_key_by_key(tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", FLEET)
    put(tmp_path, "sites.d/kogyo.example.toml", SITE)
    policy = load(tmp_path).site("kogyo.example").policy
    assert (policy.vault_every, policy.server_keep, policy.drill_every) == ("1w", 10, Policy().drill_every)


def test_no_folder_is_an_empty_fleet_that_says_what_to_do(tmp_path: Path) -> None:
    fleet = load(tmp_path / "nothing")
    assert fleet == Fleet(folder=tmp_path / "nothing", hint="there is no site yet: modoseru site add")
    assert not (tmp_path / "nothing").exists()


def test_no_fleet_file_means_the_defaults(tmp_path: Path) -> None:
    put(tmp_path, "sites.d/kogyo.example.toml", SITE)
    assert load(tmp_path).settings == FleetFile()


def test_editors_leavings_are_not_read(tmp_path: Path) -> None:
    put(tmp_path, "sites.d/.kogyo.example.toml", "broken [")
    put(tmp_path, "sites.d/kogyo.example.toml~", "broken [")
    assert load(tmp_path).sites == ()


def test_the_folder_is_the_one_named_or_the_platforms_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODOSERU_CONFIG", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("MODOSERU_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert default_folder().name == "modoseru"


def test_a_site_that_does_not_exist_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    put(tmp_path, "sites.d/kogyo.example.toml", SITE)
    with pytest.raises(ModoseruError) as caught:
        load(tmp_path).site("kogio.example")
    assert (caught.value.code, caught.value.exit_code) == ("site_unknown", 2)
    assert caught.value.hint == "did you mean kogyo.example?"


# ---------------------------------------------------------------- what is wrong


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", '[fleet]\nnme = "x"\ntimezone = 9\n[policy]\nserver_keep = 0\n[[people]]\nphone = 1\n')
    put(tmp_path, "sites.d/a.example.toml", SITE.replace("kogyo.example", "a.example") + "\n[server]\n")
    put(
        tmp_path,
        "sites.d/b.example.toml",
        'name = "b.example"\nurl = "www"\ncover = "all"\ntags = "shop"\nhost = "x"\n'
        '[ssh]\nhost = "h"\nuser = "u"\nport = 99999\n[server]\ncpu = 0\nattached = 1\n',
    )
    put(tmp_path, "hosts.d/sv1.toml", "panel = 3\n")
    told = problems(tmp_path)
    assert told == [
        "fleet.toml: fleet.nme: unknown key; did you mean name?",
        "fleet.toml: fleet.timezone: is a number; text in quotes is expected",
        "fleet.toml: policy.server_keep: 0 is below 1",
        "fleet.toml: people[1].name: is missing",
        "fleet.toml: people[1].phone: is a number; text in quotes is expected",
        next(line for line in told if line.startswith("sites.d/a.example.toml: line ")),
        "sites.d/b.example.toml: host: unknown key; it belongs in [ssh]",
        (
            'sites.d/b.example.toml: url: "www" is not allowed; an address such as https://www.kogyo.example/ '
            "without user or password is expected"
        ),
        "sites.d/b.example.toml: ssh.port: 99999 is above 65535",
        "sites.d/b.example.toml: server.root: is missing",
        "sites.d/b.example.toml: server.cpu: 0 is not above 0",
        "sites.d/b.example.toml: server.attached: is a number; true or false is expected",
        'sites.d/b.example.toml: cover: "all" is not allowed; one of included, quote is expected',
        "sites.d/b.example.toml: tags: is text; a list is expected",
        "hosts.d/sv1.toml: panel: is a number; text in quotes is expected",
    ]


def test_what_could_be_read_is_there_beside_the_problems(tmp_path: Path) -> None:
    put(tmp_path, "sites.d/kogyo.example.toml", SITE)
    put(tmp_path, "sites.d/b.toml", "name = 1")
    with pytest.raises(BadConfig) as caught:
        load(tmp_path)
    assert caught.value.sound is not None
    assert [found.name for found in caught.value.sound.sites] == ["kogyo.example"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('[fleet]\ntimezone = "Asia/Osaka"', 'fleet.timezone: "Asia/Osaka" is not a time zone'),
        ('[fleet]\ntimezone = "../../etc/passwd"', "is not a time zone"),
        ('[fleet]\nlanguage = "fr"', "one of ja, en is expected"),
        ('[policy]\nserver_every = "weekly"', "a duration such as 12h, 7d, 1w or 1mo is expected"),
        ('[policy]\nupdate_window = "always"', 'policy.update_window: "always" is not a window'),
        ('[policy]\nupdate_window = "Mon-Thu 10:00-25:00"', "is not a window"),
        ('[policy]\nupdate_window = "Mon 10:00-10:00"', "is not a window"),
        ('[policy]\nfreeze = ["new year"]', 'policy.freeze[1]: "new year" is not a period'),
        ('[policy]\nfreeze = ["2026-02-30"]', "is not a period"),
        ('[policy]\nfreeze = ["2026-12-28", "2027-01-05/2026-12-28"]', "policy.freeze[2]: "),
        ('[vault]\nlock = "none"', "vault.url: is missing"),
        ('[vault]\nurl = "ftp://x/"', "s3://bucket/prefix or file:///folder is expected"),
        ('[vault]\nurl = "file:///mnt"\nrecipients = ["me"]', "vault.recipients[1]: is neither an age1"),
        ("policy = 3", "policy: is a number; a table is expected"),
        ("people = {}", "people: is a table; a list is expected"),
        ('[wordpress]\napi = "http://api.wordpress.org"', "is not https"),
        ('[wordpress]\napi = "ftp://x"', "wordpress.api: "),
        ('[updates]\nfeed = "http://www.wordfence.com/api"', "updates.feed: "),
        ('[updates]\nfeed = "feeds/wordfence.json"', "neither https://… nor the path of a file"),
        ('[updates]\nfeed = "https://me:secret@feed.example/"', "a token belongs into MODOSERU_WORDFENCE_TOKEN"),
        ('[updates]\nfeed = "https://feed.example/?token=a"', "a token belongs into MODOSERU_WORDFENCE_TOKEN"),
        ('[updates]\nfeed = "https://feed.example:0/"', "is not an address that can be asked"),
        ('[updates]\nfeed = "https://[feed/"', "is not an address that can be asked"),
        ('[updates]\nca_file = "ca.pem"', "updates.ca_file: is of no use without updates.feed"),
        ('[updates]\nfeed = "/srv/feed.json"\nca_file = "ca.pem"', "updates.ca_file: is of no use for a file"),
        ('[updates]\ntoken = "a"', "updates.token: "),
        ('[wordpress]\ndownloads = "http://downloads.wordpress.org"', "is not https"),
        ('[[checksums.ignore]]\npath = "akismet/../x"\nwhy = "ours"', "checksums.ignore[1].path: "),
        ('[[checksums.ignore]]\npath = "akismet"', "why"),
        ('[domains]\nresolver = "dns.example:53"', "domains.resolver: "),
        ('[domains]\nresolver = "127.0.0.999:53"', "domains.resolver: 127.0.0.999 is not an address"),
        ('[domains]\nresolver = "127.0.0.1:70000"', "domains.resolver: the port 70000 is not between 1 and 65535"),
        ("[domains]\nwhois = [1]", "domains.whois: is a list; a table is expected"),
        ("[domains]\nwhois = { jp = 43 }", "domains.whois.jp: is a number; text in quotes is expected"),
    ],
)
def test_an_impossible_value_of_the_fleet_says_what_is_allowed(line: str, told: str, tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", line)
    found = problems(tmp_path)
    assert len(found) == 1
    assert found[0].startswith("fleet.toml: ")
    assert told in found[0]


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ("~/public_html", "public_html", "server.root: "),
        ("~/public_html", "/", "server.root: "),
        ("~/public_html", "~/a/../../b", "server.root: must not contain .."),
        ('user = "kogyo"', 'user = "ko gyo"', "ssh.user: "),
        ('user = "kogyo"', 'user = "kogyo"\njump = "gate.example"', "ssh.jump_host_key: is missing"),
        ('user = "kogyo"', f'user = "kogyo"\njump_host_key = "{KEY}"', "ssh.jump: is missing"),
        ('user = "kogyo"', f'user = "kogyo"\njump = "gate:99999"\njump_host_key = "{KEY}"', "ssh.jump: the port 99999"),
        (KEY, "SHA256:abc", "ssh.host_key: is not a public key"),
        (KEY, KEY.replace("ssh-ed25519", "ssh-rsa"), "ssh.host_key: is not a public key"),
        ("expires = 2027-03-31", "expires = 2027-03-31T00:00:00Z", "domain.expires: is a date with a time; a date"),
        ("expires = 2027-03-31", 'expires = "soon"', "domain.expires: is text; a date such as 2027-03-31"),
        ("due = 2027-04-30", 'due = 2027-04-30\nstate = "lost"', "renewals[1].state: "),
        ('vault_every = "1w"', "server_keep = -1", "policy.server_keep: -1 is below 1"),
        ('vault_every = "1w"', 'update_window = "x"', "policy.update_window: "),
        ("[domain]", '[web]\nconnect = "127.0.0.1:99999"\n[domain]', "web.connect: the port 99999"),
        ("[domain]", '[web]\nconnect = "nowhere"\n[domain]', "web.connect: "),
        *(
            ("[domain]", f'[[web.journey]]\nname = "j"\n{journey}\n[domain]', f"web.journey[1]{told}")
            for journey, told in (
                ("step = []", ".step: has 0 entries; at least 1 is expected"),
                ("step = [" + '{get = "/"},' * 13 + "]", ".step: has 13 entries; at most 12 are allowed"),
                ("[[web.journey.step]]", ".step[1]: either get or post is expected"),
                ('step = [{get = "/", post = "/"}]', ".step[1]: either get or post is expected"),
                ('step = [{get = "//x.example/"}]', '.step[1]: "//x.example/" is not below the site\'s URL'),
                ('step = [{get = "/../x"}]', '.step[1]: "/../x" is not below the site\'s URL'),
                ('step = [{get = "/", form = {a = "1"}}]', ".step[1]: form and hidden are of no use without post"),
                ('step = [{post = "/", form = {a = "1"}, hidden = true}]', ".step[1].hidden: a step before it"),
                ('step = [{get = "/", status = 99}]', ".step[1].status: 99 is below 100"),
                ('step = [{get = "/", wait = 1}]', ".step[1].wait: "),
            )
        ),
    ],
)
def test_an_impossible_value_of_a_site_says_what_is_allowed(then: str, now: str, told: str, tmp_path: Path) -> None:
    assert then in SITE
    put(tmp_path, "sites.d/kogyo.example.toml", SITE.replace(then, now))
    found = problems(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f"sites.d/kogyo.example.toml: {told}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[fleet]\nname = \n", "fleet.toml: line 2, column 8: Invalid value"),
        (b"a = 1\na = 2", "fleet.toml: end of document: Cannot overwrite a value"),
        (b"[fleet]\nname = '\xff'", "fleet.toml: line 2: is not UTF-8"),
        (b"a = " + b"[" * 100_000, "fleet.toml: is nested too deeply"),
        (b"#" * (1024 * 1024 + 1), "fleet.toml: is larger than 1 MiB"),
        (b"name = '\x1b]52;c;x\x07'", "fleet.toml: line 1, column 9"),
        (b"[policy]\nserver_keep = 1" + b"0" * 5000, "fleet.toml: "),
    ],
)
def test_a_file_that_is_no_toml_names_its_line(content: bytes, told: str, tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", content)
    (found,) = problems(tmp_path)
    assert found.startswith(told)
    assert len(found) < 300


def test_a_windows_editors_mark_and_line_ends_are_welcome(tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", b'\xef\xbb\xbf[fleet]\r\nname = "x"\r\n')
    assert load(tmp_path).settings.fleet.name == "x"


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "nowhere"])
def test_what_is_not_a_file_is_told_and_never_waited_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "sites.d" / "a.toml"
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "loop" else tmp_path / "nothing")
    (found,) = problems(tmp_path)
    assert found.startswith("sites.d/a.toml: ")


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path) -> None:
    assert "is not a folder" in problems(put(tmp_path, "config", ""))[0]
    put(tmp_path, "sites.d", "")
    assert problems(tmp_path) == ["sites.d: not a directory"]


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that everybody may enter, while this process is nobody, for whom permissions count."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    root = os.geteuid() == 0
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


def become_nobody() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


def test_a_file_that_may_not_be_read_is_told(unprivileged: Path) -> None:
    put(unprivileged, "fleet.toml", FLEET).chmod(0)
    become_nobody()
    assert problems(unprivileged) == ["fleet.toml: permission denied"]


def test_a_folder_that_may_not_be_entered_is_told_and_never_taken_for_an_empty_fleet(unprivileged: Path) -> None:
    put(unprivileged, "closed/config/sites.d/kogyo.example.toml", SITE)
    (unprivileged / "closed" / "config" / "sites.d").chmod(0)
    become_nobody()
    assert problems(unprivileged / "closed" / "config") == ["sites.d: permission denied"]
    if os.getuid() == 0:
        os.seteuid(0)
    (unprivileged / "closed").chmod(0)
    become_nobody()
    assert "permission denied" in problems(unprivileged / "closed" / "config")[0]
    if os.getuid() == 0:
        os.seteuid(0)
    (unprivileged / "closed").chmod(0o700)
    (unprivileged / "closed" / "config" / "sites.d").chmod(0o700)


def test_a_folder_that_may_not_be_written_is_told_in_one_line(unprivileged: Path) -> None:
    (unprivileged / "sites.d").mkdir()
    (unprivileged / "sites.d").chmod(0o555)
    become_nobody()
    with pytest.raises(CannotWrite) as caught:
        write_site(unprivileged, site())
    assert (caught.value.code, caught.value.message) == (
        "config_unwritable",
        "sites.d/kogyo.example.toml: permission denied",
    )


def test_a_switch_of_php_without_a_way_back_or_with_a_slip_is_told(tmp_path: Path) -> None:
    put(tmp_path, "hosts.d/sv1.host.example.toml", '[runtime.php]\nswitch = ["panel", "{vesrion}"]')
    put(tmp_path, "hosts.d/sv2.host.example.toml", '[runtime.php]\nback = ["panel", "{version}"]')
    with pytest.raises(BadConfig) as refused:
        load(tmp_path)
    slip = "runtime.php.switch: {vesrion} means nothing; {php}, {version} and {site} do"
    assert set(refused.value.problems) == {
        f"hosts.d/sv1.host.example.toml: {slip}",
        "hosts.d/sv1.host.example.toml: runtime.php.back: is missing; switch and back go together",
        "hosts.d/sv2.host.example.toml: runtime.php.switch: is missing; switch and back go together",
    }


def test_a_standby_that_is_no_site_of_the_fleet_is_told(tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", '[policy]\nstandby = "spare.example"\n')
    put(tmp_path, "sites.d/kogyo.example.toml", SITE)
    assert problems(tmp_path) == ['fleet.toml: policy.standby: "spare.example" is not a site of the fleet']
    put(tmp_path, "fleet.toml", "")
    put(tmp_path, "sites.d/kogyo.example.toml", SITE.replace("[policy]\n", '[policy]\nstandby = "spare.example"\n'))
    told = 'sites.d/kogyo.example.toml: policy.standby: "spare.example" is not a site of the fleet'
    assert problems(tmp_path) == [told]
    put(tmp_path, "sites.d/kogyo.example.toml", SITE.replace("[policy]\n", '[policy]\nstandby = "kogyo.example"\n'))
    assert load(tmp_path).site("kogyo.example").policy.standby == "kogyo.example"


def test_sites_that_stand_in_each_others_way_are_told(tmp_path: Path) -> None:
    put(tmp_path, "sites.d/kogyo.example.toml", SITE)
    put(tmp_path, "sites.d/two.example.toml", SITE)
    put(tmp_path, "sites.d/Three.toml", SITE.replace('"kogyo.example"', '"Three"').replace("~/public_html", "~//x/"))
    put(tmp_path, "sites.d/three.toml", SITE.replace('"kogyo.example"', '"three"').replace("~/public_html", "~/x"))
    told = problems(tmp_path)
    assert told == [
        'sites.d/two.example.toml: name: "kogyo.example" is not the file\'s name; the file must be kogyo.example.toml',
        'sites.d/three.toml: name: "three" is also the name in sites.d/Three.toml',
        'sites.d/three.toml: server.root: "~/x" of this account is also the root in sites.d/Three.toml',
        'sites.d/two.example.toml: name: "kogyo.example" is also the name in sites.d/kogyo.example.toml',
        (
            'sites.d/two.example.toml: server.root: "~/public_html" of this account is also the root in '
            "sites.d/kogyo.example.toml"
        ),
    ]


@pytest.mark.parametrize(
    "text",
    [
        '[notify]\nurls = ["slack://hunter2/", 7]',
        '[notify]\nurls = "slack://hunter2/"',
        '[vault]\nurl = "s3://u:hunter2@bucket"',
        '[vault]\nurl = "s3://bucket"\nendpoint = "https://u:hunter2@x/"',
        '[vault]\nurl = "s3://bucket"\nsecret_key = "hunter2"',
        '[vault]\nurl = "s3://bucket"\nlock_days = "hunter2"',
    ],
)
def test_no_message_repeats_a_secret(text: str, tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", text)
    assert "hunter2" not in " ".join(problems(tmp_path))


def test_a_private_key_pasted_into_the_file_is_told_and_not_repeated(tmp_path: Path) -> None:
    pasted = 'user = "kogyo"\nkey = """-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"""'
    put(tmp_path, "sites.d/kogyo.example.toml", SITE.replace('user = "kogyo"', pasted))
    assert problems(tmp_path) == [
        "sites.d/kogyo.example.toml: ssh.key: holds a key; the name of a key file is expected"
    ]


def test_hostile_text_is_made_visible_wherever_it_stands(tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", '"a\\u001b[2J\\u202e" = 1\n[fleet]\nlanguage = "\\u001b]0;x\\u0007"\n')
    put(tmp_path, "sites.d/\x1b[2J.toml", "x = 1")
    told = " ".join(problems(tmp_path))
    assert "\\x1b[2J" in told
    assert "\u202e" not in told


def test_every_pattern_of_the_records_has_words_for_it() -> None:
    def patterns(info: Any) -> set[str]:
        if isinstance(info, inspect.StructType):
            return set().union(*(patterns(field.type) for field in info.fields))
        if isinstance(info, inspect.UnionType):
            return set().union(*(patterns(option) for option in info.types))
        if isinstance(info, inspect.VarTupleType):
            return patterns(info.item_type)
        if isinstance(info, inspect.DictType):
            return patterns(info.value_type)
        return {info.pattern} if isinstance(info, inspect.StrType) and info.pattern else set()

    for kind in (FleetFile, Site, HostPage):
        for pattern in patterns(inspect.type_info(kind)):
            assert meaning(pattern) != "another form", pattern


toml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    key=st.sampled_from(["name", "url", "ssh", "server", "policy", "tags", "renewals", "web", "domain", "cover", "x"]),
    value=toml_values.filter(lambda value: value is not None),
)
def test_whatever_stands_where_it_should_not_the_answer_is_a_sentence(key: str, value: Any) -> None:
    data: dict[str, Any] = {
        "name": "a",
        "url": "https://a/",
        "ssh": {"host": "h", "user": "u"},
        "server": {"root": "~/a"},
        key: value,
    }
    told: list[str] = []
    if read_record(Site, data, "f", told) is None:
        assert told
        assert not any("is not declared" in line or "\n" in line for line in told)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('password_command = ["a"]\npassword = "s3cret"', "server.database.password: unknown key"),
        ("", "server.database.password_command: is missing"),
        ("password_command = []", "server.database.password_command: is empty"),
        ('password_command = ["a"]\nhost = ""', "server.database.host: "),
    ],
)
def test_a_database_s_password_comes_from_a_command_and_from_nowhere_else(
    tmp_path: Path, table: str, told: str
) -> None:
    text = tomli_w.dumps({"name": "a.example", "url": "https://a.example/", "ssh": {"host": "h", "user": "u"}})
    text += f'[server]\nroot = "~/a"\n[server.database]\nname = "n"\nuser = "u"\n{table}\n'
    put(tmp_path, "sites.d/a.example.toml", text)
    with pytest.raises(BadConfig) as wrong:
        load(tmp_path)
    (problem,) = wrong.value.problems
    assert problem.startswith(f"sites.d/a.example.toml: {told}")
    assert "s3cret" not in problem


# ---------------------------------------------------------------- writing


FULL = site(
    owner="duty A",
    cover="quote",
    tags=("shop", "日本語"),
    read_only=True,
    client=ClientInfo(name="工業株式会社", contact="a@b.example", contract_from=dt.date(2020, 4, 1)),
    ssh=SshSettings(
        host="sv1.host.example",
        port=10022,
        user="kogyo",
        key="~/.ssh/id",
        password_command=("pass", "show", 'it\'s "quoted"'),
        jump="me@gate:2222",
        jump_host_key=KEY,
        host_key=KEY,
    ),
    server=ServerSettings(
        root="~/public_html",
        php="/usr/bin/php8.2",
        files_max=10,
        cpu=0.5,
        exclude=("cache/*",),
        database=DatabaseSettings(name="wp", user="u", host="h:/run/s", password_command=("pass", "db")),
    ),
    web=WebSettings(connect="[::1]:8443"),
    domain=DomainSettings(expires=dt.date(2027, 3, 31)),
    renewals=(Renewal(what="plan", due=dt.date(2027, 4, 30)), Renewal(what="x", due=dt.date(2028, 1, 1), auto=True)),
    policy=Policy(vault_every="1w", freeze=("2026-12-28/2027-01-05",)),
)


@pytest.mark.parametrize("written", [site(), FULL])
def test_a_written_site_is_read_back_the_same(written: Site, tmp_path: Path) -> None:
    path = write_site(tmp_path, written)
    assert load(tmp_path).sites == (written,)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == [f"{written.name}.toml"]


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", "[policy]\nserver_keep = 10")
    text = write_site(tmp_path, site(policy=Policy(server_keep=10, vault_keep=3))).read_text()
    assert "server_keep" not in text
    assert "vault_keep = 3" in text
    assert "port" not in text
    assert load(tmp_path).site("kogyo.example").policy == Policy(server_keep=10, vault_keep=3)


def test_a_site_that_has_left_the_fleets_value_for_the_default_keeps_it(tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", "[policy]\nserver_keep = 10")
    write_site(tmp_path, site(policy=Policy(server_keep=8)))
    assert load(tmp_path).site("kogyo.example").policy.server_keep == 8


def test_an_existing_file_is_never_overwritten_unasked(tmp_path: Path) -> None:
    path = write_site(tmp_path, site())
    before = path.read_bytes()
    with pytest.raises(CannotWrite) as caught:
        write_site(tmp_path, site(owner="B"))
    assert (caught.value.code, caught.value.exit_code) == ("site_exists", 2)
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1
    write_site(tmp_path, site(owner="B"), overwrite=True)
    assert load(tmp_path).site("kogyo.example").owner == "B"


def test_a_site_that_would_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BadConfig) as caught:
        write_site(tmp_path, site("../../evil", server=ServerSettings(root="relative")))
    assert "name: " in caught.value.message
    with pytest.raises(BadConfig):
        write_site(tmp_path, site(server=ServerSettings(root="relative")))
    assert not (tmp_path / "sites.d").exists()


def test_a_reader_meets_the_old_file_or_the_new_never_a_piece(tmp_path: Path) -> None:
    write_site(tmp_path, site())
    stop = threading.Event()

    def rewrite() -> None:
        for number in range(200):
            write_site(tmp_path, site(owner=f"duty {number}" * 50), overwrite=True)
        stop.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not stop.is_set():
        assert len(load(tmp_path).sites) == 1
    writer.join()


def test_a_folder_that_takes_no_file_is_told_in_one_line(tmp_path: Path) -> None:
    put(tmp_path, "sites.d", "")
    with pytest.raises(CannotWrite) as caught:
        write_site(tmp_path, site())
    assert caught.value.code in {"config_unwritable", "site_exists"}


def test_a_removed_site_is_gone_and_an_unknown_one_is_answered_with_the_nearest(tmp_path: Path) -> None:
    write_site(tmp_path, site())
    with pytest.raises(CannotWrite) as caught:
        remove_site(tmp_path, "kogio.example")
    assert (caught.value.code, caught.value.hint) == ("site_unknown", "did you mean kogyo.example?")
    with pytest.raises(CannotWrite):
        remove_site(tmp_path, "../fleet")
    remove_site(tmp_path, "kogyo.example")
    assert load(tmp_path).sites == ()


@pytest.mark.bench
def test_a_thousand_sites_load_in_well_under_a_second(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import time

    put(tmp_path, "fleet.toml", FLEET)
    for number in range(1000):
        name = f"site{number}.example"
        put(tmp_path, f"sites.d/{name}.toml", SITE.replace("kogyo.example", name).replace("public_html", name))
    start = time.perf_counter()
    fleet = load(tmp_path)
    took = time.perf_counter() - start
    assert len(fleet.sites) == 1000
    with capsys.disabled():
        print(f"\nload of 1,000 sites: {took * 1000:.0f} ms")
