<?php
// The rehearsal: a generation restored beside the live site, WordPress booted on it, its content found, time taken.
// Nothing live is touched: other files, other tables, no mail, no HTTP, no cron, and a database handle that refuses
// every statement that names a live table.

/** The operation `drill`. */
function operation_drill(Operation $operation)
{
    $operation->step('preflight');
    sweep_parts($operation->request);
    $generation = Generation::open($operation->request, $operation->request->text('generation'));
    $operation->remember('generation', $generation->id);
    $generation->check_index();
    $blockers = blockers($operation->request, $generation, 'all');
    if ($blockers) {
        throw new Failure($blockers[0]['code'], $blockers[0]['message'], $blockers[0]['hint']);
    }
    $operation->step('stage');
    $site = installation_for_restore($operation->request, $generation);
    stage_files($operation, $generation, 'all');
    $names = rehearsal_names($operation, $generation);
    $staged = stage_tables($operation, $generation, $names);
    $operation->step('verify');
    verify_staged($operation, $generation, 'all', $staged);
    $operation->step('boot');
    $found = rehearse($operation, $generation, $site, $names);
    $operation->step('drop');
    drop_staging($operation);
    $operation->finish('done', $found, ['generation' => $generation->id]);
}

/** `wp_posts` becomes `_mTAG_posts`: WordPress finds its tables by a prefix of their own. */
function rehearsal_names(Operation $operation, Generation $generation)
{
    $tag = substr($operation->id, -6);
    $prefix = $generation->summary['database']['prefix'];
    $names = [];
    foreach ($generation->summary['tables'] as $i => $part) {
        if ($part['kind'] === 'table') {
            $own = strncmp($part['name'], $prefix, strlen($prefix)) === 0 ? substr($part['name'], strlen($prefix)) : '';
            $name = "_m{$tag}_$own";
            $names[$part['name']] = $own !== '' && strlen($name) <= 64 ? $name : "_m{$tag}_$i";
        }
    }
    return $names;
}

/** Boots the staged copy and looks for what the generation holds; returns a sentence, throws `drill_failed`. */
function rehearse(Operation $operation, Generation $generation, Installation $site, array $names)
{
    $place = $operation->recall('places')[0];
    $root = "$place/stage/root";
    $prefix = '_m' . substr($operation->id, -6) . '_';
    $old = $generation->summary['database']['prefix'];
    $database = Database::open($site);
    $posts = $names[$old . 'posts'] ?? null;
    $options = $names[$old . 'options'] ?? null;
    if ($posts === null || $options === null) {
        throw new Failure('drill_failed', 'the generation has no table of posts or of options', 'take another generation');
    }
    rename_keys($database, $names, $old, $prefix);
    $newest = $database->rows('SELECT ID, post_title FROM ' . Database::name($posts)
        . " WHERE post_status='publish' AND post_type='post' ORDER BY post_date_gmt DESC LIMIT 1");
    $title = (string) $database->one('SELECT option_value FROM ' . Database::name($options) . " WHERE option_name='blogname'");
    $abspath = $root . substr($generation->summary['abspath'], strlen($generation->summary['areas']['root']));
    prepare_rehearsal($abspath, $site, $prefix, array_keys($names), $place);
    $front = render_staged($operation, $abspath, '');
    if (stripos($front, '<title') === false) {
        throw new Failure('drill_failed', 'the front page of the restored copy has no title', 'see modoseru diff');
    }
    if ($newest) {
        $page = render_staged($operation, $abspath, 'p=' . (int) $newest[0]['ID']);
        if (strpos(html_entity_decode($page, ENT_QUOTES), wp_plain($newest[0]['post_title'])) === false) {
            throw new Failure('drill_failed', 'the newest post of the generation is not on its page in the restored copy', 'see modoseru diff');
        }
    }
    return 'restored beside the site; “' . $title . '” starts' . ($newest ? ' and shows “' . $newest[0]['post_title'] . '”' : '');
}

/** Keys of options and users that carry the table prefix in their name. */
function rename_keys(Database $database, array $names, $old, $new)
{
    if (isset($names[$old . 'options'])) {
        $database->query('UPDATE ' . Database::name($names[$old . 'options']) . ' SET option_name=' . $database->quote($new . 'user_roles')
            . ' WHERE option_name=' . $database->quote($old . 'user_roles'));
    }
    if (isset($names[$old . 'usermeta'])) {
        $database->query('UPDATE ' . Database::name($names[$old . 'usermeta']) . ' SET meta_key=CONCAT(' . $database->quote($new)
            . ', SUBSTRING(meta_key, ' . (strlen($old) + 1) . ')) WHERE LEFT(meta_key, ' . strlen($old) . ')=' . $database->quote($old));
    }
}

/** The title as WordPress prints it loses markup and typographic quotes; its longest plain run is enough. */
function wp_plain($title)
{
    $runs = preg_split('/[\'"<>&\-.…]+/u', html_entity_decode($title, ENT_QUOTES)) ?: [''];
    usort($runs, function ($a, $b) {
        return strlen($b) - strlen($a);
    });
    return trim($runs[0]);
}

