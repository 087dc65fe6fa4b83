CREATE TABLE `{p}options` (option_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, option_name varchar(191),
    option_value longtext NOT NULL, UNIQUE KEY option_name (option_name)) DEFAULT CHARSET=utf8mb4;
INSERT INTO `{p}options` (option_name, option_value) VALUES ('siteurl', 'https://small.example'), ('upload_path', '');
CREATE TABLE `{p}users` (ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, user_login varchar(60) NOT NULL,
    user_email varchar(100) NOT NULL DEFAULT '', user_registered datetime NOT NULL DEFAULT '0000-00-00 00:00:00');
INSERT INTO `{p}users` (ID, user_login) VALUES (1, 'kanri'), (2, 'hensyu');
CREATE TABLE `{p}usermeta` (umeta_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id bigint unsigned NOT NULL,
    meta_key varchar(255), meta_value longtext) DEFAULT CHARSET=utf8mb4;
INSERT INTO `{p}usermeta` (user_id, meta_key, meta_value) VALUES
    (1, '{p}capabilities', 'a:1:{{s:13:"administrator";b:1;}}'), (2, '{p}capabilities', 'a:1:{{s:6:"editor";b:1;}}');
CREATE TABLE `{p}posts` (ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, post_author bigint unsigned NOT NULL
    DEFAULT 0, post_date datetime NOT NULL DEFAULT '0000-00-00 00:00:00', post_date_gmt datetime NOT NULL DEFAULT
    '0000-00-00 00:00:00', post_content longtext NOT NULL DEFAULT '', post_title text NOT NULL, post_excerpt text NOT NULL
    DEFAULT '', post_status varchar(20) NOT NULL DEFAULT 'publish', comment_status varchar(20) NOT NULL DEFAULT 'open',
    post_password varchar(255) NOT NULL DEFAULT '', post_name varchar(200) NOT NULL DEFAULT '', post_modified datetime NOT
    NULL DEFAULT '0000-00-00 00:00:00', post_modified_gmt datetime NOT NULL DEFAULT '0000-00-00 00:00:00', post_parent
    bigint unsigned NOT NULL DEFAULT 0, guid varchar(255) NOT NULL DEFAULT '', menu_order int NOT NULL DEFAULT 0, post_type
    varchar(20) NOT NULL DEFAULT 'post', post_mime_type varchar(100) NOT NULL DEFAULT '', comment_count bigint NOT NULL
    DEFAULT 0, KEY post_parent (post_parent)) {e} DEFAULT CHARSET=utf8mb4;
CREATE TABLE `{p}postmeta` (meta_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, post_id bigint unsigned NOT NULL
    DEFAULT 0, meta_key varchar(255), meta_value longtext, raw blob, weight float, KEY post_id (post_id)) {e} DEFAULT
    CHARSET=utf8mb4;
CREATE TABLE `{p}comments` (comment_ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, comment_post_ID bigint unsigned
    NOT NULL DEFAULT 0, comment_author tinytext NOT NULL DEFAULT '', comment_date_gmt datetime NOT NULL DEFAULT
    '2026-09-01 00:00:00', comment_content text NOT NULL, comment_approved varchar(20) NOT NULL DEFAULT '1', comment_type
    varchar(20) NOT NULL DEFAULT 'comment', comment_parent bigint unsigned NOT NULL DEFAULT 0, user_id bigint unsigned NOT
    NULL DEFAULT 0, KEY comment_post_ID (comment_post_ID)) {e} DEFAULT CHARSET=utf8mb4;
CREATE TABLE `{p}commentmeta` (meta_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, comment_id bigint unsigned NOT
    NULL DEFAULT 0, meta_key varchar(255), meta_value longtext, KEY comment_id (comment_id)) {e} DEFAULT CHARSET=utf8mb4;
CREATE TABLE `{p}terms` (term_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(200) NOT NULL DEFAULT '',
    slug varchar(200) NOT NULL DEFAULT '') {e} DEFAULT CHARSET=utf8mb4;
CREATE TABLE `{p}termmeta` (meta_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, term_id bigint unsigned NOT NULL
    DEFAULT 0, meta_key varchar(255), meta_value longtext) {e} DEFAULT CHARSET=utf8mb4;
