<?php
// What differs in the database between the live site and a generation: rows by table, and posts and pages by title.

/** What WordPress and shops keep in the posts table that nobody writes or reads as a page. */
const NO_PAGES = ['revision', 'attachment', 'nav_menu_item', 'customize_changeset', 'oembed_cache', 'user_request', 'wp_navigation',
    'wp_global_styles', 'wp_font_family', 'wp_font_face', 'scheduled-action', 'shop_order', 'shop_order_refund', 'shop_order_placehold'];
const NO_STATE = ['auto-draft', 'inherit'];
/** A post is changed when any of these is; what plugins count or note in other columns is no edit. */
const WRITTEN = ['post_title', 'post_content', 'post_excerpt', 'post_name', 'post_password', 'post_status', 'post_type', 'post_parent',
    'post_author', 'post_date', 'post_modified_gmt'];
const TOLD = ['post_title', 'post_status', 'post_type', 'post_modified_gmt'];

final class RowDifference
{
    public $warnings = [];
    public $identity = [];
    private $generation;
    private $tables;
    private $posts = [];
    private $most;

    public function __construct(Generation $generation, $most)
    {
        $this->generation = $generation;
        $this->most = $most;
        $this->tables = new Listed($most);
        // What is lost first, where the list must be cut.
        foreach (['gone', 'trashed', 'changed', 'added'] as $change) {
            $this->posts[$change] = new Listed($most);
        }
    }

    public function lists()
    {
        $posts = Listed::of($this->posts, $this->most);
        $items = $posts->items();
        usort($items, function ($a, $b) {
            return [$b['modified'], $b['id']] <=> [$a['modified'], $a['id']];
        });
        $newest_first = new Listed($this->most);
        array_map([$newest_first, 'add'], $items);
        $newest_first->count = $posts->count;
        return ['tables' => $this->tables, 'posts' => $newest_first];
    }

    /** What cannot be read becomes a warning: the files are told whatever the database does. */
    public function find(Installation $site, Telling $telling)
    {
        try {
            $database = Database::open($site);
            $this->rows($database, $telling);
            $this->who($database);
            $this->all_posts($database, $telling);
        } catch (Failure $e) {
            $this->warnings[] = warning($e->word, 'the database is not compared, or not all of it: ' . $e->getMessage(), $e->hint);
        } catch (mysqli_sql_exception $e) {
            $this->warnings[] = warning('no_database', 'the database is not compared, or not all of it: ' . $e->getMessage(), 'look at the tables');
        }
    }

    /** The parts of the dump that hold tables, by name. */
    private function then()
    {
        return array_column(array_filter($this->generation->summary['tables'], function ($part) {
            return $part['kind'] === 'table';
        }), null, 'name');
    }

    private function rows(Database $database, Telling $telling)
    {
        $then = $this->then();
        $now = array_filter($database->tables(), function ($facts) {
            return !$facts['view'];
        });
        $names = array_keys($then + $now);
        sort($names, SORT_STRING);
        foreach ($names as $number => $name) {
            $telling->progress($number, count($names), 'tables');
            $rows = null;
            if (isset($now[$name])) {
                try {
                    $rows = (int) $database->one('SELECT COUNT(*) FROM ' . Database::name($name));
                } catch (mysqli_sql_exception $e) {
                    $this->warnings[] = warning('no_database', "the table $name cannot be read: " . $e->getMessage(), 'repair it, or restore the database');
                }
            }
            $this->tables->add(['name' => (string) $name, 'rows_then' => isset($then[$name]) ? $then[$name]['rows'] : null, 'rows_now' => $rows]);
        }
    }

    /** Addresses and administrators that are not what they were. */
    private function who(Database $database)
    {
        $then = (array) ($this->generation->summary['identity'] ?? []);
        $now = identity($database);
        foreach ($then + $now as $name => $ignored) {
            $before = array_values(array_map('strval', array_filter((array) ($then[$name] ?? []), 'is_scalar')));
            $after = array_values(array_map('strval', (array) ($now[$name] ?? [])));
            if ($before !== $after) {
                $this->identity[] = ['name' => (string) $name, 'then' => $before, 'now' => $after];
            }
        }
    }

