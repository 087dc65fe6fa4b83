<?php
// One post of a generation: found by its title, read with everything that belongs to it, and compared with the site.

/** No article of anybody's: parts of others, settings in the shape of posts, and what lives in tables of its own as well. */
const NO_ARTICLES = ['revision', 'attachment', 'nav_menu_item', 'customize_changeset', 'oembed_cache', 'custom_css', 'user_request',
    'scheduled-action', 'shop_order', 'shop_order_refund', 'shop_order_placehold', 'shop_subscription'];
const FOUND_AT_MOST = 50;
/** Bytes of one post's rows; a page builder's largest page takes some hundred thousand. */
const POST_AT_MOST = 33554432;

function is_post($only)
{
    return is_string($only) && strncmp($only, 'post:', 5) === 0;
}

/** `post:12`, as it may be asked for. */
function post_only($only)
{
    if (!preg_match('/^post:[1-9]\d{0,17}$/D', $only)) {
        throw new Failure('bad_request', "\"$only\" names no post", 'name it as post:ID; modoseru posts finds the ID');
    }
    return $only;
}

function post_id($only)
{
    return (int) substr(post_only($only), 5);
}

/** The verb `posts`: articles of a generation whose titles have the words (or whose ID is the word), the latest first. */
function answer_posts(Request $request)
{
    $generation = sealed_generation($request);
    $words = preg_split('/[\s\x{3000}]+/u', folded($request->text('words')), -1, PREG_SPLIT_NO_EMPTY) ?: [];
    if (!$words) {
        throw new Failure('bad_request', 'no word of the title was given', 'give a word of its title');
    }
    $found = [];
    foreach (DumpRows::of_table($generation, $generation->summary['database']['prefix'] . 'posts') as $row) {
        if (!is_article($row) || $row->value('post_status') === 'trash' || !has_words($row, $words)) {
            continue;
        }
        $found[$row->number('ID')] = ['id' => $row->number('ID'), 'mark' => mark_of_row($row), 'guid' => guid_path((string) $row->value('guid'))] + post_line($row);
        if (count($found) > 4 * FOUND_AT_MOST) {
            $found = latest($found);
        }
    }
    $found = latest($found);
    $now = $found ? living_states($request, $found) : [];
    return ['generation' => $generation->id, 'posts' => array_values(array_map(function ($one) use ($now) {
        return ['id' => $one['id'], 'type' => $one['type'], 'title' => $one['title'], 'status' => $one['status'], 'modified' => $one['modified'],
            'now' => $now[$one['id']]];
    }, $found))];
}

function latest(array $found)
{
    uasort($found, function ($one, $other) {
        return strcmp((string) $other['modified'], (string) $one['modified']) ?: $other['id'] - $one['id'];
    });
    return array_slice($found, 0, FOUND_AT_MOST, true);
}

/** What has become of each: gone, trashed, changed, same, or `other` where its ID is another post's. */
function living_states(Request $request, array $found)
{
    $database = Database::open(Installation::find($request));
    $states = array_fill_keys(array_keys($found), 'gone');
    $ids = implode(',', array_keys($found));
    foreach ($database->rows('SELECT * FROM ' . Database::name($database->prefix . 'posts') . " WHERE ID IN ($ids)") as $row) {
        $then = $found[(int) $row['ID']];
        $states[(int) $row['ID']] = $then['type'] !== ($row['post_type'] ?? '') || $then['guid'] !== guid_path((string) ($row['guid'] ?? '')) ? 'other'
            : (($row['post_status'] ?? '') === 'trash' ? 'trashed' : (mark_of_live($row) === $then['mark'] ? 'same' : 'changed'));
    }
    return $states;
}

function is_article(DumpRow $row)
{
    return !in_array($row->value('post_type'), NO_ARTICLES, true) && !in_array($row->value('post_status'), ['auto-draft', 'inherit'], true);
}

function has_words(DumpRow $row, array $words)
{
    $title = folded(plain_text((string) $row->value('post_title')));
    foreach ($words as $word) {
        if (strpos($title, $word) === false && $word !== $row->value('ID')) {
            return false;
        }
    }
    return true;
}

