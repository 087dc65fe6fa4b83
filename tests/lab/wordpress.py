"""Builds a site's WordPress from Debian's package, and puts plugins into it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

from tests.lab.database import Database
from tests.lab.layout import LabError, Layout
from tests.lab.packages import php_version
from tests.lab.processes import BOUND
from tests.lab.sites import LabSite, SitePlan

SOURCE = Path("/usr/share/wordpress")
PHP = Path(__file__).parent / "php"

CONFIG = """<?php
// 設定ファイル
define( 'DB_NAME', '{db_name}' );
define( 'DB_USER', '{db_user}' );
define( 'DB_PASSWORD', '{db_password}' );
define( 'DB_HOST', '{db_host}' );
define( 'DB_CHARSET', 'utf8mb4' );
define( 'DB_COLLATE', '' );
{salts}
$table_prefix = '{prefix}';
define( 'WP_DEBUG', false );
define( 'FS_METHOD', 'direct' );
define( 'DISABLE_WP_CRON', true );
if ( ! defined( 'ABSPATH' ) ) {{
\tdefine( 'ABSPATH', {abspath} );
}}
require_once ABSPATH . 'wp-settings.php';
"""

HTACCESS = """# BEGIN WordPress
<IfModule mod_rewrite.c>
RewriteEngine On
RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
RewriteBase /
RewriteRule ^index\\.php$ - [L]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule . /index.php [L]
</IfModule>
# END WordPress
"""


def copy_tree(layout: Layout, site: LabSite) -> None:
    """The files of a WordPress without configuration, owned by the account."""
    shutil.rmtree(site.root, ignore_errors=True)
    site.root.mkdir(parents=True)
    # -L: Debian links two dozen files to other packages.
    subprocess.run([*BOUND, "cp", "-aL", f"{SOURCE}/.", str(site.root)], check=True)
    (site.root / "wp-config.php").unlink(missing_ok=True)
    (site.root / ".htaccess").unlink(missing_ok=True)
    must_use = site.root / "wp-content" / "mu-plugins"
    must_use.mkdir()
    text = (PHP / "modoseru-lab.php").read_text().replace("@WPORG_URL_FILE@", str(layout.wporg / "url"))
    (must_use / "modoseru-lab.php").write_text(text)
    if site.apache:
        (site.root / ".htaccess").write_text(HTACCESS)
    subprocess.run([*BOUND, "chown", "-R", f"{site.account}:{site.account}", str(site.base)], check=True)


def write_config(site: LabSite) -> None:
    names = ("AUTH_KEY", "SECURE_AUTH_KEY", "LOGGED_IN_KEY", "NONCE_KEY",
             "AUTH_SALT", "SECURE_AUTH_SALT", "LOGGED_IN_SALT", "NONCE_SALT")  # fmt: skip
    salts = "\n".join(
        f"define( '{name}', '{hashlib.sha256(f'{site.db_password}{name}'.encode()).hexdigest()}' );" for name in names
    )
    above = site.config_file.parent != site.root
    site.config_file.write_text(
        CONFIG.format(
            db_name=site.db_name, db_user=site.db_user, db_password=site.db_password, db_host=site.db_host,
            prefix=site.db_prefix, salts=salts,
            abspath=f"__DIR__ . '/{site.root.name}/'" if above else "__DIR__ . '/'",
        )
    )  # fmt: skip
    shutil.chown(site.config_file, site.account, site.account)
    site.config_file.chmod(0o640)


def install(database: Database, site: LabSite, plan: SitePlan) -> None:
    """Configuration, database and content; the site answers afterwards."""
    write_config(site)
    database.create(site)
    if plan.neighbour:
        database.sql(
            f"CREATE TABLE `{plan.neighbour}` (id INT PRIMARY KEY, body TEXT) CHARACTER SET utf8mb4;"
            f"INSERT INTO `{plan.neighbour}` VALUES (1, 'よその掲示板 📋'), (2, 'not WordPress')",
            site.db_name,
        )
    argument = json.dumps({
        "root": str(site.root), "url": site.url, "title": site.title,
        "admin": site.admin, "password": site.admin_password,
    })  # fmt: skip
    for script, word in (("install.php", "installed"), ("content.php", "filled")):
        output = run_php(site, PHP / script, argument)
        if word not in output:
            raise LabError(f"{site.name}: {script} failed:\n{output[-2000:]}")


def run_php(site: LabSite, script: Path, *arguments: str) -> str:
    """Runs a script as the site's account; its output, errors included."""
    user = f"--reuid={site.uid}"
    with script.open("rb") as source:
        done = subprocess.run(
            ["setpriv", user, f"--regid={site.uid}", "--clear-groups", "--", f"/usr/bin/php{php_version()}",
             "-d", "display_errors=stderr", "--", *arguments],
            stdin=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, cwd=site.home,
            env={"PATH": "/usr/bin:/bin", "HOME": str(site.home), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    return done.stdout.decode(errors="replace")


def put_plugin(database: Database, site: LabSite, package: Path, slug: str, *, active: bool) -> None:
    """Unpacks a plugin's zip as the account and enters it among the active ones, without booting WordPress."""
    folder = site.root / "wp-content" / "plugins" / slug
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder.parent)
    subprocess.run([*BOUND, "chown", "-R", f"{site.account}:{site.account}", str(folder)], check=True)
    if not active:
        return
    table = f"`{site.db_prefix}options`"
    rows = database.sql(f"SELECT option_value FROM {table} WHERE option_name = 'active_plugins'", site.db_name)
    files = set(re.findall(r's:\d+:"([^"]+)"', rows[0][0] if rows else "")) | {f"{slug}/{slug}.php"}
    items = "".join(f'i:{place};s:{len(file)}:"{file}";' for place, file in enumerate(sorted(files)))
    value = f"a:{len(files)}:{{{items}}}"
    database.sql(f"UPDATE {table} SET option_value = '{value}' WHERE option_name = 'active_plugins'", site.db_name)
