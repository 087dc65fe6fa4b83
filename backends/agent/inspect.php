<?php
// What the site is, in one PHP boot; and what can still be said of it when WordPress does not boot.

/**
 * What has to happen with WordPress loaded. `main.php` loads it at its own top level: the files of WordPress and of
 * plugins set globals, which a function would hide.
 */
final class Boot
{
    public $file;
    public $then;
    public $request;
    public $theme = false;

    public function __construct(Installation $site, Request $request, callable $then)
    {
        $this->file = $site->abspath . '/wp-load.php';
        $this->then = $then;
        $this->request = $request;
    }

    /** As a visitor's request for the front page would; nothing is sent, and a fatal error is ours to report. */
    public function prepare()
    {
        $url = parse_url($this->request->text('url', 'http://localhost/'));
        $_SERVER['HTTP_HOST'] = ($url['host'] ?? 'localhost') . (isset($url['port']) ? ':' . $url['port'] : '');
        $_SERVER['SERVER_NAME'] = $url['host'] ?? 'localhost';
        $_SERVER['SERVER_PORT'] = $url['port'] ?? '443';
        $_SERVER['REQUEST_URI'] = ($url['path'] ?? '/') . (isset($url['query']) ? "?{$url['query']}" : '');
        $_SERVER['REQUEST_METHOD'] = 'GET';
        $_SERVER['REMOTE_ADDR'] = '127.0.0.1';
        $_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
        if (($url['scheme'] ?? '') === 'https') {
            $_SERVER['HTTPS'] = 'on';
        }
        foreach (['WP_DISABLE_FATAL_ERROR_HANDLER' => true, 'WP_USE_THEMES' => $this->theme, 'DISABLE_WP_CRON' => true] as $name => $value) {
            if (!defined($name)) {
                define($name, $value);
            }
        }
        ini_set('display_errors', 'stderr');
        ob_start();
    }

    /** What WordPress echoed is thrown away. */
    public function finish()
    {
        while (ob_get_level()) {
            ob_end_clean();
        }
    }
}

function answer_inspect(Request $request)
{
    $facts = ['agent' => substr(basename(__FILE__), 6, 16), 'at' => now_text(), 'php_cli' => PHP_VERSION, 'missing' => missing_parts(),
        'root' => $request->root, 'isolated' => isolation($request)['since'] ?? null];
    if ($free = @disk_free_space(is_dir($request->folder) ? $request->folder : home())) {
        $facts['disk_free'] = (int) $free;
        $facts['disk_total'] = (int) @disk_total_space(is_dir($request->folder) ? $request->folder : home());
    }
    $facts += unfinished($request) + list_generations($request);
    // Whatever a plugin does at boot, exit included, the shutdown function still answers.
    $booted = false;
    register_shutdown_function(function () use ($request, &$facts, &$booted) {
        if (!$booted) {
            $error = error_get_last();
            $facts['boot_error'] = $GLOBALS['modoseru_boot_error'] ?? ['message' => $error && in_array($error['type'], [E_ERROR, E_PARSE, E_COMPILE_ERROR, E_CORE_ERROR], true)
                ? strtok($error['message'], "\n") : 'WordPress ended the request by itself', 'file' => $error['file'] ?? null, 'line' => $error['line'] ?? null];
            while (ob_get_level()) {
                ob_end_clean();
            }
            say($request->marker, ['reply' => $facts + facts_without_boot($request)]);
        }
    });
    try {
        $site = Installation::find_bare($request);
    } catch (Failure $e) {
        $GLOBALS['modoseru_boot_error'] = ['message' => $e->getMessage()];
        return 0;
    }
    $facts['config_file'] = $site->config_file;
    return new Boot($site, $request, function () use ($request, &$facts, &$booted) {
        $facts += facts_of_wordpress($request);
        $booted = true;
        return ['reply' => $facts + ['booted' => true]];
    });
}

function unfinished(Request $request)
{
    $operations = Operation::unfinished($request);
    return ['operation' => $operations ? $operations[0]->id : null];
}

/** What this host lacks, as sentences an operator reads. */
function missing_parts()
{
    $missing = [];
    foreach (['mysqli_init' => 'mysqli is missing in the PHP of the command line: no backup of the database',
        'gzencode' => 'zlib is missing in the PHP of the command line: no backup',
        'proc_open' => 'proc_open is missing: nothing can run detached',
        'posix_setsid' => 'posix is missing: detached work stays in the session of its connection',
        'fsync' => 'PHP is older than 8.1: the sync command is used instead of fsync',
        'openssl_digest' => 'openssl is missing: hashing is slower',
        'token_get_all' => 'tokenizer is missing: wp-config.php is read by a simpler rule'] as $function => $sentence) {
        if (!function_exists($function)) {
            $missing[] = $sentence;
        }
    }
    return $missing;
}