/** Without case, and without width where PHP can: neither mbstring nor intl may be assumed. */
function folded($text)
{
    if (class_exists('Normalizer')) {
        $text = Normalizer::normalize($text, Normalizer::FORM_KC) ?: $text;
    }
    return function_exists('mb_convert_case') ? mb_convert_case($text, MB_CASE_FOLD, 'UTF-8') : strtolower($text);
}

function plain_text($html, $most = 0)
{
    $html = preg_replace('~<!--.*?-->|<(script|style)\b.*?</\1\s*>~is', ' ', substr($html, 0, 65536)) ?? '';
    $text = trim(preg_replace('/\s+/', ' ', html_entity_decode(strip_tags($html), ENT_QUOTES, 'UTF-8')) ?? '');
    return $most && preg_match("/^(.{{$most}})./us", $text, $found) ? $found[1] . '…' : $text;
}

/** What the text of two posts is compared by. */
function mark_of_row(DumpRow $row)
{
    return mark_of_live(['post_title' => $row->value('post_title'), 'post_content' => $row->value('post_content'),
        'post_excerpt' => $row->value('post_excerpt'), 'post_status' => $row->value('post_status'), 'post_name' => $row->value('post_name'),
        'post_parent' => $row->value('post_parent'), 'post_date' => $row->value('post_date')]);
}

function mark_of_live(array $row)
{
    $fields = ['post_title', 'post_content', 'post_excerpt', 'post_status', 'post_name', 'post_parent', 'post_date'];
    return sha256(implode("\0", array_map(function ($field) use ($row) {
        return (string) ($row[$field] ?? '');
    }, $fields)));
}

function post_line(DumpRow $row)
{
    return ['type' => (string) $row->value('post_type'), 'title' => plain_text((string) $row->value('post_title'), 200),
        'status' => (string) $row->value('post_status'), 'modified' => moment_text((string) $row->value('post_modified_gmt'))];
}

/** A date of WordPress, which is UTC in its *_gmt columns; null for a draft's zeros. */
function moment_text($date)
{
    return preg_match('/^(?!0000)\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/D', $date) && strtotime($date) ? str_replace(' ', 'T', $date) . 'Z' : null;
}

/** A site that moved to https or another name has the same posts. */
function guid_path($guid)
{
    return preg_replace('~^[a-z]+://[^/]*~i', '', html_entity_decode($guid));
}

/** The verb `post`: what the generation holds, what the site shows, and what a restore would change. */
function answer_post(Request $request)
{
    $generation = sealed_generation($request);
    return (new PostPlan($request, $generation, post_id('post:' . $request->whole('id'))))->as_record();
}

/** The verb `preview` for a post: nothing newer is lost, for nothing else is touched. */
function preview_post(Request $request, Generation $generation, $only)
{
    $generation->check_index();
    $plan = new PostPlan($request, $generation, post_id($only));
    return ['generation' => $generation->id, 'blockers' => $plan->blockers, 'warnings' => $plan->warnings,
        'loss' => ['posts' => 0, 'comments' => 0, 'users' => 0, 'orders' => 0, 'files' => 0, 'newest' => []]];
}

/** One post as a generation holds it, with all that comes with it; read in a few passes over the parts of the dump. */
final class StoredPost
{
    public $id;
    /** Of the table `posts`: the post, and its attachments by ID; `own` are those that were uploaded to it. */
    public $row = null;
    public $attachments = [];
    public $own = [];
    public $meta = [];
    public $comments = [];
    public $comment_meta = [];
    public $relations = [];
    /** Of `term_taxonomy`, `terms` and `termmeta`, by ID: those that the relations name, and their parents. */
    public $taxonomies = [];
    public $terms = [];
    public $term_meta = [];
    private $generation;
    private $weight = 0;

