<?php
// A generation of another site, restored here: which of its files and tables come, where they land, and what of it stays
// behind. The request's `incoming` says where its bytes lie, where it comes from, and under which address it was seen.

/** Keys of user data with which somebody could act as the user of the other site. */
const USER_SECRETS = ['session_tokens', '_application_passwords'];
/** Options that are the salts of a site whose wp-config.php has none. */
const OPTION_SECRETS = ['auth_key', 'auth_salt', 'logged_in_key', 'logged_in_salt', 'nonce_key', 'nonce_salt', 'secure_auth_key',
    'secure_auth_salt', 'secret_key', 'recovery_keys'];
/** Names of options in which plugins keep keys of other services. */
const KEY_OPTIONS = '/(?:api|secret|private|access|licen[cs]e|auth|consumer|public|site)_?-?keys?\b|token|secret|passw|smtp|stripe|paypal|wordpress_api_key|jetpack_.*options|updraft_|credential/i';

/** What is different about a generation of another site. */
final class Move
{
    public $from;
    public $site;
    private $request;
    private $prefix;

    public function __construct(Request $request, Generation $generation)
    {
        $incoming = $request->get('incoming');
        if (!is_array($incoming) || !is_string($incoming['url'] ?? null) || !is_string($incoming['site'] ?? null)) {
            throw new Failure('bad_request', 'the request does not say where the generation comes from', 'update Modoseru');
        }
        if ($request->get('only', 'all') !== 'all') {
            throw new Failure('bad_request', 'a generation of another site is restored whole', 'leave --only out');
        }
        $this->from = $incoming;
        $this->request = $request;
        $this->prefix = $generation->summary['database']['prefix'];
        $this->site = Installation::find($request);
    }

    /** The summary as this site's: its areas lie where this site has them; wp-config.php is none of them. */
    public function placed(array $summary)
    {
        $mine = $this->site->areas();
        $areas = [];
        foreach ($summary['areas'] as $area => $path) {
            if ($area !== 'config') {
                $areas[$area] = $mine[$area] ?? null;
            }
        }
        $below = substr($summary['abspath'], strlen($summary['areas']['root']));
        if (in_array(null, $areas, true) || array_diff_key($mine, $areas, ['config' => 1]) || !Installation::below($summary['abspath'], $summary['areas']['root'])) {
            throw new Failure('layout', 'the two sites keep content, plugins or uploads in different places', 'lay this site out as the other one is, or choose another');
        }
        foreach ($summary['tables'] as $part) {
            if (strncmp($part['name'], $this->prefix, strlen($this->prefix)) !== 0 && $part['kind'] === 'table') {
                throw new Failure('layout', "the table {$part['name']} does not begin with the prefix {$this->prefix}", 'sites that share users cannot be moved alone');
            }
            if ($part['name'] === $this->prefix . 'blogs') {
                throw new Failure('layout', 'the generation is of a network of sites', 'restore it to its own place');
            }
        }
        return ['areas' => $areas, 'abspath' => $this->request->root . $below] + $summary;
    }

    /** Whether a file stays behind: what holds the other site's credentials. */
    public function leaves(Entry $entry)
    {
        $name = basename($entry->path);
        return $entry->type !== 'd' && (strncmp($entry->path, 'config/', 7) === 0 || $entry->path === 'config' || $name === '.env' || $name === '.my.cnf'
            || (strncmp($name, 'wp-config', 9) === 0 && $name !== 'wp-config-sample.php'));
    }

    /** What a table of the generation is called here. */
    public function lands_as($table)
    {
        return strncmp($table, $this->prefix, strlen($this->prefix)) === 0 ? $this->site->prefix . substr($table, strlen($this->prefix)) : $table;
    }

    /** Views and triggers name tables in ways that only the database can read: under another prefix they stay behind. */
    public function keeps_after()
    {
        return $this->prefix === $this->site->prefix;
    }

