<?php
// Request, answer, failures, and the few system calls that everything else stands on.
// Syntax of PHP 7.4 throughout; no extension is assumed beyond json, and mysqli where the database is touched.

const PROTOCOL = 1;
const CHUNK = 1048576;
/** Bytes of a disk that no work of ours takes. */
const DISK_SPARE = 16777216;

/** A failure told to a person in one line; nothing was changed, or all of it was taken back. */
class Failure extends Exception
{
    public $word;
    public $hint;

    public function __construct($word, $message, $hint = '')
    {
        parent::__construct($message);
        $this->word = $word;
        $this->hint = $hint;
    }
}

/** What was begun cannot be taken back at the moment; the operation stays open, and the next contact tries again. */
class NotYet extends Failure
{
}

/** An operator asked to stop, and the operation is still at a point where nothing live was touched. */
class Cancelled extends Exception
{
}

/** What every verb is given: the request, and the folders that it names. */
final class Request
{
    public $fields;
    public $marker;
    public $site;
    public $root;
    public $folder;

    public function __construct(array $fields)
    {
        $this->fields = $fields;
        $this->marker = is_string($fields['marker'] ?? null) && preg_match('/^[0-9a-f]{8,64}$/D', $fields['marker']) ? $fields['marker'] : '';
        if ($this->marker === '') {
            throw new Failure('bad_request', 'the request has no marker', 'update Modoseru');
        }
        if ($this->get('protocol') !== PROTOCOL) {
            throw new Failure('protocol', 'the request is not of protocol ' . PROTOCOL, 'update Modoseru');
        }
        $site = $this->text('site');
        if (!preg_match('/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/D', $site)) {
            throw new Failure('bad_request', 'the site name is not a plain word', 'rename the site');
        }
        $this->site = $site;
        $this->root = rtrim(expand($this->text('root')), '/');
        $this->folder = expand($this->text('state')) . '/' . $site;
    }

    public function get($name, $default = null)
    {
        return array_key_exists($name, $this->fields) && $this->fields[$name] !== null ? $this->fields[$name] : $default;
    }

    public function text($name, $default = null)
    {
        $value = $this->get($name, $default);
        if (!is_string($value) || strpos($value, "\0") !== false) {
            throw new Failure('bad_request', "the request's \"$name\" is not a text", 'update Modoseru');
        }
        return $value;
    }

    public function whole($name, $default = null)
    {
        $value = $this->get($name, $default);
        if (!is_int($value)) {
            throw new Failure('bad_request', "the request's \"$name\" is not a whole number", 'update Modoseru');
        }
        return $value;
    }

    /** Words of a list, each a text. */
    public function words($name)
    {
        $value = $this->get($name, []);
        if (!is_array($value) || array_filter($value, 'is_string') !== array_values($value)) {
            throw new Failure('bad_request', "the request's \"$name\" is not a list of texts", 'update Modoseru');
        }
        return $value;
    }
}

/** One line of the answer, behind the marker; what plugins and shells print stands on lines of its own. */
function say($marker, array $object)
{
    $line = "\n" . $marker . ' ' . json($object) . "\n";
    for ($sent = 0; $sent < strlen($line); $sent += $n) {
        $n = @fwrite(STDOUT, substr($line, $sent));
        if (!$n) {
            exit(1);
        }
    }
    fflush(STDOUT);
}

function json($value)
{
    $text = json_encode($value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE);
    if ($text === false) {
        throw new Failure('internal', 'an answer could not be written as JSON: ' . json_last_error_msg());
    }
    return $text;
}

function now_text()
{
    $now = microtime(true);
    return gmdate('Y-m-d\TH:i:s', (int) $now) . sprintf('.%06dZ', ($now - (int) $now) * 1e6);
}

function home()
{
    $home = getenv('HOME');
    if ((!$home || $home[0] !== '/') && function_exists('posix_getpwuid')) {
        $entry = posix_getpwuid(posix_geteuid());
        $home = $entry ? $entry['dir'] : '';
    }
    if (!$home) {
        throw new Failure('no_state', 'the account has no home folder', 'set [server] state to an absolute path');
    }
    return rtrim($home, '/');
}

function expand($path)
{
    if ($path === '~' || strncmp($path, '~/', 2) === 0) {
        return home() . substr($path, 1);
    }
    return $path !== '' && $path[0] === '/' ? $path : home() . '/' . $path;
}

/** The last PHP error as a sentence, without the function's name and path. */
function last_error($fallback)
{
    $error = error_get_last();
    return $error ? trim(preg_replace('/^.*\): /s', '', $error['message'])) : $fallback;
}

