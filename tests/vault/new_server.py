"""Another server than the lab's: an account, a database and a web server that know nothing of any site yet."""

from __future__ import annotations

import dataclasses
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.lab import Lab, LabSite, accounts, sshd, webservers
from tests.lab.authority import Authority
from tests.lab.layout import choose_port
from tests.lab.processes import end_owned_by

SERVERS = ("sshd-new", "nginx-new")


@contextmanager
def new_server(lab: Lab, site: LabSite, folder: str) -> Iterator[LabSite]:
    """`site` as it is to be on a server of another host key, account, home and database; nothing of it is there."""
    place = lab.layout.root / "elsewhere"
    home, account = place / "u1234", f"mdsr-u1234{lab.layout.suffix}"
    _remove(lab, account, place)
    home.mkdir(parents=True)
    subprocess.run(
        ["/usr/sbin/useradd", "-U", "-d", str(home), "-M", "-s", "/bin/bash", "-p", "*", account], check=True
    )
    uid = pwd.getpwnam(account).pw_uid
    (home / ".ssh").mkdir()
    shutil.copy(site.key.with_name(f"{site.key.name}.pub"), home / ".ssh/authorized_keys")
    subprocess.run(["chown", "-R", f"{account}:{account}", str(home)], check=True)
    home.chmod(0o711)
    ports = [choose_port(None, set())]
    ports.append(choose_port(None, set(ports)))
    made = dataclasses.replace(
        site, account=account, uid=uid, home=home, base=home, root=home / folder, root_in_home=f"~/{folder}",
        config_file=home / folder / "wp-config.php", php="php", ssh_port=ports[0], host_key=_host_key(place),
        connect=f"127.0.0.1:{ports[1]}", db_name="u1234_db", db_user="u1234", db_password=secrets.token_urlsafe(12),
        db_host=f"localhost:{site.db_socket}", password=None, password_file=None, apache=False,
    )  # fmt: skip
    try:
        lab.database.create(made)
        _serve(lab, made, place)
        yield made
    finally:
        lab.processes.stop(*SERVERS, f"fpm-new.{site.name}")
        _remove(lab, account, place)
        lab.database.sql(f"DROP DATABASE IF EXISTS `{made.db_name}`")
        for host in ("localhost", "127.0.0.1"):
            lab.database.sql(f"DROP USER IF EXISTS '{made.db_user}'@'{host}'")


def _serve(lab: Lab, made: LabSite, place: Path) -> None:
    layout, processes = lab.layout, lab.processes
    (place / "sshd_config").write_text(sshd.CONFIG.format(port=made.ssh_port, keys=place, users=made.account))
    processes.start("sshd-new", ["/usr/sbin/sshd", "-D", "-f", str(place / "sshd_config")])
    pool = dataclasses.replace(made, name=f"new.{made.name}")
    webservers.start_fpm(layout, processes, pool)
    certified = Authority(layout.tls).certificate("fine", [made.host])
    port = made.connect.split(":")[1]
    block = webservers.NGINX_SITE.format(
        port=port, default=" default_server", host=made.host, root=made.root, chain=certified.chain,
        key=certified.key, socket=webservers.fpm_socket(layout, pool),
    )  # fmt: skip
    web = place / "web"
    web.mkdir()
    (place / "nginx.conf").write_text(webservers.NGINX.format(web=web, log=place, servers=block))
    words = ["-c", str(place / "nginx.conf"), "-p", str(web), "-e", str(place / "nginx.log"), "-g", "daemon off;"]
    processes.start("nginx-new", ["/usr/sbin/nginx", *words])
    webservers.await_port(processes, "nginx-new", int(port))
    webservers.await_port(processes, "sshd-new", made.ssh_port)
    webservers.await_fpm(layout, processes, pool)


def _host_key(place: Path) -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    (place / "host").write_bytes(secret)
    (place / "host").chmod(0o600)
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def _remove(lab: Lab, account: str, place: Path) -> None:
    try:
        end_owned_by([pwd.getpwnam(account).pw_uid])
    except KeyError:
        pass
    else:
        accounts.remove_account(account)
    shutil.rmtree(place, ignore_errors=True)
