<?php
// The staged copy: files written from the packs beside the live site, tables under names of their own, all of it read back.

/**
 * Where a staged tree may lie: on the file system of `$live`, outside every document root where that can be had.
 * The place inside the document root is the last resort; nothing there is served (0700, random name).
 */
function staging_place(Operation $operation, $live)
{
    if ($operation->rehearses()) {
        return $operation->folder;  // It is never renamed into the live tree.
    }
    $near = is_dir($live) ? $live : dirname($live);
    while (!is_dir($near)) {
        $near = dirname($near);
    }
    $mount = mount_of($near);
    $root = $operation->request->root;
    $beside = Installation::below($live, $root) ? dirname($root) : $operation->folder;
    foreach ([$operation->folder, $beside, $near === $live ? dirname($live) : $near, $live] as $place) {
        if (is_dir($place) && is_writable($place) && mount_of($place) === $mount) {
            return $place === $operation->folder ? $place : $place . '/.modoseru-' . substr($operation->id, -6);
        }
    }
    throw new Failure('not_writable', "there is no place on the disk of $live for a staged copy", 'make its folder writable');
}

/**
 * Stages every wanted entry beside the live site; returns the plan's units. A live file that is right is linked, every
 * other one is written from the packs; a request that is `fresh` links nothing: whoever holds a live file open could
 * write into it. `$config`: where wp-config.php will be changed where it is staged, its path; neither it nor what a
 * relocation changes is linked.
 */
function stage_files(Operation $operation, Generation $generation, $only, $config = null)
{
    $roots = staging_roots($operation, $generation);
    $links = !$operation->rehearses() && !$operation->request->get('fresh') && !$generation->move ? new Linked($operation->folder . '/linked', 'wb') : null;
    $folder = new StagedFolder($operation->recall('places'));
    $reader = new PackReader($generation->packs);
    $total = $generation->summary['counts']['bytes'];
    $done = 0;
    $found = [];
    foreach ($generation->manifest() as $entry) {
        if (is_array($only) && !($under = wanted_under($entry->path, $only))) {
            continue;
        }
        $found[is_array($only) ? $under : 'all'] = true;
        $target = staged_at($operation, $entry->path);
        $live = live_at($operation->request, $generation, $entry->path);
        $folder->enter(dirname($target), dirname($live), $roots[strstr($entry->path, '/', true) ?: $entry->path]);
        if ($entry->type === 'd') {
            make_folder($target, 0700);
            $folder->folders[] = [$target, $entry->mode, $entry->mtime];
        } elseif ($entry->type === 'l') {
            if (!@symlink($entry->target, $target)) {
                throw new Failure('no_space', 'cannot make a link: ' . last_error('unknown reason'));
            }
        } elseif ($links && $folder->is_real && $entry->path !== $config
            && !($generation->relocation && $generation->relocation->may_change($entry->path)) && ($words = link_live($live, $target, $entry))) {
            $links->add($entry->path, $words);
        } else {
            stage_file($reader, $entry, $target);
            $folder->written++;
        }
        $done += $entry->size;
        $operation->progress(min($done, $total), $total, 'bytes');
    }
    foreach (is_array($only) ? $only : ['all'] as $wanted) {
        if (!isset($found[$wanted])) {
            throw new Failure('no_generation', ($wanted === 'all' ? 'no file' : substr($wanted, 5)) . " is in the generation {$generation->id}", 'see modoseru diff, or take another generation');
        }
    }
    $generation->move && $generation->move->keep_config($operation, $generation);
    $folder->finish();
    $links && $links->close();
    return is_array($only) ? path_units($operation->request, $roots['root'], $only) : whole_units($operation, $roots);
}

/** Where each area is live, where it is staged, and where it is put aside; the operation remembers the places. */
function staging_roots(Operation $operation, Generation $generation)
{
    $roots = $places = [];
    foreach ($generation->summary['areas'] as $area => $recorded) {
        $live = $area === 'root' ? $operation->request->root : $recorded;
        $place = staging_place($operation, $live);
        keeping_time(dirname($place), function () use ($place) {
            make_folder($place);
        });
        $places[$area] = $place;
        $roots[$area] = ['live' => $live, 'stage' => "$place/stage/$area", 'old' => "$place/old/$area"];
    }
    $operation->remember('places', array_values(array_unique($places)));
    $operation->remember('areas', $places);
    return $roots;
}

/** Where a manifest's path is staged. */
function staged_at(Operation $operation, $path)
{
    $area = strstr($path, '/', true) ?: $path;
    $place = $operation->recall('areas')[$area] ?? null;
    if ($place === null) {
        throw new Failure('damaged', "the manifest names an unknown area $area", 'take another generation');
    }
    return "$place/stage/$path";
}

