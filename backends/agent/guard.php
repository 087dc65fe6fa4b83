<?php
// The guard of a site: one must-use plugin that is put there, taken away and read. What it does on the site, it does alone:
// guard/modoseru-guard.php, which stands in this agent as GUARD_SOURCE.

const GUARD_FILE = 'modoseru-guard.php';
const GUARD_HEAD = "<?php exit; ?>\n";
const GUARD_SETTING = "'{{settings}}'";
const GUARD_LINES = 50;
const GUARD_BLOCKS = 200;

/** What was asked is done, then told: {"installed", "ours", "version", "current", …}, as GuardReport. */
function answer_guard(Request $request)
{
    $guard = new Guard(Installation::find($request), $request);
    $do = $request->text('do');
    if ($do !== 'show') {
        make_folder($request->folder);
        refuse_if_busy($request);
        $lock = Lock::take($request, 2.0);
        if (!$lock) {
            throw new Failure('busy', 'another process works on this site', 'try again in a moment');
        }
        try {
            $guard->change($do);
        } finally {
            fclose($lock);
        }
    }
    return $guard->as_record();
}

/** Whether these bytes are those that Modoseru puts there, whatever the settings in them. */
function is_guard_of_ours($bytes)
{
    $settings = guard_settings($bytes);
    return $settings !== null && hash_equals(hash('sha256', guard_bytes($settings)), hash('sha256', $bytes));
}

function guard_bytes(array $settings)
{
    return str_replace(GUARD_SETTING, var_export(json($settings), true), GUARD_SOURCE);
}

/** The settings that a file of the guard carries, or null. Nothing of the file is run. */
function guard_settings($bytes)
{
    list($before) = explode(GUARD_SETTING, GUARD_SOURCE);
    if (strncmp($bytes, $before, strlen($before)) !== 0 || !preg_match("/\G'((?:[^'\\\\]|\\\\.)*)'/s", $bytes, $found, 0, strlen($before))) {
        return null;
    }
    $settings = json_decode(strtr($found[1], ['\\\\' => '\\', "\\'" => "'"]), true);
    return is_array($settings) ? $settings : null;
}

final class Guard
{
    private $site;
    private $request;
    private $file;
    private $folders;

    public function __construct(Installation $site, Request $request)
    {
        $this->site = $site;
        $this->request = $request;
        $this->file = rtrim($site->setting('WPMU_PLUGIN_DIR', $site->content() . '/mu-plugins'), '/') . '/' . GUARD_FILE;
        // Outside the web's reach where the web runs as the account; otherwise where the web may write.
        $this->folders = ["{$request->folder}/guard", $site->content() . '/modoseru-guard'];
    }

    public function change($do)
    {
        $works = ['install' => 'install', 'remove' => 'remove', 'block' => 'block', 'unblock' => 'unblock'];
        if (!isset($works[$do])) {
            throw new Failure('bad_request', 'the guard is not asked for that', 'update Modoseru');
        }
        $this->{$works[$do]}();
    }

    private function bytes()
    {
        return is_file($this->file) ? (string) @file_get_contents($this->file) : null;
    }

    private function install()
    {
        $settings = $this->request->get('settings');
        if (!is_array($settings)) {
            throw new Failure('bad_request', 'the guard has no settings', 'update Modoseru');
        }
        $bytes = $this->bytes();
        $this->refuse_others($bytes);
        $folder = dirname($this->file);
        $old = $bytes === null ? null : guard_settings($bytes);
        $made = $old ? !empty($old['made']) : !is_dir($folder);
        make_folder_kept($folder);
        make_folder($this->folders[0]);
        $this->make_place_for_the_web();
        keeping_time($folder, function () use ($settings, $made) {
            sweep_half_written(dirname($this->file));
            put_file($this->file, guard_bytes(['folders' => $this->folders, 'made' => $made] + $settings), 0644);
        });
    }

    /** Where another user than the account runs the web, it may write to a folder of its own, as it may to uploads. */
    private function make_place_for_the_web()
    {
        $uploads = @stat($this->site->uploads());
        if (!$uploads || is_dir($this->folders[1]) || ($uploads['uid'] === fileowner($this->request->folder) && !($uploads['mode'] & 0022))) {
            return;
        }
        keeping_time(dirname($this->folders[1]), function () use ($uploads) {
            if (@mkdir($this->folders[1], 0755)) {
                @chgrp($this->folders[1], $uploads['gid']);
                @chmod($this->folders[1], $uploads['mode'] & 0777);
            }
        });
    }

    private function remove()
    {
        $bytes = $this->bytes();
        $this->refuse_others($bytes);
        $folder = dirname($this->file);
        $settings = $bytes === null ? null : guard_settings($bytes);
        if ($bytes !== null) {
            keeping_time($folder, function () {
                if (!@unlink($this->file)) {
                    throw new Failure('not_writable', "{$this->file} cannot be removed: " . last_error('unknown reason'), 'correct the owner of its folder');
                }
                sweep_half_written(dirname($this->file));
            });
        }
        if (!empty($settings['made'])) {
            keeping_time(dirname($folder), function () use ($folder) {
                @rmdir($folder);
            });
        }
        foreach ($this->folders as $place) {
            is_dir($place) && keeping_time(dirname($place), function () use ($place) {
                remove_tree($place);
            });
        }
    }

