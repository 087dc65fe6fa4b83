-- What plugins, hosts and years leave in a database. `pfx_` stands for the site's prefix.
SET foreign_key_checks=0;
CREATE TABLE `pfx_LONGEST` (a int PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO `pfx_LONGEST` VALUES (1), (2);
CREATE TABLE `pfx_kinds` (
    id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, t tinyint, s smallint unsigned, m mediumint, b bigint unsigned,
    z int(8) unsigned zerofill, one bit(1), some bit(13), all_ bit(64), dec_ decimal(65,30), f float, d double, f2 float(9,3),
    date_ date, time_ time(6), stamp datetime(6), ts timestamp(3) NULL, y year, c char(5), v varchar(300), bin binary(16),
    vb varbinary(99), tb tinyblob, lt longtext, en enum('', 'yes', 'it''s', 'い') DEFAULT 'yes', se set('a', 'b', 'う'),
    js json, u uuid, i inet6, g point, hidden int INVISIBLE DEFAULT 7) DEFAULT CHARSET=utf8mb4;
SET sql_mode='NO_AUTO_VALUE_ON_ZERO';
INSERT INTO `pfx_kinds` VALUES
    (0, -128, 65535, -8388608, 18446744073709551615, 42, 1, 5000, 18446744073709551615,
     12345678901234567890.123456789012345678901234567890, 3.14159274, 0.1, 123.456, '0000-00-00', '-838:59:59.999999',
     '0000-00-00 00:00:00', '2026-11-23 02:15:00.125', 0000, 'ab   ', 'tail  ', x'00ff27225c0a0d1a', x'', x'80', '', '', 'a,う',
     '{"a": [1, "絵 🍵", null]}', '123e4567-e89b-12d3-a456-426614174000', '2001:db8::1', ST_GeomFromText('POINT(1 -2.5)')),
    (5, 127, 0, 8388607, 0, 0, 0, 0, 0, -0.000000000000000000000000000001, 1.17549435e-38, 1.7976931348623157e308, -0.001,
     '2024-02-29', '00:00:00', '9999-12-31 23:59:59.999999', '1970-01-01 00:00:01', 2155, '', '0', x'', x'0a', x'', 'x',
     'it''s', '', 'null', '00000000-0000-0000-0000-000000000000', '::', NULL),
    (7, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16777217, 4.9e-324, 0, '2026-00-00', '24:00:00', NULL, NULL, 1999, ' x', '\\', x'27', x'5c',
     x'22', 'HOSTILE', 'い', 'b', '[]', NULL, NULL, NULL);
CREATE TABLE `pfx_generated` (a int, b varchar(20), virtual_ int GENERATED ALWAYS AS (a * 2) VIRTUAL,
    stored_ varchar(60) GENERATED ALWAYS AS (concat(b, '-', a)) STORED, after_ text, UNIQUE KEY (stored_), KEY (virtual_));
INSERT INTO `pfx_generated` (a, b, after_) VALUES (1, 'い', 'after'), (2, NULL, NULL), (NULL, 'z', '');
CREATE TABLE `pfx_no_key` (a int, b text); INSERT INTO `pfx_no_key` VALUES (1, 'same'), (1, 'same'), (NULL, NULL);
CREATE TABLE `pfx_empty` (a int);
CREATE TABLE `pfx_a_child` (id int PRIMARY KEY, parent int, up int,
    CONSTRAINT `pfx_fk` FOREIGN KEY (parent) REFERENCES `pfx_z_parent` (id) ON DELETE CASCADE ON UPDATE SET NULL,
    CONSTRAINT `pfx_LONG_NAME` FOREIGN KEY (up) REFERENCES `pfx_a_child` (id), CONSTRAINT `pfx_check` CHECK (id < 1000));
CREATE TABLE `pfx_z_parent` (id int PRIMARY KEY, favourite int, FOREIGN KEY (favourite)
    REFERENCES `pfx_a_child` (id));
INSERT INTO `pfx_z_parent` VALUES (1, 10), (2, NULL); INSERT INTO `pfx_a_child` VALUES (10, 1, 11), (11, 2, 10), (12, NULL, NULL);
CREATE TABLE `pfx_myisam` (a int PRIMARY KEY AUTO_INCREMENT, b text, FULLTEXT KEY (b)) ENGINE=MyISAM DEFAULT CHARSET=utf8mb3;
INSERT INTO `pfx_myisam` VALUES (3, 'いろは'), (9, 'x');
CREATE TABLE `pfx_aria` (a int) ENGINE=Aria; INSERT INTO `pfx_aria` VALUES (1);
CREATE TABLE `pfx_parts` (a int PRIMARY KEY) PARTITION BY HASH (a) PARTITIONS 4; INSERT INTO `pfx_parts` VALUES (1), (2), (3);
CREATE TABLE `pfx_latin` (v varchar(99), t text) DEFAULT CHARSET=latin1;
INSERT INTO `pfx_latin` VALUES (_latin1 x'e92080ff81', _latin1 x'e38182'), ('', NULL);
CREATE TABLE `pfx_cp932` (v varchar(99), t text, e enum('表', '能')) DEFAULT CHARSET=cp932;
INSERT INTO `pfx_cp932` VALUES (_cp932 x'879081e0fa4aeef9815f5c', _cp932 x'8160815b835c', '表');
CREATE TABLE `pfx_ujis` (v varchar(99)) DEFAULT CHARSET=ujis;
INSERT INTO `pfx_ujis` VALUES (_ujis x'a1c1c6fccbdc8fa2b7');
CREATE TABLE `pfx_log` (at datetime, what text);
CREATE TRIGGER `pfx_before` BEFORE INSERT ON `pfx_posts` FOR EACH ROW SET NEW.post_type = LOWER(NEW.post_type);
SET sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES';
DELIMITER ;;
CREATE TRIGGER `pfx_after upd` AFTER UPDATE ON `pfx_posts` FOR EACH ROW BEGIN
    -- it's a comment; with a semicolon
    INSERT INTO `pfx_log` VALUES (NOW(), 'back \ slash; "quoted"'); DELETE FROM "pfx_empty";
END;;
DELIMITER ;
SET sql_mode='';
CREATE ALGORITHM=MERGE DEFINER=root@localhost VIEW `pfx_z_base` AS SELECT ID, post_title FROM `pfx_posts` WHERE ID > 0;
CREATE DEFINER='some one'@'%' SQL SECURITY DEFINER VIEW `pfx_a_on_top` AS
    SELECT z.post_title AS `見出し`, o.option_value FROM `pfx_z_base` z JOIN `pfx_options` o WITH CHECK OPTION;
