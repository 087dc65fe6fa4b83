<?php
// Isolation: the site answers 503 to everyone but an allow list, before WordPress loads, until it is released.
//
// Servers differ, so there are two gates: rules at the head of .htaccess, which refuse everything, and a script that
// .user.ini puts before every PHP file. Where a server obeys no .htaccess, what it serves by itself is taken out of its
// reach by modes. A gate says in its first line how its file was before: it can be taken out of whatever tree is live.

/** The script before every PHP file; it stays for a while when the site is open again, for who still remembers .user.ini. */
const GATE = '.modoseru-gate.php';
/** What the script goes by; without it everything passes. */
const GATE_DATA = '.modoseru-gate.data.php';
const GATE_HEAD = "<?php exit; ?>\n";
/** Seconds for which php-fpm may go by an earlier .user.ini (user_ini.cache_ttl), with room. */
const GATE_REMEMBERED_S = 3600;
const GATED_FILES = ['.htaccess', '.user.ini'];
const HALF_WRITTEN = '/.modoseru-part-';

/** Since when and for whom; null where the site is open. */
function isolation(Request $request)
{
    $kept = json_decode((string) @file_get_contents($request->folder . '/isolated'), true);
    return is_array($kept) ? ['since' => (string) ($kept['since'] ?? ''), 'allow' => (array) ($kept['allow'] ?? []), 'hard' => !empty($kept['hard'])] : null;
}

function refuse_while_isolated(Request $request)
{
    if ($isolation = isolation($request)) {
        throw new Failure('isolated', "{$request->site} is isolated since {$isolation['since']}: what it holds is evidence, and no generation is made of it",
            "modoseru release {$request->site}");
    }
}

function operation_isolate(Operation $operation)
{
    $request = $operation->request;
    $operation->step('close');
    if (!is_dir($request->root)) {
        throw new Failure('no_root', "the document root {$request->root} does not exist on the server", 'correct [server] root');
    }
    if (isolation($request)) {
        throw new Failure('isolated', "{$request->site} is isolated already", "modoseru release {$request->site}");
    }
    $operation->remember('probes', $probe = name_probes($request));
    $folders = array_map('dirname', array_keys(probe_files($request, $probe)));
    $operation->remember('made', array_values(array_filter([end($folders), dirname(end($folders))], function ($folder) {
        return !is_dir($folder);
    })));
    remember_times($operation, $folders);
    leave_probes($request, $probe);
    set_isolation($request, $isolation = ['since' => gmdate('Y-m-d\TH:i:s\Z'), 'allow' => allowed_addresses($request), 'hard' => false]);
    close_tree($request, $request->root, $isolation);
    foreach (carried($request, 'root', $request->root) as $path => $why) {
        $why === 'another installation' && $operation->note('also_closed', "$path lies below the document root and is closed with it", 'warning', $path);
    }
    $operation->remember('phase', 'closed');
    $operation->step('look');
    $operation->note('waits', 'a server may go by its old rules for up to ' . (int) (ini_get('user_ini.cache_ttl') ?: 300) . ' seconds');
    $wait = $request->whole('wait_s', 900);
    $answer = $operation->ask('closed', null, $probe, $wait);
    if ($answer && !$answer[0] && $answer[1] === 'static') {
        $operation->note('modes', 'the server obeys no .htaccess: files are taken out of its reach by their modes');
        set_isolation($request, $isolation = ['hard' => true] + $isolation);
        close_tree($request, $request->root, $isolation);
        $answer = $operation->ask('closed', null, $probe, $wait);
    }
    conclude_isolation($operation, $answer);
}

