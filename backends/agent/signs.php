<?php
// Does this generation look like a normal successor of the one before? Each sign is a number with its limit; the limits
// are the client's policy. What trips one is suspect: kept, named, never picked by itself, and it stops rotation.

/** Names that ransomware leaves beside what it encrypted. */
const RANSOM_NOTE = '~(?:read.?me|how.?to|help|restore|recover|decrypt|unlock|your.?files|important|attention).{0,24}'
    . '(?:decrypt|encrypt|ransom|recover|restore|unlock|files?)\S*\.(?:txt|html?|hta|md|png|bmp|url)$|^_?(?:recovery|decrypt)[+_-]~i';
/** Text by its name: what scrambles it shows as bytes that no text has. */
const TEXTUAL = '~\.(?:php\d?|phtml|inc|html?|css|js|mjs|json|xml|svg|txt|md|sql|csv|po|pot|ini|htaccess|twig|scss|less|log)$~i';
const RUNS_AS_PHP = '~\.(?:php\d?|phtml|phar|pht|inc\.php)$~i';
/** What PHP malware is made of, and clean plugins are not: input or packed text that is executed. */
const OBFUSCATED = '~(?:eval|assert|create_function|preg_replace\s*\(\s*[\'"].*/e)\s*\(?\s*(?:@?(?:base64_decode|gzinflate|gzuncompress|str_rot13|hex2bin|strrev)\s*\(|\$_(?:GET|POST|REQUEST|COOKIE|SERVER))|\$_(?:GET|POST|REQUEST|COOKIE)\s*\[[^\]]{1,40}\]\s*\(~i';

final class Signs
{
    /** Numbers of the comparison, by name. */
    public $facts = ['files_before' => 0, 'media_before' => 0, 'media_changed' => 0, 'media_gone' => 0, 'scrambled' => 0, 'renamed' => 0,
        'ransom_notes' => 0, 'php_in_uploads' => 0, 'obfuscated' => 0, 'core_changed' => 0, 'core_checksums' => 0, 'plugin_checksums' => 0, 'rows_lost_share' => 0.0, 'tables_gone' => 0, 'identity' => 0,
        'hidden' => 0, 'published_lost_share' => 0.0];
    public $examples = [];
    private $gone = [];
    private $core_is_new = false;
    private $uploads;
    private $core;
    private $content;
    private $plugins;
    /** Of each unit of code: [files before, changed, gone]. */
    private $units = [];
    /** What each unit said its version was, and says now. */
    private $then;
    public $versions = [];

    public function __construct(Installation $site, array $versions)
    {
        $this->then = array_filter($versions, 'is_string');
        $areas = $site->areas();
        $at = function ($path) use ($areas) {
            foreach ($areas as $name => $start) {
                if (Installation::below($path, $start)) {
                    return $name . substr($path, strlen($start));
                }
            }
            return "\0";
        };
        $this->uploads = $at(realpath($site->uploads()) ?: $site->uploads()) . '/';
        $this->core = $at($site->abspath);
        $this->content = $at(realpath($site->content()) ?: $site->content());
        $this->plugins = $at(realpath($site->plugins()) ?: $site->plugins()) . '/';
    }

    /** An entry of the generation before that is no more. */
    public function gone(Entry $old)
    {
        if ($old->type !== 'f') {
            return;
        }
        $this->before($old);
        $this->gone[$old->path] = true;
        if (count($this->gone) > 64) {
            // "a.jpg" and "a.jpg.locked" sort side by side: a short memory is enough, whatever the site's size.
            unset($this->gone[key($this->gone)]);
        }
        $this->facts['media_gone'] += $this->is_upload($old->path) ? 1 : 0;
        $this->count($old->path, 2);
    }

