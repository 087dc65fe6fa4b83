"""The lab's unprivileged users: made, and removed, by useradd and userdel."""

from __future__ import annotations

import contextlib
import grp
import pwd
import shutil
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.lab.layout import Layout, State, write_atomically
from tests.lab.packages import php_version
from tests.lab.sites import ACCOUNTS, AccountPlan

# What an awkward account finds on PATH: everyday tools, but no setsid, mysql, mysqldump or newer PHP.
AWKWARD_TOOLS = (
    "awk basename bash cat chmod cmp cp cut date dd df dirname du echo env expr false find grep gunzip gzip head id "
    "kill ln ls mkdir mktemp mv nice nohup printf ps pwd readlink rm rmdir sed sh sleep sort stat sync tail tar tcsh "
    "tee test touch tr true uname wc which whoami xargs zcat"
)

OLD_PHP = """#!/bin/sh
# An old PHP, as hosts leave one first on PATH: says its version and refuses everything else.
case "$*" in
  *-v|*--version) echo "PHP 7.4.33 (cli) (built: Nov  8 2022 11:40:37) ( NTS )"
    echo "Copyright (c) The PHP Group"
    echo "Zend Engine v3.4.0, Copyright (c) Zend Technologies" ;;
  *PHP_VERSION*) printf 7.4.33 ;;
  *) echo "This PHP 7.4 only serves old scripts of this host." >&2; exit 255 ;;
esac
"""

TCSHRC = """# ~/.tcshrc
set prompt = "%n@%m:%~%# "
set history = 1000
set autolist
set nobeep
alias ll ls -la
setenv LANG ja_JP.UTF-8
setenv EDITOR vi
set path = ({host}/old/bin {host}/bin)
umask 022
echo "ようこそ! Welcome to sv3.host.example"
"""


def account_name(layout: Layout, plan: AccountPlan) -> str:
    return f"mdsr-{plan.key}{layout.suffix}"


def make_keys(layout: Layout) -> None:
    """An ed25519 key for the host and for each account, kept from start to start."""
    for name in ("host", *(plan.key for plan in ACCOUNTS)):
        file = layout.keys / name
        if file.exists():
            continue
        key = ed25519.Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        write_atomically(file.with_name(f"{name}.pub"), public + b"\n", 0o644)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        write_atomically(file, secret, 0o600)


def make_host_tools(layout: Layout) -> None:
    """What the awkward host offers: an old PHP and few tools on PATH, the right PHP by its full path alone."""
    tools = layout.host / "bin"
    tools.mkdir(exist_ok=True)
    for tool in AWKWARD_TOOLS.split():
        place = shutil.which(tool, path="/usr/bin:/bin")
        link = tools / tool
        if place and not link.is_symlink():
            link.symlink_to(place)
    old = layout.host / "old" / "bin"
    old.mkdir(parents=True, exist_ok=True)
    write_atomically(old / "php", OLD_PHP.encode(), 0o755)
    right = right_php(layout)
    right.parent.mkdir(parents=True, exist_ok=True)
    if not right.is_symlink():
        right.symlink_to(f"/usr/bin/php{php_version()}")


def right_php(layout: Layout) -> Path:
    return layout.host / "php" / php_version() / "bin" / "php"


def make_account(layout: Layout, state: State, plan: AccountPlan) -> int:
    """The user, without its home; its uid. A user that a new machine lost gets its old uid back where that is free."""
    name, home = account_name(layout, plan), layout.homes / plan.key
    known = _known(layout, plan)
    if known is None:
        remove_account(name)
        shell = "/bin/tcsh" if plan.awkward else "/bin/bash"
        uid = ["-u", str(state.uids[plan.key])] if _is_free(state.uids.get(plan.key)) else []
        # "*", not useradd's "!": without PAM sshd refuses locked accounts.
        command = ["/usr/sbin/useradd", *uid, "-U", "-d", str(home), "-M", "-s", shell, "-p", "*", name]
        subprocess.run(command, check=True)
        known = pwd.getpwnam(name).pw_uid
    if plan.password:
        word = state.passwords[f"ssh:{plan.key}"]
        done = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=word, capture_output=True, text=True, check=True
        )
        subprocess.run(["/usr/sbin/usermod", "-p", done.stdout.strip(), name], check=True)
        (layout.keys / f"{plan.key}.password").write_text(word + "\n")
    return known


def known_uids(layout: Layout) -> list[int]:
    """Of the accounts that this lab has made, and of nobody else."""
    return [uid for plan in ACCOUNTS if (uid := _known(layout, plan)) is not None]


def _known(layout: Layout, plan: AccountPlan) -> int | None:
    try:
        found = pwd.getpwnam(account_name(layout, plan))
    except KeyError:
        return None
    return found.pw_uid if found.pw_dir == str(layout.homes / plan.key) else None


def _is_free(uid: int | None) -> bool:
    if uid is None:
        return False
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}
    return uid not in taken


def make_home(layout: Layout, plan: AccountPlan) -> None:
    name, home = account_name(layout, plan), layout.homes / plan.key
    (home / ".ssh").mkdir(parents=True)
    public = (layout.keys / f"{plan.key}.pub").read_bytes()
    (home / ".ssh" / "authorized_keys").write_bytes(public)
    if plan.awkward:
        (home / ".tcshrc").write_text(TCSHRC.format(host=layout.host))
    home.chmod(0o711)
    (home / ".ssh").chmod(0o700)
    (home / ".ssh" / "authorized_keys").chmod(0o600)
    subprocess.run(["chown", "-R", f"{name}:{name}", str(home)], check=True)


def remove_account(name: str) -> None:
    with contextlib.suppress(KeyError):
        pwd.getpwnam(name)
        subprocess.run(["/usr/sbin/userdel", "-f", name], check=True, capture_output=True)
