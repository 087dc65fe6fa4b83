<?php
// The switch: files by rename, tables by one RENAME TABLE, all of it in the journal first, all of it reversible.
//
// A plan has `units` {live, stage, old, carry} (what stands at `live` goes to `old`, `stage` takes its place; the paths
// of `carry` move from the old tree into the new one; or `attributes` of a folder that stays), `tables` {live, stage, old}
// with `drop` (triggers and views to remove before) and `create` (statements after), or `rows` of one post
// (post_restore.php), and `times` of the folders in which names come and go meanwhile. Undo is the same plan with `stage`
// and `old` exchanged.

const OUR_MAINTENANCE = "// modoseru\n";
/** Seconds for which a database that went away is waited for: a restart takes less. */
const DATABASE_WAIT_S = 30;
/** The server is not there, shuts down, or cut the session (CR_*, ER_*): none of it says that it never comes back. */
const DATABASE_AWAY = [2002, 2003, 2006, 2013, 1040, 1053, 1158, 1159, 1160, 1161, 1203, 1927];

/** Carries the plan out. A failure in the middle leaves the plan in the journal for `switch_back`. */
function switch_over(Operation $operation, array $plan)
{
    $plan = gate_plan($operation, $plan);
    $plan['units'] = array_map('known_by_inode', $plan['units']);
    $database = $plan['tables'] ? database_of($operation) : null;
    $holder = $database ? hold_same($operation, $database, $plan['tables']) : null;
    if ($database) {
        $plan['tables']['keys']['live'] = keys_that_go($database, $plan['tables']['list']);
    }
    foreach ($plan['units'] as $unit) {
        // Nothing has to be made in the switch itself, where a full disk would refuse it.
        isset($unit['attributes']) || make_folder(dirname($unit['old']), 0755);
    }
    $plan['times'] = times_of($plan);
    $operation->remember('plan', $plan);
    $operation->remember('phase', 'switching');
    close_for_a_moment($plan);
    foreach ($plan['units'] as $unit) {
        forward_unit($unit);
    }
    if ($database) {
        rename_tables($database, $plan['tables'], false, function () use ($operation, $database, $plan) {
            exchange_keys($operation, $database, $plan['tables']);
        });
        $holder->link->close();
    }
    if (!empty($plan['rows'])) {
        switch_rows($operation, $plan['rows']);
    }
    open_again($plan);
    put_times($plan['times']['after']);
    $operation->remember('phase', 'switched');
}

/**
 * Every path at which `$path` may stand during the switch: live, in the staged tree, in the old one.
 * WordPress ignores `.maintenance` when its time is ten minutes old, so a dead agent closes no site for longer.
 */
function sides(array $plan, $path)
{
    $found = [$path];
    foreach ($plan['units'] as $unit) {
        if (Installation::below($path, $unit['live'])) {
            foreach (['stage', 'old'] as $side) {
                if ($unit[$side] !== null) {
                    $found[] = $unit[$side] . substr($path, strlen($unit['live']));
                }
            }
        }
    }
    return $found;
}

/**
 * The times of all folders in which the switch makes or removes a name, by their paths `before` and `after` it: who dies
 * between a name and its folder's time leaves the time of his death there, and only the journal knows the right one.
 */
function times_of(array $plan)
{
    $touched = [];
    foreach ($plan['closed'] as $folder) {
        $touched = array_merge($touched, sides($plan, $folder));
    }
    $forth = [];
    foreach ($plan['units'] as $unit) {
        if (isset($unit['attributes'])) {
            $forth[$unit['live']] = $unit['attributes']['forth'][1];
            continue;
        }
        $touched[] = dirname($unit['live']);
        foreach ($unit['carry'] as $path) {
            array_push($touched, dirname("{$unit['live']}/$path"), dirname("{$unit['stage']}/$path"));
        }
    }
    $before = $after = [];
    foreach (array_unique($touched) as $folder) {
        clearstatcache(true, $folder);
        if (is_dir($folder) && ($time = @filemtime($folder)) !== false) {
            $before[$folder] = $time;
            $after[after_switch($plan, $folder)] = $forth[$folder] ?? $time;
        }
    }
    return ['before' => $before, 'after' => $after];
}

/** Where a path stands when the plan is carried out. */
function after_switch(array $plan, $path)
{
    foreach ($plan['units'] as $unit) {
        foreach (['stage' => 'live', 'live' => 'old'] as $from => $to) {
            if (!isset($unit['attributes']) && $unit[$from] !== null && Installation::below($path, $unit[$from])) {
                return $unit[$to] . substr($path, strlen($unit[$from]));
            }
        }
    }
    return $path;
}

function put_times(array $times)
{
    foreach ($times as $folder => $time) {
        if (is_dir($folder)) {
            @touch($folder, $time);
        }
    }
}

