<?php
// The move of a site's database to another, empty one: a generation is loaded there and verified; then, with the site
// closed for a moment, what changed since follows and wp-config.php names the new one. The old one keeps what it had.
//
// Until wp-config.php is live again the site is on the old database, whatever became of the new one: so wp-config.php goes
// back first, and the new database is emptied afterwards, of nothing but what was loaded into it.

/** What was under way when the site was closed has so long to end. */
const DRAIN_S = 5;
/** WordPress goes by `.maintenance` for ten minutes; who needs longer has to begin anew. */
const CLOSED_AT_MOST_S = 540;
/** Opcache looks at a changed file after two seconds by itself (FACTS 4). */
const REVALIDATED_US = 3000000;

/** The operation `rehouse`. */
function operation_rehouse(Operation $operation)
{
    $request = $operation->request;
    $operation->step('preflight');
    $site = Installation::find($request);
    $database = Database::open($site);
    $there = target_of($operation, $site, $database);
    $made = make_generation($operation, 'update');
    $operation->note('generation', "generation {$made['id']} was made first: {$made['detail']}", 'info', $made['id']);
    $operation->remember('seal', $made['seal']);
    $generation = Generation::open($request, $made['id']);
    $operation->step('load');
    remember_tables($operation, $there);
    $loaded = new LoadedTables($operation, $there);
    $loaded->load($generation);
    $operation->step('verify');
    $loaded->verify($generation);
    $unit = staged_config($operation, $site);
    $operation->step('switch');
    move_in($operation, $site, $database, $there, $generation, $loaded, $unit);
    $operation->step('check');
    flush_object_cache($operation);
    $answer = $operation->ask('look', leave_page_of($operation), null, $request->whole('wait_s', 900));
    if ($answer) {
        conclude_rehouse($operation, $answer);
    }
}

/** The new database, which nothing is in the way of. Throws what is. */
function target_of(Operation $operation, Installation $site, Database $database)
{
    $given = given_credentials($operation->request);
    if ($given === null) {
        throw new Failure('bad_request', 'no database to move to was named', 'name a new, empty database in [runtime.database]');
    }
    foreach ((new Target($site, $database, $given))->as_record($database->tables())['blockers'] as $blocker) {
        throw new Failure($blocker['code'], $blocker['message'], $blocker['hint']);
    }
    return Database::open($site->with_settings($given));
}

/** The new database of an operation that has not ended: only until then it is known what opens it. */
function target_again(Operation $operation)
{
    $given = given_credentials($operation->request);
    if ($given === null) {
        throw new Failure('no_database', 'what opens the new database is no longer known', 'look at it in the host\'s panel');
    }
    $site = Installation::find($operation->request);
    $there = Database::open($site->with_settings($given));
    if ($operation->is_dead) {
        $there->end_sessions_of($operation->id);
        $operation->is_dead = false;
    }
    return $there;
}

/** The site's tables in the new database, under names of their own until all of them stand. */
final class LoadedTables
{
    /** Live name => the name under which it is loaded. */
    public $names = [];
    /** Of each table its foreign keys. */
    public $keys = [];
    private $operation;
    private $there;
    private $tag;
    private $count = 0;

    public function __construct(Operation $operation, Database $there)
    {
        $this->operation = $operation;
        $this->there = $there;
        $this->tag = $operation->recall('tag');
    }

    /** Every table of the generation; one that was loaded before is replaced. */
    public function load(Generation $generation)
    {
        $names = [];
        foreach ($generation->summary['tables'] as $part) {
            if ($part['kind'] === 'table') {
                $this->drop($part['name']);
                $names[$part['name']] = "_m{$this->tag}_" . $this->count++;
            }
        }
        load_tables($this->operation, $this->there, $generation, $names, $this->keys);
        // Nothing that is read from here on may keep another session from dropping the tables.
        $this->there->query('SET autocommit=1');
        $this->names = $names + $this->names;
    }

    public function drop($name)
    {
        if (isset($this->names[$name])) {
            $this->there->query('DROP TABLE IF EXISTS ' . Database::name($this->names[$name]));
            unset($this->names[$name], $this->keys[$name]);
        }
    }

