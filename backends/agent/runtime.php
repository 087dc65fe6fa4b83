<?php
// Which PHP binaries the server has. Each is a stranger until it has answered: started once, with little time and room.

const BINARY_S = 5;
/** Seconds for all of them. */
const BINARIES_S = 40;
const BINARIES_MOST = 40;
const BINARY_ANSWER = 65536;
/** Where shared hosts, panels and distributions put them. */
const BINARY_PLACES = ['/usr/bin/php*', '/usr/local/bin/php*', '/usr/local/php/*/bin/php', '/usr/local/php*/bin/php', '/opt/php*/bin/php',
    '/opt/cpanel/ea-php*/root/usr/bin/php', '/opt/plesk/php/*/bin/php', '/opt/alt/php*/usr/bin/php', '/opt/remi/php*/root/usr/bin/php',
    '/usr/local/lsws/lsphp*/bin/php', '~/bin/php*'];
const FACTS_OF_PHP = 'echo "\n%s ", json_encode(["version" => PHP_VERSION, "sapi" => PHP_SAPI, "extensions" => get_loaded_extensions(), '
    . '"ini" => php_ini_loaded_file() ?: null]), "\n";';

/** {"binaries": [{path, version, sapi, extensions, ini, cli, problem}…]}; `cli`: the one that runs this agent. */
function answer_runtimes(Request $request)
{
    $until = microtime(true) + BINARIES_S;
    $found = [];
    foreach (binaries() as $path) {
        $found[] = microtime(true) < $until ? facts_of_binary($path) : silent_binary($path, 'it was not started: the others took too long');
    }
    return ['binaries' => $found];
}

/** Paths, the agent's own first; what several names lead to once, under its plainest name. */
function binaries()
{
    $found = [realpath(PHP_BINARY) ?: PHP_BINARY => realpath(PHP_BINARY) ?: PHP_BINARY];
    $places = array_map('expand', BINARY_PLACES);
    foreach (explode(':', (string) getenv('PATH')) as $folder) {
        $folder !== '' && $folder[0] === '/' && $places[] = "$folder/php*";
    }
    foreach ($places as $place) {
        foreach (glob($place) ?: [] as $path) {
            if (preg_match('~/php(?:-?cli)?-?[0-9.]*$~D', $path) && is_file($path) && is_executable($path)) {
                $real = realpath($path) ?: $path;
                $found += [$real => preg_match('/[0-9]/', $real) ? $real : $path];
            }
        }
    }
    // A path is a word of commands elsewhere.
    return array_slice(preg_grep('~^/[A-Za-z0-9_./+-]{1,300}$~D', array_values($found)), 0, BINARIES_MOST);
}

function silent_binary($path, $problem)
{
    return ['path' => $path, 'version' => null, 'sapi' => null, 'extensions' => [], 'ini' => null, 'cli' => false, 'problem' => $problem];
}

/** What it says of itself; `problem` where it says nothing that could be believed. */
function facts_of_binary($path)
{
    $marker = random_hex(16);
    list($status, $out, $why) = run_bounded([$path, '-d', 'display_errors=stderr', '-d', 'error_log=', '-r', sprintf(FACTS_OF_PHP, $marker)], '', BINARY_S, BINARY_ANSWER);
    $told = last_answer($marker, $out);
    if (!is_array($told) || !is_string($told['version'] ?? null) || !preg_match('/^\d{1,2}\.\d{1,3}\.\d{1,3}/', $told['version'])) {
        return silent_binary($path, $why ?: "it gave no answer (exit status $status)");
    }
    $extensions = array_filter(is_array($told['extensions'] ?? null) ? $told['extensions'] : [], 'is_string');
    return ['path' => $path, 'version' => substr($told['version'], 0, 40), 'sapi' => substr((string) ($told['sapi'] ?? ''), 0, 20),
        'extensions' => array_slice(array_values($extensions), 0, 200), 'ini' => is_string($told['ini'] ?? null) ? substr($told['ini'], 0, 500) : null,
        'cli' => (realpath($path) ?: $path) === (realpath(PHP_BINARY) ?: PHP_BINARY), 'problem' => null];
}

/** The facts of the one that an operator named: a path, a name such as `php8.3`, or a version. Throws no_php, other_php. */
function named_binary($named)
{
    $path = strpos($named, '/') !== false ? expand($named) : null;
    $wanted = preg_match('/(\d+\.\d+)[^\/]*$/', $named, $version) ? $version[1] : null;
    foreach ($path === null ? binaries() : [] as $one) {
        if (basename($one) === $named || ($wanted !== null && strpos($one, $wanted) !== false && preg_match('/^(?:php-?)?\d+\.\d+$/D', $named))) {
            $path = $one;
            break;
        }
    }
    if ($path === null || !is_file($path) || !is_executable($path)) {
        throw new Failure('no_php', "there is no PHP $named on this server", 'modoseru runtime without --php lists those that are there');
    }
    $facts = facts_of_binary($path);
    if ($facts['problem'] !== null) {
        throw new Failure('no_php', "$path is no PHP that could be used: {$facts['problem']}", 'name another one');
    }
    if ($facts['sapi'] !== 'cli') {
        throw new Failure('no_php', "$path is PHP for {$facts['sapi']}, not for the command line", 'name the one for the command line');
    }
    if ($wanted !== null && strpos($path, $wanted) !== false && strncmp($facts['version'], "$wanted.", strlen($wanted) + 1) !== 0) {
        throw new Failure('other_php', "$path says that it is PHP {$facts['version']}", 'ask the host what lies there');
    }
    return $facts;
}

/** As `run`, but its output is read while it comes: past `$most` bytes or `$seconds` it is killed. [status, stdout, why] */
function run_bounded(array $command, $stdin, $seconds, $most, $tick = null)
{
    $in = tmpfile();
    fwrite($in, $stdin);
    rewind($in);
    $process = @proc_open($command, [0 => $in, 1 => ['pipe', 'w'], 2 => ['file', '/dev/null', 'w']]
        + (is_resource(Lock::$pipe) ? [3 => Lock::$pipe] : []), $pipes, '/');
    if (!is_resource($process)) {
        return [-1, '', 'it cannot be started'];
    }
    $out = '';
    $why = '';
    $until = microtime(true) + $seconds;
    stream_set_blocking($pipes[1], false);
    try {
        while (!feof($pipes[1])) {
            $tick && $tick();
            $ready = [$pipes[1]];
            $none = null;
            @stream_select($ready, $none, $none, 0, 100000);
            $out .= (string) fread($pipes[1], 65536);
            if (strlen($out) > $most) {
                $why = 'it prints without end';
                break;
            }
            if (microtime(true) > $until) {
                $why = "it did not end within $seconds s";
                break;
            }
        }
    } catch (Exception $e) {
        proc_terminate($process, 9);
        throw $e;
    }
    fclose($pipes[1]);
    $why !== '' && proc_terminate($process, 9);
    return [wait_for($process, $until), $out, $why];
}
