<?php
// Plugins' files judged by what wordpress.org publishes of their releases. Nothing is read for it: the SHA-256 of each
// file is known to whoever compares or stores it.
//
// `checksums/plugins` is text: `plugin SLUG VERSION`, then a line `SHA256[,SHA256…] PATH` for each file that is run. As of
// core, a list counts only with the SHA-256 that the request names.

const PLUGIN_LISTS_AT_MOST = 16777216;
const PLUGINS_AT_MOST = 500;
/** What a server or a browser runs: texts, pictures, styles and translations are changed by people. */
const RUN_OF_A_PLUGIN = '~\.(?:php\d?|phtml|phar|pht|inc|m?js|html?|svg)$~i';
/** What people and security plugins lay into folders that list their files. */
const SILENCE = '~^\s*(?:<\?php)?\s*(?:(?://|\#)[^\r\n?]*)?\s*(?:\?>)?\s*$~D';

/** Folder (of a plugin of one file, its name) => version, by the headers that WordPress reads; nothing is booted. */
function plugins_here(Installation $site)
{
    $found = [];
    $top = $site->plugins();
    foreach (php_files_of($top, true) as $name) {
        $in = is_dir("$top/$name") ? php_files_of("$top/$name", false) : [];
        // Of several files with a header the one that is called as its folder speaks.
        usort($in, function ($one, $other) use ($name) {
            return [$one !== "$name.php", $one] <=> [$other !== "$name.php", $other];
        });
        foreach ($in ?: [''] as $file) {
            $head = (string) @file_get_contents(rtrim("$top/$name/$file", '/'), false, null, 0, 8192);
            if (preg_match('~^(?:[ \t]*<\?php)?[ \t/*#@]*Plugin Name:~mi', $head)) {
                $version = preg_match('~^[ \t/*#@]*Version:[ \t]*(\S{1,40})~mi', $head, $told) ? $told[1] : '';
                $found[$name] = preg_match('~^[!-\~]*$~D', $version) ? $version : '';
                break;
            }
        }
        if (count($found) >= PLUGINS_AT_MOST) {
            break;
        }
    }
    ksort($found, SORT_STRING);
    return $found;
}

function php_files_of($folder, $folders)
{
    return array_values(array_filter(@scandir($folder) ?: [], function ($name) use ($folder, $folders) {
        return preg_match('~^[!-\~]{1,100}$~D', $name) && $name[0] !== '.'
            && ((substr($name, -4) === '.php' && is_file("$folder/$name")) || ($folders && is_dir("$folder/$name")));
    }));
}

final class PluginFiles
{
    private $problem;
    private $asked;
    private $site;
    private $signs;
    /** Slug => [version, files that were judged, altered, added]. */
    private $listed = [];
    /** Slug/path => hashes, joined by commas. */
    private $files = [];
    /** Why nothing is known, by slug. */
    private $unknown = [];
    /** Path below the plugins' folder => the operator's reason. */
    private $rules = [];
    private $ignored = [];
    /** Path => [sha256, whether an operator called a generation clean that has it]. */
    private $altered = [];
    private $added = [];
    private $before = [];
    private $known_then = [];
    private $accepted = false;

    /** `$before`: the generation that an operator may have called clean, or null. */
    public function __construct(Request $request, Installation $site, Signs $signs, $before)
    {
        $this->site = $site;
        $this->signs = $signs;
        $this->asked = is_array($request->get('plugins')) ? $request->get('plugins') : null;
        $then = $before ? ($before->summary['plugins'] ?? null) : null;
        if (is_array($then)) {
            foreach ((array) ($then['altered'] ?? []) as $one) {
                $this->before[unescape_path((string) ($one['path'] ?? ''))] = [$one['sha256'] ?? '', !empty($one['accepted'])];
            }
            $this->known_then = array_filter((array) ($then['known'] ?? []), 'is_string');
            $this->accepted = (new ClientsWord($request))->calls_clean($before);
        }
        $this->problem = $this->read($request);
    }

