<?php
// A post comes back: its rows and files are staged, read back, and switched; what they replace is kept for the undo.
//
// The rows are one database transaction, which also writes to a table of one row (`_mTAG_0`): whether it was carried out
// is known from there after any death. `rows` of a plan: the scope (IDs), and `source`, a file of rows in the form of a dump.

const IN_AT_ONCE = 2000;

/** Steps and outcome are those of any restore. */
function restore_post(Operation $operation, Generation $generation, $id)
{
    $generation->check_index();
    $plan = new PostPlan($operation->request, $generation, $id);
    if ($plan->blockers) {
        throw new Failure($plan->blockers[0]['code'], $plan->blockers[0]['message'], $plan->blockers[0]['hint']);
    }
    foreach ($plan->warnings as $warning) {
        $operation->note($warning['code'], $warning['message'], 'warning', "post:$id");
    }
    $operation->remember('database', [$plan->database->name, $plan->database->prefix]);
    $operation->remember('tag', substr($operation->id, -6));
    $operation->step('stage');
    $units = stage_post_files($operation, $generation, $plan);
    $rows = stage_post_rows($operation, $plan);
    $operation->step('verify');
    verify_post($operation, $plan, $units, $rows);
    $operation->step('switch');
    switch_over($operation, ['units' => $units, 'tables' => null, 'closed' => [], 'rows' => $rows]);
}

function stage_post_files(Operation $operation, Generation $generation, PostPlan $plan)
{
    if (!$plan->files) {
        return [];
    }
    $place = staging_place($operation, uploads_of($plan->site, $plan->database));
    keeping_time(dirname($place), function () use ($place) {
        make_folder("$place/stage");
    });
    $operation->remember('places', [$place]);
    $reader = new PackReader($generation->packs);
    $units = [];
    foreach ($plan->files as $i => $file) {
        stage_file($reader, $file['entry'], "$place/stage/$i");
        $units[] = ['live' => $file['live'], 'stage' => "$place/stage/$i", 'old' => "$place/old/$i", 'carry' => []];
        $operation->progress($i + 1, count($plan->files), 'files');
    }
    return $units;
}

function stage_post_rows(Operation $operation, PostPlan $plan)
{
    $path = "{$operation->folder}/after.sql.gz";
    $part = (new Dump($plan->database, $path))->part('after', function (Dump $dump) use ($plan) {
        foreach ($plan->rows as list($name, $row)) {
            $dump->row($row, $plan->table($name));
        }
    });
    return $plan->scope + ['source' => ['path' => $path, 'part' => $part]];
}

/** What was staged is read back: every file's hash, every row. */
function verify_post(Operation $operation, PostPlan $plan, array $units, array $rows)
{
    foreach ($units as $i => $unit) {
        if (file_sha256($unit['stage']) !== $plan->files[$i]['entry']->sha256) {
            throw new Failure('damaged', 'what was staged does not read back: ' . escape_path($plan->files[$i]['entry']->path), 'look at the disk, then try again');
        }
    }
    foreach ($operation->recall('places', []) as $place) {
        sync_folder($place);
    }
    $count = 0;
    foreach (rows_of_source($rows['source']) as $row) {
        $count++;
    }
    if ($count !== count($plan->rows)) {
        throw new Failure('damaged', 'what was staged of its rows does not read back', 'look at the disk, then try again');
    }
}

function rows_of_source(array $source)
{
    $handle = @fopen($source['path'], 'rb');
    if (!$handle) {
        throw new Failure('damaged', "the kept rows {$source['path']} cannot be read", 'restore the post from a generation instead');
    }
    try {
        foreach (DumpRows::read($handle, $source['part']) as $row) {
            yield $row;
        }
    } finally {
        fclose($handle);
    }
}

/** The `rows` of a plan that takes `$other` back: what it has replaced is the source. */
function rows_taken_back(Operation $other)
{
    $rows = $other->recall('plan')['rows'] ?? null;
    return $rows ? ['woken' => [], 'source' => $other->recall('before')] + $rows : null;
}

/** The switch of the rows. What they replace lies in `before.sql.gz`, and the journal knows it, before anything is changed. */
function switch_rows(Operation $operation, array $rows)
{
    $database = database_of($operation);
    $mark = Database::name("_m{$operation->recall('tag')}_0");
    $database->query("CREATE TABLE IF NOT EXISTS $mark (state int) ENGINE=InnoDB AS SELECT 0 AS state");
    (new RowsSwitch($operation, $database, $rows))->carry_out('before', $mark, 1);
}

