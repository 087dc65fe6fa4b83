<?php
// What bringing a post back would do to the living site: which rows, which files, what stands in the way. Changes nothing.

const POST_TABLES = ['posts', 'postmeta', 'comments', 'commentmeta', 'term_relationships', 'term_taxonomy', 'terms', 'termmeta'];

final class PostPlan
{
    public $blockers = [];
    public $warnings = [];
    public $database;
    public $site;
    public $stored;
    /** [[table, DumpRow]…], in the order in which they are written. */
    public $rows = [];
    /** What is replaced: IDs of `posts`, `comments`, `terms`, `taxonomies`; `woken` are comments that were trashed with the post. */
    public $scope = ['posts' => [], 'comments' => [], 'terms' => [], 'taxonomies' => [], 'woken' => []];
    /** Files to write: [['entry' => Entry, 'live' => path, 'there' => bool]…]. */
    public $files = [];
    private $request;
    private $generation;
    private $live = null;
    private $tables;
    private $free = [];
    private $names = [];
    private $names_back = [];
    private $kept = 0;
    private $state;

    /** Throws what reading the generation and reaching the site's database throw. */
    public function __construct(Request $request, Generation $generation, $id)
    {
        $this->request = $request;
        $this->generation = $generation;
        $this->site = Installation::find($request);
        $this->database = Database::open($this->site);
        $this->tables = $this->database->tables();
        $this->stored = new StoredPost($generation, $id);
        foreach ($this->of_chosen($this->stored->relations, 'object_id', [$id]) as $row) {
            $this->names[] = $this->stored->title_of_term($row->number('term_taxonomy_id'));
        }
        if (!$this->refuse_what_cannot_be()) {
            $this->choose_posts();
            $this->choose_meta();
            $this->choose_comments();
            $this->choose_terms();
            $this->choose_files();
            $this->check_columns();
        }
        $this->state = $this->state();
    }

    private function block($word, $message, $hint)
    {
        $this->blockers[] = ['code' => $word, 'message' => $message, 'hint' => $hint];
    }

    private function warn($word, $message, $hint = '')
    {
        $this->warnings[] = ['code' => $word, 'message' => $message, 'hint' => $hint];
    }

    /** The table of that name in the living site; its prefix may be another one than the generation's. */
    public function table($name)
    {
        return $this->database->prefix . $name;
    }

    private function sql($name)
    {
        return Database::name($this->table($name));
    }

    private function refuse_what_cannot_be()
    {
        if (!is_article($this->stored->row)) {
            $this->block('not_a_post', "{$this->stored->id} is no article: it is a {$this->stored->row->value('post_type')}",
                'restore the database of the generation instead');
        }
        foreach (POST_TABLES as $name) {
            if (isset($this->tables[$this->table($name)])) {
                if ($this->tables[$this->table($name)]['view']) {
                    $this->block('no_table', "{$this->table($name)} is a view", 'restore the database of the generation instead');
                }
            } elseif ($name !== 'termmeta' || DumpRows::has_table($this->generation, $this->generation->summary['database']['prefix'] . $name)) {
                $this->block('no_table', "the site has no table {$this->table($name)}", 'restore the database of the generation first');
            }
        }
        if ($this->blockers) {
            return true;
        }
        if ($this->site->setting('MULTISITE')) {
            $this->warn('multisite', 'of this network only the main site\'s posts can be brought back alone');
        }
        $loose = array_filter(POST_TABLES, function ($name) {
            return isset($this->tables[$this->table($name)]) && strcasecmp((string) $this->tables[$this->table($name)]['engine'], 'InnoDB') !== 0;
        });
        if ($loose) {
            $this->warn('not_transactional', 'not all of its tables are InnoDB, so the change is not one instant: '
                . implode(', ', array_map([$this, 'table'], $loose)), 'what it replaces is kept first; a crash in the middle is taken back');
        }
        $watched = array_unique(array_column($this->database->triggers(array_intersect_key($this->tables, array_flip(array_map([$this, 'table'], POST_TABLES)))), 'table'));
        if ($watched) {
            $this->warn('trigger', 'a trigger of the site acts on what is written: ' . implode(', ', $watched));
        }
        return false;
    }