function close_for_a_moment(array $plan)
{
    foreach ($plan['closed'] as $folder) {
        foreach (sides($plan, $folder) as $side) {
            if (is_dir($side) && !exists("$side/.maintenance")) {
                keeping_time($side, function () use ($side) {
                    $page = '<?php $upgrading = ' . time() . ";\n" . OUR_MAINTENANCE;
                    if (@file_put_contents("$side/.maintenance", $page) !== strlen($page)) {
                        @unlink("$side/.maintenance");
                    }
                });
            }
        }
    }
}

/** A `.maintenance` that is not ours belongs to the state in which it lies; an empty one is what was left of ours. */
function open_again(array $plan)
{
    foreach ($plan['closed'] as $folder) {
        foreach (sides($plan, $folder) as $side) {
            $page = is_file("$side/.maintenance") ? (string) @file_get_contents("$side/.maintenance") : 'none';
            if ($page === '' || strpos($page, OUR_MAINTENANCE) !== false) {
                keeping_time($side, function () use ($side) {
                    @unlink("$side/.maintenance");
                });
            }
        }
    }
}

function forward_unit(array $unit)
{
    if (isset($unit['attributes'])) {
        put_attributes($unit['live'], $unit['attributes']['forth']);
        return;
    }
    keeping_time(dirname($unit['live']), function () use ($unit) {
        if ($unit['stage'] !== null && exists($unit['live']) && exchange($unit['stage'], $unit['live'])) {
            move($unit['stage'], $unit['old']);
            return;
        }
        if (exists($unit['live'])) {
            move($unit['live'], $unit['old']);
        }
        if ($unit['stage'] !== null) {
            move($unit['stage'], $unit['live']);
        }
    });
    foreach ($unit['carry'] as $path) {
        if (exists("{$unit['old']}/$path") && !exists("{$unit['live']}/$path")) {
            carry("{$unit['old']}/$path", "{$unit['live']}/$path");
        }
    }
}

function backward_unit(array $unit)
{
    if (isset($unit['attributes'])) {
        put_attributes($unit['live'], $unit['attributes']['back']);
        return;
    }
    foreach ($unit['carry'] as $path) {
        if (exists("{$unit['live']}/$path") && exists($unit['old']) && !exists("{$unit['old']}/$path")) {
            carry("{$unit['live']}/$path", "{$unit['old']}/$path");
        }
    }
    keeping_time(dirname($unit['live']), function () use ($unit) {
        $new = $unit['inode'] ?? null;
        if ($unit['stage'] !== null && exists($unit['stage']) && $new !== null && inode($unit['live']) === $new) {
            // Died between the exchange and the move of what it had put aside.
            if (exchange($unit['stage'], $unit['live'])) {
                return;
            }
            move($unit['stage'], $unit['old']);
        }
        if ($unit['stage'] !== null && !exists($unit['stage']) && exists($unit['live']) && ($new === null || inode($unit['live']) === $new)) {
            if (exists($unit['old']) && exchange($unit['old'], $unit['live'])) {
                move($unit['old'], $unit['stage']);
                return;
            }
            move($unit['live'], $unit['stage']);
        }
        if ($new !== null && exists($unit['live']) && inode($unit['old']) === $new) {
            // Died between the exchange back and the last move.
            move($unit['old'], $unit['stage']);
        }
        if (exists($unit['old']) && !exists($unit['live'])) {
            move($unit['old'], $unit['live']);
        }
    });
}

/** An exchange leaves the same names behind as before it: which of the two a folder is, its inode tells. */
function known_by_inode(array $unit)
{
    return isset($unit['attributes']) ? $unit : ['inode' => $unit['stage'] === null ? null : inode($unit['stage'])] + $unit;
}

function inode($path)
{
    clearstatcache(true, $path);
    $stat = @lstat($path);
    return $stat ? $stat['ino'] : null;
}

/** Two names change places at one instant (renameat2(2), RENAME_EXCHANGE); false where kernel or PHP cannot. */
function exchange($one, $other)
{
    static $libc = null;
    if ($libc === null) {
        try {
            $libc = class_exists('FFI') ? FFI::cdef('int renameat2(int, const char *, int, const char *, unsigned int);') : false;
        } catch (Throwable $e) {
            $libc = false;
        }
    }
    // -100 is AT_FDCWD: both paths are absolute.
    return $libc && $libc->renameat2(-100, $one, -100, $other, 2) === 0;
}

/** A folder that stays where it is while its entries change places gets mode and time by hand. */
function put_attributes($folder, array $attributes)
{
    @chmod($folder, $attributes[0]);
    @touch($folder, $attributes[1]);
}

