<?php
// Restore is a transaction (DESIGN 4): preflight, stage, verify, switch, check.

function operation_restore(Operation $operation)
{
    $request = $operation->request;
    $operation->step('preflight');
    sweep_parts($request);
    $generation = sealed_generation($request);
    $operation->remember('generation', $generation->id);
    $only = only_of($request);
    if ($generation->move) {
        $operation->remember('incoming', $request->text('transfer'));
        $generation->check_incoming($operation);
    }
    if (is_post($only)) {
        restore_post($operation, $generation, post_id($only));
    } else {
        restore_generation($operation, $generation, $only);
    }
    if ($lacking = half_a_site($operation, $only)) {
        $operation->note('half', $lacking, 'warning');
        conclude_switch($operation, [true, $lacking]);
        return;
    }
    look_and_conclude($operation, $only === 'all' ? $generation->summary['front'] ?? null : null);
}

/** Where the other half of the site is not here yet, no look from outside can judge this one: what is lacking, or null. */
function half_a_site(Operation $operation, $only)
{
    if ($only === 'database') {
        try {
            Installation::find($operation->request);
        } catch (Failure $e) {
            return 'the database alone is here, and no page can be looked at: go on with --only files';
        }
    } elseif ($only === 'files') {
        try {
            $database = Database::open(Installation::find($operation->request));
            if (!isset($database->tables()[$database->prefix . 'options'])) {
                return 'the files alone are here, and no page can be looked at: go on with --only database';
            }
        } catch (Failure $e) {
            return null;
        }
    }
    return null;
}

/** The generation that is asked for; where the client keeps its seal, no other passes for it. */
function sealed_generation(Request $request)
{
    $generation = Generation::asked($request);
    $seal = $request->get('seal');
    if ($seal !== null && $seal !== $generation->seal) {
        throw new Failure('damaged', "the generation {$generation->id} is not the one that was sealed", 'take another generation');
    }
    return $generation;
}

/** Preflight, stage, verify, switch. Before the switch nothing live is touched. */
function restore_generation(Operation $operation, Generation $generation, $only)
{
    $request = $operation->request;
    $generation->move || $generation->check_index();
    $found = Preflight::of($request, $generation, $only);
    $found->refuse();
    foreach ($found->warnings as $warning) {
        $operation->note($warning['code'], $warning['message'], 'warning');
    }
    $plan = ['units' => [], 'tables' => null, 'closed' => [], 'generation' => $generation->id];
    if ($generation->move) {
        unset($plan['generation']);  // nothing of it is linked, so an undo needs nothing of it
    }
    $operation->step('stage');
    $config = $found->writes || $generation->relocation ? config_entry($generation)->path ?? null : null;
    if ($only !== 'database') {
        $plan['units'] = stage_files($operation, $generation, $only, $config);
        $plan['closed'] = array_values(array_filter([$generation->summary['abspath']], function ($folder) use ($request) {
            return Installation::below($folder, $request->root);
        }));
    }
    if ($only === 'all' || $only === 'database') {
        $plan['tables'] = stage_tables($operation, $generation);
    }
    $operation->step('verify');
    verify_staged($operation, $generation, $only, $plan['tables']);
    $generation->relocation && $generation->relocation->settle($operation, $generation, $only, $plan['tables'], $config);
    $found->writes && write_credentials($operation, $generation, installation_for_restore($request, $generation));
    if ($generation->move) {
        $operation->step('rewrite');
        $plan['tables'] && $generation->move->settle($operation, database_of($operation), $generation, $plan['tables']['list']);
    } elseif ($plan['tables']) {
        keep_what_is_lost($operation, $generation);
    }
    $operation->step('switch');
    $only === 'database' || look_again_at_linked($operation, $generation);
    switch_over($operation, $plan);
}

/** `all`, `files`, `database`, `post:ID`, or a list of paths below the document root. */
function only_of(Request $request)
{
    $only = $request->get('only', 'all');
    if (is_array($only) && $only) {
        foreach ($request->words('only') as $path) {
            if (!is_safe_path($path)) {
                throw new Failure('bad_request', "\"$path\" is not a path below the document root", 'name it as modoseru diff does');
            }
        }
        $paths = array_unique(array_map(function ($path) {
            return 'root/' . trim($path, '/');
        }, $request->words('only')));
        // What lies below another of them comes with it.
        return array_values(array_filter($paths, function ($path) use ($paths) {
            return !array_filter($paths, function ($other) use ($path) {
                return $other !== $path && Installation::below($path, $other);
            });
        }));
    }
    if (is_post($only)) {
        return post_only($only);
    }
    if (!in_array($only, ['all', 'files', 'database'], true)) {
        throw new Failure('bad_request', (is_string($only) ? "\"$only\"" : 'that') . ' can not be restored', 'all, files, database, post:ID or paths');
    }
    return $only;
}

/** Whose database the generation's tables go to. Throws as `Access::of` does. */
function installation_for_restore(Request $request, Generation $generation)
{
    return Access::of($request, $generation)->site;
}

function area_path(Generation $generation, $path)
{
    $cut = strpos($path, '/');
    $area = $cut === false ? $path : substr($path, 0, $cut);
    $start = $generation->summary['areas'][$area] ?? null;
    if ($start === null) {
        throw new Failure('damaged', "the manifest names an unknown area $area", 'take another generation');
    }
    return basename($start) === substr($path, $cut + 1) && $area === 'config' ? $start : ($cut === false ? $start : $start . substr($path, $cut));
}
