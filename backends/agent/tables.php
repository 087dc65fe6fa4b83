<?php
// Tables of a generation under names of their own beside the live ones; which of them need not be loaded, because the
// live table's dump would be the same to the byte; and the plan by which they change places.

/** Loads every table under a staging name (of `$names`, or one by its number); returns the plan's tables. */
function stage_tables(Operation $operation, Generation $generation, array $names = [])
{
    $database = Database::open(installation_for_restore($operation->request, $generation));
    $tag = remember_tables($operation, $database);
    $live = $database->tables();
    $compares = !$operation->rehearses() && !$operation->request->get('fresh') && !$generation->move;
    $same = $compares ? (new Sameness($operation, $database, $generation))->among($live) : [];
    foreach ($generation->summary['tables'] as $i => $part) {
        if ($part['kind'] === 'table' && !isset($same[$part['name']])) {
            $names += [$part['name'] => "_m{$tag}_$i"];
        }
    }
    $keys = [];
    $after = load_tables($operation, $database, $generation, $names, $keys);
    if ($generation->move) {
        if ($after && !$generation->move->keeps_after()) {
            $operation->note('not_moved', 'views and triggers of the other site were left behind: its tables have another prefix', 'warning');
            $after = [];
        }
        $land = function (array $of) use ($generation) {
            return array_combine(array_map([$generation, 'lands_as'], array_map('strval', array_keys($of))), $of);
        };
        $names = $land($names);
        $keys = $land($keys);
    }
    return ['same' => $same, 'keys' => ['stage' => $keys, 'live' => []]] + plan_tables($database, $names, array_diff_key($live, $same), $after, $tag);
}

/** The tag under which the operation's tables are known, and whose they are. */
function remember_tables(Operation $operation, Database $database)
{
    $tag = substr($operation->id, -6);
    $operation->remember('tag', $tag);
    $operation->remember('database', [$database->name, $database->prefix]);
    return $tag;
}

/**
 * Loads the tables that `$names` gives a staging name; returns the statements that come after the switch. `$keys`: of each
 * table the foreign keys, which it gets when it is live.
 */