/** Moves what belongs to no state of the site: the folders that it leaves and enters keep their times. */
function carry($from, $to)
{
    keeping_time(dirname($from), function () use ($from, $to) {
        keeping_time(dirname($to), function () use ($from, $to) {
            move($from, $to);
        });
    });
}

/** What is in a folder for a moment only leaves no trace in its time. */
function keeping_time($folder, callable $work)
{
    clearstatcache(true, $folder);
    $time = @filemtime($folder);
    $result = $work();
    if ($time !== false) {
        @touch($folder, $time);
    }
    return $result;
}

function move($from, $to)
{
    $parent = dirname($to);
    if (!is_dir($parent)) {
        make_folder($parent, 0755);
    }
    if (!@rename($from, $to)) {
        throw new Failure('no_switch', "cannot move $from to $to: " . last_error('unknown reason'), 'look at the permissions of the document root');
    }
}

/** One statement: all of the tables or none (MariaDB from 10.6.1 also over a crash). */
function rename_tables(Database $database, array $tables, $back, callable $then)
{
    $pairs = [];
    foreach ($back ? array_reverse($tables['list']) : $tables['list'] as $table) {
        $steps = [];
        if ($table['old'] !== null) {
            $steps[] = [$table['live'], $table['old']];
        }
        if ($table['stage'] !== null) {
            $steps[] = [$table['stage'], $table['live']];
        }
        foreach ($back ? array_reverse($steps) : $steps as $step) {
            list($from, $to) = $back ? array_reverse($step) : $step;
            $pairs[] = Database::name($from) . ' TO ' . Database::name($to);
        }
    }
    // Nothing of the site is dropped before its tables are put aside: triggers follow a table, views go by its name.
    $side = $back ? 'back' : 'forth';
    // The site is closed meanwhile, and whoever asks for a table that is waited for waits as well.
    $database->query('SET SESSION lock_wait_timeout=1');
    $pairs && patiently($database, 'RENAME TABLE ' . implode(', ', $pairs), []);
    $then();
    foreach (array_merge($tables['drop'][$side], $tables['create'][$side]) as $sql) {
        patiently($database, $sql, $back ? [1050, 1359] : []);
    }
}

/** `$there`: errors that say no more than that what is to be made is there already; `$told`: those that the caller judges. */
function patiently(Database $database, $sql, array $there, array $told = [])
{
    for ($try = 1; ; $try++) {
        try {
            $database->query($sql);
            return;
        } catch (mysqli_sql_exception $e) {
            if (in_array($e->getCode(), $there, true)) {
                return;
            }
            // One that went away is waited for; only its own words tell that from a refusal.
            if (in_array($e->getCode(), array_merge($told, DATABASE_AWAY), true)) {
                throw $e;
            }
            // 1205: an open transaction of the site holds a table; the statement did nothing.
            if ($e->getCode() !== 1205 || $try === 6) {
                throw new Failure('no_switch', 'the tables cannot be switched: ' . $e->getMessage(), 'try again when the site is quiet');
            }
        }
    }
}

/**
 * The switch undone, from any point of it at which a process may have died. A database that does not answer is waited
 * for, and then it is left for the next contact, as where the disk is full: NotYet. What nobody but a person can mend is
 * NeedsHand.
 */
function switch_back(Operation $operation, $wait_s = 0)
{
    $plan = $operation->recall('plan');
    for ($until = microtime(true) + $wait_s; ; usleep(500000)) {
        try {
            take_back($operation, $plan);
            return;
        } catch (Failure $e) {
            if ($e->word === 'no_space') {
                throw new NotYet('no_space', 'the site may be between two states until there is room: ' . $e->getMessage(),
                    'free some space in the account; the next contact takes the rest back by itself');
            }
            $away = $e->word === 'no_database';
        } catch (mysqli_sql_exception $e) {
            $away = in_array($e->getCode(), DATABASE_AWAY, true);
        }
        if (!$away) {
            throw new NeedsHand('the site could not be brought back: ' . $e->getMessage(),
                "its files and tables are all there, named in ops/{$operation->id}/journal; mend the cause, then run modoseru check");
        }
        if (microtime(true) > $until) {
            throw new NotYet('no_database', 'the site is between two states until its database answers: ' . $e->getMessage(),
                'look at the database; the next contact takes the rest back by itself');
        }
    }
}

function take_back(Operation $operation, array $plan)
{
    // A journal that cannot be written any more must not go on saying "switched" of what was taken back.
    $operation->recall('phase') === 'switching' || $operation->remember('phase', 'switching');
    close_for_a_moment($plan);
    $database = $plan['tables'] ? database_of($operation) : null;
    if ($database) {
        take_tables_back($database, $plan['tables']);
    }
    if (!empty($plan['rows'])) {
        switch_rows_back($operation, $plan['rows']);
    }
    foreach (array_reverse($plan['units']) as $unit) {
        backward_unit($unit);
    }
    open_again($plan);
    put_times($plan['times']['before'] ?? []);
    $operation->remember('phase', 'taken back');
}

