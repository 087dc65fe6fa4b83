<?php
// Fills an installed WordPress: php -- '{"root":…}' < content.php, as the site's account.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE);
$site = json_decode($argv[1], true, 8, JSON_THROW_ON_ERROR);
$_SERVER['HTTP_HOST'] = parse_url($site['url'], PHP_URL_HOST);
$_SERVER['HTTPS'] = 'on';
$_SERVER['REQUEST_URI'] = '/';
require $site['root'] . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/plugin.php';
require_once ABSPATH . 'wp-admin/includes/image.php';
wp_set_current_user(1);
$title = $site['title'];

update_option('blogdescription', '地域とともに歩む 🌸 — since 1978');
update_option('timezone_string', 'Asia/Tokyo');
update_option('date_format', 'Y年n月j日');
update_option('permalink_structure', '/archives/%post_id%');
update_option('posts_per_page', 10);
$GLOBALS['wp_rewrite']->init();
flush_rewrite_rules(false);

foreach ([['hensyu', 'editor', '編集 花子'], ['chosya', 'author', '著者 太郎'], ['dokusya', 'subscriber', '読者 𠮷田']] as [$login, $role, $name]) {
    $id = wp_insert_user(['user_login' => $login, 'user_pass' => "lab-$login", 'user_email' => "$login@example.invalid", 'role' => $role, 'display_name' => $name]);
    if (is_wp_error($id)) {
        throw new RuntimeException($id->get_error_message());
    }
}

$posts = [
    ['年末年始の休業日のお知らせ', "平素は{$title}をご利用いただきありがとうございます。12月29日から1月4日まで休業いたします。🎍"],
    ['新商品のご案内 🎉', "「〜と―」の違い、①②③、㈱、髙橋・𠮷野家、ｶﾅ、絵文字 👨‍👩‍👧‍👦 🇯🇵 🍣 を含む記事です。"],
    ['桜まつりを開催します 🌸', '会場：中央公園（雨天決行）。<strong>入場無料</strong>です。'],
    ['採用情報を更新しました', "営業職・事務職を募集しています。\n\n詳しくはお問い合わせください。"],
    ['Backslash \\ quote \' " and NULL', wp_slash("C:\\Users\\表示 'single' \"double\" %s %1\$s {{mustache}} &amp; <em>ソ能表</em>")],
    ['臨時休業のお詫び 🙇', '台風のため本日は休業いたします。'],
    ['ホームページをリニューアルしました', '今後ともよろしくお願いいたします。✨'],
];
$ids = [];
foreach ($posts as $n => [$heading, $text]) {
    $ids[] = wp_insert_post(['post_title' => wp_slash($heading), 'post_content' => $text, 'post_status' => 'publish', 'post_author' => 1 + $n % 3, 'post_date' => sprintf('2026-%02d-15 10:%02d:00', 2 + $n, $n)], true);
}
foreach ([['会社概要', 'company', "{$title}の会社概要です。"], ['お問い合わせ', 'contact', '電話：03-0000-0000 ☎️'], ['プライバシーポリシー', 'privacy', '個人情報の取り扱いについて。']] as [$heading, $name, $text]) {
    wp_insert_post(['post_type' => 'page', 'post_title' => $heading, 'post_name' => $name, 'post_content' => $text, 'post_status' => 'publish', 'post_author' => 1, 'post_date' => '2026-01-10 09:00:00'], true);
}
foreach ([['佐藤', 'とても参考になりました 👍'], ['Müller', 'Grüße aus Köln'], ['鈴木', '次回も楽しみにしています！']] as $n => [$who, $what]) {
    wp_insert_comment(['comment_post_ID' => $ids[$n], 'comment_author' => $who, 'comment_author_email' => 'visitor@example.invalid', 'comment_content' => $what, 'comment_approved' => 1, 'comment_date' => '2026-09-0' . ($n + 1) . ' 12:00:00']);
}

function lab_picture(string $type, int $width, int $height, int $seed): string {
    $image = imagecreatetruecolor($width, $height);
    mt_srand($seed);
    for ($i = 0; $i < 60; $i++) {
        $colour = imagecolorallocate($image, mt_rand(0, 255), mt_rand(0, 255), mt_rand(0, 255));
        imagefilledellipse($image, mt_rand(0, $width), mt_rand(0, $height), mt_rand(10, 200), mt_rand(10, 200), $colour);
    }
    ob_start();
    $type === 'jpg' ? imagejpeg($image, null, 82) : imagepng($image);
    return ob_get_clean();
}
foreach ([['桜まつり.jpg', 'jpg', 900, 600], ['logo.png', 'png', 240, 240], ['新商品 の写真🍵.png', 'png', 400, 300], ['garden.jpg', 'jpg', 700, 500]] as $n => [$name, $type, $width, $height]) {
    $upload = wp_upload_bits($name, null, lab_picture($type, $width, $height, crc32($title) + $n), '2026/09');
    if ($upload['error']) {
        throw new RuntimeException($upload['error']);
    }
    $id = wp_insert_attachment(['post_mime_type' => $upload['type'], 'post_title' => pathinfo($name, PATHINFO_FILENAME), 'post_status' => 'inherit'], $upload['file'], $ids[$n]);
    wp_update_attachment_metadata($id, wp_generate_attachment_metadata($id, $upload['file']));
    set_post_thumbnail($ids[$n], $id);
}
$problem = activate_plugin('akismet/akismet.php');
if (is_wp_error($problem)) {
    throw new RuntimeException($problem->get_error_message());
}
foreach (['update_core', 'update_plugins', 'update_themes'] as $name) {
    delete_site_transient($name);
}
echo "filled\n";
