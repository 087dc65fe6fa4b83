"""Plugins made for tests: each is good at 1.0; at 1.1 one is a good update and the others break a site in one way.
And a small theme, good in both versions.

Every 1.0 (and the good 1.1) writes `<meta name="SLUG" content="VERSION">` into each page's head.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

GOOD = "good-plugin"
SLOW = "slow-plugin"
SLOW_SECONDS = 5.0
FAULTS = {
    "broken-init": "add_action('init', function () { broken_init_calls_what_is_not_there(); });",
    "broken-parse": "add_action('init', function () { this is not php;",
    "broken-white": "add_action('template_redirect', function () { ob_start(function () { return ''; }); }, 0);",
    "broken-web": (
        "if (PHP_SAPI !== 'cli') { add_action('init', function () { throw new Error('not on the web'); }); }"
    ),
    "broken-database": "add_action('init', function () { global $wpdb; $wpdb->close(); dead_db(); });",
    "broken-maintenance": (
        "add_action('init', function () {"
        " file_put_contents(ABSPATH . '.maintenance', '<?php $upgrading = ' . time() . ';'); });"
    ),
}
"""Slug → what its 1.1 does: fatal on init, parse error, empty 200, fatal on the web alone, "error establishing a
database connection", `.maintenance` written anew at every request."""
INNER = {
    "broken-single": "add_action('wp', function () { if (is_single()) { broken_single_calls_what_is_not_there(); } });"
}
"""The same, where the front page stays whole: fatal where one post is shown."""
BEHIND = {
    "behind-page": (
        "register_shutdown_function(function () { fastcgi_finish_request(); throw new Error('behind the page'); });"
    ),
    "behind-cron": "if (wp_doing_cron()) { throw new Error('in cron'); }",
}
"""The same, where visitors see nothing: fatal when the page is sent, and in what is done without a visitor."""
NOISY = "noisy-plugin"
"""Its 1.1 is good, and warns at every request."""
FORM = "form-plugin"
"""Its 1.0 puts a form where `[form-plugin]` stands; its 1.1 has forgotten that."""
OTHER_PHP = {
    "php-removed": "add_action('wp', function () { cal_days_in_month(0, 1, 2020); });",
    "php-parse": "const __PROPERTY__ = 1;",
    "php-dynamic": (
        "class Php_Dynamic {} add_action('wp', function () { if (!extension_loaded('calendar')) {"
        " $it = new Php_Dynamic(); $it->late = 1; } });"
    ),
    "php-requires": "",
}
"""Slug → what its 1.0 does, which is good under the lab's PHP: calls a function of the extension calendar, declares
what PHP 8.4 has taken as a word, sets a property that is not declared where calendar is missing, wants PHP 8.9."""
SHOP, CONTACT = "shop-plugin", "contact-plugin"
"""Their pages are the same in both versions. `/?cart` takes `add` by POST with the nonce of `/?shop` and keeps it in a
cookie; the 1.1 dies there. `/?contact` confirms what was filled in; the 1.1 shows the empty form again."""
JOURNEYS = {
    SHOP: """add_action('template_redirect', function () {{
    if (isset($_GET['shop'])) {{
        exit('<!DOCTYPE html><title>Shop</title><form method=post action="/?cart"><input name=add value=1>'
            . '<input type="hidden" name="nonce" value="' . wp_create_nonce('cart') . '"></form></html>');
    }}
    if (isset($_GET['cart']) && isset($_POST['add'])) {{
        wp_verify_nonce($_POST['nonce'] ?? '', 'cart') || wp_die('no nonce');
        {cart}
        setcookie('cart', (string) (int) $_POST['add'], 0, '/');
        wp_safe_redirect('/?checkout');
        exit;
    }}
    if (isset($_GET['checkout']) || isset($_GET['cart'])) {{
        exit('<!DOCTYPE html><title>Checkout</title><p>ご注文手続き: '
            . (int) ($_COOKIE['cart'] ?? 0) . '点</p></html>');
    }}
}});""",
    CONTACT: """add_action('template_redirect', function () {{
    if (isset($_GET['contact'])) {{
        exit('<!DOCTYPE html><title>お問い合わせ</title>' . ({confirms} && isset($_POST['mail'])
            ? '<p>入力内容の<b>確認</b></p>' : '<form method=post><input name=mail></form>') . '</html>');
    }}
}});""",
}
MIGRATING = "migrating-plugin"
"""Its 1.1 changes options and tables at the first request, as many plugins do, and then fails on the web."""
MIGRATION = """add_action('init', function () {
    global $wpdb;
    if (get_option('migrating_version') === '1.0') {
        $wpdb->query("CREATE TABLE {$wpdb->prefix}migrating_new (id int PRIMARY KEY)");
        $wpdb->query("ALTER TABLE {$wpdb->prefix}migrating_rows ADD COLUMN more int NOT NULL DEFAULT 0");
        update_option('migrating_version', '1.1');
        update_option('migrating_colours', ['赤', "b'\\\\"], false);
        add_option('migrating_added', '1.1');
        delete_option('migrating_gone');
        set_transient('migrating_remembered', '1.1');
    }
    if (PHP_SAPI !== 'cli') {
        throw new Error('migrated, and broken');
    }
});"""
RENAMING = "renaming-plugin"
"""Its 1.1 gives its table another name at the first request, and then fails on the web."""
RENAME = """add_action('init', function () {
    global $wpdb;
    if ($wpdb->get_var("SHOW TABLES LIKE '{$wpdb->prefix}renaming_rows'")) {
        $wpdb->query("RENAME TABLE {$wpdb->prefix}renaming_rows TO {$wpdb->prefix}renaming_new");
    }
    if (PHP_SAPI !== 'cli') {
        throw new Error('renamed, and broken');
    }
});"""
MADE = (GOOD, SLOW, FORM, NOISY, *BEHIND, MIGRATING, RENAMING, *JOURNEYS, *FAULTS, *INNER, *OTHER_PHP)
THEME = "good-theme"
VERSIONS = ("1.0", "1.1")

