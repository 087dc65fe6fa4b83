<?php
// The rehearsal: a generation restored beside the live site, WordPress booted on it, its content found, time taken.
// Nothing live is touched: other files (open_basedir), other tables (a handle that refuses every statement that names a
// live one), no mail, no HTTP, no cron, no processes. What it holds back are accidents: code that opens a connection of
// its own with the credentials of wp-config.php could do here what it can do in the live site anyway.

/** What the staged site may not call; from PHP 8 on a stand-in answers, before it a warning. */
const MUTED = ['exec', 'shell_exec', 'system', 'passthru', 'popen', 'proc_open', 'pcntl_exec', 'pcntl_fork', 'posix_kill', 'dl',
    'fsockopen', 'pfsockopen', 'stream_socket_client', 'socket_connect', 'curl_exec', 'curl_multi_exec', 'imap_open', 'mail'];
const GUARDED = ['mysqli_query', 'mysqli_real_query', 'mysqli_multi_query', 'mysqli_prepare', 'mysqli_execute_query'];
const RENDER_S = 120;

/** The operation `drill`. */
function operation_drill(Operation $operation)
{
    $operation->step('preflight');
    sweep_parts($operation->request);
    $generation = sealed_generation($operation->request);
    if ($generation->visits) {
        check_visitor($operation, $generation);
    } else {
        $operation->remember('generation', $generation->id);
        $generation->check_index();
    }
    $preflight = Preflight::of(new Request(['fresh' => true] + $operation->request->fields), $generation, 'all');
    $preflight->refuse();
    $site = installation_for_restore($operation->request, $generation);
    $generation->visits && refuse_strangers(Database::open($site));
    $operation->step('stage');
    stage_files($operation, $generation, 'all');
    $names = rehearsal_names($operation, $generation);
    $staged = stage_tables($operation, $generation, $names);
    $operation->step('verify');
    verify_staged($operation, $generation, 'all', $staged);
    $operation->step('boot');
    try {
        $found = rehearse(new Rehearsal($operation, $generation, $site, $names));
    } catch (Failure $e) {
        $other = array_column($preflight->warnings, 'message', 'code')['php'] ?? null;
        if ($e->word === 'drill_failed' && $generation->visits && $other !== null) {
            throw new Failure('not_judged', $e->getMessage() . "; $other", 'nothing was proven; choose a standby with the same PHP');
        }
        throw $e;
    }
    $operation->step('drop');
    drop_staging($operation);
    if ($left = tables_of_rehearsal(Database::open($site), rehearsal_prefix($operation))) {
        throw new Failure('no_database', 'tables of the rehearsal could not be dropped: ' . implode(', ', array_slice($left, 0, 3)), 'run the drill again');
    }
    $operation->finish('done', $found);
}

/** What did not arrive whole disproves nothing of what lies in the vault. */
function check_visitor(Operation $operation, Generation $generation)
{
    try {
        $generation->check_incoming($operation);
    } catch (Failure $e) {
        throw new Failure('not_judged', 'it did not arrive whole: ' . $e->getMessage(), 'nothing was proven; drill it again');
    }
}

/** The visitor's code can do with the database what it likes: nobody else's may lie there. */
function refuse_strangers(Database $database)
{
    $others = preg_grep('/^_[mo][0-9a-f]{6}_/', all_tables($database), PREG_GREP_INVERT);
    if ($others) {
        throw new Failure('no_database', "the database {$database->name} holds tables of something else: " . reset($others), 'name an empty one in [server.database]');
    }
}

function rehearsal_prefix(Operation $operation)
{
    return '_m' . substr($operation->id, -6) . '_';
}

/** `wp_posts` becomes `_mTAG_posts`: WordPress finds its tables by a prefix of their own. */
function rehearsal_names(Operation $operation, Generation $generation)
{
    $own = rehearsal_prefix($operation);
    $prefix = $generation->summary['database']['prefix'];
    $names = [];
    foreach ($generation->summary['tables'] as $i => $part) {
        if ($part['kind'] === 'table') {
            $rest = strncmp($part['name'], $prefix, strlen($prefix)) === 0 ? substr($part['name'], strlen($prefix)) : '';
            $names[$part['name']] = $rest !== '' && strlen($own . $rest) <= 64 ? $own . $rest : $own . $i;
        }
    }
    return $names;
}

