<?php
// What a newer or another database server would make of the site's tables. Reads the dictionary alone: no row is
// touched, and WordPress is not started.

const REPORT_TABLES = 500;
const REPORT_ITEMS = 20;
const REPORT_COLUMNS = 50000;
/** Bytes that one column may have in an index of these row formats. */
const OLD_ROW_FORMATS = ['Compact' => 767, 'Redundant' => 767];
/** Bytes of a whole index of MyISAM. */
const MYISAM_KEY = 1000;
/** Engines that exist on one side alone; TokuDB is on neither (MariaDB had it until 10.6). */
const MARIADB_ENGINES = ['Aria', 'CONNECT', 'SPIDER', 'Mroonga', 'ROCKSDB', 'S3', 'SPHINX', 'OQGRAPH', 'SEQUENCE', 'COLUMNSTORE'];
const MYSQL_ENGINES = ['NDBCLUSTER', 'ndbcluster'];
const GONE_ENGINES = ['TokuDB', 'ISAM', 'BDB', 'XtraDB'];
const MARIADB_TYPES = ['uuid', 'inet4', 'inet6', 'vector', 'xmltype'];
/** Words that became reserved since MySQL 5.7 and MariaDB 10.3. Dumps quote them; a plugin's own statements may not. */
const MYSQL_WORDS = ['cube', 'cume_dist', 'dense_rank', 'empty', 'except', 'first_value', 'function', 'grouping', 'groups', 'intersect',
    'json_table', 'lag', 'last_value', 'lateral', 'lead', 'manual', 'nth_value', 'ntile', 'of', 'over', 'parallel', 'percent_rank',
    'qualify', 'rank', 'recursive', 'row', 'row_number', 'rows', 'system', 'tablesample', 'window'];
const MARIADB_WORDS = ['except', 'intersect', 'offset', 'over', 'recursive', 'row_number', 'rows', 'window'];

/** Counts everything, and keeps the first of each kind by name. */
final class Findings
{
    private $found = [];

    public function add($code, $item)
    {
        if (!isset($this->found[$code])) {
            $this->found[$code] = ['code' => $code, 'count' => 0, 'items' => []];
        }
        if (++$this->found[$code]['count'] <= REPORT_ITEMS) {
            $this->found[$code]['items'][] = $item;
        }
    }

    public function as_list()
    {
        return array_values($this->found);
    }
}

/** {"engine", "version", "sql_mode", "collation", "tables": […], "counts", "findings": […], "truncated"}, as DatabaseReport. */
function answer_database(Request $request)
{
    $site = Installation::find($request);
    $database = Database::open($site);
    $given = given_credentials($request, 'target');
    $mine = $database->tables();
    $schema = $database->quote($database->name);
    $findings = new Findings();
    $tables = [];
    foreach ($database->rows('SELECT TABLE_NAME n, TABLE_TYPE t, ENGINE e, TABLE_COLLATION c, ROW_FORMAT f, CREATE_OPTIONS o '
        . "FROM information_schema.TABLES WHERE TABLE_SCHEMA=$schema ORDER BY TABLE_NAME") as $row) {
        if (isset($mine[$row['n']])) {
            $facts = $mine[$row['n']];
            $tables[$row['n']] = ['name' => $row['n'], 'view' => $facts['view'], 'engine' => $row['e'], 'collation' => $row['c'],
                'row_format' => $row['f'], 'rows' => $facts['rows'], 'bytes' => $facts['bytes']];
            judge_table($findings, $row, $facts['view']);
        }
    }
    $complete = judge_columns($findings, $database, $schema, $tables);
    judge_indexes($findings, $database, $schema, $tables);
    return ['engine' => $database->engine, 'version' => $database->version,
        'sql_mode' => (string) $database->one('SELECT @@GLOBAL.sql_mode'),
        'collation' => $database->one("SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME=$schema"),
        'tables' => array_slice(array_values($tables), 0, REPORT_TABLES), 'counts' => ['tables' => count($tables),
            'rows' => array_sum(array_column($tables, 'rows')), 'bytes' => array_sum(array_column($tables, 'bytes'))],
        'findings' => $findings->as_list(), 'truncated' => count($tables) > REPORT_TABLES || !$complete,
        'target' => $given ? (new Target($site, $database, $given))->as_record($mine) : null];
}

function judge_table(Findings $findings, array $row, $view)
{
    $name = $row['n'];
    $engine = (string) $row['e'];
    if ($view) {
        return;
    }
    if ($row['t'] === 'SYSTEM VERSIONED' || $row['t'] === 'SEQUENCE') {
        $findings->add('mariadb_table', "$name (" . strtolower($row['t']) . ')');
    } elseif ($engine === '') {
        $findings->add('unreadable', $name);
    } elseif (in_array($engine, GONE_ENGINES, true)) {
        $findings->add('engine_gone', "$name ($engine)");
    } elseif (in_array($engine, MARIADB_ENGINES, true)) {
        $findings->add('engine_mariadb', "$name ($engine)");
    } elseif (in_array($engine, MYSQL_ENGINES, true)) {
        $findings->add('engine_mysql', "$name ($engine)");
    } elseif ($engine !== 'InnoDB') {
        $findings->add('not_innodb', "$name ($engine)");
    }
    if ($engine === 'InnoDB' && in_array($row['f'], ['Compact', 'Redundant', 'Compressed'], true)) {
        $findings->add($row['f'] === 'Compressed' ? 'compressed' : 'old_row_format', "$name (" . strtoupper($row['f']) . ')');
    }
    if ($engine !== 'InnoDB' && $engine !== '' && stripos((string) $row['o'], 'partitioned') !== false) {
        $findings->add('partitions', "$name ($engine)");
    }
    judge_collation($findings, (string) $row['c'], $name);
}

