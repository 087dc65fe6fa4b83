"""The lab: real sshd, MariaDB, nginx, apache2, php-fpm and WordPress sites on loopback, up and down as one."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from tests.lab import accounts, disks, packages, pristine, sshd, webservers, wordpress
from tests.lab.authority import KINDS, Authority
from tests.lab.configuration import write_configuration
from tests.lab.database import Database
from tests.lab.layout import DEFAULT_ROOT, LabError, Layout, State, choose_port, load_state, save_state
from tests.lab.processes import Processes, end_owned_by, look, owned_by
from tests.lab.sites import ACCOUNTS, SITES, AccountPlan, LabSite, SitePlan
from tests.lab.stores import S3Servers
from tests.lab.webservers import Probe
from tests.lab.wporg import Wporg

PORTS = ("ssh", "mariadb", "nginx", "apache", "wporg")


class Lab:
    """One lab in one folder. `up` and `down` may be called from any process; sites are known after `up`."""

    def __init__(self, root: Path | None = None) -> None:
        self.layout = Layout(root or Path(os.environ.get("MODOSERU_LAB_DIR", DEFAULT_ROOT)))
        self.processes = Processes(self.layout.ledger, self.layout.log)
        self.database = Database(self.layout, self.processes)
        self.wporg = Wporg(self.layout.wporg)
        self.probes: dict[str, Probe] = {}
        self._state = State()
        self._sites: dict[str, LabSite] = {}

    # ------------------------------------------------------------ up and down

    def up(self) -> Lab:
        """Starts what does not run; builds the sites where there are none of this version. Idempotent."""
        packages.ensure_packages()
        with self.layout.locked("up", 180), _usual_umask():
            self.layout.make()
            self._state = load_state(self.layout)
            if self._state.built == _recipe() and all(self.processes.alive(name) for name in self._servers()):
                self._describe()
                return self
            self._clear()
            old_port = self._state.ports.get("mariadb")
            self._prepare()
            if self._state.built == _recipe():
                self.database.start(self._state.ports["mariadb"])
                self._move_database_port(old_port)
            else:
                self._build()
            self._start()
            write_configuration(self.layout, self.sites, self.wporg.url)
        return self

    def down(self, *, purge: bool = False) -> None:
        """Ends every process; `purge`: and removes the accounts and the folder."""
        with self.layout.locked("up", 180):
            self._state = load_state(self.layout)
            self._clear()
            S3Servers(self.layout).down()
            if purge:
                for plan in ACCOUNTS:
                    accounts.remove_account(accounts.account_name(self.layout, plan))
                shutil.rmtree(self.layout.root, ignore_errors=True)
                self.layout.ledger.unlink(missing_ok=True)

    @property
    def running(self) -> bool:
        return all(self.processes.alive(name) for name in self._servers())

    # ------------------------------------------------------------ sites

    @property
    def sites(self) -> tuple[LabSite, ...]:
        return tuple(self._sites.values())

    def site(self, name: str) -> LabSite:
        return self._sites[name]

    def reset(self, site: LabSite) -> LabSite:
        """Files, database, grants and PHP's caches of one site as they were first; its `~/.modoseru` is gone."""
        name = webservers.fpm_name(site)
        self.processes.stop(name)
        spared = self._spared_sessions()
        end_owned_by([site.uid], lambda pid: _serves_ssh(pid) or (seen := look(pid)) is None or seen.session in spared)
        disks.unmount_below(site.home)
        pristine.bring_back(self.layout, self.database, site)
        webservers.start_fpm(self.layout, self.processes, site)
        webservers.await_fpm(self.layout, self.processes, site)
        return site

    def restart_php(self, site: LabSite) -> None:
        """Forgets the site's opcache and ends its requests."""
        self.processes.stop(webservers.fpm_name(site))
        webservers.start_fpm(self.layout, self.processes, site)
        webservers.await_fpm(self.layout, self.processes, site)

    def sql(self, site: LabSite, statement: str) -> list[tuple[str, ...]]:
        """Runs statements in the site's schema as the administrator; rows as text."""
        return self.database.sql(statement, site.db_name)

    def lock_database(self, site: LabSite) -> None:
        """The site's database user is refused from now on, until `reset`."""
        self.database.lock(site)

    def kill_database(self) -> None:
        """`kill -9` of MariaDB, for all sites; `start_database` brings it back with what it had written."""
        self.processes.kill("mariadb")

    def start_database(self) -> None:
        self.database.start(self._state.ports["mariadb"])
        self.database.await_ready()

    def cut_ssh(self, site: LabSite) -> None:
        """Kills sshd's processes of the account: every open connection is cut, what runs there may live on."""
        for pid in owned_by([site.uid]):
            if _serves_ssh(pid):
                os.kill(pid, signal.SIGKILL)

    def small_disk(self, site: LabSite, folder: Path, size: int) -> None:
        """Puts an empty file system of `size` bytes on `folder` (made where missing), until `reset`."""
        disks.mount(folder, size, site.uid)

    def fetch(self, site: LabSite, path: str = "/", headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and body of one page, over TLS verified by the lab's CA; redirects are not followed."""
        host, port = site.connect.split(":")
        context = ssl.create_default_context(cafile=str(site.ca_file))
        with (
            socket.create_connection((host, int(port)), 30) as plain,
            context.wrap_socket(plain, server_hostname=site.host) as secure,
        ):
            connection = http.client.HTTPConnection(site.host)
            connection.sock = secure
            connection.request("GET", path, headers={"Connection": "close", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")

    def put_plugin(self, site: LabSite, slug: str, version: str = "1.0", *, active: bool = True) -> None:
        """Installs a made plugin (or a real upstream one) in the given version."""
        package = self.wporg.package("plugin", slug, version)
        with _usual_umask():
            wordpress.put_plugin(self.database, site, package, slug, active=active)

    def ssh(self, site: LabSite, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """One command over /usr/bin/ssh with the site's key and pinned host key."""
        command = self.ssh_command(site, *words)
        return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=120)

    def ssh_command(self, site: LabSite, *words: str) -> list[str]:
        known = self.layout.etc / "known_hosts"
        known.write_text(f"[127.0.0.1]:{site.ssh_port} {site.host_key}\n")
        return [
            "ssh", "-F", "none", "-p", str(site.ssh_port), "-i", str(site.key), "-o", "BatchMode=yes",
            "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known}",
            f"{site.account}@{site.ssh_host}", *words,
        ]  # fmt: skip

    # ------------------------------------------------------------ inside

    def _servers(self) -> tuple[str, ...]:
        return ("sshd", "mariadb", "nginx", "apache", "wporg", *(f"fpm-{plan.name}" for plan in SITES))

    def _clear(self) -> None:
        self.processes.stop()
        end_owned_by(accounts.known_uids(self.layout))
        disks.unmount_below(self.layout.homes)

    def _prepare(self) -> None:
        state, layout = self._state, self.layout
        taken: set[int] = set()
        for name in PORTS:
            state.ports[name] = choose_port(state.ports.get(name), taken)
            taken.add(state.ports[name])
        wanted = [f"db:{plan.name}" for plan in SITES] + [f"admin:{plan.name}" for plan in SITES]
        for secret in [*wanted, *(f"ssh:{plan.key}" for plan in ACCOUNTS if plan.password)]:
            state.passwords.setdefault(secret, secrets.token_urlsafe(12))
        accounts.make_keys(layout)
        accounts.make_host_tools(layout)
        for account in ACCOUNTS:
            uid = accounts.make_account(layout, state, account)
            if state.uids.get(account.key, uid) != uid:
                state.built = ""  # the files belong to a number that is somebody else's now
            state.uids[account.key] = uid
        if state.built != _recipe():
            shutil.rmtree(layout.homes)
            layout.make()
            for account in ACCOUNTS:
                accounts.make_home(layout, account)
        save_state(layout, state)
        self._describe()

    def _build(self) -> None:
        self._state.built = ""
        save_state(self.layout, self._state)
        plans = {plan.name: plan for plan in SITES}
        with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            trees = [pool.submit(wordpress.copy_tree, self.layout, site) for site in self.sites]
            self.database.install()
            self.database.start(self._state.ports["mariadb"])
            self.database.await_ready()
            for tree in trees:
                tree.result()

            def finish(site: LabSite) -> None:
                wordpress.install(self.database, site, plans[site.name])
                pristine.save(self.layout, self.database, site)

            for done in [pool.submit(finish, site) for site in self.sites]:
                done.result()
        self._state.built = _recipe()
        save_state(self.layout, self._state)

    def _start(self) -> None:
        layout, processes, ports = self.layout, self.processes, self._state.ports
        authority = Authority(layout.tls)
        certified = {site.name: authority.certificate("fine", [site.host]) for site in self.sites}
        by_nginx = [(site, certified[site.name]) for site in self.sites if not site.apache]
        probes = [(probe, authority.certificate(probe.kind, [probe.host])) for probe in self.probes.values()]
        sshd.start_sshd(layout, processes, ports["ssh"], [site.account for site in self.sites])
        for site in self.sites:
            webservers.start_fpm(layout, processes, site)
        webservers.start_nginx(layout, processes, ports["nginx"], by_nginx, probes)
        for site in self.sites:
            if site.apache:
                webservers.start_apache(layout, processes, ports["apache"], site, certified[site.name])
        self.wporg.start(processes, ports["wporg"])
        self.database.await_ready()
        sshd.await_sshd(processes, ports["ssh"])
        for site in self.sites:
            webservers.await_fpm(layout, processes, site)
        for name in ("nginx", "apache", "wporg"):
            webservers.await_port(processes, name, ports[name])

    def _move_database_port(self, old: int | None) -> None:
        new = self._state.ports["mariadb"]
        if old in {None, new}:
            return
        for site in self.sites:
            pristine.move_database_port(self.layout, site, f"127.0.0.1:{old}", f"127.0.0.1:{new}")

    def _describe(self) -> None:
        by_key = {plan.key: plan for plan in ACCOUNTS}
        self._sites = {plan.name: self._site(plan, by_key[plan.account]) for plan in SITES}
        connect = f"127.0.0.1:{self._state.ports['nginx']}"
        self.probes = {kind: Probe(kind, f"{kind}.tls.example", connect) for kind in KINDS}

    def _site(self, plan: SitePlan, account: AccountPlan) -> LabSite:
        layout, state = self.layout, self._state
        home = layout.homes / account.key
        base = home / plan.folder if plan.folder else home
        root = base / "public_html"
        port = state.ports["mariadb"]
        word = plan.name.split(".")[0]
        return LabSite(
            name=plan.name,
            url=plan.url,
            title=plan.title,
            host=urlsplit(plan.url).hostname or "",
            connect=f"127.0.0.1:{state.ports['apache' if plan.apache else 'nginx']}",
            account=accounts.account_name(layout, account),
            uid=state.uids[account.key],
            home=home,
            base=base,
            root=root,
            root_in_home=f"~/{root.relative_to(home)}",
            config_file=(base if plan.config_above else root) / "wp-config.php",
            php=str(accounts.right_php(layout)) if account.awkward else "php",
            ssh_host="127.0.0.1",
            ssh_port=state.ports["ssh"],
            key=layout.keys / account.key,
            host_key=(layout.keys / "host.pub").read_text().strip(),
            password=state.passwords[f"ssh:{account.key}"] if account.password else None,
            password_file=layout.keys / f"{account.key}.password" if account.password else None,
            db_name=f"wp_{word}",
            db_user=f"u_{word}",
            db_password=state.passwords[f"db:{plan.name}"],
            db_host=f"127.0.0.1:{port}" if plan.over_port else f"localhost:{self.database.socket}",
            db_prefix=plan.prefix,
            db_socket=self.database.socket,
            db_port=port,
            apache=plan.apache,
            admin="kanri",
            admin_password=state.passwords[f"admin:{plan.name}"],
            ca_file=layout.tls / "ca.pem",
        )

    def _spared_sessions(self) -> set[int]:
        return {entry.pid for entry in self.processes.entries().values()}


def _serves_ssh(pid: int) -> bool:
    """sshd's own processes of an account: ending them would cut connections that a test keeps open."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name == "sshd"
    except OSError:
        return False


@contextlib.contextmanager
def _usual_umask() -> Iterator[None]:
    """Servers and accounts must be able to read what is made here."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _recipe() -> str:
    """What the built data depend on: another recipe means building anew."""
    here = Path(__file__).parent
    sources = [here / name for name in ("sites.py", "accounts.py", "wordpress.py", "database.py", "pristine.py")]
    digest = hashlib.sha256()
    for source in [*sources, *sorted((here / "php").glob("*.php"))]:
        digest.update(source.read_bytes())
    return digest.hexdigest()


__all__ = ["Lab", "LabError", "LabSite"]