function tables_of_rehearsal(Database $database, $prefix)
{
    return array_values(array_filter(all_tables($database), function ($name) use ($prefix) {
        return strncmp($name, $prefix, strlen($prefix)) === 0;
    }));
}

function all_tables(Database $database)
{
    return array_column($database->rows('SELECT TABLE_NAME n FROM information_schema.TABLES WHERE TABLE_SCHEMA='
        . $database->quote($database->name)), 'n');
}

/** Where the staged copy lies, and under which names. */
final class Rehearsal
{
    public $operation;
    public $generation;
    public $site;
    public $names;
    public $prefix;
    public $old;
    public $stage;
    public $root;
    public $abspath;
    public $content;
    public $plugins;
    public $own;

    public function __construct(Operation $operation, Generation $generation, Installation $site, array $names)
    {
        $this->operation = $operation;
        $this->generation = $generation;
        $this->site = $site;
        $this->names = $names;
        $this->prefix = rehearsal_prefix($operation);
        $this->old = $generation->summary['database']['prefix'];
        $this->stage = $operation->recall('places')[0] . '/stage';
        $this->root = "{$this->stage}/root";
        $this->own = "{$this->stage}/rehearsal";
        $areas = $generation->summary['areas'];
        $this->abspath = $this->root . substr($generation->summary['abspath'], strlen($areas['root']));
        $content = $site->setting('WP_CONTENT_DIR', $generation->summary['abspath'] . '/wp-content');
        $this->content = isset($areas['content']) ? "{$this->stage}/content" : $this->twin($content);
        $this->plugins = isset($areas['plugins']) ? "{$this->stage}/plugins"
            : ($site->setting('WP_PLUGIN_DIR') ? $this->twin($site->setting('WP_PLUGIN_DIR')) : "{$this->content}/plugins");
    }

    /** Where the staged counterpart of a live path stands. */
    private function twin($path)
    {
        foreach ([realpath($path) ?: $path, $path] as $wanted) {
            foreach ($this->generation->summary['areas'] as $area => $recorded) {
                foreach ([realpath($recorded) ?: $recorded, $recorded] as $start) {
                    if ($area !== 'config' && Installation::below($wanted, $start)) {
                        return rtrim("{$this->stage}/$area" . substr($wanted, strlen(rtrim($start, '/'))), '/');
                    }
                }
            }
        }
        throw new Failure('drill_failed', "the generation does not hold $path", 'correct [server] root, then back up anew');
    }

    /** Writes a file of ours into the staged tree, never through a link that leads out of it. */
    public function put($path, $bytes)
    {
        refuse_way_out(dirname($path), [$this->stage]);
        make_folder(dirname($path), 0755);
        @chmod(dirname($path), 0755);
        @unlink($path);
        write_durably($path, $bytes);
    }

    public function remove($path)
    {
        refuse_way_out(dirname($path), [$this->stage]);
        @chmod(dirname($path), 0755);
        @unlink($path);
    }
}

/** Boots the staged copy and looks for what the generation holds; returns a sentence, throws `drill_failed`. */
function rehearse(Rehearsal $stage)
{
    $posts = $stage->names[$stage->old . 'posts'] ?? null;
    $options = $stage->names[$stage->old . 'options'] ?? null;
    if ($posts === null || $options === null) {
        throw new Failure('drill_failed', 'the generation has no table of posts or of options', 'take another generation');
    }
    $database = Database::open($stage->site);
    rename_keys($database, $stage);
    $newest = $database->rows('SELECT ID, post_title FROM ' . Database::name($posts)
        . " WHERE post_status='publish' AND post_type='post' AND post_password='' ORDER BY post_date_gmt DESC, ID DESC LIMIT 1");
    $title = (string) $database->one('SELECT option_value FROM ' . Database::name($options) . " WHERE option_name='blogname'");
    prepare_rehearsal($stage);
    $live = all_tables($database);
    $front = rehearsed_page($stage, $live, '', 'the front page');
    if (stripos($front, '<title') === false || stripos($front, '</html>') === false) {
        throw new Failure('drill_failed', 'the front page of the restored copy ' . (trim($front) === '' ? 'is empty' : 'is not whole'), 'see modoseru diff');
    }
    $wanted = $newest ? wp_plain($newest[0]['post_title']) : '';
    if ($wanted !== '') {
        $page = rehearsed_page($stage, $live, 'p=' . (int) $newest[0]['ID'], 'the newest post');
        if (strpos(html_entity_decode($page, ENT_QUOTES | ENT_HTML5, 'UTF-8'), $wanted) === false) {
            throw new Failure('drill_failed', 'the newest post of the generation is not on its page in the restored copy', 'see modoseru diff');
        }
    }
    $title = html_entity_decode($title, ENT_QUOTES | ENT_HTML5, 'UTF-8');
    return ($stage->generation->visits ? 'restored on a standby; “' : 'restored beside the site; “') . $title . '” starts' . ($wanted !== '' ? ' and shows “' . $newest[0]['post_title'] . '”' : '');
}

