<?php
// The site's database through mysqli, which every WordPress host has: no client program, no credentials file,
// no dialect of a dump tool, and nothing in a dump that could run a command (FACTS 1.5).

final class Database
{
    public $link;
    public $name;
    public $prefix;
    public $engine;
    public $version;
    /** The operation whose process this is: its sessions bear its name, so that whoever recovers it finds them. */
    public static $owner = null;
    /** So many sessions of one operation are told apart. */
    const SESSIONS = 16;
    private $settings;

    /** Throws no_database with the server's own words. */
    public static function open(Installation $site)
    {
        if (!function_exists('mysqli_init')) {
            throw new Failure('no_database', 'PHP on the command line has no mysqli',
                'set [server] php to the PHP that the site uses');
        }
        $self = new self();
        $self->settings = $site->settings;
        $self->name = (string) $site->setting('DB_NAME', '');
        $self->prefix = $site->prefix;
        mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
        $self->link = $self->connect();
        $version = (string) $self->one('SELECT VERSION()');
        $self->engine = stripos($version, 'mariadb') !== false ? 'mariadb' : 'mysql';
        $self->version = preg_match('/\d+\.\d+(\.\d+)?/', $version, $found) ? $found[0] : $version;
        return $self;
    }

    private function connect()
    {
        list($host, $port, $socket) = self::address((string) ($this->settings['DB_HOST'] ?? 'localhost'));
        $link = mysqli_init();
        $link->options(MYSQLI_OPT_CONNECT_TIMEOUT, 10);
        try {
            $link->real_connect($host, (string) ($this->settings['DB_USER'] ?? ''), (string) ($this->settings['DB_PASSWORD'] ?? ''),
                $this->name, $port, $socket, (int) ($this->settings['MYSQL_CLIENT_FLAGS'] ?? 0));
            $link->set_charset('utf8mb4');
            $link->query("SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00', foreign_key_checks=0, unique_checks=0, "
                . 'lock_wait_timeout=5, wait_timeout=28800, net_write_timeout=600');
        } catch (mysqli_sql_exception $e) {
            throw new Failure('no_database', 'the database does not let us in: ' . $e->getMessage(),
                'compare wp-config.php with the host\'s panel');
        }
        self::name_session($link);
        return $link;
    }

    /** The name is a lock: it goes with the session, and not before the session's last statement has ended. */
    private static function name_session(mysqli $link)
    {
        try {
            for ($number = 1; self::$owner !== null && $number <= self::SESSIONS; $number++) {
                if ($link->query("SELECT GET_LOCK('modoseru " . self::$owner . " $number', 0)")->fetch_row()[0]) {
                    return;
                }
            }
        } catch (mysqli_sql_exception $e) {
            // A cluster may refuse such locks; its sessions stay without a name.
            return;
        }
    }

    /**
     * Ends what a dead process of `$owner` still has the server do, and waits until it has ended: a statement that is
     * granted after its client's death would change what is being taken back. Throws no_database.
     */
    public function end_sessions_of($owner)
    {
        $locks = array_map(function ($number) use ($owner) {
            return "IS_USED_LOCK('modoseru $owner $number')";
        }, range(1, self::SESSIONS));
        for ($until = microtime(true) + 30; ; usleep(20000)) {
            try {
                $ids = array_diff(array_filter($this->link->query('SELECT ' . implode(', ', $locks))->fetch_row()), [$this->link->thread_id]);
            } catch (mysqli_sql_exception $e) {
                return;
            }
            if (!$ids) {
                return;
            }
            foreach ($ids as $id) {
                try {
                    $this->query('KILL ' . (int) $id);
                } catch (mysqli_sql_exception $e) {
                    continue;
                }
            }
            if (microtime(true) > $until) {
                throw new Failure('no_database', 'the database still works for a process that is gone', 'look at its processes, then try again');
            }
        }
    }

