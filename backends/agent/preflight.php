<?php
// Everything that would make a restore fail, or that the operator should know, found before anything is touched.

/** What a restore needs of the database's user; LOCK TABLES is only asked for where tables are to be left as they are. */
const GRANTS = ['SELECT', 'INSERT', 'CREATE', 'DROP', 'ALTER'];
/** InnoDB keeps indexes and the room of deleted rows beside what a dump shows. */
const TABLE_SPACE = 1.6;

/** What was found: {blockers, warnings}, each a list of {code, message, hint}. */
final class Preflight
{
    public $blockers = [];
    public $warnings = [];
    /** What opens the database: {opens: `live`, `given`, `generation` or null, name, user, host}; null where none is needed. */
    public $database = null;
    /** Whether the restored wp-config.php gets other credentials than the generation's. */
    public $writes = false;
    private $request;
    private $generation;
    private $only;

    public function __construct(Request $request, Generation $generation, $only)
    {
        $this->request = $request;
        $this->generation = $generation;
        $this->only = $only;
    }

    public static function of(Request $request, Generation $generation, $only)
    {
        $self = new self($request, $generation, $only);
        if ($only !== 'database') {
            $self->files();
        }
        if ($only === 'all' || $only === 'database') {
            try {
                $self->database(Database::open($self->access()));
            } catch (Failure $e) {
                $self->block($e->word, $e->getMessage(), $e->hint);
            } catch (mysqli_sql_exception $e) {
                $self->block('no_database', 'the database refused: ' . $e->getMessage(), 'look at the database and its log');
            }
        }
        $only === 'files' && $self->config();
        $self->versions();
        return $self;
    }

    /** Whose database it is, and what is to be known of that. Throws as `Access::of` does. */
    private function access()
    {
        $this->database = ['opens' => null];
        try {
            $access = Access::of($this->request, $this->generation);
        } catch (NoAccess $e) {
            $this->database += $e->known;
            throw $e;
        }
        $this->database = ['opens' => $access->from];
        $told = $access->told($this->only === 'database');
        if ($told !== null) {
            $this->warn('credentials', $told);
        }
        $this->writes = $access->writes && $this->only !== 'database';
        return $access->site;
    }

    /** Files alone come back whatever the database says; that wp-config.php will not open it is to be known. */
    private function config()
    {
        try {
            $this->access();
        } catch (Failure $e) {
            $this->warn($e->word, $e->getMessage(), $e->hint);
        }
    }

    /** The first thing that stands in the way, thrown. */
    public function refuse()
    {
        if ($this->blockers) {
            throw new Failure($this->blockers[0]['code'], $this->blockers[0]['message'], $this->blockers[0]['hint']);
        }
    }

    private function block($word, $message, $hint)
    {
        $this->blockers[] = ['code' => $word, 'message' => $message, 'hint' => $hint];
    }

    private function warn($word, $message, $hint = '')
    {
        $this->warnings[] = ['code' => $word, 'message' => $message, 'hint' => $hint];
    }

    // ---------------------------------------------------------------- files

    private function files()
    {
        $root = $this->request->root;
        if (is_dir($root) && !is_writable($root)) {
            $this->block('not_writable', "the document root $root cannot be written by this account", 'correct its owner or permissions');
        }
        if (is_dir($root) && !is_array($this->only) && !can_be_renamed($root)) {
            $this->warn('entry_by_entry', "$root cannot be renamed, so its entries are switched one after the other", 'the site is closed for the moment that takes');
        }
        foreach (is_array($this->only) ? [] : array_keys($this->generation->summary['areas']) as $area) {
            $live = live_at($this->request, $this->generation, $area);
            $near = $this->nearest(dirname($live));
            if (!exists($live) && !is_writable($near)) {
                $this->block('not_writable', "$live is to be made, and this account cannot write in $near", 'make it in the host\'s panel, or correct [server] root');
            }
        }
        $this->generation->folder === null ? $this->free($this->nearest($root), 2 * $this->generation->summary['counts']['bytes']) : $this->room();
    }