/** From any point of `switch_rows` at which a process may have died. */
function switch_rows_back(Operation $operation, array $rows)
{
    $database = database_of($operation);
    $name = "_m{$operation->recall('tag')}_0";
    if (!$operation->recall('before') || !table_exists($database, $name)) {
        return;
    }
    $switch = new RowsSwitch($operation, $database, ['woken' => [], 'source' => $operation->recall('before')] + $rows);
    // Without transactions the mark tells nothing about the rows: what was kept is written again, whatever is there.
    if ((int) $database->one('SELECT COALESCE(MAX(state),0) FROM ' . Database::name($name)) === 1 || !$switch->is_transactional()) {
        $switch->carry_out('taken', Database::name($name), 0);
    }
}

/** One exchange of the rows of a scope for those of a source. */
final class RowsSwitch
{
    private $operation;
    private $database;
    private $rows;
    private $posts;
    private $comments;
    /** IDs of the taxonomies whose counts may change. */
    private $taxonomies;
    /** Terms and taxonomies for which the source has no row: they were made by what is taken back. */
    private $goes = ['terms' => [], 'term_taxonomy' => []];

    public function __construct(Operation $operation, Database $database, array $rows)
    {
        $this->operation = $operation;
        $this->database = $database;
        $this->rows = $rows;
    }

    public function is_transactional()
    {
        $tables = $this->database->tables();
        foreach (POST_TABLES as $name) {
            $facts = $tables[$this->database->prefix . $name] ?? null;
            if ($facts && strcasecmp((string) $facts['engine'], 'InnoDB') !== 0) {
                return false;
            }
        }
        return true;
    }

    /** `$kept` names the file and the memory of what is replaced; `$mark` becomes `$state` in the same transaction. */
    public function carry_out($kept, $mark, $state)
    {
        $this->database->query('SET SESSION innodb_lock_wait_timeout=5');
        for ($try = 1; ; $try++) {
            try {
                $this->database->query('START TRANSACTION');
                $this->attempt($kept);
                $this->database->query("UPDATE $mark SET state=$state");
                $this->database->query('COMMIT');
                return;
            } catch (mysqli_sql_exception $e) {
                $this->give_back();
                if (in_array($e->getCode(), DATABASE_AWAY, true)) {
                    throw $e;
                }
                // 1205, 1213: somebody else holds a row, or wants what we hold; nothing was changed.
                if (!in_array($e->getCode(), [1205, 1213], true) || $try === 4) {
                    throw new Failure('no_switch', 'the rows cannot be switched: ' . $e->getMessage(), 'try again when the site is quiet');
                }
            } catch (Failure $e) {
                $this->give_back();
                throw $e;
            }
        }
    }

    private function give_back()
    {
        try {
            $this->database->query('ROLLBACK');
        } catch (mysqli_sql_exception $e) {
            return;  // A lost connection is rolled back by the server.
        }
    }

    private function attempt($kept)
    {
        $this->measure();
        $path = "{$this->operation->folder}/$kept.sql.gz";
        $part = (new Dump($this->database, $path))->part($kept, function (Dump $dump) {
            foreach ($this->conditions(true) as list($name, $where)) {
                $dump->content($this->database->prefix . $name, $where, null, 0, 0);
            }
        });
        $counts = ['comments' => $this->comments_of_posts(), 'terms' => $this->terms_counted()];
        $this->operation->remember($kept, ['path' => $path, 'part' => $part, 'counts' => $counts]);
        foreach ($this->conditions(false) as list($name, $where)) {
            $this->database->query("DELETE FROM {$this->sql($name)} WHERE $where");
        }
        foreach (rows_of_source($this->rows['source']) as $row) {
            $this->write($row);
        }
        foreach ($this->rows['woken'] as $id => $status) {
            $this->database->query("UPDATE {$this->sql('comments')} SET comment_approved={$this->database->quote($status)} WHERE comment_ID=" . (int) $id
                . " AND comment_approved='post-trashed'");
        }
        $this->let_terms_go();
        $this->count();
    }

    private function sql($name)
    {
        return Database::name($this->database->prefix . $name);
    }