    private function choose_posts()
    {
        $stored = $this->stored;
        $known = [];
        foreach ($this->living('posts', 'ID', array_merge([$stored->id], array_keys($stored->attachments))) as $row) {
            $known[(int) $row['ID']] = $row;
        }
        $this->live = $known[$stored->id] ?? null;
        if ($this->live && !self::is_same($stored->row, $this->live)) {
            $this->block('other_post', "the ID {$stored->id} is now another one's: " . ($this->live['post_type'] ?? '') . ' "' . plain_text((string) $this->live['post_title'], 80)
                . '"; it could only come back under a new ID', 'copy its text out of the generation by hand');
        }
        $chosen = [$stored->id => $stored->row];
        foreach ($stored->attachments as $id => $row) {
            $there = $known[$id] ?? null;
            if ($there && !self::is_same($row, $there)) {
                if ($stored->own[$id]) {
                    $this->block('other_post', "the ID $id of its attachment \"" . plain_text((string) $row->value('post_title'), 80) . '" is now another one\'s: "'
                        . plain_text((string) $there['post_title'], 80) . '"', 'copy its text out of the generation by hand');
                } else {
                    $this->warn('picture_gone', "its featured image is gone, and the ID $id is another one's now", 'choose another picture');
                }
                unset($stored->attachments[$id]);
            } elseif (!$there || (int) $there['post_parent'] === $stored->id) {
                $chosen[$id] = $row;
            }
        }
        if ($stored->row->value('post_status') !== 'publish') {
            $this->warn('not_published', "in this generation it is not published: {$stored->row->value('post_status')}");
        }
        $this->choose_authors($chosen);
        $this->choose_parent();
        $this->choose_name();
        foreach ($chosen as $id => $row) {
            $this->scope['posts'][] = $id;
            $this->rows[] = ['posts', $row];
        }
    }

    /** By type and guid; the host in it may have changed. */
    private static function is_same(DumpRow $then, array $now)
    {
        return (string) $then->value('post_type') === (string) ($now['post_type'] ?? '')
            && guid_path((string) $then->value('guid')) === guid_path((string) ($now['guid'] ?? ''));
    }

    private function choose_authors(array $rows)
    {
        $wanted = array_unique(array_map(function ($row) {
            return $row->number('post_author');
        }, $rows));
        $users = $this->site->setting('CUSTOM_USER_TABLE') ?: $this->table('users');
        $there = array_map('intval', array_column($this->database->rows('SELECT ID FROM ' . Database::name($users) . ' WHERE ID IN (' . implode(',', $wanted) . ')'), 'ID'));
        $gone = array_diff($wanted, $there, [0]);
        if (!$gone) {
            return;
        }
        $meta = $this->site->setting('CUSTOM_USER_META_TABLE') ?: $this->table('usermeta');
        $found = $this->database->rows('SELECT u.ID, u.user_login FROM ' . Database::name($users) . ' u JOIN ' . Database::name($meta) . ' m ON m.user_id=u.ID WHERE m.meta_key='
            . $this->database->quote($this->database->prefix . 'capabilities') . " AND m.meta_value LIKE '%\"administrator\";b:1%' ORDER BY u.ID LIMIT 1");
        if (!$found) {
            $this->warn('no_author', 'its author is gone, and no administrator was found: nobody is its author');
            return;
        }
        foreach ($rows as $row) {
            if (in_array($row->number('post_author'), $gone, true)) {
                $row->set('post_author', (int) $found[0]['ID']);
            }
        }
        $this->warn('no_author', "its author is gone: it becomes {$found[0]['user_login']}'s");
    }