function facts_without_boot(Request $request)
{
    $facts = ['booted' => false];
    try {
        $site = Installation::find($request);
        $facts += ['content' => $site->content(), 'config_file' => $site->config_file, 'prefix' => $site->prefix,
            'database_name' => $site->setting('DB_NAME')];
        $version = (string) @file_get_contents($site->abspath . '/wp-includes/version.php');
        if (preg_match('/^\$wp_version\s*=\s*[\'"]([0-9A-Za-z.-]+)/m', $version, $found)) {
            $facts['wordpress'] = $found[1];
        }
        $database = Database::open($site);
        $facts += ['database_engine' => $database->engine, 'database_version' => $database->version];
        $tables = $database->tables();
        $facts += ['tables' => count($tables), 'database_bytes' => array_sum(array_column($tables, 'bytes'))];
    } catch (Failure $e) {
        $facts['database_error'] = $e->getMessage();
        $facts += empty_account($request);
    } catch (mysqli_sql_exception $e) {
        $facts['database_error'] = $e->getMessage();
    }
    return $facts;
}

/** What is there before anything was restored: whether the root is empty, and whether given credentials open a database. */
function empty_account(Request $request)
{
    $empty = !array_diff(@scandir($request->root) ?: [], ['.', '..']);
    $given = $empty ? given_credentials($request) : null;
    if ($given === null) {
        return ['empty' => $empty];
    }
    try {
        $database = Database::open((new Installation())->with_settings($given));
        return ['empty' => $empty, 'database_engine' => $database->engine, 'database_version' => $database->version,
            'tables' => count($database->tables()), 'database_name' => $given['DB_NAME'], 'database_opens' => true];
    } catch (Failure $e) {
        return ['empty' => $empty, 'database_opens' => false, 'database_refused' => $e->getMessage()];
    }
}

function facts_of_wordpress(Request $request)
{
    global $wpdb, $wp_version;
    foreach (['plugin', 'theme', 'update'] as $file) {
        require_once ABSPATH . "wp-admin/includes/$file.php";
    }
    // A check that failed leaves what was known without `response`.
    $checked = $request->get('refresh') ? ask_for_updates() : isset(get_site_transient('update_plugins')->response);
    $version = (string) $wpdb->get_var('SELECT VERSION()');
    $like = str_replace(['\\', '_', '%'], ['\\\\', '\\_', '\\%'], $wpdb->base_prefix);
    $size = $wpdb->get_row($wpdb->prepare('SELECT COUNT(*) n, SUM(DATA_LENGTH+INDEX_LENGTH) b FROM information_schema.TABLES '
        . 'WHERE TABLE_SCHEMA=%s AND TABLE_NAME LIKE %s', DB_NAME, $like . '%'));
    return ['wordpress' => $wp_version, 'locale' => get_locale(), 'title' => html_entity_decode(get_bloginfo('name'), ENT_QUOTES),
        'home' => get_option('home'), 'siteurl' => get_option('siteurl'), 'multisite' => is_multisite(), 'content' => WP_CONTENT_DIR,
        'database_engine' => stripos($version, 'mariadb') !== false ? 'mariadb' : 'mysql',
        'database_version' => preg_match('/\d+\.\d+(\.\d+)?/', $version, $found) ? $found[0] : $version, 'database_name' => DB_NAME,
        'database_bytes' => (int) $size->b, 'prefix' => $wpdb->base_prefix, 'tables' => (int) $size->n,
        'plugins' => installed_plugins(), 'administrators' => administrators(), 'updates' => pending_updates(), 'updates_checked' => $checked];
}

/** A check that failed still advances `last_checked` and then shows no updates (FACTS 11): its HTTP answer tells. */
function ask_for_updates()
{
    $failed = false;
    add_action('http_api_debug', function ($response) use (&$failed) {
        $failed = $failed || is_wp_error($response) || wp_remote_retrieve_response_code($response) !== 200;
    });
    wp_version_check([], true);
    delete_site_transient('update_plugins');
    wp_update_plugins();
    delete_site_transient('update_themes');
    wp_update_themes();
    return !$failed;
}

function installed_plugins()
{
    $plugins = [];
    foreach (get_plugins() as $file => $data) {
        $plugins[] = ['slug' => plugin_slug($file), 'name' => $data['Name'], 'version' => $data['Version'], 'active' => is_plugin_active($file), 'kind' => 'plugin'];
    }
    foreach (get_mu_plugins() as $file => $data) {
        $plugins[] = ['slug' => basename($file, '.php'), 'name' => $data['Name'], 'version' => $data['Version'], 'active' => true, 'kind' => 'must-use'];
    }
    foreach (wp_get_themes() as $slug => $theme) {
        $plugins[] = ['slug' => $slug, 'name' => (string) $theme->get('Name'), 'version' => (string) $theme->get('Version'),
            'active' => get_stylesheet() === $slug || get_template() === $slug, 'kind' => 'theme'];
    }
    return $plugins;
}

