<?php
// What an item's update does to the database, from before its upgrader until it was judged: the options and the tables'
// definitions as they were, what became of them, and the way back, row by row, of an item that does not stay.

/** Bytes of option values that are kept of one moment; of those beyond it only the hash is. */
const OPTIONS_MOST = 67108864;
/** A larger value is kept by its hash alone. */
const OPTION_MOST = 4194304;
const ITEM_TABLES_MOST = 2000;
/** Seconds after which a dead item's changes may as well be the site's own: they are named, and stay. */
const ITEM_WINDOW_S = 3600;
/** A note names so many at most. */
const NAMED_MOST = 20;
/** WordPress's own bookkeeping, which is right as it is: what it remembers for a while, appointments, locks, keys that it mailed. */
const OPTIONS_LEFT = '/^(?:_transient_|_site_transient_|cron$|(?:auto|core)_updater\.lock$|auto_core_update_|auto_plugin_theme_update_emails$'
    . '|recovery_(?:keys|mode_)|.*_paused_extensions$)/Ds';

/** Keeps the moment before item `$i`; throws Failure where that cannot be read or written. */
function keep_database_before(Operation $operation, $i)
{
    make_folder("{$operation->folder}/database");
    with_database($operation, DATABASE_WAIT_S, function (Database $database) use ($operation, $i) {
        lines_durably("{$operation->folder}/database/before-$i", function () use ($database) {
            yield ['tables' => definitions($database)];
            foreach (options_of($database, true) as $option) {
                yield $option;
            }
        });
    });
}

/** The window of item `$i` ends: its changes are kept, and what was before it is needed no more. Throws as `with_database`. */
function close_item_window(Operation $operation, $i, $wait_s)
{
    $before = "{$operation->folder}/database/before-$i";
    if (is_file("{$operation->folder}/database/changes-$i") || !is_file($before)) {
        return;
    }
    with_database($operation, $wait_s, function (Database $database) use ($operation, $before, $i) {
        lines_durably("{$operation->folder}/database/changes-$i", function () use ($database, $before) {
            $was = kept_lines($before);
            $tables = $was->current()['tables'];
            $now = definitions($database);
            $was->next();
            yield ['made' => counted($database, array_diff_key($now, $tables)), 'gone' => (bool) array_diff_key($tables, $now),
                'late' => time() - filemtime($before) > ITEM_WINDOW_S,
                'altered' => array_keys(array_filter($tables, function ($sql, $name) use ($now) {
                    return ($now[$name] ?? null) !== $sql;
                }, ARRAY_FILTER_USE_BOTH))];
            foreach (differing_options($was, options_of($database, false)) as $change) {
                yield $change;
            }
        });
    });
    @unlink($before);
}

/**
 * What item `$i` did to the database goes back, as far as nobody wrote there since. Done twice it does no more. Throws
 * NotYet where the database is away: the next contact takes the rest back.
 */
function item_database_back(Operation $operation, array $item, $i, $tells = true)
{
    $wait_s = $operation->is_dead ? 0 : DATABASE_WAIT_S;
    $changes = "{$operation->folder}/database/changes-$i";
    try {
        close_item_window($operation, $i, $wait_s);
        if (!is_file($changes)) {
            return;
        }
        $told = with_database($operation, $wait_s, function (Database $database) use ($changes) {
            return changes_back($database, $changes);
        });
    } catch (Failure $e) {
        throw new NotYet($e->word, "the options of {$item['kind']} {$item['slug']} are not back yet: " . $e->getMessage(), $e->hint);
    }
    if ($told['back']) {
        flush_object_cache($operation);
    }
    $tells && tell_of_changes($operation, $item, array_filter($told));
}