/** Keys of options and users that carry the table prefix in their name. */
function rename_keys(Database $database, Rehearsal $stage)
{
    $cut = strlen($stage->old) + 1;
    $users = $stage->site->setting('CUSTOM_USER_META_TABLE', $stage->old . 'usermeta');
    foreach ($stage->names as $name => $staged) {
        $column = preg_match('/^' . preg_quote($stage->old, '/') . '(\d+_)?options$/D', $name, $found) ? 'option_name' : ($name === $users ? 'meta_key' : null);
        if ($column !== null) {
            $which = $column === 'meta_key' ? "LEFT($column, " . strlen($stage->old) . ')=' . $database->quote($stage->old)
                : "$column=" . $database->quote($stage->old . ($found[1] ?? '') . 'user_roles');
            $database->query('UPDATE ' . Database::name($staged) . " SET $column=CONCAT(" . $database->quote($stage->prefix) . ", SUBSTRING($column, $cut)) WHERE $which");
        }
    }
}

/** The title as WordPress prints it loses markup and typographic signs; its longest plain run is enough. */
function wp_plain($title)
{
    $runs = preg_split('/[\'"`<>&\-.…()\[\]\\\\]+|\d+x\d+|\s{2,}/u', html_entity_decode($title, ENT_QUOTES | ENT_HTML5, 'UTF-8')) ?: [''];
    usort($runs, function ($a, $b) {
        return strlen($b) - strlen($a);
    });
    return trim($runs[0]);
}

/** The generation's own wp-config.php between what we set before it and after it, our handle, and no other drop-in. */
function prepare_rehearsal(Rehearsal $stage)
{
    $area = "{$stage->stage}/config/wp-config.php";
    $source = is_file($area) ? $area : "{$stage->abspath}/wp-config.php";
    if (!is_file($source) || is_link($source)) {
        throw new Failure('drill_failed', 'the generation has no wp-config.php', 'take another generation');
    }
    $file = is_file($area) ? dirname($stage->abspath) . '/wp-config.php' : $source;
    $stage->put("{$stage->own}/config.php", without_boot((string) file_get_contents($source), $file));
    make_folder("{$stage->own}/tmp");
    $constants = [];
    foreach (['DB_NAME', 'DB_USER', 'DB_PASSWORD', 'DB_HOST', 'DB_CHARSET', 'DB_COLLATE', 'MYSQL_CLIENT_FLAGS'] as $name) {
        if (isset($stage->site->settings[$name])) {
            $constants[$name] = $stage->site->settings[$name];
        }
    }
    foreach (['CUSTOM_USER_TABLE', 'CUSTOM_USER_META_TABLE'] as $name) {
        $table = $stage->site->setting($name);
        if ($table !== null && isset($stage->names[$table])) {
            $constants[$name] = $stage->names[$table];
        }
    }
    $constants += ['ABSPATH' => "{$stage->abspath}/", 'WP_CONTENT_DIR' => $stage->content, 'WP_PLUGIN_DIR' => $stage->plugins,
        'WPMU_PLUGIN_DIR' => "{$stage->content}/mu-plugins", 'WP_TEMP_DIR' => "{$stage->own}/tmp/", 'DISABLE_WP_CRON' => true,
        'WP_HTTP_BLOCK_EXTERNAL' => true, 'DISALLOW_FILE_MODS' => true, 'AUTOMATIC_UPDATER_DISABLED' => true,
        'WP_DISABLE_FATAL_ERROR_HANDLER' => true, 'WP_CACHE' => false, 'WP_DEBUG' => false, 'WP_DEBUG_LOG' => false];
    $text = "<?php\n";
    foreach ($constants as $name => $value) {
        $text .= "defined('$name') || define('$name', " . var_export($value, true) . ");\n";
    }
    $stage->put("{$stage->abspath}/wp-config.php", $text . "rehearsal_hooks();\nrequire " . var_export("{$stage->own}/config.php", true)
        . ";\n\$table_prefix = " . var_export($stage->prefix, true) . ";\nrequire_once ABSPATH . 'wp-settings.php';\n");
    foreach (['object-cache.php', 'advanced-cache.php', 'maintenance.php'] as $name) {
        $stage->remove("{$stage->content}/$name");
    }
    $stage->remove("{$stage->abspath}/.maintenance");
    $stage->put("{$stage->content}/db.php", "<?php\n\$GLOBALS['wpdb'] = rehearsal_handle();\n");
}