function conclude_isolation(Operation $operation, $answer)
{
    if ($answer && !$answer[0] && $operation->cancel_asked()) {
        take_isolation_back($operation);
        $operation->finish('cancelled', 'cancelled; the site is open');
        return;
    }
    take_probes($operation);
    put_times($operation->recall('times', []));
    if ($answer && $answer[0]) {
        $operation->finish('done', $answer[1]);
        return;
    }
    $why = $answer ? ($answer[1] === 'static' ? 'static files are still served' : $answer[1]) : 'nobody looked from outside';
    $operation->finish('needs_hand', "the gate stands, but $why", ['code' => 'not_closed', 'hint' => 'ask the host to close the site, or close it in its panel']);
}

function operation_release(Operation $operation)
{
    $request = $operation->request;
    $operation->step('open');
    if (!isolation($request)) {
        throw new Failure('not_isolated', "{$request->site} is not isolated", "modoseru check {$request->site}");
    }
    remember_times($operation);
    open_site($request);
    $operation->remember('phase', 'opened');
    $operation->step('check');
    $answer = $operation->ask('look', leave_page_of($operation), null, $request->whole('wait_s', 900));
    conclude_release($operation, $answer);
}

/** The gate is away in any case; done is what was seen to be right. */
function conclude_release(Operation $operation, $answer)
{
    put_times($operation->recall('times', []));
    foreach (Operation::all($operation->request) as $other) {
        @unlink($other->folder . '/keep');
    }
    if ($answer && $answer[0]) {
        $operation->finish('done', "open again; the site now shows: {$answer[1]}");
        return;
    }
    $operation->finish('needs_hand', 'the gate is away, but ' . ($answer ? "the site now shows: {$answer[1]}" : 'nobody looked from outside'),
        ['code' => 'check_failed', 'hint' => "modoseru check {$operation->request->site} looks again; a restore brings a generation back"]);
}

/** The times of all folders in which a gate or a probe comes and goes: who dies beside one leaves his own there. */
function remember_times(Operation $operation, array $folders = [])
{
    $root = $operation->request->root;
    foreach (array_unique(array_merge([$root], array_map('dirname', nested_rules($root)), $folders)) as $folder) {
        for (; !is_dir($folder);) {
            $folder = dirname($folder);
        }
        clearstatcache(true, $folder);
        $times[$folder] = filemtime($folder);
    }
    $operation->remember('times', $times);
}

/** What a dead process left: an isolation that was not concluded is open again, a release that was not is closed. */
function take_isolation_back(Operation $operation)
{
    take_probes($operation);
    $isolation = isolation($operation->request);
    if ($operation->kind === 'isolate' && $isolation && $operation->recall('probes')) {
        open_site($operation->request);
    } elseif ($operation->kind === 'release' && $isolation) {
        close_tree($operation->request, $operation->request->root, $isolation);
    }
    foreach ($operation->recall('times', []) as $folder => $time) {
        sweep_half_written($folder);
    }
    put_times($operation->recall('times', []));
}

/** The record goes last: who dies before that has left the site closed, or is known to have. */
function open_site(Request $request)
{
    write_durably($request->folder . '/released', now_text());
    open_tree($request, $request->root);
    @unlink($request->folder . '/isolated');
}

function set_isolation(Request $request, array $isolation)
{
    write_durably($request->folder . '/isolated', json($isolation));
}

/** Addresses and networks that the closed site still answers. */
function allowed_addresses(Request $request)
{
    foreach ($request->words('allow') as $network) {
        list($address, $bits) = explode('/', $network, 2) + [1 => '0'];
        if (@inet_pton($address) === false || !ctype_digit($bits) || $bits > 128) {
            throw new Failure('bad_request', "\"$network\" is no address and no network", 'name it like 203.0.113.7 or 203.0.113.0/24');
        }
    }
    return $request->words('allow');
}

// ---------------------------------------------------------------- a tree, closed and opened