    private function choose_parent()
    {
        $parent = $this->stored->row->number('post_parent');
        if ($parent && !$this->living('posts', 'ID', [$parent])) {
            $this->warn('no_parent', "the page above it (ID $parent) is gone: it stands by itself until that one is back", "modoseru restore {$this->request->site} --only post:$parent");
        }
    }

    /** Two posts of one name hide each other: the one that comes back gets the number that WordPress would give it. */
    private function choose_name()
    {
        $row = $this->stored->row;
        $name = (string) $row->value('post_name');
        $taken = function ($name) use ($row) {
            return (bool) $this->database->one('SELECT COUNT(*) FROM ' . $this->sql('posts') . ' WHERE post_name=' . $this->database->quote($name)
                . " AND ID<>{$this->stored->id} AND post_status NOT IN ('trash','auto-draft','inherit') AND post_type=" . $this->database->quote((string) $row->value('post_type'))
                . ($row->value('post_type') === 'page' ? ' AND post_parent=' . $row->number('post_parent') : ''));
        };
        if ($name === '' || !$taken($name)) {
            return;
        }
        for ($i = 2; $taken($free = substr($name, 0, 190) . "-$i"); $i++) {
        }
        $row->set('post_name', $this->database->quote($free));
        $this->warn('name_taken', "its address is another post's now: it comes back as \"$free\"");
    }

    private function choose_meta()
    {
        $rows = $this->of_chosen($this->stored->meta, 'post_id', $this->scope['posts']);
        $this->renumber($rows, 'postmeta', 'meta_id', 'post_id', $this->scope['posts']);
        foreach ($rows as $row) {
            $this->rows[] = ['postmeta', $row];
        }
    }

    private function of_chosen(array $rows, $column, array $ids)
    {
        $ids = array_flip($ids);
        return array_values(array_filter($rows, function ($row) use ($column, $ids) {
            return isset($ids[$row->number($column)]);
        }));
    }

    /** Nothing refers to the number of a row of meta: where another has it, the row gets a new one. */
    private function renumber(array $rows, $table, $key, $owner, array $owners)
    {
        $ids = array_map(function ($row) use ($key) {
            return $row->number($key);
        }, $rows);
        $mine = array_flip($owners);
        $taken = [];
        foreach ($this->living($table, $key, $ids, "$key k, $owner o") as $row) {
            if (!isset($mine[(int) $row['o']])) {
                $taken[(int) $row['k']] = true;
            }
        }
        foreach ($rows as $row) {
            if (isset($taken[$row->number($key)])) {
                $row->set($key, 'NULL');
            }
        }
    }

    /** Comments that are there stay as they are moderated now; those that are missing come back. */
    private function choose_comments()
    {
        $stored = $this->of_chosen($this->stored->comments, 'comment_post_ID', $this->scope['posts']);
        $there = [];
        foreach ($this->living('comments', 'comment_ID', array_keys($this->stored->comments), 'comment_ID, comment_post_ID') as $row) {
            $there[(int) $row['comment_ID']] = (int) $row['comment_post_ID'];
        }
        foreach ($stored as $row) {
            $id = $row->number('comment_ID');
            if (!isset($there[$id])) {
                $this->scope['comments'][] = $id;
                $this->rows[] = ['comments', $row];
            } elseif ($there[$id] !== $row->number('comment_post_ID')) {
                $this->block('other_comment', "the ID $id of one of its comments is now that of a comment on another post", 'copy its text out of the generation by hand');
            }
        }
        $meta = $this->of_chosen($this->stored->comment_meta, 'comment_id', $this->scope['comments']);
        $this->renumber($meta, 'commentmeta', 'meta_id', 'comment_id', $this->scope['comments']);
        foreach ($meta as $row) {
            $this->rows[] = ['commentmeta', $row];
        }
        $this->wake_comments();
    }

