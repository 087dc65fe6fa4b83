<?php
// What a restore would meet and what it would lose, counted before anything is touched; and the rows that it will lose,
// written beside the evidence before it does.

function answer_preview(Request $request)
{
    $generation = sealed_generation($request);
    $only = only_of($request);
    if (is_post($only)) {
        return preview_post($request, $generation, $only);
    }
    $generation->move || $generation->check_index();
    $found = Preflight::of($request, $generation, $only);
    foreach (Operation::unfinished($request) as $other) {
        if (Lock::held($request) || $other->asked) {
            $found->blockers[] = ['code' => $other->asked ? 'waiting' : 'busy', 'message' => "{$other->kind} is not finished on this site", 'hint' => "modoseru follow {$request->site} {$other->id}"];
            break;
        }
    }
    if ($only !== 'database' && !$generation->move) {
        try {
            Installation::find_bare($request);
        } catch (Failure $e) {  // its files may be gone, or its root is mistyped and another folder would be overwritten
            in_array('credentials', array_column($found->warnings, 'code'), true) && $e->word === 'no_config' || $found->warnings[] = ['code' => $e->word, 'message' => $e->getMessage(), 'hint' => $e->hint];
        }
    }
    if ($generation->move) {
        $generation->summary['created'] = '1970-01-02T00:00:00Z';  // whatever the site has is not the other one's
    }
    $loss = ['posts' => 0, 'comments' => 0, 'users' => 0, 'orders' => 0, 'entries' => 0, 'files' => 0, 'newest' => []];
    $recommended = null;
    if ($only === 'all' || $only === 'database') {
        try {
            $newer = new NewerRows(Database::open(installation_for_restore($request, $generation)), $generation);
            $loss = $newer->counted() + $loss;
            $recommended = $only === 'all' && !$generation->move && $newer->looks_clean() ? 'files' : null;
        } catch (Failure $e) {
            $found->warnings[] = ['code' => $e->word, 'message' => 'what would be lost from the database is not known: ' . $e->getMessage(), 'hint' => $e->hint];
        } catch (mysqli_sql_exception $e) {
            $found->warnings[] = ['code' => 'no_database', 'message' => 'what would be lost from the database is not known: ' . $e->getMessage(), 'hint' => 'look at the tables'];
        }
    }
    if ($only !== 'database' && !$generation->move) {
        $loss['files'] = files_newer($request, $generation, $only);
    }
    return ['generation' => $generation->id, 'blockers' => $found->blockers, 'warnings' => $found->warnings, 'loss' => $loss, 'recommended' => $recommended, 'database' => $found->database];
}

/** Rows that came or changed since a generation, by the times that WordPress and the common plugins keep. */
final class NewerRows
{
    /** Table without prefix => [kind, time column, what else must hold]. Form entries that are posts count as entries. */
    const SOURCES = [
        ['posts', 'posts', 'post_modified_gmt', "post_type NOT IN ('revision','shop_order','shop_order_refund','flamingo_inbound','nf_sub','feedback') AND post_status NOT IN ('auto-draft','inherit')"],
        ['posts', 'orders', 'post_modified_gmt', "post_type IN ('shop_order','shop_order_refund')"],
        ['posts', 'entries', 'post_modified_gmt', "post_type IN ('flamingo_inbound','nf_sub','feedback')"],
        ['comments', 'comments', 'comment_date_gmt', "comment_type NOT IN ('order_note','action_log')"],
        ['users', 'users', 'user_registered', '1=1'],
        ['wc_orders', 'orders', 'date_updated_gmt', '1=1'],
        ['wpforms_entries', 'entries', 'date', '1=1'],
        ['gf_entry', 'entries', 'date_created', '1=1'],
        ['frm_items', 'entries', 'created_at', '1=1'],
        ['db7_forms', 'entries', 'form_date', '1=1'],
        ['fluentform_submissions', 'entries', 'created_at', '1=1'],
    ];
    private $database;
    private $generation;
    private $tables;

    public function __construct(Database $database, Generation $generation)
    {
        $this->database = $database;
        $this->generation = $generation;
        $this->tables = $database->tables();
    }