/** Every gate of a tree that is live, or will be. Closing what is closed changes nothing but what it goes by. */
function close_tree(Request $request, $root, array $isolation)
{
    keeping_time($root, function () use ($request, $root, $isolation) {
        put_file("$root/" . GATE, str_replace('WORDS', GATE_WORDS, GATE_SCRIPT), 0644);
        write_gate_data($root, $isolation, null);
        gate_file("$root/.htaccess", htaccess_rules($isolation['allow']), false);
        gate_file("$root/.user.ini", prepend_rule($request->root), true);
    });
    foreach (nested_rules($root) as $file) {
        keeping_time(dirname($file), function () use ($request, $file) {
            gate_file($file, prepend_rule($request->root), true);
        });
    }
    $isolation['hard'] && take_out_of_reach($request, top_entries($root));
}

function open_tree(Request $request, $root)
{
    give_reach_back($request, top_entries($root));
    foreach (nested_rules($root) as $file) {
        keeping_time(dirname($file), function () use ($file) {
            ungate_file($file);
        });
    }
    keeping_time($root, function () use ($root) {
        foreach (GATED_FILES as $name) {
            ungate_file("$root/$name");
        }
        @unlink("$root/" . GATE_DATA);
    });
}

/** What is about to become live is closed or open as the site is. */
function gate_plan(Operation $operation, array $plan)
{
    $request = $operation->request;
    $isolation = isolation($request);
    foreach ($plan['units'] as $i => $unit) {
        if (isset($unit['attributes'])) {
            continue;
        }
        if ($unit['live'] === $request->root) {
            if ($unit['stage'] !== null && is_dir($unit['stage'])) {
                $isolation ? close_tree($request, $unit['stage'], $isolation) : open_tree($request, $unit['stage']);
            }
        } elseif (dirname($unit['live']) === $request->root) {
            $plan['units'][$i]['stage'] = gate_entry($operation, $unit, $isolation);
        }
    }
    return $plan;
}

/** One entry of a document root that stays where it is; returns where it is staged. */
function gate_entry(Operation $operation, array $unit, $isolation)
{
    $request = $operation->request;
    $name = basename($unit['live']);
    $stage = $unit['stage'];
    if (in_array($name, GATED_FILES, true)) {
        if ($isolation) {
            if ($stage === null) {
                make_folder($folder = $operation->folder . '/gate');
                $stage = mount_of($folder) === mount_of($request->root) ? "$folder/$name" : "{$request->root}/.modoseru-$name";
            }
            gate_file($stage, $name === '.htaccess' ? htaccess_rules($isolation['allow']) : prepend_rule($request->root), $name !== '.htaccess');
        } elseif ($stage !== null) {
            ungate_file($stage);
        }
        return $stage !== null && exists($stage) ? $stage : null;
    }
    if ($stage !== null && exists($stage)) {
        foreach (is_dir($stage) ? nested_rules($stage) : [] as $file) {
            $isolation ? gate_file($file, prepend_rule($request->root), true) : ungate_file($file);
        }
        if ($isolation && $isolation['hard']) {
            take_out_of_reach($request, [$stage]);
        } elseif (!$isolation) {
            give_reach_back($request, [$stage]);
        }
    }
    return $stage;
}

/** Whoever shows this one-time page's secret passes, until it is taken away (null). */
function let_pass(Request $request, $page)
{
    $isolation = isolation($request);
    if (!$isolation || !is_file("{$request->root}/" . GATE_DATA)) {
        return;
    }
    $secret = $page !== null && preg_match('/^modoseru-([0-9a-f]{32})\.php$/D', $page, $found) ? $found[1] : null;
    keeping_time($request->root, function () use ($request, $isolation, $secret) {
        write_gate_data($request->root, $isolation, $secret);
        // In its place and to the byte as long: the file stays the one that the journal knows, and whole at any moment.
        $file = "{$request->root}/.htaccess";
        $at = strpos((string) @file_get_contents($file), PASS_RULE);
        if ($at !== false && $handle = @fopen($file, 'r+b')) {
            fseek($handle, $at + strlen(PASS_RULE));
            fwrite($handle, $secret ?? random_hex(32));
            fclose($handle);
        }
    });
}