    /** What WordPress trashed together with the post gets the state back that it had. */
    private function wake_comments()
    {
        $now = $this->living('comments', 'comment_post_ID', $this->scope['posts'], 'comment_ID, comment_approved');
        $this->kept = count($now);
        $noted = $this->database->one('SELECT meta_value FROM ' . $this->sql('postmeta') . " WHERE post_id={$this->stored->id} AND meta_key='_wp_trash_meta_comments_status' LIMIT 1");
        $noted = $noted ? @unserialize($noted, ['allowed_classes' => false]) : [];
        foreach ($now as $row) {
            $id = (int) $row['comment_ID'];
            if ($row['comment_approved'] === 'post-trashed') {
                $then = $this->stored->comments[$id] ?? null;
                $state = $then ? (string) $then->value('comment_approved') : (string) (is_array($noted) ? ($noted[$id] ?? '0') : '0');
                $this->scope['woken'][$id] = $state === 'post-trashed' ? '0' : $state;
            }
        }
    }

    /** A term that is there is taken as it is, also under another number; one that is gone comes back with those above it. */
    private function choose_terms()
    {
        $stored = $this->stored;
        $relations = $this->of_chosen($stored->relations, 'object_id', $this->scope['posts']);
        $place = [];
        foreach ($relations as $row) {
            $this->place_term($row->number('term_taxonomy_id'), $place);
        }
        $seen = [];
        foreach ($relations as $row) {
            $to = $place[$row->number('term_taxonomy_id')];
            if ($to !== null && !isset($seen["{$row->number('object_id')} $to"])) {
                $seen["{$row->number('object_id')} $to"] = true;
                $row->set('term_taxonomy_id', $to);
                $this->rows[] = ['term_relationships', $row];
            }
        }
    }

    /** Finds or plans the term; `$place` maps the generation's term_taxonomy_id to the site's, null where it cannot be. Returns the term's ID. */
    private function place_term($id, array &$place)
    {
        $row = $this->stored->taxonomies[$id] ?? null;
        $term = $row ? ($this->stored->terms[$row->number('term_id')] ?? null) : null;
        if (array_key_exists($id, $place)) {
            return $term ? $term->number('term_id') : 0;
        }
        $place[$id] = null;
        if (!$term) {
            $this->warn('no_term', "a term of it (#$id) is not whole in the generation, and is left out");
            return 0;
        }
        $taxonomy = $this->database->quote((string) $row->value('taxonomy'));
        $join = 'SELECT x.term_taxonomy_id i, x.term_id t FROM ' . $this->sql('term_taxonomy') . ' x JOIN ' . $this->sql('terms') . " t ON t.term_id=x.term_id WHERE x.taxonomy=$taxonomy AND ";
        $found = $this->database->rows($join . "x.term_taxonomy_id=$id AND x.term_id={$row->number('term_id')}")
            ?: $this->database->rows($join . 't.slug=' . $this->database->quote((string) $term->value('slug')) . ' LIMIT 1');
        if ($found) {
            $place[$id] = (int) $found[0]['i'];
            return (int) $found[0]['t'];
        }
        $this->names_back[] = $this->stored->title_of_term($id);
        if ($parent = $this->taxonomy_of((string) $row->value('taxonomy'), $row->number('parent'))) {
            $row->set('parent', $this->place_term($parent, $place));
        } else {
            $row->set('parent', 0);
        }
        $this->new_term($row, $term);
        $place[$id] = $row->number('term_taxonomy_id');
        return $term->number('term_id');
    }