    /** Of each site of the installation: a network has one table of posts a site. */
    private function all_posts(Database $database, Telling $telling)
    {
        $pairs = [];
        foreach ([[$this->then(), $this->generation->summary['database']['prefix']], [$database->tables(), $database->prefix]] as $side => list($tables, $prefix)) {
            foreach ($tables as $name => $facts) {
                if (preg_match('/^' . preg_quote($prefix, '/') . '(?:(\d{1,9})_)?posts$/D', $name, $found)) {
                    $pairs[$found[1] ?? ''][$side] = $side ? $name : $facts;
                }
            }
        }
        foreach ($pairs as $blog => $pair) {
            try {
                $this->posts_of($database, $pair[0] ?? null, $pair[1] ?? null, $blog === '' ? null : (int) $blog, $telling);
            } catch (mysqli_sql_exception $e) {
                $this->warnings[] = warning('no_database', "posts are not compared: {$e->getMessage()}", 'repair the table, or restore the database');
            } catch (Failure $e) {
                $this->warnings[] = warning($e->word, "posts are not compared: {$e->getMessage()}", $e->hint);
            }
        }
    }

    /** Both sides come in the order of their ids, so that a site of any size is merged as it is read. */
    private function posts_of(Database $database, $part, $table, $blog, Telling $telling)
    {
        $handle = fopen($this->generation->folder . '/database.sql.gz', 'rb');
        if (!$handle) {
            throw new Failure('damaged', 'the dump is gone or cannot be read', 'take another generation');
        }
        $live = null;
        try {
            $columns = $this->written($database, $part, $table, $handle);
            $then = $part ? ascending(posts_then($handle, $part, $columns)) : new EmptyIterator();
            $live = $table === null ? null : posts_query($database, $table, $columns);
            $now = $live ? ascending(posts_now($live, $columns)) : new EmptyIterator();
            $total = $part ? $part['rows'] : 0;
            for ($done = 0; $then->valid() || $now->valid(); $done++) {
                $done % 500 || $telling->progress(min($done, $total), $total + 1, 'rows');
                $a = $then->valid() ? $then->current() : null;
                $b = $now->valid() ? $now->current() : null;
                $first = $a && $b ? $a['id'] <=> $b['id'] : ($a ? -1 : 1);
                $this->post($first <= 0 ? $a : null, $first >= 0 ? $b : null, $blog);
                $first <= 0 && $then->next();
                $first >= 0 && $now->next();
            }
        } finally {
            fclose($handle);
            $live && $live->free();
        }
    }

    /** The columns of a post that both sides have; where one has no rows, those of the other. */
    private function written(Database $database, $part, $table, $handle)
    {
        $there = $part ? columns_of_dump($handle, $part) : [];
        $here = $table === null ? [] : array_column($database->rows('SHOW COLUMNS FROM ' . Database::name($table)), 'Field');
        $both = $there && $here ? array_intersect($there, $here) : array_merge($there, $here);
        if ($both && array_diff(array_merge(['ID'], TOLD), $both)) {
            throw new Failure('no_database', 'the table of posts lacks columns of WordPress', 'restore the database');
        }
        return array_values(array_intersect(WRITTEN, $both));
    }

    private function post($then, $now, $blog)
    {
        if ($then && $now && $then['hash'] === $now['hash']) {
            return;
        }
        $then = $then && self::is_page($then) ? $then : null;
        $now = $now && self::is_page($now) ? $now : null;
        if (!$then && !$now) {
            return;
        }
        $of = $now ?: $then;
        $change = !$now ? 'gone' : ($now['post_status'] === 'trash' && (!$then || $then['post_status'] !== 'trash') ? 'trashed' : ($then ? 'changed' : 'added'));
        $title = $of['post_title'] === '' && $then ? $then['post_title'] : $of['post_title'];
        $at = $of['post_modified_gmt'];
        $this->posts[$change]->add(['id' => $of['id'], 'title' => first_characters($title, 200), 'type' => first_characters($of['post_type'], 40),
            'change' => $change, 'modified' => preg_match('/^[1-9]\d{3}-\d\d-\d\d \d\d:\d\d:\d\d/', $at) && strtotime("$at UTC") ? gmdate('Y-m-d\TH:i:s\Z', strtotime("$at UTC")) : null,
            'status' => first_characters($of['post_status'], 40), 'blog' => $blog]);
    }

