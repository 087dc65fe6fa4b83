<?php
// A database that the site's could move to: whether it is one, is empty, takes every table, and wp-config.php could name
// it. Nothing is written into it, and nothing live is touched.

const TARGET_BLOCKERS = 50;
/** What an import and the site itself need there. */
const TARGET_GRANTS = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER', 'INDEX'];

final class Target
{
    private $site;
    private $live;
    private $given;
    private $blockers = [];

    public function __construct(Installation $site, Database $live, array $given)
    {
        $this->site = $site;
        $this->live = $live;
        $this->given = $given;
    }

    /** As TargetReport; `$tables` are the site's. */
    public function as_record(array $tables)
    {
        $record = ['name' => $this->given['DB_NAME'], 'host' => $this->given['DB_HOST']];
        $this->config();
        try {
            $there = Database::open($this->site->with_settings($this->given));
            $record += ['engine' => $there->engine, 'version' => $there->version];
            if ($this->is_same($there)) {
                $this->block('same_database', 'it is the database that the site uses already', 'name another one in [runtime.database]');
            } else {
                $this->empty($there);
                $this->grants($there, $tables);
                $this->packet($there);
                $record['mapped'] = (object) $this->dialect($there, $tables);
            }
        } catch (Failure $e) {
            $this->block('target_refuses', 'it does not let us in: ' . $e->getMessage(), 'compare [runtime.database] with the host\'s panel');
        } catch (mysqli_sql_exception $e) {
            $this->block('target_refuses', 'it cannot be looked at: ' . $e->getMessage(), 'look at the database and its log');
        }
        return $record + ['blockers' => array_slice($this->blockers, 0, TARGET_BLOCKERS)];
    }

    private function block($code, $message, $hint)
    {
        $this->blockers[] = ['code' => $code, 'message' => $message, 'hint' => $hint];
    }

    /** One server has many addresses: what a session of one locks by name, the other sees only on the same server. */
    private function is_same(Database $there)
    {
        if ($there->one('SELECT DATABASE()') !== $this->live->one('SELECT DATABASE()')) {
            return false;
        }
        $lock = $this->live->quote('modoseru ' . random_hex(16));
        $this->live->one("SELECT GET_LOCK($lock, 0)");
        $seen = $there->one("SELECT IS_USED_LOCK($lock)") !== null;
        $this->live->one("SELECT RELEASE_LOCK($lock)");
        return $seen;
    }

    private function empty(Database $there)
    {
        $schema = $there->quote($there->name);
        $found = array_column($there->rows("SELECT TABLE_NAME n FROM information_schema.TABLES WHERE TABLE_SCHEMA=$schema "
            . "UNION ALL SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=$schema "
            . "UNION ALL SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=$schema LIMIT 1000"), 'n');
        if ($found) {
            $this->block('not_empty', "it is not empty: {$found[0]}" . (count($found) > 1 ? ' and ' . (count($found) - 1) . ' more' : ''),
                'name a new, empty database in [runtime.database]');
        }
    }

    private function grants(Database $there, array $tables)
    {
        $has = $there->grants();
        $views = in_array(true, array_column($tables, 'view'), true) ? ['CREATE VIEW', 'SHOW VIEW'] : [];
        $triggers = $this->live->triggers($tables) ? ['TRIGGER'] : [];
        if ($has !== null && $missing = array_diff(array_merge(TARGET_GRANTS, $views, $triggers), $has)) {
            $this->block('no_grant', 'its user may not ' . implode(', ', $missing), 'grant it in the host\'s panel');
        }
    }

    /** A row that fits into one piece here must fit into one there. */
    private function packet(Database $there)
    {
        list($here, $most) = [(int) $this->live->one('SELECT @@max_allowed_packet'), (int) $there->one('SELECT @@max_allowed_packet')];
        if ($most < min($here, 16777216)) {
            $this->block('small_packet', 'it accepts ' . size_text($most) . ' in one piece, the live one ' . size_text($here), 'raise max_allowed_packet');
        }
    }

    /** Collations that another takes the place of; engines and collations without one are in the way. */
    private function dialect(Database $there, array $tables)
    {
        $dialect = new Dialect($there);
        foreach ($tables as $name => $facts) {
            if (!$facts['view'] && $facts['engine'] !== null) {
                $dialect->translated($this->live->query('SHOW CREATE TABLE ' . Database::name($name))->fetch_row()[1]);
            }
        }
        foreach ($dialect->unknown as $name => $what) {
            $this->block('dialect', "it does not know the $what $name that the site uses", 'change those tables, or move to a server of their own kind');
        }
        return array_slice($dialect->mapped, 0, 100);
    }

    /** What wp-config.php takes from elsewhere (getenv, another file) cannot be written into it. */
    private function config()
    {
        // Each value is one that nobody could have meant, so that a line that is not used shows.
        $wanted = [];
        foreach (CREDENTIALS as $constant) {
            $wanted[$constant] = random_hex(16);
        }
        $file = $this->site->config_file;
        try {
            $now = Installation::from_source(with_constants((string) @file_get_contents($file), $wanted), $file, $this->site->abspath);
        } catch (Failure $e) {
            $this->block('config', $e->getMessage(), $e->hint);
            return;
        }
        $elsewhere = array_filter(array_keys($wanted), function ($constant) use ($now, $wanted) {
            return $now->setting($constant) !== $wanted[$constant];
        });
        if ($elsewhere) {
            $this->block('config', "wp-config.php takes " . implode(', ', $elsewhere) . ' from elsewhere: it cannot be rewritten',
                'define them in wp-config.php itself');
        } elseif (!is_writable($file) && !is_writable(dirname($file))) {
            $this->block('config', 'wp-config.php cannot be written by this account', 'correct its owner');
        }
    }
}
