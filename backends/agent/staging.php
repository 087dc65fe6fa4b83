<?php
// The staged copy: files written from the packs beside the live site, tables under names of their own, all of it read back.

/**
 * Where a staged tree may lie: on the file system of `$live`, outside every document root where that can be had.
 * The place inside the document root is the last resort; nothing there is served (0700, random name).
 */
function staging_place(Operation $operation, $live)
{
    if ($operation->kind === 'drill') {
        return $operation->folder;  // It is never renamed into the live tree.
    }
    $near = is_dir($live) ? $live : dirname($live);
    while (!is_dir($near)) {
        $near = dirname($near);
    }
    $mount = mount_of($near);
    foreach ([$operation->folder, $near === $live ? dirname($live) : $near, $live] as $place) {
        if (is_dir($place) && is_writable($place) && mount_of($place) === $mount) {
            return $place === $operation->folder ? $place : $place . '/.modoseru-' . substr($operation->id, -6);
        }
    }
    throw new Failure('not_writable', "there is no place on the disk of $live for a staged copy", 'make its folder writable');
}

/** Writes every wanted entry beside the live site; returns the plan's units. */
function stage_files(Operation $operation, Generation $generation, $only)
{
    $roots = [];
    foreach ($generation->summary['areas'] as $area => $recorded) {
        $live = $area === 'root' ? $operation->request->root : $recorded;
        $place = staging_place($operation, $live);
        keeping_time(dirname($place), function () use ($place) {
            make_folder($place);
        });
        $roots[$area] = ['live' => $live, 'stage' => "$place/stage/$area", 'old' => "$place/old/$area", 'single' => false];
    }
    $places = array_values(array_unique(array_map(function ($root) {
        return dirname(dirname($root['stage']));
    }, $roots)));
    $operation->remember('places', $places);
    $parent = '';
    $reader = new PackReader($generation->packs);
    $total = $generation->summary['counts']['bytes'];
    $done = 0;
    $folders = [];
    $found = [];
    foreach ($generation->manifest() as $entry) {
        if (is_array($only) && !($under = wanted_under($entry->path, $only))) {
            continue;
        }
        $found[is_array($only) ? $under : 'all'] = true;
        $target = staged_path($roots, $entry);
        if (dirname($target) !== $parent) {
            $parent = dirname($target);
            refuse_way_out($parent, $places);
            make_folder($parent, 0755);
        }
        if ($entry->type === 'd') {
            make_folder($target, 0700);
            $folders[] = [$target, $entry->mode, $entry->mtime];
        } elseif ($entry->type === 'l') {
            if (!@symlink($entry->target, $target)) {
                throw new Failure('no_space', 'cannot make a link: ' . last_error('unknown reason'));
            }
        } else {
            stage_file($reader, $entry, $target);
        }
        $done += $entry->size;
        $operation->progress(min($done, $total), $total, 'bytes');
    }
    foreach (is_array($only) ? $only : ['all'] as $wanted) {
        if (!isset($found[$wanted])) {
            throw new Failure('no_generation', ($wanted === 'all' ? 'no file' : substr($wanted, 5)) . " is in the generation {$generation->id}", 'see modoseru diff, or take another generation');
        }
    }
    foreach (array_reverse($folders) as list($path, $mode, $mtime)) {
        chmod($path, $mode);
        touch($path, $mtime);
    }
    return is_array($only) ? path_units($operation->request, $roots['root'], $only) : whole_units($operation, $roots);
}

/** A manifest that was made by an attacker may hold a link, and a file below that link. */
function refuse_way_out($folder, array $places)
{
    while (!is_link($folder) && !is_dir($folder)) {
        $folder = dirname($folder);
    }
    $real = realpath($folder);
    foreach ($places as $place) {
        if ($real !== false && Installation::below($real, realpath($place))) {
            return;
        }
    }
    throw new Failure('damaged', 'the manifest leads out of its folder: ' . escape_path($folder), 'take another generation');
}