    private static function is_page(array $post)
    {
        return !in_array($post['post_type'], NO_PAGES, true) && !in_array($post['post_status'], NO_STATE, true);
    }
}

/** Also of a text that ends within a character. */
function first_characters($text, $most)
{
    $whole = preg_match('//u', $text) ? $text : preg_replace('/[\xc0-\xff][\x80-\xbf]{0,2}$/D', '', $text);
    return preg_match('/^.{0,' . $most . '}/us', $whole, $found) ? $found[0] : substr($text, 0, $most);
}

/** Two sorted streams can be merged, others cannot: a table without its primary key is in no order. */
function ascending(iterable $posts)
{
    $before = -1;
    foreach ($posts as $post) {
        if ($post['id'] <= $before) {
            throw new Failure('no_order', 'the table of posts has no primary key', 'repair the table');
        }
        $before = $post['id'];
        yield $post;
    }
}

/** The server hashes, so that no content travels. Bytes as they are stored, as the dump has them. */
function posts_query(Database $database, $table, array $columns)
{
    $read = ['ID'];
    foreach ($columns as $column) {
        $read[] = 'MD5(' . Database::name($column) . ')';
    }
    foreach (TOLD as $column) {
        $read[] = $column === 'post_title' ? "CAST(LEFT($column,1000) AS BINARY)" : $column;
    }
    $words = function (array $words) use ($database) {
        return implode(',', array_map([$database, 'quote'], $words));
    };
    return $database->link->query('SELECT ' . implode(',', $read) . ' FROM ' . Database::name($table) . ' WHERE post_type NOT IN (' . $words(NO_PAGES)
        . ') AND post_status NOT IN (' . $words(NO_STATE) . ') ORDER BY ID', MYSQLI_USE_RESULT);
}

function posts_now(mysqli_result $result, array $columns)
{
    while ($row = $result->fetch_row()) {
        $post = ['id' => (int) array_shift($row), 'hash' => implode(' ', array_splice($row, 0, count($columns)))];
        yield $post + array_combine(TOLD, array_map('strval', $row));
    }
}

function posts_then($handle, array $part, array $columns)
{
    foreach (dumped_rows($handle, $part) as $row) {
        $post = ['id' => (int) ($row['ID'][0] ?? 0), 'hash' => implode(' ', array_map(function ($column) use ($row) {
            return $row[$column][1] ?? '';
        }, $columns))];
        foreach (TOLD as $column) {
            $post[$column] = (string) ($row[$column][0] ?? '');
        }
        yield $post;
    }
}

// ---------------------------------------------------------------- what Dump::content has written

/** Dump writes none that is longer; a part that says otherwise must not take our memory. */
const STATEMENT = 16777216;

/** The names of the columns of a dumped table; none where it was empty. */
function columns_of_dump($handle, array $part)
{
    foreach (dump_part($handle, $part, STATEMENT) as list($kind, , $sql)) {
        if ($kind === 'insert') {
            $at = 0;
            return inserted_columns($sql, $at);
        }
    }
    return [];
}

/**
 * The rows of a dumped table as [column => [first bytes, MD5 of all]], null for NULL. A value that was put aside for its
 * size is hashed as its pieces come. Throws `damaged`.
 */
function dumped_rows($handle, array $part)
{
    $aside = [];
    foreach (dump_part($handle, $part, STATEMENT) as list($kind, , $sql)) {
        if ($kind === 'set') {
            put_together($aside, $sql);
        } elseif ($kind === 'insert') {
            $at = 0;
            $columns = inserted_columns($sql, $at);
            for ($end = strlen($sql); $at < $end; $at++) {
                yield array_combine($columns, inserted_row($sql, $at, count($columns), $aside));
                if ($at < $end && $sql[$at] !== ',') {
                    throw unreadable_dump();
                }
            }
        }
    }
}

