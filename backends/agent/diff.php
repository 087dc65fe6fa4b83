<?php
// What differs between the live site and a generation: files by their content, what is suspicious among them first.
// Looks only: it takes no lock, boots no WordPress, and works where there is none.

/** Entries and bytes of one list: six of them, the suspicious twice as long, must fit a line of the answer (4 MiB). */
const LISTED = 5000;
const LISTED_BYTES = 500000;
/** The gravest first: the order in which an operator should look. */
const GRAVITY = ['php_in_uploads', 'obfuscated', 'hidden', 'core_checksums', 'plugin_checksums', 'core_changed', 'plugin_added', 'executable', 'double_extension', 'drop_in', 'must_use',
    'server_rules', 'configuration', 'scrambled', 'ransom_notes', 'world_writable'];
/** Apache runs a name as PHP for any of its extensions, and people see the last one alone. */
const DOUBLE_EXTENSION = '~\.(?:php\d?|phtml|phar|pht)\.(?:jpe?g|png|gif|webp|ico|svg|pdf|txt|zip|gz|mp[34]|docx?)$'
    . '|\.(?:jpe?g|png|gif|webp|ico|svg|pdf|txt|zip|mp[34]|docx?)\.(?:php\d?|phtml|phar|pht)$~i';
const SERVER_RULES = '~^(?:\.htaccess|\.user\.ini|php\.ini|web\.config)$~i';
/** WordPress loads these by name, without anybody having activated them. */
const DROP_INS = ['advanced-cache.php', 'db.php', 'db-error.php', 'fatal-error-handler.php', 'install.php', 'maintenance.php',
    'object-cache.php', 'php-error.php', 'sunrise.php', 'blog-deleted.php', 'blog-inactive.php', 'blog-suspended.php'];
const NATIVE = '~^(?:\x7fELF|MZ|\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba\xbe)~';

/** Counts everything and keeps the first of it, as JSON: an array of arrays takes four times the memory. */
final class Listed
{
    public $count = 0;
    private $lines = [];
    private $most;
    private $left;

    public function __construct($most, $bytes = LISTED_BYTES)
    {
        $this->most = $most;
        $this->left = $bytes;
    }

    public function add(array $item)
    {
        $this->count++;
        if (count($this->lines) < $this->most && $this->left > 0) {
            $this->lines[] = $line = json($item);
            $this->left -= strlen($line) + 1;
        }
    }

    public function items()
    {
        return array_map(function ($line) {
            return json_decode($line, true);
        }, $this->lines);
    }

    /** One list of several: those that come first are cut last. */
    public static function of(array $lists, $most, $bytes = LISTED_BYTES)
    {
        $self = new self($most, $bytes);
        foreach ($lists as $list) {
            array_map([$self, 'add'], $list->items());
        }
        $self->count = array_sum(array_column($lists, 'count'));
        return $self;
    }

    public function is_cut()
    {
        return count($this->lines) < $this->count;
    }
}

/** Progress events of a verb that only looks: at most five a second, at the site's share of the processor. */
final class Telling
{
    private $request;
    private $line = 0;
    private $shown = 0.0;
    private $told = -1;
    private $looked;

    public function __construct(Request $request)
    {
        $this->request = $request;
        $this->looked = microtime(true);
    }

    public function progress($done, $total, $unit)
    {
        $now = microtime(true);
        $share = (float) $this->request->get('cpu', 1.0);
        if ($share < 1.0 && $now - $this->looked >= 0.1) {
            usleep((int) (1e6 * min(2.0, ($now - $this->looked) * (1 / max(0.05, $share) - 1))));
            $this->looked = microtime(true);
        }
        if ($now - $this->shown >= 0.2 || ($done === $total && $done !== $this->told)) {
            $this->shown = $now;
            $this->told = $done;
            say($this->request->marker, ['event' => ['type' => 'progress', 'at' => now_text(), 'line' => $this->line++, 'done' => $done,
                'total' => $total, 'unit' => $unit]]);
        }
    }
}

