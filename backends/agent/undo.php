<?php
// After the switch: somebody looks, and it is settled; what was overwritten is kept, comes back by undo, or is let go.

/** The site is switched: somebody looks from outside, and the answer settles it. */
function look_and_conclude(Operation $operation)
{
    $operation->step('check');
    flush_object_cache($operation);
    $answer = $operation->ask('look', leave_page($operation->request), null, $operation->request->whole('wait_s', 900));
    if ($answer) {
        conclude_switch($operation, $answer);
    }
}

/** A persistent object cache would serve the rows of the other state (FACTS 4). */
function flush_object_cache(Operation $operation)
{
    if (is_file($operation->request->root . '/wp-content/object-cache.php')) {
        list($status) = run(myself('flush'), json($operation->request->fields), 30);
        if ($status !== 0) {
            $operation->note('cache', 'the object cache could not be flushed', 'warning');
        }
    }
}

function conclude_switch(Operation $operation, array $answer)
{
    list($keep, $detail) = $answer;
    if (!$keep && $operation->kind === 'restore') {
        switch_back($operation);
        drop_staging($operation);
        // Visitors would see the withdrawn code until opcache looked again.
        $operation->ask('reset', leave_page($operation->request), null, 20);
        $word = $operation->cancel_asked() ? 'cancelled' : 'rolled_back';
        $operation->finish($word, $word === 'cancelled' ? 'cancelled; the site is as it was' : "the check failed and the site is as it was: $detail",
            ['generation' => $operation->recall('generation'), 'code' => $word === 'cancelled' ? 'cancelled' : 'check_failed']);
        return;
    }
    $operation->remember('phase', 'done');
    drop_staging($operation);
    forget_evidence($operation);
    $operation->finish('done', $keep ? $detail : "taken back; the site now shows: $detail", ['generation' => $operation->recall('generation')]);
}

/** What was overwritten is kept for the two newest operations that overwrote something. */
function forget_evidence(Operation $newest)
{
    $kept = 0;
    foreach (Operation::all($newest->request) as $operation) {
        if ($operation->recall('phase') !== 'done' || $operation->recall('forgotten') || $kept++ < 2) {
            continue;
        }
        foreach ($operation->recall('places', []) as $place) {
            remove_tree("$place/old");
            leave_place($operation, $place);
        }
        if ($operation->recall('tag')) {
            drop_tables($operation, '/^_o' . $operation->recall('tag') . '_\d+$/');
        }
        $operation->remember('forgotten', true);
    }
}

/** The operation `undo`: what the last restore or update put aside comes back. Undone twice, it is a redo. */
function operation_undo(Operation $operation)
{
    $operation->step('preflight');
    $other = undoable($operation->request, $operation->id);
    $operation->remember('undoes', $other->id);
    $operation->remember('generation', $other->recall('generation'));
    if ($other->recall('whole')) {
        restore_generation($operation, Generation::open($operation->request, $other->recall('generation')), 'all');
        $other->remember('phase', 'undone');
        look_and_conclude($operation);
        return;
    }
    $plan = $other->recall('plan');
    $tag = substr($operation->id, -6);
    $operation->remember('tag', $tag);
    $operation->remember('database', $other->recall('database'));
    $places = [];
    $mirror = exchanged($plan, $operation->folder . '/old', $tag);
    foreach ($mirror['units'] as $i => $unit) {
        if (isset($unit['attributes'])) {
            continue;
        }
        $place = staging_place($operation, $unit['live']);
        make_folder($place);
        $places[$place] = true;
        $mirror['units'][$i]['old'] = "$place/old/$i";
    }
    $operation->remember('places', array_keys($places));
    $operation->step('switch');
    switch_over($operation, $mirror);
    $other->remember('phase', 'undone');
    look_and_conclude($operation);
}

/** The newest operation whose evidence is still there; throws nothing_to_undo. */
function undoable(Request $request, $except = null)
{
    $wanted = $request->get('operation');
    foreach (Operation::all($request) as $operation) {
        if ($operation->id === $except || ($wanted !== null && $operation->id !== $wanted)) {
            continue;
        }
        if ($operation->recall('phase') === 'done' && !$operation->recall('forgotten') && $operation->recall('plan')) {
            return $operation;
        }
    }
    throw new Failure('nothing_to_undo', 'no restore or update of this site can be undone', 'restore a generation instead');
}

/** The one-time page that resets opcache on the web side; its name is a secret and it removes itself. */
function leave_page(Request $request, $token = null)
{
    $token = $token !== null && preg_match('/^[0-9a-f]{32}$/D', $token) ? $token : random_hex(32);
    $code = "<?php\n\$t = filemtime(__DIR__);\n@unlink(__FILE__);\n@touch(__DIR__, \$t);\nclearstatcache(true);\n\$o = function_exists('opcache_reset') && @opcache_reset();\n"
        . "if (time() > " . (time() + 900) . ") { http_response_code(404); exit; }\n"
        . "header('Content-Type: application/json'); header('Cache-Control: no-store');\n"
        . "echo json_encode(['modoseru' => '$token', 'php' => PHP_VERSION, 'opcache' => \$o]);\n";
    $path = "{$request->root}/modoseru-$token.php";
    return keeping_time($request->root, function () use ($path, $code) {
        return @file_put_contents($path, $code) !== false && chmod($path, 0644) ? basename($path) : null;
    });
}
