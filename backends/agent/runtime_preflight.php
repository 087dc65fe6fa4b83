<?php
// The operation `runtime`: the site under another PHP, without switching. Syntax and headers are read from the live files;
// pages are rendered on a drill's staged copy, because no setting of PHP keeps a page from writing into the live tree.

const CODE_FILES = 60000;
const CODE_BYTES = 4194304;
const LINT_FILES = 150;
const LINT_S = 60;
const REASONS_MOST = 200;
const REASONS_NOTED = 10;
const FINDINGS_MOST = 500;
const PAGE_ANSWER = 33554432;
/** Without these WordPress does not start. */
const NEEDED_EXTENSIONS = ['mysqli', 'json', 'hash', 'pcre'];
/** What WordPress asks for in its site health, and does without. */
const WANTED_EXTENSIONS = ['curl', 'dom', 'exif', 'fileinfo', 'gd', 'iconv', 'imagick', 'intl', 'mbstring', 'openssl', 'simplexml', 'sodium',
    'xml', 'xmlreader', 'zip', 'zlib'];
/** One process reads many files; a start of `php -l` each takes seventy times as long. */
const LINT = '$m = trim(fgets(STDIN)); $n = 0; if (!function_exists("token_get_all")) { exit(3); }'
    . 'while (($p = fgets(STDIN)) !== false) { try { @token_get_all((string) file_get_contents(base64_decode($p)), TOKEN_PARSE); } catch (Throwable $e) {'
    . ' echo "\n$m ", json_encode(["file" => $n, "message" => $e->getMessage(), "line" => $e->getLine()], JSON_INVALID_UTF8_SUBSTITUTE), "\n"; } $n++; }'
    . 'echo "\n$m ", json_encode(["done" => $n]), "\n";';

function operation_runtime(Operation $operation)
{
    $request = $operation->request;
    $operation->step('binary');
    $own = facts_of_binary(PHP_BINARY);
    $trial = new Trial($operation, Installation::find($request), $own, named_binary($request->text('php')));
    $trial->extensions();
    $operation->step('requires');
    $trial->requires();
    $operation->step('syntax');
    $trial->syntax();
    if ($trial->starts()) {
        $found = staged_trial($operation);
        $operation->step('boot');
        $trial->render(...$found);
        $operation->step('drop');
        drop_staging($operation);
    }
    $trial->conclude();
}

/** [Rehearsal, names of live tables]: the newest generation beside the site, as a drill has it. */
function staged_trial(Operation $operation)
{
    $operation->step('preflight');
    sweep_parts($operation->request);
    $generation = sealed_generation($operation->request);
    $operation->remember('generation', $generation->id);
    $generation->check_index();
    Preflight::of(new Request(['fresh' => true] + $operation->request->fields), $generation, 'all')->refuse();
    $site = installation_for_restore($operation->request, $generation);
    $operation->step('stage');
    stage_files($operation, $generation, 'all');
    $names = rehearsal_names($operation, $generation);
    $staged = stage_tables($operation, $generation, $names);
    $operation->step('verify');
    verify_staged($operation, $generation, 'all', $staged);
    $stage = new Rehearsal($operation, $generation, $site, $names);
    $database = Database::open($site);
    rename_keys($database, $stage);
    prepare_rehearsal($stage);
    return [$stage, all_tables($database)];
}

/** The agent's answer to `found`: what a `runtime` that ended has found. */
function answer_found(Request $request)
{
    $operation = Operation::find($request, $request->text('operation'));
    $found = json_decode((string) @file_get_contents("{$operation->folder}/found"), true);
    if ($operation->kind !== 'runtime' || !is_array($found)) {
        throw new Failure('no_operation', "{$operation->id} has found nothing", 'run modoseru runtime again');
    }
    return $found;
}

/** One site tried under one other PHP. */
final class Trial
{
    private $operation;
    private $site;
    private $from;
    private $to;
    private $reasons = [];
    private $missing = [];
    private $active;
    private $rendered = 0;
    private $files = 0;
    /** What the missing extensions declare: name => extension. */
    private $lost = [];