    /** A second session of the same user: what it holds goes with it. */
    public function again()
    {
        $other = clone $this;
        $other->link = $this->connect();
        return $other;
    }

    /** Whether its server is this machine, as far as the address says. */
    public function is_here()
    {
        list($host, , $socket) = self::address((string) ($this->settings['DB_HOST'] ?? 'localhost'));
        return $socket !== null || in_array($host, ['localhost', '127.0.0.1', '::1'], true);
    }

    /** What its user may do in this schema, in capitals; null where that cannot be told (roles, an unknown form). */
    public function grants()
    {
        $has = [];
        foreach ($this->rows('SHOW GRANTS') as $row) {
            if (!preg_match('/^GRANT (.+?) ON (?:\*|`((?:[^`]|``)+)`)\.\* TO /', reset($row), $found)) {
                if (preg_match('/^GRANT `?[^` ]+`?(?:@\S+)? TO /', reset($row))) {
                    return null;
                }
                continue;
            }
            $pattern = isset($found[2]) ? str_replace('``', '`', $found[2]) : '%';
            $pattern = preg_replace_callback('/\\\\?./s', function ($piece) {
                return $piece[0] === '%' ? '.*' : ($piece[0] === '_' ? '.' : preg_quote(substr($piece[0], -1), '~'));
            }, $pattern);
            if (preg_match("~^$pattern$~Dsi", $this->name)) {
                $has = array_merge($has, array_map('trim', explode(',', strtoupper($found[1]))));
            }
        }
        return preg_grep('/^ALL( PRIVILEGES)?$/', $has) ? null : $has;
    }

    /** DB_HOST may be host, host:port, host:/socket, [v6]:port (wpdb::parse_db_host). */
    public static function address($host)
    {
        $socket = null;
        $port = null;
        $at = strpos($host, ':/');
        if ($at !== false) {
            $socket = substr($host, $at + 1);
            $host = substr($host, 0, $at);
        }
        if (preg_match('/^\[([0-9a-f:]+)\](?::(\d+))?$/i', $host, $found) || preg_match('/^([^:]*):(\d+)$/', $host, $found)) {
            $host = $found[1];
            $port = isset($found[2]) ? (int) $found[2] : null;
        }
        return [$host === '' ? 'localhost' : $host, $port, $socket];
    }

    public function query($sql)
    {
        return $this->link->query($sql);
    }

    public function one($sql)
    {
        $row = $this->link->query($sql)->fetch_row();
        return $row ? $row[0] : null;
    }

    public function rows($sql)
    {
        return $this->link->query($sql)->fetch_all(MYSQLI_ASSOC);
    }

    public function quote($text)
    {
        return "'" . $this->link->real_escape_string($text) . "'";
    }

    public static function name($identifier)
    {
        return '`' . str_replace('`', '``', $identifier) . '`';
    }

    /**
     * The site's tables and views, sorted by name: [name => ['view' => bool, 'engine', 'bytes', 'rows']].
     * A table belongs to the longest prefix of an installation that it begins with (`_` is no wildcard here).
     */
    public function tables()
    {
        $all = [];
        foreach ($this->rows('SELECT TABLE_NAME n, TABLE_TYPE t, ENGINE e, COALESCE(DATA_LENGTH+INDEX_LENGTH,0) b, '
            . 'COALESCE(TABLE_ROWS,0) r FROM information_schema.TABLES WHERE TABLE_SCHEMA=' . $this->quote($this->name)) as $row) {
            if (!preg_match('/^_[mo][0-9a-f]{6}_/', $row['n'])) {
                $all[$row['n']] = ['view' => $row['t'] === 'VIEW', 'engine' => $row['e'], 'bytes' => (int) $row['b'], 'rows' => (int) $row['r']];
            }
        }
        $others = [];
        foreach (array_keys($all) as $name) {
            if (substr($name, -7) === 'options') {
                $prefix = substr($name, 0, -7);
                if ($prefix !== $this->prefix && strncmp($prefix, $this->prefix, strlen($this->prefix)) === 0
                    && isset($all[$prefix . 'posts'], $all[$prefix . 'users'])) {
                    $others[] = $prefix;
                }
            }
        }
        $mine = [];
        $also = [$this->settings['CUSTOM_USER_TABLE'] ?? '', $this->settings['CUSTOM_USER_META_TABLE'] ?? ''];
        foreach ($all as $name => $facts) {
            $foreign = array_filter($others, function ($prefix) use ($name) {
                return strncmp($name, $prefix, strlen($prefix)) === 0;
            });
            if (!$foreign && (strncmp($name, $this->prefix, strlen($this->prefix)) === 0 || in_array($name, $also, true))) {
                $mine[$name] = $facts;
            }
        }
        ksort($mine, SORT_STRING);
        return $mine;
    }