/** With those above it that are missing; `$mode` holds for all of them, whatever the umask. */
function make_folder($path, $mode = 0700)
{
    if (is_dir($path)) {
        return;
    }
    $made = [$path];
    while (!is_dir($above = dirname(end($made))) && $above !== end($made)) {
        $made[] = $above;
    }
    if (!@mkdir($path, 0700, true) && !is_dir($path)) {
        $full = stripos(last_error(''), 'space') !== false;
        throw new Failure(
            $full ? 'no_space' : 'no_state',
            "cannot make the folder $path: " . last_error('unknown reason'),
            $full ? 'free some space in the account' : 'make the home folder writable, or set [server] state'
        );
    }
    foreach ($mode === 0700 ? [] : $made as $folder) {
        @chmod($folder, $mode);
    }
}

/** Writes all of it or throws `no_space`; PHP's fwrite reports a full disk by a short count alone. */
function write_all($handle, $bytes, $what)
{
    $length = strlen($bytes);
    for ($sent = 0; $sent < $length; $sent += $n) {
        $n = @fwrite($handle, $sent ? substr($bytes, $sent) : $bytes);
        if (!$n) {
            throw new Failure('no_space', "cannot write $what: " . last_error('the disk or the quota is full'),
                'free some space in the account');
        }
    }
}

function sync_handle($handle, $path)
{
    if (!@fflush($handle)) {
        throw new Failure('no_space', "cannot write $path: the disk or the quota is full", 'free some space in the account');
    }
    if (function_exists('fsync')) {
        if (!@fsync($handle)) {
            throw new Failure('no_space', "cannot keep $path on the disk: " . last_error('fsync failed'), 'look at the disk');
        }
    } else {
        run(['sync', $path]);
    }
}

/** A rename is kept over a power cut only when its folder was synced; PHP cannot open a folder, `sync` can. */
function sync_folder($path)
{
    run(['sync', $path]);
}

function write_durably($path, $bytes, $mode = 0600)
{
    $part = $path . '.part';
    $handle = @fopen($part, 'wb');
    if (!$handle) {
        throw new Failure('no_state', "cannot write $path: " . last_error('unknown reason'), 'look at the permissions and the quota');
    }
    try {
        write_all($handle, $bytes, $path);
        sync_handle($handle, $part);
    } finally {
        fclose($handle);
    }
    chmod($part, $mode);
    if (!@rename($part, $path)) {
        throw new Failure('no_state', "cannot write $path: " . last_error('unknown reason'));
    }
    sync_folder(dirname($path));
}

/**
 * Runs an argument list without a shell; returns [status, stdout, stderr]; status -1 where it could not start.
 * `$tick` is called while it runs; what it throws ends the command.
 */
function run(array $command, $stdin = '', $seconds = 60, $tick = null)
{
    $out = tmpfile();
    $err = tmpfile();
    // What a child of ours still does, it does under our lock.
    $process = @proc_open($command, [0 => ['pipe', 'r'], 1 => $out, 2 => $err] + (is_resource(Lock::$pipe) ? [3 => Lock::$pipe] : []), $pipes, '/');
    if (!is_resource($process)) {
        return [-1, '', last_error('cannot start ' . $command[0])];
    }
    @fwrite($pipes[0], $stdin);
    fclose($pipes[0]);
    $status = wait_for($process, microtime(true) + $seconds, $tick);
    rewind($out);
    rewind($err);
    return [$status, stream_get_contents($out), stream_get_contents($err)];
}

/** The exit status; 128 + signal where it was killed; past `$until` it is killed. */
function wait_for($process, $until, $tick = null)
{
    for ($pause = 500; ; $pause = min(20000, $pause * 2)) {
        $state = proc_get_status($process);
        if (!$state['running']) {
            proc_close($process);
            return $state['signaled'] ? 128 + $state['termsig'] : $state['exitcode'];
        }
        if (microtime(true) > $until) {
            proc_terminate($process, 9);
            $until = INF;
        }
        if ($tick) {
            try {
                $tick();
            } catch (Exception $e) {
                proc_terminate($process, 9);
                throw $e;
            }
        }
        usleep($pause);
    }
}

/** The command that runs this agent again: another verb in a process of its own. */
function myself($verb, array $more = [])
{
    return array_merge([PHP_BINARY, '-d', 'disable_functions=', '-d', 'open_basedir=', '-d', 'memory_limit=256M',
        '-d', 'display_errors=stderr', '-d', 'error_log=', __FILE__, $verb], $more);
}

function random_hex($length)
{
    return substr(bin2hex(random_bytes((int) ceil($length / 2))), 0, $length);
}

function remove_tree($path)
{
    if (is_link($path) || is_file($path)) {
        return @unlink($path);
    }
    if (!is_dir($path)) {
        return true;
    }
    @chmod($path, 0700);
    foreach (@scandir($path, SCANDIR_SORT_NONE) ?: [] as $name) {
        if ($name !== '.' && $name !== '..') {
            remove_tree($path . '/' . $name);
        }
    }
    return @rmdir($path);
}

function exists($path)
{
    clearstatcache(true, $path);
    return is_link($path) || file_exists($path);
}