    public function __construct(Operation $operation, Installation $site, array $from, array $to)
    {
        list($this->operation, $this->site, $this->from, $this->to) = [$operation, $site, $from, $to];
        $this->active = active_code($site);
    }

    private function add($kind, $severity, $slug, $message, $file = null, $line = null, $count = 1)
    {
        $key = "$kind|$slug|$file|$line|" . ($file === null ? $message : '');
        if (isset($this->reasons[$key])) {
            $this->reasons[$key]['count'] += $count;
        } elseif (count($this->reasons) < 2 * FINDINGS_MOST) {
            $this->reasons[$key] = ['kind' => $kind, 'slug' => $slug, 'file' => $file, 'line' => $line, 'message' => mb_cut(trim($message), 300),
                'count' => $count, 'severity' => $severity];
        }
    }

    public function extensions()
    {
        $has = array_map('strtolower', $this->to['extensions']);
        foreach ($this->from['extensions'] as $name) {
            if (!in_array(strtolower($name), $has, true)) {
                $this->missing[] = $name;
                if (in_array(strtolower($name), NEEDED_EXTENSIONS, true)) {
                    $this->add('extension', 'error', 'php', "the extension $name is missing, and WordPress does not start without it");
                } elseif (in_array(strtolower($name), WANTED_EXTENSIONS, true)) {
                    $this->add('extension', 'warning', 'php', "the extension $name is missing, which WordPress asks for");
                }
                $this->lost += names_of_extension($name);
            }
        }
    }

    /** Whether it is of use to render anything. */
    public function starts()
    {
        foreach ($this->reasons as $reason) {
            if ($reason['severity'] === 'error' && ($reason['kind'] === 'extension' || $reason['slug'] === 'wordpress')) {
                return false;
            }
        }
        return true;
    }

    /** What core, plugins and themes say themselves that they need. */
    public function requires()
    {
        $version = (string) @file_get_contents($this->site->abspath . '/wp-includes/version.php', false, null, 0, 16384);
        $wanted = [['wordpress', $this->site->abspath . '/wp-includes/version.php', preg_match('/^\$required_php_version\s*=\s*[\'"]([0-9.]+)/m', $version, $found) ? $found[1] : '']];
        foreach (array_merge(glob($this->site->plugins() . '/*/*.php') ?: [], glob($this->site->plugins() . '/*.php') ?: [],
            glob($this->site->content() . '/themes/*/style.css') ?: []) as $file) {
            $head = (string) @file_get_contents($file, false, null, 0, 8192);
            if (preg_match('/^[ \t\/*#@]*(?:Plugin|Theme) Name:/mi', $head) && preg_match('/^[ \t\/*#@]*Requires PHP:\s*([0-9.]+)/mi', $head, $found)) {
                $wanted[] = [$this->slug($file), $file, $found[1]];
            }
        }
        foreach ($wanted as list($slug, $file, $least)) {
            if ($least !== '' && version_compare($this->to['version'], $least, '<')) {
                $this->add('requires', $this->severity($slug), $slug, "it needs PHP $least", $this->shown($file));
            }
        }
    }

    private function severity($slug)
    {
        return $slug === 'wordpress' || $this->active === null || isset($this->active[$slug]) ? 'error' : 'warning';
    }