    /** Bytes and entries that are not there yet, on the disk where each area is staged, and in the quotas. */
    private function room()
    {
        $need = [];
        $bytes = $entries = $all = 0;
        $lacking = is_array($this->only) ? array_flip($this->only) : [];
        foreach ($this->generation->manifest() as $entry) {
            $all++;
            if (is_array($this->only)) {
                if (!($under = wanted_under($entry->path, $this->only))) {
                    continue;
                }
                unset($lacking[$under]);
            }
            $live = live_at($this->request, $this->generation, $entry->path);
            if ($entry->type === 'f' && !$this->request->get('fresh') && has_attributes(@lstat($live), $entry)) {
                continue;
            }
            $area = strstr($entry->path, '/', true) ?: $entry->path;
            $need[$area] = ($need[$area] ?? 0) + $entry->size + 4096;
            $bytes += $entry->size;
            $entries++;
        }
        foreach (array_keys($lacking) as $path) {
            $this->block('no_generation', substr($path, 5) . " is not in the generation {$this->generation->id}", 'take another generation');
        }
        $disks = [];
        foreach ($need as $area => $size) {
            $near = $this->nearest(live_at($this->request, $this->generation, $area));
            $disk = (string) (@stat($near)['dev'] ?? '');
            $disks[$disk] = [$near, ($disks[$disk][1] ?? 0) + $size];
        }
        foreach ($disks as list($near, $size)) {
            $this->free($near, $size);
        }
        $most = $this->request->get('bytes_max');
        $used = $this->generation->summary['counts']['bytes'];
        if ($most !== null && $bytes + $used > $most) {
            $this->block('no_space', sprintf('the restore needs %s beside the site, and the quota is %s', size_text($bytes), size_text($most)), 'free some space in the account');
        }
        $most = $this->request->get('files_max');
        if ($most !== null && $entries + $all > $most) {
            $this->block('no_space', "the account may hold $most files, and the restore would make $entries beside the site's", 'remove some files');
        }
    }

    private function nearest($path)
    {
        while (!is_dir($path)) {
            $path = dirname($path);
        }
        return $path;
    }

    private function free($place, $bytes)
    {
        $free = @disk_free_space($place);
        if ($free !== false && $bytes + DISK_SPARE > $free) {
            $this->block('no_space', sprintf('the restore needs %s and %s has %s free', size_text($bytes + DISK_SPARE), $place, size_text($free)), 'free some space in the account');
        }
    }

    // ---------------------------------------------------------------- database

    private function database(Database $database)
    {
        $parts = array_filter($this->generation->summary['tables'], function ($part) {
            return $part['kind'] === 'table';
        });
        if ($database->is_here()) {
            $this->free($this->nearest($this->request->folder), (int) (TABLE_SPACE * array_sum(array_column($parts, 'size'))));
        }
        $most = (int) $database->one('SELECT @@max_allowed_packet');
        $largest = max(array_merge([0], array_map(function ($part) {
            return (int) ($part['largest'] ?? 0);
        }, $parts)));
        if ($most < 1048576 || $largest + 1024 > $most) {
            $this->block('small_packet', 'the database accepts ' . size_text($most) . ' in one piece, and the generation holds a value of '
                . size_text(max($largest, 1048576)), 'raise max_allowed_packet');
        }
        $this->grants($database);
        $this->generation->folder === null || $this->dialect($database);
        $this->strangers($database);
    }

    private function grants(Database $database)
    {
        $needed = GRANTS;
        foreach ($this->generation->summary['tables'] as $part) {
            if ($part['kind'] === 'view') {
                $needed['view'] = 'CREATE VIEW';
            } elseif ($part['kind'] === 'triggers' && $part['rows']) {
                $needed['trigger'] = 'TRIGGER';
            }
        }
        $has = $database->grants();
        $missing = $has === null ? [] : array_diff($needed, $has);
        if ($missing) {
            $this->block('no_grant', 'the database user may not ' . implode(', ', $missing) . " in {$database->name}", 'grant it in the host\'s panel');
        }
    }

    private function dialect(Database $database)
    {
        $dialect = new Dialect($database);
        $handle = fopen($this->generation->folder . '/database.sql.gz', 'rb');
        foreach ($this->generation->summary['tables'] as $part) {
            if ($part['kind'] !== 'table') {
                continue;
            }
            foreach (dump_part($handle, $part) as list($kind, , $sql)) {
                if ($kind === 'create') {
                    $dialect->translated($sql);
                    break;
                }
            }
        }
        foreach ($dialect->unknown as $name => $what) {
            $this->block('dialect', "the database does not know the $what $name that the generation uses", 'restore it into a server of its own kind');
        }
        foreach ($dialect->mapped as $from => $to) {
            $this->warn('collation', "the collation $from is not known here; $to takes its place");
        }
    }

    /** A foreign key of somebody else's table would go on pointing at the table that was put aside. */
    private function strangers(Database $database)
    {
        $mine = $database->tables();
        foreach ($database->references() as $row) {
            if (isset($mine[$row['to']]) && !isset($mine[$row['from']])) {
                $this->block('foreign_key', "the table {$row['from']}, which is not this site's, refers to {$row['to']} ({$row['name']})",
                    'restore the files alone, or drop that foreign key');
            }
        }
    }