    /** This site's wp-config.php stands in the staged tree as it stands in the live one; one above the root is not touched. */
    public function keep_config(Operation $operation, Generation $generation)
    {
        $file = $this->site->config_file;
        $abspath = $generation->summary['abspath'];
        if (!Installation::below($file, $this->request->root) && dirname($file) === dirname($abspath)) {
            return;
        }
        $staged = $operation->recall('areas')['root'] . '/stage/root' . substr($abspath, strlen($this->request->root));
        refuse_way_out($staged, $operation->recall('places'));
        keeping_time($staged, function () use ($file, $staged) {
            $stat = stat($file);
            write_durably("$staged/wp-config.php", (string) file_get_contents($file), $stat['mode'] & 07777);
            @chgrp("$staged/wp-config.php", $stat['gid']);
            touch("$staged/wp-config.php", $stat['mtime']);
        });
    }

    /** On the staged tables, before anything of them is live: this site's prefix and addresses, and nobody's keys. */
    public function settle(Operation $operation, Database $database, Generation $generation, array $list)
    {
        $staged = array_column($list, 'stage', 'live');
        $prefix = $this->site->prefix;
        $this->rename_keys($database, $staged);
        $this->leave_secrets($operation, $database, $staged);
        $from = array_merge([$this->from['url']], $this->addresses($database, $staged));
        $addresses = new Addresses($from, $this->request->text('url'));
        $columns = new StagedText($database);
        $total = count(array_filter($staged));
        $done = $changed = 0;
        $left = [];
        foreach ($staged as $live => $table) {
            if ($table !== null) {
                $changed += $columns->rewrite($operation, $table, $addresses, $live === $prefix . 'posts' ? ['guid'] : [], $left[$live]);
                $operation->progress(++$done, $total, 'tables');
            }
        }
        $operation->note('rewritten', "the address {$this->from['url']} became {$this->request->text('url')} in $changed values");
        if ($addresses->broken) {
            $operation->note('not_rewritten', "{$addresses->broken} values hold the old address in broken serialised data and were left as they are", 'warning');
        }
        if ($columns->refused) {
            $operation->note('not_rewritten', "the new address is too long for {$columns->refused} rows, which keep the old one", 'warning');
        }
        if ($left = array_keys(array_filter($left))) {
            $operation->note('not_rewritten', 'without a primary key, and left with the old address: ' . implode(', ', array_slice($left, 0, 10)), 'warning');
        }
    }

    /** Under what addresses the generation knows itself. */
    private function addresses(Database $database, array $staged)
    {
        $options = $staged[$this->site->prefix . 'options'] ?? null;
        return $options === null ? [] : array_column($database->rows('SELECT option_value v FROM ' . Database::name($options)
            . " WHERE option_name IN ('home','siteurl')"), 'v');
    }

    private function rename_keys(Database $database, array $staged)
    {
        $old = $this->prefix;
        $new = $this->site->prefix;
        if ($old === $new) {
            return;
        }
        foreach (['options' => 'option_name', 'usermeta' => 'meta_key'] as $table => $column) {
            if (isset($staged[$new . $table])) {
                $which = $column === 'meta_key' ? "LEFT($column, " . strlen($old) . ')=' . $database->quote($old) : "$column=" . $database->quote($old . 'user_roles');
                $database->query('UPDATE ' . Database::name($staged[$new . $table]) . " SET $column=CONCAT(" . $database->quote($new)
                    . ", SUBSTRING($column, " . (strlen($old) + 1) . ")) WHERE $which");
            }
        }
    }

    private function leave_secrets(Operation $operation, Database $database, array $staged)
    {
        $among = function (array $names) use ($database) {
            return ' IN (' . implode(',', array_map([$database, 'quote'], $names)) . ')';
        };
        $prefix = $this->site->prefix;
        if (isset($staged[$prefix . 'usermeta'])) {
            $database->query('DELETE FROM ' . Database::name($staged[$prefix . 'usermeta']) . ' WHERE meta_key' . $among(USER_SECRETS));
        }
        if (isset($staged[$prefix . 'users'])) {
            $database->query('UPDATE ' . Database::name($staged[$prefix . 'users']) . " SET user_activation_key='' WHERE user_activation_key<>''");
        }
        if (!isset($staged[$prefix . 'options'])) {
            return;
        }
        $options = Database::name($staged[$prefix . 'options']);
        $database->query("DELETE FROM $options WHERE option_name" . $among(OPTION_SECRETS));
        $named = array_filter(array_column($database->rows("SELECT option_name n FROM $options WHERE option_value<>'' AND option_name NOT LIKE '\\_%transient%' ORDER BY option_name"), 'n'), function ($name) {
            return (bool) preg_match(KEY_OPTIONS, $name);
        });
        if ($named) {
            $operation->note('keys', 'options that may hold keys came along; change them where the two sites are to be apart: '
                . implode(', ', array_slice($named, 0, 30)) . (count($named) > 30 ? ' and ' . (count($named) - 30) . ' more' : ''), 'warning');
        }
    }
}