function answer_diff(Request $request)
{
    $generation = Generation::open($request, $request->text('generation'));
    $generation->check_index(['manifest' => 'manifest']);
    $most = min(LISTED, max(1, $request->whole('most', LISTED)));
    $telling = new Telling($request);
    $warnings = [];
    if (Lock::held($request)) {
        $warnings[] = warning('busy', 'an operation works on this site: what is shown may be half of what it does', 'look again when it has ended');
    }
    $site = null;
    try {
        $site = Installation::find($request);
    } catch (Failure $e) {
        if (!in_array($e->word, ['no_root', 'no_wordpress', 'no_config'], true)) {
            throw $e;
        }
        $warnings[] = warning($e->word, 'only files are compared: ' . $e->getMessage(), $e->hint);
    }
    $files = new FileDifference($request, $generation, $site ?: places_of($request, $generation), $most);
    $found = $files->find($telling);
    $rows = new RowDifference($generation, $most);
    if ($site) {
        $rows->find($site, $telling);
    }
    $lists = $found['lists'] + $rows->lists();
    $items = array_map(function (Listed $list) {
        return $list->items();
    }, $lists);
    return ['generation' => $generation->id,
        'files' => array_intersect_key($items, ['added' => 1, 'changed' => 1, 'removed' => 1, 'suspicious' => 1]),
        'tables' => $items['tables'], 'posts' => $items['posts'],
        'counts' => array_map(function (Listed $list) {
            return $list->count;
        }, $lists),
        'areas' => $found['areas'], 'identity' => $rows->identity,
        'plugins' => $found['plugins'], 'ignored' => $found['ignored'], 'truncated' => array_keys(array_filter($lists, function (Listed $list) {
            return $list->is_cut();
        })),
        'warnings' => array_merge($warnings, $found['warnings'], $rows->warnings), 'full' => (bool) $request->get('full', false)];
}

function warning($word, $message, $hint = '')
{
    return ['code' => $word, 'message' => $message, 'hint' => $hint];
}

/** Where the site's folders should be, told by the generation: what is live has no configuration that could. */
function places_of(Request $request, Generation $generation)
{
    $areas = $generation->summary['areas'];
    $site = new Installation();
    $site->root = $request->root;
    $was = $generation->summary['abspath'];
    $site->abspath = Installation::below($was, $areas['root']) ? $request->root . substr($was, strlen($areas['root'])) : $was;
    $site->config_file = $areas['config'] ?? null;
    $site->settings = array_filter(['WP_CONTENT_DIR' => $areas['content'] ?? null, 'WP_PLUGIN_DIR' => $areas['plugins'] ?? null]);
    return $site;
}

/** Merges the live tree with the manifest, both sorted: no site is held in memory. */
final class FileDifference
{
    private $request;
    private $generation;
    private $site;
    private $areas;
    private $signs;
    private $full;
    private $core_is_same;
    private $core;
    private $plugins;
    private $lists = [];
    /** By its gravest sign, so that a cut list has lost the lightest. */
    private $grave = [];
    private $counts = [];
    private $most;
    /** What the walk has passed over and may still meet in the manifest: what that has there is not known to be gone. */
    private $passed = [];
    private $unreadable = 0;
    private $example = '';

    public function __construct(Request $request, Generation $generation, Installation $site, $most)
    {
        $this->request = $request;
        $this->generation = $generation;
        $this->site = $site;
        $this->areas = $site->areas();
        $this->signs = new Signs($site, []);
        $this->full = (bool) $request->get('full', false);
        $this->most = $most;
        $this->core = new CoreFiles($request, $site, $this->signs, $generation);
        $this->plugins = new PluginFiles($request, $site, $this->signs, $generation);
        $then = $generation->summary['wordpress']['version'] ?? null;
        $now = wordpress_of($site->abspath)['version'] ?? null;
        $this->core_is_same = $then !== null && $now === $then;
        foreach (['added', 'changed', 'removed'] as $kind) {
            $this->lists[$kind] = new Listed($most);
        }
        foreach (GRAVITY as $sign) {
            $this->grave[$sign] = new Listed($most, 2 * LISTED_BYTES);
        }
        $this->counts = array_fill_keys(['core', 'plugin', 'theme', 'uploads', 'other'], ['added' => 0, 'changed' => 0, 'removed' => 0]);
    }

