<?php
// Pages that stand for the rest of a site: where an update breaks something, it shows on one of them.

const PAGES_MOST = 12;
/** Posts that are read for what plugins put into them. */
const POSTS_READ = 300;

/** {"pages": [path below the site's URL, with its query…]}, the front page not among them. Boots WordPress. */
function answer_pages(Request $request)
{
    $found = null;
    register_shutdown_function(function () use ($request, &$found) {
        if ($found === null) {
            // A plugin ended the process, or an error did: what there is to compare is the front page alone.
            while (ob_get_level()) {
                ob_end_clean();
            }
            say($request->marker, ['reply' => ['pages' => []]]);
        }
    });
    return new Boot(Installation::find($request), $request, function () use (&$found) {
        $found = typical_paths();
        return ['reply' => ['pages' => $found]];
    });
}

/** The same below the site's URL; WordPress is loaded. */
function typical_paths()
{
    $home = rtrim((string) home_url('/'), '/') . '/';
    $paths = [];
    foreach (typical_pages() as $url) {
        if (is_string($url) && strncmp($url, $home, strlen($home)) === 0 && strlen($url) < 1000) {
            $path = strtok(substr($url, strlen($home)), '#');
            $path !== false && $path !== '' && $paths[$path] = true;
        }
    }
    return array_slice(array_map('strval', array_keys($paths)), 0, PAGES_MOST);
}

/** Addresses, those first that a client would miss first: what is sold, what is filled in, what is read. */
function typical_pages()
{
    $shop = [];
    foreach (['shop', 'cart', 'checkout', 'myaccount'] as $name) {
        $shop[] = function_exists('wc_get_page_permalink') && wc_get_page_id($name) > 0 ? wc_get_page_permalink($name) : null;
    }
    return array_merge($shop, pages_of_plugins(), newest_of_each_kind(), [home_url('/?s=a')]);
}

/** For every shortcode and block that is no part of core, the newest post that holds it. */
function pages_of_plugins()
{
    global $wpdb, $shortcode_tags;
    $core = array_flip(['embed', 'wp_caption', 'caption', 'gallery', 'playlist', 'audio', 'video']);
    $tags = array_diff_key((array) $shortcode_tags, $core);
    $public = array_map('esc_sql', array_values(get_post_types(['public' => true])));
    $posts = $wpdb->get_results("SELECT ID, post_content FROM {$wpdb->posts} WHERE post_status='publish' AND post_password=''"
        . " AND post_type IN ('" . implode("','", $public) . "') AND (post_content LIKE '%[%' OR post_content LIKE '%<!-- wp:%')"
        . ' ORDER BY post_date DESC LIMIT ' . POSTS_READ) ?: [];
    $found = [];
    foreach ($posts as $post) {
        preg_match_all('/\[([A-Za-z0-9_-]{1,60})[\s\]\/]|<!-- wp:([a-z0-9-]{1,40}\/[a-z0-9-]{1,60})\s/', $post->post_content, $names, PREG_SET_ORDER);
        foreach ($names as $name) {
            $name = $name[2] ?? (isset($tags[$name[1]]) ? $name[1] : null);
            if ($name !== null && strncmp($name, 'core/', 5) !== 0 && !isset($found[$name])) {
                $found[$name] = get_permalink((int) $post->ID);
            }
        }
    }
    return array_values(array_unique(array_filter($found)));
}

/** Its newest post, and its list where it has one. */
function newest_of_each_kind()
{
    $found = [];
    foreach (get_post_types(['public' => true]) as $type) {
        $newest = $type === 'attachment' ? [] : get_posts(['post_type' => $type, 'post_status' => 'publish', 'numberposts' => 1,
            'has_password' => false, 'suppress_filters' => true]);
        foreach ($newest as $post) {
            $found[] = get_permalink($post);
            $found[] = $type === 'post' || $type === 'page' ? null : get_post_type_archive_link($type);
        }
    }
    return $found;
}