    /** A file of that name which says nothing of Modoseru is somebody else's. */
    private function refuse_others($bytes)
    {
        if ($bytes !== null && strpos(substr($bytes, 0, 1024), 'Plugin Name: Modoseru Guard') === false) {
            throw new Failure('not_ours', "{$this->file} is not Modoseru's", 'look at it, and rename or delete it');
        }
    }

    // ---------------------------------------------------------------- blocks

    private function block()
    {
        $this->edit(function (array $state, $key) {
            $state['rows'][$key] = ['u' => time() + $this->request->whole('seconds')] + ($state['rows'][$key] ?? ['n' => 0, 't' => time(), 'l' => 0]);
            return $state;
        });
    }

    private function unblock()
    {
        $this->edit(function (array $state, $key) {
            unset($state['rows'][$key], $state['rows']["$key xmlrpc"]);
            return $state;
        });
    }

    private function edit(callable $work)
    {
        $key = $this->request->text('key');
        if ($this->bytes() === null) {
            throw new Failure('not_guarded', "{$this->request->site} has no guard", "modoseru guard install {$this->request->site}");
        }
        foreach (array_filter($this->folders, 'is_dir') as $folder) {
            // Of the web's user where that is another: it is read to lock, and replaced, never written.
            is_file("$folder/lock.php") || @touch("$folder/lock.php");
            $lock = @fopen("$folder/lock.php", 'rb');
            if (!$lock || !flock($lock, LOCK_EX)) {
                throw new Failure('no_state', "cannot lock $folder: " . last_error('unknown reason'), 'look at its permissions');
            }
            write_durably("$folder/state.php", GUARD_HEAD . json($work($this->state($folder), $key)), 0644);
            fclose($lock);
        }
    }

    private function state($folder)
    {
        $state = json_decode((string) @file_get_contents("$folder/state.php", false, null, strlen(GUARD_HEAD), 4194304), true);
        $state = is_array($state) ? $state : [];
        foreach (['rows', 'known'] as $part) {
            $state[$part] = is_array($state[$part] ?? null) ? array_filter($state[$part], $part === 'rows' ? 'is_array' : 'is_int') : [];
        }
        return $state;
    }

    // ---------------------------------------------------------------- what it tells

    public function as_record()
    {
        $bytes = $this->bytes();
        preg_match('/^Version: (\S{1,20})\s*$/m', substr((string) $bytes, 0, 1024), $version);
        preg_match('/^Version: (\S{1,20})\s*$/m', GUARD_SOURCE, $current);
        $blocks = [];
        $counts = ['failed' => 0, 'blocked' => 0, 'watched' => 0];
        $logs = ['attacks' => [], 'deeds' => []];
        foreach ($this->folders as $folder) {
            $state = $this->state($folder);
            foreach (['failed', 'blocked'] as $key) {
                $counts[$key] += is_int($state[$key] ?? null) ? max(0, $state[$key]) : 0;
            }
            $counts['watched'] += count($state['rows']);
            foreach ($state['rows'] as $key => $row) {
                if (is_int($row['u'] ?? null) && $row['u'] > time() && $row['u'] < 4102444800) {
                    $blocks[(string) $key] = max($blocks[(string) $key] ?? 0, $row['u']);
                }
            }
            foreach ($logs as $log => $lines) {
                $logs[$log] = array_merge($lines, $this->last_lines($folder, $log));
            }
        }
        arsort($blocks);
        $shown = [];
        foreach (array_slice($blocks, 0, GUARD_BLOCKS, true) as $key => $until) {
            $shown[] = ['kind' => $key[0] === 'u' ? 'account' : 'address', 'name' => substr($key, 2, 200), 'until' => gmdate('Y-m-d\TH:i:s\Z', $until)];
        }
        return ['installed' => $bytes !== null, 'ours' => $bytes === null ? null : is_guard_of_ours($bytes), 'version' => $version[1] ?? null, 'current' => $current[1],
            'file' => $this->file, 'blocks' => $shown, 'blocks_in_force' => count($blocks), 'counts' => $counts]
            + array_map(function ($lines) {
                usort($lines, function ($one, $other) {
                    return strcmp($other['at'], $one['at']);
                });
                return array_slice($lines, 0, GUARD_LINES);
            }, $logs);
    }

    /** The newest, newest first; of each only what a line has, as text. */
    private function last_lines($folder, $log)
    {
        $text = '';
        foreach (["$folder/$log.1.php", "$folder/$log.php"] as $file) {
            $size = (int) @filesize($file);
            $text .= (string) @file_get_contents($file, false, null, max(0, $size - 65536), 65536) . "\n";
        }
        $found = [];
        foreach (array_reverse(explode("\n", $text)) as $line) {
            $fields = strncmp($line, '{', 1) === 0 ? json_decode($line, true) : null;
            if (is_array($fields) && is_string($fields['at'] ?? null) && preg_match('/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/D', $fields['at']) && count($found) < GUARD_LINES) {
                $found[] = ['at' => $fields['at']] + array_map(function ($value) {
                    return is_scalar($value) ? substr((string) $value, 0, 800) : '';
                }, array_intersect_key($fields, ['event' => 1, 'what' => 1, 'user' => 1, 'address' => 1, 'id' => 1, 'type' => 1, 'to' => 1]))
                    + ['event' => '', 'what' => '', 'user' => '', 'address' => ''];
            }
        }
        return $found;
    }
}