    /** What the exchange is about, under locks: nothing of it changes between what is kept and what is written. */
    private function measure()
    {
        $has = array_fill_keys(['posts', 'comments', 'terms', 'term_taxonomy', 'term_relationships'], []);
        $keys = ['posts' => 'ID', 'comments' => 'comment_ID', 'terms' => 'term_id', 'term_taxonomy' => 'term_taxonomy_id', 'term_relationships' => 'term_taxonomy_id'];
        foreach (rows_of_source($this->rows['source']) as $row) {
            $name = $this->name_of($row);
            if (isset($keys[$name])) {
                $has[$name][$row->number($keys[$name])] = true;
            }
        }
        $this->posts = $this->rows['posts'];
        $comments = array_flip($this->rows['comments']) + $has['comments'];
        foreach ($this->among('ID', $this->posts) as $where) {
            $this->database->query("SELECT ID FROM {$this->sql('posts')} WHERE $where FOR UPDATE");
        }
        // Comments of a post that goes go with it: they are kept, and come back with it.
        foreach ($this->among('comment_post_ID', array_diff($this->posts, array_keys($has['posts']))) as $where) {
            foreach ($this->database->rows("SELECT comment_ID i FROM {$this->sql('comments')} WHERE $where FOR UPDATE") as $row) {
                $comments[(int) $row['i']] = true;
            }
        }
        $this->comments = array_keys($comments);
        $this->goes = ['terms' => array_diff($this->rows['terms'], array_keys($has['terms'])),
            'term_taxonomy' => array_diff($this->rows['taxonomies'], array_keys($has['term_taxonomy']))];
        $this->taxonomies = array_keys($this->taxonomies_of_posts() + $has['term_relationships'] + array_flip($this->rows['taxonomies']));
        foreach ($this->conditions(true) as list($name, $where)) {
            $this->database->query("SELECT 1 FROM {$this->sql($name)} WHERE $where FOR UPDATE");
        }
    }

    private function name_of(DumpRow $row)
    {
        $prefix = $this->database->prefix;
        $name = strncmp($row->table, $prefix, strlen($prefix)) === 0 ? substr($row->table, strlen($prefix)) : '';
        if (!in_array($name, POST_TABLES, true)) {
            throw new Failure('damaged', "the kept rows name the table {$row->table}", 'restore the post from a generation instead');
        }
        return $name;
    }

    /** [[table, condition]…]: what is replaced, and, to be kept, also what is only touched. */
    private function conditions($kept)
    {
        $found = [];
        $of = function ($name, $column, array $ids) use (&$found) {
            foreach ($this->among($column, $ids) as $where) {
                $found[] = [$name, $where];
            }
        };
        $of('posts', 'ID', $this->posts);
        $of('postmeta', 'post_id', $this->posts);
        $of('term_relationships', 'object_id', $this->posts);
        $of('comments', 'comment_ID', $kept ? array_unique(array_merge($this->comments, array_keys($this->rows['woken']))) : $this->comments);
        $of('commentmeta', 'comment_id', $kept ? array_unique(array_merge($this->comments, array_keys($this->rows['woken']))) : $this->comments);
        if ($kept) {
            $of('terms', 'term_id', $this->rows['terms']);
            $of('termmeta', 'term_id', $this->rows['terms']);
            $of('term_taxonomy', 'term_taxonomy_id', $this->rows['taxonomies']);
        }
        return $found;
    }

    private function among($column, array $ids)
    {
        return array_map(function ($some) use ($column) {
            return "$column IN (" . implode(',', array_map('intval', $some)) . ')';
        }, array_chunk($ids, IN_AT_ONCE));
    }

    /** A term may be there still, because others use it. */
    private function write(DumpRow $row)
    {
        $keys = ['terms' => 'term_id', 'term_taxonomy' => 'term_taxonomy_id', 'termmeta' => 'meta_id'];
        $name = $this->name_of($row);
        $key = $keys[$name] ?? null;
        if ($key !== null && $row->value($key) !== null && $this->database->one("SELECT COUNT(*) FROM {$this->sql($name)} WHERE $key=" . $row->number($key))) {
            return;
        }
        foreach ($row->sets() as $sql) {
            $this->database->query($sql);
        }
        $this->database->query($row->insert($row->table));
    }