    /** Every PHP file of core, plugins and themes. A file that the PHP of now cannot read either is nobody's trouble. */
    public function syntax()
    {
        $cache = $this->operation->request->folder . '/syntax-' . preg_replace('/[^0-9A-Za-z.-]/', '_', $this->to['version']);
        $known = array_flip(array_filter(explode("\n", (string) @file_get_contents($cache))));
        $paths = iterator_to_array(code_files($this->site), false);
        $good = [];
        $total = count($paths);
        foreach (array_chunk($paths, LINT_FILES) as $i => $chunk) {
            $asked = [];
            foreach ($chunk as $path) {
                $this->lost && $this->uses($path);
                $hash = file_sha256($path, [$this->operation, 'checkpoint']);
                isset($known[$hash]) ? $good[$hash] = true : $asked[$path] = $hash;
            }
            $bad = $asked ? $this->lint($this->to['path'], array_keys($asked)) : [];
            $both = $bad ? $this->lint(PHP_BINARY, array_keys($bad)) : [];
            foreach ($bad as $path => list($message, $line)) {
                if (!isset($both[$path])) {
                    $slug = $this->slug($path);
                    $this->add('parse', $this->severity($slug), $slug, $message, $this->shown($path), $line);
                }
            }
            $good += array_fill_keys(array_values(array_diff_key($asked, $bad)), true);
            $this->operation->progress(min($total, ($i + 1) * LINT_FILES), $total, 'files');
        }
        $this->files = $total;
        write_durably($cache, implode("\n", array_keys($good)) . "\n");
    }

    /** Where a plugin or theme names what a missing extension declares; core has its own ways round. */
    private function uses($path)
    {
        $slug = $this->slug($path);
        $code = $slug === 'wordpress' ? '' : (string) @file_get_contents($path);
        preg_match_all('/[A-Za-z_][0-9A-Za-z_]+/', $code, $words);
        if (!array_intersect_key(array_flip(array_map('strtolower', $words[0])), $this->lost) || !function_exists('token_get_all')) {
            return;
        }
        $before = null;
        foreach (@token_get_all($code) as $token) {
            if (is_array($token) && in_array($token[0], [T_WHITESPACE, T_COMMENT, T_DOC_COMMENT], true)) {
                continue;
            }
            $own = in_array($before, [T_OBJECT_OPERATOR, T_DOUBLE_COLON, T_FUNCTION, T_CLASS, T_CONST], true);
            $name = is_array($token) && !$own ? strtolower(ltrim($token[1], '\\')) : '';
            if (isset($this->lost[$name]) && $token[0] !== T_VARIABLE) {
                $this->add('extension', 'warning', $slug, "it uses " . ltrim($token[1], '\\') . " of the extension {$this->lost[$name]}, which is missing",
                    $this->shown($path), $token[2]);
            }
            $before = is_array($token) ? $token[0] : $token;
        }
    }

    /** Of the paths those that it cannot read, with [message, line]. */
    private function lint($php, array $paths)
    {
        $marker = random_hex(16);
        list(, $out, $why) = run_bounded([$php, '-d', 'memory_limit=512M', '-d', 'display_errors=stderr', '-d', 'error_log=', '-r', LINT],
            "$marker\n" . implode("\n", array_map('base64_encode', $paths)) . "\n", LINT_S, 4194304, [$this->operation, 'checkpoint']);
        $bad = [];
        $done = 0;
        foreach (explode("\n$marker ", $out) as $piece) {
            $said = json_decode(trim(strtok($piece, "\n") ?: ''), true);
            $done = is_array($said) && isset($said['done']) ? $said['done'] : $done;
            if (is_array($said) && is_int($said['file'] ?? null) && isset($paths[$said['file']])) {
                $bad[$paths[$said['file']]] = [(string) ($said['message'] ?? ''), is_int($said['line'] ?? null) ? $said['line'] : null];
            }
        }
        if ($done === count($paths)) {
            return $bad;
        }
        if ($why !== '') {
            throw new Failure('no_php', "$php cannot read the site's files: $why", 'name another one');
        }
        // It lacks the tokenizer, or one file was too much for it: then one by one.
        $bad = [];
        foreach ($paths as $path) {
            list($status, $said, $why) = run_bounded([$php, '-d', 'display_errors=1', '-d', 'html_errors=0', '-l', $path], '', 20, 1048576, [$this->operation, 'checkpoint']);
            if ($status !== 0) {
                $bad[$path] = preg_match('/^.*?(?:error|Error):\s*(.+?) in .* on line (\d+)/m', $said, $parts) ? [$parts[1], (int) $parts[2]] : [$why ?: 'it cannot be read', null];
            }
        }
        return $bad;
    }