/** From any point of the switch of tables; also from any point of this. */
function take_tables_back(Database $database, array $tables)
{
    $take = function () use ($database, $tables) {
        keys_given_back($database, $tables);
    };
    if (!tables_are_switched($database, $tables)) {
        $take();
        return;
    }
    $database->query('SET SESSION lock_wait_timeout=1');
    keys_given_up($database, $tables);
    rename_tables($database, $tables, true, $take);
}

function tables_are_switched(Database $database, array $tables)
{
    foreach ($tables['list'] as $table) {
        if ($table['stage'] !== null) {
            return !table_exists($database, $table['stage']);
        }
        if ($table['old'] !== null) {
            return table_exists($database, $table['old']);
        }
    }
    return false;
}

function table_exists(Database $database, $name)
{
    return (bool) $database->one('SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA=' . $database->quote($database->name)
        . ' AND TABLE_NAME=' . $database->quote($name));
}

/**
 * The database that the operation works on. In the middle of a switch another wp-config.php may be live than the one
 * that led to it, and either may have been tampered with: the first that leads there and is let in serves.
 */
function database_of(Operation $operation)
{
    if ($operation->kind === 'rehouse') {
        return target_again($operation);
    }
    $wanted = $operation->recall('database');
    $why = new Failure('no_config', 'no wp-config.php tells where the database is', 'restore the files of a generation');
    foreach (places_of_config($operation) as $find) {
        try {
            $site = $find();
            if (!$wanted || [$site->setting('DB_NAME'), $site->prefix] === $wanted) {
                $database = Database::open($site);
                if ($operation->is_dead) {
                    $database->end_sessions_of($operation->id);
                    $operation->is_dead = false;
                }
                return $database;
            }
        } catch (Failure $e) {
            $why = $e;
        }
    }
    throw $why;
}

/** Live, put aside, staged, in what an undo takes back, given by a person, and in the generation. */
function places_of_config(Operation $operation)
{
    $request = $operation->request;
    yield function () use ($request) {
        return Installation::find($request);
    };
    foreach (array_merge($operation->recall('plan')['units'] ?? [], units_undone($operation)) as $unit) {
        foreach (['old', 'stage'] as $side) {
            $file = $unit[$side] === null ? '' : $unit[$side] . (is_dir($unit[$side]) ? '/wp-config.php' : '');
            if (basename($file) === 'wp-config.php' && is_file($file)) {
                yield function () use ($file, $request) {
                    return Installation::from_config($file, $request->root);
                };
            }
        }
    }
    $visits = is_visit($operation);
    if ($visits || $operation->recall('generation')) {
        $stored = function () use ($operation, $request, $visits) {
            return installation_of_generation($request, $visits ? Generation::asked($request) : Generation::open($request, $operation->recall('generation')));
        };
        if ($given = given_credentials($request)) {
            yield function () use ($stored, $given) {
                return $stored()->with_settings($given);
            };
        }
        if (!$visits) {
            yield $stored;
        }
    }
}

/** The units of the operation that this one undoes: before its own plan stands, they alone tell what was put aside. */
function units_undone(Operation $operation)
{
    $undone = $operation->recall('undoes');
    return $undone && is_dir("{$operation->request->folder}/ops/$undone") ? Operation::find($operation->request, $undone)->recall('plan')['units'] ?? [] : [];
}

/** Undo: what was put aside comes back, and what it replaces is put aside in its turn. */
function exchanged(array $plan, $folder, $tag)
{
    $units = [];
    foreach ($plan['units'] as $i => $unit) {
        if (isset($unit['attributes'])) {
            $units[] = ['attributes' => ['forth' => $unit['attributes']['back'], 'back' => $unit['attributes']['forth']]] + $unit;
            continue;
        }
        $units[] = ['live' => $unit['live'], 'stage' => exists($unit['old']) ? $unit['old'] : null, 'old' => "$folder/$i", 'carry' => $unit['carry']];
    }
    $tables = $plan['tables'];
    if ($tables) {
        foreach ($tables['list'] as $i => $table) {
            $tables['list'][$i] = ['live' => $table['live'], 'stage' => $table['old'],
                'old' => $table['stage'] === null ? null : sprintf('_o%s_%d', $tag, $i)];
        }
        foreach (['drop', 'create'] as $key) {
            $tables[$key] = ['forth' => $tables[$key]['back'], 'back' => $tables[$key]['forth']];
        }
        $tables['keys'] = ['stage' => $tables['keys']['live'], 'live' => []];
    }
    return ['units' => $units, 'tables' => $tables] + $plan;
}