function wanted_under($path, array $only)
{
    foreach ($only as $wanted) {
        if (Installation::below($path, $wanted)) {
            return $wanted;
        }
    }
    return null;
}

function staged_path(array $roots, Entry $entry)
{
    $cut = strpos($entry->path, '/');
    $area = $cut === false ? $entry->path : substr($entry->path, 0, $cut);
    if (!isset($roots[$area])) {
        throw new Failure('damaged', "the manifest names an unknown area $area", 'take another generation');
    }
    return $roots[$area]['stage'] . ($cut === false ? '' : substr($entry->path, $cut));
}

function stage_file(PackReader $reader, Entry $entry, $target)
{
    $out = @fopen($target, 'xb');
    if (!$out) {
        throw new Failure('no_space', "cannot write $target: " . last_error('unknown reason'), 'free some space in the account');
    }
    try {
        $reader->copy($entry, $out);
        sync_soon($out, $target);
    } finally {
        fclose($out);
    }
    chmod($target, $entry->mode);
    if ($entry->gid !== posix_gid()) {
        @chgrp($target, $entry->gid);
    }
    touch($target, $entry->mtime);
}

/** Each file by itself would cost an fsync; the folder is synced as a whole before the switch. */
function sync_soon($handle, $path)
{
    if (!@fflush($handle)) {
        throw new Failure('no_space', "cannot write $path: the disk or the quota is full", 'free some space in the account');
    }
}

function posix_gid()
{
    return function_exists('posix_getegid') ? posix_getegid() : -1;
}

function path_units(Request $request, array $root, array $only)
{
    $units = [];
    $carry = array_keys(carried($request, 'root', $root['live']));
    foreach ($only as $i => $path) {
        $below = substr($path, 5);
        $unit = ['live' => "{$root['live']}/$below", 'stage' => "{$root['stage']}/$below", 'old' => "{$root['old']}-$i"];
        $inside = carry_below($carry, $below);
        if ($inside === true) {
            throw new Failure('bad_request', "$below is left out of backups by [server] exclude", 'name another path');
        }
        prepare_carry($unit, $inside);
        $units[] = $unit + ['carry' => $inside];
    }
    return $units;
}

/** An area that cannot be renamed, or that holds other sites, is switched entry by entry. */
function whole_units(Operation $operation, array $roots)
{
    $request = $operation->request;
    $units = [];
    foreach ($roots as $area => $root) {
        if ($area === 'config') {
            $name = basename($root['live']);
            $units[] = ['live' => $root['live'], 'stage' => "{$root['stage']}/$name", 'old' => "{$root['old']}-$name", 'carry' => []];
            continue;
        }
        $why = carried($request, $area, $root['live']);
        $carry = array_keys($why);
        if (!in_array('another installation', $why, true) && can_be_renamed($root['live'])) {
            prepare_carry($root, $carry);
            $units[] = ['live' => $root['live'], 'stage' => $root['stage'], 'old' => $root['old'], 'carry' => $carry];
            continue;
        }
        foreach (entries_of_both($root) as $name) {
            $inside = carry_below($carry, $name);
            if ($inside === true) {
                continue;
            }
            $stage = exists("{$root['stage']}/$name") ? "{$root['stage']}/$name" : null;
            if ($stage !== null) {
                prepare_carry(['live' => "{$root['live']}/$name", 'stage' => $stage], $inside);
            } elseif ($inside) {
                continue;
            }
            $units[] = ['live' => "{$root['live']}/$name", 'stage' => $stage, 'old' => "{$root['old']}/$name", 'carry' => $inside];
        }
        if (is_dir($root['stage'])) {
            $units[] = ['live' => $root['live'], 'stage' => null, 'old' => null, 'carry' => [],
                'attributes' => ['forth' => attributes($root['stage']), 'back' => attributes($root['live'])]];
        }
    }
    return $units;
}