    private function new_term(DumpRow $row, DumpRow $term)
    {
        $old = $term->number('term_id');
        if (!in_array($old, $this->scope['terms'], true)) {
            $same = $this->living('terms', 'term_id', [$old], 'slug');
            if (!$same || $same[0]['slug'] !== (string) $term->value('slug')) {
                $term->set('term_id', $same ? $this->free_id('terms', 'term_id') : $old);
                $this->scope['terms'][] = $term->number('term_id');
                $this->rows[] = ['terms', $term];
                $meta = $this->of_chosen($this->stored->term_meta, 'term_id', [$old]);
                $this->renumber($meta, 'termmeta', 'meta_id', 'term_id', []);
                foreach ($meta as $one) {
                    $one->set('term_id', $term->number('term_id'));
                    $this->rows[] = ['termmeta', $one];
                }
            }
        }
        if ($this->living('term_taxonomy', 'term_taxonomy_id', [$row->number('term_taxonomy_id')], 'term_id')) {
            $row->set('term_taxonomy_id', $this->free_id('term_taxonomy', 'term_taxonomy_id'));
        }
        $row->set('term_id', $term->number('term_id'));
        $row->set('count', 0);
        $this->scope['taxonomies'][] = $row->number('term_taxonomy_id');
        $this->rows[] = ['term_taxonomy', $row];
    }

    private function taxonomy_of($taxonomy, $term)
    {
        foreach ($term ? $this->stored->taxonomies : [] as $id => $row) {
            if ($row->number('term_id') === $term && $row->value('taxonomy') === $taxonomy) {
                return $id;
            }
        }
        return null;
    }

    private function free_id($table, $column)
    {
        if (!isset($this->free[$table])) {
            $this->free[$table] = (int) $this->database->one("SELECT COALESCE(MAX($column),0) FROM " . $this->sql($table));
            foreach ($table === 'terms' ? $this->stored->terms : $this->stored->taxonomies as $row) {
                $this->free[$table] = max($this->free[$table], $row->number($column));
            }
        }
        return ++$this->free[$table];
    }

    /** Rows of the living site by their numbers. */
    private function living($table, $column, array $ids, $what = '*')
    {
        $found = [];
        foreach (array_chunk($ids, 2000) as $some) {
            $found = array_merge($found, $this->database->rows("SELECT $what FROM " . $this->sql($table) . " WHERE $column IN (" . implode(',', array_map('intval', $some)) . ')'));
        }
        return $found;
    }

    private function choose_files()
    {
        $wanted = [];
        foreach ($this->stored->attachments as $id => $row) {
            foreach ($this->paths_of($id) as $path) {
                $wanted[$path] = !isset($wanted[$path]) ? in_array($id, $this->scope['posts'], true) : $wanted[$path] || in_array($id, $this->scope['posts'], true);
            }
        }
        if (!$wanted) {
            return;
        }
        $uploads = uploads_of($this->site, $this->database);
        list($area, $start) = $this->area_of($uploads);
        $left = $wanted;
        $bytes = 0;
        foreach ($area === null ? [] : $this->generation->manifest() as $entry) {
            $path = strncmp($entry->path, $start, strlen($start)) === 0 ? substr($entry->path, strlen($start)) : null;
            if ($path === null || !isset($wanted[$path]) || $entry->type !== 'f') {
                continue;
            }
            unset($left[$path]);
            $live = "$uploads/$path";
            $there = exists($live);
            if ($there && (!$wanted[$path] || (is_file($live) && filesize($live) === $entry->size && file_sha256($live) === $entry->sha256))) {
                continue;
            }
            $bytes += $entry->size;
            $this->files[] = ['entry' => $entry, 'live' => $live, 'there' => $there];
        }
        if ($left) {
            $this->warn('no_file', count($left) . ' files of its attachments are not in the generation: ' . implode(', ', array_slice(array_keys($left), 0, 3)));
        }
        $this->check_place($uploads, $bytes);
    }