function load_tables(Operation $operation, Database $database, Generation $generation, array $names, array &$keys = [])
{
    $dialect = new Dialect($database);
    $handle = fopen($generation->folder . '/database.sql.gz', 'rb');
    $parts = array_filter($generation->summary['tables'], function ($part) use ($names) {
        return $part['kind'] !== 'table' || isset($names[$part['name']]);
    });
    $total = array_sum(array_column($parts, 'size'));
    $done = 0;
    $after = [];
    foreach ($parts as $part) {
        $database->query('SET autocommit=0');
        foreach (dump_part($handle, $part) as list($kind, $table, $sql)) {
            if ($kind === 'create') {
                $mine = [];
                $database->query($dialect->translated(without_keys(under_staging_name($sql, $kind, $table, $names), $mine, [$generation, 'lands_as'])));
                $keys += $mine ? [$table => $mine] : [];
            } elseif ($kind === 'insert') {
                $database->query(under_staging_name($sql, $kind, $table, $names));
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
    return $after;
}

/**
 * Tables that stay as they are. Each is compared byte for byte in one snapshot, whose state CHECKSUM TABLE names; at the
 * switch a session of its own holds them all by LOCK TABLES … READ and looks whether they are still of that state.
 */
final class Sameness
{
    /** Refusals after which a table is loaded like any other: no grant, no lock in time, a table that went meanwhile. */
    const NOT_SURE = [1044, 1142, 1205, 1146, 1370, 1412];
    private $operation;
    private $database;
    private $generation;
    private $holder;
    private $reader;

    public function __construct(Operation $operation, Database $database, Generation $generation)
    {
        $this->operation = $operation;
        $this->database = $database;
        $this->generation = $generation;
        $this->holder = $database->again();
        $this->holder->query('SET SESSION lock_wait_timeout=1');
        $this->reader = $database->again();
    }

    /** Those of the tables `$live` (all, or the ones in `$names`) that need not be loaded, each with its checksum. */
    public function among(array $live, $names = null)
    {
        $same = [];
        $bound = $this->bound();
        $total = $this->generation->summary['dump']['plain'];
        $done = 0;
        foreach ($this->generation->summary['tables'] as $part) {
            $done += $part['size'];
            $name = $part['name'];
            if ($part['kind'] !== 'table' || !isset($live[$name]) || isset($bound[$name]) || strcasecmp((string) $live[$name]['engine'], 'InnoDB') !== 0
                || ($names !== null && !in_array($name, $names, true))) {
                continue;
            }
            try {
                $sum = $this->compared($part, $done - $part['size'], $total);
            } catch (mysqli_sql_exception $e) {
                if (!in_array($e->getCode(), self::NOT_SURE, true)) {
                    throw $e;
                }
                $sum = null;
            }
            if ($sum !== null) {
                $same[$name] = $sum;
            }
        }
        return $same;
    }

    /** The checksum of the state whose dump is the part, or null. The table is held only while it is summed. */
    private function compared(array $part, $done, $total)
    {
        $this->holder->query('LOCK TABLES ' . Database::name($part['name']) . ' READ');
        try {
            $this->reader->query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
            $this->reader->query('START TRANSACTION WITH CONSISTENT SNAPSHOT');
            $sum = checksums($this->holder, [$part['name']])[$part['name']];
        } finally {
            $this->holder->query('UNLOCK TABLES');
        }
        $same = false;
        if (!isset($part['checksum']) || $part['checksum'] === $sum) {
            $now = (new Dump($this->reader))->measure($part['name'], $this->operation, $done, $total);
            $same = $now['sha256'] === $part['sha256'] && $now['size'] === $part['size'];
        }
        $this->reader->query('COMMIT');
        return $same ? $sum : null;
    }

    /** Tables that hang together with others by foreign keys or triggers switch with them. */
    private function bound()
    {
        $bound = array_flip(array_column($this->database->triggers($this->database->tables()), 'table'));
        foreach ($this->generation->summary['tables'] as $part) {
            if ($part['kind'] === 'triggers' && $part['rows']) {
                $bound += array_flip($part['of'] ?? array_column($this->generation->summary['tables'], 'name'));
            }
        }
        foreach ($this->database->references() as $row) {
            $bound += [$row['from'] => true, $row['to'] => true];
        }
        return $bound;
    }
}

/** What CHECKSUM TABLE says of each, as text. */
function checksums(Database $database, array $names)
{
    $sums = [];
    foreach ($database->rows('CHECKSUM TABLE ' . implode(', ', array_map('Database::name', $names))) as $row) {
        $sums[substr($row['Table'], strpos($row['Table'], '.') + 1)] = (string) $row['Checksum'];
    }
    return $sums;
}

/**
 * Holds the tables that stay as they are, until the session that is returned unlocks them or ends. Those that changed
 * since they were compared are loaded now and join `$tables['list']`.
 */
function hold_same(Operation $operation, Database $database, array &$tables)
{
    $holder = $database->again();
    $holder->query('SET SESSION lock_wait_timeout=1');
    while ($tables['same'] ?? []) {
        $names = array_keys($tables['same']);
        patiently($holder, 'LOCK TABLES ' . implode(' READ, ', array_map('Database::name', $names)) . ' READ', [1146]);
        $changed = array_keys(array_diff_assoc($tables['same'], checksums($holder, $names)));
        if (!$changed) {
            return $holder;
        }
        $holder->query('UNLOCK TABLES');
        $operation->note('touched', 'changed while they were staged, and loaded from the generation after all: ' . implode(', ', array_slice($changed, 0, 5)), 'info');
        load_same($operation, $database, $tables, $changed);
    }
    return $holder;
}

/** Tables that were to stay as they are come from the generation after all. */
function load_same(Operation $operation, Database $database, array &$tables, array $changed)
{
    $generation = Generation::open($operation->request, $operation->recall('generation'));
    $live = $database->tables();
    $tag = $operation->recall('tag');
    $list = [];
    foreach ($changed as $name) {
        $number = count($tables['list']) + count($list);
        $list[] = ['live' => (string) $name, 'stage' => "_m{$tag}_s$number", 'old' => isset($live[$name]) ? "_o{$tag}_s$number" : null];
        unset($tables['same'][$name]);
    }
    load_tables($operation, $database, $generation, array_column($list, 'stage', 'live'));
    verify_tables($database, $generation, $list);
    $tables['list'] = array_merge($tables['list'], $list);
}

/** Every table that was loaded has the rows that the generation says. */
function verify_tables(Database $database, Generation $generation, array $list)
{
    $rows = [];
    foreach ($generation->summary['tables'] as $part) {
        $rows[$generation->lands_as($part['name'])] = $part['kind'] === 'table' ? $part['rows'] : $rows[$generation->lands_as($part['name'])] ?? 0;
    }
    foreach ($list as $table) {
        if ($table['stage'] !== null && (int) $database->one('SELECT COUNT(*) FROM ' . Database::name($table['stage'])) !== $rows[$table['live']]) {
            throw new Failure('damaged', "the table {$table['live']} was not loaded whole", 'look at the database server\'s log');
        }
    }
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

function under_staging_name($sql, $kind, $table, array $names)
{
    $head = ($kind === 'create' ? 'CREATE TABLE ' : 'INSERT INTO ') . Database::name($table);
    if (!isset($names[$table]) || strncmp($sql, $head, strlen($head)) !== 0) {
        throw new Failure('damaged', "the dump has a statement that is not of the table $table", 'take another generation');
    }
    return ($kind === 'create' ? 'CREATE TABLE ' : 'INSERT INTO ') . Database::name($names[$table]) . substr($sql, strlen($head));
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

/**
 * In one statement, so that a reference between them is no obstacle. False where the database refused or is away: then a
 * file says so in the operation's folder, and `drop_left_tables` comes back to it.
 */
function drop_tables(Operation $operation, $pattern)
{
    $mark = $operation->folder . '/left-tables';
    if ($operation->kind === 'rehouse' && $operation->outcome !== null) {
        return true;  // what opens that database went with the operation's end, which told what is left there
    }
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
        is_file($mark) && unlink($mark);
        return true;
    } catch (Failure $e) {
        // Told by the mark.
    } catch (mysqli_sql_exception $e) {
        // So is this.
    }
    @touch($mark);
    return false;
}

/** What operations that ended could not drop. Called under the lock, of the site's own operations alone: others may share the schema. */
function drop_left_tables(Request $request)
{
    foreach (glob($request->folder . '/ops/*/left-tables') ?: [] as $mark) {
        $operation = Operation::load(dirname($mark));
        $tag = $operation->recall('tag');
        if ($tag && $operation->outcome !== null) {
            // What it put aside is evidence, until that was let go.
            drop_tables($operation, $operation->recall('forgotten') ? "/^_[mo]{$tag}_/" : "/^_m{$tag}_/");
        }
    }
}