    /** The unit that is updated as one and has a version: core, a plugin, a theme. '' for other code, null for the rest. */
    private function unit($path)
    {
        if ($this->is_upload($path) || strncmp($path, "{$this->content}/languages/", strlen($this->content) + 11) === 0) {
            return null;
        }
        $below = substr($path, strlen($this->core) + 1);
        if ($this->is_core($path) || (strncmp($path, "{$this->core}/", strlen($this->core) + 1) === 0 && preg_match('~^[^/]+\.php$~D', $below))) {
            return 'core';
        }
        foreach (['plugins' => $this->plugins, 'themes' => "{$this->content}/themes/"] as $kind => $start) {
            if (strncmp($path, $start, strlen($start)) === 0) {
                $unit = "$kind/" . strtok(substr($path, strlen($start)), '/');
                return isset($this->units[$unit]) || count($this->units) < 5000 ? $unit : '';
            }
        }
        return '';
    }

    private function count($path, $what)
    {
        $unit = $this->unit($path);
        if ($unit !== null) {
            $this->units += [$unit => [0, 0, 0]];
            $this->units[$unit][$what]++;
        }
    }

    /** An update says so in the header of the file that WordPress reads; what changes code without it is no update. */
    public function version(Entry $live, $old, $file)
    {
        if ($live->type !== 'f' || !preg_match('~(?:\.php|/style\.css)$~D', $live->path)) {
            return;
        }
        $unit = $this->unit($live->path);
        $depth = $unit === null ? 0 : substr_count(substr($live->path, strlen($this->plugins)), '/');
        $speaks = $unit === 'core' ? $live->path === "{$this->core}/wp-includes/version.php"
            : ($unit && ($unit[0] === 'p' ? $depth <= 1 : $live->path === "{$this->content}/$unit/style.css"));
        if (!$speaks) {
            return;
        }
        if ($old && $old->sha256 === $live->sha256 && isset($this->then[$unit])) {
            $this->versions += [$unit => $this->then[$unit]];
            return;
        }
        $text = (string) @file_get_contents($file, false, null, 0, 8192);
        if (preg_match($unit === 'core' ? '~\$wp_version\s*=\s*[\'"]([^\'"]{1,40})~' : '~^[ \t/*#@]*Version:[ \t]*(\S{1,40})~mi', $text, $found)) {
            $this->versions[$unit] = escape_path($found[1]);
        }
    }

    /** An entry that was there before, changed or not; `$file` is where its bytes are now. */
    public function kept(Entry $live, Entry $old, $file)
    {
        if ($old->type === 'f') {
            $this->before($old);
        }
        if ($live->type !== 'f' || $live->sha256 === $old->sha256) {
            return;
        }
        if ($live->path === "{$this->core}/wp-includes/version.php") {
            $this->core_is_new = true;
        }
        if ($this->is_core($live->path)) {
            $this->tell('core_changed', $live->path);
        }
        $this->facts['media_changed'] += $this->is_upload($live->path) ? 1 : 0;
        $this->count($live->path, 1);
        $this->content($live, $file);
    }

    public function added(Entry $live, $file)
    {
        if ($live->type !== 'f') {
            return;
        }
        $cut = strrpos($live->path, '.');
        if ($cut !== false && isset($this->gone[substr($live->path, 0, $cut)])) {
            $this->tell('renamed', $live->path);
        }
        if (preg_match(RANSOM_NOTE, basename($live->path))) {
            $this->tell('ransom_notes', $live->path);
        }
        $this->content($live, $file);
    }

    /** Its bytes changed under the same size and times: nobody but an intruder, or a dying disk, does that. */
    public function hidden(Entry $live)
    {
        $this->tell('hidden', $live->path);
    }

    private function content(Entry $live, $file)
    {
        foreach ($this->look_into($live, $file) as $sign) {
            $this->tell($sign, $live->path);
        }
    }