    private function check_place($uploads, $bytes)
    {
        $free = @disk_free_space($this->request->folder);
        if ($free !== false && $this->files && $bytes + DISK_SPARE > $free) {
            $this->block('no_space', sprintf('its files need %s and the server has %s free', size_text($bytes), size_text($free)), 'free some space in the account');
        }
        foreach ($this->files as $file) {
            for ($folder = dirname($file['live']); !is_dir($folder) && strlen($folder) > 1; $folder = dirname($folder)) {
            }
            if (!is_writable($folder)) {
                $this->block('not_writable', "$folder cannot be written by this account", 'correct its owner or permissions');
                return;
            }
        }
    }

    /** The files of an attachment, below the uploads: the original, its sizes, and what an edit has kept. */
    private function paths_of($id)
    {
        $meta = $this->stored->meta_of($id);
        $file = $meta['_wp_attached_file'] ?? '';
        if ($file === '' || !is_safe_path($file)) {
            return [];
        }
        $names = [];
        $known = @unserialize($meta['_wp_attachment_metadata'] ?? '', ['allowed_classes' => false]);
        $known = is_array($known) ? $known : [];
        $names[] = $known['original_image'] ?? null;
        $edited = @unserialize($meta['_wp_attachment_backup_sizes'] ?? '', ['allowed_classes' => false]);
        foreach ([$known['sizes'] ?? [], $edited] as $sizes) {
            foreach (is_array($sizes) ? $sizes : [] as $size) {
                $names[] = is_array($size) ? ($size['file'] ?? null) : null;
            }
        }
        $folder = strpos($file, '/') === false ? '' : dirname($file) . '/';
        $paths = [$file];
        foreach ($names as $name) {
            if (is_string($name) && is_safe_path($folder . $name) && strpos($name, '/') === false) {
                $paths[] = $folder . $name;
            }
        }
        return array_unique($paths);
    }

    /** The area of the generation in which the uploads lie, and how their paths begin in its manifest. */
    private function area_of($uploads)
    {
        $best = [null, ''];
        $long = -1;
        foreach ($this->generation->summary['areas'] as $area => $recorded) {
            $place = $area === 'root' ? $this->request->root : $recorded;
            foreach ([$uploads, realpath($uploads) ?: $uploads] as $path) {
                if ($area !== 'config' && Installation::below($path, $place) && strlen($place) > $long) {
                    $long = strlen($place);
                    $best = [$area, $area . substr($path, strlen($place)) . '/'];
                }
            }
        }
        return $best;
    }

    /** The living tables may have more columns than the generation's, not fewer. */
    private function check_columns()
    {
        $has = [];
        foreach ($this->rows as list($name, $row)) {
            if (!isset($has[$name])) {
                $has[$name] = [];
                foreach ($this->database->rows('SHOW COLUMNS FROM ' . $this->sql($name)) as $column) {
                    if (!preg_match('/\b(VIRTUAL|STORED|PERSISTENT)\b/i', $column['Extra'])) {
                        $has[$name][$column['Field']] = true;
                    }
                }
                $lost = array_diff_key($row->columns, $has[$name]);
                if ($lost) {
                    $this->block('columns', "the table {$this->table($name)} has no column " . implode(', ', array_keys($lost)) . ' any more', 'restore the database of the generation instead');
                }
            }
        }
    }

    private function state()
    {
        if (!$this->live) {
            return 'gone';
        }
        if (!self::is_same($this->stored->row, $this->live)) {
            return 'other';
        }
        if ($this->live['post_status'] === 'trash') {
            return 'trashed';
        }
        $same = mark_of_live($this->live) === mark_of_row($this->stored->row) && !$this->files && !$this->scope['comments'] && !$this->scope['taxonomies']
            && $this->meta_marks() && count($this->scope['posts']) === count($this->living('posts', 'ID', $this->scope['posts'], 'ID'));
        return $same ? 'same' : 'changed';
    }

