<?php
// What a restore would meet and what it would lose, counted before anything is touched.

function answer_preview(Request $request)
{
    $generation = Generation::open($request, $request->text('generation'));
    $only = only_of($request);
    $generation->check_index();
    $warnings = [];
    $loss = ['posts' => 0, 'comments' => 0, 'users' => 0, 'orders' => 0, 'files' => 0, 'newest' => []];
    if ($only === 'all' || $only === 'database') {
        try {
            $loss = rows_newer(Database::open(installation_for_restore($request, $generation)), $generation) + $loss;
        } catch (Failure $e) {
            $warnings[] = ['code' => $e->word, 'message' => 'what would be lost from the database is not known: ' . $e->getMessage(), 'hint' => $e->hint];
        } catch (mysqli_sql_exception $e) {
            $warnings[] = ['code' => 'no_database', 'message' => 'what would be lost from the database is not known: ' . $e->getMessage(), 'hint' => 'look at the tables'];
        }
    }
    if ($only !== 'database') {
        $loss['files'] = files_newer($request, $generation);
    }
    return ['generation' => $generation->id, 'blockers' => blockers($request, $generation, $only), 'warnings' => $warnings, 'loss' => $loss];
}

/** Posts, comments, users and orders that are newer than the generation; the newest posts by title. */
function rows_newer(Database $database, Generation $generation)
{
    $since = $database->quote(gmdate('Y-m-d H:i:s', strtotime($generation->summary['created'])));
    $prefix = $database->prefix;
    $tables = $database->tables();
    $count = function ($table, $where) use ($database, $prefix, $tables) {
        return isset($tables[$prefix . $table]) ? (int) $database->one('SELECT COUNT(*) FROM ' . Database::name($prefix . $table) . " WHERE $where") : 0;
    };
    $wanted = "post_modified_gmt > $since AND post_type NOT IN ('revision','shop_order') AND post_status NOT IN ('auto-draft','inherit')";
    $newest = [];
    if (isset($tables[$prefix . 'posts'])) {
        foreach ($database->rows('SELECT post_title t FROM ' . Database::name($prefix . 'posts') . " WHERE $wanted ORDER BY post_modified_gmt DESC LIMIT 5") as $row) {
            $newest[] = $row['t'];
        }
    }
    return ['posts' => $count('posts', $wanted), 'comments' => $count('comments', "comment_date_gmt > $since"),
        'users' => $count('users', "user_registered > $since"),
        'orders' => $count('posts', "post_modified_gmt > $since AND post_type = 'shop_order'") + $count('wc_orders', "date_created_gmt > $since"),
        'newest' => $newest];
}

function files_newer(Request $request, Generation $generation)
{
    $newer = 0;
    $abspath = $request->root;
    try {
        $abspath = Installation::find_bare($request)->abspath;
    } catch (Failure $e) {
        // A site whose files are gone, or some of them, can lose what is left.
    }
    $start = $generation->summary['scanned'];
    foreach (walk_area('root', $request->root, exclusion_pattern($request), $abspath, function () {
    }) as list(, $stat, $type)) {
        $newer += $type === 'f' && max($stat['mtime'], $stat['ctime']) > $start ? 1 : 0;
    }
    return $newer;
}