function tell_of_changes(Operation $operation, array $item, array $told)
{
    $name = "{$item['kind']} {$item['slug']}";
    $offer = "modoseru restore {$operation->request->site} {$operation->recall('generation')} --only database";
    $sentences = [
        'back' => ['options_back', 'info', "options that changed with $name are as before: "],
        'dropped' => ['tables_dropped', 'info', "tables that $name made are gone: "],
        'left' => ['options_left', 'warning', "options that changed with $name stay as they are now ($offer): "],
        'made' => ['tables_left', 'warning', "tables that were made with $name stay: "],
        'altered' => ['tables_altered', 'warning', "tables that were altered with $name stay so ($offer): "],
    ];
    foreach ($told as $key => $names) {
        list($word, $level, $sentence) = $sentences[$key];
        $more = count($names) - NAMED_MOST;
        $named = implode(', ', array_slice($names, 0, NAMED_MOST)) . ($more > 0 ? " and $more more" : '');
        $operation->note($word, $sentence . $named, $level, $item['slug']);
    }
}

/** Names of what came `back`, of tables `dropped`, and of what is `left`, `made` or `altered` and stays. */
function changes_back(Database $database, $path)
{
    $told = array_fill_keys(['back', 'dropped', 'left', 'made', 'altered'], []);
    $lines = kept_lines($path);
    $tables = $lines->current();
    $told['altered'] = $tables['altered'];
    for ($lines->next(); $lines->valid(); $lines->next()) {
        $change = $lines->current();
        $told[!$tables['late'] && option_back($database, $change) ? 'back' : 'left'][] = ($change['was'] ?? $change['is'])['name'];
    }
    $now = $tables['made'] ? counted($database, array_intersect_key(definitions($database), $tables['made'])) : [];
    foreach (array_intersect_key($tables['made'], $now) as $name => $sql) {
        // One that is gone may live on in one that was made, and rows that came since are somebody's.
        $ours = !$tables['late'] && !$tables['gone'] && $now[$name] === $sql && strncmp($sql, 'CREATE TABLE', 12) === 0;
        $told[$ours && dropped($database, $name) ? 'dropped' : 'made'][] = $name;
    }
    return $told;
}

/** One option returns where it still is what the item left; whether it is as before then. */
function option_back(Database $database, array $change)
{
    $table = Database::name($database->prefix . 'options');
    list($was, $is) = [$change['was'], $change['is']];
    if ($was && $was['value'] === null) {
        return false;
    }
    $name = $database->quote(($was ?? $is)['name']);
    $still = $is ? "option_name=$name AND MD5(option_value)='{$is['hash']}' AND autoload=" . $database->quote($is['autoload']) : '';
    if (!$was) {
        $database->query("DELETE FROM $table WHERE $still");
    } elseif ($is) {
        $database->query("UPDATE $table SET option_value=" . $database->quote($was['value']) . ', autoload=' . $database->quote($was['autoload']) . " WHERE $still");
    } else {
        $database->query("INSERT IGNORE INTO $table (option_name, option_value, autoload) VALUES ($name, "
            . $database->quote($was['value']) . ', ' . $database->quote($was['autoload']) . ')');
    }
    $now = $database->rows("SELECT MD5(option_value) h, autoload a FROM $table WHERE option_name=$name");
    return $was ? $now && [$now[0]['h'], $now[0]['a']] === [$was['hash'], $was['autoload']] : !$now;
}

/** Whether the table could be dropped: a user without that right leaves it. */
function dropped(Database $database, $name)
{
    try {
        $database->query('DROP TABLE IF EXISTS ' . Database::name($name));
        return true;
    } catch (mysqli_sql_exception $e) {
        if (in_array($e->getCode(), DATABASE_AWAY, true)) {
            throw $e;
        }
        return false;
    }
}

/** Each definition with the number of rows behind it. */
function counted(Database $database, array $definitions)
{
    foreach ($definitions as $name => $sql) {
        try {
            $definitions[$name] = "$sql " . $database->one('SELECT COUNT(*) FROM ' . Database::name($name));
        } catch (mysqli_sql_exception $e) {
            if (in_array($e->getCode(), DATABASE_AWAY, true)) {
                throw $e;
            }
        }
    }
    return $definitions;
}

/**
 * The statements that create the site's tables and views, without the numbers that go on by themselves; the names alone where
 * there are very many.
 */