    /** Rows and content of what was loaded from the generation are those of its dump. Throws `damaged`. */
    public function verify(Generation $generation)
    {
        $handle = fopen($generation->folder . '/database.sql.gz', 'rb');
        $parts = array_filter($generation->summary['tables'], function ($part) {
            return $part['kind'] === 'table';
        });
        $total = array_sum(array_column($parts, 'size'));
        $done = 0;
        foreach ($parts as $part) {
            $this->compare($handle, $part);
            $done += $part['size'];
            $this->operation->progress($done, $total, 'bytes');
        }
        fclose($handle);
    }

    private function compare($handle, array $part)
    {
        $name = $this->names[$part['name']];
        $found = (new Dump($this->there))->measure_rows($name, $part['name'], $this->operation);
        $hash = hash_init('sha256');
        foreach (dump_part($handle, $part) as list($kind, $table, $sql)) {
            $kind === 'set' || $kind === 'insert' ? hash_update($hash, Dump::as_statement($kind, $table, $sql)) : null;
        }
        if ($found['rows'] !== $part['rows'] || ($found['sha256'] !== hash_final($hash) && $this->in_any_order($name, $part['name']) !== rows_in_any_order($handle, $part))) {
            throw new Failure('damaged', "the table {$part['name']} was not loaded whole", 'look at the database server\'s log');
        }
    }

    /** A server that sorts otherwise, or takes larger pieces, has the same rows in another order, or other statements. */
    private function in_any_order($name, $as)
    {
        $path = $this->operation->folder . '/rows.gz';
        $dump = new Dump($this->there, $path);
        $part = ['name' => $as] + $dump->measure_rows($name, $as, $this->operation);
        $dump->close();
        $handle = fopen($path, 'rb');
        try {
            return rows_in_any_order($handle, $part);
        } finally {
            fclose($handle);
            unlink($path);
        }
    }
}

/** One hash of the rows of a dump's part, whatever their order. */
function rows_in_any_order($handle, array $part)
{
    $sum = array_fill(1, 8, 0);
    foreach (DumpRows::read($handle, $part) as $row) {
        foreach (unpack('V8', hash('sha256', implode("\n", array_merge(array_keys($row->columns), $row->sets(), $row->literals)), true)) as $i => $word) {
            $sum[$i] = ($sum[$i] + $word) & 0xffffffff;
        }
    }
    return $sum;
}

/** wp-config.php that names the new database, staged beside the live one; reads back so. */
function staged_config(Operation $operation, Installation $site)
{
    $live = realpath($site->config_file);
    $place = staging_place($operation, $live);
    keeping_time(dirname($place), function () use ($place) {
        make_folder($place);
    });
    $operation->remember('places', [$place]);
    make_folder("$place/stage");
    make_folder("$place/old");
    $given = given_credentials($operation->request);
    $stage = "$place/stage/wp-config.php";
    $stat = stat($live);
    $text = with_constants((string) file_get_contents($live), $given);
    $now = Installation::from_source($text, $live, $site->abspath);
    foreach ($given as $constant => $value) {
        if ($now->setting($constant) !== $value) {
            throw new Failure('config', "wp-config.php takes $constant from elsewhere: it cannot be rewritten", 'define them in wp-config.php itself');
        }
    }
    write_durably($stage, $text, $stat['mode'] & 07777);
    @chgrp($stage, $stat['gid']);
    return ['live' => $live, 'stage' => $stage, 'old' => "$place/old/wp-config.php", 'carry' => [], 'inode' => inode($stage), 'was' => inode($live)];
}