CREATE TABLE `{p}term_taxonomy` (term_taxonomy_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, term_id bigint
    unsigned NOT NULL DEFAULT 0, taxonomy varchar(32) NOT NULL DEFAULT '', description longtext NOT NULL DEFAULT '', parent
    bigint unsigned NOT NULL DEFAULT 0, count bigint NOT NULL DEFAULT 0, UNIQUE KEY t (term_id, taxonomy)) {e}
    DEFAULT CHARSET=utf8mb4;
CREATE TABLE `{p}term_relationships` (object_id bigint unsigned NOT NULL DEFAULT 0, term_taxonomy_id bigint unsigned NOT
    NULL DEFAULT 0, term_order int NOT NULL DEFAULT 0, PRIMARY KEY (object_id, term_taxonomy_id)) {e};
INSERT INTO `{p}terms` VALUES (1, '未分類', 'uncategorized'), (3, '行事', 'events'), (4, '春 🌸', 'spring'), (5, '桜', 'sakura');
INSERT INTO `{p}termmeta` (term_id, meta_key, meta_value) VALUES (4, 'colour', 'ピンク');
INSERT INTO `{p}term_taxonomy` VALUES (1, 1, 'category', '', 0, 1), (3, 3, 'category', '', 0, 0),
    (4, 4, 'category', '春の行事', 3, 1), (5, 5, 'post_tag', '', 0, 2);
INSERT INTO `{p}posts` (ID, post_author, post_date_gmt, post_title, post_content, post_name, post_type, guid, comment_count)
    VALUES (2, 1, '2026-01-01 00:00:00', '別の記事', 'untouched', 'other', 'post', 'https://small.example/?p=2', 1),
    (3, 1, '2026-01-01 00:00:00', '会社概要', 'page', 'company', 'page', 'https://small.example/?page_id=3', 0);
INSERT INTO `{p}posts` (ID, post_author, post_date, post_date_gmt, post_modified_gmt, post_title, post_content, post_name,
    post_type, guid, comment_count) VALUES (12, 2, '2026-09-15 10:00:00', '2026-09-15 01:00:00', '2026-09-16 01:00:00',
    {title}, {content}, 'sakura', 'post', 'http://small.example/?p=12', 3);
INSERT INTO `{p}posts` (ID, post_author, post_title, post_status, post_parent, post_type, post_mime_type, guid) VALUES
    (13, 2, '祭り', 'inherit', 12, 'attachment', 'image/jpeg', 'http://small.example/{photo}'),
    (14, 1, 'logo', 'inherit', 0, 'attachment', 'image/png', 'http://small.example/{shared}'),
    (15, 1, 'other', 'inherit', 2, 'attachment', 'image/png', 'http://small.example/other.png');
INSERT INTO `{p}posts` (ID, post_title, post_status, post_parent, post_type, guid) VALUES
    (16, 'a revision', 'inherit', 12, 'revision', 'http://small.example/?p=16');
INSERT INTO `{p}postmeta` (meta_id, post_id, meta_key, meta_value, raw, weight) VALUES
    (30, 12, '_thumbnail_id', '14', NULL, NULL), (31, 12, 'serialized', {serialized}, 0x{binary}, 0.1),
    (32, 12, 'empty', '', '', -1.5e10), (33, 12, 'large', REPEAT('長い🍣\'"\\\n', 60000), NULL, NULL),
    (34, 13, '_wp_attached_file', '2026/09/祭り.jpg', NULL, NULL), (35, 13, '_wp_attachment_metadata', {sizes}, NULL, NULL),
    (36, 14, '_wp_attached_file', '2026/08/logo.png', NULL, NULL), (37, 2, 'of another', 'x', NULL, NULL);
INSERT INTO `{p}comments` (comment_ID, comment_post_ID, comment_author, comment_content, comment_approved, comment_parent)
    VALUES (20, 2, '他', 'of another', '1', 0), (21, 12, '佐藤', '楽しみ 👍', '1', 0), (22, 12, 'Müller', 'Grüße', '1', 21),
    (23, 12, '鈴木', 'また来ます', '1', 22), (24, 12, 'spam', 'buy', 'spam', 0);
INSERT INTO `{p}commentmeta` (meta_id, comment_id, meta_key, meta_value) VALUES (40, 22, 'rating', '5'), (41, 20, 'k', 'v');
INSERT INTO `{p}term_relationships` VALUES (2, 1, 0), (2, 5, 0), (12, 4, 0), (12, 5, 1);
