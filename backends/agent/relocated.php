<?php
// A generation of this site that was made in another account or folder: where its areas lie here, and the paths in its
// settings that have to lead here too. Every other byte of it stays as it was backed up.

/** Read by PHP or the web server before any page: a path in them that leads nowhere takes the whole site down. */
const SERVER_SETTINGS = ['.htaccess', '.user.ini', 'php.ini'];
const NAMES_SHOWN = 20;

/** The way from where a generation was made to where the site is now. */
final class Relocation
{
    /** Old folder => its counterpart here, the longest first. */
    private $folders;
    private $outside;
    private $root;

    private function __construct(Request $request, array $summary)
    {
        $was = $summary['areas']['root'];
        $this->root = $request->root;
        $this->folders = [$was => $this->root];
        list($old, $new) = self::homes($was, $this->root);
        // Where the old place is ours, what lies there lies there still.
        $this->outside = $old !== null && !(is_dir($old) && is_writable($old));
        if ($this->outside) {
            $this->folders[$old] = $new;
        }
    }

    /** Null where the generation was made where the site is. */
    public static function of(Request $request, array $summary)
    {
        $was = $summary['areas']['root'];
        $real = realpath($was);
        return $was === $request->root || ($real !== false && $real === realpath($request->root)) ? null : new self($request, $summary);
    }

    /** The folders above both roots that stand for one another: what follows them is the same, or the roots lie in them. */
    private static function homes($was, $is)
    {
        $old = explode('/', $was);
        $new = explode('/', $is);
        $tail = [];
        while (count($old) > 3 && count($new) > 3 && end($old) === end($new)) {
            $tail[] = array_pop($old);
            array_pop($new);
        }
        if (!$tail) {
            array_pop($old);
            array_pop($new);
        }
        // One level, such as /home, is everybody's.
        return count($old) > 2 && count($new) > 2 ? [implode('/', $old), implode('/', $new)] : [null, null];
    }

    /** The summary with its folders as they are here; one wp-config.php above the root stays above it: WordPress looks there. */
    public function placed(array $summary)
    {
        foreach ($summary['areas'] as $area => $path) {
            $summary['areas'][$area] = $area === 'config' ? dirname($this->root) . '/' . basename($path) : $this->path($path);
        }
        return ['abspath' => $this->path($summary['abspath'])] + $summary;
    }

    private function path($path)
    {
        foreach ($this->folders as $old => $new) {
            if (Installation::below($path, $old)) {
                return $new . substr($path, strlen($old));
            }
        }
        return $path;
    }

    /** The text with the old folders replaced, wherever one stands as a whole path or as the beginning of one. */
    public function rewritten($text)
    {
        foreach ($this->folders as $old => $new) {
            $text = preg_replace_callback($this->pattern($old), function () use ($new) {
                return $new;
            }, $text);
        }
        return $text;
    }

    private function pattern($folder)
    {
        return '~(?<![\w./-])' . preg_quote($folder, '~') . '(?![\w.-])~';
    }

    private function names_old($text)
    {
        return (bool) array_filter(array_keys($this->folders), function ($old) use ($text) {
            return preg_match($this->pattern($old), $text);
        });
    }

    /** Whether the file is one whose paths are rewritten where it is staged. */
    public function may_change($path)
    {
        return in_array(basename($path), SERVER_SETTINGS, true);
    }