    /** Whether meta and terms are as they were; who edits it at the moment is no part of a post. */
    private function meta_marks()
    {
        $passing = ['_edit_lock' => true, '_edit_last' => true];
        $then = $now = [];
        foreach ($this->stored->meta as $row) {
            if ($row->number('post_id') === $this->stored->id && !isset($passing[$row->value('meta_key')])) {
                $then[] = "{$row->value('meta_key')}\0{$row->value('meta_value')}";
            }
        }
        foreach ($this->living('postmeta', 'post_id', [$this->stored->id], 'meta_key k, meta_value v') as $row) {
            if (!isset($passing[$row['k']])) {
                $now[] = "{$row['k']}\0{$row['v']}";
            }
        }
        foreach ($this->rows as list($name, $row)) {
            if ($name === 'term_relationships' && $row->number('object_id') === $this->stored->id) {
                $then[] = $row->number('term_taxonomy_id');
            }
        }
        foreach ($this->living('term_relationships', 'object_id', [$this->stored->id], 'term_taxonomy_id t') as $row) {
            $now[] = (int) $row['t'];
        }
        sort($then);
        sort($now);
        return $then === $now;
    }

    /** What the protocol calls a Post. */
    public function as_record()
    {
        $stored = $this->stored;
        $id = $stored->id;
        $then = post_line($stored->row) + ['excerpt' => plain_text((string) $stored->row->value('post_content'), 200),
            'meta' => count($this->of_chosen($stored->meta, 'post_id', [$id])), 'comments' => count($this->of_chosen($stored->comments, 'comment_post_ID', [$id])),
            'attachments' => count($stored->attachments), 'terms' => $this->names];
        $new = count(array_filter($this->files, function ($file) {
            return !$file['there'];
        }));
        return ['generation' => $this->generation->id, 'id' => $id, 'state' => $this->state, 'then' => $then, 'now' => $this->live ? $this->now() : null,
            'blockers' => $this->blockers, 'warnings' => $this->warnings, 'comments_back' => count($this->scope['comments']) + count($this->scope['woken']),
            'comments_kept' => $this->kept - count($this->scope['woken']), 'terms_back' => $this->names_back, 'files_back' => $new,
            'files_replaced' => count($this->files) - $new];
    }

    private function now()
    {
        $id = $this->stored->id;
        $count = function ($table, $where) {
            return (int) $this->database->one('SELECT COUNT(*) FROM ' . $this->sql($table) . " WHERE $where");
        };
        $terms = $this->database->rows('SELECT t.name n FROM ' . $this->sql('term_relationships') . ' r JOIN ' . $this->sql('term_taxonomy')
            . ' x ON x.term_taxonomy_id=r.term_taxonomy_id JOIN ' . $this->sql('terms') . " t ON t.term_id=x.term_id WHERE r.object_id=$id ORDER BY r.term_order, x.term_taxonomy_id LIMIT 50");
        return ['type' => (string) $this->live['post_type'], 'title' => plain_text((string) $this->live['post_title'], 200), 'status' => (string) $this->live['post_status'],
            'modified' => moment_text((string) $this->live['post_modified_gmt']), 'excerpt' => plain_text((string) $this->live['post_content'], 200),
            'meta' => $count('postmeta', "post_id=$id"), 'comments' => $count('comments', "comment_post_ID=$id"),
            'attachments' => $count('posts', "post_parent=$id AND post_type='attachment'"), 'terms' => array_map(function ($row) {
                return plain_text($row['n'], 80);
            }, $terms)];
    }
}

/** Where WordPress keeps uploads: an old setting in the database may say otherwise than wp-config.php. */
function uploads_of(Installation $site, Database $database)
{
    $path = $site->setting('UPLOADS') ? '' : trim((string) $database->one('SELECT option_value FROM ' . Database::name($database->prefix . 'options')
        . " WHERE option_name='upload_path' LIMIT 1"));
    if ($path === '' || $path === 'wp-content/uploads') {
        return $site->uploads();
    }
    return rtrim($path[0] === '/' ? $path : "{$site->abspath}/$path", '/');
}