    private function read(Request $request)
    {
        if ($this->asked === null) {
            return 'no checksums were asked for';
        }
        foreach ((array) ($this->asked['ignore'] ?? []) as $rule) {
            $this->rules[(string) ($rule['path'] ?? '')] = (string) ($rule['why'] ?? '');
        }
        foreach ((array) ($this->asked['unknown'] ?? []) as $slug => $why) {
            $this->unknown[(string) $slug] = substr((string) $why, 0, 300);
        }
        if (!is_string($this->asked['sha256'] ?? null)) {
            return is_string($this->asked['problem'] ?? null) ? substr($this->asked['problem'], 0, 300) : 'there are no checksums';
        }
        $text = (string) @file_get_contents(Checksums::path($request, 'plugins'), false, null, 0, PLUGIN_LISTS_AT_MOST);
        if (sha256($text) !== $this->asked['sha256']) {
            return 'the checksums on this server are not those that were brought';
        }
        $slug = '';
        $here = plugins_here($this->site);
        foreach (explode("\n", $text) as $line) {
            if (preg_match('/^plugin (\S+) (\S+)$/D', $line, $found)) {
                $slug = ($here[$found[1]] ?? null) === $found[2] ? $found[1] : '';
                if ($slug === '') {
                    $this->unknown[$found[1]] = "the checksums are of {$found[2]}, and another version is here";
                } else {
                    $this->listed[$slug] = [$found[2], 0, 0, 0];
                }
            } elseif ($slug !== '' && preg_match('/^([0-9a-f]{64}(?:,[0-9a-f]{64})*) (\S.*)$/D', $line, $found)) {
                $this->files["$slug/{$found[2]}"] = $found[1];
            }
        }
        return null;
    }

    /** An entry with its hash, and what the generation before has at its path or null; `$file`: its place on the disk. */
    public function see(Entry $live, $old, $file)
    {
        $same = $old && $old->type === 'f' && $live->type === 'f' && $old->sha256 === $live->sha256;
        if ($this->sign_of($live, $live->type === 'f' ? $live->sha256 : '', $file, $same) !== 'plugin_checksums') {
            return;
        }
        $path = $this->signs->below_plugins($live->path);
        $known = $this->before[$path] ?? null;
        $accepted = $known !== null && $known[0] === $live->sha256 && ($known[1] || $this->accepted);
        if (count($this->altered) < ALTERED_AT_MOST) {
            $this->altered[$path] = [$live->type === 'f' ? $live->sha256 : '', $accepted];
        }
        $accepted || $this->signs->example('plugin_checksums', $live->path);
    }

    /**
     * `plugin_checksums`, `plugin_added` or null; `$sha256` may be a function that gives it. PHP that no release has is a
     * left-over or a plugin's own as often as not: it is a sign where it is new (`$same` is false), and counted elsewhere.
     */
    public function sign_of(Entry $live, $sha256, $file, $same)
    {
        $path = $this->problem !== null || $live->type === 'd' ? null : $this->signs->below_plugins($live->path);
        $slug = $path === null ? '' : (string) strtok($path, '/');
        if (!isset($this->listed[$slug]) || $slug === $path || !preg_match(RUN_OF_A_PLUGIN, $path)) {
            return null;
        }
        $published = $this->files[$path] ?? null;
        if ($published !== null) {
            $this->listed[$slug][1]++;
            $sha256 = $sha256 instanceof Closure ? $sha256() : $sha256;
            if ($sha256 !== '' && in_array($sha256, explode(',', $published), true)) {
                return null;
            }
            $sign = 'plugin_checksums';
        } elseif (preg_match(RUNS_AS_PHP, $path) && !$this->is_silence($live, $file)) {
            $sign = 'plugin_added';
        } else {
            return null;
        }
        if ($this->is_ignored($path)) {
            return null;
        }
        $this->listed[$slug][$sign === 'plugin_added' ? 3 : 2]++;
        if ($sign === 'plugin_added' && $same) {
            return null;
        }
        $sign === 'plugin_added' && $this->added[] = $path;
        return $sign;
    }