/** A page of the staged copy; a redirect within the site is gone after. */
function rehearsed_page(Rehearsal $stage, array $live, $query, $what)
{
    $url = $stage->operation->request->text('url', 'http://localhost/');
    $host = parse_url($url, PHP_URL_HOST);
    $url = strtok($url, '?#') . ($query === '' ? '' : "?$query");
    for ($hop = 0; $hop < 5; $hop++) {
        $answer = render_staged($stage, $live, $url);
        if ($answer['to'] === null && $answer['status'] < 300) {
            return $answer['page'];
        }
        if ($answer['status'] >= 400) {
            throw new Failure('drill_failed', "$what of the restored copy answers {$answer['status']}: " . words_of($answer['page']), 'see modoseru diff');
        }
        $next = (string) $answer['to'];
        $next = strncmp($next, '/', 1) === 0 && strncmp($next, '//', 2) !== 0 ? preg_replace('~^(https?://[^/]+).*~s', '$1', $url) . $next : $next;
        if (parse_url($next, PHP_URL_HOST) !== $host || strpos((string) parse_url($next, PHP_URL_PATH), 'wp-login.php') !== false) {
            break;
        }
        $url = $next;
    }
    throw new Failure('not_judged', "$what of the restored copy sends its visitors elsewhere: " . substr((string) $answer['to'], 0, 200),
        'nothing was proven; look at the restored pages by hand');
}

/** What a page says, in a line. */
function words_of($page)
{
    $text = preg_replace(['~<(style|script)\b.*?</\1>~is', '/<[^>]*>/', '/\s+/'], ['', ' ', ' '], $page);
    $text = trim(html_entity_decode((string) $text, ENT_QUOTES | ENT_HTML5, 'UTF-8'));
    return $text === '' ? 'an empty page' : mb_cut($text, 150);
}

function mb_cut($text, $most)
{
    return preg_match('/^.{0,' . $most . '}/su', $text, $found) ? $found[0] : substr($text, 0, $most);
}

/** In a process that can open nothing outside the staged copy. Returns [page, status, to]. */
function render_staged(Rehearsal $stage, array $live, $url)
{
    list($command, $asked) = render_command($stage, $live, $url, PHP_BINARY, PHP_MAJOR_VERSION);
    $began = microtime(true);
    list($status, $out, $err) = run($command, json($asked), RENDER_S);
    $answer = last_answer($asked['marker'], $out);
    if (is_array($answer) && isset($answer['page']) && ($answer['refused'] === null || $answer['status'] < 400)) {
        // What was flushed by the site itself stands before the answer.
        return ['page' => trim(substr($out, 0, strrpos($out, "\n{$asked['marker']} "))) . base64_decode($answer['page'])] + $answer;
    }
    if (microtime(true) - $began >= RENDER_S) {
        throw new Failure('not_judged', 'the restored copy gave no page within ' . RENDER_S . ' s', 'try again when the server is less busy');
    }
    $said = is_array($answer) ? $answer['why'] ?? '' : substr(trim($err) ?: "its process ended with status $status", -300);
    $said = str_replace([$stage->root . '/', $stage->stage . '/'], '', $said);
    if (is_array($answer) && $answer['refused'] !== null) {
        throw new Failure('not_judged', "a rehearsal may not use live tables, and the site names {$answer['refused']} by itself", 'nothing was proven; look at its plugins');
    }
    throw new Failure('drill_failed', 'WordPress does not start on the restored copy: ' . $said, 'see modoseru diff');
}

