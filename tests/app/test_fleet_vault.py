"""What `[vault]` promises: a wrong key, address or place is told before anything is sealed to it or sent there."""

from __future__ import annotations

import base64
import getpass
import pwd
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.fleet import load
from backends.sealing import recipient_problem
from tests.app.test_fleet import SITE, problems, put

AGE = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"
ED25519 = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))).decode()
S3 = '[vault]\nurl = "s3://bucket/prefix"\n'


def rsa_key(bits: int) -> str:
    key = rsa.generate_private_key(65537, bits).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def test_every_key_of_the_vault_is_read(tmp_path: Path) -> None:
    put(
        tmp_path,
        "fleet.toml",
        S3
        + 'endpoint = "https://s3.host.example"\nregion = "jp-north-1"\nprofile = "writer"\nprune_profile = "pruner"\n'
        f'ca_file = "~/ca.pem"\naddressing = "path"\nlock = "governance"\nlock_days = 400\n'
        f'recipients = ["{AGE}", "{ED25519} duty@agency", "{rsa_key(2048)}"]',
    )
    vault = load(tmp_path).settings.vault
    assert vault is not None
    assert (vault.url, vault.prune_profile, vault.lock, vault.lock_days) == (
        "s3://bucket/prefix",
        "pruner",
        "governance",
        400,
    )
    assert len(vault.recipients) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (S3.replace("bucket/", "-bucket/"), "vault.url: the bucket's name"),
        (S3.replace("bucket/", "buc..ket/"), "vault.url: the bucket's name"),
        (S3.replace("/prefix", "/a/../b"), "vault.url: the prefix"),
        (S3.replace("/prefix", "/a?x=1"), "vault.url: the prefix"),
        (S3.replace("/prefix", "/.hidden"), "vault.url: the prefix"),
        (S3 + 'endpoint = "https://s3.example/?x"', "vault.endpoint: "),
        (S3 + 'endpoint = "s3.example"', "vault.endpoint: "),
        (S3 + 'region = "Tokyo, Japan"', "vault.region: "),
        (S3 + 'addressing = "host"', "vault.addressing: "),
        (S3 + 'lock = "legal"', "vault.lock: "),
        (S3 + "lock_days = 0", "vault.lock_days: 0 is below 1"),
        (S3 + 'profile = "a"\nprune_profile = "a"', "vault.prune_profile: must not be profile"),
        (S3 + f'recipients = ["{AGE}", "{AGE}"]', "vault.recipients[2]: is the same as recipients[1]"),
        (S3 + f'recipients = ["{AGE[:-1]}"]', "vault.recipients[1]: is not a whole age public key"),
        ('[vault]\nurl = "file:///mnt/../etc"', "vault.url: must name a folder"),
        ('[vault]\nurl = "file:///"', "vault.url: must name a folder"),
        (
            '[vault]\nurl = "file:///mnt/x"\nendpoint = "https://s3.example"',
            "vault.endpoint: is of no use for a folder",
        ),
    ],
)
def test_an_impossible_vault_says_what_is_allowed(text: str, told: str, tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", text)
    found = problems(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f"fleet.toml: {told}")


def test_everything_wrong_with_the_vault_is_told_at_once(tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", S3.replace("/prefix", "/..") + 'region = "?"\nrecipients = ["a", "b"]')
    assert len(problems(tmp_path)) == 4


@pytest.mark.parametrize("key", [AGE, ED25519, f"{ED25519} duty@agency", rsa_key(2048), rsa_key(3072)])
def test_a_key_that_age_takes_is_taken(key: str) -> None:
    assert recipient_problem(key) is None


@pytest.mark.parametrize(
    "key",
    [
        *(AGE[:at] + ("q" if AGE[at] != "q" else "p") + AGE[at + 1 :] for at in range(4, len(AGE))),
        AGE.upper(), AGE[:-1], f"{AGE}q", AGE.replace("age1", "age1pq1"), "age1", "age1b",
        ED25519[:-5], ED25519.replace("ssh-ed25519", "ssh-rsa"), "ssh-ed25519", "ssh-ed25519 !",
        f"ecdsa-sha2-nistp256 {ED25519}",
        "me", "", "https://github.com/me.keys",
    ],
)  # fmt: skip
def test_a_key_that_nothing_could_be_sealed_to_is_refused(key: str) -> None:
    assert recipient_problem(key)


def test_an_rsa_key_that_is_too_short_is_refused() -> None:
    assert "2048" in (recipient_problem(rsa_key(1024)) or "")


@pytest.mark.parametrize(
    "secret", ["AGE-SECRET-KEY-1HUNTER2", "age-secret-key-1hunter2", "-----BEGIN OPENSSH PRIVATE KEY----- hunter2"]
)
def test_a_secret_key_among_the_recipients_is_told_and_not_repeated(secret: str, tmp_path: Path) -> None:
    put(tmp_path, "fleet.toml", S3 + f'recipients = ["{secret}"]')
    found = problems(tmp_path)
    assert len(found) == 1
    assert "secret key" in found[0]
    assert "hunter2" not in found[0].lower()


# ---------------------------------------------------------------- a vault that an attacker of the site reaches


def here(
    tmp_path: Path, vault: str, *, host: str = "localhost", root: str = "/srv/kogyo/public_html", state: str = ""
) -> Path:
    site = SITE.replace("sv1.host.example", host).replace("~/public_html", root)
    site = site.replace('user = "kogyo"', f'user = "{getpass.getuser()}"')
    if state:
        site = site.replace("[policy]", f'state = "{state}"\n[policy]')
    put(tmp_path, "sites.d/kogyo.example.toml", site)
    put(tmp_path, "fleet.toml", f'[vault]\nurl = "file://{vault}"')
    return tmp_path


@pytest.mark.parametrize(
    ("vault", "told"),
    [
        ("/srv/kogyo/public_html", "lies in the document root"),
        ("/srv/kogyo/public_html/wp-content/backup", "lies in the document root"),
        ("/srv/kogyo", "holds the document root"),
        ("/srv", "holds the document root"),
        ("/var/state/kogyo.example/vault", "lies in the state folder"),
        ("/var/state", "holds the state folder"),
    ],
)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3"])
def test_a_vault_in_or_above_a_site_of_this_machine_is_refused(
    tmp_path: Path, vault: str, told: str, host: str
) -> None:
    found = problems(here(tmp_path, vault, host=host, state="/var/state"))
    assert len(found) == 1
    assert found[0].startswith(f"fleet.toml: vault.url: {told} of kogyo.example (sites.d/kogyo.example.toml)")


def test_a_vault_beside_a_site_and_one_of_another_machine_are_taken(tmp_path: Path) -> None:
    assert load(here(tmp_path, "/srv/kogyo-vault")).settings.vault
    assert load(here(tmp_path, "/srv/kogyo", host="sv1.host.example")).settings.vault


def test_a_symlink_does_not_hide_whose_ground_it_is(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "site")
    config = tmp_path / "config"
    found = problems(here(config, f"{tmp_path}/elsewhere/vault", root=f"{tmp_path}/site"))
    assert "lies in the document root" in found[0]


def test_a_home_folder_is_looked_up(tmp_path: Path) -> None:
    home = pwd.getpwnam(getpass.getuser()).pw_dir
    assert "lies in the document root" in problems(here(tmp_path, f"{home}/public_html/x", root="~/public_html"))[0]
    assert "holds the state folder" in problems(here(tmp_path, f"{home}/.modoseru"))[0]