    public function triggers(array $tables)
    {
        $found = [];
        foreach ($this->rows('SELECT TRIGGER_NAME n, EVENT_OBJECT_TABLE t, SQL_MODE m FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA='
            . $this->quote($this->name) . ' ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER') as $row) {
            if (isset($tables[$row['t']])) {
                $create = $this->link->query('SHOW CREATE TRIGGER ' . self::name($row['n']))->fetch_row()[2];
                if ($create === null) {
                    throw new Failure('no_database', "the trigger {$row['n']} cannot be read", 'grant TRIGGER to the site\'s user');
                }
                $found[] = ['name' => $row['n'], 'table' => $row['t'], 'mode' => $row['m'], 'sql' => without_definer($create)];
            }
        }
        return $found;
    }

    /** Foreign keys of the schema between different tables: [{from, to, name}]; evidence and staging tables left out. */
    public function references()
    {
        return array_values(array_filter($this->rows('SELECT DISTINCT TABLE_NAME `from`, REFERENCED_TABLE_NAME `to`, CONSTRAINT_NAME name '
            . 'FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA=' . $this->quote($this->name)
            . ' AND REFERENCED_TABLE_SCHEMA=' . $this->quote($this->name)), function ($row) {
                return !preg_match('/^_[mo][0-9a-f]{6}_/', $row['from']);
            }));
    }

    /** The statements that create the views among `$tables`, each after those that it reads: [name => sql]. */
    public function views(array $tables)
    {
        $left = [];
        foreach ($tables as $name => $facts) {
            if ($facts['view']) {
                $left[$name] = without_definer($this->link->query('SHOW CREATE VIEW ' . self::name($name))->fetch_row()[1]);
            }
        }
        $ordered = [];
        while ($left) {
            $free = array_filter(array_keys($left), function ($name) use ($left) {
                foreach ($left as $other => $sql) {
                    if ($other !== $name && strpos($left[$name], self::name($other)) !== false) {
                        return false;
                    }
                }
                return true;
            });
            // Names in texts may look like a circle; then any order is as good.
            foreach ($free ?: [key($left)] as $name) {
                $ordered[$name] = $left[$name];
                unset($left[$name]);
            }
        }
        return $ordered;
    }
}

/** What a session of ours has set; a trigger keeps the mode of the session that creates it. */
const SQL_MODE = "SET sql_mode='NO_AUTO_VALUE_ON_ZERO'";

function sql_mode_of(array $trigger)
{
    return "SET sql_mode='{$trigger['mode']}'";
}

/** DEFINER is refused for a user without SUPER, after the tables were loaded (FACTS 3). */
function without_definer($sql)
{
    return preg_replace('/^(CREATE(?:\s+OR REPLACE)?(?:\s+ALGORITHM\s*=\s*\w+)?)\s+DEFINER\s*=\s*(`(?:[^`]|``)*`|\'[^\']*\'|[^\s@]+)@(`(?:[^`]|``)*`|\'[^\']*\'|\S+)/i',
        '$1', $sql);
}

