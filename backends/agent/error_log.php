<?php
// PHP's error log: what an update breaks behind a page that looks right is written there and nowhere else.

/** How much is read of what came meanwhile, and of what was there before. */
const LOG_READ = 1048576;
const LOG_KNOWN = 262144;

/**
 * Where each log of the site's PHP ends, by its path. `error_log` of the request is what PHP told on the web; WordPress's
 * own setting goes before it. A relative one is a file beside each script (php.ini(5), error_log).
 */
function log_ends(Installation $site, $told)
{
    $own = $site->setting('WP_DEBUG') ? $site->setting('WP_DEBUG_LOG') : null;
    $log = is_string($own) && !in_array(strtolower($own), ['', '0', '1', 'true'], true) ? $own : ($own ? $site->content() . '/debug.log' : $told);
    if (!is_string($log) || $log === '' || $log === 'syslog' || strpos($log, "\0") !== false) {
        return [];
    }
    $beside = [$site->root, $site->abspath, "{$site->abspath}/wp-admin"];
    $paths = $log[0] === '/' ? [$log] : array_map(function ($folder) use ($log) {
        return "$folder/$log";
    }, $beside);
    clearstatcache();
    $ends = [];
    foreach (array_unique($paths) as $path) {
        // A pipe or a device would never end.
        if (!file_exists($path) || (is_file($path) && is_readable($path))) {
            $ends[$path] = is_file($path) ? [(int) fileinode($path), (int) filesize($path)] : [0, 0];
        }
    }
    return $ends;
}

/**
 * What was written since `log_ends`: [the first error that ends a script, how many other lines, the first of them]. What
 * the log had said before in the same words is nothing new.
 */
function logged_since(array $ends)
{
    list($fatal, $others, $first) = [null, 0, null];
    clearstatcache();
    foreach ($ends as $path => list($inode, $end)) {
        if (!is_file($path) || !is_readable($path)) {
            continue;
        }
        $begun_anew = (int) fileinode($path) !== $inode || filesize($path) < $end;
        $known = $begun_anew ? [] : array_flip(array_keys(log_lines($path, max(0, $end - LOG_KNOWN), min($end, LOG_KNOWN))));
        foreach (log_lines($path, $begun_anew ? 0 : $end, LOG_READ) as $words => list($line, $ends_script)) {
            if (isset($known[$words])) {
                continue;
            }
            if ($ends_script) {
                $fatal = $fatal ?? $line;
            } else {
                $others++;
                $first = $first ?? $line;
            }
        }
    }
    return [$fatal, $others, $first];
}

/** Errors by their words without time and numbers: [line, whether the script ended by it]. */
function log_lines($path, $from, $bytes)
{
    $found = [];
    foreach (explode("\n", (string) @file_get_contents($path, false, null, $from, $bytes)) as $line) {
        if (preg_match('/((Fatal|Parse|Recoverable fatal|Catchable fatal|Compile|Core) error|Warning|Notice|Deprecated|WordPress database error)\b:?\s+(.*)/', $line, $match)) {
            $told = ($match[1][0] === 'W' && $match[1][1] === 'o' ? $match[1] : lcfirst($match[1])) . ': ' . substr($match[3], 0, 300);
            $found += [preg_replace('/[0-9]+/', '0', $told) => [$told, $match[2] !== '']];
        }
    }
    return $found;
}