    /** Throws no_post, damaged, too_large. */
    public function __construct(Generation $generation, $id)
    {
        $this->generation = $generation;
        $this->id = $id;
        $picture = 0;
        foreach ($this->rows('postmeta', 'post_id', [$id => true]) as $row) {
            $this->meta[] = $row;
            $picture = $row->value('meta_key') === '_thumbnail_id' ? $row->number('meta_value') : $picture;
        }
        foreach ($this->all('posts') as $row) {
            $this->sort_post($row, $picture);
        }
        if ($this->row === null) {
            throw new Failure('no_post', "the generation {$generation->id} holds no post $id", 'modoseru posts finds it in another one');
        }
        $this->meta = array_merge($this->meta, iterator_to_array($this->rows('postmeta', 'post_id', $this->attachments), false));
        $posts = [$id => true] + $this->attachments;
        foreach ($this->rows('comments', 'comment_post_ID', $posts) as $row) {
            $this->comments[$row->number('comment_ID')] = $row;
        }
        $this->comment_meta = iterator_to_array($this->rows('commentmeta', 'comment_id', $this->comments), false);
        $this->relations = iterator_to_array($this->rows('term_relationships', 'object_id', $posts), false);
        $this->read_terms();
    }

    private function sort_post(DumpRow $row, $picture)
    {
        $id = $row->number('ID');
        if ($id === $this->id) {
            $this->row = $this->weighed($row);
        } elseif ($row->value('post_type') === 'attachment' && ($row->number('post_parent') === $this->id || $id === $picture)) {
            $this->attachments[$id] = $this->weighed($row);
            $this->own[$id] = $row->number('post_parent') === $this->id;
        }
    }

    /** A category comes with those above it. */
    private function read_terms()
    {
        $wanted = [];
        foreach ($this->relations as $row) {
            $wanted[$row->number('term_taxonomy_id')] = true;
        }
        $above = [];
        for ($level = 0; ($wanted || $above) && $level < 20; $level++) {
            $new = [];
            foreach ($this->all('term_taxonomy') as $row) {
                $id = $row->number('term_taxonomy_id');
                if (!isset($this->taxonomies[$id]) && (isset($wanted[$id]) || isset($above[$row->value('taxonomy') . "\0" . $row->value('term_id')]))) {
                    $this->taxonomies[$id] = $this->weighed($row);
                    $new[] = $row;
                }
            }
            $wanted = $above = [];
            foreach ($new as $row) {
                if ($row->number('parent')) {
                    $above[$row->value('taxonomy') . "\0" . $row->value('parent')] = true;
                }
            }
        }
        $terms = [];
        foreach ($this->taxonomies as $row) {
            $terms[$row->number('term_id')] = true;
        }
        foreach ($this->rows('terms', 'term_id', $terms) as $row) {
            $this->terms[$row->number('term_id')] = $row;
        }
        $this->term_meta = iterator_to_array($this->rows('termmeta', 'term_id', $this->terms), false);
    }

    public function title_of_term($taxonomy)
    {
        $row = $this->taxonomies[$taxonomy] ?? null;
        $term = $row ? ($this->terms[$row->number('term_id')] ?? null) : null;
        return $term ? plain_text((string) $term->value('name'), 80) : "#$taxonomy";
    }

    /** The values of one attachment's or the post's meta: [key => last value]. */
    public function meta_of($id)
    {
        $found = [];
        foreach ($this->meta as $row) {
            if ($row->number('post_id') === $id) {
                $found[(string) $row->value('meta_key')] = (string) $row->value('meta_value');
            }
        }
        return $found;
    }

    private function rows($table, $column, array $wanted)
    {
        foreach ($wanted ? $this->all($table) : [] as $row) {
            if (isset($wanted[$row->number($column)])) {
                yield $this->weighed($row);
            }
        }
    }

    private function all($table)
    {
        return DumpRows::of_table($this->generation, $this->generation->summary['database']['prefix'] . $table);
    }

    private function weighed(DumpRow $row)
    {
        $this->weight += $row->weight();
        if ($this->weight > POST_AT_MOST) {
            throw new Failure('too_large', "the post {$this->id} and what belongs to it take more than " . size_text(POST_AT_MOST),
                'restore the database of the generation instead');
        }
        return $row;
    }
}