/**
 * Writes a consistent dump: one gzip member a table, so that the whole is a plain dump for `gunzip | mysql` and each
 * table can be read by its offset. Every statement stands behind a comment `-- @ LENGTH KIND TABLE`.
 */
final class Dump
{
    private $database;
    private $out;
    private $path;
    private $gzip;
    private $hash;
    private $plain = 0;
    private $stored = 0;
    private $largest = 0;
    public $tables = [];

    /** Without a path it only measures. */
    public function __construct(Database $database, $path = null)
    {
        $this->database = $database;
        $this->path = $path;
        $this->out = $path === null ? null : @fopen($path, 'wb');
        if ($path !== null && !$this->out) {
            throw new Failure('no_space', "cannot write the dump: " . last_error('unknown reason'));
        }
    }

    /** What a table's part would be: {size, sha256, rows}. */
    public function measure($name, $operation, $done, $total)
    {
        $rows = 0;
        $part = $this->member(function () use ($name, &$rows, $operation, $done, $total) {
            $rows = $this->table($name, $operation, $done, $total);
        });
        return $part + ['rows' => $rows];
    }

    /** What its rows would be as the part of a table named `$as`: {size, sha256, rows, offset, stored}. */
    public function measure_rows($name, $as, Operation $operation)
    {
        $rows = 0;
        $part = $this->member(function () use ($name, $as, &$rows, $operation) {
            $rows = $this->content($name, '', $operation, 0, 0, $as);
        });
        return $part + ['rows' => $rows];
    }

    /** Rows of a table as INSERT statements, a member of their own; their number. */
    public function some($name, $where, Operation $operation)
    {
        $rows = 0;
        $this->member(function () use ($name, $where, $operation, &$rows) {
            $rows = $this->content($name, $where, $operation, 0, 0);
        });
        return $rows;
    }

    /** One part of chosen rows, for `DumpRows::read`; `$body` is handed this dump, and calls `content` and `row`. */
    public function part($name, callable $body)
    {
        $part = $this->member(function () use ($body) {
            $body($this);
        });
        $this->close();
        return ['name' => $name] + $part;
    }

    /** A row of another dump, as one of `$table`. */
    public function row(DumpRow $row, $table)
    {
        foreach ($row->sets() as $sql) {
            $this->statement('set', $table, $sql);
        }
        $this->statement('insert', $table, $row->insert($table));
    }

    public function close()
    {
        sync_handle($this->out, $this->path);
        fclose($this->out);
    }

    /** Returns ['tables', 'plain', 'size', 'notes']; retries where a table was altered meanwhile (error 1412). */
    public function write(Operation $operation)
    {
        for ($try = 1; ; $try++) {
            try {
                return $this->attempt($operation);
            } catch (mysqli_sql_exception $e) {
                if ($e->getCode() !== 1412 || $try === 3) {
                    throw new Failure('no_database', 'the database cannot be dumped: ' . $e->getMessage(), 'repair the table and try again');
                }
                ftruncate($this->out, 0);
                rewind($this->out);
                $this->stored = $this->plain = 0;
                $this->tables = [];
            }
        }
    }

