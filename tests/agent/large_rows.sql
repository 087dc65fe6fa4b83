-- Rows that fit a packet, but not as a statement: hexadecimal and escapes double them.
CREATE TABLE `pfx_large` (id int PRIMARY KEY, b longblob, t longtext, t2 longtext);
INSERT INTO `pfx_large` SELECT 1, REPEAT(UNHEX(SHA2('seed', 512)), 245000), 'small', NULL;
INSERT INTO `pfx_large` SELECT 2, NULL, REPEAT('''', 15600000), 'after';
INSERT INTO `pfx_large` SELECT 3, 'x', REPEAT('あ\\🍵', 700000), REPEAT('あ', 3000000);
