"""nginx, apache2 and php-fpm of the lab: their configurations, and when they are ready.

Each site has a php-fpm master of its own, so that `reset` can forget one site's opcache and end its hung requests
without touching the others. opcache stays at Debian's settings (revalidate_freq 2).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.authority import Certified
from tests.lab.layout import Layout, wait_until
from tests.lab.packages import php_version
from tests.lab.processes import Processes
from tests.lab.sites import LabSite

FPM = """[global]
error_log = {log}/fpm-{name}.log
daemonize = no

[{name}]
user = {account}
group = {account}
listen = {socket}
listen.owner = www-data
listen.group = www-data
listen.mode = 0660
pm = ondemand
pm.max_children = 6
pm.process_idle_timeout = 60s
php_admin_value[sendmail_path] = /bin/true
php_admin_flag[log_errors] = on
php_admin_value[error_log] = {home}/php-errors.log
"""

NGINX = """user www-data;
worker_processes 1;
pid {web}/nginx.pid;
events {{ worker_connections 512; }}
http {{
  include /etc/nginx/mime.types;
  access_log {log}/nginx-access.log;
  client_body_temp_path {web}/body;
  proxy_temp_path {web}/proxy;
  fastcgi_temp_path {web}/fastcgi;
  uwsgi_temp_path {web}/uwsgi;
  scgi_temp_path {web}/scgi;
  server_names_hash_bucket_size 128;
  client_max_body_size 64m;
  ssl_protocols TLSv1.2 TLSv1.3;
{servers}
}}
"""

NGINX_SITE = """  server {{
    listen 127.0.0.1:{port} ssl{default};
    server_name {host};
    ssl_certificate {chain};
    ssl_certificate_key {key};
    root {root};
    index index.php;
    location / {{ try_files $uri $uri/ /index.php?$args; }}
    location ~ /\\.(?!well-known/) {{ deny all; }}
    location ~ \\.php$ {{
      try_files $uri =404;
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
      fastcgi_pass unix:{socket};
    }}
  }}
"""

NGINX_PROBE = """  server {{
    listen 127.0.0.1:{port} ssl;
    server_name {host};
    ssl_certificate {chain};
    ssl_certificate_key {key};
    default_type text/plain;
    location / {{ return 200 "{host}\\n"; }}
  }}
"""

APACHE = """ServerRoot {web}
PidFile {run}/apache.pid
DefaultRuntimeDir {run}
Mutex file:{run} default
Listen 127.0.0.1:{port}
ServerName {host}
User www-data
Group www-data
ErrorLog {log}/apache-error.log
{modules}
TypesConfig /etc/mime.types
DirectoryIndex index.php index.html
CustomLog {log}/apache-access.log "%h %t \\"%r\\" %>s %b"
<Directory />
  AllowOverride None
  Require all denied
</Directory>
<VirtualHost 127.0.0.1:{port}>
  ServerName {host}
  DocumentRoot {root}
  SSLEngine on
  SSLCertificateFile {chain}
  SSLCertificateKeyFile {key}
  <Directory {root}>
    Options FollowSymLinks
    AllowOverride All
    Require all granted
  </Directory>
  <FilesMatch "^\\.ht">
    Require all denied
  </FilesMatch>
  <FilesMatch "\\.php$">
    SetHandler "proxy:unix:{socket}|fcgi://localhost"
  </FilesMatch>
</VirtualHost>
"""

APACHE_MODULES = (
    "mpm_event authn_core authn_file authz_core authz_host authz_user auth_basic access_compat alias autoindex deflate "
    "dir env expires filter headers mime negotiation proxy proxy_fcgi reqtimeout rewrite setenvif socache_shmcb ssl"
)


@dataclass(frozen=True)
class Probe:
    """A TLS server whose certificate is of one kind; its page is its host name."""

    kind: str
    host: str
    connect: str


def fpm_name(site: LabSite) -> str:
    return f"fpm-{site.name}"


def fpm_socket(layout: Layout, site: LabSite) -> Path:
    return layout.run / f"{fpm_name(site)}.sock"


def start_fpm(layout: Layout, processes: Processes, site: LabSite) -> None:
    config = layout.etc / f"{fpm_name(site)}.conf"
    listening = fpm_socket(layout, site)
    config.write_text(
        FPM.format(log=layout.log, name=site.name, account=site.account, home=site.home, socket=listening)
    )
    listening.unlink(missing_ok=True)
    processes.start(
        fpm_name(site),
        [
            *(f"/usr/sbin/php-fpm{php_version()}", "-F", "-y", str(config)),
            *("-d", "user_ini.cache_ttl=3"),  # 300 in the field: what waits for it would wait as long here
        ],
    )


def await_fpm(layout: Layout, processes: Processes, site: LabSite) -> None:
    def listens() -> bool:
        processes.must_live(fpm_name(site))
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(fpm_socket(layout, site)))
            except OSError:
                return False
        return True

    wait_until(listens, 10, f"php-fpm of {site.name}")


def start_nginx(
    layout: Layout,
    processes: Processes,
    port: int,
    sites: Sequence[tuple[LabSite, Certified]],
    probes: Sequence[tuple[Probe, Certified]],
) -> None:
    servers = [
        NGINX_SITE.format(
            port=port, default="" if number else " default_server", host=site.host, root=site.root,
            chain=certified.chain, key=certified.key, socket=fpm_socket(layout, site),
        )
        for number, (site, certified) in enumerate(sites)
    ] + [
        NGINX_PROBE.format(port=port, host=probe.host, chain=certified.chain, key=certified.key)
        for probe, certified in probes
    ]  # fmt: skip
    config = layout.etc / "nginx.conf"
    config.write_text(NGINX.format(web=layout.web, log=layout.log, servers="\n".join(servers)))
    log = str(layout.log / "nginx-error.log")
    processes.start(
        "nginx", ["/usr/sbin/nginx", "-c", str(config), "-p", str(layout.web), "-e", log, "-g", "daemon off;"]
    )


def start_apache(layout: Layout, processes: Processes, port: int, site: LabSite, certified: Certified) -> None:
    run = layout.run / "apache"
    run.mkdir(exist_ok=True)
    config = layout.etc / "apache.conf"
    modules = [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in APACHE_MODULES.split()]
    config.write_text(
        APACHE.format(
            web=layout.web, run=run, log=layout.log, port=port, host=site.host, root=site.root,
            modules="\n".join(modules), chain=certified.chain, key=certified.key, socket=fpm_socket(layout, site),
        )
    )  # fmt: skip
    processes.start("apache", ["/usr/sbin/apache2", "-f", str(config), "-DFOREGROUND"])


def await_port(processes: Processes, name: str, port: int) -> None:
    def listens() -> bool:
        processes.must_live(name)
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, 10, name)