    private function attempt(Operation $operation)
    {
        $db = $this->database;
        $db->query('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
        $db->query('START TRANSACTION WITH CONSISTENT SNAPSHOT');
        $tables = $db->tables();
        $total = array_sum(array_column($tables, 'bytes'));
        $done = 0;
        $outside = [];
        $this->member(function () {
            $this->put("-- Database of a WordPress site, written by Modoseru\n"
                . "SET NAMES utf8mb4;\nSET time_zone='+00:00';\nSET sql_mode='NO_AUTO_VALUE_ON_ZERO';\n"
                . "SET foreign_key_checks=0;\nSET unique_checks=0;\n");
        });
        foreach ($tables as $name => $facts) {
            if ($facts['view']) {
                continue;
            }
            if ($facts['engine'] !== null && strcasecmp($facts['engine'], 'InnoDB') !== 0) {
                $outside[] = $name;
            }
            $this->largest = 0;
            $part = $this->measure($name, $operation, $done, $total);
            // The checksum tells a restore which tables need not be compared any further.
            $this->tables[] = ['name' => $name, 'kind' => 'table', 'engine' => $facts['engine'], 'largest' => $this->largest,
                'checksum' => checksums($db, [$name])[$name]] + $part;
            $done += $facts['bytes'];
            $operation->progress($done, $total, 'bytes');
        }
        foreach ($db->views($tables) as $name => $sql) {
            $part = $this->member(function () use ($name, $sql) {
                $this->put("\n");
                $this->statement('drop', $name, 'DROP VIEW IF EXISTS ' . Database::name($name));
                $this->statement('view', $name, preg_replace('/SQL SECURITY DEFINER/i', 'SQL SECURITY INVOKER', $sql, 1));
            });
            $this->tables[] = ['name' => (string) $name, 'rows' => 0, 'kind' => 'view', 'engine' => null] + $part;
        }
        $triggers = $db->triggers($tables);
        $part = $this->member(function () use ($triggers) {
            foreach ($triggers as $trigger) {
                $this->statement('drop', $trigger['name'], 'DROP TRIGGER IF EXISTS ' . Database::name($trigger['name']));
                $this->statement('mode', $trigger['table'], sql_mode_of($trigger));
                $this->statement('trigger', $trigger['table'], $trigger['sql']);
                $this->statement('mode', $trigger['table'], SQL_MODE);
            }
            $this->put("SET foreign_key_checks=1;\nSET unique_checks=1;\n-- Dump completed\n");
        });
        $this->tables[] = ['name' => '', 'rows' => count($triggers), 'kind' => 'triggers', 'engine' => null,
            'of' => array_values(array_unique(array_column($triggers, 'table')))] + $part;
        $db->query('COMMIT');
        $this->close();
        return ['tables' => $this->tables, 'plain' => $this->plain, 'size' => $this->stored, 'outside' => $outside];
    }

    private function table($name, $operation, $done, $total)
    {
        $quoted = Database::name($name);
        $create = $this->database->query("SHOW CREATE TABLE $quoted")->fetch_row()[1];
        $this->put("\n");
        $this->statement('drop', $name, "DROP TABLE IF EXISTS $quoted");
        $this->statement('create', $name, $create);
        return $this->content($name, '', $operation, $done, $total);
    }

    /**
     * The rows (those for which `$where` holds) as statements, of a table named `$as` where that is given; without an
     * operation nobody is told how far it is.
     */
    public function content($name, $where, $operation, $done, $total, $as = null)
    {
        $db = $this->database;
        $quoted = Database::name($name);
        $into = Database::name($as ?? $name);
        $columns = [];
        $read = [];
        $keys = [];
        foreach ($db->rows("SHOW FULL COLUMNS FROM $quoted") as $column) {
            $field = Database::name($column['Field']);
            if (!preg_match('/\b(VIRTUAL|STORED|PERSISTENT)\b/i', $column['Extra'])) {
                $columns[] = $field;
                $read[] = self::reads_as($field, $column);
            }
            if ($column['Key'] === 'PRI') {
                $keys[] = $field;
            }
        }
        $limit = min(524288, (int) ((int) $db->one('SELECT @@max_allowed_packet') / 3));
        $head = "INSERT INTO $into (" . implode(',', $columns) . ') VALUES ';
        $rest = ($where === '' ? '' : " WHERE $where") . ($keys ? ' ORDER BY ' . implode(',', $keys) : '');
        $result = $db->link->query('SELECT ' . implode(',', $read) . " FROM $quoted$rest", MYSQLI_USE_RESULT);
        $kinds = array_map([$this, 'writes_as'], $result->fetch_fields());
        $name = $as ?? $name;
        $rows = 0;
        $bytes = 0;
        $values = [];
        $start = $this->plain;
        $flush = function () use (&$values, &$bytes, $name, $head, $operation, $done, $total, $start) {
            if ($values) {
                $this->statement('insert', $name, $head . implode(',', $values));
                $operation && $operation->progress(min($total, $done + $this->plain - $start), $total, 'bytes');
                $values = [];
                $bytes = 0;
            }
        };
        while ($row = $result->fetch_row()) {
            $rows++;
            $apart = array_sum(array_map('strlen', array_filter($row, 'is_string'))) > $limit / 2;
            if ($apart) {
                $flush();
            }
            $variables = [];
            foreach ($row as $i => $value) {
                if ($value === null) {
                    $row[$i] = 'NULL';
                } elseif ($apart && $kinds[$i] !== 'number' && strlen($value) > 4096) {
                    $this->largest = max($this->largest, strlen($value));
                    $this->put_aside($name, "@m$i", $value, $kinds[$i], (int) ($limit / 2));
                    $row[$i] = $variables[] = "@m$i";
                } else {
                    $row[$i] = $this->literal($value, $kinds[$i]);
                }
            }
            $values[] = $text = '(' . implode(',', $row) . ')';
            $bytes += strlen($text) + 1;
            if ($apart || $bytes >= $limit) {
                $flush();
            }
            foreach ($variables as $variable) {
                $this->statement('set', $name, "SET $variable=NULL");
            }
        }
        $result->free();
        $flush();
        return $rows;
    }

    /** FLOAT is shown with six digits, too few to read it back; old character sets have letters that two codes stand for. */
    private static function reads_as($field, array $column)
    {
        if (preg_match('/^float\b/i', $column['Type'])) {
            return "$field*1e0";
        }
        if ($column['Collation'] !== null && !preg_match('/^(utf8|ascii)/', $column['Collation']) && preg_match('/^(var)?char|text/i', $column['Type'])) {
            return "CAST($field AS BINARY)";
        }
        return $field;
    }

    private function literal($value, $kind)
    {
        if ($kind === 'bytes') {
            return $value === '' ? "''" : '0x' . bin2hex($value);
        }
        return $kind === 'text' ? "'" . $this->database->link->real_escape_string($value) . "'" : $value;
    }

    /** A value that would make its statement larger than a packet goes into a variable first, piece by piece. */
    private function put_aside($table, $variable, $value, $kind, $most)
    {
        for ($at = 0; $at < strlen($value); $at += strlen($piece)) {
            $piece = substr($value, $at, $most);
            // No character is cut in two.
            while ($kind === 'text' && $at + strlen($piece) < strlen($value) && (ord($value[$at + strlen($piece)]) & 0xC0) === 0x80) {
                $piece = substr($piece, 0, -1);
            }
            $text = $this->literal($piece, $kind);
            $this->statement('set', $table, $at ? "SET $variable=CONCAT($variable,$text)" : "SET $variable=$text");
        }
    }

    private function writes_as($field)
    {
        $numbers = [MYSQLI_TYPE_TINY, MYSQLI_TYPE_SHORT, MYSQLI_TYPE_LONG, MYSQLI_TYPE_LONGLONG, MYSQLI_TYPE_INT24, MYSQLI_TYPE_FLOAT,
            MYSQLI_TYPE_DOUBLE, MYSQLI_TYPE_DECIMAL, MYSQLI_TYPE_NEWDECIMAL, MYSQLI_TYPE_YEAR, MYSQLI_TYPE_BIT];
        if (in_array($field->type, $numbers, true)) {
            return 'number';
        }
        $dates = [MYSQLI_TYPE_DATE, MYSQLI_TYPE_TIME, MYSQLI_TYPE_DATETIME, MYSQLI_TYPE_TIMESTAMP, MYSQLI_TYPE_NEWDATE, MYSQLI_TYPE_JSON];
        return $field->charsetnr === 63 && !in_array($field->type, $dates, true) ? 'bytes' : 'text';
    }

    private function statement($kind, $table, $sql)
    {
        $this->put(self::as_statement($kind, $table, $sql));
    }

    /** As it stands in a dump. */
    public static function as_statement($kind, $table, $sql)
    {
        $end = $kind === 'trigger' ? ";;\n" : ";\n";
        $before = '-- @ ' . strlen($sql) . " $kind " . escape_path($table) . "\n";
        // Only the client program needs the delimiter; our own reader goes by the length.
        return $kind === 'trigger' ? "DELIMITER ;;\n$before$sql$end" . "DELIMITER ;\n" : $before . $sql . $end;
    }

    private function member(callable $body)
    {
        $start = $this->stored;
        $plain = $this->plain;
        $this->gzip = $this->out ? deflate_init(ZLIB_ENCODING_GZIP, ['level' => 1]) : null;
        $this->hash = hash_init('sha256');
        $body();
        $this->gzip && $this->store(deflate_add($this->gzip, '', ZLIB_FINISH));
        return ['offset' => $start, 'stored' => $this->stored - $start, 'size' => $this->plain - $plain, 'sha256' => hash_final($this->hash)];
    }

    private function put($text)
    {
        hash_update($this->hash, $text);
        $this->plain += strlen($text);
        $this->gzip && $this->store(deflate_add($this->gzip, $text, ZLIB_NO_FLUSH));
    }

    private function store($bytes)
    {
        write_all($this->out, $bytes, 'the dump');
        $this->stored += strlen($bytes);
    }
}

/** The statements of one part of a dump as [kind, table, sql]; throws `damaged` unless its hash is the summary's. */
function dump_part($handle, array $part, $limit = 1073741824)
{
    fseek($handle, $part['offset']);
    $left = $part['stored'];
    $gzip = inflate_init(ZLIB_ENCODING_GZIP);
    $hash = hash_init('sha256');
    $buffer = '';
    $size = 0;
    // What was read is cut off with the next bytes alone: 64 KiB may hold a hundred thousand small statements.
    $at = 0;
    $fill = function () use (&$left, &$buffer, &$size, &$at, $handle, $gzip, $hash, $part) {
        $bytes = $left > 0 ? fread($handle, min(65536, $left)) : '';
        if ($bytes === '' || $bytes === false) {
            return false;
        }
        $left -= strlen($bytes);
        $text = @inflate_add($gzip, $bytes);
        if ($text === false || ($size += strlen($text)) > $part['size']) {
            throw new Failure('damaged', "the dump of the table {$part['name']} is damaged", 'take another generation');
        }
        hash_update($hash, $text);
        if ($at) {
            $buffer = substr($buffer, $at);
            $at = 0;
        }
        $buffer .= $text;
        return true;
    };
    while (true) {
        while (($end = strpos($buffer, "\n", $at)) === false && $fill()) {
        }
        if ($end === false) {
            break;
        }
        $line = substr($buffer, $at, $end - $at);
        $at = $end + 1;
        if (!preg_match('/^-- @ (\d{1,10}) ([a-z]+) (\S*)$/', $line, $found)) {
            continue;
        }
        $length = (int) $found[1];
        while (strlen($buffer) - $at < $length && $length <= $limit && $fill()) {
        }
        if (strlen($buffer) - $at < $length) {
            throw new Failure('damaged', "the dump of the table {$part['name']} is damaged", 'take another generation');
        }
        yield [$found[2], unescape_path($found[3]), substr($buffer, $at, $length)];
        $at += $length;
    }
    while ($fill()) {
    }
    if ($size !== $part['size'] || hash_final($hash) !== $part['sha256']) {
        throw new Failure('damaged', "the dump of the table {$part['name']} is not what was sealed", 'take another generation');
    }
}