/** The script stays for as long as a server may remember the .user.ini that names it. */
function sweep_gate(Request $request)
{
    $released = @filemtime($request->folder . '/released');
    if ($released && time() - $released > GATE_REMEMBERED_S && !isolation($request)) {
        keeping_time($request->root, function () use ($request) {
            @unlink("{$request->root}/" . GATE);
        });
        @unlink($request->folder . '/released');
    }
}

// ---------------------------------------------------------------- one file

/**
 * The rules, with what the file was before in their first line, before its content; `$inside`: the content stands in
 * that line, because what comes later in an .ini file wins, and is followed by what of it does no harm.
 */
function gate_file($file, $rules, $inside)
{
    ungate_file($file);
    $link = is_link($file) ? readlink($file) : null;
    $content = $link === null && is_file($file) ? @file_get_contents($file) : (is_file($file) ? (string) @file_get_contents($file, false, null, 0, CHUNK) : null);
    if ($content === false) {
        throw new Failure('not_writable', "$file cannot be read", 'correct its owner and its mode');
    }
    $before = $content === null && $link === null ? null : ['mode' => $link === null ? fileperms($file) & 07777 : 0644, 'mtime' => $link === null ? filemtime($file) : 0,
        'link' => $link === null ? null : base64_encode($link), 'sha256' => hash('sha256', (string) $content), 'content' => $inside ? base64_encode((string) $content) : null];
    $mark = $inside ? ';' : '#';
    $rest = $inside ? preg_replace('/^[ \t]*auto_(?:prepend|append)_file\b.*$/mi', ';', (string) $content) : (string) $content;
    put_file($file, "$mark BEGIN Modoseru isolation " . base64_encode(json($before)) . "\n$rules$mark END Modoseru isolation\n$rest", 0644);
}

/** [what the file was, its content without the rules]; null where it is no gate. */
function before_gate($file)
{
    $text = is_file($file) && !is_link($file) ? (string) @file_get_contents($file) : '';
    if (!preg_match('/([#;]) BEGIN Modoseru isolation ([A-Za-z0-9+\/=]+)\n.*?\1 END Modoseru isolation\n/s', $text, $found, PREG_OFFSET_CAPTURE)) {
        return null;
    }
    $before = json_decode((string) base64_decode($found[2][0]), true);
    $rest = substr($text, 0, $found[0][1]) . substr($text, $found[0][1] + strlen($found[0][0]));
    return [$before, isset($before['content']) ? (string) base64_decode($before['content']) : $rest];
}

/** Takes the rules out; what was not gated stays as it is. */
function ungate_file($file)
{
    if (!$gate = before_gate($file)) {
        return;
    }
    list($before, $rest) = $gate;
    if (!is_array($before) && $rest === '') {
        @unlink($file);
        return;
    }
    if (isset($before['link'])) {
        @unlink($file);
        @symlink((string) base64_decode($before['link']), $file);
        return;
    }
    put_file($file, $rest, $before['mode'] ?? 0644);
    if (is_array($before) && hash('sha256', $rest) === $before['sha256']) {
        @touch($file, $before['mtime']);
    }
}


function sweep_half_written($folder)
{
    array_map('unlink', glob($folder . HALF_WRITTEN . '*') ?: []);
}

function put_file($file, $bytes, $mode)
{
    $part = dirname($file) . HALF_WRITTEN . random_hex(12);
    if (@file_put_contents($part, $bytes) !== strlen($bytes) || !@chmod($part, $mode) || !@rename($part, $file)) {
        $why = last_error('the disk or the quota is full');
        @unlink($part);
        throw new Failure('not_writable', "$file cannot be written: $why", 'correct the owner of its folder, or free some space');
    }
}

/** Every other .user.ini of a tree: it would count for more than the one at its top. */
function nested_rules($top)
{
    $found = [];
    $stack = [$top];
    while ($stack) {
        $folder = array_pop($stack);
        foreach (@scandir($folder, SCANDIR_SORT_NONE) ?: [] as $name) {
            $path = "$folder/$name";
            if ($name === '.user.ini' && $folder !== $top) {
                $found[] = $path;
            } elseif ($name !== '.' && $name !== '..' && !is_link($path) && is_dir($path)) {
                $stack[] = $path;
            }
        }
    }
    return $found;
}