    /** The pages under the PHP of now and under the other; what only the other has to say counts. */
    public function render(Rehearsal $stage, array $live)
    {
        $base = strtok($this->operation->request->text('url', 'http://localhost/'), '?#');
        $given = $this->operation->request->words('pages');
        $pages = array_merge([''], $given);
        for ($i = 0; $i < min(count($pages), PAGES_MOST + 1); $i++) {
            $page = $pages[$i];
            $name = $page === '' ? 'the front page' : "/$page";
            $before = render_watched($stage, $live, rtrim($base, '/') . "/$page", PHP_BINARY, $this->from['version'], $i === 0 && !$given);
            $pages = $i === 0 ? array_values(array_unique(array_merge($pages, $before['pages']))) : $pages;
            $after = render_watched($stage, $live, rtrim($base, '/') . "/$page", $this->to['path'], $this->to['version']);
            $this->operation->progress($i + 1, max($i + 1, min(count($pages), PAGES_MOST + 1)), 'pages');
            $this->rendered++;
            if ($before['fatal'] !== null) {
                $this->add('not_judged', 'warning', 'wordpress', "$name fails under the PHP of now too: {$before['fatal']['message']}");
                continue;
            }
            $known = [];
            foreach ($before['found'] as $one) {
                $known["{$one['kind']}|{$one['file']}|{$one['line']}"] = true;
            }
            foreach ($after['found'] as $one) {
                if (!isset($known["{$one['kind']}|{$one['file']}|{$one['line']}"])) {
                    $this->seen($stage, $one['kind'], 'warning', $one);
                }
            }
            if ($after['fatal'] !== null) {
                $this->seen($stage, 'fatal', 'error', $after['fatal'] + ['count' => 1]);
            } elseif ($after['status'] >= 400 && $after['status'] !== $before['status']) {
                $this->add('page', 'error', 'wordpress', "$name answers {$after['status']}");
            } elseif (trim($after['page']) === '' && trim($before['page']) !== '') {
                $this->add('page', 'error', 'wordpress', "$name is empty");
            } elseif (stripos($before['page'], '</html>') !== false && stripos($after['page'], '</html>') === false) {
                $this->add('page', 'error', 'wordpress', "$name is not whole");
            }
            if ($after['late']) {
                break;
            }
        }
    }

    private function seen(Rehearsal $stage, $kind, $severity, array $one)
    {
        $file = (string) $one['file'];
        $live = null;
        foreach ([[$stage->plugins, $this->site->plugins()], [$stage->content, $this->site->content()], [$stage->abspath, $this->site->abspath]] as list($from, $to)) {
            $live = $live ?? (Installation::below($file, $from) ? $to . substr($file, strlen($from)) : null);
        }
        $message = str_replace(["{$stage->root}/", "{$stage->stage}/"], '', (string) $one['message']);
        $this->add($kind, $severity, $live === null ? 'wordpress' : $this->slug($live), $message, $live === null ? null : $this->shown($live), $one['line'], $one['count']);
    }

    private function slug($path)
    {
        $themes = $this->site->content() . '/themes';
        foreach ([$this->site->plugins(), $themes, $this->site->content() . '/mu-plugins'] as $folder) {
            if (Installation::below($path, $folder)) {
                return basename(explode('/', substr($path, strlen($folder) + 1))[0], '.php');
            }
        }
        return 'wordpress';
    }

    /** Below the document root as `diff` has it, absolute elsewhere. */
    private function shown($path)
    {
        return escape_path(Installation::below($path, $this->site->root) ? substr($path, strlen($this->site->root) + 1) : $path);
    }