function judge_collation(Findings $findings, $collation, $item)
{
    if (strpos($collation, '_0900_') !== false) {
        $findings->add('collation_mysql', "$item ($collation)");
    } elseif (strpos($collation, 'uca1400') !== false || strpos($collation, '_nopad_') !== false) {
        $findings->add('collation_mariadb', "$item ($collation)");
    } elseif (preg_match('/^utf8(mb3)?_/', $collation)) {
        $findings->add('utf8mb3', "$item ($collation)");
    }
}

/** Of columns alone: tables begin with the site's prefix. */
function judge_word(Findings $findings, $word, $item)
{
    if (in_array(strtolower($word), MYSQL_WORDS, true)) {
        $findings->add('reserved_mysql', $item);
    }
    if (in_array(strtolower($word), MARIADB_WORDS, true)) {
        $findings->add('reserved_mariadb', $item);
    }
}

/** False where there were more columns than are read. */
function judge_columns(Findings $findings, Database $database, $schema, array $tables)
{
    // One row at a time: a dictionary of a multisite with thousands of tables is no small array.
    $result = $database->link->query('SELECT TABLE_NAME n, COLUMN_NAME c, COLUMN_TYPE t, DATA_TYPE d, COLUMN_DEFAULT f, COLLATION_NAME k, '
        . "EXTRA e, GENERATION_EXPRESSION g FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=$schema "
        . 'ORDER BY TABLE_NAME, ORDINAL_POSITION LIMIT ' . (REPORT_COLUMNS + 1), MYSQLI_USE_RESULT);
    $read = 0;
    while ($row = $result->fetch_assoc()) {
        if (++$read > REPORT_COLUMNS) {
            break;
        }
        if (!isset($tables[$row['n']]) || $tables[$row['n']]['view']) {
            continue;
        }
        $item = "{$row['n']}.{$row['c']}";
        $type = strtolower($row['t']);
        if (in_array($row['d'], ['date', 'datetime', 'timestamp'], true) && strpos(trim((string) $row['f'], "'"), '0000-00-00') === 0) {
            $findings->add('zero_default', $item);
        }
        if (strpos($type, '/* mariadb-5.3 */') !== false || strpos($type, '/* 5.5 binary format */') !== false) {
            $findings->add('old_temporal', $item);
        }
        if ($type === 'year(2)') {
            $findings->add('year2', $item);
        }
        if (in_array($row['d'], MARIADB_TYPES, true) || strpos($type, '/*m!') !== false || strpos($type, 'compressed') !== false) {
            $findings->add('type_mariadb', "$item ({$row['t']})");
        }
        if ((string) $row['g'] !== '') {
            $findings->add('generated', $item);
        }
        if ((string) $row['k'] !== (string) $tables[$row['n']]['collation']) {
            judge_collation($findings, (string) $row['k'], $item);
        }
        judge_word($findings, $row['c'], $item);
    }
    $result->free();
    return $read <= REPORT_COLUMNS;
}

/** Indexes that would be too long once their text is utf8mb4, in a row format that does not take long ones. */
function judge_indexes(Findings $findings, Database $database, $schema, array $tables)
{
    $totals = [];
    $result = $database->link->query('SELECT s.TABLE_NAME n, s.INDEX_NAME i, c.COLUMN_NAME c, COALESCE(s.SUB_PART, c.CHARACTER_MAXIMUM_LENGTH) l '
        . 'FROM information_schema.STATISTICS s JOIN information_schema.COLUMNS c ON c.TABLE_SCHEMA=s.TABLE_SCHEMA '
        . "AND c.TABLE_NAME=s.TABLE_NAME AND c.COLUMN_NAME=s.COLUMN_NAME WHERE s.TABLE_SCHEMA=$schema AND c.CHARACTER_SET_NAME IS NOT NULL "
        . "AND s.INDEX_TYPE='BTREE' LIMIT " . REPORT_COLUMNS, MYSQLI_USE_RESULT);
    while ($row = $result->fetch_assoc()) {
        $table = $tables[$row['n']] ?? null;
        $bytes = 4 * (int) $row['l'];
        if ($table && $table['engine'] === 'InnoDB' && $bytes > (OLD_ROW_FORMATS[$table['row_format']] ?? PHP_INT_MAX)) {
            $findings->add('long_index', "{$row['n']}.{$row['i']} ($bytes)");
        } elseif ($table && $table['engine'] === 'MyISAM') {
            $totals["{$row['n']}.{$row['i']}"] = ($totals["{$row['n']}.{$row['i']}"] ?? 0) + $bytes;
        }
    }
    $result->free();
    foreach ($totals as $index => $bytes) {
        if ($bytes > MYISAM_KEY) {
            $findings->add('long_index', "$index ($bytes)");
        }
    }
}