/** A wp-config.php of our own, no drop-ins but our handle, no must-use plugin but our guard. */
function prepare_rehearsal($abspath, Installation $site, $prefix, array $live, $place)
{
    $content = "$abspath/wp-content";
    $guard = "$place/guard";
    make_folder($guard);
    make_folder($content, 0755);
    foreach (['object-cache.php', 'advanced-cache.php', 'db.php', 'maintenance.php'] as $name) {
        @unlink("$content/$name");
    }
    @unlink("$abspath/.maintenance");
    $constants = '';
    foreach (['DB_NAME', 'DB_USER', 'DB_PASSWORD', 'DB_HOST', 'DB_CHARSET', 'DB_COLLATE', 'MYSQL_CLIENT_FLAGS'] as $name) {
        if (isset($site->settings[$name])) {
            $constants .= "define('$name', " . var_export($site->settings[$name], true) . ");\n";
        }
    }
    $constants .= "define('DISABLE_WP_CRON', true);\ndefine('WP_HTTP_BLOCK_EXTERNAL', true);\ndefine('DISALLOW_FILE_MODS', true);\n"
        . "define('AUTOMATIC_UPDATER_DISABLED', true);\ndefine('WP_DISABLE_FATAL_ERROR_HANDLER', true);\ndefine('WP_CACHE', false);\n"
        . "define('WPMU_PLUGIN_DIR', " . var_export($guard, true) . ");\n";
    @unlink("$abspath/wp-config.php");
    write_durably("$abspath/wp-config.php", "<?php\n{$constants}\$table_prefix = " . var_export($prefix, true) . ";\n"
        . "if (!defined('ABSPATH')) { define('ABSPATH', __DIR__ . '/'); }\nrequire_once ABSPATH . 'wp-settings.php';\n");
    write_durably("$guard/guard.php", "<?php\nadd_filter('pre_wp_mail', '__return_true', PHP_INT_MAX);\n"
        . "add_filter('pre_http_request', function () { return new WP_Error('drill', 'no HTTP in a rehearsal'); }, PHP_INT_MAX);\n"
        . "remove_action('template_redirect', 'redirect_canonical');\n"
        . "add_action('init', function () { remove_action('template_redirect', 'redirect_canonical'); }, PHP_INT_MAX);\n");
    write_durably("$content/db.php", guarded_handle($live), 0600);
}

/** WordPress's own handle, which first refuses whatever names a table of the live site. */
function guarded_handle(array $live)
{
    $pattern = '/(?<![0-9A-Za-z_$])(?:' . implode('|', array_map(function ($name) {
        return preg_quote($name, '/');
    }, $live)) . ')(?![0-9A-Za-z_$])/';
    return "<?php\nif (!class_exists('wpdb')) { require_once ABSPATH . WPINC . (is_file(ABSPATH . WPINC . '/class-wpdb.php') ? '/class-wpdb.php' : '/wp-db.php'); }\n"
        . "class modoseru_wpdb extends wpdb {\n    public function query(\$query) {\n"
        . "        \$bare = preg_replace('/\\'(?:[^\\'\\\\\\\\]|\\\\\\\\.)*\\'/s', \"''\", (string) \$query);\n"
        . '        if (preg_match(' . var_export($pattern, true) . ", \$bare)) { throw new Exception('a rehearsal asked for a live table'); }\n"
        . "        return parent::query(\$query);\n    }\n}\n"
        . "\$wpdb = new modoseru_wpdb(DB_USER, DB_PASSWORD, DB_NAME, DB_HOST);\n";
}

/** A page of the staged copy, rendered in a process that can open nothing outside it. */
function render_staged(Operation $operation, $abspath, $query)
{
    $place = $operation->recall('places')[0];
    $command = myself('render');
    $at = array_search('open_basedir=', $command, true);
    $command[$at] = 'open_basedir=' . implode(':', [$place, __FILE__, '/usr/share', '/usr/lib', '/tmp', '/dev/urandom']);
    list($status, $out, $err) = run($command, json($operation->request->fields + ['abspath' => $abspath, 'query' => $query]), 120);
    $answer = last_answer($operation->request->marker, $out);
    if (!is_array($answer) || !isset($answer['page'])) {
        $said = is_array($answer) ? $answer['why'] : substr(trim($err), -300);
        throw new Failure('drill_failed', 'WordPress does not start on the restored copy: ' . $said, 'see modoseru diff');
    }
    return base64_decode($answer['page']);
}

/** The child: renders as a visitor's request would, and answers even when WordPress ends the process. */
function answer_render(Request $request)
{
    parse_str($request->text('query'), $_GET);
    $_REQUEST = $_GET;
    $_SERVER['QUERY_STRING'] = $request->text('query');
    $page = '';
    $answered = false;
    register_shutdown_function(function () use ($request, &$answered) {
        if ($answered) {
            return;
        }
        // A redirect or a fatal error ended WordPress; what it had printed by then is the page.
        $page = printed();
        $error = error_get_last();
        $fatal = $error && in_array($error['type'], [E_ERROR, E_PARSE, E_COMPILE_ERROR, E_CORE_ERROR], true);
        $boot = $GLOBALS['modoseru_boot_error']['message'] ?? null;
        say($request->marker, $fatal || $boot ? ['why' => $boot ?: strtok($error['message'], "\n") . ' (' . basename($error['file']) . ':' . $error['line'] . ')']
            : ['page' => base64_encode($page)]);
    });
    $site = new Installation();
    $site->abspath = $request->text('abspath');
    $boot = new Boot($site, $request, function () use (&$answered) {
        $answered = true;
        return ['page' => base64_encode(printed())];
    });
    $boot->file = $request->text('abspath') . '/wp-blog-header.php';
    $boot->theme = true;
    return $boot;
}

/** All output buffers, the outermost first; 4 MiB at the most. */
function printed()
{
    $page = '';
    while (ob_get_level()) {
        $page = ob_get_clean() . $page;
    }
    return substr($page, 0, 4194304);
}