function attributes($folder)
{
    clearstatcache(true, $folder);
    return [fileperms($folder) & 07777, filemtime($folder)];
}

/** What two paths share where one can be renamed to the other: the disk and, on Linux, the place where it is mounted. */
function mount_of($path)
{
    $path = realpath($path) ?: $path;
    $longest = '';
    foreach (@file('/proc/self/mountinfo') ?: [] as $line) {
        $point = preg_replace_callback('/\\\\([0-7]{3})/', function ($found) {
            return chr(octdec($found[1]) & 255);
        }, explode(' ', $line)[4] ?? '');
        if (strlen($point) > strlen($longest) && Installation::below($path, $point)) {
            $longest = $point;
        }
    }
    return [@stat($path)['dev'] ?? null, $longest];
}

function can_be_renamed($folder)
{
    if (!exists($folder)) {
        return true;
    }
    return mount_of($folder) === mount_of(dirname($folder)) && is_writable(dirname($folder)) && $folder !== home() && !is_link($folder);
}

/** Paths below the area that no generation holds, with why: excluded ones and other installations. */
function carried(Request $request, $area, $live)
{
    $carry = [];
    if (!is_dir($live)) {
        return $carry;
    }
    $abspath = $live;
    try {
        $abspath = Installation::find_bare($request)->abspath;
    } catch (Failure $e) {
        // A broken site has no folder of its own to except.
    }
    foreach (walk_area($area, $live, exclusion_pattern($request), $abspath, function ($path, $why) use (&$carry, $area) {
        $relative = substr($path, strlen($area) + 1);
        if ($why !== 'unreadable' && !preg_match('~(^|/)(\.maintenance|modoseru-[0-9a-f]{32}\.php)$~', $relative)) {
            $carry[$relative] = $why;
        }
    }) as $item) {
        continue;
    }
    return $carry;
}

/** The staged tree has the folders into which carried paths will move, and nothing where they will stand. */
function prepare_carry(array $root, array $carry)
{
    foreach ($carry as $path) {
        $target = "{$root['stage']}/$path";
        remove_tree($target);
        $parent = dirname($target);
        $levels = [];
        if (!is_dir($parent)) {
            // The mode of each missing level is that of its counterpart in the live tree.
            for ($live = dirname("{$root['live']}/$path"), $above = $parent; !is_dir($above); $above = dirname($above), $live = dirname($live)) {
                $levels[$above] = fileperms($live) & 07777;
            }
            foreach (array_reverse($levels) as $folder => $mode) {
                make_folder($folder, $mode);
            }
        }
    }
}

function entries_of_both(array $root)
{
    $names = array_merge(@scandir($root['live']) ?: [], @scandir($root['stage']) ?: []);
    $names = array_values(array_unique(array_filter($names, function ($name) {
        return $name !== '.' && $name !== '..' && strncmp($name, '.modoseru', 9) !== 0;
    })));
    sort($names, SORT_STRING);
    return $names;
}

/** True: the entry itself is carried over (stays where it is); otherwise the carried paths inside it. */
function carry_below(array $carry, $name)
{
    $inside = [];
    foreach ($carry as $path) {
        if ($path === $name) {
            return true;
        }
        if (strncmp($path, "$name/", strlen($name) + 1) === 0) {
            $inside[] = substr($path, strlen($name) + 1);
        }
    }
    return $inside;
}