    private function is_silence(Entry $live, $file)
    {
        return $live->type === 'f' && $live->size <= 200 && preg_match(SILENCE, (string) @file_get_contents($file, false, null, 0, 200));
    }

    private function is_ignored($path)
    {
        for ($at = $path; $at !== '.'; $at = dirname($at)) {
            if (isset($this->rules[$at])) {
                $this->ignored += [$at => ['path' => $at, 'why' => $this->rules[$at], 'files' => 0]];
                $this->ignored[$at]['files']++;
                return true;
            }
        }
        return false;
    }

    /** How many files differ and were accepted by nobody; of a plugin that was replaced meanwhile none. */
    public function count()
    {
        $here = $this->altered ? plugins_here($this->site) : [];
        return count(array_filter(array_keys($this->altered), function ($path) use ($here) {
            $slug = (string) strtok($path, '/');
            return !$this->altered[$path][1] && ($here[$slug] ?? null) === $this->listed[$slug][0];
        }));
    }

    public function is_asked()
    {
        return $this->asked !== null;
    }

    /** What is to be told of a backup: [word, sentence, level, item]. */
    public function notes()
    {
        $notes = [];
        if ($this->problem !== null) {
            return $this->asked ? [['plugins_unknown', "plugins were not compared with wordpress.org's checksums: {$this->problem}", 'info', '']] : [];
        }
        foreach ($this->ignored as $one) {
            $notes[] = ['checksums_ignored', "{$one['path']} is not as wordpress.org publishes it, ignored by rule: {$one['why']}", 'info', $one['path']];
        }
        $more = count($this->added);
        if ($more) {
            $notes[] = ['plugin_added', "$more new PHP files in plugins' folders are in no release of them: " . implode(', ', array_slice($this->added, 0, 3)), 'warning', ''];
        }
        foreach ($this->judged() as $one) {
            $then = $this->known_then[$one['slug']] ?? null;
            if ($one['state'] === 'unknown' && $then !== null && $then !== $one['version']) {
                $notes[] = ['plugin_version', "{$one['slug']} calls itself {$one['version']}, of which wordpress.org says nothing; it was $then", 'warning', $one['slug']];
            }
        }
        return $notes;
    }

    /** Each plugin: {slug, version, state: `published`, `altered` or `unknown`, why, altered, added}. */
    public function judged()
    {
        $all = [];
        foreach (plugins_here($this->site) as $slug => $version) {
            $slug = (string) $slug;
            list($of, $seen, $altered, $added) = $this->listed[$slug] ?? [null, 0, 0, 0];
            $why = $this->problem ?? ($of === null ? $this->unknown[$slug] ?? 'nothing was asked of it'
                : ($of !== $version ? 'it changed while it was read' : ($seen ? '' : 'none of its files lies in the site')));
            $all[] = ['slug' => $slug, 'version' => $version, 'state' => $why !== '' ? 'unknown' : ($altered ? 'altered' : 'published'),
                'why' => $why, 'altered' => $altered, 'added' => $added];
        }
        return $all;
    }

    public function ignored()
    {
        return array_values($this->ignored);
    }

    public function problem()
    {
        return $this->problem;
    }

    /** What the summary keeps: of plugins of which nothing is known, what the generation before knew. */
    public function as_record()
    {
        $altered = [];
        foreach ($this->altered + $this->before as $path => list($sha256, $accepted)) {
            $is_known = isset($this->listed[(string) strtok((string) $path, '/')]);
            if (!$is_known || isset($this->altered[$path])) {
                $altered[] = ['path' => escape_path((string) $path), 'sha256' => $sha256, 'accepted' => $accepted || (!$is_known && $this->accepted)];
            }
        }
        $judged = $this->judged();
        $known = [];
        foreach ($judged as $one) {
            $was = $this->known_then[$one['slug']] ?? null;
            if ($one['state'] !== 'unknown' || $was !== null) {
                $known[$one['slug']] = $one['state'] !== 'unknown' ? $one['version'] : $was;
            }
        }
        return ['problem' => $this->problem, 'plugins' => $judged, 'known' => (object) $known, 'ignored' => $this->ignored(), 'altered' => $altered];
    }
}