    // ---------------------------------------------------------------- versions

    private function versions()
    {
        $then = (string) ($this->generation->summary['php'] ?? '');
        if ($then !== '' && version_prefix($then) !== version_prefix(PHP_VERSION)) {
            $this->warn('php', 'the generation was made under PHP ' . version_prefix($then) . ', the command line has ' . version_prefix(PHP_VERSION), 'see that the web\'s PHP suits it');
        }
        $of = $this->generation->summary['wordpress'] ?? null;
        if (!is_array($of) || !in_array($this->only, ['files', 'database'], true)) {
            return;
        }
        try {
            $site = Installation::find($this->request);
            $now = $this->only === 'files' ? database_version(Database::open($site)) : (wordpress_of($site->abspath)['database'] ?? null);
        } catch (Failure $e) {
            return;
        }
        $older = $this->only === 'files' ? $of['database'] < $now : $now < $of['database'];
        if ($now !== null && $older) {
            $this->warn('wordpress', $this->only === 'files' ? "the database is of a newer WordPress than the generation's files"
                : "the generation's database is of a newer WordPress than the files here", 'restore both, or update WordPress afterwards');
        }
    }
}

function version_prefix($version)
{
    return implode('.', array_slice(explode('.', $version), 0, 2));
}

/** What wp-includes/version.php says: {version, database}, or null. */
function wordpress_of($abspath)
{
    $text = (string) @file_get_contents("$abspath/wp-includes/version.php", false, null, 0, 65536);
    $version = preg_match('/\$wp_version\s*=\s*[\'"]([^\'"]{1,40})[\'"]/', $text, $found) ? $found[1] : null;
    return $version === null ? null : ['version' => $version, 'database' => preg_match('/\$wp_db_version\s*=\s*(\d{1,9})/', $text, $found) ? (int) $found[1] : 0];
}

function database_version(Database $database)
{
    $options = $database->prefix . 'options';
    $value = isset($database->tables()[$options])
        ? $database->one('SELECT option_value FROM ' . Database::name($options) . " WHERE option_name='db_version'") : null;
    return $value === null ? null : (int) $value;
}

/** What a CREATE TABLE names and another server may not have: collations are mapped where that is safe, the rest is told. */
final class Dialect
{
    /** Collations that took another's place, and names for which there is none: name => what. */
    public $mapped = [];
    public $unknown = [];
    private $collations;
    private $engines;

    public function __construct(Database $database)
    {
        $this->collations = array_flip(array_map('strtolower', array_column($database->rows('SHOW COLLATION'), 'Collation')));
        $this->engines = [];
        foreach ($database->rows('SHOW ENGINES') as $row) {
            if (in_array($row['Support'], ['YES', 'DEFAULT'], true)) {
                $this->engines[strtolower($row['Engine'])] = true;
            }
        }
    }

    public function translated($sql)
    {
        // Texts and names are passed over: a comment may say COLLATE too.
        return preg_replace_callback('/\'(?:[^\'\\\\]++|\\\\.|\'\')*+\'|`(?:[^`]++|``)*+`|\b(COLLATE[ =]|ENGINE=)(\w+)/s', function ($found) {
            if (!isset($found[1])) {
                return $found[0];
            }
            if ($found[1] === 'ENGINE=') {
                if (!isset($this->engines[strtolower($found[2])])) {
                    $this->unknown[$found[2]] = 'engine';
                }
                return $found[0];
            }
            return $found[1] . $this->collation($found[2]);
        }, $sql);
    }

    /** MySQL 8 and MariaDB 10.10 each have a family of their own; MariaDB shows utf8mb3 by its old name before 10.6. */
    private function collation($name)
    {
        $known = function ($name) {
            return isset($this->collations[strtolower($name)]);
        };
        if ($known($name)) {
            return $name;
        }
        $others = [preg_replace('/^utf8mb3_/', 'utf8_', $name), preg_replace('/^utf8_/', 'utf8mb3_', $name)];
        if (preg_match('/^utf8mb4_(?:\w+_)?(?:0900|uca1400)(?:_\w+)?_ai_ci$/', $name)) {
            array_push($others, 'utf8mb4_0900_ai_ci', 'utf8mb4_uca1400_ai_ci', 'utf8mb4_unicode_520_ci');
        } elseif (preg_match('/^utf8mb4_(?:0900|uca1400)_(?:as_cs|bin)$/', $name)) {
            $others[] = 'utf8mb4_bin';
        }
        foreach ($others as $other) {
            if ($known($other)) {
                return $this->mapped[$name] = $other;
            }
        }
        $this->unknown[$name] = 'collation';
        return $name;
    }
}