    /** {lists, areas, warnings}. */
    public function find(Telling $telling)
    {
        $total = $this->generation->summary['counts']['bytes'];
        $done = 0;
        $old = $this->generation->manifest();
        foreach ($this->live() as list($path, $stat, $type, $target)) {
            for (; $old->valid() && strcmp($old->current()->path, $path) < 0; $old->next()) {
                $this->gone($old->current());
            }
            // "0" is the byte after "/": from there on nothing lies below what was passed over.
            $this->passed = $this->passed ? array_filter($this->passed, function ($passed) use ($path) {
                return strcmp($passed . '0', $path) > 0;
            }) : [];
            $same = $old->valid() && $old->current()->path === $path ? $old->current() : null;
            $live = Entry::of_live($path, $stat, $type, $target);
            $this->compare($live, $same, function () use ($telling, $done, $total) {
                $telling->progress($done, max($done, $total), 'bytes');
            });
            $done += $live->size;
            $telling->progress($done, max($done + 1, $total), 'bytes');
            $same && $old->next();
        }
        for (; $old->valid(); $old->next()) {
            $this->gone($old->current());
        }
        $telling->progress($done, $done, 'bytes');
        $warnings = $this->unreadable ? [warning('unreadable', "{$this->unreadable} files could not be read and are not compared, the first is {$this->example}", 'correct their owner or permissions')] : [];
        if ($this->core->problem() !== null && $this->core->is_asked()) {
            $warnings[] = warning('core_unknown', "core is not compared with wordpress.org's checksums: {$this->core->problem()}");
        }
        if ($this->plugins->problem() !== null && $this->plugins->is_asked()) {
            $warnings[] = warning('plugins_unknown', "plugins are not compared with wordpress.org's checksums: {$this->plugins->problem()}");
        }
        return ['lists' => $this->lists + ['suspicious' => Listed::of($this->grave, $this->most, 2 * LISTED_BYTES)], 'areas' => $this->counts, 'warnings' => $warnings,
            'plugins' => $this->plugins->is_asked() ? $this->plugins->judged() : [], 'ignored' => $this->plugins->ignored()];
    }

    private function live()
    {
        $exclude = exclusion_pattern($this->request);
        foreach ($this->areas as $name => $start) {
            foreach (walk_area($name, $start, $exclude, $this->site->abspath, function ($path, $why) {
                $this->passed[] = $path;
                $why === 'unreadable' && $this->unreadable($path);
            }) as $item) {
                yield $item;
            }
        }
    }

    private function compare(Entry $live, $old, callable $tick)
    {
        // Of an isolated site what our gate stands before is compared, not the gate.
        if (in_array(basename($live->path), GATED_FILES, true) && $gate = before_gate($this->where($live->path))) {
            if ($old && !is_array($gate[0])) {
                $this->gone($old);
                return;
            }
            if ($old ? sha256($gate[1]) === $old->sha256 : !is_array($gate[0])) {
                return;
            }
        }
        $hidden = false;
        if (!$old || $old->type !== $live->type) {
            $kind = $old ? 'changed' : 'added';
            if ($live->type === 'd' && (!$old || $old->type === 'd')) {
                return;
            }
        } elseif ($live->type === 'd') {
            $kind = null;
        } elseif ($live->type === 'l') {
            $kind = $live->target === $old->target ? null : 'changed';
        } else {
            list($kind, $hidden) = $this->content($live, $old, $tick);
        }
        if ($kind === 'removed') {
            $this->gone($old);
            return;
        }
        $signs = $kind === null ? [] : $this->signs_of($live, $kind);
        if ($hidden) {
            $signs[] = 'hidden';
        }
        if ($this->core->is_altered($live, $this->where($live->path), $kind === null)) {
            $signs[] = 'core_checksums';
        }
        $published = $this->plugins->sign_of($live, function () use ($live, $old, $kind) {
            return $live->type !== 'f' ? '' : ($kind === null ? $old->sha256 : (string) @hash_file('sha256', $this->where($live->path)));
        }, $this->where($live->path), $kind === null);
        if ($published !== null) {
            $signs[] = $published;
        }
        // Who may write is no part of the content, and is what an attacker leaves open.
        if ($live->type !== 'l' && ($live->mode & 2) && (!$old || !($old->mode & 2))) {
            $signs[] = 'world_writable';
        }
        $this->tell($live->path, $kind, $signs, $live->mtime);
    }

    /** [null, `changed` or `removed`; whether nothing but the content tells]. */
    private function content(Entry $live, Entry $old, callable $tick)
    {
        if ($live->size !== $old->size) {
            return ['changed', false];
        }
        // PHP's stat has whole seconds: times tell nothing of what was written within 2 s of the backup's scan.
        $same = $live->same_stat($old) && max($live->mtime, $live->ctime) < $this->generation->summary['scanned'] - 2;
        if ($same && !$this->full) {
            return [null, false];
        }
        $file = $this->where($live->path);
        try {
            $differs = file_sha256($file, $tick) !== $old->sha256;
        } catch (Failure $e) {
            clearstatcache(true, $file);
            if (!@lstat($file)) {
                return ['removed', false];
            }
            $this->unreadable($live->path);
            return [null, false];
        }
        return [$differs ? 'changed' : null, $differs && $same];
    }