// ---------------------------------------------------------------- modes

/** Everything in a document root that the web server could serve by itself. */
function top_entries($root)
{
    $found = [];
    foreach (@scandir($root) ?: [] as $name) {
        if (!in_array($name, array_merge(['.', '..', '.well-known'], GATED_FILES), true) && strncmp($name, '.modoseru', 9) !== 0 && !preg_match('/\.php\d?$/i', $name)) {
            $found[] = "$root/$name";
        }
    }
    return $found;
}

/** Only the account itself reaches them; what they were is known by their inodes, wherever they stand meanwhile. */
function take_out_of_reach(Request $request, array $paths)
{
    $modes = modes_before($request);
    foreach ($paths as $path) {
        $stat = preg_match('/\.php\d?$/i', $path) && is_file($path) ? false : @stat($path);
        if ($stat && ($stat['mode'] & 077)) {
            $modes["{$stat['dev']}:{$stat['ino']}"] = $stat['mode'] & 07777;
        }
    }
    write_durably($request->folder . '/gate-modes', json($modes));
    foreach ($paths as $path) {
        $stat = @stat($path);
        if ($stat && isset($modes["{$stat['dev']}:{$stat['ino']}"])) {
            @chmod($path, $stat['mode'] & 07700);
        }
    }
}

function give_reach_back(Request $request, array $paths)
{
    $modes = modes_before($request);
    $left = $modes;
    foreach ($paths as $path) {
        clearstatcache(true, $path);
        $stat = @stat($path);
        $key = $stat ? "{$stat['dev']}:{$stat['ino']}" : '';
        if (isset($modes[$key])) {
            @chmod($path, (int) $modes[$key]);
            unset($left[$key]);
        }
    }
    $left === $modes || write_durably($request->folder . '/gate-modes', json($left));
}

function modes_before(Request $request)
{
    return json_decode((string) @file_get_contents($request->folder . '/gate-modes'), true) ?: [];
}

// ---------------------------------------------------------------- what is looked at from outside

/** The common name, below the document root, of files that are refused when the site is closed, and one that is not. */
function name_probes(Request $request)
{
    $secret = random_hex(32);
    $uploads = '';
    foreach (['wp-content/uploads', 'wp-content', ''] as $folder) {
        if (is_dir("{$request->root}/$folder") && is_writable("{$request->root}/$folder")) {
            $uploads = $folder === '' ? '' : "$folder/";
            break;
        }
    }
    return "{$uploads}modoseru-$secret";
}

function leave_probes(Request $request, $probe)
{
    foreach (probe_files($request, $probe) as $file => $text) {
        if (strpos($file, "{$request->root}/.well-known/") === 0) {
            for ($near = dirname($file); !is_dir($near);) {
                $near = dirname($near);
            }
            if (!is_writable($near)) {
                continue;  // The host's own folder: nobody can show that it stays open.
            }
        }
        make_folder_kept(dirname($file));
        keeping_time(dirname($file), function () use ($file, $text) {
            put_file($file, $text, 0644);
        });
    }
}

function probe_files(Request $request, $probe)
{
    $name = basename($probe);
    $shown = "<?php header('Content-Type: text/plain'); echo '$name';\n";
    return ["{$request->root}/$name.php" => $shown, "{$request->root}/$probe.php" => $shown, "{$request->root}/$probe.txt" => $name,
        "{$request->root}/.well-known/acme-challenge/$name" => $name];
}

function make_folder_kept($folder)
{
    for ($near = $folder; !is_dir($near);) {
        $near = dirname($near);
    }
    keeping_time($near, function () use ($folder) {
        make_folder($folder, 0755);
    });
}