    public function conclude()
    {
        $reasons = array_values($this->reasons);
        usort($reasons, function ($a, $b) {
            return [$a['severity'], $a['kind'], $a['slug'], (string) $a['file'], (int) $a['line']] <=> [$b['severity'], $b['kind'], $b['slug'], (string) $b['file'], (int) $b['line']];
        });
        $errors = count(array_filter($reasons, function ($one) {
            return $one['severity'] === 'error';
        }));
        $verdict = $errors ? 'impossible' : ($reasons ? 'risky' : 'safe');
        $found = ['verdict' => $verdict, 'from' => $this->from['version'], 'to' => $this->to['version'], 'path' => $this->to['path'],
            'now' => $this->from['path'], 'missing' => $this->missing, 'files' => $this->files, 'pages' => $this->rendered,
            'generation' => $this->rendered ? $this->operation->recall('generation') : null, 'more' => max(0, count($reasons) - REASONS_MOST),
            'reasons' => array_slice($reasons, 0, REASONS_MOST)];
        write_durably("{$this->operation->folder}/found", json($found));
        foreach (array_slice($reasons, 0, REASONS_NOTED) as $one) {
            $at = $one['file'] === null ? '' : " ({$one['file']}" . ($one['line'] ? ":{$one['line']})" : ')');
            $this->operation->note($one['kind'], "{$one['slug']}: {$one['message']}$at" . ($one['count'] > 1 ? " × {$one['count']}" : ''), $one['severity'], $one['slug']);
        }
        $count = count($reasons);
        $this->operation->finish('done', "$verdict under PHP {$this->to['version']}: " . ($errors ? "$errors of $count reasons forbid it"
            : ($count ? "$count things differ" : "{$this->files} files and {$this->rendered} pages are as under {$this->from['version']}")));
    }
}

/** Functions and classes that an extension of this PHP declares, in small letters, each with the extension's name. */
function names_of_extension($name)
{
    try {
        $names = array_merge(get_extension_funcs(strtolower($name)) ?: [], (new ReflectionExtension($name))->getClassNames());
    } catch (ReflectionException $e) {
        return [];
    }
    return array_fill_keys(array_map('strtolower', $names), $name);
}

/** Slugs of plugins and themes that are in use, as keys; null where the database does not tell. */
function active_code(Installation $site)
{
    try {
        $database = Database::open($site);
        $rows = $database->rows('SELECT option_name n, option_value v FROM ' . Database::name($site->prefix . 'options')
            . " WHERE option_name IN ('active_plugins','template','stylesheet')");
        $network = in_array($site->prefix . 'sitemeta', all_tables($database), true) ? $database->rows('SELECT meta_value v FROM '
            . Database::name($site->prefix . 'sitemeta') . " WHERE meta_key='active_sitewide_plugins'") : [];
    } catch (Failure $e) {
        return null;
    }
    $active = [];
    foreach ($rows as $row) {
        foreach ($row['n'] === 'active_plugins' ? (array) @unserialize($row['v'], ['allowed_classes' => false]) : [$row['v']] as $file) {
            is_string($file) && $active[basename(explode('/', $file)[0], '.php')] = true;
        }
    }
    foreach ($network as $row) {
        foreach (array_keys((array) @unserialize($row['v'], ['allowed_classes' => false])) as $file) {
            $active[basename(explode('/', (string) $file)[0], '.php')] = true;
        }
    }
    foreach (glob($site->content() . '/mu-plugins/*') ?: [] as $path) {
        $active[basename($path, '.php')] = true;
    }
    return $active;
}

/** Paths of PHP files, those of core first; links are not followed. */
function code_files(Installation $site)
{
    $count = 0;
    $top = array_merge(glob("{$site->abspath}/*.php") ?: [], glob($site->content() . '/*.php') ?: []);
    foreach ($top as $path) {
        yield $path;
    }
    foreach (["{$site->abspath}/wp-admin", "{$site->abspath}/wp-includes", $site->plugins(), $site->content() . '/themes', $site->content() . '/mu-plugins'] as $folder) {
        if (!is_dir($folder)) {
            continue;
        }
        foreach (new RecursiveIteratorIterator(new RecursiveDirectoryIterator($folder, FilesystemIterator::SKIP_DOTS), RecursiveIteratorIterator::LEAVES_ONLY, RecursiveIteratorIterator::CATCH_GET_CHILD) as $file) {
            if (!$file->isLink() && $file->isFile() && $file->isReadable() && strtolower($file->getExtension()) === 'php' && $file->getSize() <= CODE_BYTES) {
                if (++$count > CODE_FILES) {
                    throw new Failure('too_large', 'the site has more than ' . CODE_FILES . ' PHP files', 'remove what it does not need');
                }
                yield $file->getPathname();
            }
        }
    }
}