/** The text columns of staged tables, a row at a time. */
final class StagedText
{
    const TYPES = ['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'json'];
    const KEYS_AT_ONCE = 500;
    /** Rows for which the new address is too long. */
    public $refused = 0;
    private $database;

    public function __construct(Database $database)
    {
        $this->database = $database;
        // Without it a value that is too long would be cut without a word.
        $database->query("SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES'");
    }

    /** Returns how many values changed; `$left`: whether there is text that cannot be found again by a key. */
    public function rewrite(Operation $operation, $table, Addresses $addresses, array $except, &$left)
    {
        $left = false;
        $text = $key = [];
        foreach ($this->database->rows('SELECT COLUMN_NAME n, DATA_TYPE t, EXTRA e FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=' . $this->database->quote($this->database->name)
            . ' AND TABLE_NAME=' . $this->database->quote($table) . ' ORDER BY ORDINAL_POSITION') as $row) {
            if (in_array(strtolower($row['t']), self::TYPES, true) && !in_array($row['n'], $except, true) && stripos($row['e'], 'GENERATED') === false) {
                $text[] = $row['n'];
            }
        }
        foreach ($this->database->rows('SHOW KEYS FROM ' . Database::name($table) . " WHERE Key_name='PRIMARY'") as $row) {
            $key[] = $row['Column_name'];
        }
        // A key that changes would lead nowhere.
        $text = array_values(array_diff($text, $key));
        $has = implode(' OR ', array_map(function ($column) {
            $column = Database::name($column);
            // Every spelling of an address has one of these in it.
            return "$column LIKE '%//%' OR INSTR($column, '\\\\/') OR $column LIKE '%\\%2F\\%2F%'";
        }, $text));
        if (!$text || !$key) {
            $left = $text && $this->database->one('SELECT 1 FROM ' . Database::name($table) . " WHERE $has LIMIT 1") !== null;
            return 0;
        }
        $names = implode(',', array_map('Database::name', $key));
        $changed = 0;
        $after = '';
        do {
            $rows = $this->database->rows("SELECT $names FROM " . Database::name($table) . " WHERE ($has)$after ORDER BY $names LIMIT " . self::KEYS_AT_ONCE);
            $this->database->query('START TRANSACTION');
            foreach ($rows as $row) {
                $changed += $this->row($table, $row, $text, $addresses);
                $operation->checkpoint();
            }
            $this->database->query('COMMIT');
            $after = $rows ? " AND ($names) > (" . implode(',', array_map([$this->database, 'quote'], end($rows))) . ')' : '';
        } while (count($rows) === self::KEYS_AT_ONCE);
        return $changed;
    }

    private function row($table, array $key, array $text, Addresses $addresses)
    {
        $where = [];
        foreach ($key as $column => $value) {
            $where[] = Database::name($column) . '=' . $this->database->quote($value);
        }
        $where = implode(' AND ', $where);
        $sets = [];
        foreach ($this->database->rows('SELECT ' . implode(',', array_map('Database::name', $text)) . ' FROM ' . Database::name($table) . " WHERE $where LIMIT 1") as $row) {
            foreach ($row as $column => $value) {
                if ($value !== null && ($new = $addresses->rewritten($value)) !== $value) {
                    $sets[] = Database::name($column) . '=' . $this->database->quote($new);
                }
            }
        }
        try {
            $sets && $this->database->query('UPDATE ' . Database::name($table) . ' SET ' . implode(', ', $sets) . " WHERE $where LIMIT 1");
        } catch (mysqli_sql_exception $e) {
            // Too long for its column, or against a CHECK: the row keeps what it had.
            if (!in_array($e->getCode(), [1406, 4025, 3819], true)) {
                throw $e;
            }
            $this->refused++;
            return 0;
        }
        return count($sets);
    }
}