    /** What a new or changed file shows by its name and its first bytes: words of `facts`. */
    public function look_into(Entry $live, $file)
    {
        $found = [];
        $upload = $this->is_upload($live->path);
        if ($upload && preg_match(RUNS_AS_PHP, $live->path) && $live->size > 0 && basename($live->path) !== 'index.php') {
            $found[] = 'php_in_uploads';
        }
        $textual = preg_match(TEXTUAL, $live->path);
        if (!$textual && !$upload) {
            return $found;
        }
        $bytes = (string) @file_get_contents($file, false, null, 0, 65536);
        if ($textual && strlen($bytes) >= 512 && entropy($bytes) > 7.2) {
            $found[] = 'scrambled';
        }
        if (preg_match(OBFUSCATED, $bytes) && (preg_match(RUNS_AS_PHP, $live->path) || strpos($bytes, '<?php') !== false)) {
            $found[] = 'obfuscated';
        } elseif ($upload && !$textual && strpos($bytes, '<?php') !== false && preg_match('~<\?php\s+\S~', $bytes)) {
            $found[] = 'php_in_uploads';
        }
        return array_unique($found);
    }

    /** What a path is part of: core, plugin, theme, uploads or other. */
    public function area($path)
    {
        if ($this->is_upload($path)) {
            return 'uploads';
        }
        $unit = $this->unit($path);
        if ($unit) {
            return $unit === 'core' ? 'core' : ($unit[0] === 'p' ? 'plugin' : 'theme');
        }
        return strncmp((string) $this->below_content($path), 'mu-plugins/', 11) === 0 ? 'plugin' : 'other';
    }

    /** A path as it stands below wp-content, wherever that is; null for what lies elsewhere. */
    public function below_content($path)
    {
        $start = $this->content . '/';
        return strncmp($path, $start, strlen($start)) === 0 ? substr($path, strlen($start)) : null;
    }

    /** A path as it stands below WordPress's own folder; null for what lies elsewhere. */
    public function below_core($path)
    {
        return strncmp($path, "{$this->core}/", strlen($this->core) + 1) === 0 ? substr($path, strlen($this->core) + 1) : null;
    }

    /** A path as it stands below the plugins' folder; null for what lies elsewhere. */
    public function below_plugins($path)
    {
        return strncmp($path, $this->plugins, strlen($this->plugins)) === 0 ? substr($path, strlen($this->plugins)) : null;
    }

    private function before(Entry $old)
    {
        $this->facts['files_before']++;
        $this->facts['media_before'] += $this->is_upload($old->path) ? 1 : 0;
        $this->count($old->path, 0);
    }

    private function tell($fact, $path)
    {
        $this->facts[$fact]++;
        $this->example($fact, $path);
    }

    public function example($fact, $path)
    {
        if (count($this->examples[$fact] ?? []) < 5) {
            $this->examples[$fact][] = escape_path($path);
        }
    }

    private function is_upload($path)
    {
        return strncmp($path, $this->uploads, strlen($this->uploads)) === 0;
    }

    private function is_core($path)
    {
        return strncmp($path, "{$this->core}/wp-includes/", strlen($this->core) + 13) === 0
            || strncmp($path, "{$this->core}/wp-admin/", strlen($this->core) + 10) === 0;
    }

    /** Rows by table then and now, and what the site says it is: its addresses and its administrators. */
    public function database(array $then, array $now, array $identity_then, array $identity_now)
    {
        $before = $after = 0;
        $rows = array_column($now, 'rows', 'name');
        foreach ($then as $table) {
            if ($table['kind'] !== 'table' || preg_match('/(?:session|cache|log|transient|queue|actionscheduler)/i', $table['name'])) {
                continue;
            }
            if (!isset($rows[$table['name']])) {
                $this->tell('tables_gone', $table['name']);
            }
            $before += $table['rows'];
            $after += min($table['rows'], $rows[$table['name']] ?? 0);
        }
        $this->facts['rows_lost_share'] = $before >= 20 ? round(1 - $after / $before, 4) : 0.0;
        foreach ($identity_then as $key => $value) {
            if (($identity_now[$key] ?? null) !== $value) {
                $this->tell('identity', "$key: " . json($value) . ' → ' . json($identity_now[$key] ?? null));
            }
        }
    }