function unreadable_dump()
{
    return new Failure('damaged', 'a statement of the dump cannot be read', 'take another generation');
}

/** `INSERT INTO table (columns) VALUES `; leaves `$at` behind it. */
function inserted_columns($sql, &$at)
{
    if (!preg_match('/\AINSERT INTO `(?:[^`]|``)+` \(((?:`(?:[^`]|``)+`,?)+)\) VALUES /', substr($sql, 0, 65536), $found)) {
        throw unreadable_dump();
    }
    $at = strlen($found[0]);
    preg_match_all('/`((?:[^`]|``)+)`/', $found[1], $names);
    return str_replace('``', '`', $names[1]);
}

/** `(value,…)`; leaves `$at` behind it. */
function inserted_row($sql, &$at, $count, array $aside)
{
    if (($sql[$at] ?? '') !== '(') {
        throw unreadable_dump();
    }
    $row = [];
    for ($i = 0; $i < $count; $i++) {
        $at++;
        $row[] = inserted_value($sql, $at, $aside);
        if (($sql[$at] ?? '') !== ($i < $count - 1 ? ',' : ')')) {
            throw unreadable_dump();
        }
    }
    $at++;
    return $row;
}

/** [first bytes, MD5]; null for NULL. */
function inserted_value($sql, &$at, array $aside)
{
    if (($sql[$at] ?? '') === '@') {
        $name = substr($sql, $at, strcspn($sql, ',)', $at));
        $at += strlen($name);
        if (!isset($aside[$name])) {
            throw unreadable_dump();
        }
        return [$aside[$name][0], hash_final(hash_copy($aside[$name][1]))];
    }
    $value = dumped_literal($sql, $at);
    return $value === null ? null : [substr($value, 0, 1024), md5($value)];
}

/** A text, bytes or a number as Dump::literal writes them; null for NULL. Leaves `$at` behind it. */
function dumped_literal($sql, &$at)
{
    if (($sql[$at] ?? '') === "'") {
        $start = ++$at;
        // An escape takes its next byte with it; a quote that is none ends the text.
        for ($at += strcspn($sql, "'\\", $at); ($sql[$at] ?? '') === '\\'; $at += strcspn($sql, "'\\", $at)) {
            $at += 2;
        }
        if (($sql[$at] ?? '') !== "'") {
            throw unreadable_dump();
        }
        $text = substr($sql, $start, $at++ - $start);
        return strpos($text, '\\') === false ? $text : strtr($text, ['\\0' => "\0", '\\n' => "\n", '\\r' => "\r", '\\\\' => '\\', "\\'" => "'", '\\"' => '"', '\\Z' => "\x1a"]);
    }
    $word = substr($sql, $at, strcspn($sql, ',)', $at));
    $at += strlen($word);
    if ($word === 'NULL') {
        return null;
    }
    if (strncmp($word, '0x', 2) === 0) {
        // By hand: a pattern over half a megabyte runs out of PCRE's stack.
        if (strlen($word) === 2 || strlen($word) % 2 || strspn($word, '0123456789abcdef', 2) !== strlen($word) - 2) {
            throw unreadable_dump();
        }
        return hex2bin(substr($word, 2));
    }
    if (!preg_match('/^-?[0-9.]+(?:e[+-]?\d+)?$/Di', $word)) {
        throw unreadable_dump();
    }
    return $word;
}

/** `SET @m=value`, `SET @m=CONCAT(@m,value)`, `SET @m=NULL`. */
function put_together(array &$aside, $sql)
{
    if (!preg_match('/\ASET (@m\d+)=(CONCAT\(\1,)?/', $sql, $found)) {
        throw unreadable_dump();
    }
    $at = strlen($found[0]);
    $value = dumped_literal($sql, $at);
    if ($value === null) {
        unset($aside[$found[1]]);
        return;
    }
    if (empty($found[2])) {
        $aside[$found[1]] = ['', hash_init('md5')];
    } elseif (!isset($aside[$found[1]])) {
        throw unreadable_dump();
    }
    hash_update($aside[$found[1]][1], $value);
    $aside[$found[1]][0] = substr($aside[$found[1]][0] . $value, 0, 1024);
}