    /** A term that was brought back goes again, unless somebody uses it meanwhile, or one below it. */
    private function let_terms_go()
    {
        $going = $this->goes['term_taxonomy'];
        do {
            $before = $going;
            $going = array_values(array_filter($going, function ($id) use ($going) {
                return !$this->database->one("SELECT (SELECT COUNT(*) FROM {$this->sql('term_relationships')} WHERE term_taxonomy_id=$id) + (SELECT COUNT(*) FROM "
                    . "{$this->sql('term_taxonomy')} c JOIN {$this->sql('term_taxonomy')} p ON c.parent=p.term_id AND c.taxonomy=p.taxonomy WHERE p.term_taxonomy_id=$id "
                    . 'AND c.term_taxonomy_id NOT IN (' . implode(',', $going) . '))');
            }));
        } while ($going !== $before && $going);
        foreach ($this->among('term_taxonomy_id', $going) as $where) {
            $this->database->query("DELETE FROM {$this->sql('term_taxonomy')} WHERE $where");
        }
        foreach ($this->goes['terms'] as $id) {
            if (!$this->database->one("SELECT COUNT(*) FROM {$this->sql('term_taxonomy')} WHERE term_id=$id")) {
                $this->database->query("DELETE FROM {$this->sql('terms')} WHERE term_id=$id");
                if (table_exists($this->database, $this->database->prefix . 'termmeta')) {
                    $this->database->query("DELETE FROM {$this->sql('termmeta')} WHERE term_id=$id");
                }
            }
        }
    }

    private function taxonomies_of_posts()
    {
        $found = [];
        foreach ($this->among('object_id', $this->posts) as $where) {
            foreach ($this->database->rows("SELECT DISTINCT term_taxonomy_id i FROM {$this->sql('term_relationships')} WHERE $where") as $row) {
                $found[(int) $row['i']] = true;
            }
        }
        return $found;
    }

    /**
     * What comes from a generation is counted as WordPress does. What is taken back gets the counts that it had, right or
     * wrong, and what others changed since is added.
     */
    private function count()
    {
        $then = $this->rows['source']['counts'] ?? null;
        foreach ($this->comments_of_posts() as $id => $count) {
            $to = isset($then['comments'][$id]) ? 'comment_count+' . ($count - $then['comments'][$id]) : $count;
            $this->database->query("UPDATE {$this->sql('posts')} SET comment_count=$to WHERE ID=$id");
        }
        foreach ($this->terms_counted() as $id => list(, $count)) {
            $to = isset($then['terms'][$id]) ? $then['terms'][$id][0] + $count - $then['terms'][$id][1] : $count;
            $this->database->query("UPDATE {$this->sql('term_taxonomy')} SET count=$to WHERE term_taxonomy_id=$id");
        }
    }

    /** Post => approved comments, as wp_update_comment_count_now counts them. */
    private function comments_of_posts()
    {
        $found = [];
        foreach ($this->among('p.ID', $this->posts) as $where) {
            foreach ($this->database->rows("SELECT p.ID i, (SELECT COUNT(*) FROM {$this->sql('comments')} c WHERE c.comment_post_ID=p.ID AND c.comment_approved='1') n "
                . "FROM {$this->sql('posts')} p WHERE $where") as $row) {
                $found[(int) $row['i']] = (int) $row['n'];
            }
        }
        return $found;
    }

    /** Taxonomy => [its count, its uses], as _update_post_term_count does: what is published, and what is attached to what is. */
    private function terms_counted()
    {
        $found = [];
        foreach ($this->among('x.term_taxonomy_id', $this->taxonomies) as $where) {
            foreach ($this->database->rows("SELECT x.term_taxonomy_id i, x.count c, (SELECT COUNT(*) FROM {$this->sql('term_relationships')} r JOIN {$this->sql('posts')} p ON p.ID=r.object_id "
                . "LEFT JOIN {$this->sql('posts')} a ON a.ID=p.post_parent WHERE r.term_taxonomy_id=x.term_taxonomy_id AND (p.post_status='publish' OR (p.post_type='attachment' "
                . "AND p.post_status='inherit' AND a.post_status='publish'))) n FROM {$this->sql('term_taxonomy')} x WHERE $where") as $row) {
                $found[(int) $row['i']] = [(int) $row['c'], (int) $row['n']];
            }
        }
        return $found;
    }
}