    /** Published posts and pages then and now: revisions come and go in thousands, and hide in a count of rows. */
    public function published($then, $now)
    {
        if (is_int($then) && $then >= 10) {
            $this->facts['published_lost_share'] = round(max(0, 1 - (int) $now / $then), 4);
        }
    }

    /** All numbers of the comparison, shares too. */
    public function facts()
    {
        $facts = $this->facts;
        $before = $changed = $gone = 0;
        foreach ($this->units as $unit => list($files, $other, $lost)) {
            $before += $files;
            // One whose header went with the rest was not updated.
            $updated = isset($this->versions[$unit]) && ($this->then[$unit] ?? null) !== $this->versions[$unit];
            if ($unit === '' || !($updated || $lost === $files)) {
                $changed += $other;
                $gone += $lost;
            }
        }
        $facts['code_before'] = $before;
        $facts['code_changed_share'] = $before >= 20 ? round($changed / $before, 4) : 0;
        $facts['code_gone_share'] = $before >= 20 ? round($gone / $before, 4) : 0;
        $facts['media_changed_share'] = $facts['media_before'] >= 20 ? round($facts['media_changed'] / $facts['media_before'], 4) : 0;
        $facts['media_gone_share'] = $facts['media_before'] >= 20 ? round($facts['media_gone'] / $facts['media_before'], 4) : 0;
        $facts['core_changed'] = $this->core_is_new ? 0 : $facts['core_changed'];
        return $facts;
    }

    /** The signs that exceed `$limits`: [{sign, value, limit, examples}]. Without a generation before, checksums alone make one. */
    public function tripped(array $limits)
    {
        $facts = $this->facts();
        $found = [];
        foreach ($limits as $sign => $limit) {
            if (isset($facts[$sign]) && is_numeric($limit) && $facts[$sign] > $limit) {
                $found[] = ['sign' => $sign, 'value' => $facts[$sign], 'limit' => $limit,
                    'examples' => $this->examples[str_replace('_share', '', $sign)] ?? []];
            }
        }
        return $found;
    }
}

/** Shannon entropy in bits a byte: prose and code lie under 6, base64 at 6, what is encrypted at 8. */
function entropy($bytes)
{
    $length = strlen($bytes);
    $sum = 0.0;
    foreach (count_chars($bytes, 1) as $count) {
        $share = $count / $length;
        $sum -= $share * log($share, 2);
    }
    return $sum;
}

/** How many posts and pages the world sees; null where there is no table of them. */
function published(Database $database)
{
    $posts = $database->prefix . 'posts';
    if (!isset($database->tables()[$posts])) {
        return null;
    }
    foreach ($database->rows('SELECT COUNT(*) n FROM ' . Database::name($posts) . " WHERE post_status='publish'") as $row) {
        return (int) $row['n'];
    }
}

/** What a site says it is; an attacker changes it, an editor does not. */
function identity(Database $database)
{
    $tables = $database->tables();
    $found = [];
    $options = $database->prefix . 'options';
    if (isset($tables[$options])) {
        foreach ($database->rows('SELECT option_name n, option_value v FROM ' . Database::name($options) . " WHERE option_name IN ('siteurl','home')") as $row) {
            $found[$row['n']] = $row['v'];
        }
    }
    $users = $database->prefix . 'users';
    $meta = $database->prefix . 'usermeta';
    if (isset($tables[$users], $tables[$meta])) {
        $found['administrators'] = array_column($database->rows('SELECT DISTINCT u.user_login l FROM ' . Database::name($users) . ' u JOIN '
            . Database::name($meta) . ' m ON m.user_id=u.ID WHERE m.meta_key=' . $database->quote($database->prefix . 'capabilities')
            . " AND m.meta_value LIKE '%\"administrator\"%' ORDER BY u.user_login LIMIT 100"), 'l');
    }
    return $found;
}
