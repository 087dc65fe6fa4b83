<?php
// One article in the hands of WordPress: php -- '{"root":…, "do": "write|delete|seen"}' < article.php, as the site's account.
$site = json_decode($argv[1], true);
$_SERVER['HTTP_HOST'] = parse_url($site['url'], PHP_URL_HOST);
$_SERVER['HTTPS'] = 'on';
require $site['root'] . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/image.php';
require_once ABSPATH . 'wp-admin/includes/taxonomy.php';
wp_set_current_user(1);

if ($site['do'] === 'write') {
    $category = wp_create_category('季節の行事', wp_create_category('行事'));
    $id = wp_insert_post(['post_title' => $site['title'], 'post_content' => '<p>雨天決行 ☔ \\\\ "引用" it\'s</p>',
        'post_status' => 'publish', 'post_category' => [$category], 'tags_input' => ['夏', '共有'], 'post_author' => 2]);
    wp_set_post_tags(1, '共有', true);
    wp_update_post(['ID' => $id, 'post_excerpt' => '二版']);
    $image = imagecreatetruecolor(1200, 800);
    ob_start();
    imagejpeg($image);
    $upload = wp_upload_bits('花火.jpg', null, ob_get_clean());
    $picture = wp_insert_attachment(['post_mime_type' => 'image/jpeg', 'post_title' => '花火', 'post_status' => 'inherit'], $upload['file'], $id);
    wp_update_attachment_metadata($picture, wp_generate_attachment_metadata($picture, $upload['file']));
    set_post_thumbnail($id, $picture);
    update_post_meta($id, 'fields', ['🍣' => [1, 2.5, null, true], 'path' => 'C:\\\\temp']);
    $first = wp_insert_comment(['comment_post_ID' => $id, 'comment_author' => '佐藤', 'comment_content' => '楽しみ 👍', 'comment_approved' => 1]);
    $reply = wp_insert_comment(['comment_post_ID' => $id, 'comment_parent' => $first, 'comment_content' => '私も', 'comment_approved' => 1]);
    add_comment_meta($reply, 'rating', ['stars' => 5]);
    echo json_encode(['id' => $id, 'picture' => $picture, 'image' => wp_get_attachment_image_url($picture, 'medium')]);
} elseif ($site['do'] === 'delete') {
    wp_delete_attachment($site['picture'], true);
    wp_delete_post($site['id'], true);
    wp_delete_term(get_term_by('name', '季節の行事', 'category')->term_id, 'category');
    wp_update_post(['ID' => 1, 'post_content' => 'changed meanwhile']);
    $other = wp_insert_post(['post_title' => 'new meanwhile', 'post_status' => 'publish', 'tags_input' => ['共有']]);
    wp_insert_comment(['comment_post_ID' => $other, 'comment_content' => 'hello', 'comment_approved' => 1]);
    echo '{}';
} else {
    $post = get_post($site['id']);
    $counts = function () {
        global $wpdb;
        return [$wpdb->get_results("SELECT term_taxonomy_id, count FROM $wpdb->term_taxonomy ORDER BY 1", ARRAY_N),
            $wpdb->get_results("SELECT ID, comment_count FROM $wpdb->posts ORDER BY 1", ARRAY_N)];
    };
    $told = $counts();
    foreach (['category', 'post_tag'] as $taxonomy) {
        wp_update_term_count_now(get_terms(['taxonomy' => $taxonomy, 'hide_empty' => false, 'fields' => 'tt_ids']), $taxonomy);
    }
    foreach (get_posts(['numberposts' => -1]) as $one) {
        wp_update_comment_count_now($one->ID);
    }
    echo json_encode(['post' => $post, 'fields' => get_post_meta($site['id'], 'fields', true), 'category' =>
        array_map(fn($term) => [$term->name, get_term($term->parent)->name], get_the_category($site['id'])),
        'tags' => wp_get_post_tags($site['id'], ['fields' => 'names']), 'comments' => array_map(fn($one) => [$one->comment_content,
        $one->comment_parent, get_comment_meta($one->comment_ID, 'rating', true)], get_comments(['post_id' => $site['id'], 'order' => 'ASC'])),
        'picture' => wp_get_attachment_metadata($site['picture']), 'counted' => $told == $counts()]);
}