/** The site is closed, what changed follows, wp-config.php changes; open again, it is on the new database. */
function move_in(Operation $operation, Installation $site, Database $database, Database $there, Generation $generation, LoadedTables $loaded, array $unit)
{
    $plan = ['units' => [$unit], 'tables' => null, 'closed' => [$site->abspath], 'moved' => true];
    $operation->remember('closed', $plan['closed']);
    $closed = time();
    close_for_a_moment($plan);
    let_end($database);
    $holder = $database->again();
    $names = array_keys(array_filter($database->tables(), function ($facts) {
        return !$facts['view'];
    }));
    hold_still($operation, $holder, $names);
    $sums = $names ? checksums($database, $names) : [];
    follow_changes($operation, $database, $generation, $loaded, $sums);
    if (inode($unit['live']) !== $unit['was'] || with_constants((string) file_get_contents($unit['live']), given_credentials($operation->request)) !== file_get_contents($unit['stage'])) {
        throw new Failure('no_switch', 'wp-config.php was changed meanwhile', 'try again when nobody works on the site');
    }
    if (time() - $closed > CLOSED_AT_MOST_S) {
        throw new Failure('no_switch', 'what changed since the dump took too long to follow', 'try again when the site is quiet');
    }
    $live = $database->tables();
    $plan['tables'] = ['same' => [], 'keys' => ['stage' => $loaded->keys, 'live' => []]]
        + plan_tables($there, $loaded->names, [], made_of_live($database, $live), $operation->recall('tag'));
    $operation->remember('sums', ['old' => $sums]);
    $operation->remember('plan', $plan);
    $operation->remember('phase', 'switching');
    rename_tables($there, $plan['tables'], false, function () use ($operation, $there, $plan) {
        exchange_keys($operation, $there, $plan['tables']);
    });
    $operation->remember('sums', ['old' => $sums, 'new' => $loaded->names ? checksums($there, array_keys($loaded->names)) : []]);
    config_forward($unit);
    renew_opcache($operation);
    cut_off($operation, $database);
    $holder->link->close();
    open_again($plan);
    $operation->remember('phase', 'switched');
}

/** Views and triggers as they are live, as statements that come after the tables. */
function made_of_live(Database $database, array $live)
{
    $made = [];
    foreach ($database->views($live) as $sql) {
        $made[] = preg_replace('/SQL SECURITY DEFINER/i', 'SQL SECURITY INVOKER', $sql, 1);
    }
    foreach ($database->triggers($live) as $trigger) {
        array_push($made, sql_mode_of($trigger), $trigger['sql'], SQL_MODE);
    }
    return $made;
}

/** Waits a moment for requests that began before the site was closed. */
function let_end(Database $database)
{
    for ($until = microtime(true) + DRAIN_S; microtime(true) < $until; usleep(100000)) {
        if (!others_at_work($database, '')) {
            return;
        }
    }
}

/** Other sessions of the site's user in its database: of other users nothing is seen without more grants. */
function others_at_work(Database $database, $where)
{
    return array_column($database->rows('SELECT ID i FROM information_schema.PROCESSLIST WHERE ID<>CONNECTION_ID() AND DB=' . $database->quote($database->name) . $where), 'i');
}

/** Nobody writes into the old tables until wp-config.php names the new ones. */
function hold_still(Operation $operation, Database $holder, array $names)
{
    try {
        $holder->query('SET SESSION lock_wait_timeout=1');
        $names && patiently($holder, 'LOCK TABLES ' . implode(' READ, ', array_map('Database::name', $names)) . ' READ', [], [1044, 1142]);
    } catch (mysqli_sql_exception $e) {
        $operation->note('not_locked', 'the site\'s user may not lock tables: only the closed site keeps writers away', 'warning');
    }
}

/** Whoever waits for the old tables would write into them when they are let go: his request fails instead. */
function cut_off(Operation $operation, Database $database)
{
    $waiting = others_at_work($database, " AND STATE LIKE 'Waiting for table%' AND INFO LIKE " . $database->quote('%' . addcslashes($database->prefix, '_%\\') . '%'));
    foreach ($waiting as $id) {
        try {
            $database->query('KILL ' . (int) $id);
        } catch (mysqli_sql_exception $e) {
            continue;
        }
    }
    $waiting && $operation->note('cut_off', count($waiting) . ' requests that still wrote into the old database were ended', 'warning');
}