/** Loads every table under a staging name (of `$names`, or one by its number); returns the plan's tables. */
function stage_tables(Operation $operation, Generation $generation, array $names = [])
{
    $database = Database::open(installation_for_restore($operation->request, $generation));
    $tag = substr($operation->id, -6);
    $operation->remember('tag', $tag);
    $operation->remember('database', [$database->name, $database->prefix]);
    foreach ($generation->summary['tables'] as $i => $part) {
        if ($part['kind'] === 'table') {
            $names += [$part['name'] => "_m{$tag}_$i"];
        }
    }
    $live = $database->tables();
    $handle = fopen($generation->folder . '/database.sql.gz', 'rb');
    $total = $generation->summary['dump']['plain'];
    $done = 0;
    $after = [];
    foreach ($generation->summary['tables'] as $part) {
        $database->query('SET autocommit=0');
        foreach (dump_part($handle, $part) as list($kind, $table, $sql)) {
            if ($kind === 'create' || $kind === 'insert') {
                $database->query(under_staging_name($sql, $kind, $table, $names, $tag));
            } elseif ($kind === 'set') {
                $database->query(sets_a_variable($sql));
            } elseif (in_array($kind, ['trigger', 'view', 'mode'], true)) {
                $after[] = made_after($kind, $sql);
            }
            $done += strlen($sql);
            $operation->progress(min($done, $total), $total, 'bytes');
        }
        $database->query('COMMIT');
    }
    fclose($handle);
    return plan_tables($database, $names, $live, $after, $tag);
}

/** A dump may have been made by an attacker: no statement of it does more than its kind says. */
function sets_a_variable($sql)
{
    if (!preg_match('/^SET @m\d+=(?:NULL|(?:CONCAT\(@m\d+,)?(?:0x[0-9a-f]*+|\'(?:[^\'\\\\]++|\\\\.)*+\')\)?)$/Ds', $sql)) {
        throw new Failure('damaged', 'the dump has a statement that sets more than a variable', 'take another generation');
    }
    return $sql;
}

function made_after($kind, $sql)
{
    $forms = ['trigger' => '/^CREATE\s+TRIGGER\s/i', 'view' => '/^CREATE\s[^`]*\bVIEW\s/i', 'mode' => "/^SET sql_mode='[A-Z0-9_,]*'$/D"];
    if (!preg_match($forms[$kind], $sql)) {
        throw new Failure('damaged', "the dump has a statement that is no $kind", 'take another generation');
    }
    return $sql;
}

function under_staging_name($sql, $kind, $table, array $names, $tag)
{
    $head = ($kind === 'create' ? 'CREATE TABLE ' : 'INSERT INTO ') . Database::name($table);
    if (!isset($names[$table]) || strncmp($sql, $head, strlen($head)) !== 0) {
        throw new Failure('damaged', "the dump has a statement that is not of the table $table", 'take another generation');
    }
    $rest = substr($sql, strlen($head));
    if ($kind === 'create') {
        // The same name of a constraint is refused (errno 121), and a reference must follow its table.
        $rest = preg_replace_callback('/^(\s+CONSTRAINT `)((?:[^`]|``)*)(` FOREIGN KEY .*? REFERENCES `)((?:[^`]|``)*)`/m', function ($found) use ($names, $tag) {
            $other = str_replace('``', '`', $found[4]);
            return $found[1] . substr($found[2], 0, 55) . "__m$tag" . $found[3] . str_replace('`', '``', $names[$other] ?? $other) . '`';
        }, $rest);
    }
    return ($kind === 'create' ? 'CREATE TABLE ' : 'INSERT INTO ') . Database::name($names[$table]) . $rest;
}

