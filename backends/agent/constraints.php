<?php
// Foreign keys through a switch. A key's name is one in the whole schema, and at the switch the tables that go and those
// that come have the same ones: so neither what is staged nor what is put aside has keys, and what is live has its own,
// under their own names. Adding one reads no row, since our sessions check no foreign keys.
//
// InnoDB renames keys that it named itself (`TABLE_ibfk_1`) with their table: those go along. Dropping one and adding it
// again would also give the index that MariaDB generated for it another name.

const QUOTED = '`(?:[^`]|``)*`';
const FOREIGN_KEY = '/,\n\s+CONSTRAINT (' . QUOTED . ') (FOREIGN KEY \(' . QUOTED . '(?:, ' . QUOTED . ')*\) REFERENCES )(' . QUOTED . ')((?:\.' . QUOTED . ')? \('
    . QUOTED . '(?:, ' . QUOTED . ')*\)(?: ON (?:DELETE|UPDATE) (?:RESTRICT|CASCADE|SET NULL|NO ACTION|SET DEFAULT))*)/';
/** The name is another table's key's (1005 with errno 121, 1022, 1823, 1826). */
const NAME_IS_TAKEN = [1005, 1022, 1823, 1826];

/** A CREATE TABLE without its keys; `$keys`: each name => definition, in which `$lands_as` names the table that is referred to. */
function without_keys($sql, array &$keys, callable $lands_as)
{
    return preg_replace_callback(FOREIGN_KEY, function ($found) use (&$keys, $lands_as) {
        // With a schema before it the name is that schema's, and no table of ours.
        $other = $found[4][0] === '.' ? $found[3] : Database::name($lands_as(unquoted($found[3])));
        $keys[unquoted($found[1])] = $found[2] . $other . $found[4];
        return '';
    }, $sql);
}

function unquoted($name)
{
    return str_replace('``', '`', substr($name, 1, -1));
}

/** Name => definition, as they are. */
function keys_of(Database $database, $table)
{
    $keys = [];
    without_keys($database->query('SHOW CREATE TABLE ' . Database::name($table))->fetch_row()[1], $keys, function ($name) {
        return $name;
    });
    return $keys;
}

/** The keys of the tables that a switch will put aside, by table. */
function keys_that_go(Database $database, array $list)
{
    $old = array_filter(array_column($list, 'old', 'live'));
    $keys = [];
    foreach ($old ? $database->rows('SELECT DISTINCT TABLE_NAME t FROM information_schema.TABLE_CONSTRAINTS WHERE CONSTRAINT_SCHEMA='
        . $database->quote($database->name) . " AND CONSTRAINT_TYPE='FOREIGN KEY'") : [] as $row) {
        if (isset($old[$row['t']])) {
            $keys[$row['t']] = keys_of($database, $row['t']);
        }
    }
    return $keys;
}

/** Right after the tables changed places: what went gives its keys up, what came gets its own. */
function exchange_keys(Operation $operation, Database $database, array $tables)
{
    foreach ($tables['list'] as $table) {
        $table['old'] === null || drop_keys($database, $table['old'], $tables['keys']['live'][$table['live']] ?? []);
    }
    foreach ($tables['list'] as $table) {
        if ($table['stage'] === null) {
            continue;
        }
        foreach (add_keys($database, $table['live'], $tables['keys']['stage'][$table['live']] ?? []) as $name) {
            $operation->note('constraint', "the foreign key $name of {$table['live']} has another name now: its own is taken", 'warning', $table['live']);
        }
    }
}

/** Right before they change places back. */
function keys_given_up(Database $database, array $tables)
{
    foreach ($tables['list'] as $table) {
        $table['stage'] === null || drop_keys($database, $table['live'], $tables['keys']['stage'][$table['live']] ?? []);
    }
}

/** When they have. */
function keys_given_back(Database $database, array $tables)
{
    foreach ($tables['list'] as $table) {
        $table['old'] === null || add_keys($database, $table['live'], $tables['keys']['live'][$table['live']] ?? []);
    }
}

/** Those of the keys that the table has and that would not go along with it; carried out twice it does nothing more. */
function drop_keys(Database $database, $table, array $keys)
{
    $there = $keys && table_exists($database, $table) ? array_intersect_key(keys_of($database, $table), $keys) : [];
    foreach (array_keys($there) as $name) {
        if (strncmp((string) $name, "{$table}_ibfk_", strlen($table) + 6) === 0) {
            unset($there[$name]);
        }
    }
    if ($there) {
        patiently($database, 'ALTER TABLE ' . Database::name($table) . ' DROP FOREIGN KEY '
            . implode(', DROP FOREIGN KEY ', array_map('Database::name', array_map('strval', array_keys($there)))), []);
    }
}

/** Those that the table lacks, in one statement; returns the names that were taken: those keys got a name of InnoDB's. */
function add_keys(Database $database, $table, array $keys)
{
    $lacking = $keys && table_exists($database, $table) ? array_diff_key($keys, keys_of($database, $table)) : [];
    $add = function (array $keys, $named) use ($database, $table) {
        $parts = [];
        foreach ($keys as $name => $definition) {
            $parts[] = 'ADD ' . ($named ? 'CONSTRAINT ' . Database::name((string) $name) . ' ' : '') . $definition;
        }
        $parts && patiently($database, 'ALTER TABLE ' . Database::name($table) . ' ' . implode(', ', $parts), [], NAME_IS_TAKEN);
    };
    try {
        $add($lacking, true);
        return [];
    } catch (mysqli_sql_exception $e) {
        $taken = [];
        foreach ($lacking as $name => $definition) {
            try {
                $add([$name => $definition], true);
            } catch (mysqli_sql_exception $e) {
                $taken[$name] = $definition;
            }
        }
        // Last, so that InnoDB gives them no name that one of the others has.
        $add($taken, false);
        return array_map('strval', array_keys($taken));
    }
}