/** The command of the child and what it is asked: `$php`, whose major version is `$major`, can open nothing outside. */
function render_command(Rehearsal $stage, array $live, $url, $php, $major)
{
    $own = $stage->own;
    $settings = ['disable_functions' => implode(',', array_merge(MUTED, $major >= 8 ? GUARDED : [])),
        'open_basedir' => implode(':', [$stage->stage, __FILE__, '/usr/share', '/usr/local/share', '/usr/lib', '/dev/urandom']),
        'allow_url_fopen' => '0', 'sendmail_path' => 'false', 'ffi.enable' => '0', 'sys_temp_dir' => "$own/tmp", 'upload_tmp_dir' => "$own/tmp",
        'session.save_path' => "$own/tmp", 'memory_limit' => '256M', 'display_errors' => 'stderr', 'error_log' => ''];
    $command = [$php];
    foreach ($settings as $name => $value) {
        array_push($command, '-d', "$name=$value");
    }
    // The child is given a marker of its own: what runs in it could read it.
    $asked = ['marker' => random_hex(32), 'index' => "{$stage->root}/index.php", 'abspath' => $stage->abspath, 'url' => $url,
        'base' => $stage->operation->request->text('url', 'http://localhost/'), 'live' => $live, 'prefix' => $stage->old, 'own' => $stage->prefix] + $stage->operation->request->fields;
    return [array_merge($command, [__FILE__, 'render']), $asked];
}

/** What the child knows about its rehearsal. */
final class Rehearsed
{
    public static $tables = [];
    public static $mine = [];
    public static $refused = null;
    public static $to = null;
}

/** The child: renders as a visitor's request would, and answers even when WordPress ends the process. */
function answer_render(Request $request)
{
    if (function_exists('pcntl_alarm')) {
        pcntl_alarm(RENDER_S + 10);  // where the worker is dead, nobody else ends what hangs
    }
    foreach ($request->words('live') as $name) {
        $name = strtolower($name);
        if (strncmp($name, strtolower($request->text('own')), strlen($request->text('own'))) !== 0) {
            Rehearsed::$tables[$name] = true;
            if (strncmp($name, strtolower($request->text('prefix')), strlen($request->text('prefix'))) === 0) {
                Rehearsed::$mine[$name] = true;
            }
        }
    }
    $request->get('watched') && Said::watch();
    stand_in();
    parse_str((string) parse_url($request->text('url'), PHP_URL_QUERY), $_GET);
    $_REQUEST = $_GET;
    $_SERVER['QUERY_STRING'] = (string) parse_url($request->text('url'), PHP_URL_QUERY);
    $_SERVER['SCRIPT_FILENAME'] = $request->text('index');
    $_SERVER['SCRIPT_NAME'] = $_SERVER['PHP_SELF'] = rtrim((string) parse_url($request->text('base'), PHP_URL_PATH), '/') . '/index.php';
    $answered = false;
    $answer = function () use ($request, &$answered) {
        $answered = true;
        $request->get('lists') && Said::list_pages();
        return ['page' => base64_encode(printed()), 'status' => http_response_code() ?: 200, 'to' => Rehearsed::$to, 'refused' => Rehearsed::$refused, 'found' => array_values(Said::$found),
            'pages' => Said::$pages];
    };
    register_shutdown_function(function () use ($request, &$answered, $answer) {
        if ($answered) {
            return;
        }
        // A redirect, exit or a fatal error ended WordPress; what it had printed by then is the page.
        $error = error_get_last();
        $fatal = $error && in_array($error['type'], [E_ERROR, E_PARSE, E_COMPILE_ERROR, E_CORE_ERROR, E_RECOVERABLE_ERROR], true);
        $boot = $GLOBALS['modoseru_boot_error'] ?? ($fatal ? ['message' => strtok($error['message'], "\n")] + $error : null);
        say($request->marker, $boot ? ['why' => "{$boot['message']} ({$boot['file']}:{$boot['line']})", 'refused' => Rehearsed::$refused,
            'fatal' => array_intersect_key($boot, ['message' => 1, 'file' => 1, 'line' => 1]), 'found' => array_values(Said::$found)] : $answer());
    });
    if (!is_file($request->text('index'))) {
        $answered = true;
        say($request->marker, ['why' => 'there is no index.php', 'refused' => null]);
        return 1;
    }
    $site = new Installation();
    $site->abspath = $request->text('abspath');
    $boot = new Boot($site, $request, $answer);
    $boot->file = $request->text('index');
    $boot->theme = true;
    return $boot;
}