    /**
     * On the staged copy, before it is live: settings lead here, and what else names the old place is told by name.
     * `$config`: the manifest's path of wp-config.php, or null.
     */
    public function settle(Operation $operation, Generation $generation, $only, $tables, $config)
    {
        $changed = $left = $nowhere = [];
        foreach ($only === 'database' ? [] : $generation->manifest() as $entry) {
            $changes = $entry->path === $config || $this->may_change($entry->path);
            if ($entry->type !== 'f' || $entry->size > CHUNK || (is_array($only) && !wanted_under($entry->path, $only))
                || !($changes || self::starts_early($generation, $entry->path))) {
                continue;
            }
            $staged = staged_at($operation, $entry->path);
            refuse_way_out(dirname($staged), $operation->recall('places'));
            $text = (string) file_get_contents($staged);
            if (!$this->names_old($text)) {
                continue;
            }
            $new = !$changes ? $text : ($entry->path === $config ? $this->in_texts($text) : $this->rewritten($text));
            if ($new === $text) {
                $left[] = shown_path(area_path($generation, $entry->path));
                continue;
            }
            write_in_place($staged, $new);
            $changed[] = shown_path(area_path($generation, $entry->path));
            $nowhere = array_merge($nowhere, $this->missing($new, $generation));
        }
        $home = implode(', ', array_keys($this->folders));
        $changed && $operation->note('relocated', "paths below $home lead here now in: " . self::listed($changed));
        $left && $operation->note('old_paths', "files that name $home, and were left as they were: " . self::listed($left), 'warning');
        $nowhere && $operation->note('old_paths', 'named by these settings, and in no backup: ' . self::listed($nowhere), 'warning');
        $options = $tables ? $this->options($operation, $generation, $tables) : [];
        $options && $operation->note('old_paths', "options that name $home, and were left as they were: " . self::listed($options), 'warning');
    }

    private static function listed(array $names)
    {
        $names = array_values(array_unique($names));
        return implode(', ', array_slice($names, 0, NAMES_SHOWN)) . (count($names) > NAMES_SHOWN ? ' and ' . (count($names) - NAMES_SHOWN) . ' more' : '');
    }

    /** PHP that runs before any plugin: in the root itself, drop-ins, must-use plugins. */
    private static function starts_early(Generation $generation, $path)
    {
        $file = area_path($generation, $path);
        $content = $generation->summary['areas']['content'] ?? $generation->summary['abspath'] . '/wp-content';
        return substr($file, -4) === '.php'
            && in_array(dirname($file), [$generation->summary['areas']['root'], $generation->summary['abspath'], $content, "$content/mu-plugins"], true);
    }

    /** A PHP source with the paths in its texts rewritten; its comments stay. */
    private function in_texts($source)
    {
        if (!function_exists('token_get_all')) {
            return $this->rewritten($source);
        }
        $out = '';
        foreach (token_get_all($source) as $token) {
            $is_text = is_array($token) && in_array($token[0], [T_CONSTANT_ENCAPSED_STRING, T_ENCAPSED_AND_WHITESPACE], true);
            $out .= $is_text ? $this->rewritten($token[1]) : (is_array($token) ? $token[1] : $token);
        }
        return $out;
    }

    /** Paths outside the site's own areas that a text names here, and that are not here. */
    private function missing($text, Generation $generation)
    {
        $missing = [];
        foreach (array_slice($this->folders, 1) as $new) {
            preg_match_all('~(?<![\w./-])' . preg_quote($new, '~') . '/[\w./-]+~', $text, $found);
            foreach ($found[0] as $path) {
                $own = array_filter($generation->summary['areas'], function ($area) use ($path) {
                    return Installation::below($path, $area);
                });
                if (!$own && !exists($path)) {
                    $missing[] = $path;
                }
            }
        }
        return $missing;
    }

    private function options(Operation $operation, Generation $generation, array $tables)
    {
        $staged = array_column($tables['list'], 'stage', 'live')[$generation->summary['database']['prefix'] . 'options'] ?? null;
        if ($staged === null) {
            return [];
        }
        $database = database_of($operation);
        $like = implode(' OR ', array_map(function ($old) use ($database) {
            return 'INSTR(option_value, ' . $database->quote($old) . ')';
        }, array_keys($this->folders)));
        return array_column($database->rows('SELECT option_name n FROM ' . Database::name($staged)
            . " WHERE ($like) AND option_name NOT LIKE '\\_%transient%' ORDER BY option_name LIMIT 100"), 'n');
    }
}

/** A staged file gets other bytes; its mode and group stay, and its folder's time. */
function write_in_place($staged, $text)
{
    keeping_time(dirname($staged), function () use ($staged, $text) {
        $stat = stat($staged);
        write_durably($staged, $text, $stat['mode'] & 07777);
        @chgrp($staged, $stat['gid']);
    });
}