function definitions(Database $database)
{
    $found = [];
    $tables = $database->tables();
    if (count($tables) > ITEM_TABLES_MOST) {
        return array_fill_keys(array_keys($tables), '');
    }
    foreach ($tables as $name => $facts) {
        try {
            $sql = (string) $database->link->query(($facts['view'] ? 'SHOW CREATE VIEW ' : 'SHOW CREATE TABLE ') . Database::name($name))->fetch_row()[1];
        } catch (mysqli_sql_exception $e) {
            if (in_array($e->getCode(), DATABASE_AWAY, true)) {
                throw $e;
            }
            $sql = '';  // Damaged, or gone since it was listed.
        }
        $found[$name] = preg_replace('/ AUTO_INCREMENT=\d+/', '', $sql);
    }
    return $found;
}

/** The options that count, in the order of their names' bytes; values only where `$valued`, and within bounds. */
function options_of(Database $database, $valued)
{
    $value = $valued ? 'IF(LENGTH(option_value)>' . OPTION_MOST . ', NULL, option_value)' : 'NULL';
    $result = $database->link->query("SELECT option_name n, autoload a, MD5(option_value) h, $value v FROM " . Database::name($database->prefix . 'options')
        . ' ORDER BY BINARY option_name', MYSQLI_USE_RESULT);
    try {
        for ($kept = 0; $row = $result->fetch_assoc();) {
            $kept += strlen((string) $row['v']);
            if (!preg_match(OPTIONS_LEFT, $row['n'])) {
                yield ['name' => $row['n'], 'autoload' => $row['a'], 'hash' => $row['h'], 'value' => $kept > OPTIONS_MOST ? null : $row['v']];
            }
        }
    } finally {
        $result->free();
    }
}

/** Two lists in the same order: [was, is] of each option that is not in both alike, null where it is not. */
function differing_options(Iterator $was, Iterator $now)
{
    while ($was->valid() || $now->valid()) {
        $order = !$was->valid() ? 1 : (!$now->valid() ? -1 : strcmp($was->current()['name'], $now->current()['name']));
        $change = ['was' => $order <= 0 ? $was->current() : null, 'is' => $order >= 0 ? $now->current() : null];
        if ($order !== 0 || array_diff_key($change['was'], ['value' => 0]) !== array_diff_key($change['is'], ['value' => 0])) {
            yield $change;
        }
        $order <= 0 && $was->next();
        $order >= 0 && $now->next();
    }
}

/** Calls `$work` with the site's database until that stays with us to the end; throws Failure where it does not come back. */
function with_database(Operation $operation, $wait_s, callable $work)
{
    for ($until = microtime(true) + $wait_s; ; usleep(500000)) {
        try {
            return $work(database_of($operation));
        } catch (Failure $e) {
            $why = $e;
        } catch (mysqli_sql_exception $e) {
            $why = new Failure('no_database', 'the database refused: ' . $e->getMessage(), 'look at the database');
        }
        if ($why->word !== 'no_database' || microtime(true) > $until) {
            throw $why;
        }
    }
}

/** Writes an object a line, whole or not at all. Values are bytes of any kind. */
function lines_durably($path, callable $lines)
{
    $handle = @fopen("$path.part", 'wb');
    if (!$handle) {
        throw new Failure('no_state', "cannot write $path: " . last_error('unknown reason'), 'look at the permissions and the quota');
    }
    chmod("$path.part", 0600);
    try {
        foreach ($lines() as $line) {
            write_all($handle, base64_encode(serialize($line)) . "\n", $path);
        }
        sync_handle($handle, "$path.part");
    } finally {
        fclose($handle);
    }
    if (!@rename("$path.part", $path)) {
        throw new Failure('no_state', "cannot write $path: " . last_error('unknown reason'));
    }
    sync_folder(dirname($path));
}

function kept_lines($path)
{
    $handle = @fopen($path, 'rb');
    if (!$handle) {
        throw new Failure('no_state', "cannot read $path: " . last_error('unknown reason'), 'look at the permissions');
    }
    try {
        while (($line = fgets($handle)) !== false) {
            yield unserialize(base64_decode($line), ['allowed_classes' => false]);
        }
    } finally {
        fclose($handle);
    }
}