/** Tables that are no longer as the generation has them are dumped and loaded once more, those that went are dropped. */
function follow_changes(Operation $operation, Database $database, Generation $generation, LoadedTables $loaded, array $sums)
{
    $parts = [];
    foreach ($generation->summary['tables'] as $part) {
        $part['kind'] === 'table' && $parts[$part['name']] = $part;
    }
    foreach (array_keys(array_diff_key($parts, $sums)) as $name) {
        $loaded->drop((string) $name);
    }
    $handle = fopen($generation->folder . '/database.sql.gz', 'rb');
    $changed = [];
    foreach (array_keys($sums) as $name) {
        $name = (string) $name;
        if (!isset($parts[$name]) || !is_as_dumped($operation, $database, $handle, $parts[$name], $sums[$name])) {
            $changed[] = $name;
        }
    }
    fclose($handle);
    if (!$changed) {
        return;
    }
    $operation->note('followed', 'changed since the generation, and taken along: ' . implode(', ', array_slice($changed, 0, 5)) . (count($changed) > 5 ? ' …' : ''), 'info');
    $again = clone $generation;
    $again->folder = $operation->folder . '/database';
    make_folder($again->folder);
    $dump = new Dump($database, $again->folder . '/database.sql.gz');
    $again->summary['tables'] = [];
    foreach ($changed as $name) {
        $again->summary['tables'][] = ['name' => $name, 'kind' => 'table'] + $dump->measure($name, $operation, 0, 0);
    }
    $dump->close();
    $loaded->load($again);
    $loaded->verify($again);
    remove_tree($again->folder);
}

/** By CHECKSUM TABLE on the same server, and what the table was made by; a table outside the snapshot by its dump's hash. */
function is_as_dumped(Operation $operation, Database $database, $handle, array $part, $sum)
{
    if (strcasecmp((string) $part['engine'], 'InnoDB') !== 0) {
        $now = (new Dump($database))->measure($part['name'], $operation, 0, 0);
        return $now['sha256'] === $part['sha256'] && $now['size'] === $part['size'];
    }
    if (($part['checksum'] ?? null) !== $sum) {
        return false;
    }
    foreach (dump_part($handle, $part) as list($kind, , $sql)) {
        if ($kind === 'create') {
            return $sql === $database->query('SHOW CREATE TABLE ' . Database::name($part['name']))->fetch_row()[1];
        }
    }
    return false;
}

/** One rename: there is a wp-config.php at every moment. */
function config_forward(array $unit)
{
    keeping_time(dirname($unit['live']), function () use ($unit) {
        if (!@link($unit['live'], $unit['old'])) {
            $stat = stat($unit['live']);
            write_durably($unit['old'], (string) file_get_contents($unit['live']), $stat['mode'] & 07777);
            @chgrp($unit['old'], $stat['gid']);
            touch($unit['old'], $stat['mtime']);
        }
        move($unit['stage'], $unit['live']);
        sync_folder(dirname($unit['live']));
    });
}

/** From any point of `config_forward`, and of this. */
function config_back(array $unit)
{
    if (inode($unit['live']) !== $unit['was'] && exists($unit['old'])) {
        keeping_time(dirname($unit['live']), function () use ($unit) {
            move($unit['old'], $unit['live']);
            sync_folder(dirname($unit['live']));
        });
    }
}

/** The web must not go by the other wp-config.php any more when the site opens. */
function renew_opcache(Operation $operation)
{
    $answer = $operation->is_dead ? null : $operation->ask('reset', leave_page_of($operation), null, 20);
    if (!$answer || $answer[1] !== 'opcache was reset') {
        usleep(REVALIDATED_US);
    }
}

function conclude_rehouse(Operation $operation, array $answer)
{
    list($keep, $detail) = $answer;
    $plan = $operation->recall('plan');
    $more = ['generation' => $operation->recall('generation'), 'summary' => $operation->recall('seal')];
    if (!$keep) {
        tell_written($operation, function () use ($operation) {
            return target_again($operation);
        }, $operation->recall('sums')['new'], 'written while the new database was looked at, and lost: ');
        back_home($operation, false);
        flush_object_cache($operation);
        empty_target($operation);
        drop_staging($operation);
        $word = $operation->cancel_asked() ? 'cancelled' : 'rolled_back';
        $operation->finish($word, $word === 'cancelled' ? 'cancelled; the site is as it was' : "the check failed and the site is as it was: $detail",
            $more + ['code' => $word === 'cancelled' ? 'cancelled' : 'check_failed']);
        return;
    }
    tell_written($operation, function () use ($operation, $plan) {
        return database_by($operation, $plan['units'][0], 'old');
    }, $operation->recall('sums')['old'], 'written into the old database after the move, and not in the new one: ');
    // An undo changes wp-config.php alone.
    $operation->remember('plan', ['tables' => null] + $plan);
    $operation->remember('phase', 'done');
    drop_staging($operation);
    forget_evidence($operation->request);
    $operation->finish('done', $detail, $more);
}