function take_probes(Operation $operation)
{
    $root = $operation->request->root;
    $probe = $operation->recall('probes');
    foreach ($probe ? probe_files($operation->request, $probe) : [] as $file => $text) {
        keeping_time(dirname($file), function () use ($file) {
            @unlink($file);
            sweep_half_written(dirname($file));
        });
    }
    keeping_time($root, function () use ($operation) {
        array_map('rmdir', array_filter($operation->recall('made', []), 'is_dir'));
    });
}

// ---------------------------------------------------------------- the gates themselves

const PASS_RULE = "%{HTTP:X-Modoseru-Pass} == '";

/** RedirectMatch and no rewriting: a folder below with a RewriteEngine of its own would be open. */
function htaccess_rules(array $allow)
{
    $passes = array_map(function ($network) {
        return "(-R '$network' && -z %{HTTP:X-Modoseru-Outside})";
    }, $allow);
    $passes[] = PASS_RULE . random_hex(32) . "'";
    return "ErrorDocument 503 \"" . GATE_WORDS . "\"\n<IfModule mod_headers.c>\nHeader always set Retry-After \"3600\" \"expr=%{REQUEST_STATUS} == 503\"\n"
        . "Header always set Cache-Control \"no-store\" \"expr=%{REQUEST_STATUS} == 503\"\n</IfModule>\n"
        . '<If "!(' . implode(' || ', $passes) . ")\">\nRedirectMatch 503 \"^(?!/\\.well-known/acme-challenge/[A-Za-z0-9_-]+\$)\"\n</If>\n";
}

function prepend_rule($root)
{
    return 'auto_prepend_file = "' . str_replace('"', '', $root) . '/' . GATE . "\"\n";
}

function write_gate_data($root, array $isolation, $secret)
{
    put_file("$root/" . GATE_DATA, GATE_HEAD . json(['allow' => $isolation['allow'], 'pass' => $secret === null ? null : hash('sha256', $secret)]), 0644);
}

const GATE_WORDS = 'ただいまメンテナンス中です。しばらくしてからもう一度お越しください。 Down for maintenance; please come back later.';

const GATE_SCRIPT = <<<'PHP'
<?php
// Modoseru closed this site; modoseru release opens it. Without the file beside it this script does nothing.
(static function () {
    $file = __DIR__ . '/.modoseru-gate.data.php';
    if (PHP_SAPI === 'cli' || !is_file($file)) {
        return;
    }
    $data = json_decode((string) substr((string) file_get_contents($file), 15), true);
    $pass = isset($_SERVER['HTTP_X_MODOSERU_PASS']) ? (string) $_SERVER['HTTP_X_MODOSERU_PASS'] : '';
    if (isset($data['pass']) && hash_equals($data['pass'], hash('sha256', $pass))) {
        return;
    }
    $from = @inet_pton(isset($_SERVER['REMOTE_ADDR']) ? $_SERVER['REMOTE_ADDR'] : '');
    // Whoever looks whether all is closed may look from an address that is let in.
    $allow = isset($data['allow']) && !isset($_SERVER['HTTP_X_MODOSERU_OUTSIDE']) ? $data['allow'] : [];
    foreach ($allow as $network) {
        $parts = explode('/', $network);
        $address = @inet_pton($parts[0]);
        if ($from !== false && $address !== false && strlen($from) === strlen($address)) {
            $bits = isset($parts[1]) ? (int) $parts[1] : 8 * strlen($from);
            $mask = str_repeat("\xff", $bits >> 3) . ($bits & 7 ? chr(0xff00 >> ($bits & 7) & 0xff) : '');
            $mask = str_pad($mask, strlen($from), "\0");
            if (($from & $mask) === ($address & $mask)) {
                return;
            }
        }
    }
    http_response_code(503);
    header('Retry-After: 3600');
    header('Cache-Control: no-store');
    header('Content-Type: text/html; charset=utf-8');
    echo '<!doctype html><title>503</title><p>WORDS</p>';
    exit;
})();
PHP;