    private function gone(Entry $old)
    {
        if ($old->type === 'd') {
            return;
        }
        foreach ($this->passed as $path) {
            if (Installation::below($old->path, $path)) {
                return;
            }
        }
        // Where nothing is left, nothing of it is a sign.
        $this->tell($old->path, 'removed', is_dir($this->request->root) ? $this->signs_of_place($old->path) : [], null);
    }

    private function tell($path, $kind, array $signs, $mtime)
    {
        if ($kind === null && !$signs) {
            return;
        }
        $area = basename($path) === 'wp-config.php' ? 'other' : $this->signs->area($path);
        $item = ['path' => $this->shown($path), 'area' => $area];
        if ($kind !== null) {
            $this->lists[$kind]->add($item);
            $this->counts[$area][$kind]++;
        }
        if ($signs) {
            $signs = array_values(array_intersect(GRAVITY, $signs));
            $this->grave[$signs[0]]->add(['path' => $item['path'], 'signs' => $signs, 'area' => $area, 'change' => $kind ?? (array_intersect(['core_checksums', 'plugin_checksums'], $signs) ? 'same' : 'mode'),
                'modified' => $mtime === null ? null : gmdate('Y-m-d\TH:i:s\Z', $mtime)]);
        }
    }

    private function signs_of(Entry $live, $kind)
    {
        $signs = $this->signs_of_place($live->path);
        if ($live->type !== 'f') {
            return $signs;
        }
        $file = $this->where($live->path);
        if ($signs === ['must_use'] && basename($live->path) === GUARD_FILE && is_guard_of_ours((string) @file_get_contents($file))) {
            return [];
        }
        $signs = array_merge($signs, $this->signs->look_into($live, $file));
        if ($kind === 'added' && preg_match(RANSOM_NOTE, basename($live->path))) {
            $signs[] = 'ransom_notes';
        }
        if (preg_match(DOUBLE_EXTENSION, $live->path)) {
            $signs[] = 'double_extension';
        }
        $head = (string) @file_get_contents($file, false, null, 0, 16);
        // A script that PHP's own tools bring along is not marked executable by an update, nor does it lie in uploads.
        $may_run = $this->signs->area($live->path) === 'uploads' || ($live->mode & 0111);
        if (preg_match(NATIVE, $head) || (strncmp($head, '#!', 2) === 0 && $may_run)) {
            $signs[] = 'executable';
        }
        return $signs;
    }

    /** That anything differs here at all is a sign. */
    private function signs_of_place($path)
    {
        $signs = [];
        $name = basename($path);
        if (preg_match(SERVER_RULES, $name)) {
            $signs[] = 'server_rules';
        }
        if ($name === 'wp-config.php') {
            $signs[] = 'configuration';
        } elseif ($this->core_is_same && $this->signs->area($path) === 'core') {
            $signs[] = 'core_changed';
        }
        $below = $this->signs->below_content($path);
        if ($below !== null && in_array($below, DROP_INS, true)) {
            $signs[] = 'drop_in';
        } elseif ($below !== null && strncmp($below, 'mu-plugins/', 11) === 0) {
            $signs[] = 'must_use';
        }
        return $signs;
    }

    private function unreadable($path)
    {
        $this->example = $this->unreadable ? $this->example : $this->shown($path);
        $this->unreadable++;
    }

    /** The path on the disk of a live entry. */
    private function where($path)
    {
        $cut = strpos($path, '/');
        $start = $this->areas[$cut === false ? $path : substr($path, 0, $cut)];
        return $cut === false || !is_dir($start) ? $start : $start . substr($path, $cut);
    }

    /** Below the document root as `restore --only` takes it, elsewhere as it lies on the disk. */
    private function shown($path)
    {
        $cut = strpos($path, '/');
        $area = $cut === false ? $path : substr($path, 0, $cut);
        if ($area === 'root') {
            return shown_path($cut === false ? '.' : substr($path, $cut + 1));
        }
        return shown_path(isset($this->areas[$area]) ? $this->where($path) : area_path($this->generation, $path));
    }
}

/** Letters of any script as they are; what is no text, no letter or a backslash as `\0ooo`, which `printf %b` reads back. */
function shown_path($path)
{
    if (!preg_match('//u', $path)) {
        return escape_path($path);
    }
    return preg_replace_callback('/[\p{C}\x{2028}\x{2029}\\\\]/u', function ($found) {
        return implode('', array_map(function ($byte) {
            return sprintf('\0%03o', ord($byte));
        }, str_split($found[0])));
    }, $path);
}