/** Which of the tables are no longer what `$sums` says; a database that does not answer tells nothing. */
function tell_written(Operation $operation, callable $open, array $sums, $text)
{
    try {
        $names = $sums ? array_keys(array_diff_assoc($sums, checksums($open(), array_keys($sums)))) : [];
    } catch (Failure $e) {
        return;
    } catch (mysqli_sql_exception $e) {
        return;
    }
    $names && $operation->note('left_behind', $text . implode(', ', array_slice($names, 0, 10)) . (count($names) > 10 ? ' …' : ''), 'warning');
}

/** The database that a wp-config.php leads to which is not live. */
function database_by(Operation $operation, array $unit, $side)
{
    return Database::open(Installation::from_source((string) file_get_contents($unit[$side]), $unit['live'],
        Installation::find_bare($operation->request)->abspath));
}

/** The site is on the old database again, from any point of `move_in`. Throws NeedsHand, NotYet. */
function back_home(Operation $operation, $is_dead)
{
    $plan = $operation->recall('plan');
    try {
        $operation->recall('phase') === 'switching' || $operation->remember('phase', 'switching');
        close_for_a_moment($plan);
        config_back($plan['units'][0]);
        if ($is_dead) {
            usleep(REVALIDATED_US);
        } else {
            renew_opcache($operation);
        }
        open_again($plan);
        $operation->remember('phase', 'taken back');
    } catch (Failure $e) {
        if ($e->word === 'no_space') {
            throw new NotYet('no_space', 'the site may be between two states until there is room: ' . $e->getMessage(),
                'free some space in the account; the next contact takes the rest back by itself');
        }
        throw new NeedsHand('the site could not be brought back: ' . $e->getMessage(),
            "its old wp-config.php is {$plan['units'][0]['old']}: put it in its place, then run modoseru check");
    }
}

/** Of what was loaded, under its staging names and, where they were renamed already, under its own; of nothing else. */
function empty_target(Operation $operation)
{
    $tag = $operation->recall('tag');
    if ($tag === null) {
        return;
    }
    try {
        $there = target_again($operation);
        $tables = $operation->recall('plan')['tables'] ?? null;
        $names = preg_grep("/^_m{$tag}_/", array_column($there->rows('SELECT TABLE_NAME n FROM information_schema.TABLES WHERE TABLE_SCHEMA='
            . $there->quote($there->name)), 'n'));
        if ($tables && tables_are_switched($there, $tables)) {
            foreach ($tables['drop']['back'] as $sql) {
                patiently($there, $sql, []);
            }
            $names = array_merge($names, array_column($tables['list'], 'live'));
        }
        $names && $there->query('DROP TABLE IF EXISTS ' . implode(', ', array_map('Database::name', $names)));
        return;
    } catch (Failure $e) {
        $why = $e;
    } catch (mysqli_sql_exception $e) {
        $why = $e;
    }
    $operation->note('left_over', 'the new database could not be emptied: ' . $why->getMessage(), 'warning');
}

/** What `abandon` takes back of it, from its journal alone. */
function abandon_rehouse(Operation $operation)
{
    if (in_array($operation->recall('phase'), ['switching', 'switched'], true)) {
        back_home($operation, true);
    } elseif ($operation->recall('closed')) {
        open_again(['units' => [], 'closed' => $operation->recall('closed')]);
    }
    empty_target($operation);
}

/** An undo of a move: the database that it leads back to must still be there; what it lacks is told. */
function before_moving_back(Operation $operation, Operation $other, array $plan)
{
    $there = database_by($operation, $plan['units'][0], 'stage');
    if (!isset($there->tables()[$there->prefix . 'options'])) {
        throw new Failure('no_database', "the database {$there->name} no longer holds the site", 'restore a generation instead');
    }
    tell_written($operation, function () use ($operation) {
        return Database::open(Installation::find($operation->request));
    }, $other->recall('sums')['new'] ?? [], 'written since the move, and left in the database that the site leaves: ');
}
