<?php
// Walks a site's files in the order of their bytes, so that two generations merge as streams and no site is held in memory.

/** Carried over by a restore, never backed up: what rebuilds itself, and other tools' own backups. */
const EXCLUDED = [
    'wp-content/cache', 'wp-content/upgrade', 'wp-content/upgrade-temp-backup', 'wp-content/et-cache', 'wp-content/litespeed',
    'wp-content/updraft', 'wp-content/ai1wm-backups', 'wp-content/backups-dup-lite', 'wp-content/backups-dup-pro',
    'wp-content/backupbuddy_backups', 'wp-content/uploads/backupbuddy_backups', 'wp-content/uploads/backwpup-*',
    'wp-content/uploads/wp-staging', 'wp-content/wpvividbackups', 'wp-content/backup-*', 'wp-content/backups',
    '.maintenance', 'modoseru-*.php', '.modoseru*',
];

/** Matches a path below the document root (or below WordPress's own folder) that is left where it is. */
function exclusion_pattern(Request $request)
{
    $more = $request->words('exclude');
    $state = dirname($request->folder);
    if (Installation::below($state, $request->root)) {
        $more[] = substr($state, strlen($request->root));
    }
    $patterns = array_map(function ($pattern) {
        return str_replace('\*', '[^/]*', preg_quote(trim($pattern, '/'), '~'));
    }, array_merge(EXCLUDED, $more));
    return '~^(?:' . implode('|', $patterns) . ')$~s';
}

/**
 * Yields [path, stat, type, target] for an area: the area itself first, then all below it, sorted bytewise by path.
 * `type` is f, d or l. What is skipped (excluded, another installation, a socket …) goes to `$skipped(path, why)`.
 */
function walk_area($name, $start, $exclude, $abspath, callable $skipped)
{
    // A document root that is a link is followed, it alone; a configuration that is a link stays one.
    $stat = is_dir($start) ? @stat($start) : @lstat($start);
    if (!$stat) {
        return;
    }
    $type = file_type($stat);
    if ($type !== 'd') {
        yield [$name . '/' . basename($start), $stat, $type, $type === 'l' ? (string) @readlink($start) : ''];
        return;
    }
    yield [$name, $stat, 'd', ''];
    $stack = [[rtrim($start, '/'), $name, folder_items(rtrim($start, '/'), $name, $skipped), []]];
    $cut = strlen($name) + 1;
    $own = Installation::below($abspath, $start) && $abspath !== $start ? substr($abspath, strlen($start) + 1) . '/' : '';
    while ($stack) {
        $top = count($stack) - 1;
        $stat = current($stack[$top][2]);
        if ($stat === false) {
            array_pop($stack);
            continue;
        }
        $entry = (string) key($stack[$top][2]);
        next($stack[$top][2]);
        list($folder, $prefix) = $stack[$top];
        $path = $prefix . '/' . $entry;
        if ($stat === null) {
            if (isset($stack[$top][3][$entry])) {
                continue;
            }
            $below = $folder . '/' . rtrim($entry, '/');
            $stack[] = [$below, rtrim($path, '/'), folder_items($below, rtrim($path, '/'), $skipped), []];
            continue;
        }
        $relative = substr($path, $cut);
        $type = file_type($stat);
        $why = preg_match($exclude, $relative) || ($own !== '' && strncmp($relative, $own, strlen($own)) === 0
            && preg_match($exclude, substr($relative, strlen($own)))) ? 'excluded' : null;
        if ($why === null && $type === 'd' && is_other_installation("$folder/$entry", $abspath)) {
            $why = 'another installation';
        }
        if ($why === null && $type === null) {
            $why = 'neither file, folder nor link';
        }
        if ($why !== null) {
            $skipped($path, $why);
            $stack[$top][3][$entry . '/'] = true;
            continue;
        }
        yield [$path, $stat, $type, $type === 'l' ? (string) @readlink("$folder/$entry") : ''];
    }
}

/**
 * The entries of a folder as name => stat, sorted bytewise; a folder stands twice, as `name` and, with null for a stat, as
 * `name/` where its content sorts. A name that is a number is an integer as a key, and sorts as the text it is.
 */
function folder_items($folder, $path, callable $skipped)
{
    $names = @scandir($folder, SCANDIR_SORT_NONE);
    if ($names === false) {
        $skipped($path, 'unreadable');
        return [];
    }
    $items = [];
    foreach ($names as $name) {
        if ($name === '.' || $name === '..') {
            continue;
        }
        $stat = @lstat("$folder/$name");
        if (!$stat) {
            continue;
        }
        $items[$name] = $stat;
        if (file_type($stat) === 'd') {
            $items[$name . '/'] = null;
        }
    }
    ksort($items, SORT_STRING);
    return $items;
}

function file_type(array $stat)
{
    $bits = $stat['mode'] & 0170000;
    return $bits === 0100000 ? 'f' : ($bits === 0040000 ? 'd' : ($bits === 0120000 ? 'l' : null));
}

function is_other_installation($folder, $abspath)
{
    return $folder !== $abspath && !Installation::below($abspath, $folder)
        && is_file($folder . '/wp-config.php') && is_file($folder . '/wp-includes/version.php');
}

/** Bytes outside 0x21–0x7E and `\` as `\0ooo`, which `printf %b` reads back. */
function escape_path($path)
{
    if ($path === '-') {
        return '\0055';
    }
    return preg_replace_callback('/[^\x21-\x5b\x5d-\x7e]/', function ($found) {
        return sprintf('\0%03o', ord($found[0]));
    }, $path);
}

function unescape_path($text)
{
    return strpos($text, '\\') === false ? $text : preg_replace_callback('/\\\\0([0-7]{3})/', function ($found) {
        return chr(octdec($found[1]) & 255);
    }, $text);
}