/** Where a manifest's path is live. */
function live_at(Request $request, Generation $generation, $path)
{
    $path = area_path($generation, $path);
    $root = $generation->summary['areas']['root'];
    return Installation::below($path, $root) ? $request->root . substr($path, strlen($root)) : $path;
}

/** The folder that is being filled, and what is done to all of them when the last entry stands. */
final class StagedFolder
{
    /** Whether the live folder is what its name says, not what a link somewhere in it makes of it. */
    public $is_real = false;
    public $folders = [];
    public $written = 0;
    private $places;
    private $at = '';

    public function __construct(array $places)
    {
        $this->places = $places;
    }

    public function enter($staged, $live, array $root)
    {
        if ($staged === $this->at) {
            return;
        }
        $this->at = $staged;
        refuse_way_out($staged, $this->places);
        make_folder($staged, 0755);
        $real = realpath($root['live']);
        $this->is_real = $real !== false && realpath($live) === (Installation::below($live, $root['live'])
            ? $real . substr($live, strlen($root['live'])) : dirname($real));
    }

    /** Modes and times from the innermost out; and on the disk, before anything of it goes live. */
    public function finish()
    {
        foreach (array_reverse($this->folders) as list($path, $mode, $mtime)) {
            chmod($path, $mode);
            touch($path, $mtime);
        }
        if ($this->written) {
            foreach ($this->places as $place) {
                sync_disk($place);
            }
        }
    }
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

function stage_file(PackReader $reader, Entry $entry, $target)
{
    $out = @fopen($target, 'xb');
    if (!$out) {
        throw new Failure('no_space', "cannot write $target: " . last_error('unknown reason'), 'free some space in the account');
    }
    try {
        $reader->copy($entry, $out);
        if (!@fflush($out)) {
            throw new Failure('no_space', "cannot write $target: the disk or the quota is full", 'free some space in the account');
        }
    } finally {
        fclose($out);
    }
    chmod($target, $entry->mode);
    if ($entry->gid !== posix_gid()) {
        @chgrp($target, $entry->gid);
    }
    touch($target, $entry->mtime);
}

/** Each file by itself would cost an fsync; the disk is synced once, before the switch (`-f`: syncfs(2), GNU alone). */
function sync_disk($folder)
{
    list($status) = run(['sync', '-f', $folder], '', 600);
    if ($status !== 0) {
        run(['sync'], '', 600);
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

/** What was written is read back, every file's hash and every table's rows; linked files were read when they were linked. */
function verify_staged(Operation $operation, Generation $generation, $only, $tables)
{
    $total = $generation->summary['counts']['bytes'];
    $done = 0;
    $linked = Linked::of($operation);
    foreach ($only === 'database' ? [] : $generation->manifest() as $entry) {
        if ($entry->type !== 'f' || (is_array($only) && !wanted_under($entry->path, $only))) {
            continue;
        }
        $staged = staged_at($operation, $entry->path);
        if (!$linked->has($entry->path) && (!is_file($staged) || filesize($staged) !== $entry->size || file_sha256($staged) !== $entry->sha256)) {
            throw new Failure('damaged', 'what was staged does not read back: ' . escape_path($entry->path), 'look at the disk, then try again');
        }
        $done += $entry->size;
        $operation->progress(min($done, $total), $total, 'bytes');
    }
    if ($tables) {
        verify_tables(Database::open(installation_for_restore($operation->request, $generation)), $generation, $tables['list']);
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
    if ($tag && $operation->kind !== 'rehouse' && $operation->recall('phase') !== 'switched' && !drop_tables($operation, "/^_m{$tag}_/")) {
        $operation->note('left_over', "tables that begin with _m{$tag}_ could not be dropped; the next operation drops them", 'warning', "_m{$tag}_");
    }
    is_visit($operation) && forget_visit($operation);
}

/** Whether another site's generation was brought here to be rehearsed. */
function is_visit(Operation $operation)
{
    return $operation->kind === 'drill' && $operation->request->get('transfer') !== null;
}

/** Its content goes however the drill ended; one that was begun since brought the same once more, and needs it. */
function forget_visit(Operation $operation)
{
    $transfer = $operation->request->get('transfer');
    foreach (Operation::unfinished($operation->request) as $other) {
        if ($other->id !== $operation->id && $other->request->get('transfer') === $transfer) {
            return;
        }
    }
    forget_incoming($operation->request, $transfer);
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