function administrators()
{
    return array_map(function ($user) {
        return ['id' => (int) $user->ID, 'login' => $user->user_login, 'registered' => $user->user_registered];
    }, get_users(['role' => 'administrator', 'number' => 100]));
}

function pending_updates()
{
    $updates = [];
    foreach (get_core_updates() ?: [] as $offer) {
        if (in_array($offer->response, ['upgrade', 'autoupdate'], true)) {
            $updates[] = ['kind' => 'core', 'slug' => 'wordpress', 'from' => $GLOBALS['wp_version'], 'to' => $offer->current, 'name' => 'WordPress',
                'blocked' => blocked_because($offer->php_version ?? '', '')];
            break;
        }
    }
    foreach (get_plugin_updates() as $file => $plugin) {
        $updates[] = ['kind' => 'plugin', 'slug' => plugin_slug($file), 'from' => $plugin->Version, 'to' => $plugin->update->new_version, 'name' => $plugin->Name,
            'blocked' => blocked_because($plugin->update->requires_php ?? '', $plugin->update->requires ?? ''),
            'needs' => array_values(array_filter(array_map('trim', explode(',', $plugin->RequiresPlugins ?? ''))))];
    }
    foreach (get_theme_updates() as $slug => $theme) {
        $updates[] = ['kind' => 'theme', 'slug' => $slug, 'from' => (string) $theme->get('Version'), 'to' => $theme->update['new_version'], 'name' => (string) $theme->get('Name'),
            'blocked' => blocked_because($theme->update['requires_php'] ?? '', $theme->update['requires'] ?? '')];
    }
    foreach (wp_get_translation_updates() as $pack) {
        $updates[] = ['kind' => 'translation', 'slug' => translation_slug($pack), 'from' => translated_at($pack), 'to' => (string) $pack->updated,
            'name' => translated_name($pack) . " ({$pack->language})", 'blocked' => blocked_because('', '')];
    }
    return $updates;
}

/** `plugin-akismet-ja`: a plugin and a theme may have one name; `core-ja` for WordPress itself. */
function translation_slug($pack)
{
    return $pack->type . ($pack->slug === 'default' ? '' : "-{$pack->slug}") . "-{$pack->language}";
}

/** When the words that are installed were last revised (UTC); null where there are none. */
function translated_at($pack)
{
    $installed = wp_get_installed_translations($pack->type === 'core' ? 'core' : "{$pack->type}s");
    $date = $installed[$pack->slug][$pack->language]['PO-Revision-Date'] ?? '';
    return $date === '' ? null : substr($date, 0, 19);
}

function translated_name($pack)
{
    if ($pack->type === 'core') {
        return 'WordPress';
    }
    foreach ($pack->type === 'plugin' ? get_plugins() : [] as $file => $plugin) {
        if (plugin_slug($file) === $pack->slug) {
            return $plugin['Name'];
        }
    }
    return $pack->type === 'theme' ? (string) wp_get_theme($pack->slug)->get('Name') : $pack->slug;
}

/** Why an update cannot be applied here, or null. WordPress would refuse it half-way, or somebody else would undo it. */
function blocked_because($php, $wordpress)
{
    if (!wp_is_file_mod_allowed('modoseru_update')) {
        return 'the site forbids changes of its files (DISALLOW_FILE_MODS)';
    }
    if (is_string($php) && $php !== '' && version_compare(PHP_VERSION, $php, '<')) {
        return "it needs PHP $php, and the site has " . PHP_VERSION;
    }
    // A release candidate counts as its release, as in WordPress itself.
    if (is_string($wordpress) && $wordpress !== '' && version_compare(strtok($GLOBALS['wp_version'], '-'), $wordpress, '<')) {
        return "it needs WordPress $wordpress, and the site has {$GLOBALS['wp_version']}";
    }
    foreach (['.git', '.svn', '.hg'] as $name) {
        if (is_dir(ABSPATH . $name) || is_dir(WP_CONTENT_DIR . "/$name")) {
            return "its files are under version control ($name): they are deployed from elsewhere";
        }
    }
    return null;
}

/** The child that empties a persistent object cache. */
function answer_flush(Request $request)
{
    define('WP_INSTALLING', true);
    return new Boot(Installation::find($request), $request, function () {
        wp_cache_flush();
        return null;
    });
}