    /** {posts, comments, users, orders, entries, newest}: the newest posts by title. */
    public function counted()
    {
        $found = ['posts' => 0, 'comments' => 0, 'users' => 0, 'orders' => 0, 'entries' => 0, 'newest' => []];
        foreach ($this->sources() as list($table, $kind, $where, $time)) {
            $found[$kind] += (int) $this->database->one('SELECT COUNT(*) FROM ' . Database::name($table) . " WHERE $where");
            if ($kind === 'posts') {
                foreach ($this->database->rows('SELECT post_title t FROM ' . Database::name($table) . " WHERE $where ORDER BY $time DESC LIMIT 5") as $row) {
                    $found['newest'][] = $row['t'];
                }
            }
        }
        return $found;
    }

    /** [table, kind, condition, time column] of those that are there. WordPress keeps its times in UTC, most plugins too. */
    private function sources()
    {
        $since = $this->database->quote(gmdate('Y-m-d H:i:s', strtotime($this->generation->summary['created'])));
        foreach (self::SOURCES as list($name, $kind, $time, $where)) {
            $table = $this->database->prefix . $name;
            if (isset($this->tables[$table]) && $this->has_columns($table, $time, $where)) {
                yield [$table, $kind, "$time > $since AND $where", $time];
            }
        }
    }

    private function has_columns($table, $time, $where)
    {
        $columns = array_column($this->database->rows('SHOW COLUMNS FROM ' . Database::name($table)), 'Field');
        preg_match_all('/\b[a-z_]+(?= (?:NOT )?IN\b)/', $where, $used);
        return !array_diff(array_merge([$time], $used[0]), $columns);
    }

    /**
     * Whether the database looks clean: who the site says it is, its users and what may do what are those of the generation,
     * and something would be lost. Then the files alone are the better restore: orders and comments stay.
     */
    public function looks_clean()
    {
        $then = $this->generation->summary['identity'] ?? [];
        if (!$then || $then != identity($this->database)) {
            return false;
        }
        $dump = new Dump($this->database);
        foreach ($this->generation->summary['tables'] as $part) {
            if ($part['name'] === $this->database->prefix . 'users' && isset($this->tables[$part['name']])) {
                return array_sum(array_diff_key($this->counted(), ['newest' => 1])) > 0
                    && $dump->measure($part['name'], null, 0, 0)['sha256'] === $part['sha256'];
            }
        }
        return false;
    }

    /** As statements that put them back, one gzip file; returns the rows written. */
    public function write($path, Operation $operation)
    {
        $dump = new Dump($this->database, $path);
        $rows = 0;
        foreach ($this->sources() as list($table, , $where)) {
            $rows += $dump->some($table, $where, $operation);
        }
        $dump->close();
        return $rows;
    }
}

/** The rows that are newer than the generation, beside the evidence: they outlive it and are read without Modoseru. */
function keep_what_is_lost(Operation $operation, Generation $generation)
{
    try {
        $path = $operation->folder . '/lost.sql.gz';
        $rows = (new NewerRows(Database::open(installation_for_restore($operation->request, $generation)), $generation))->write($path, $operation);
        if ($rows) {
            $operation->note('lost', "$rows rows that are newer than the generation are kept in ops/{$operation->id}/lost.sql.gz", 'info');
        } else {
            @unlink($path);
        }
    } catch (mysqli_sql_exception $e) {
        // A table that is broken is why there is a restore; all of it is evidence anyway.
        $operation->note('lost', 'the newer rows could not be written apart: ' . $e->getMessage(), 'warning');
    }
}

/** Files that the generation does not hold as they are now. By size and time: a switch renews the rest of a stat. */
function files_newer(Request $request, Generation $generation, $only)
{
    $newer = 0;
    $abspath = $request->root;
    try {
        $abspath = Installation::find_bare($request)->abspath;
    } catch (Failure $e) {
        // A site whose files are gone, or some of them, can lose what is left.
    }
    $held = $generation->manifest();
    $areas = $generation->summary['areas'];
    ksort($areas, SORT_STRING);
    foreach (array_keys($areas) as $area) {
        foreach (walk_area($area, live_at($request, $generation, $area), exclusion_pattern($request), $abspath, function () {
        }) as list($path, $stat, $type)) {
            for (; $held->valid() && strcmp($held->current()->path, $path) < 0; $held->next()) {
            }
            $same = $held->valid() && $held->current()->path === $path && $held->current()->size === $stat['size'] && $held->current()->mtime === $stat['mtime'];
            $newer += $type === 'f' && !$same && (!is_array($only) || wanted_under($path, $only)) ? 1 : 0;
        }
    }
    return $newer;
}