/** Tables of the site that the generation does not have are put aside too: a restore leaves nothing foreign. */
function plan_tables(Database $database, array $names, array $live, array $after, $tag)
{
    $list = [];
    $drop = ['forth' => [], 'back' => []];
    $create = ['forth' => [], 'back' => []];
    $i = 0;
    foreach ($names as $name => $staged) {
        $list[] = ['live' => (string) $name, 'stage' => $staged, 'old' => isset($live[$name]) ? "_o{$tag}_" . $i++ : null];
    }
    foreach ($live as $name => $facts) {
        if (!$facts['view'] && !isset($names[$name])) {
            $list[] = ['live' => (string) $name, 'stage' => null, 'old' => "_o{$tag}_" . $i++];
        }
    }
    foreach ($database->views($live) as $name => $sql) {
        $drop['forth'][] = 'DROP VIEW IF EXISTS ' . Database::name($name);
        $create['back'][] = $sql;
    }
    foreach ($database->triggers($live) as $trigger) {
        $drop['forth'][] = 'DROP TRIGGER IF EXISTS ' . Database::name($trigger['name']);
        array_push($create['back'], sql_mode_of($trigger), $trigger['sql'], SQL_MODE);
    }
    foreach ($after as $made) {
        $create['forth'][] = $made;
        if (preg_match('/^CREATE\b.*?\b(TRIGGER|VIEW)\s+`((?:[^`]|``)+)`/is', $made, $found)) {
            $drop['back'][] = 'DROP ' . strtoupper($found[1]) . " IF EXISTS `{$found[2]}`";
        }
    }
    return ['list' => $list, 'drop' => $drop, 'create' => $create];
}

/** What was staged is read back: every file's hash, every table's rows. */
function verify_staged(Operation $operation, Generation $generation, $only, $tables)
{
    $total = $generation->summary['counts']['bytes'];
    $done = 0;
    $places = $only === 'database' ? [] : $operation->recall('places');
    foreach ($places as $place) {
        sync_folder($place);
    }
    foreach ($only === 'database' ? [] : $generation->manifest() as $entry) {
        if ($entry->type !== 'f' || (is_array($only) && !wanted_under($entry->path, $only))) {
            continue;
        }
        $staged = null;
        foreach ($places as $place) {
            $staged = is_file("$place/stage/{$entry->path}") ? "$place/stage/{$entry->path}" : $staged;
        }
        if ($staged === null || filesize($staged) !== $entry->size || file_sha256($staged) !== $entry->sha256) {
            throw new Failure('damaged', 'what was staged does not read back: ' . escape_path($entry->path), 'look at the disk, then try again');
        }
        $done += $entry->size;
        $operation->progress(min($done, $total), $total, 'bytes');
    }
    if (!$tables) {
        return;
    }
    $database = Database::open(installation_for_restore($operation->request, $generation));
    $rows = array_column($generation->summary['tables'], 'rows', 'name');
    foreach ($tables['list'] as $table) {
        if ($table['stage'] !== null && (int) $database->one('SELECT COUNT(*) FROM ' . Database::name($table['stage'])) !== $rows[$table['live']]) {
            throw new Failure('damaged', "the table {$table['live']} was not loaded whole", 'look at the database server\'s log');
        }
    }
}

/** Staged trees and tables that never went live. */
function drop_staging(Operation $operation)
{
    $kept = $operation->recall('phase') === 'switched' || $operation->recall('phase') === 'done';
    foreach ($operation->recall('places', []) as $place) {
        remove_tree("$place/stage");
        if (!$kept) {
            remove_tree("$place/old");
        }
        leave_place($operation, $place);
    }
    $tag = $operation->recall('tag');
    if ($tag && !$kept) {
        drop_tables($operation, "/^_m{$tag}_/");
    }
}

/** Where nothing lies any more, the folder made for it goes without a trace in the times of the site. */
function leave_place(Operation $operation, $place)
{
    if ($place !== $operation->folder) {
        keeping_time(dirname($place), function () use ($place) {
            @rmdir($place);
        });
    }
}

/** In one statement, so that a reference between them is no obstacle. */
function drop_tables(Operation $operation, $pattern)
{
    try {
        $database = database_of($operation);
        $names = [];
        foreach ($database->rows('SELECT TABLE_NAME n FROM information_schema.TABLES WHERE TABLE_SCHEMA=' . $database->quote($database->name)) as $row) {
            if (preg_match($pattern, $row['n'])) {
                $names[] = Database::name($row['n']);
            }
        }
        if ($names) {
            $database->query('DROP TABLE IF EXISTS ' . implode(', ', $names));
        }
    } catch (Failure $e) {
        return;
    } catch (mysqli_sql_exception $e) {
        return;
    }
}