MAIN = """<?php
/**
 * Plugin Name: {name}
 * Plugin URI: https://example.invalid/{slug}
 * Description: Made by the lab. 実験用プラグイン 🧪
 * Version: {version}
 * Requires PHP: {least}
 * Author: Modoseru lab
 * License: GPLv2 or later
 * Text Domain: {slug}
 */

if (!defined('ABSPATH')) {{
    exit;
}}
{body}
"""
HEAD = "add_action('wp_head', function () {{ echo \"<meta name='{slug}' content='{version}'>\\n\"; }});"


PAGE = """<!DOCTYPE html>
<html><head><title><?php bloginfo('name'); ?></title><?php wp_head(); ?></head>
<body><?php while (have_posts()) {{ the_post(); ?><h2><?php the_title(); ?></h2><?php }} ?>
<p>{version}</p><?php wp_footer(); ?></body></html>
"""


def package_file(folder: Path, slug: str, version: str) -> Path:
    return folder / f"{slug}.{version}.zip"


def build_packages(folder: Path) -> None:
    """Writes the zips in both versions; the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    for version in VERSIONS:
        for slug in MADE:
            _build(package_file(folder, slug, version), version, _plugin(slug, version))
        _build(package_file(folder, THEME, version), version, _theme(version))


def words_file(name: str, revised: str) -> str:
    return f"{name}-{revised[:10]}.zip".replace("/", "-")


def build_words(folder: Path, name: str, revised: str) -> Path:
    """A language pack, `plugin/good-plugin/ja`, last revised then; one of 2099 ends every request that reads it."""
    kind, slug, language = name.split("/")
    stem = language if kind == "core" else f"{slug}-{language}"
    head = f"PO-Revision-Date: {revised}+0000\\n"
    words = (
        "throw new Error('no words');"
        if revised.startswith("2099")
        else f"return ['po-revision-date' => '{revised}+0000', 'messages' => []];"
    )
    files = {
        f"{stem}.po": f'msgid ""\nmsgstr ""\n"{head}"\n"Language: {language}\\n"\n',
        f"{stem}.mo": "\xde\x12\x04\x95",
        f"{stem}.l10n.php": f"<?php\n{words}\n",
    }
    package = folder / words_file(name, revised)
    _build(package, revised, files)
    return package


def _plugin(slug: str, version: str) -> dict[str, str]:
    broken = {**FAULTS, **INNER, **BEHIND, MIGRATING: MIGRATION, RENAMING: RENAME}
    body = broken[slug] if slug in broken and version == "1.1" else HEAD.format(slug=slug, version=version)
    if slug in JOURNEYS:
        good = version == "1.0"
        body += JOURNEYS[slug].format(cart="" if good else "broken_cart();", confirms="true" if good else "false")
    if slug == FORM and version == "1.0":
        body += f"\nadd_shortcode('{FORM}', function () {{ return '<form method=post><input name=mail></form>'; }});"
    if slug in BEHIND and version == "1.1":
        body += f"\n{HEAD.format(slug=slug, version=version)}"
    if slug == NOISY and version == "1.1":
        body += "\nadd_action('init', function () { trigger_error('it warns, and works', E_USER_WARNING); });"
    body += f"\n{OTHER_PHP[slug]}" if slug in OTHER_PHP else ""
    name, least = slug.replace("-", " ").title(), "8.9" if slug == "php-requires" else "7.0"
    return {
        f"{slug}/{slug}.php": MAIN.format(name=name, slug=slug, version=version, least=least, body=body),
        f"{slug}/readme.txt": f"=== {slug} ===\nStable tag: {version}\n\n変更履歴: {version}\n",
        f"{slug}/includes/tools-{version}.php": f"<?php\n// {slug} {version}\n",
        f"{slug}/assets/style.css": f"/* {slug} {version} */\n" + ".x { color: red; }\n" * 200,
    }


def _theme(version: str) -> dict[str, str]:
    return {
        f"{THEME}/style.css": f"/*\nTheme Name: Good Theme\nVersion: {version}\nAuthor: Modoseru lab\n*/\n",
        f"{THEME}/index.php": PAGE.format(version=version),
        f"{THEME}/functions.php": f"<?php\n// {version}\n",
        f"{THEME}/parts-{version}/tools.php": f"<?php\n// {version}\n",
    }


def _build(file: Path, version: str, contents: dict[str, str]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in contents.items():
            # 1.0 and 1.1 differ by a day: files of two releases do not share their times.
            info = zipfile.ZipInfo(name, (2026, 5, 1 if version == "1.0" else 2, 12, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, text)