/** From PHP 8 on, a function that is disabled can be defined anew. */
function stand_in()
{
    $values = ['mail' => 'true', 'shell_exec' => 'null'];
    foreach (MUTED as $name) {
        if (!function_exists($name)) {
            $head = $name === 'curl_multi_exec' ? '$multi, &$running' : '...$any';
            eval("function $name($head) { " . ($name === 'curl_multi_exec' ? '$running = 0; ' : '') . 'return ' . ($values[$name] ?? 'false') . '; }');
        }
    }
    foreach (GUARDED as $name) {
        if (!function_exists($name)) {
            $method = substr($name, 7);
            eval("function $name(\$link, \$query, ...\$more) { refuse_live(\$query); return \$link->$method(\$query, ...\$more); }");
        }
    }
}

/** Throws where a statement names a table that is not the rehearsal's. */
function refuse_live($query)
{
    // Texts go; what stands in backticks or comments stays (a comment may be one that MySQL carries out).
    $bare = preg_replace_callback('/\'(?:[^\'\\\\]++|\\\\.|\'\')*+\'|"(?:[^"\\\\]++|\\\\.|"")*+"|`(?:[^`]++|``)*+`|\/\*.*?\*\/|(?:--\s|#)[^\n]*+/s', function ($found) {
        return $found[0][0] === "'" || $found[0][0] === '"' ? "''" : $found[0];
    }, (string) $query);
    if ($bare === null) {
        throw new Exception('a statement that cannot be read is refused in a rehearsal');
    }
    preg_match_all('/[0-9A-Za-z_$\x80-\xff]+|`((?:[^`]++|``)*+)`/', $bare, $words);
    // A table of something else in the same database may be called like a column: it counts where a table stands.
    preg_match_all('/(?:\b(?:FROM|JOIN|INTO|UPDATE|TABLES?|IGNORE|EXISTS)\b|,)[\s(]*(?:`((?:[^`]++|``)*+)`|([0-9A-Za-z_$\x80-\xff]+))/i', $bare, $places);
    foreach ([[Rehearsed::$mine, array_merge($words[0], $words[1])], [Rehearsed::$tables, array_merge($places[1], $places[2])]] as list($refused, $named)) {
        foreach ($named as $name) {
            if (isset($refused[strtolower($name)])) {
                Rehearsed::$refused = Rehearsed::$refused ?? $name;
                throw new Exception("a rehearsal may not use the live table $name");
            }
        }
    }
}

/** WordPress's own handle, which first refuses whatever names a live table. `wp-content/db.php` of the staged copy calls it. */
function rehearsal_handle()
{
    if (!class_exists('wpdb')) {
        require_once ABSPATH . WPINC . (is_file(ABSPATH . WPINC . '/class-wpdb.php') ? '/class-wpdb.php' : '/wp-db.php');
    }
    return new class (DB_USER, DB_PASSWORD, DB_NAME, DB_HOST) extends wpdb {
        public function query($query)
        {
            refuse_live($query);
            return parent::query($query);
        }
    };
}

/** In place before any plugin is; WordPress takes over what stands in `wp_filter` when it starts. */
function rehearsal_hooks()
{
    $hooks = [
        'pre_wp_mail' => function () {
            return true;
        },
        'pre_http_request' => function () {
            return new WP_Error('rehearsal', 'no HTTP in a rehearsal');
        },
        'init' => function () {
            remove_action('template_redirect', 'redirect_canonical');
        },
        'wp_redirect' => function ($to) {
            Rehearsed::$to = (string) $to;
            return $to;
        },
    ];
    foreach ($hooks as $name => $hook) {
        $GLOBALS['wp_filter'][$name][PHP_INT_MAX]['modoseru'] = ['function' => $hook, 'accepted_args' => 1];
    }
}

/** Through the handlers of all buffers but the one that Boot opened first; 4 MiB at the most. */
function printed()
{
    while (ob_get_level() > 1 && @ob_end_flush()) {
    }
    $page = '';
    while (ob_get_level()) {
        $page = ob_get_clean() . $page;
    }
    return substr($page, 0, 4194304);
}
