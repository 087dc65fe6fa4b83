<?php
// The one-time page: run by the web server, because opcache is that of its processes and of no others.

/** The one-time page of an operation; the time of its folder is in the journal first, whoever dies beside it. */
function leave_page_of(Operation $operation)
{
    clearstatcache(true, $operation->request->root);
    $operation->remember('root_time', [$operation->recall('phase'), @filemtime($operation->request->root)]);
    $page = leave_page($operation->request);
    let_pass($operation->request, $page);
    return $page;
}

/** Takes the page away again, as if it had never been; what is live has to be the tree in which it was left. */
function take_page_away(Operation $operation)
{
    sweep_pages($operation->request);
    let_pass($operation->request, null);
    list($phase, $time) = $operation->recall('root_time') ?: [null, false];
    if ($time !== false && $phase === $operation->recall('phase') && is_dir($operation->request->root)) {
        @touch($operation->request->root, $time);
    }
}

/** One-time pages that nobody opened. */
function sweep_pages(Request $request)
{
    keeping_time($request->root, function () use ($request) {
        foreach (glob($request->root . '/modoseru-*.php') ?: [] as $page) {
            if (preg_match('/^modoseru-[0-9a-f]{32}\.php$/', basename($page))) {
                @unlink($page);
            }
        }
        sweep_half_written($request->root);
    });
}

/** Its name is a secret, it removes itself, and it answers 900 s long. */
function leave_page(Request $request, $token = null)
{
    $token = $token !== null && preg_match('/^[0-9a-f]{32}$/D', $token) ? $token : random_hex(32);
    $code = str_replace(['TOKEN', 'UNTIL'], [$token, time() + 900], ONE_TIME_PAGE);
    $path = "{$request->root}/modoseru-$token.php";
    return keeping_time($request->root, function () use ($path, $code) {
        return @file_put_contents($path, $code) !== false && chmod($path, 0644) ? basename($path) : null;
    });
}

/**
 * Every cached script is compiled anew from its file, one after the other, and visitors meet a warm cache all the while;
 * a reset lets all of them compile everything at once. Where that cannot be, or ends half-way (a script that does not
 * compile, the time or the memory is over), the reset it is; so also where a script that is gone would go on being
 * served, because its time is not looked at, or was a moment ago.
 */
const ONE_TIME_PAGE = <<<'PHP'
<?php
$time = filemtime(__DIR__);
@unlink(__FILE__);
@touch(__DIR__, $time);
clearstatcache(true);
if (time() > UNTIL) {
    http_response_code(404);
    exit;
}
header('Content-Type: application/json');
header('Cache-Control: no-store');
$told = ['modoseru' => 'TOKEN', 'php' => PHP_VERSION, 'log' => (string) ini_get('error_log')];
if (isset($_GET['tell'])) {
    echo json_encode($told);
    exit;
}
ini_set('display_errors', '0');
$renewed = false;
register_shutdown_function(function () use (&$renewed, $told) {
    http_response_code(200);
    $renewed = $renewed || (function_exists('opcache_reset') && @opcache_reset());
    echo json_encode($told + ['opcache' => $renewed]);
});
$cache = function_exists('opcache_get_status') ? @opcache_get_status(true) : false;
$scripts = isset($cache['scripts']) ? $cache['scripts'] : [];
if (!$scripts || array_sum(array_column($scripts, 'memory_consumption')) > $cache['memory_usage']['free_memory']) {
    exit;
}
$until = microtime(true) + 10;
$looked = ini_get('opcache.validate_timestamps') ? time() - max(0, (int) ini_get('opcache.revalidate_freq')) : 0;
foreach ($scripts as $script) {
    $file = $script['full_path'];
    if (is_file($file)) {
        if (microtime(true) > $until || !opcache_invalidate($file, true)) {
            exit;
        }
        try {
            @opcache_compile_file($file);
        } catch (Throwable $error) {
            continue;
        }
    } elseif ($file !== __FILE__ && $script['last_used_timestamp'] >= $looked) {
        exit;
    }
}
$renewed = true;
PHP;