/** [page, status, found, fatal, late] of the staged copy under one PHP. */
function render_watched(Rehearsal $stage, array $live, $url, $php, $version, $lists = false)
{
    list($command, $asked) = render_command($stage, $live, $url, $php, (int) $version);
    $asked = ['watched' => true, 'lists' => $lists] + $asked;
    list($status, $out, $why) = run_bounded($command, json($asked), RENDER_S, PAGE_ANSWER, [$stage->operation, 'checkpoint']);
    $answer = last_answer($asked['marker'], $out);
    $found = [];
    foreach (is_array($answer['found'] ?? null) ? array_slice($answer['found'], 0, FINDINGS_MOST) : [] as $one) {
        if (is_array($one) && in_array($one['kind'] ?? '', ['deprecated', 'warning'], true) && is_string($one['message'] ?? null)) {
            $found[] = ['kind' => $one['kind'], 'message' => $one['message'], 'file' => is_string($one['file'] ?? null) ? $one['file'] : '',
                'line' => is_int($one['line'] ?? null) ? $one['line'] : null, 'count' => is_int($one['count'] ?? null) ? $one['count'] : 1];
        }
    }
    $fatal = null;
    if (is_array($answer) && ($answer['refused'] ?? null) !== null) {
        throw new Failure('not_judged', 'a rehearsal may not use live tables, and the site names ' . substr((string) $answer['refused'], 0, 100) . ' by itself', 'nothing was found out; look at its plugins');
    }
    if (!is_array($answer) || !is_string($answer['page'] ?? null)) {
        $said = is_array($answer['fatal'] ?? null) ? $answer['fatal'] : [];
        $fatal = ['message' => is_string($said['message'] ?? null) ? $said['message'] : ($why ?: "its process ended with status $status"),
            'file' => is_string($said['file'] ?? null) ? $said['file'] : '', 'line' => is_int($said['line'] ?? null) ? $said['line'] : null];
    }
    return ['page' => $fatal === null ? base64_decode($answer['page']) : '', 'status' => $fatal === null ? (int) $answer['status'] : 0, 'found' => $found,
        'fatal' => $fatal, 'late' => $why !== '', 'pages' => array_filter(is_array($answer['pages'] ?? null) ? $answer['pages'] : [], 'is_string')];
}

/** What is said while the child renders, each place once with its count. */
final class Said
{
    public static $found = [];
    public static $pages = [];

    /** The pages that stand for the rest, of the copy: to ask the live site for them would be a visit that writes. */
    public static function list_pages()
    {
        restore_error_handler();
        try {
            self::$pages = function_exists('get_post_types') ? typical_paths() : [];
        } catch (Throwable $e) {
            self::$pages = [];
        }
    }

    public static function watch()
    {
        set_error_handler(function ($level, $message, $file = '', $line = 0) {
            // WordPress always reports warnings; where they are not, an @ stands before the call.
            if (!(error_reporting() & E_WARNING)) {
                return true;
            }
            $kind = $level & (E_DEPRECATED | E_USER_DEPRECATED) ? 'deprecated' : ($level & (E_WARNING | E_USER_WARNING) ? 'warning' : null);
            $key = "$kind|$file|$line";
            if ($kind !== null && (isset(self::$found[$key]) || count(self::$found) < FINDINGS_MOST)) {
                self::$found += [$key => ['kind' => $kind, 'message' => substr((string) $message, 0, 500), 'file' => $file, 'line' => $line, 'count' => 0]];
                self::$found[$key]['count']++;
            }
            return !($level & (E_USER_ERROR | E_RECOVERABLE_ERROR));
        });
    }
}
